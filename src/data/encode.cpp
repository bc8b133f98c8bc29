// Files to documents: read in one thread, tokenised in many, handed on in order.
#include "data/encode.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

#include "base/error.h"

namespace levanter::data {
namespace {

constexpr size_t kBatchBytes = 4 << 20;
constexpr size_t kBatchRecords = 8192;
constexpr size_t kBatchesAhead = 2;
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

/// Reads batches ahead in a thread of its own.
class BatchReader final {
 public:
  BatchReader(std::span<const std::string> files, int64_t first_record)
      : files_(files), skip_(first_record), thread_([this] { run(); }) {}
  ~BatchReader() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  RawBatch next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !ready_.empty(); });
    RawBatch batch = std::move(ready_.front());
    ready_.erase(ready_.begin());
    changed_.notify_all();
    return batch;
  }

 private:
  /// False when nobody wants more.
  bool put(RawBatch& batch) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stop_ || ready_.size() < kBatchesAhead; });
    if (stop_) return false;
    ready_.push_back(std::move(batch));
    batch = {};
    changed_.notify_all();
    return true;
  }

  void run() {
    RawBatch batch;
    try {
      for (size_t f = 0; f < files_.size(); ++f)
        if (!read(f, batch)) return;
    } catch (...) {
      batch.failure = std::current_exception();
    }
    batch.last = true;
    put(batch);
  }

  bool read(size_t file, RawBatch& batch) {
    RecordReader reader(files_[file]);
    while (const std::optional<Record> record = reader.next()) {
      if (skip_ > 0) {
        --skip_;
        continue;
      }
      const size_t begin = batch.bytes.size();
      batch.bytes += record->content;
      batch.items.push_back(
          {begin, batch.bytes.size(), file, record->line, reader.form() != RecordForm::kText});
      if ((batch.bytes.size() >= kBatchBytes || batch.items.size() >= kBatchRecords) && !put(batch))
        return false;
    }
    return true;
  }

  std::span<const std::string> files_;
  int64_t skip_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<RawBatch> ready_;
  bool stop_ = false;
  std::thread thread_;
};

/// What a batch became: the documents of all records up to the first that failed.
struct Encoded {
  int64_t records = 0;
  std::vector<Document> documents;
  std::exception_ptr failure;
};

/// `formats`: one for each worker, and one that uses the pool itself.
Encoded encode(const RawBatch& batch, std::span<const std::string> files,
               std::span<const std::unique_ptr<Format>> formats, ThreadPool& pool) {
  const auto count = static_cast<int64_t>(batch.items.size());
  Encoded out;
  std::vector<std::vector<Document>> made(batch.items.size());
  std::mutex mutex;
  int64_t failed = count;
  const auto is_long = [&](int64_t index) {
    const RawBatch::Item& item = batch.items[static_cast<size_t>(index)];
    return item.end - item.begin >= kLongRecord;
  };
  const auto add = [&](int64_t index, Format& format) {
    const RawBatch::Item& item = batch.items[static_cast<size_t>(index)];
    const std::string_view bytes(batch.bytes);
    try {
      format.add({{bytes.substr(item.begin, item.end - item.begin), files[item.file], item.line},
                  item.is_json},
                 made[static_cast<size_t>(index)]);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (index < failed) failed = index, out.failure = std::current_exception();
    }
  };
  pool.parallel_for(count, [&](int64_t index, int worker) {
    if (!is_long(index)) add(index, *formats[static_cast<size_t>(worker)]);
  });
  for (int64_t index = 0; index < failed; ++index)
    if (is_long(index)) add(index, *formats.back());
  out.records = failed;
  made.resize(static_cast<size_t>(failed));
  for (std::vector<Document>& documents : made)
    std::move(documents.begin(), documents.end(), std::back_inserter(out.documents));
  if (!out.failure) out.failure = batch.failure;
  return out;
}

}  // namespace

EncodeStatus encode_files(std::span<const std::string> files, int64_t first_record,
                          const FormatConfig& format, const DocumentRules& rules, ThreadPool& pool,
                          const DocumentSink& sink,
                          const std::function<void(const EncodeStatus&)>& report) {
  std::vector<std::unique_ptr<Format>> formats;
  for (int i = 0; i < pool.threads(); ++i) formats.push_back(format.make(rules));
  DocumentRules shared = rules;
  shared.pool = &pool;
  formats.push_back(format.make(shared));
  BatchReader reader(files, first_record);
  EncodeStatus status;
  for (bool last = false; !last;) {
    const RawBatch batch = reader.next();
    const Encoded encoded = encode(batch, files, formats, pool);
    sink(encoded.documents, encoded.records);
    status.records += encoded.records;
    status.text_bytes += static_cast<int64_t>(batch.bytes.size());
    for (const Document& document : encoded.documents) {
      status.documents += document.tokens.empty() ? 0 : 1;
      status.tokens += static_cast<int64_t>(document.tokens.size());
    }
    status.replaced = 0;
    for (const auto& one : formats) status.replaced += one->replaced();
    if (report) report(status);
    if (encoded.failure) std::rethrow_exception(encoded.failure);
    last = batch.last;
  }
  return status;
}

}  // namespace levanter::data
