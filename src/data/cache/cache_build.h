// Making the token cache of some files, or going on with one that was begun.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/threads.h"
#include "data/encode.h"
#include "data/format.h"
#include "data/cache/token_cache.h"

namespace levanter::data {

/// The cache of one split of a component.
struct CacheJob {
  std::string name;  ///< for people: "web/train"
  std::string folder;
  std::vector<std::string> files;
  Helpers helpers = {};
};

/// How far the making of a cache has come.
struct CacheStatus {
  std::string name;
  int64_t documents = 0, tokens = 0;  ///< of the whole cache
  EncodeStatus now = {};              ///< since this process began
  double seconds = 0;
  bool complete = false;
  std::string maker = {};  ///< another process that makes it and is waited for: "process 12"
  std::string note = {};   ///< what there is to say of the cache's lock
};
using CacheReport = std::function<void(const CacheStatus&)>;

/// What a cache of these files is made of: the tokenizer by the checksum of all it is, the format,
/// the rules for BOS and EOS, and each file by all its bytes, wherever it lies and whatever it is
/// called. A web address stands for what it gives.
CacheIdentity cache_identity(const CacheJob& job, const FormatConfig& format,
                             const DocumentRules& rules, ThreadPool& pool);

/// Makes the cache unless a complete one is there, of whatever identity: open_cache judges it. What
/// a killed process had committed is kept, but where a source is a pipe: then it is made anew.
/// While another process makes it, it is waited for; should that one end before the cache is
/// complete, this one goes on. Helpers change no byte of it.
///   identity  what cache_identity says
/// returns whether this call made it
/// error  as CacheWriter and encode_files; what was made before the error is committed. kData where
///        a text changed while it was read
bool build_cache(const CacheJob& job, const CacheIdentity& identity, const FormatConfig& format,
                 const DocumentRules& rules, ThreadPool& pool, const CacheReport& report,
                 OnBadRecord on_bad = OnBadRecord::kFail);

}  // namespace levanter::data
