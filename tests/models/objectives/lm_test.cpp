// What the loss of language models asks for. Its numbers are checked where a step is traced.
#include "models/objective.h"

#include <catch2/catch.hpp>

#include "infer/trace.h"
#include "support/training.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// The arguments behind the parameters.
std::vector<std::string> asked_for(const Function& f, size_t params) {
  std::vector<std::string> names;
  for (size_t i = params; i < f.arguments.size(); ++i) names.push_back(f.arguments[i].name);
  return names;
}

}  // namespace

TEST_CASE("training asks for weights and keys, evaluation for what the losses need", "[models]") {
  const Gpt2Config config = tiny_model();
  const infer::ModelSpec spec{models::entry("gpt2"), config};
  const infer::StepShape shape{2, config.max_seq_len, kVocab};
  const auto objective = models::objectives::make("lm");
  const size_t params = infer::trace_params(spec, shape).size();
  infer::Tracing t("loss", spec, shape);
  const models::Loss loss = objective->loss(*t.model, t.inputs);
  CHECK(loss.value.axes().empty());
  CHECK(loss.measures.empty());
  CHECK(asked_for(t.function, params) ==
        std::vector<std::string>{"tokens", "targets", "segment_ids", "positions", "loss_weight",
                                 "dropout_keys", "inverse_tokens"});
  const Function evaluation = infer::trace_evaluation(spec, shape, *objective);
  CHECK(asked_for(evaluation, params) ==
        std::vector<std::string>{"tokens", "targets", "segment_ids", "positions"});
  CHECK_THROWS(models::objectives::make("guessing"));
}
