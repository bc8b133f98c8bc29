#include "support/trained_model.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>
#include <numeric>

#include "passes/passes.h"
#include "support/evaluate.h"

namespace levanter::testing {

void TokenRows::add(const std::vector<int32_t>& ids, const std::vector<int32_t>& next,
                    const std::vector<float>& weights) {
  length = static_cast<int64_t>(ids.size());
  for (size_t t = 0; t < ids.size(); ++t) {
    tokens.push_back(ids[t]);
    targets.push_back(next[t]);
    positions.push_back(static_cast<int32_t>(t));
    segment_ids.push_back(0);
    loss_weight.push_back(weights[t]);
  }
}

double TokenRows::total_weight() const {
  return std::accumulate(loss_weight.begin(), loss_weight.end(), 0.0);
}

TrainedModel::TrainedModel(const models::ModelEntry& family, const ModelConfig& config,
                           int64_t vocab, const std::string& path)
    : spec{family, config}, vocab_size(vocab), weights(path) {}

std::unique_ptr<train::Engine> TrainedModel::engine(const Backend& backend,
                                                    const OptimizerConfig& adam,
                                                    const TokenRows& rows,
                                                    int64_t microbatches) const {
  const infer::StepShape shape{rows.count() / microbatches, rows.length, vocab_size};
  auto engine = std::make_unique<train::Engine>(
      train::CompiledStep(
          {spec, shape, std::make_shared<optim::Assignment>(optim::entry("adam"), adam),
           microbatches, microbatches},
          backend),
      backend);
  engine->initialise(key_from_seed(0));
  for (const Tensor& target : engine->model_targets()) {
    INFO(target.path);
    const safetensors::Tensor* tensor = weights.find(target.path);
    REQUIRE(tensor != nullptr);
    REQUIRE(tensor->shape == target.shape);
    tensor->file->read(tensor->begin, {target.data, static_cast<size_t>(tensor->bytes)});
  }
  return engine;
}

std::vector<double> TrainedModel::losses(const Backend& backend, const TokenRows& rows,
                                         int64_t batch) const {
  const infer::StepShape shape{batch, rows.length, vocab_size};
  std::vector<Array> weights_of_model;
  for (const nn::Param& param : infer::trace_params(spec, shape)) {
    const std::vector<float> values = values_of(weights, param.path);
    weights_of_model.push_back({param.type, {values.begin(), values.end()}});
  }
  const Axes ids{{"batch", batch}, {"position", rows.length}};
  std::vector<double> all;
  for (int64_t first = 0; first < rows.count(); first += batch) {
    std::vector<Array> inputs = weights_of_model;
    for (const auto* field : {&rows.tokens, &rows.targets, &rows.segment_ids, &rows.positions}) {
      std::vector<double> piece(static_cast<size_t>(batch * rows.length));
      for (size_t i = 0; i < piece.size(); ++i)
        piece[i] =
            (*field)[std::min(static_cast<size_t>(first * rows.length) + i, field->size() - 1)];
      inputs.push_back({{DType::i32, ids}, piece});
    }
    const Function f = infer::trace_evaluation(spec, shape, *models::objectives::make("lm"));
    const std::vector<double> some = run(optimise(f, backend), inputs, backend)[0].values;
    all.insert(all.end(), some.begin(), some.end());
  }
  all.resize(static_cast<size_t>(rows.count() * rows.length));
  return all;
}

std::vector<double> TrainedModel::logits(const Backend& backend, const TokenRows& rows) const {
  const infer::StepShape shape{rows.count(), rows.length, vocab_size};
  std::vector<Array> inputs;
  for (const nn::Param& param : infer::trace_params(spec, shape)) {
    const std::vector<float> values = values_of(weights, param.path);
    inputs.push_back({param.type, {values.begin(), values.end()}});
  }
  const Axes ids{{"batch", rows.count()}, {"position", rows.length}};
  for (const auto* field : {&rows.tokens, &rows.segment_ids, &rows.positions})
    inputs.push_back({{DType::i32, ids}, {field->begin(), field->end()}});
  infer::Tracing t("logits", spec, shape);
  models::LmBatch batch;
  batch.tokens = t.inputs("tokens");
  batch.segment_ids = t.inputs("segment_ids");
  batch.positions = t.inputs("positions");
  t.function.result("logits", infer::logits_of(*t.model, t.model->hidden(batch)));
  return run(optimise(t.function, backend), inputs, backend)[0].values;
}

void run_gradients(train::Engine& engine, const TokenRows& rows) {
  const auto& options = engine.step().options;
  engine.begin_step(rows.total_weight(), key_from_seed(1));
  for (int64_t m = 0; m < options.microbatches; ++m)
    engine.run_microbatch({rows, m * options.shape.batch, 0});
}

double loss_of(train::Engine& engine) { return engine.total()[engine.step().layout.offset_of(0)]; }

double worst_gradient_error(train::Engine& engine, const safetensors::File& reference) {
  const auto& step = engine.step();
  double worst = 0;
  for (size_t i = 0; i < step.params.size(); ++i) {
    const std::vector<float> expected = values_of(reference, step.params[i].path);
    const float* found = engine.total() + step.layout.offsets[i];
    double largest = 0, error = 0;
    for (size_t j = 0; j < expected.size(); ++j) {
      largest = std::max(largest, std::abs(double{expected[j]}));
      error = std::max(error, std::abs(double{expected[j]} - found[j]));
    }
    UNSCOPED_INFO(step.params[i].path << ": " << error / largest);
    worst = std::max(worst, error / largest);
  }
  return worst;
}

std::vector<float> values_of(const safetensors::File& file, const std::string& name) {
  const safetensors::Tensor* tensor = file.find(name);
  INFO(name);
  REQUIRE(tensor != nullptr);
  std::vector<float> values(static_cast<size_t>(tensor->size()));
  safetensors::to_f32(*tensor, values);
  return values;
}

}  // namespace levanter::testing
