// Texts encoded by all ranks of a run: each reads its own shards of the files, and the first gets
// the documents of all in their order.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "base/threads.h"
#include "data/encode.h"
#include "data/encoding/batch.h"
#include "dist/crew.h"

namespace levanter::data {

/// The first rank's part of encode_files: calls the helpers, and hands on what all ranks make, in
/// order. A shard is consecutive files of some MiB, shard s rank s modulo their number's; what only
/// one process can read, a pipe or an address, the first reads.
void encode_together(std::span<const std::string> files, int64_t first_record,
                     const FormatConfig& format, const DocumentRules& rules, ThreadPool& pool,
                     OnBadRecord on_bad, const Helpers& helpers,
                     const std::function<void(const Encoded&)>& hand_on);

/// The format of the texts of a component, by its name; what it refers to outlives the crew.
using FormatOf = std::function<const FormatConfig&(const std::string& component)>;

/// Another rank than the first: encodes with `threads` threads when it is called to.
/// error  kConfig where its config says another format than the first rank's
void serve_encoding(dist::Crew& crew, FormatOf format_of, int threads);

}  // namespace levanter::data
