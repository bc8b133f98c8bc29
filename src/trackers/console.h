// What people are told of a run: for the console, and for logs of the same words.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "trackers/tracker.h"

namespace levanter::trackers {

/// The console's words, whole lines where it is no terminal, handed to `put`. Without a terminal
/// lines have no time of day: whoever writes them down has a better one.
std::unique_ptr<Tracker> make_console(const TrackerContext& context,
                                      std::function<void(std::string_view)> put);

}  // namespace levanter::trackers
