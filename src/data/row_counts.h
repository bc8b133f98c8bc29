// Counts of what a component's texts became: for people, and for summary.json.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/training_data.h"

namespace levanter::data {

/// What rows hold of the documents of a stream.
struct RowCounts {
  int64_t documents = 0;
  int64_t cut = 0;        ///< longer than a packed row: a part was kept
  int64_t dropped = 0;    ///< longer than a packed row: left out
  int64_t tokens = 0;     ///< in rows; with windows those of all documents
  int64_t learned = 0;    ///< of these, that weigh something as targets
  int64_t rows = 0;       ///< of an epoch
  int64_t unlearned = 0;  ///< left out of the rows, as no target is in what is kept of them
};

/// A component's.
struct ComponentCounts {
  std::string name;
  std::string noun;  ///< what a document is called: "chat"
  bool packed = false, weighted = false;
  RowCounts train, validation;
};

/// Everything but the rows of an epoch.
RowCounts count_documents(const TokenStream& stream, const RowSpec& rows, int64_t seq_len);

/// Lines for people, "chats/train: 178 chats, 96 cut, 61 % of 165,167 tokens learned, 210 rows": of
/// training where documents are packed or weighted, of validation where some are cut or dropped.
std::vector<std::string> describe(const ComponentCounts& counts);

}  // namespace levanter::data
