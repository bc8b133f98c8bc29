// Texts encoded by all ranks of a run.
#include "data/encoding/together.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "data/encoding/reader.h"
#include "data/files/pipes.h"
#include "net/http.h"
#include "text/tokenizer.h"

namespace levanter::data {
namespace {

using nlohmann::json;

constexpr std::string_view kService = "token caches";
constexpr int64_t kShardBytes = int64_t{1} << 20;  ///< on disk, at least, but for the last
constexpr int64_t kSentBytes = int64_t{64} << 20;  ///< at a time
/// Shards of each rank that may be made before the first rank has taken those before them.
constexpr int64_t kShardsAhead = 2;

/// Consecutive files [begin, end) and the rank that reads them.
struct TextShard {
  size_t begin = 0, end = 0;
  int64_t rank = 0;
};

std::vector<TextShard> cut(std::span<const std::string> files, int64_t ranks) {
  std::vector<TextShard> shards;
  int64_t bytes = kShardBytes;  // of the last shard
  for (size_t i = 0; i < files.size(); ++i) {
    const bool alone = is_pipe(files[i]) || net::is_url(files[i]);
    if (alone || bytes >= kShardBytes) {
      shards.push_back({i, i, alone ? 0 : std::ssize(shards) % ranks});
      bytes = 0;
    }
    shards.back().end = i + 1;
    bytes = alone ? kShardBytes : bytes + InputFile(files[i]).size();
  }
  return shards;
}

/// Values and lists of them as bytes, for another process of the same program.
class Packed final {
 public:
  template <class List>
  void put(const List& list) {
    using Value = std::remove_cvref_t<decltype(*list.data())>;
    static_assert(std::is_trivially_copyable_v<Value>);
    put_one(list.size());
    append(list.data(), list.size() * sizeof(Value));
  }
  template <class Value>
  void put_one(const Value& value) {
    static_assert(std::is_trivially_copyable_v<Value>);
    append(&value, sizeof value);
  }
  std::string take() { return std::move(bytes_); }

 private:
  void append(const void* data, size_t bytes) {
    bytes_.append(static_cast<const char*>(data), bytes);
  }

  std::string bytes_;
};

/// Reads what Packed has put, in the same order.
class Unpacked final {
 public:
  explicit Unpacked(std::string bytes) : bytes_(std::move(bytes)) {}

  bool empty() const { return at_ == bytes_.size(); }
  template <class List>
  List get() {
    List list;
    list.resize(get_one<size_t>());
    copy(list.data(), list.size() * sizeof *list.data());
    return list;
  }
  template <class Value>
  Value get_one() {
    Value value;
    copy(&value, sizeof value);
    return value;
  }

 private:
  void copy(void* to, size_t bytes) {
    LEV_CHECK(bytes <= bytes_.size() - at_, "a rank's message is whole");
    if (bytes > 0) std::memcpy(to, bytes_.data() + at_, bytes);
    at_ += bytes;
  }

  std::string bytes_;
  size_t at_ = 0;
};

/// How a shard goes on behind a batch.
enum class Then : int64_t { kGoesOn, kEnds, kFails };

struct Made {
  Then then = Then::kGoesOn;
  Encoded encoded;  ///< without its failure
};

std::string pack(const Encoded& encoded, Then then) {
  Packed packed;
  std::vector<int64_t> tokens;
  std::vector<int32_t> ids;
  std::vector<float> weights;
  for (const Document& document : encoded.documents) {
    tokens.push_back(std::ssize(document.tokens));
    ids.insert(ids.end(), document.tokens.begin(), document.tokens.end());
    weights.insert(weights.end(), document.weights.begin(), document.weights.end());
  }
  packed.put_one(then);
  packed.put_one(encoded.records);
  packed.put_one(encoded.replaced);
  packed.put_one(encoded.text_bytes);
  packed.put(tokens);
  packed.put(ids);
  packed.put(weights);
  packed.put(encoded.counts);
  packed.put_one(encoded.bad.count);
  packed.put_one(encoded.bad.first.size());
  for (const std::string& words : encoded.bad.first) packed.put(words);
  return packed.take();
}

Made unpack(Unpacked& packed) {
  Made made;
  Encoded& encoded = made.encoded;
  made.then = packed.get_one<Then>();
  encoded.records = packed.get_one<int64_t>();
  encoded.replaced = packed.get_one<int64_t>();
  encoded.text_bytes = packed.get_one<int64_t>();
  const auto tokens = packed.get<std::vector<int64_t>>();
  const auto ids = packed.get<std::vector<int32_t>>();
  const auto weights = packed.get<std::vector<float>>();
  LEV_CHECK(weights.empty() || weights.size() == ids.size(), "all documents have weights or none");
  auto id = ids.begin();
  auto weight = weights.begin();
  for (const int64_t count : tokens) {
    Document& document = encoded.documents.emplace_back();
    document.tokens.assign(id, id + count);
    id += count;
    if (weights.empty()) continue;
    document.weights.assign(weight, weight + count);
    weight += count;
  }
  encoded.counts = packed.get<std::vector<int64_t>>();
  encoded.bad.count = packed.get_one<int64_t>();
  encoded.bad.first.resize(packed.get_one<size_t>());
  for (std::string& words : encoded.bad.first) words = packed.get<std::string>();
  return made;
}

std::string scratch_folder() {
  const char* const named = std::getenv("TMPDIR");
  return named && *named ? named : "/tmp";
}

/// Bytes on a disk of this machine, in a file without a name, which no end of the process leaves
/// behind.
class Spool final {
 public:
  Spool()
      : path_(temporary_name(join_path(scratch_folder(), "levanter-ahead"))),
        file_(::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666)) {
    if (file_.get() < 0 || ::unlink(path_.c_str()) != 0) fail("open");
  }

  void append(std::string_view bytes) {
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t n = ::pwrite(file_.get(), bytes.data() + done, bytes.size() - done, end_);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail("write");
      done += static_cast<size_t>(n);
      end_ += n;
    }
  }
  std::string read(int64_t at, size_t bytes) const {
    std::string text(bytes, '\0');
    for (size_t done = 0; done < bytes;) {
      const ssize_t n =
          ::pread(file_.get(), text.data() + done, bytes - done, at + static_cast<int64_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail("read");
      done += static_cast<size_t>(n);
    }
    return text;
  }
  int64_t size() const { return end_; }
  void clear() {
    if (end_ == 0) return;
    if (::ftruncate(file_.get(), 0) != 0) fail("cut");
    end_ = 0;
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw Error(ErrorKind::kIo,
                cat("cannot ", what, " what is made ahead of a token cache: ", system_words(errno)))
        .at(path_)
        .hint("TMPDIR names another folder; what was saved stays, and the next start goes on");
  }

  std::string path_;
  Descriptor file_;
  int64_t end_ = 0;
};

/// One rank's shards: encodes them batch by batch, and keeps what it has made until it is asked
/// for.
class Worker final {
 public:
  /// All of these outlive it.
  ///   first_record  of the first shard
  Worker(int64_t rank, std::span<const std::string> files, std::span<const TextShard> shards,
         int64_t first_record, BatchEncoder encoder)
      : files_(files), shards_(shards), first_record_(first_record), encoder_(std::move(encoder)) {
    for (size_t s = 0; s < shards.size(); ++s)
      if (shards[s].rank == rank) own_.push_back(s);
  }

  /// Encodes the next batch, if there is one of a shard before `end`.
  void encode(size_t end) {
    if (failure_ || own_.empty() || own_.front() >= end) return;
    const size_t shard = own_.front();
    const auto files =
        files_.subspan(shards_[shard].begin, shards_[shard].end - shards_[shard].begin);
    if (!reader_) reader_ = std::make_unique<BatchReader>(files, shard == 0 ? first_record_ : 0);
    const RawBatch batch = reader_->next();
    const Encoded encoded = encoder_.encode(batch, files);
    failure_ = encoded.failure;
    const Then goes_on = batch.last ? Then::kEnds : Then::kGoesOn;
    const std::string made = pack(encoded, failure_ ? Then::kFails : goes_on);
    made_.push_back({shard, spool_.size(), made.size()});
    spool_.append(made);
    if (!batch.last) return;
    reader_.reset();
    own_.pop_front();
  }

  /// What is made of this shard and was not taken yet, some of it where it is much.
  std::string take(size_t shard) {
    size_t bytes = 0;
    const int64_t at = made_.empty() ? 0 : made_.front().at;
    while (!made_.empty() && made_.front().shard == shard && bytes < kSentBytes) {
      bytes += made_.front().bytes;
      made_.pop_front();
    }
    std::string text = spool_.read(at, bytes);
    if (made_.empty()) spool_.clear();
    return text;
  }

  /// Of the last batch that it has made; then it makes no more.
  const std::exception_ptr& failure() const { return failure_; }

 private:
  struct Place {
    size_t shard = 0;
    int64_t at = 0;
    size_t bytes = 0;
  };

  std::span<const std::string> files_;
  std::span<const TextShard> shards_;
  int64_t first_record_;
  BatchEncoder encoder_;
  Spool spool_;
  std::deque<size_t> own_;  ///< that are not through
  std::deque<Place> made_;
  std::unique_ptr<BatchReader> reader_;
  std::exception_ptr failure_;
};

/// What the first rank says is next.
enum class Turn : int64_t {
  kEncode,  ///< each rank a batch, of a shard before that number
  kSend,    ///< the rank of that shard what it has of it
  kFail,    ///< the rank of that shard tells its error, and all end
  kEnd,
};
struct Command {
  Turn turn = Turn::kEnd;
  int64_t shard = 0;
};

/// Rank 0's command on every rank. Collective.
Command tell(dist::Communicator& communicator, Command command = {}) {
  dist::broadcast(communicator, std::as_writable_bytes(std::span(&command, 1)));
  return command;
}

/// A rank's part in a command; on the first rank, of kSend, what each rank has sent.
std::vector<std::string> obey(dist::Communicator& communicator, const Command& command,
                              std::span<const TextShard> shards, Worker& worker) {
  const auto shard = static_cast<size_t>(command.shard);
  if (command.turn == Turn::kEncode) worker.encode(shard);
  if (command.turn != Turn::kSend && command.turn != Turn::kFail) return {};
  const bool own = shards[shard].rank == communicator.rank();
  if (command.turn == Turn::kSend)
    return dist::collect_texts(communicator, own ? worker.take(shard) : "");
  dist::agree(communicator, own ? worker.failure() : nullptr);
  return {};
}

/// What helpers have to know, as CBOR: names of files may be no UTF-8.
std::string call_text(const Helpers& helpers, std::span<const std::string> files,
                      std::span<const TextShard> shards, int64_t first_record,
                      const FormatConfig& format, const DocumentRules& rules, OnBadRecord on_bad) {
  json call = {{"component", helpers.component},
               {"files", std::vector<std::string>(files.begin(), files.end())},
               {"shards", json::array()},
               {"first_record", first_record},
               {"format", format.facts(rules)},
               {"tokenizer", rules.tokenizer->serialise()},
               {"enforce_eos", rules.enforce_eos},
               {"skips", on_bad == OnBadRecord::kSkip}};
  for (const TextShard& shard : shards)
    call["shards"].push_back({shard.begin, shard.end, shard.rank});
  if (rules.enforce_bos) call["enforce_bos"] = *rules.enforce_bos;
  const std::vector<uint8_t> bytes = json::to_cbor(call);
  return {bytes.begin(), bytes.end()};
}

/// A helper's part, from its call to the end.
void help(dist::Communicator& communicator, const std::string& text, const FormatOf& format_of,
          int threads) {
  const json call = json::from_cbor(text);
  const auto tokenizer =
      text::load_tokenizer(call.at("tokenizer").get<std::string>(), "the first rank's tokenizer");
  DocumentRules rules{tokenizer.get()};
  if (call.contains("enforce_bos")) rules.enforce_bos = call["enforce_bos"].get<bool>();
  rules.enforce_eos = call.at("enforce_eos");
  const auto component = call.at("component").get<std::string>();
  const FormatConfig& format = format_of(component);
  const auto facts = call.at("format").get<std::string>();
  if (format.facts(rules) != facts)
    throw Error(ErrorKind::kConfig, cat("rank ", communicator.rank(),
                                        " has another format than rank 0: ", format.facts(rules),
                                        ", and there ", facts))
        .at(cat("data.components.", component, ".format"))
        .hint("every rank of a run starts with the same config");
  const auto files = call.at("files").get<std::vector<std::string>>();
  std::vector<TextShard> shards;
  for (const json& shard : call.at("shards")) shards.push_back({shard[0], shard[1], shard[2]});
  const bool skips = call.at("skips");
  ThreadPool pool(threads);
  Worker worker(communicator.rank(), files, shards, call.at("first_record"),
                {format, rules, pool, skips ? OnBadRecord::kSkip : OnBadRecord::kFail});
  for (Command next = tell(communicator); next.turn != Turn::kEnd; next = tell(communicator))
    obey(communicator, next, shards, worker);
}

}  // namespace

void encode_together(std::span<const std::string> files, int64_t first_record,
                     const FormatConfig& format, const DocumentRules& rules, ThreadPool& pool,
                     OnBadRecord on_bad, const Helpers& helpers,
                     const std::function<void(const Encoded&)>& hand_on) {
  dist::Communicator& communicator = helpers.crew->communicator();
  const RecordPlace first = find_record(files, first_record);
  files = files.subspan(first.file);
  const std::vector<TextShard> shards = cut(files, communicator.size());
  helpers.crew->call(kService,
                     call_text(helpers, files, shards, first.record, format, rules, on_bad));
  Worker worker(0, files, shards, first.record, {format, rules, pool, on_bad});
  const auto all_do = [&](Turn turn, size_t shard) {
    const Command command = tell(communicator, {turn, static_cast<int64_t>(shard)});
    return obey(communicator, command, shards, worker);
  };
  const auto ahead = static_cast<size_t>(kShardsAhead * communicator.size());
  for (size_t shard = 0; shard < shards.size();) {
    all_do(Turn::kEncode, shard + ahead);
    for (bool more = true; more && shard < shards.size();) {
      std::vector<std::string> texts = all_do(Turn::kSend, shard);
      std::string& sent = texts[static_cast<size_t>(shards[shard].rank)];
      more = std::ssize(sent) >= kSentBytes;
      Unpacked packed(std::move(sent));
      while (!packed.empty()) {
        const Made made = unpack(packed);
        hand_on(made.encoded);
        if (made.then == Then::kFails) all_do(Turn::kFail, shard);
        if (made.then != Then::kEnds) continue;
        ++shard;
        more = true;
      }
    }
  }
  tell(communicator, {});
}

void serve_encoding(dist::Crew& crew, FormatOf format_of, int threads) {
  crew.serve(std::string(kService),
             [&crew, format_of = std::move(format_of), threads](const std::string& text) {
               help(crew.communicator(), text, format_of, threads);
             });
}

}  // namespace levanter::data
