// A batch of records on its way to documents.
#include "data/encoding/batch.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <numeric>

#include "base/error.h"
#include "base/strings.h"
#include "data/files/pipes.h"

namespace levanter::data {
namespace {

constexpr size_t kLongRecord = 1 << 20;  // bytes from which all threads share a record

/// The bad records of a batch by their number.
using Faults = std::map<int64_t, Error>;

/// The faults as lines, the first `skip` left out, at most as many as are named.
std::vector<std::string> lines_of(const Faults& faults, size_t skip) {
  std::vector<std::string> lines;
  for (const auto& [index, error] : faults)
    if (skip > 0)
      --skip;
    else if (lines.size() < BadRecords::kNamed)
      lines.push_back(cat(error.at(), ": ", error.message()));
  return lines;
}

/// The first fault, which names others that stand near it.
Error first_of(const Faults& faults) {
  const Error& first = faults.begin()->second;
  if (faults.size() == 1) return first;
  return Error(first.kind(), first.message())
      .at(first.at())
      .hint(cat(first.hint(), first.hint().empty() ? "" : "; ", faults.size() - 1,
                " more were read with it, and data.on_bad_record = \"skip\" leaves them out:\n    ",
                join(lines_of(faults, 1), "\n    ")));
}

/// Moves the documents of each record into one list.
void gather(std::vector<std::vector<Document>>& made, Encoded& out) {
  for (std::vector<Document>& documents : made) {
    out.counts.push_back(std::count_if(documents.begin(), documents.end(),
                                       [](const Document& d) { return !d.tokens.empty(); }));
    std::move(documents.begin(), documents.end(), std::back_inserter(out.documents));
  }
}

}  // namespace

void add(EncodeStatus& status, const Encoded& encoded) {
  status.bad.count += encoded.bad.count;
  for (const std::string& words : encoded.bad.first)
    if (status.bad.first.size() < BadRecords::kNamed) status.bad.first.push_back(words);
  status.records += encoded.records;
  status.text_bytes += encoded.text_bytes;
  for (const int64_t count : encoded.counts) status.documents += count;
  for (const Document& document : encoded.documents)
    status.tokens += static_cast<int64_t>(document.tokens.size());
  status.replaced += encoded.replaced;
}

BatchEncoder::BatchEncoder(const FormatConfig& format, const DocumentRules& rules, ThreadPool& pool,
                           OnBadRecord on_bad)
    : pool_(pool), on_bad_(on_bad) {
  for (int i = 0; i < pool.threads(); ++i) formats_.push_back(format.make(rules));
  DocumentRules shared = rules;
  shared.pool = &pool;
  formats_.push_back(format.make(shared));
}

Encoded BatchEncoder::encode(const RawBatch& batch, std::span<const std::string> files) {
  const auto count = static_cast<int64_t>(batch.items.size());
  Encoded out;
  std::vector<std::vector<Document>> made(batch.items.size());
  std::vector<int64_t> replaced(batch.items.size());
  std::mutex mutex;
  Faults faults;
  out.records = count;
  out.text_bytes = std::ssize(batch.bytes);
  const auto fail = [&](int64_t index) {
    if (index < out.records) out.failure = std::current_exception();
    out.records = std::min(out.records, index);
  };
  const auto is_long = [&](int64_t index) {
    const RawBatch::Item& item = batch.items[static_cast<size_t>(index)];
    return item.end - item.begin >= kLongRecord;
  };
  const auto add = [&](int64_t index, Format& format) {
    const RawBatch::Item& item = batch.items[static_cast<size_t>(index)];
    const std::string_view bytes(batch.bytes);
    const int64_t before = format.replaced();
    try {
      format.add({{bytes.substr(item.begin, item.end - item.begin),
                   name_of_source(files[item.file]), item.line},
                  item.is_json},
                 made[static_cast<size_t>(index)]);
      replaced[static_cast<size_t>(index)] = format.replaced() - before;
    } catch (const Error& error) {
      const std::lock_guard lock(mutex);
      made[static_cast<size_t>(index)].clear();
      if (error.kind() == ErrorKind::kData)
        faults.emplace(index, error);
      else
        fail(index);
    } catch (...) {
      const std::lock_guard lock(mutex);
      fail(index);
    }
  };
  pool_.parallel_for(count, [&](int64_t index, int worker) {
    if (!is_long(index)) add(index, *formats_[static_cast<size_t>(worker)]);
  });
  for (int64_t index = 0; index < count; ++index)
    if (is_long(index)) add(index, *formats_.back());
  faults.erase(faults.lower_bound(out.records), faults.end());
  if (on_bad_ == OnBadRecord::kSkip) {
    out.bad = {static_cast<int64_t>(faults.size()), lines_of(faults, 0)};
  } else if (!faults.empty()) {
    out.records = faults.begin()->first;
    out.failure = std::make_exception_ptr(first_of(faults));
  }
  made.resize(static_cast<size_t>(out.records));
  out.replaced = std::accumulate(replaced.begin(), replaced.begin() + out.records, int64_t{0});
  gather(made, out);
  if (!out.failure) out.failure = batch.failure;
  return out;
}

}  // namespace levanter::data
