// Writing and opening token caches.
#include "data/token_cache.h"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"

namespace levanter::data {
namespace {

using nlohmann::json;

constexpr int kFormat = 1;
constexpr const char* kLedger = "ledger.json";
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
    std::string xxh3;
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

std::string text_of(const Ledger& ledger) {
  json facts = json::array(), files = json::object();
  for (const CacheIdentity::Fact& fact : ledger.identity.facts)
    facts.push_back({fact.name, fact.value});
  for (const auto& [name, file] : ledger.files)
    files[name] = {{"bytes", file.bytes}, {"xxh3", file.xxh3}};
  return json({{"format", kFormat},
               {"facts", facts},
               {"vocab_size", ledger.identity.vocab_size},
               {"weighted", ledger.identity.weighted},
               {"documents", ledger.done.documents},
               {"tokens", ledger.done.tokens},
               {"records", ledger.done.records},
               {"files", files}})
             .dump(1) +
         "\n";
}

Ledger read_ledger(const std::string& path) {
  try {
    const json object = json::parse(read_file(path));
    if (object.at("format") != kFormat) throw_damaged(path, cat("it is not of format ", kFormat));
    Ledger ledger;
    for (const json& fact : object.at("facts"))
      ledger.identity.facts.push_back(
          {fact.at(0).get<std::string>(), fact.at(1).get<std::string>()});
    ledger.identity.vocab_size = object.at("vocab_size").get<int64_t>();
    ledger.identity.weighted = object.at("weighted").get<bool>();
    ledger.done = {object.at("documents").get<int64_t>(), object.at("tokens").get<int64_t>(),
                   object.at("records").get<int64_t>()};
    for (const auto& [name, file] : object.at("files").items())
      ledger.files[name] = {file.at("bytes").get<int64_t>(), file.at("xxh3").get<std::string>()};
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
    const auto text = [i](const CacheIdentity& identity) {
      return i < identity.facts.size() ? cat(identity.facts[i].name, " ", identity.facts[i].value)
                                       : std::string("nothing more");
    };
    if (text(found) == text(wanted)) continue;
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

Ledger::File checksum_of(const std::string& path) {
  const MappedFile file(path);
  return {static_cast<int64_t>(file.bytes().size()), hex64(xxh3_64(file.bytes()))};
}

}  // namespace

struct CacheWriter::Impl {
  std::string folder;
  CacheIdentity identity;
  FileLock lock;
  bool finished = false;
  bool torn = false;  ///< an append ended in its middle
  CacheProgress done = {};
  std::unique_ptr<GrowingFile> tokens = nullptr, starts = nullptr, weights = nullptr;
  std::vector<uint16_t> narrow = {};

  std::string path(const char* name) const { return join_path(folder, name); }

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

CacheWriter::CacheWriter(std::string folder, CacheIdentity identity) {
  make_directories(folder);
  FileLock lock(join_path(folder, "lock"), "another process makes this cache; wait for it");
  impl_ = std::make_unique<Impl>(Impl{folder, std::move(identity), std::move(lock)});
  const std::string ledger = impl_->path(kLedger), progress = impl_->path(kProgress);
  const bool complete = path_exists(ledger);
  if (complete || path_exists(progress)) {
    const Ledger found = read_ledger(complete ? ledger : progress);
    require_same(found.identity, impl_->identity, folder);
    impl_->done = found.done;
  }
  for (const std::string& name : list_directory(folder))
    if (is_temporary_name(name) || (complete && name == kProgress))
      remove_tree(join_path(folder, name));
  impl_->finished = complete;
  if (!complete) impl_->open_arrays();
}

CacheWriter::~CacheWriter() = default;
bool CacheWriter::finished() const { return impl_->finished; }
const CacheProgress& CacheWriter::progress() const { return impl_->done; }

void CacheWriter::append(std::span<const Document> documents, int64_t records) {
  LEV_CHECK(!impl_->finished, "a complete cache can't grow");
  impl_->torn = true;
  for (const Document& document : documents) {
    LEV_CHECK(impl_->identity.weighted ? document.weights.size() == document.tokens.size()
                                       : document.weights.empty(),
              "a cache's documents all have weights or none has");
    if (!document.tokens.empty()) impl_->add(document);
  }
  impl_->done.records += records;
  impl_->torn = false;
}

void CacheWriter::commit() {
  if (impl_->finished || impl_->torn) return;
  impl_->sync();
  write_file_atomic(impl_->path(kProgress), text_of({impl_->identity, impl_->done, {}}));
}

void CacheWriter::finish() {
  if (impl_->finished) return;
  commit();
  Ledger ledger{impl_->identity, impl_->done, {}};
  for (const char* name : array_files(impl_->identity))
    ledger.files[name] = checksum_of(impl_->path(name));
  write_file_atomic(impl_->path(kLedger), text_of(ledger));
  remove_tree(impl_->path(kProgress));
  impl_->finished = true;
}

namespace {

/// The maps of a cache, which its stream keeps.
struct Maps {
  std::vector<MappedFile> files;

  template <class T>
  std::span<const T> array(const std::string& path, const Ledger::File& file, int64_t count,
                           bool verify) {
    if (!path_exists(path)) throw_damaged(path, "the file is missing");
    const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
    if (file.bytes != bytes || file_size(path) != bytes)
      throw_damaged(path, cat("it has ", file_size(path), " bytes and should have ", bytes));
    if (bytes == 0) return {};
    files.emplace_back(path);
    const std::span<const std::byte> all = files.back().bytes();
    if (verify && hex64(xxh3_64(all)) != file.xxh3) throw_damaged(path, "its checksum is wrong");
    return {reinterpret_cast<const T*>(all.data()), static_cast<size_t>(count)};
  }
};

}  // namespace

std::shared_ptr<const TokenStream> open_cache(const std::string& folder,
                                              const CacheIdentity& identity, bool verify) {
  const std::string path = join_path(folder, kLedger);
  if (!path_exists(path)) {
    const bool begun = path_exists(join_path(folder, kProgress));
    throw Error(ErrorKind::kData,
                begun ? "the token cache is unfinished" : "there is no token cache")
        .at(folder)
        .hint("make it with levanter cache --config FILE");
  }
  Ledger ledger = read_ledger(path);
  require_same(ledger.identity, identity, folder);
  auto maps = std::make_shared<Maps>();
  const auto map = [&]<class T>(const char* name, int64_t count, std::span<const T>& array) {
    array = maps->array<T>(join_path(folder, name), ledger.files[name], count, verify);
  };
  const auto [documents, tokens, records] = ledger.done;
  const char* const ids = tokens_file(identity.vocab_size);
  TokenArrays arrays;
  if (token_bytes(identity.vocab_size) == 2)
    map(ids, tokens, arrays.narrow);
  else
    map(ids, tokens, arrays.wide);
  map(kStarts, documents, arrays.document_starts);
  for (size_t d = 0; d < arrays.document_starts.size(); ++d)
    if (const int64_t start = arrays.document_starts[d];
        d == 0 ? start != 0 : start <= arrays.document_starts[d - 1] || start >= tokens)
      throw_damaged(join_path(folder, kStarts), cat("document ", d, " begins at token ", start));
  if (identity.weighted) map(kWeights, tokens, arrays.weights);
  return std::make_shared<TokenStream>(arrays, std::move(maps));
}

bool has_cache(const std::string& folder) { return path_exists(join_path(folder, kLedger)); }

std::string describe_source(const std::string& path) {
  constexpr int64_t kEnd = 1 << 20;
  const InputFile file(path);
  const int64_t ends = std::min(kEnd, file.size());
  std::vector<std::byte> bytes(static_cast<size_t>(ends));
  Hasher hasher(Hasher::Width::k64);
  file.read(0, bytes);
  hasher.update(bytes);
  file.read(file.size() - ends, bytes);
  hasher.update(bytes);
  return cat(file_name(path), " of ", format_count(file.size()), " bytes, ", hasher.hex());
}

}  // namespace levanter::data
