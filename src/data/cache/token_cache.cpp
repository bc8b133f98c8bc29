// Writing and opening token caches.
#include "data/cache/token_cache.h"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "data/cache/checksum.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"

namespace levanter::data {
namespace {

using nlohmann::json;

constexpr int kFormat = 2;
constexpr const char* kLedger = "ledger.json";
constexpr const char* kSeal = "xxh3";
constexpr const char* kProgress = "progress.json";
constexpr const char* kStarts = "starts.i64";
constexpr const char* kWeights = "weights.f32";
constexpr int64_t kBuffered = 1 << 20;  ///< bytes of an array before they are written

const char* tokens_file(int64_t vocab_size) {
  return vocab_size <= 65536 ? "tokens.u16" : "tokens.u32";
}
std::vector<const char*> array_files(const CacheIdentity& identity) {
  std::vector<const char*> names = {tokens_file(identity.vocab_size), kStarts};
  if (identity.weighted) names.push_back(kWeights);
  return names;
}
int64_t token_bytes(int64_t vocab_size) { return vocab_size <= 65536 ? 2 : 4; }

/// What ledger.json and progress.json say; only the former has files.
struct Ledger {
  struct File {
    int64_t bytes = 0;
    std::vector<std::string> xxh3;  ///< of each block
  };
  CacheIdentity identity;
  CacheProgress done;
  std::map<std::string, File> files;
};

[[noreturn]] void throw_damaged(const std::string& path, std::string what) {
  throw Error(ErrorKind::kData, cat("the token cache is damaged: ", what))
      .at(path)
      .hint("remove the folder; it is made anew from the texts");
}

/// The checksum of all other members, in the order of their names.
std::string seal_of(json object) {
  object.erase(kSeal);
  return hex64(xxh3_64(object.dump()));
}

std::string text_of(const Ledger& ledger) {
  json facts = json::array(), files = json::object();
  for (const auto& [name, value, label] : ledger.identity.facts)
    facts.push_back(label.empty() ? json{name, value} : json{name, value, label});
  for (const auto& [name, file] : ledger.files)
    files[name] = {{"bytes", file.bytes}, {"xxh3", file.xxh3}};
  json object({{"format", kFormat},
               {"facts", facts},
               {"vocab_size", ledger.identity.vocab_size},
               {"weighted", ledger.identity.weighted},
               {"documents", ledger.done.documents},
               {"tokens", ledger.done.tokens},
               {"records", ledger.done.records},
               {"bad_records", ledger.done.bad},
               {"replaced", ledger.done.replaced},
               {"files", files}});
  object[kSeal] = seal_of(object);
  return object.dump(1) + "\n";
}

Ledger read_ledger(const std::string& path) {
  try {
    const json object = json::parse(read_file(path));
    if (object.at("format") != kFormat)
      throw Error(ErrorKind::kData, cat("the token cache is of format ", object.at("format").dump(),
                                        ", which this program does not read"))
          .at(path)
          .allowed(cat(kFormat))
          .hint("remove the folder; it is made anew from the texts");
    if (object.contains(kSeal) && object[kSeal] != seal_of(object))  // older ones have none
      throw_damaged(path, "its checksum does not match its text");
    Ledger ledger;
    for (const json& fact : object.at("facts"))
      ledger.identity.facts.push_back(
          {fact.at(0).get<std::string>(), fact.at(1).get<std::string>(),
           fact.size() > 2 ? fact.at(2).get<std::string>() : std::string()});
    ledger.identity.vocab_size = object.at("vocab_size").get<int64_t>();
    ledger.identity.weighted = object.at("weighted").get<bool>();
    ledger.done = {{object.at("records").get<int64_t>(), object.value("bad_records", int64_t{0}),
                    object.value("replaced", int64_t{0})},
                   object.at("documents").get<int64_t>(),
                   object.at("tokens").get<int64_t>()};
    for (const auto& [name, file] : object.at("files").items())
      ledger.files[name] = {file.at("bytes").get<int64_t>(),
                            file.at("xxh3").get<std::vector<std::string>>()};
    if (ledger.done.documents < 0 || ledger.done.tokens < ledger.done.documents)
      throw_damaged(path, "its counts contradict each other");
    return ledger;
  } catch (const json::exception&) {
    throw_damaged(path, "this is not a ledger");
  }
}

/// Throws the error of a cache that was made of something else.
void require_same(const CacheIdentity& found, const CacheIdentity& wanted,
                  const std::string& folder) {
  if (found == wanted) return;
  std::string what = "it holds other arrays";
  for (size_t i = 0; i < std::max(found.facts.size(), wanted.facts.size()); ++i) {
    const auto has = [i](const CacheIdentity& identity) { return i < identity.facts.size(); };
    if (has(found) && has(wanted) && found.facts[i] == wanted.facts[i]) continue;
    const auto text = [&](const CacheIdentity& identity) {
      if (!has(identity)) return std::string("nothing more");
      const auto& [name, value, label] = identity.facts[i];
      return cat(name, " ", label, label.empty() ? "" : " of ", value);
    };
    what = cat("it was made of ", text(found), ", the run wants ", text(wanted));
    break;
  }
  throw Error(ErrorKind::kData, cat("the token cache is of something else: ", what))
      .at(folder)
      .hint("name another data.cache_dir, or remove the folder to make the cache anew");
}

/// An array that grows at the end of a file.
class GrowingFile final {
 public:
  GrowingFile(std::string path, int64_t bytes)
      : path_(std::move(path)),
        file_(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)),
        size_(bytes) {
    if (file_.get() < 0) fail("open");
    if (::lseek(file_.get(), 0, SEEK_END) < bytes)
      throw_damaged(path_, cat("the file is shorter than the ", bytes, " bytes that were saved"));
    if (::ftruncate(file_.get(), bytes) != 0) fail("cut");
  }
  void append(const void* data, size_t bytes) {
    const auto* const from = static_cast<const char*>(data);
    buffer_.insert(buffer_.end(), from, from + bytes);
    if (static_cast<int64_t>(buffer_.size()) >= kBuffered) flush();
  }
  void sync() {
    flush();
    if (::fdatasync(file_.get()) != 0) fail("sync");
  }

 private:
  /// Writes at its place, so that a second try after a full disk repeats no byte.
  void flush() {
    for (size_t done = 0; done < buffer_.size();) {
      const ssize_t n = ::pwrite(file_.get(), buffer_.data() + done, buffer_.size() - done,
                                 size_ + static_cast<int64_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail("write");
      done += static_cast<size_t>(n);
    }
    size_ += static_cast<int64_t>(buffer_.size());
    buffer_.clear();
  }
  [[noreturn]] void fail(const char* what) const {
    throw Error(ErrorKind::kIo, cat("cannot ", what, " the token cache: ", system_words(errno)))
        .at(path_)
        .hint("what was saved stays; free some space and start again to go on");
  }

  std::string path_;
  Descriptor file_;
  int64_t size_;
  std::vector<char> buffer_;
};

}  // namespace

struct CacheWriter::Impl {
  std::string folder;
  CacheIdentity identity;
  ProcessLock lock;
  bool finished = false;
  bool torn = false;  ///< an append ended in its middle
  CacheProgress done = {};
  std::unique_ptr<GrowingFile> tokens = nullptr, starts = nullptr, weights = nullptr;
  std::vector<uint16_t> narrow = {};
  std::string note = {};

  std::string path(const char* name) const { return join_path(folder, name); }

  /// From here on the arrays of the folder are ours; what is there before is somebody else's.
  void begin() {
    for (const char* name : array_files(identity))
      if (path_exists(path(name)))
        throw Error(ErrorKind::kData, "the folder holds a file of a token cache, but no cache")
            .at(path(name))
            .hint("name another data.cache_dir, or remove the file");
    save_progress();
  }
  void save_progress() { write_file_atomic(path(kProgress), text_of({identity, done, {}})); }
  void open_arrays() {
    tokens = std::make_unique<GrowingFile>(path(tokens_file(identity.vocab_size)),
                                           done.tokens * token_bytes(identity.vocab_size));
    starts = std::make_unique<GrowingFile>(path(kStarts), done.documents * 8);
    if (identity.weighted) weights = std::make_unique<GrowingFile>(path(kWeights), done.tokens * 4);
  }
  void add(const Document& document) {
    starts->append(&done.tokens, sizeof done.tokens);
    if (identity.vocab_size <= 65536) {
      narrow.assign(document.tokens.begin(), document.tokens.end());
      tokens->append(narrow.data(), narrow.size() * sizeof narrow[0]);
    } else {
      tokens->append(document.tokens.data(), document.tokens.size() * sizeof(int32_t));
    }
    if (weights) weights->append(document.weights.data(), document.weights.size() * sizeof(float));
    done.tokens += static_cast<int64_t>(document.tokens.size());
    ++done.documents;
  }
  void sync() {
    tokens->sync();
    starts->sync();
    if (weights) weights->sync();
  }
};

namespace {

/// Whether a builder that was killed has left the file, in a cache that is complete or not.
bool is_leftover(const std::string& name, bool complete) {
  return is_temporary_name(name) || (complete && name == kProgress);
}

void remove_leftovers(const std::string& folder, bool complete) {
  for (const std::string& name : list_directory(folder))
    if (is_leftover(name, complete)) remove_tree(join_path(folder, name));
}

}  // namespace

CacheWriter::CacheWriter(std::string folder, CacheIdentity identity)
    : CacheWriter(folder, std::move(identity), [&] {
        make_directories(folder);
        return ProcessLock(cache_lock(folder),
                           "another process is building this cache; wait for it");
      }()) {}

CacheWriter::CacheWriter(std::string folder, CacheIdentity identity, ProcessLock lock, bool anew)
    : impl_(std::make_unique<Impl>(Impl{folder, std::move(identity), std::move(lock)})) {
  const std::string ledger = impl_->path(kLedger), progress = impl_->path(kProgress);
  const bool complete = path_exists(ledger), begun = complete || path_exists(progress);
  if (begun) {
    const Ledger found = read_ledger(complete ? ledger : progress);
    if (complete) require_same(found.identity, impl_->identity, folder);
    if (found.identity != impl_->identity) {
      for (const char* name : array_files(found.identity)) remove_tree(impl_->path(name));
      impl_->note =
          cat("the unfinished cache ", folder, " was of something else and is begun anew");
      anew = true;
    }
    if (complete || !anew) impl_->done = found.done;
  }
  remove_leftovers(folder, complete);
  impl_->finished = complete;
  if (complete) return;
  if (!begun) impl_->begin();
  if (begun && anew) impl_->save_progress();
  impl_->open_arrays();
}

CacheWriter::~CacheWriter() = default;
bool CacheWriter::finished() const { return impl_->finished; }
const CacheProgress& CacheWriter::progress() const { return impl_->done; }
const std::string& CacheWriter::note() const { return impl_->note; }

RecordCounts& RecordCounts::operator+=(const RecordCounts& more) {
  records += more.records;
  bad += more.bad;
  replaced += more.replaced;
  return *this;
}

void CacheWriter::append(std::span<const Document> documents, const RecordCounts& read) {
  LEV_CHECK(!impl_->finished, "a complete cache can't grow");
  impl_->torn = true;
  for (const Document& document : documents) {
    LEV_CHECK(impl_->identity.weighted ? document.weights.size() == document.tokens.size()
                                       : document.weights.empty(),
              "a cache's documents all have weights or none has");
    if (!document.tokens.empty()) impl_->add(document);
  }
  impl_->done += read;
  impl_->torn = false;
}

void CacheWriter::commit() {
  if (impl_->finished || impl_->torn) return;
  impl_->sync();
  impl_->save_progress();
}

void CacheWriter::finish(ThreadPool& pool) {
  if (impl_->finished) return;
  commit();
  Ledger ledger{impl_->identity, impl_->done, {}};
  for (const char* name : array_files(impl_->identity)) {
    const InputFile file(impl_->path(name));
    ledger.files[name] = {file.size(), checksums(file, pool)};
  }
  write_file_atomic(impl_->path(kLedger), text_of(ledger));
  remove_tree(impl_->path(kProgress));
  impl_->finished = true;
}

namespace {

/// A file of `count` elements whose bytes are those that the ledger was told of, as far as a pool
/// is there to look at them.
InputFile open_array(const std::string& path, const Ledger::File& file, int64_t count,
                     int64_t element_bytes, ThreadPool* pool) {
  if (!path_exists(path)) throw_damaged(path, "the file is missing");
  InputFile opened(path);
  const int64_t bytes = count * element_bytes;
  if (file.bytes != bytes || opened.size() != bytes)
    throw_damaged(path, cat("it has ", count_of(opened.size(), "byte"), " and should have ",
                            format_count(bytes)));
  if (pool && checksums(opened, *pool) != file.xxh3) throw_damaged(path, "its checksum is wrong");
  return opened;
}

std::vector<int64_t> read_starts(const InputFile& file, const std::string& path, int64_t tokens) {
  std::vector<int64_t> starts(static_cast<size_t>(file.size()) / sizeof(int64_t));
  file.read(0, std::as_writable_bytes(std::span(starts)));
  for (size_t d = 0; d < starts.size(); ++d)
    if (d == 0 ? starts[d] != 0 : starts[d] <= starts[d - 1] || starts[d] >= tokens)
      throw_damaged(path, cat("document ", d, " begins at token ", starts[d]));
  return starts;
}

}  // namespace

namespace {

/// The ledger of a complete cache.
Ledger find_ledger(const std::string& folder) {
  const std::string path = join_path(folder, kLedger);
  if (path_exists(path)) return read_ledger(path);
  const bool begun = path_exists(join_path(folder, kProgress));
  throw Error(ErrorKind::kData, begun ? "the token cache is unfinished" : "there is no token cache")
      .at(folder)
      .hint("make it with levanter cache --config FILE");
}

/// `pool`: takes checksums; null for none.
OpenedCache open_arrays(const std::string& folder, Ledger ledger, ThreadPool* pool) {
  const auto open = [&](const char* name, int64_t count, int64_t element_bytes) {
    return open_array(join_path(folder, name), ledger.files[name], count, element_bytes, pool);
  };
  const CacheIdentity& identity = ledger.identity;
  const int64_t documents = ledger.done.documents, tokens = ledger.done.tokens;
  const int64_t id_bytes = token_bytes(identity.vocab_size);
  const char* const ids = tokens_file(identity.vocab_size);
  auto files = std::make_shared<TokenFiles>(TokenFiles{open(ids, tokens, id_bytes), id_bytes == 2});
  if (identity.weighted) files->weights.emplace(open(kWeights, tokens, sizeof(float)));
  files->starts =
      read_starts(open(kStarts, documents, sizeof(int64_t)), join_path(folder, kStarts), tokens);
  TokenArrays arrays;
  arrays.document_starts = files->starts;
  arrays.files = files.get();
  arrays.count = tokens;
  return {std::make_shared<TokenStream>(arrays, files),
          digest_of(documents, tokens, ledger.files[ids].xxh3, ledger.files[kStarts].xxh3,
                    identity.weighted ? ledger.files[kWeights].xxh3 : std::vector<std::string>()),
          ledger.done};
}

}  // namespace

OpenedCache open_cache(const std::string& folder, const CacheIdentity& identity, ThreadPool& pool) {
  Ledger ledger = find_ledger(folder);
  require_same(ledger.identity, identity, folder);
  return open_arrays(folder, std::move(ledger), &pool);
}

OpenedCache open_known_cache(const std::string& folder) {
  return open_arrays(folder, find_ledger(folder), nullptr);
}

bool has_cache(const std::string& folder) { return path_exists(join_path(folder, kLedger)); }

void tidy_cache(const std::string& folder) {
  try {
    const std::vector<std::string> names = list_directory(folder);
    if (std::none_of(names.begin(), names.end(),
                     [](const std::string& name) { return is_leftover(name, true); }))
      return;
    std::string holder;
    if (const auto lock = ProcessLock::try_take(cache_lock(folder), holder))
      remove_leftovers(folder, true);
  } catch (const Error&) {
    // They only take space.
  }
}

std::string cache_lock(const std::string& folder) { return join_path(folder, "lock"); }

std::optional<CacheProgress> progress_of(const std::string& folder, const CacheIdentity& identity) {
  const std::string path = join_path(folder, kProgress);
  Ledger ledger;
  try {
    ledger = read_ledger(path);
  } catch (const Error&) {  // not there yet, or no more
    return std::nullopt;
  }
  require_same(ledger.identity, identity, folder);
  return ledger.done;
}

}  // namespace levanter::data
