// Token caches: the documents of a component as tokens on disk, written once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_lock.h"
#include "base/threads.h"
#include "data/token_stream.h"

namespace levanter::data {

/// A document as tokens. weights[i] is how much token i counts as a target; none means 1 each.
struct Document {
  std::vector<int32_t> tokens;
  std::vector<float> weights;
};

/// What a cache was made of. A cache is used where all of it is equal, else refused.
struct CacheIdentity {
  /// One thing that decides the content: "tokenizer" with its fingerprint, "format" with its keys,
  /// a source with its size and checksum.
  struct Fact {
    std::string name, value;
    std::string label = {};  ///< for people: a file's name, which decides nothing

    bool operator==(const Fact& other) const { return name == other.name && value == other.value; }
  };
  std::vector<Fact> facts;
  int64_t vocab_size = 0;
  bool weighted = false;  ///< documents have weights

  bool operator==(const CacheIdentity&) const = default;
};

/// Records that were read from sources, those without tokens too.
struct RecordCounts {
  int64_t records = 0;
  int64_t bad = 0;       ///< of these, left out as they were no documents
  int64_t replaced = 0;  ///< pieces of the text of the others that were no UTF-8

  RecordCounts& operator+=(const RecordCounts& more);
};

/// How far a cache has come: what is on disk for good, and where to go on.
struct CacheProgress : RecordCounts {
  int64_t documents = 0, tokens = 0;
};

/// Writes a cache into a folder. What `commit` returned from survives a kill at any moment; what
/// came after is cut off when the next writer opens the folder. A folder belongs to one writer.
///   tokens.u16 or tokens.u32, starts.i64, weights.f32   arrays, one document after the other
///   progress.json                                       while it is being written
///   ledger.json                                         when it is complete, written last
class CacheWriter final {
 public:
  ///   lock  of cache_lock(folder)
  ///   anew  an unfinished cache is begun from nothing: its sources can't be read again
  /// An unfinished cache of another identity, as of a text that was mended since, is begun anew.
  /// error  kData where the folder holds a complete cache of another identity, naming the first
  ///        fact that differs, or arrays that are of no cache
  CacheWriter(std::string folder, CacheIdentity identity, ProcessLock lock, bool anew = false);
  /// The same, taking the lock. error  kIo too where another process writes the cache
  CacheWriter(std::string folder, CacheIdentity identity);
  ~CacheWriter();
  CacheWriter(const CacheWriter&) = delete;
  CacheWriter& operator=(const CacheWriter&) = delete;

  /// True where the cache was complete already.
  bool finished() const;
  /// Where to go on.
  const CacheProgress& progress() const;
  /// What people should know of what was found there; "" for nothing.
  const std::string& note() const;
  /// Adds what more records gave; documents without tokens leave no trace.
  void append(std::span<const Document> documents, const RecordCounts& read);
  /// Makes all that was added durable; nothing after an `append` that failed.
  void commit();
  /// Commits, takes checksums and completes the cache.
  void finish(ThreadPool& pool);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A cache that was opened: its documents, and what they are by their content.
struct OpenedCache {
  std::shared_ptr<const TokenStream> stream;
  Digest digest;
  RecordCounts read = {};  ///< when it was made
};

/// Opens a complete cache after checking all its checksums.
///   identity  what it must have been made of
/// error  kData where it is missing, unfinished, damaged (naming the file) or of another identity
OpenedCache open_cache(const std::string& folder, const CacheIdentity& identity, ThreadPool& pool);

/// The same of a cache that another rank of the run has just opened so, by its ledger alone: no
/// checksum is taken, and of the arrays only where documents begin is read.
/// error  kData where it is missing, or its files have other sizes
OpenedCache open_known_cache(const std::string& folder);

/// Whether the folder holds a complete cache of whatever identity.
bool has_cache(const std::string& folder);

/// Removes from a complete cache what its builder left that was killed before its last word. A
/// folder that can only be read keeps it.
void tidy_cache(const std::string& folder);

/// The lock file of whoever writes a cache.
std::string cache_lock(const std::string& folder);

/// How far the cache has come that another process makes; nothing before its first commit.
/// error  kData where it will be of another identity
std::optional<CacheProgress> progress_of(const std::string& folder, const CacheIdentity& identity);

}  // namespace levanter::data
