// An objective of the test's own trains like any other: its arrays, its loss, its metrics.
#include <catch2/catch.hpp>

#include "support/training.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// The cross-entropy of language models, each token counting as often as its position says.
class ByPosition final : public models::Objective {
 public:
  models::Loss loss(const models::LanguageModel& model,
                    models::BatchInputs& inputs) const override {
    const NamedArray positions = cast(inputs("positions"), DType::f32);
    const NamedArray scale = inputs("loss_weight") * positions * inputs(models::kInverseTokens);
    const NamedArray h = model.hidden(models::batch_of(inputs));
    models::Loss loss;
    loss.value = linear_xent(h, pack(model.head()), inputs("targets"), scale, {}).loss;
    const NamedArray last = reduce(Reduce::kMax, positions, positions.axes());
    loss.measures.push_back({"train/last_position", last});
    return loss;
  }
  NamedArray token_losses(const models::LanguageModel& model,
                          models::BatchInputs& inputs) const override {
    return plain_->token_losses(model, inputs);
  }

 private:
  std::unique_ptr<const models::Objective> plain_ = models::objectives::make("lm");
};

/// What three steps end with.
struct Outcome {
  std::string params_hash;
  std::vector<float> losses;
  std::vector<std::pair<std::string, double>> measures;
};

/// On rows whose weights are multiplied by their positions where `weighted`.
Outcome run(const Gpt2Config& model, std::shared_ptr<const models::Objective> objective,
            bool weighted) {
  const AdamConfig adam;
  const auto backend = make_backend("cpu", 2);
  const train::CompiledStep plain = compile_step(model, adam, {2, 2, 1}, *backend);
  train::StepOptions options = plain.options;
  if (objective) options.objective = std::move(objective);
  train::Engine engine(train::CompiledStep(options, *backend), *backend);
  engine.initialise(key_from_seed(1));
  Outcome result;
  for (int64_t step = 0; step < 3; ++step) {
    MadeUpRows rows(step, 0, 4);
    const double loss_tokens = rows.loss_tokens();
    if (weighted)
      for (size_t i = 0; i < rows.loss_weight.size(); ++i)
        rows.loss_weight[i] *= static_cast<float>(rows.positions[i]);
    engine.begin_step(loss_tokens, {});
    for (const int64_t row : {0, 2}) engine.run_microbatch(rows.from(row));
    result.measures = engine.measures();
    result.losses.push_back(engine.run_update(step, 1e-2).loss);
  }
  result.params_hash = params_hash(engine.model_tensors());
  return result;
}

}  // namespace

TEST_CASE("an objective counts tokens by an array that it asks for", "[train]") {
  const Gpt2Config model = tiny_model();
  const Outcome own = run(model, std::make_shared<ByPosition>(), false);
  const Outcome same = run(model, nullptr, true);
  CHECK(own.params_hash == same.params_hash);
  CHECK(own.losses == same.losses);
  CHECK(own.params_hash != run(model, nullptr, false).params_hash);
  REQUIRE(own.measures.size() == 1);
  CHECK(own.measures[0].first == "train/last_position");
  CHECK(own.measures[0].second == Approx(7));
  CHECK(same.measures.empty());
}

TEST_CASE("what an objective does not ask for has no place among the inputs", "[train]") {
  const Gpt2Config model = tiny_model();
  const AdamConfig adam;
  const auto backend = make_backend("cpu", 1);
  const train::CompiledStep plain = compile_step(model, adam, {2, 2, 1}, *backend);
  train::StepOptions options = plain.options;
  options.objective = std::make_shared<ByPosition>();
  const train::CompiledStep own(options, *backend);
  CHECK(plain.batch.bytes() - own.batch.bytes() == 64);  // the keys of two rows
}
