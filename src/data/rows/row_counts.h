// Counts of what a component's texts became: for people, and for summary.json.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/cache/token_cache.h"
#include "data/rows/training_data.h"

namespace levanter::data {

/// What became of the documents of a stream.
struct RowCounts : PackCounts {
  int64_t documents = 0;
  int64_t rows = 0;        ///< of an epoch
  int64_t empty_rows = 0;  ///< of these, in the first epoch: windows without a target
};

/// A component's.
struct ComponentCounts {
  std::string name;
  std::string noun;  ///< what a document is called: "chat"
  bool packed = false, weighted = false;
  RowCounts train, validation;
  RecordCounts read = {};  ///< for both
};

/// Everything but the rows of an epoch. A target follows a token of its document; where attention
/// crosses from document to document of a window, of any.
RowCounts count_documents(const TokenStream& stream, const RowSpec& rows, int64_t seq_len);

/// Lines for people, "chats/train: 178 chats, 96 cut, 61 % of 165,167 tokens learned, 210 rows": of
/// training where documents are packed or weighted, of validation where some are cut or dropped.
std::vector<std::string> describe(const ComponentCounts& counts);

}  // namespace levanter::data
