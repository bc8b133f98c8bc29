// Where a run has gone back to and which batches it leaves out since: its file rollbacks.json.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace levanter::train {

struct Rollback {
  int64_t step = 0;             ///< that was not taken, from 1
  int64_t back_to = 0;          ///< steps done there
  int64_t first = 0, last = 0;  ///< batches left out, by their places in the order of all
  std::string reason = {};
};

/// In the order in which they came. What a run learns from is a function of this list and of its
/// config: which checkpoint it went back to, at or before `back_to`, does not matter.
using Rollbacks = std::vector<Rollback>;

struct PlaceRange {
  int64_t begin = 0, end = 0;
};

/// The places that are left out: ascending, none touching another.
std::vector<PlaceRange> left_out(const Rollbacks& rollbacks);

/// The place of the batch of step `step`, counted from 0: the step-th that is not left out.
int64_t place_of(const Rollbacks& rollbacks, int64_t step);

/// The places of steps [first, end), in as few ranges as can be; one, empty, for no steps.
std::vector<PlaceRange> places_of(const Rollbacks& rollbacks, int64_t first, int64_t end);

/// Whether a checkpoint of step `step`, whose run had rolled back `known` times then, has learned
/// from batches that are left out since.
bool is_abandoned(const Rollbacks& rollbacks, int64_t step, size_t known);

nlohmann::json to_json(const Rollbacks& rollbacks);
/// error  nlohmann's, for another form
Rollbacks rollbacks_of(const nlohmann::json& list);

/// The list in a run's folder; nothing where it has none.
/// error  kCheckpoint for a file that is damaged
std::optional<Rollbacks> read_rollbacks(const std::string& run_folder);
/// error  kIo
void write_rollbacks(const std::string& run_folder, const Rollbacks& rollbacks);

/// Removes the checkpoints that is_abandoned says of; a line for each.
std::vector<std::string> remove_abandoned(const std::string& checkpoints,
                                          const Rollbacks& rollbacks);

}  // namespace levanter::train
