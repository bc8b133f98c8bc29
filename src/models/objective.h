// What a model is trained for: the loss of a microbatch, and what is reported with it.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "models/batch_inputs.h"
#include "models/model.h"
#include "models/objective_config.h"

namespace levanter::models {

/// A microbatch's part of the loss of the global batch, as values of the graph.
struct Loss {
  NamedArray value;  ///< a scalar
  /// What else is reported, by metric, and may count in the loss: the model's and the objective's.
  std::vector<Measure> measures = {};
};

class PairLoss;

/// Builds losses of a model's output. The arrays of the microbatch that it wants are those that it
/// asks `inputs` for: these, and no others, become arguments of the function being traced.
class Objective {
 public:
  virtual ~Objective() = default;
  /// The loss of a microbatch in training. Over the microbatches of a global batch losses are
  /// added, so that a mean over what it counts, its loss tokens or its pairs, is a sum times
  /// kInverseTokens.
  virtual Loss loss(const LanguageModel& model, BatchInputs& inputs) const = 0;
  /// The loss of each token, [batch, position], without dropout or weights: what evaluation adds.
  virtual NamedArray token_losses(const LanguageModel& model, BatchInputs& inputs) const;
  /// What the microbatch has of what the global batch counts, from 0 to 1.
  virtual NamedArray share(BatchInputs& inputs) const;
  /// The loss of a pair of answers, where it learns from such; else null.
  virtual const PairLoss* pair_loss() const { return nullptr; }
};

/// One objective: src/models/objectives/<name>.cpp defines `<name>_entry`.
struct ObjectiveEntry {
  const char* name;
  const char* summary;
  std::unique_ptr<config::Choosable> (*make_config)();  ///< of an ObjectiveConfig
  bool is_chosen = true;                                ///< by a config; false: others ask for it
};

namespace objectives {

std::span<const ObjectiveEntry* const> entries();
/// The objective called `name` at its defaults, which must be one of the list of parts.
std::unique_ptr<const Objective> make(std::string_view name, const ObjectiveOptions& options = {});

}  // namespace objectives

/// The tokens, segments and positions of a microbatch; nothing is dropped.
LmBatch batch_of(BatchInputs& inputs);
/// The token losses of final hidden states, [batch, position]. With `weight`, of the same axes,
/// they are 0 where that is, and need not be computed there.
NamedArray token_losses_of(const LanguageModel& model, NamedArray hidden, NamedArray targets,
                           NamedArray weight = {});

}  // namespace levanter::models
