// A batch of records on its way to documents: as it is read, and what it becomes.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/threads.h"
#include "data/encode.h"
#include "data/format.h"

namespace levanter::data {

/// Records that were read, each at its place in `bytes`.
struct RawBatch {
  struct Item {
    size_t begin, end;
    size_t file;  ///< its number among those that are read
    int64_t line;
    bool is_json;
  };
  std::string bytes;
  std::vector<Item> items;
  std::exception_ptr failure;  ///< that ended the reading behind the last item
  bool last = false;
};

/// What a batch became: the documents of all records up to the first that failed.
struct Encoded {
  int64_t records = 0, replaced = 0;
  int64_t text_bytes = 0;  ///< of the batch
  std::vector<Document> documents;
  std::vector<int64_t> counts;  ///< of each record: its documents that have tokens
  BadRecords bad;               ///< that were left out
  std::exception_ptr failure;
};

/// Adds what a batch became.
void add(EncodeStatus& status, const Encoded& encoded);

/// Encodes batch after batch on the threads of a pool; the same batch always becomes the same.
class BatchEncoder final {
 public:
  /// All of these outlive it.
  BatchEncoder(const FormatConfig& format, const DocumentRules& rules, ThreadPool& pool,
               OnBadRecord on_bad);

  /// `files`: those of the items.
  Encoded encode(const RawBatch& batch, std::span<const std::string> files);

 private:
  ThreadPool& pool_;
  OnBadRecord on_bad_;
  /// One for each worker, then one that uses the pool itself.
  std::vector<std::unique_ptr<Format>> formats_;
};

}  // namespace levanter::data
