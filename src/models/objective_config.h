// What a run's configuration says of its objective.
#pragma once

#include <memory>
#include <span>

#include "config/fields.h"

namespace levanter::models {

class Objective;

/// What objectives take from keys that are not their own.
struct ObjectiveOptions {
  double z_loss = 0;  ///< weight in the loss of the squared logsumexp of a token's logits
};

}  // namespace levanter::models

namespace levanter {

/// Base of the configs that `objective.type` chooses.
struct ObjectiveConfig : config::Choosable {
  void fields(config::Fields&) override {}
  virtual std::unique_ptr<const models::Objective> make(
      const models::ObjectiveOptions& options) const = 0;
  /// Whether it learns from pairs of answers, and so from rows that hold such.
  virtual bool learns_pairs() const { return false; }
  /// Whether it compares with the model that the run begins with.
  virtual bool needs_reference() const { return false; }

  static std::span<const config::ChoiceEntry> choices();
  static constexpr const char* kDefaultChoice = "lm";
};

}  // namespace levanter
