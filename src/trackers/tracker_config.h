// What trainer.tracker names: kinds of trackers, each with keys of its own.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/fields.h"

namespace levanter {

/// Base of the configs that an element of `trainer.tracker` chooses.
struct TrackerConfig : config::Choosable {
  void fields(config::Fields&) override {}

  /// The kinds that a config can name: those of trackers::entries().
  static std::span<const config::ChoiceEntry> choices();
  static constexpr const char* kDefaultChoice = "console";
};

using TrackerList = std::vector<config::Choice<TrackerConfig>>;

/// Trackers of these kinds at their defaults.
TrackerList trackers_named(std::initializer_list<const char*> names);
/// Those of a config that names none.
TrackerList default_trackers();

}  // namespace levanter
