// Files to documents: read in one thread, tokenised in many, handed on in order.
#include "data/encode.h"

#include <algorithm>
#include <exception>
#include <future>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "base/strings.h"
#include "base/threads.h"
#include "data/files/pipes.h"

namespace levanter::data {
namespace {

constexpr size_t kBatchBytes = 4 << 20;
constexpr size_t kBatchRecords = 8192;
constexpr size_t kLongRecord = 1 << 20;  // bytes from which all threads share a record

/// Records that were read, each at its place in `bytes`.
struct RawBatch {
  struct Item {
    size_t begin, end;
    size_t file;
    int64_t line;
    bool is_json;
  };
  std::string bytes;
  std::vector<Item> items;
  std::exception_ptr failure;  ///< that ended the reading behind the last item
  bool last = false;
};

/// Reads one batch ahead, in a thread of its own.
class BatchReader final {
 public:
  BatchReader(std::span<const std::string> files, int64_t first_record)
      : files_(files), skip_(first_record) {
    read_ahead();
  }

  RawBatch next() {
    RawBatch batch = ahead_.get();
    if (!batch.last) read_ahead();
    return batch;
  }

 private:
  void read_ahead() {
    const auto read_batch = [this] {
      RawBatch batch;
      try {
        while (batch.bytes.size() < kBatchBytes && batch.items.size() < kBatchRecords &&
               !batch.last)
          read(batch);
      } catch (...) {
        batch.failure = std::current_exception();
        batch.last = true;
      }
      return batch;
    };
    try {
      ahead_ = std::async(std::launch::async, read_batch);
    } catch (const std::system_error&) {
      thread_refused(0);
    }
  }

  /// Adds the next record, if it is not to be skipped; at a file's end goes to the next file.
  void read(RawBatch& batch) {
    if (!reader_) {
      if (file_ == files_.size())
        batch.last = true;
      else
        reader_.emplace(files_[file_]);
      return;
    }
    if (const std::optional<Record> record = reader_->next(); !record) {
      reader_.reset();
      ++file_;
    } else if (skip_ > 0) {
      --skip_;
    } else {
      const size_t begin = batch.bytes.size();
      batch.bytes += record->content;
      batch.items.push_back(
          {begin, batch.bytes.size(), file_, record->line, reader_->form() != RecordForm::kText});
    }
  }

  std::span<const std::string> files_;
  int64_t skip_;
  size_t file_ = 0;
  std::optional<RecordReader> reader_;
  std::future<RawBatch> ahead_;
};

/// What a batch became: the documents of all records up to the first that failed.
struct Encoded {
  int64_t records = 0, replaced = 0;
  std::vector<Document> documents;
  std::vector<int64_t> counts;  ///< of each record: its documents that have tokens
  BadRecords bad;               ///< that were left out
  std::exception_ptr failure;
};

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

/// `formats`: as make_formats gives them.
Encoded encode(const RawBatch& batch, std::span<const std::string> files,
               std::span<const std::unique_ptr<Format>> formats, ThreadPool& pool,
               OnBadRecord on_bad) {
  const auto count = static_cast<int64_t>(batch.items.size());
  Encoded out;
  std::vector<std::vector<Document>> made(batch.items.size());
  std::vector<int64_t> replaced(batch.items.size());
  std::mutex mutex;
  Faults faults;
  out.records = count;
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
  pool.parallel_for(count, [&](int64_t index, int worker) {
    if (!is_long(index)) add(index, *formats[static_cast<size_t>(worker)]);
  });
  for (int64_t index = 0; index < count; ++index)
    if (is_long(index)) add(index, *formats.back());
  faults.erase(faults.lower_bound(out.records), faults.end());
  if (on_bad == OnBadRecord::kSkip) {
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

/// A format for each worker, and one that uses the pool itself.
std::vector<std::unique_ptr<Format>> make_formats(const FormatConfig& format,
                                                  const DocumentRules& rules, ThreadPool& pool) {
  std::vector<std::unique_ptr<Format>> formats;
  for (int i = 0; i < pool.threads(); ++i) formats.push_back(format.make(rules));
  DocumentRules shared = rules;
  shared.pool = &pool;
  formats.push_back(format.make(shared));
  return formats;
}

}  // namespace

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
                          OnBadRecord on_bad) {
  const std::vector<std::unique_ptr<Format>> formats = make_formats(format, rules, pool);
  BatchReader reader(files, first_record);
  EncodeStatus status;
  for (bool last = false; !last;) {
    const RawBatch batch = reader.next();
    const Encoded encoded = encode(batch, files, formats, pool, on_bad);
    sink(encoded.documents, {encoded.records, encoded.bad.count, encoded.replaced});
    status.bad.count += encoded.bad.count;
    for (const std::string& words : encoded.bad.first)
      if (status.bad.first.size() < BadRecords::kNamed) status.bad.first.push_back(words);
    status.records += encoded.records;
    status.text_bytes += static_cast<int64_t>(batch.bytes.size());
    for (const int64_t count : encoded.counts) status.documents += count;
    for (const Document& document : encoded.documents)
      status.tokens += static_cast<int64_t>(document.tokens.size());
    status.replaced += encoded.replaced;
    if (report) report(status);
    if (encoded.failure) std::rethrow_exception(encoded.failure);
    last = batch.last;
  }
  return status;
}

std::string find_document(std::span<const std::string> files, int64_t document,
                          const FormatConfig& format, const DocumentRules& rules,
                          ThreadPool& pool) {
  const auto piped = std::find_if(files.begin(), files.end(), is_pipe);
  const std::vector<std::unique_ptr<Format>> formats = make_formats(format, rules, pool);
  BatchReader reader(files.first(static_cast<size_t>(piped - files.begin())), 0);
  for (bool last = false; !last;) {
    const RawBatch batch = reader.next();
    const Encoded encoded = encode(batch, files, formats, pool, OnBadRecord::kSkip);
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
