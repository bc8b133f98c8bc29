// What a run says of itself: at its start, when it is extended, at its end.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/load.h"
#include "dist/communicator.h"
#include "train/config/train_config.h"

namespace levanter::train {

/// What a run knows once its data are read and its model is compiled.
struct RunFacts {
  int64_t parameters = 0, vocab_size = 0;
  int64_t train_tokens = 0, validation_tokens = 0;
  int64_t epoch_length = 1;  ///< rows
};

/// Two lines: the model and the run's folder; the data and what a step takes of them.
std::vector<std::string> introduction(const TrainConfig& config, const RunFacts& facts);

/// How many hosts those are.
int64_t count_hosts(std::span<const dist::Place> places);
/// "3 ranks, 2 threads each: node1 has 2 on processors 0-1, 2-3; node2 has 1 on processors 0-3".
std::string describe_places(std::span<const dist::Place> places, int threads);

/// What becomes of the learning rate in the step after `step` when a run of `saved` goes on as
/// `now` says; "" when its schedule stays.
std::string schedule_change(const TrainConfig& saved, const TrainConfig& now, int64_t step);

/// Where a finished run lies and how to have text of it, and of its best weights where these are
/// not the last.
std::string farewell(const TrainConfig& config, const BestCheckpoint& best);

/// A path as one would type it here: from the working directory where it lies below that, in quotes
/// where the shell wants them.
std::string typed_path(const std::string& path);

}  // namespace levanter::train
