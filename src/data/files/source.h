// A file as a stream of records: lines of JSON, elements of a JSON array, lines or a whole text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "data/files/decompress.h"

namespace levanter::data {

/// How a file is cut into records.
enum class RecordForm {
  /// By what it begins with: an object kJsonLines where its first line holds all of it, else kJson;
  /// an array of objects kJson; anything else kText. A suffix, in whatever case, decides only what
  /// else a file that begins so may be: .jsonl, .jsonlines, .ndjson and .json hold JSON whatever
  /// they begin with, and .txt and its kind are texts unless the first value is whole and sound.
  kByContent,
  kJsonLines,  ///< one record a line; blank lines are none
  kJson,  ///< one record an element of an array, or one an object when objects follow each other
  kText,  ///< the whole file is one record; an empty file has none
  kTextLines,  ///< one record a line, blank lines included
};

struct RecordOptions {
  RecordForm form = RecordForm::kByContent;
  int64_t max_record_bytes = int64_t{1} << 30;
};

/// A piece of a file; valid until the reader's next call.
struct Record {
  std::string_view content;  ///< JSON or text, without its line's end
  std::string_view file;
  int64_t line = 0;  ///< where it begins, from 1

  /// "train.jsonl:17"
  std::string origin() const;
};

/// Reads the records of one file in order, without the byte order mark that it may begin with.
/// Holds one record and at most 1 MiB more in memory.
class RecordReader final {
 public:
  /// error  kIo when the system can't open the file; kData when it is of a kind that holds no text
  explicit RecordReader(const std::string& path, const RecordOptions& options = {});
  ~RecordReader();
  RecordReader(const RecordReader&) = delete;
  RecordReader& operator=(const RecordReader&) = delete;

  /// The next record; nothing at the end of the file.
  /// error  kData, naming FILE:LINE, when the file is damaged, a record is longer than the limit,
  /// or
  ///        the file isn't a JSON array or objects where kJson wants that
  std::optional<Record> next();
  /// How the file is cut, which is known once a record was read.
  RecordForm form() const { return options_.form; }
  /// Bytes of the file, compressed or not, that were taken so far: for a progress report.
  int64_t bytes_taken() const { return bytes_->bytes_taken(); }

 private:
  enum class Place { kStart, kInArray, kAfterElement, kBetweenObjects, kAfterArray };

  bool fill();
  std::string_view window() const { return {buffer_.get() + begin_, end_ - begin_}; }
  Record take(size_t bytes, int64_t lines);
  Record take(size_t bytes);
  void need_room(size_t used);
  void look_at_kind();
  RecordForm guess_form();
  bool begins_with_sound_value();
  RecordForm form_of(const std::string& path);
  bool skip_blanks();
  std::optional<Record> next_line(bool blank_too);
  std::optional<Record> next_value();
  std::optional<Record> next_text();
  Record take_value();
  [[noreturn]] void throw_not_json(std::string_view what) const;

  std::string file_;
  RecordOptions options_;
  std::unique_ptr<ByteReader> bytes_;
  std::unique_ptr<char[]> buffer_;
  size_t capacity_, begin_ = 0, end_ = 0;
  int64_t line_ = 1;  // of the byte at begin_
  bool ended_ = false;
  Place place_ = Place::kStart;
};

}  // namespace levanter::data
