// GPT-2 against a trained model's reference logits, loss, gradients and optimizer steps in f64.
#include "models/families/gpt2_config.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "optim/adam_config.h"
#include "support/evaluate.h"
#include "support/read_all.h"
#include "support/shared_data.h"
#include "support/trained_model.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr double kLogitTolerance = 1e-4;
constexpr double kLossTolerance = 1e-6;
constexpr double kWorstGradient = 1e-5;  // of a tensor's largest entry
constexpr double kTrainingTolerance = 1e-5;

/// The trained model that sorts six numbers, with what an f64 implementation computes of it.
struct Sorter {
  explicit Sorter(const std::string& folder)
      : config(shape()),
        model(models::entry("gpt2"), config, 3, join_path(folder, "model.safetensors")),
        reference(nlohmann::json::parse(read_all(join_path(folder, "a-reference.json.gz")))) {
    for (const auto& row : reference["ids"]) {
      const std::vector<int32_t> ids = row;
      add_row(ids, {ids.begin() + 1, ids.end()});
    }
  }

  static Gpt2Config shape() {
    Gpt2Config config;
    config.hidden_dim = 48;
    config.num_layers = config.num_heads = 3;
    config.max_seq_len = 11;
    config.tie_word_embeddings = false;
    return config;
  }
  /// The eleven tokens before the last; only what the model has to say counts.
  void add_row(const std::vector<int32_t>& ids, const std::vector<int32_t>& next) {
    std::vector<float> weights(11, 1.0f);
    std::fill_n(weights.begin(), 5, 0.0f);
    rows.add({ids.begin(), ids.begin() + 11}, {next.begin(), next.begin() + 11}, weights);
  }

  Gpt2Config config;
  TrainedModel model;
  nlohmann::json reference;
  TokenRows rows;
};

/// The folder of the sorter; "" where the data are absent, which is said.
std::string sorter_folder() {
  const std::string folder = shared_data("models/gpt-nano-sort");
  if (folder.empty()) WARN("skipped: the shared data are absent");
  return folder;
}

}  // namespace

TEST_CASE("the trained sorter's loss and gradients are the reference's", "[models]") {
  const std::string folder = sorter_folder();
  if (folder.empty()) return;
  const Sorter sorter(folder);
  const safetensors::File gradients(join_path(folder, "a-grads.safetensors"));
  const AdamConfig adam;
  for (const char* device : {"reference", "cpu"})
    for (const int64_t microbatches : {1, 6}) {
      if (device == std::string("reference") && microbatches > 1) continue;
      INFO(device << ", " << microbatches << " microbatches");
      const auto backend = make_backend(device, 2);
      const auto engine = sorter.model.engine(*backend, adam, sorter.rows, microbatches);
      run_gradients(*engine, sorter.rows);
      CHECK(std::abs(loss_of(*engine) - sorter.reference["loss"].get<double>()) <= kLossTolerance);
      CHECK(worst_gradient_error(*engine, gradients) <= kWorstGradient);
    }
}

TEST_CASE("twenty AdamW steps of the sorter follow the reference's losses", "[models]") {
  const std::string folder = sorter_folder();
  if (folder.empty()) return;
  Sorter sorter(folder);
  // The task is changed: the same numbers, sorted in descending order.
  sorter.rows = {};
  for (const auto& row : sorter.reference["ids"]) {
    std::vector<int32_t> ids(row.begin(), row.begin() + 6);
    std::vector<int32_t> sorted = ids;
    std::sort(sorted.rbegin(), sorted.rend());
    ids.insert(ids.end(), sorted.begin(), sorted.end());
    sorter.add_row(ids, {ids.begin() + 1, ids.end()});
  }
  const auto& training = sorter.reference["training"];
  AdamConfig adam;
  adam.learning_rate = training["lr"];
  adam.weight_decay = training["weight_decay"];
  adam.beta1 = training["beta1"];
  adam.beta2 = training["beta2"];
  adam.epsilon = training["eps"];
  adam.max_grad_norm = training["clip_global_norm"].get<double>();
  adam.decay_roles = {"weight", "embedding"};
  const std::vector<double> expected = training["loss_before_each_step"];
  const auto backend = make_backend("cpu", 2);
  const auto engine = sorter.model.engine(*backend, adam, sorter.rows, 2);
  for (size_t i = 0; i < expected.size(); ++i) {
    run_gradients(*engine, sorter.rows);
    const train::UpdateReport report =
        engine->run_update(static_cast<int64_t>(i), adam.learning_rate);
    INFO("step " << i);
    CHECK(report.proceeded);
    CHECK(std::abs(report.loss - expected[i]) <= kTrainingTolerance * std::max(1.0, expected[i]));
  }
}

TEST_CASE("the trained sorter's logits are the reference's", "[models]") {
  const std::string folder = sorter_folder();
  if (folder.empty()) return;
  const Sorter sorter(folder);
  const safetensors::File reference(join_path(folder, "a-logits.safetensors"));
  const std::vector<float> expected = values_of(reference, "logits");
  const std::vector<double> found = sorter.model.logits(*make_backend("cpu", 2), sorter.rows);
  REQUIRE(found.size() == expected.size());
  double worst = 0;
  for (size_t i = 0; i < found.size(); ++i)
    worst = std::max(worst, std::abs(found[i] - double{expected[i]}));
  CHECK(worst <= kLogitTolerance);
}
