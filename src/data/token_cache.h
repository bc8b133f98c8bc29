// Token caches: the documents of a component as tokens on disk, written once and read as a map.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
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
    bool operator==(const Fact&) const = default;
  };
  std::vector<Fact> facts;
  int64_t vocab_size = 0;
  bool weighted = false;  ///< documents have weights

  bool operator==(const CacheIdentity&) const = default;
};

/// How far a cache has come: what is on disk for good, and where to go on.
struct CacheProgress {
  int64_t documents = 0, tokens = 0;
  int64_t records = 0;  ///< read from the sources, those without tokens too
};

/// Writes a cache into a folder. What `commit` returned from survives a kill at any moment; what
/// came after is cut off when the next writer opens the folder. A folder belongs to one writer.
///   tokens.u16 or tokens.u32, starts.i64, weights.f32   arrays, one document after the other
///   progress.json                                       while it is being written
///   ledger.json                                         when it is complete, written last
class CacheWriter final {
 public:
  /// error  kIo where another process writes it; kData where the folder holds a cache of another
  ///        identity, naming the first fact that differs
  CacheWriter(std::string folder, CacheIdentity identity);
  ~CacheWriter();
  CacheWriter(const CacheWriter&) = delete;
  CacheWriter& operator=(const CacheWriter&) = delete;

  /// True where the cache was complete already.
  bool finished() const;
  /// Where to go on.
  const CacheProgress& progress() const;
  /// Adds what `records` more records gave; documents without tokens leave no trace.
  void append(std::span<const Document> documents, int64_t records);
  /// Makes all that was added durable; nothing after an `append` that failed.
  void commit();
  /// Commits, checksums and completes the cache.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A complete cache as one stream; it holds the files' maps.
///   identity  what it must have been made of
/// error  kData where it is missing, unfinished, damaged (sizes; checksums too with `verify`) or of
///        another identity
std::shared_ptr<const TokenStream> open_cache(const std::string& folder,
                                              const CacheIdentity& identity, bool verify = false);

/// Whether the folder holds a complete cache of whatever identity.
bool has_cache(const std::string& folder);

/// A file's size and the xxh3 of its first and last mebibyte, as a fact's value.
std::string describe_source(const std::string& path);

}  // namespace levanter::data
