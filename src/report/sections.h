// The parts of a report that are words and tables.
#pragma once

#include <span>
#include <string>

#include "report/run_data.h"

namespace levanter::report {

/// A run's name, how it went, its figures and what there is to note.
std::string heading(const RunData& run);
/// Of several runs: a table of their figures and of the keys in which they differ.
std::string heading(std::span<const RunData> runs);

/// The memory of plan.json as a bar, with room for the script's picture of the arena; "" without.
std::string memory_section(const std::string& plan);
/// {"steps", "peak_step", "arena_bytes", "buffers"} of it, every member checked; or null.
std::string arena_json(const std::string& plan);

/// What the models wrote, by step; "" where nothing is there.
std::string samples_section(std::span<const RunData> runs);
/// Every key, and the figures of summary.json. `named`: under the run's name.
std::string config_section(const RunData& run, bool named);
/// What made the run, start by start, the last one open.
std::string provenance_section(const RunData& run, bool named);

/// Steps, losses and rates as tables show them; "" for what is no number.
std::string shown(double value, int digits = 4);

}  // namespace levanter::report
