// Files as batches of records, read one batch ahead.
#pragma once

#include <cstdint>
#include <future>
#include <optional>
#include <span>
#include <string>

#include "data/encoding/batch.h"
#include "data/files/source.h"

namespace levanter::data {

/// Reads one batch ahead, in a thread of its own.
class BatchReader final {
 public:
  /// From record number `first_record` on; the files' names outlive it.
  BatchReader(std::span<const std::string> files, int64_t first_record);

  RawBatch next();

 private:
  void read_ahead();
  void read(RawBatch& batch);

  std::span<const std::string> files_;
  int64_t skip_;
  size_t file_ = 0;
  std::optional<RecordReader> reader_;
  std::future<RawBatch> ahead_;
};

/// A record by its file and its number in it.
struct RecordPlace {
  size_t file = 0;
  int64_t record = 0;
};

/// Where record number `record` of the files is, or would follow the last: reads up to there.
RecordPlace find_record(std::span<const std::string> files, int64_t record);

}  // namespace levanter::data
