// A model as traced functions: arguments, results, parameter counts and FLOPs.
#include "infer/trace.h"

#include <catch2/catch.hpp>

#include "infer/small_model.h"

using namespace levanter;
using testing::kSmallVocab;

namespace {

struct Small {
  Gpt2Config config = testing::small_config();
  infer::StepShape shape{2, 8, kSmallVocab};
  infer::ModelSpec spec() const { return {models::entry("gpt2"), config}; }
};

int64_t elements(const std::vector<nn::Param>& params) {
  int64_t total = 0;
  for (const nn::Param& p : params) total += p.type.elements();
  return total;
}

}  // namespace

TEST_CASE("the parameters come first, under their Hugging Face names", "[infer]") {
  const Small small;
  const std::vector<nn::Param> params = infer::trace_params(small.spec(), small.shape);
  REQUIRE(params.size() > 2);
  CHECK(params[0].path == "transformer.wte.weight");
  CHECK(params[0].shape == std::vector<int64_t>{kSmallVocab, 12});
  CHECK(params[1].path == "transformer.wpe.weight");
  const Function evaluation =
      infer::trace_evaluation(small.spec(), small.shape, *models::objectives::make("lm"));
  REQUIRE(evaluation.arguments.size() == params.size() + 4);
  REQUIRE(evaluation.results.size() == 1);
}

TEST_CASE("GPT-2 has the parameters that its paper counts", "[infer]") {
  Gpt2Config config;  // the smallest of the paper
  const infer::ModelSpec spec{models::entry("gpt2"), config};
  CHECK(elements(infer::trace_params(spec, {1, 1024, 50257})) == 124439808);
}

TEST_CASE("parameters that are only looked up are not multiplied, a tied head is", "[infer]") {
  Small small;
  const auto params = [&] { return infer::trace_params(small.spec(), small.shape); };
  const int64_t table = kSmallVocab * 12, positions = 8 * 12;
  const int64_t tied = infer::multiplied_parameters(params());
  CHECK(tied == elements(params()) - positions);
  small.config.tie_word_embeddings = false;
  CHECK(elements(params()) == tied + positions + table);
  CHECK(infer::multiplied_parameters(params()) == tied);
}

TEST_CASE("a token costs 6 FLOPs a parameter, and attention 12 T for each of its widths",
          "[infer]") {
  const Small small;
  const std::vector<nn::Param> params = infer::trace_params(small.spec(), small.shape);
  CHECK(infer::flops_per_token(small.spec(), params, 8) ==
        6.0 * static_cast<double>(infer::multiplied_parameters(params)) + 12.0 * 2 * 12 * 8);
}
