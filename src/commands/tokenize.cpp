// levanter tokenize: texts to ids and back, JSON lines on the standard input and output.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "base/threads.h"
#include "commands/command.h"
#include "commands/json_records.h"
#include "compat/hf_folder.h"
#include "data/files/json_fields.h"
#include "text/tokenizer.h"

namespace levanter::commands {

namespace {

constexpr Option kOptions[] = {
    {"tokenizer", "T", "a tokenizer's folder or file, a checkpoint's tokenizer.json, or bytes",
     true},
    {"decode", "", "read {\"ids\": [...]} lines, print {\"text\": ...} lines"},
    {"add-special-tokens", "", "with the tokens that the tokenizer itself puts around a text"},
    {"skip-special-tokens", "", "with --decode: without special tokens", false, false, false,
     "decode"},
    {"threads", "N", "default: one for each processor"},
    {"count", "", "print totals only: {\"documents\", \"bytes\", \"tokens\", \"seconds\"}"},
};

constexpr size_t kChunk = size_t{8} << 20;  ///< bytes that are read, about, before answering
constexpr size_t kBlock = size_t{1} << 20;
constexpr size_t kLongLine = size_t{1} << 20;  ///< all threads work on one text from here on

/// The lines of the standard input, as many at once as there are, up to about kChunk bytes.
class Lines final {
 public:
  /// Asks for room in the pipe, if it is one, so that what writes there need not wait.
  Lines() { ::fcntl(STDIN_FILENO, F_SETPIPE_SZ, kBlock); }

  /// Fills `lines` with whole lines, good until the next call; false at the end.
  bool next(std::vector<std::string_view>& lines) {
    lines.clear();
    buffer_.erase(0, taken_);
    taken_ = 0;
    for (bool whole = false; !ended_ && (!whole || (buffer_.size() < kChunk && more_waits()));) {
      const size_t seen = buffer_.size();
      read();
      whole = whole || buffer_.find('\n', seen) != buffer_.npos;
    }
    if (ended_ && !buffer_.empty() && buffer_.back() != '\n') buffer_ += '\n';
    for (size_t end; (end = buffer_.find('\n', taken_)) != buffer_.npos; taken_ = end + 1)
      lines.push_back(std::string_view(buffer_).substr(taken_, end - taken_));
    return !lines.empty();
  }

 private:
  static bool more_waits() {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    return ::poll(&input, 1, 0) > 0;
  }
  void read() {
    const size_t begin = buffer_.size();
    buffer_.resize(begin + kBlock);
    const ssize_t got = ::read(STDIN_FILENO, buffer_.data() + begin, kBlock);
    buffer_.resize(begin + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    ended_ = got == 0;
    if (got < 0 && errno != EINTR)
      throw Error(ErrorKind::kIo, cat("the standard input can't be read: ", strerror(errno)));
  }

  std::string buffer_;
  size_t taken_ = 0;
  bool ended_ = false;
};

struct Totals {
  int64_t documents = 0, bytes = 0, tokens = 0;
};

/// Answers the lines of a chunk on all threads and keeps their order.
class Answerer final {
 public:
  Answerer(const text::Tokenizer& tokenizer, const Arguments& a, int threads)
      : tokenizer_(tokenizer),
        decode_(a.has("decode")),
        add_special_(a.has("add-special-tokens")),
        special_(a.has("skip-special-tokens") ? text::Special::kSkip : text::Special::kWrite),
        count_(a.has("count")),
        pool_(threads),
        readers_(static_cast<size_t>(threads)) {}

  void answer(std::span<const std::string_view> lines) {
    std::vector<Answer> answers(lines.size());
    const auto is_long = [&](size_t i) { return !decode_ && lines[i].size() >= kLongLine; };
    const auto answer = [&](size_t i, int worker) {
      const int64_t number = first_line_ + static_cast<int64_t>(i);
      const std::string_view line = without_mark(lines[i], number);
      if (trim(line).empty()) return;
      try {
        answers[i] = answer_one(line, number, readers_[static_cast<size_t>(worker)], is_long(i));
      } catch (const Error&) {
        answers[i].failure = std::current_exception();
      }
    };
    pool_.parallel_for(static_cast<int64_t>(lines.size()), [&](int64_t i, int worker) {
      if (!is_long(static_cast<size_t>(i))) answer(static_cast<size_t>(i), worker);
    });
    for (size_t i = 0; i < lines.size(); ++i)
      if (is_long(i)) answer(i, 0);
    first_line_ += static_cast<int64_t>(lines.size());
    std::string out;
    std::exception_ptr failure;  // of the first bad line; those before it are answered
    for (const Answer& answer : answers) {
      failure = answer.failure;
      if (failure) break;
      out += answer.line;
      totals_.documents += answer.totals.documents;
      totals_.bytes += answer.totals.bytes;
      totals_.tokens += answer.totals.tokens;
    }
    if (!out.empty()) print(out);
    if (failure) std::rethrow_exception(failure);
  }

  const Totals& totals() const { return totals_; }
  /// Says what was replaced in texts that were no UTF-8.
  void finish() const {
    int64_t replaced = 0;
    for (const data::JsonFields& reader : readers_) replaced += reader.replaced();
    note_replaced(replaced);
  }

 private:
  struct Answer {
    std::string line;
    Totals totals;
    std::exception_ptr failure = {};
  };

  Answer answer_one(std::string_view line, int64_t number, data::JsonFields& reader,
                    bool on_all_threads) {
    const data::Record record{line, "standard input", number};
    const std::string place = record.origin();
    reader.parse(record);
    const char* const key = decode_ ? "ids" : "text";
    if (!reader.has(key))
      throw Error(ErrorKind::kData, cat("a line is no object with ", quote(key)))
          .at(place)
          .allowed(decode_ ? "{\"ids\": [1, 2]}" : "{\"text\": \"...\"}");
    Answer answer;
    std::vector<int32_t> ids;
    std::string text;
    if (decode_) {
      const std::vector<int64_t> read =
          reader.integers(key, 0, std::max<int64_t>(tokenizer_.vocab_size() - 1, 0));
      ids.assign(read.begin(), read.end());
      text = tokenizer_.decode(ids, special_);
      if (!count_) append_text_line(answer.line, text);
    } else {
      text = reader.string(key);
      ids = on_all_threads ? tokenizer_.encode_long({text, place}, pool_)
                           : tokenizer_.encode({text, place});
      if (add_special_) ids = tokenizer_.add_special(std::move(ids));
      if (!count_) append_ids_line(answer.line, ids);
    }
    answer.totals = {1, static_cast<int64_t>(text.size()), static_cast<int64_t>(ids.size())};
    return answer;
  }

  const text::Tokenizer& tokenizer_;
  bool decode_, add_special_;
  text::Special special_;
  bool count_;
  ThreadPool pool_;
  std::vector<data::JsonFields> readers_;
  int64_t first_line_ = 1;
  Totals totals_;
};

int run(const Arguments& a) {
  if (a.has("decode") && a.has("add-special-tokens"))
    throw Error(ErrorKind::kConfig, "tokens are added to a text, and --decode reads ids")
        .at("--add-special-tokens")
        .hint("--skip-special-tokens leaves them out of the texts");
  const std::string path = a.text("tokenizer");
  const auto tokenizer = text::open_tokenizer(path);
  if (path_exists(path)) {
    const std::string folder = is_directory(path) ? path : parent_path(path);
    if (const std::string line = compat::changed_since_export(folder); !line.empty())
      std::fprintf(stderr, "%s\n", line.c_str());
  }
  const auto threads = static_cast<int>(a.integer("threads", available_threads(), 1, 1024));
  Answerer answerer(*tokenizer, a, threads);
  const auto start = std::chrono::steady_clock::now();
  Lines input;
  for (std::vector<std::string_view> lines; input.next(lines);) answerer.answer(lines);
  answerer.finish();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  const Totals& totals = answerer.totals();
  if (a.has("count"))
    print(cat("{\"documents\": ", totals.documents, ", \"bytes\": ", totals.bytes, ", \"tokens\": ",
              totals.tokens, ", \"seconds\": ", format_fixed(took.count(), 6), "}\n"));
  return 0;
}

}  // namespace

extern const CommandEntry tokenize_entry;
const CommandEntry tokenize_entry = {
    "tokenize", "texts to token ids and back, as JSON lines", "", 0, kOptions, false, run};

}  // namespace levanter::commands
