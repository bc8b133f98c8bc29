// Files as batches of records, read one batch ahead.
#include "data/encoding/reader.h"

#include <exception>
#include <system_error>

#include "base/threads.h"

namespace levanter::data {
namespace {

constexpr size_t kBatchBytes = 4 << 20;
constexpr size_t kBatchRecords = 8192;

}  // namespace

BatchReader::BatchReader(std::span<const std::string> files, int64_t first_record)
    : files_(files), skip_(first_record) {
  read_ahead();
}

RawBatch BatchReader::next() {
  RawBatch batch = ahead_.get();
  if (!batch.last) read_ahead();
  return batch;
}

void BatchReader::read_ahead() {
  const auto read_batch = [this] {
    RawBatch batch;
    try {
      while (batch.bytes.size() < kBatchBytes && batch.items.size() < kBatchRecords && !batch.last)
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
void BatchReader::read(RawBatch& batch) {
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

RecordPlace find_record(std::span<const std::string> files, int64_t record) {
  RecordPlace place{0, record};
  for (; place.record > 0 && place.file < files.size(); ++place.file) {
    RecordReader reader(files[place.file]);
    int64_t here = 0;
    while (here < place.record && reader.next()) ++here;
    if (here == place.record) break;
    place.record -= here;
  }
  return place;
}

}  // namespace levanter::data
