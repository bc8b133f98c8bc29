// A file as a stream of records: lines of JSON, elements of a JSON array, lines or a whole text.
#include "data/files/source.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <simdjson.h>
#include <utility>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/files.h"
#include "json/mend.h"
#include "base/strings.h"
#include "data/files/file_kind.h"
#include "net/http.h"
#include "data/files/pipes.h"
#include "text/utf8.h"

namespace levanter::data {

namespace {

/// A path or web address without what stands behind its suffix: a query, and how it is packed.
std::string_view plain_name(std::string_view path) {
  if (net::is_url(path)) path = path.substr(0, path.find_first_of("?#"));
  for (const std::string_view packed : {".gz", ".gzip", ".zst", ".zstd"}) {
    if (!has_suffix(path, packed)) continue;
    path.remove_suffix(packed.size());
    break;
  }
  return path;
}

bool has_any_suffix(std::string_view name, std::initializer_list<std::string_view> suffixes) {
  return std::any_of(suffixes.begin(), suffixes.end(),
                     [&](std::string_view suffix) { return has_suffix(name, suffix); });
}

constexpr size_t kFirstCapacity = size_t{1} << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kBlanks = " \t\r\n";

/// Finds the end of one JSON value, given piece by piece; judges nothing but brackets and quotes.
class ValueScan final {
 public:
  /// Goes on at text[used()]; true when the value's end was found, used() bytes from its beginning.
  bool scan(std::string_view text) {
    for (; used_ < text.size(); ++used_) {
      const char c = text[used_];
      if (in_string_) {
        if (escaped_) {
          escaped_ = false;
        } else if (c == '\\') {
          escaped_ = true;
        } else if (c == '"') {
          in_string_ = false;
          if (depth_ == 0) return ++used_, true;
        }
      } else if (c == '"') {
        in_string_ = true;
      } else if (c == '{' || c == '[') {
        ++depth_;
      } else if (depth_ == 0 && (c == ',' || c == ']' || c == '}' || kBlanks.find(c) < 4)) {
        return true;
      } else if (c == '}' || c == ']') {
        if (--depth_ == 0) return ++used_, true;
      }
    }
    return false;
  }
  size_t used() const { return used_; }
  bool in_string() const { return in_string_; }
  /// Whether the value may end where the text does: a number or a word at the top.
  bool may_end() const { return depth_ == 0 && !in_string_; }

 private:
  size_t used_ = 0;
  int64_t depth_ = 0;
  bool in_string_ = false, escaped_ = false;
};

}  // namespace

std::string Record::origin() const { return cat(file, ":", line); }

RecordReader::RecordReader(const std::string& path, const RecordOptions& options)
    : file_(name_of_source(path)),
      options_(options),
      bytes_(open_decompressed(path)),
      buffer_(new char[kFirstCapacity]),
      capacity_(kFirstCapacity) {
  look_at_kind();
  if (options_.form == RecordForm::kByContent) options_.form = form_of(path);
}

RecordReader::~RecordReader() = default;

std::optional<Record> RecordReader::next() {
  switch (options_.form) {
    case RecordForm::kText:
      return next_text();
    case RecordForm::kTextLines:
      return next_line(true);
    case RecordForm::kJson:
      return next_value();
    default:
      return next_line(false);
  }
}

/// Reads more behind the window; false at the file's end.
bool RecordReader::fill() {
  if (ended_) return false;
  if (begin_ > 0) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= std::exchange(begin_, 0);
  }
  if (end_ == capacity_) {
    std::unique_ptr<char[]> larger(new char[2 * capacity_]);
    std::memcpy(larger.get(), buffer_.get(), end_);
    buffer_ = std::move(larger);
    capacity_ *= 2;
  }
  const size_t n = bytes_->read({buffer_.get() + end_, capacity_ - end_});
  end_ += n;
  ended_ = n == 0;
  return !ended_;
}

/// A record of the first `bytes` of the window, which end `lines` lines.
Record RecordReader::take(size_t bytes, int64_t lines) {
  const Record record{window().substr(0, bytes), file_, line_};
  line_ += lines;
  begin_ += bytes;
  return record;
}

Record RecordReader::take(size_t bytes) {
  return take(bytes, std::count(window().begin(), window().begin() + bytes, '\n'));
}

/// Refuses a record that already has `used` bytes when that is too many.
void RecordReader::need_room(size_t used) {
  if (static_cast<int64_t>(used) <= options_.max_record_bytes) return;
  throw Error(ErrorKind::kData, "the record is longer than the limit")
      .at(cat(file_, ":", line_))
      .allowed(cat("at most ", format_count(options_.max_record_bytes), " bytes a record"))
      .hint("cut it into several records, or check that the file has line ends");
}

/// Refuses files that hold no text, and leaves out a byte order mark; waits for no more than a line
/// of a pipe.
void RecordReader::look_at_kind() {
  constexpr size_t kEnough = 512;
  while (window().size() < kEnough && window().find('\n') == window().npos && fill()) {
  }
  refuse_foreign(window(), file_, plain_name(file_));
  if (window().starts_with(kByteOrderMark)) begin_ += kByteOrderMark.size();  // no part of a text
}

RecordForm RecordReader::form_of(const std::string& path) {
  const std::string_view name = plain_name(path);
  if (has_suffix(name, ".json")) return RecordForm::kJson;
  const RecordForm guess = guess_form();
  if (has_any_suffix(name, {".jsonl", ".jsonlines", ".ndjson"})) {
    // A first line that is cut is a bad record, but one that only opens a value is laid out so.
    const std::string_view line = trim(window().substr(0, window().find('\n')));
    const bool opens = line.ends_with('{') || line.starts_with('[');
    return guess == RecordForm::kJson && opens ? RecordForm::kJson : RecordForm::kJsonLines;
  }
  const bool is_text = has_any_suffix(name, {".txt", ".text", ".md"});
  return is_text && !begins_with_sound_value() ? RecordForm::kText : guess;
}

/// Whether the first value, or the first of the array, is JSON as Python reads it, or too long to
/// be whole in what was read.
bool RecordReader::begins_with_sound_value() {
  const size_t first = std::min(window().find_first_of("{"), window().size());
  ValueScan scan;
  const std::string_view text = window().substr(first);
  if (!scan.scan(text)) return end_ >= kFirstCapacity;
  std::string value;
  text::append_mended_utf8(value, text.substr(0, scan.used()));
  simdjson::dom::parser parser;
  return parser.parse(mend_json(value).text).error() == simdjson::SUCCESS;
}

/// The form of what the file begins with; reads until its first line that is not blank is whole.
RecordForm RecordReader::guess_form() {
  constexpr size_t kNone = std::string_view::npos;
  size_t first = 0, second = 0, end = 0;  // bytes that are not blank, the end of the first's line
  do {
    first = window().find_first_not_of(kBlanks);
    second = first == kNone ? kNone : window().find_first_not_of(kBlanks, first + 1);
    end = first == kNone ? kNone : window().find('\n', first);
  } while ((second == kNone || end == kNone) && end_ < kFirstCapacity && fill());
  if (second == kNone) return RecordForm::kText;
  const std::string_view line = window().substr(first, end - first);
  const char next = window()[second];
  if (line[0] == '[' && (next == '{' || next == ']')) return RecordForm::kJson;
  if (line[0] != '{' || (next != '"' && next != '}')) return RecordForm::kText;
  ValueScan scan;
  const bool whole = scan.scan(line) || scan.in_string();  // no string goes on in the next line
  return whole || end == kNone ? RecordForm::kJsonLines : RecordForm::kJson;
}

std::optional<Record> RecordReader::next_line(bool blank_too) {
  size_t searched = 0;
  for (;;) {
    const void* found =
        std::memchr(buffer_.get() + begin_ + searched, '\n', end_ - begin_ - searched);
    if (found == nullptr) {
      searched = end_ - begin_;
      need_room(searched);
      if (fill()) continue;
      if (searched == 0) return std::nullopt;
    }
    const size_t size =
        found == nullptr ? searched
                         : static_cast<size_t>(static_cast<const char*>(found) - window().data());
    searched = 0;
    need_room(size);
    Record record = take(size + (found != nullptr ? 1 : 0), found != nullptr ? 1 : 0);
    if (found != nullptr) record.content.remove_suffix(1);
    if (record.content.ends_with('\r')) record.content.remove_suffix(1);
    if (blank_too || record.content.find_first_not_of(kBlanks) != std::string_view::npos)
      return record;
  }
}

std::optional<Record> RecordReader::next_text() {
  do need_room(end_ - begin_);
  while (fill());
  if (begin_ == end_) return std::nullopt;
  refuse_nul_bytes(window(), file_);
  return take(end_ - begin_);
}

/// Moves to the next byte that is no blank; false at the file's end.
bool RecordReader::skip_blanks() {
  do {
    const size_t blanks = std::min(window().find_first_not_of(kBlanks), end_ - begin_);
    take(blanks);
    if (begin_ < end_) return true;
  } while (fill());
  return false;
}

void RecordReader::throw_not_json(std::string_view what) const {
  throw Error(ErrorKind::kData, std::string(what))
      .at(cat(file_, ":", line_))
      .hint("a .json file holds an array of objects, or objects one after the other");
}

Record RecordReader::take_value() {
  ValueScan scan;
  while (!scan.scan(window())) {
    need_room(scan.used());
    if (fill()) continue;
    if (!scan.may_end())
      throw_not_json("the file is cut: it ends inside a JSON value that begins here");
    break;
  }
  need_room(scan.used());
  if (scan.used() == 0)
    throw_not_json(cat("a JSON value should stand before ", quote(window().substr(0, 1))));
  return take(scan.used());
}

std::optional<Record> RecordReader::next_value() {
  if (place_ == Place::kStart) {
    if (!skip_blanks()) return std::nullopt;
    place_ = Place::kBetweenObjects;
    if (window()[0] == '[') {
      take(1);
      place_ = Place::kInArray;
      if (skip_blanks() && window()[0] == ']') {
        take(1);
        place_ = Place::kAfterArray;
      }
    }
  }
  const bool more = skip_blanks();
  if (place_ == Place::kAfterElement) {
    if (!more) throw_not_json("the file is cut: it ends inside its JSON array");
    const char c = window()[0];
    if (c != ',' && c != ']')
      throw_not_json(cat("a comma or ] should stand before ", quote({&c, 1})));
    take(1);
    place_ = c == ',' ? Place::kInArray : Place::kAfterArray;
    skip_blanks();
  }
  if (place_ == Place::kAfterArray) {
    if (begin_ < end_ || skip_blanks()) throw_not_json("something stands after the JSON array");
    return std::nullopt;
  }
  if (place_ == Place::kInArray) {
    if (!skip_blanks()) throw_not_json("the file is cut: it ends inside its JSON array");
    place_ = Place::kAfterElement;
    return take_value();
  }
  if (!more) return std::nullopt;
  return take_value();
}

}  // namespace levanter::data
