// GPT-2 against a trained model's reference logits, loss, gradients and optimizer steps in f64.
#include "models/gpt2_config.h"

#include <zlib.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "compat/safetensors.h"
#include "optim/adam_config.h"
#include "passes/passes.h"
#include "support/evaluate.h"
#include "support/shared_data.h"
#include "train/engine.h"

using namespace levanter;
using levanter::testing::make_backend;

namespace {

constexpr double kLogitTolerance = 1e-4;
constexpr double kLossTolerance = 1e-6;
constexpr double kGradientTolerance = 1e-5;  // of a tensor's largest entry
constexpr double kTrainingTolerance = 1e-5;

std::string unzip(const std::string& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  std::string text;
  char buffer[65536];
  for (int n; (n = gzread(file, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<size_t>(n));
  gzclose(file);
  return text;
}

/// The trained model that sorts six numbers, with what an f64 implementation computes of it.
struct Sorter {
  explicit Sorter(const std::string& folder)
      : weights(join_path(folder, "model.safetensors")),
        gradients(join_path(folder, "a-grads.safetensors")),
        logits(join_path(folder, "a-logits.safetensors")),
        reference(nlohmann::json::parse(unzip(join_path(folder, "a-reference.json.gz")))) {
    config.hidden_dim = 48;
    config.num_layers = config.num_heads = 3;
    config.max_seq_len = 11;
    config.tie_word_embeddings = false;
    for (const auto& row : reference["ids"]) {
      const std::vector<int> ids = row;
      std::vector<int> targets(ids.begin() + 1, ids.end());
      add_row(ids, targets);
    }
  }

  void add_row(const std::vector<int>& ids, const std::vector<int>& next) {
    for (int t = 0; t < 11; ++t) {
      tokens.push_back(ids[static_cast<size_t>(t)]);
      targets.push_back(next[static_cast<size_t>(t)]);
      positions.push_back(t);
      segments.push_back(0);
      weight.push_back(t < 5 ? 0.0f : 1.0f);
    }
  }

  int64_t rows() const { return static_cast<int64_t>(tokens.size()) / 11; }
  train::Rows data() const {
    return {tokens.data(), targets.data(), segments.data(), positions.data(), weight.data(), 0};
  }

  train::Engine engine(const Backend& backend, const OptimizerConfig& adam, int64_t microbatches,
                       int64_t groups) const {
    return train::Engine(train::CompiledStep({{models::entry("gpt2"), config},
                                              {rows() / microbatches, 11, 3},
                                              optim::entry("adam"),
                                              adam,
                                              microbatches,
                                              groups},
                                             backend),
                         backend);
  }

  void load(train::Engine& engine) const {
    engine.initialise(key_from_seed(0));
    for (const TensorTarget& target : engine.model_targets()) {
      const safetensors::Tensor* tensor = weights.find(target.path);
      REQUIRE(tensor != nullptr);
      REQUIRE(tensor->shape == target.shape);
      std::memcpy(target.data, tensor->data.data(), tensor->data.size());
    }
  }

  Gpt2Config config;
  safetensors::File weights, gradients, logits;
  nlohmann::json reference;
  std::vector<int32_t> tokens, targets, segments, positions;
  std::vector<float> weight;
};

/// Runs the microbatches of one step; the gradients are then in engine.total().
void run_gradients(train::Engine& engine, const Sorter& sorter) {
  const auto& options = engine.step().options;
  engine.begin_step(static_cast<double>(sorter.rows() * 6), key_from_seed(1));
  for (int64_t m = 0; m < options.microbatches; ++m) {
    train::Rows rows = sorter.data();
    const int64_t at = m * options.shape.batch * 11;
    rows.tokens += at, rows.targets += at, rows.segment_ids += at, rows.positions += at;
    rows.loss_weight += at;
    engine.run_microbatch(rows);
  }
}

}  // namespace

TEST_CASE("the trained sorter's loss and gradients are the reference's", "[models]") {
  const std::string folder = testing::shared_data("models/gpt-nano-sort");
  if (folder.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const Sorter sorter(folder);
  const AdamConfig adam;
  for (const char* device : {"reference", "cpu"})
    for (const int64_t microbatches : {1, 6}) {
      if (device == std::string("reference") && microbatches > 1) continue;
      INFO(device << ", " << microbatches << " microbatches");
      const auto backend = make_backend(device, 2);
      train::Engine engine = sorter.engine(*backend, adam, microbatches, microbatches);
      sorter.load(engine);
      run_gradients(engine, sorter);
      const auto& step = engine.step();
      CHECK(std::abs(engine.total()[step.layout.offsets.back()] -
                     sorter.reference["loss"].get<double>()) <= kLossTolerance);
      for (size_t i = 0; i < step.params.size(); ++i) {
        INFO(step.params[i].path);
        const safetensors::Tensor* expected = sorter.gradients.find(step.params[i].path);
        REQUIRE(expected != nullptr);
        std::vector<float> values(static_cast<size_t>(expected->size()));
        safetensors::to_f32(*expected, values);
        double largest = 0, worst = 0;
        const float* found = engine.total() + step.layout.offsets[i];
        for (size_t j = 0; j < values.size(); ++j) {
          largest = std::max(largest, std::abs(static_cast<double>(values[j])));
          worst = std::max(worst, std::abs(static_cast<double>(values[j]) - found[j]));
        }
        CHECK(worst <= kGradientTolerance * largest);
      }
    }
}

TEST_CASE("twenty AdamW steps of the sorter follow the reference's losses", "[models]") {
  const std::string folder = testing::shared_data("models/gpt-nano-sort");
  if (folder.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  Sorter sorter(folder);
  // The task is changed: the same numbers, sorted in descending order.
  sorter.tokens.clear(), sorter.targets.clear(), sorter.positions.clear();
  sorter.segments.clear(), sorter.weight.clear();
  for (const auto& row : sorter.reference["ids"]) {
    std::vector<int> ids(row.begin(), row.begin() + 6);
    std::vector<int> sorted = ids;
    std::sort(sorted.rbegin(), sorted.rend());
    ids.insert(ids.end(), sorted.begin(), sorted.end());
    sorter.add_row(ids, {ids.begin() + 1, ids.end()});
  }
  const auto& training = sorter.reference["training"];
  AdamConfig adam;
  adam.learning_rate = training["lr"];
  adam.weight_decay = training["weight_decay"];
  adam.beta1 = training["beta1"], adam.beta2 = training["beta2"];
  adam.epsilon = training["eps"];
  adam.max_grad_norm = training["clip_global_norm"].get<double>();
  adam.decay_roles = {"weight", "embedding"};
  const std::vector<double> expected = training["loss_before_each_step"];
  const auto backend = make_backend("cpu", 2);
  train::Engine engine = sorter.engine(*backend, adam, 2, 2);
  sorter.load(engine);
  for (size_t i = 0; i < expected.size(); ++i) {
    run_gradients(engine, sorter);
    std::vector<double> scalars(2);
    optim::entry("adam").scalars(adam, static_cast<int64_t>(i), scalars);
    const train::UpdateReport report = engine.run_update(adam.learning_rate, scalars);
    INFO("step " << i);
    CHECK(report.proceeded);
    CHECK(std::abs(report.loss - expected[i]) <= kTrainingTolerance * std::max(1.0, expected[i]));
  }
}

TEST_CASE("the trained sorter's logits are the reference's", "[models]") {
  const std::string folder = testing::shared_data("models/gpt-nano-sort");
  if (folder.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const Sorter sorter(folder);
  using testing::Array;
  std::vector<Array> inputs;
  const train::ModelSpec spec{models::entry("gpt2"), sorter.config};
  const train::StepShape shape{sorter.rows(), 11, 3};
  for (const nn::Param& param : infer::trace_params(spec, shape)) {
    const safetensors::Tensor* tensor = sorter.weights.find(param.path);
    std::vector<float> values(static_cast<size_t>(tensor->size()));
    safetensors::to_f32(*tensor, values);
    inputs.push_back({param.type, {values.begin(), values.end()}});
  }
  const Axes ids{{"batch", sorter.rows()}, {"position", 11}};
  for (const auto* field : {&sorter.tokens, &sorter.segments, &sorter.positions})
    inputs.push_back({{DType::i32, ids}, {field->begin(), field->end()}});
  const safetensors::Tensor* reference = sorter.logits.find("logits");
  std::vector<float> expected(static_cast<size_t>(reference->size()));
  safetensors::to_f32(*reference, expected);
  const auto backend = make_backend("cpu", 2);
  double worst = 0;
  for (int last = 0; last < 11; ++last) {
    std::vector<Array> arguments = inputs;
    arguments.push_back({{DType::i32, {{"batch", sorter.rows()}}},
                         std::vector<double>(static_cast<size_t>(sorter.rows()), last)});
    const Array logits = testing::run(optimise(infer::trace_next_logits(spec, shape), *backend),
                                      arguments, *backend)[0];
    for (int64_t row = 0; row < sorter.rows(); ++row)
      for (int64_t v = 0; v < 3; ++v)
        worst = std::max(worst, std::abs(logits.values[static_cast<size_t>(row * 3 + v)] -
                                         expected[static_cast<size_t>((row * 11 + last) * 3 + v)]));
  }
  CHECK(worst <= kLogitTolerance);
}
