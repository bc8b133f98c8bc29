// Labels that a model draws itself: what is asked for and reported, and how often each comes.
#include <cmath>

#include "infer/trace.h"
#include "models/objective.h"
#include "passes/passes.h"
#include "support/checks.h"
#include "support/training.h"
#include "train/engine/step.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

Function gradients_of(const char* objective, const Gpt2Config& config, int64_t batch) {
  return train::trace_gradients({models::entry("gpt2"), config},
                                {batch, config.max_seq_len, kVocab},
                                *models::objectives::make(objective), train::Accumulate::kFirst);
}

/// The norm of the gradient of one parameter, over rows that all have the same tokens.
double gradient_norm(const char* objective, const std::string& path) {
  constexpr int64_t kRows = 96;
  const Gpt2Config config = tiny_model();
  const Function f = gradients_of(objective, config, kRows);
  std::vector<Array> inputs;
  for (const Argument& argument : f.arguments) {
    Array array = argument.type.dtype == DType::u32 ? random_keys({argument.type.axes[0]}, 3)
                                                    : random_array(argument.type, 5);
    const int64_t positions = config.max_seq_len;
    for (size_t i = 0; i < array.values.size(); ++i) {
      const auto t = static_cast<int64_t>(i) % positions;
      if (argument.name == "tokens") array.values[i] = static_cast<double>(t * 5 % kVocab);
      if (argument.name == "targets") array.values[i] = static_cast<double>(t * 3 % kVocab);
      if (argument.name == "positions") array.values[i] = static_cast<double>(t);
      if (argument.name == "segment_ids") array.values[i] = 0;
      if (argument.name == "loss_weight") array.values[i] = 1;
      if (argument.name == "inverse_tokens") array.values[i] = 1.0 / (kRows * positions);
    }
    inputs.push_back(std::move(array));
  }
  const auto backend = make_backend("cpu", 2);
  const std::vector<Array> found = testing::run(optimise(duplicate(f), *backend), inputs, *backend);
  double squares = 0;
  for (size_t i = 0; i < f.results.size(); ++i)
    if (f.results[i].name == path)
      for (const double x : found[i].values) squares += x * x;
  return std::sqrt(squares);
}

}  // namespace

TEST_CASE("drawn labels give the results of the loss and ask for no targets", "[models]") {
  const Gpt2Config config = tiny_model();
  const Function loss = gradients_of("lm", config, 2);
  const Function drawn = gradients_of("drawn_labels", config, 2);
  REQUIRE(drawn.results.size() == loss.results.size());
  for (size_t i = 0; i < drawn.results.size(); ++i) {
    CHECK(drawn.results[i].name == loss.results[i].name);
    CHECK(drawn.graph.type(drawn.results[i].value) == loss.graph.type(loss.results[i].value));
  }
  for (const Argument& argument : drawn.arguments) CHECK(argument.name != "targets");
}

TEST_CASE("labels come as often as the model expects, so that their gradients cancel", "[models]") {
  // Of 96 draws a tenth is left on average; given labels leave all.
  const double given = gradient_norm("lm", "transformer.ln_f.bias");
  const double drawn = gradient_norm("drawn_labels", "transformer.ln_f.bias");
  CHECK(drawn > 0);
  CHECK(drawn < 0.3 * given);
}
