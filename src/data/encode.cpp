// Files to documents: read in one thread, tokenised in many, handed on in order.
#include "data/encode.h"

#include <algorithm>
#include <exception>
#include <future>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "base/strings.h"
#include "base/threads.h"
#include "data/encoding/batch.h"
#include "data/encoding/reader.h"
#include "data/encoding/together.h"
#include "data/files/pipes.h"

namespace levanter::data {
std::string BadRecords::describe() const {
  std::string text = cat(count_of(count, "bad record"), " left out");
  for (const std::string& words : first) text += cat("\n  ", words);
  if (count > std::ssize(first))
    text += cat("\n  and ", format_count(count - std::ssize(first)), " more");
  return text;
}

EncodeStatus encode_files(std::span<const std::string> files, int64_t first_record,
                          const FormatConfig& format, const DocumentRules& rules, ThreadPool& pool,
                          const DocumentSink& sink,
                          const std::function<void(const EncodeStatus&)>& report,
                          OnBadRecord on_bad, const Helpers& helpers) {
  EncodeStatus status;
  const auto hand_on = [&](const Encoded& encoded) {
    sink(encoded.documents, {encoded.records, encoded.bad.count, encoded.replaced});
    add(status, encoded);
    if (report) report(status);
  };
  if (helpers.crew && !helpers.crew->is_alone()) {
    encode_together(files, first_record, format, rules, pool, on_bad, helpers, hand_on);
    return status;
  }
  BatchEncoder encoder(format, rules, pool, on_bad);
  BatchReader reader(files, first_record);
  for (bool last = false; !last;) {
    const RawBatch batch = reader.next();
    last = batch.last;
    const Encoded encoded = encoder.encode(batch, files);
    hand_on(encoded);
    if (encoded.failure) std::rethrow_exception(encoded.failure);
  }
  return status;
}

std::string find_document(std::span<const std::string> files, int64_t document,
                          const FormatConfig& format, const DocumentRules& rules,
                          ThreadPool& pool) {
  const auto piped = std::find_if(files.begin(), files.end(), is_pipe);
  BatchEncoder encoder(format, rules, pool, OnBadRecord::kSkip);
  BatchReader reader(files.first(static_cast<size_t>(piped - files.begin())), 0);
  for (bool last = false; !last;) {
    const RawBatch batch = reader.next();
    const Encoded encoded = encoder.encode(batch, files);
    for (size_t r = 0; r < encoded.counts.size(); ++r) {
      document -= encoded.counts[r];
      if (document >= 0) continue;
      const auto& [begin, end, file, line, is_json] = batch.items[r];
      return FormatRecord{{{}, name_of_source(files[file]), line}, is_json}.origin();
    }
    last = batch.last || encoded.failure;
  }
  return "";
}

}  // namespace levanter::data
