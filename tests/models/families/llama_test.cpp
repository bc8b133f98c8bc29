// Llama against the trained stories260K: logits, greedy text, losses, gradients, AdamW in f64.
#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>
#include <numeric>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "models/decoder_config.h"
#include "optim/adam_config.h"
#include "support/evaluate.h"
#include "support/read_all.h"
#include "support/shared_data.h"
#include "support/trained_model.h"

using namespace levanter;
using namespace levanter::testing;
using nlohmann::json;

namespace {

// Twice the drift of plain float32 from these f64 references.
constexpr double kLogitTolerance = 2 * 4.1e-5;
constexpr double kLossTolerance = 2 * 9.5e-8;
constexpr double kWorstGradient = 2 * 3.5e-6;  // of a tensor's largest entry
constexpr double kTrainingTolerance = 2 * 5.5e-7;
// Relative, of a step's gradients. Plain float32 drifts by 5.2e-7; AdamW divides by what is close
// to 0, so that one of the 60 norms comes out 2.5e-6 apart here, the others below 1.1e-6.
constexpr double kNormTolerance = 4e-6;
constexpr double kParameterTolerance = 2 * 3.2e-8;  // relative, of the norms of tensors at the end
constexpr int64_t kVocab = 512;

DecoderConfig stories_config() {
  DecoderConfig c;
  c.hidden_dim = 64;
  c.intermediate_dim = 172;
  c.num_layers = 5;
  c.num_heads = 8;
  c.num_kv_heads = 4;
  c.max_seq_len = 512;
  c.tie_word_embeddings = true;
  return c;
}

struct Stories {
  Stories() : config(stories_config()), folder(shared_data("models/stories260K")) {
    if (folder.empty()) {
      WARN("skipped: the shared data are absent");
      return;
    }
    model.emplace(models::entry("llama"), config, kVocab, join_path(folder, "model.safetensors"));
  }
  json read(const char* name) const { return json::parse(read_all(join_path(folder, name))); }

  DecoderConfig config;
  std::string folder;
  std::optional<TrainedModel> model;
};

/// A batch of the reference run: rows of 65 ids.
TokenRows rows_of(const json& batch) {
  TokenRows rows;
  for (const std::vector<int32_t> ids : batch)
    rows.add({ids.begin(), ids.end() - 1}, {ids.begin() + 1, ids.end()},
             std::vector<float>(ids.size() - 1, 1.0f));
  return rows;
}

}  // namespace

TEST_CASE("the stories model's logits are the reference's", "[models]") {
  const Stories stories;
  if (!stories.model) return;
  const safetensors::File reference(join_path(stories.folder, "reference-logits.safetensors"));
  const auto backend = make_backend("cpu", 2);
  for (int prompt = 0; prompt < 6; ++prompt) {
    const std::vector<float> expected = values_of(reference, cat("prompt", prompt, ".logits"));
    const safetensors::Tensor* tensor = reference.find(cat("prompt", prompt, ".ids"));
    REQUIRE(tensor != nullptr);
    std::vector<int32_t> ids(static_cast<size_t>(tensor->size()));
    tensor->file->read(tensor->begin, std::as_writable_bytes(std::span(ids)));
    TokenRows rows;
    rows.add(ids, ids, std::vector<float>(ids.size(), 1.0f));
    const std::vector<double> found = stories.model->logits(*backend, rows);
    REQUIRE(found.size() == expected.size());
    double worst = 0;
    for (size_t i = 0; i < found.size(); ++i)
      worst = std::max(worst, std::abs(found[i] - double{expected[i]}));
    INFO("prompt " << prompt);
    CHECK(worst <= kLogitTolerance);
  }
}

TEST_CASE("the stories model's loss and gradients are the reference's", "[models]") {
  const Stories stories;
  if (!stories.model) return;
  const json training = stories.read("tinyshakespeare-training.json.gz");
  const safetensors::File gradients(join_path(stories.folder, "tinyshakespeare-grads.safetensors"));
  const TokenRows rows = rows_of(training["batches"][0]);
  const AdamConfig adam;
  for (const char* device : {"reference", "cpu"})
    for (const int64_t microbatches : {1, 2}) {
      if (device == std::string("reference") && microbatches > 1) continue;
      INFO(device << ", " << microbatches << " microbatches");
      const auto backend = make_backend(device, 2);
      const auto engine = stories.model->engine(*backend, adam, rows, microbatches);
      run_gradients(*engine, rows);
      const double expected = training["setup"]["first_batch_loss"];
      CHECK(std::abs(loss_of(*engine) - expected) <= kLossTolerance * expected);
      CHECK(worst_gradient_error(*engine, gradients) <= kWorstGradient);
    }
}

TEST_CASE("three runs of twenty AdamW steps follow the reference's", "[models]") {
  const Stories stories;
  if (!stories.model) return;
  const json training = stories.read("tinyshakespeare-training.json.gz");
  const auto backend = make_backend("cpu", 2);
  for (const json& run : training["runs"]) {
    AdamConfig adam;
    adam.weight_decay = run["weight_decay"];
    adam.beta1 = run["beta1"];
    adam.beta2 = run["beta2"];
    adam.epsilon = run["eps"];
    adam.max_grad_norm.reset();
    if (!run["clip_global_norm"].is_null())
      adam.max_grad_norm = run["clip_global_norm"].get<double>();
    adam.decay_roles = {"weight", "embedding"};
    const TokenRows first = rows_of(training["batches"][0]);
    const auto engine = stories.model->engine(*backend, adam, first, 1);
    for (size_t i = 0; i < training["batches"].size(); ++i) {
      run_gradients(*engine, rows_of(training["batches"][i]));
      const train::UpdateReport report =
          engine->run_update(static_cast<int64_t>(i), run["lr_per_step"][i]);
      INFO("step " << i);
      REQUIRE(report.proceeded);
      const double loss = run["loss_before_each_step"][i], norm = run["grad_norm_before_clip"][i];
      CHECK(std::abs(report.loss - loss) <= kTrainingTolerance * loss);
      CHECK(std::abs(report.grad_norm - norm) <= kNormTolerance * norm);
    }
    for (const Tensor& target : engine->model_targets()) {
      double squares = 0;
      const auto* values = reinterpret_cast<const float*>(target.data);
      const int64_t size = std::accumulate(target.shape.begin(), target.shape.end(), int64_t{1},
                                           std::multiplies<>());
      for (int64_t i = 0; i < size; ++i) squares += double{values[i]} * values[i];
      const double expected = run["final_param_sums"][target.path][1];
      INFO(target.path);
      CHECK(std::abs(std::sqrt(squares) - expected) <= kParameterTolerance * expected);
    }
  }
}
