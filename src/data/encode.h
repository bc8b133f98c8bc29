// Files to documents: read in one thread, tokenised in many, handed on in order.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/threads.h"
#include "data/format.h"

namespace levanter::dist {
class Crew;
}

namespace levanter::data {

/// What becomes of a record that is no document of its format.
enum class OnBadRecord {
  kFail,  ///< an error, which names others that were read with it
  kSkip,  ///< it is left out and counted
};

/// Records that were left out.
struct BadRecords {
  static constexpr size_t kNamed = 20;

  int64_t count = 0;
  std::vector<std::string> first = {};  ///< of the first ones: FILE:LINE and what is wrong

  /// Lines for people: how many, then those that are named.
  std::string describe() const;
};

/// What has been read and made so far; records before the first one asked for do not count.
struct EncodeStatus {
  int64_t records = 0, documents = 0, tokens = 0;
  int64_t text_bytes = 0;  ///< of the records
  int64_t replaced = 0;    ///< pieces of text that were no UTF-8
  BadRecords bad = {};
};

/// The ranks of a run that encode with its first one: see serve_encoding.
struct Helpers {
  dist::Crew* crew = nullptr;  ///< of the first rank; null for none
  std::string component = {};  ///< whose texts these are
};

/// Takes documents in order, with the counts of the records that they were made of.
using DocumentSink =
    std::function<void(std::span<const Document> documents, const RecordCounts& read)>;

/// Turns the records of the files from number `first_record` on into documents.
///   on_bad  a damaged file is an error under kSkip too
///   sink  is called in the calling thread, batch by batch; what it gets depends neither on threads
///         nor on helpers
///   helpers  where one of them has read the record of an error it tells that itself, and here it
///         is dist::Abandoned
/// error  of the first record, in order, that is no document; those before it have been handed on
EncodeStatus encode_files(std::span<const std::string> files, int64_t first_record,
                          const FormatConfig& format, const DocumentRules& rules, ThreadPool& pool,
                          const DocumentSink& sink,
                          const std::function<void(const EncodeStatus&)>& report = {},
                          OnBadRecord on_bad = OnBadRecord::kFail, const Helpers& helpers = {});

/// The record that document number `document` of the files, from 0, was made of: FILE:LINE, or FILE
/// for a text; documents without tokens do not count, nor do bad records. "" where there is no such
/// document, and where it would have to be read from a pipe again.
std::string find_document(std::span<const std::string> files, int64_t document,
                          const FormatConfig& format, const DocumentRules& rules, ThreadPool& pool);

}  // namespace levanter::data
