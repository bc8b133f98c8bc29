// Made-up rows of pairs, the loss of a small model on them, and each pair's log-probabilities.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "models/pair_loss.h"
#include "support/checks.h"
#include "support/training.h"

namespace levanter::testing {

/// A very small model in f64 on the reference backend, three rows with two pairs, one, and none.
class MadeUpPairs final {
 public:
  ///   objective  as a config says it: "type = \"dpo\"\nbeta = 0.3"
  explicit MadeUpPairs(const std::string& objective);
  explicit MadeUpPairs(std::shared_ptr<const models::Objective> objective);

  /// Loss and gradients as the step computes them, in the order of its results, whose names these
  /// are.
  std::vector<Array> gradients() const;
  std::vector<std::string> names() const;
  bool asks_for(std::string_view argument) const;
  /// The result of that name, a scalar.
  double result(const std::string& name) const;
  /// Log-probabilities and tokens of each pair, from the token losses of evaluation and added up
  /// here; ratios where the objective has a reference.
  std::vector<models::AnswerPair<double>> pairs() const;

  /// The mean over the pairs of what `loss` gives is the result "loss", and so are the means that
  /// the metrics show.
  void check_loss(const std::function<double(const models::AnswerPair<double>& pair)>& loss) const;
  /// Each gradient is that of central differences along the parameter.
  void check_gradients();

 private:
  double loss_with(size_t argument, size_t element, double value);

  Gpt2Config model_;
  std::shared_ptr<const models::Objective> objective_;
  data::Example rows_;
  Function function_;
  std::vector<Array> inputs_;
};

}  // namespace levanter::testing
