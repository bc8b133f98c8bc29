// The files of Weights & Biases' offline runs: records of protocol buffers in the framing of
// LevelDB's logs, which `wandb sync` sends.
// https://github.com/wandb/wandb/blob/main/wandb/proto/wandb_internal.proto names the records.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trackers/protobuf.h"
#include "trackers/tracker.h"

namespace levanter::trackers::wandb {

/// A record as it stands in the file at `offset`; at 0 the file's own header is before it. Blocks
/// are of 32 KiB; a piece in one is the crc32 of type and bytes, their number (2 bytes), the type
/// (1: all of a record, 2: its first piece, 3: a middle one, 4: the last), the bytes.
std::string framed(std::string_view record, int64_t offset);

/// Names and JSON texts.
using Items = std::vector<std::pair<std::string, std::string>>;

/// What a run is called, and what made it.
struct Run {
  std::string id, entity, project, group, name, host, revision;
  std::vector<std::string> tags;
  Items config;
  double started = 0;  ///< seconds since 1970
  int64_t starting_step = 0;
};

/// Records, each with its number in the file, from 1.
std::string header_record(int64_t number, const std::string& id);
std::string run_record(int64_t number, const Run& run);
std::string history_record(int64_t number, const std::string& id, const Items& items, int64_t step);
std::string summary_record(int64_t number, const std::string& id, const Items& items);
std::string stats_record(int64_t number, const std::string& id, const Items& items, double time);
std::string output_record(int64_t number, const std::string& id, std::string_view line,
                          double time);
std::string exit_record(int64_t number, const std::string& id, int code, double seconds);

}  // namespace levanter::trackers::wandb
