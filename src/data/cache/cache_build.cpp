// Making the token cache of some files, or going on with one that was begun.
#include "data/cache/cache_build.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "data/cache/checksum.h"
#include "base/error.h"
#include "base/file_lock.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/stop.h"
#include "base/strings.h"
#include "net/http.h"
#include "data/files/pipes.h"
#include "data/files/source.h"

namespace levanter::data {
namespace {

constexpr double kSecondsBetweenCommits = 2;
constexpr auto kPause = std::chrono::milliseconds(50);  ///< between looks at another's cache

using Clock = std::chrono::steady_clock;

std::string fingerprint_of(const std::string& text) {
  Hasher hasher(Hasher::Width::k128);
  hasher.update(std::as_bytes(std::span(text)));
  return hasher.hex();
}

/// How a file is cut into records, to stand before its checksum.
const char* form_words(RecordForm form) {
  if (form == RecordForm::kJsonLines) return "JSON lines, ";
  return form == RecordForm::kJson ? "JSON, " : "";
}

/// A source by its size, all its bytes, and how its name says it is cut into records.
CacheIdentity::Fact describe_source(const std::string& path, ThreadPool& pool) {
  if (is_pipe(path)) return {"file", "standard input"};
  if (net::is_url(path)) return {"file", path};
  const char* const kind = form_words(RecordReader(path).form());
  const InputFile file(path);
  return {
      "file",
      cat(format_count(file.size()), " bytes, ", kind, "xxh3 ", checksum_of(checksums(file, pool))),
      file_name(path)};
}

/// The lock of the cache's folder; nothing where another process has made the cache meanwhile.
std::optional<ProcessLock> lock_or_wait(const CacheJob& job, const CacheIdentity& identity,
                                        const CacheReport& report) {
  make_directories(job.folder);
  CacheStatus status;
  status.name = job.name;
  for (;; std::this_thread::sleep_for(kPause)) {
    if (auto lock = ProcessLock::try_take(cache_lock(job.folder), status.maker)) return lock;
    if (has_cache(job.folder)) return std::nullopt;
    throw_if_stopped();
    if (const auto progress = progress_of(job.folder, identity)) {
      status.documents = progress->documents;
      status.tokens = progress->tokens;
    }
    if (report) report(status);
  }
}

}  // namespace

CacheIdentity cache_identity(const CacheJob& job, const FormatConfig& format,
                             const DocumentRules& rules, ThreadPool& pool) {
  const text::Tokenizer& tokenizer = *rules.tokenizer;
  CacheIdentity identity;
  identity.vocab_size = tokenizer.vocab_size();
  identity.weighted = format.weighted();
  const char* bos = "the tokenizer's";
  if (rules.enforce_bos) bos = *rules.enforce_bos ? "enforced" : "none";
  identity.facts = {{"tokenizer", cat(tokenizer.name(), " ", fingerprint_of(tokenizer.identity()))},
                    {"format", format.facts(rules)},
                    {"bos", bos},
                    {"eos", rules.enforce_eos ? "enforced" : "the tokenizer's"}};
  for (const std::string& file : job.files) identity.facts.push_back(describe_source(file, pool));
  return identity;
}

bool build_cache(const CacheJob& job, const CacheIdentity& identity, const FormatConfig& format,
                 const DocumentRules& rules, ThreadPool& pool, const CacheReport& report,
                 OnBadRecord on_bad) {
  if (has_cache(job.folder)) {  // also in a folder that can only be read
    tidy_cache(job.folder);
    return false;
  }
  const auto seconds = [begin = Clock::now()] {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  std::optional<ProcessLock> lock = lock_or_wait(job, identity, report);
  if (!lock) return false;
  CacheStatus status;
  status.name = job.name;
  status.note = lock->note();
  const bool once = std::any_of(job.files.begin(), job.files.end(), is_pipe);
  CacheWriter writer(job.folder, identity, std::move(*lock), once);
  if (!writer.note().empty()) status.note = writer.note();
  const auto tell = [&](bool complete) {
    status.documents = writer.progress().documents;
    status.tokens = writer.progress().tokens;
    status.seconds = seconds();
    status.complete = complete;
    if (complete) status.now.replaced = writer.progress().replaced;  // also before a restart
    if (complete) status.now.bad.count = writer.progress().bad;
    if (report) report(status);
  };
  if (writer.finished()) return false;
  double committed = 0;
  try {
    encode_files(
        job.files, writer.progress().records, format, rules, pool,
        [&](std::span<const Document> documents, const RecordCounts& read) {
          writer.append(documents, read);
          if (seconds() - committed < kSecondsBetweenCommits) return;
          writer.commit();
          committed = seconds();
        },
        [&](const EncodeStatus& now) {
          status.now = now;
          tell(false);
        },
        on_bad, job.helpers);
  } catch (...) {
    writer.commit();
    throw;
  }
  if (!(cache_identity(job, format, rules, pool) == identity))
    throw Error(ErrorKind::kData, "the texts changed while they were read")
        .at(job.name)
        .hint(cat("remove ", job.folder, " and start again when they are left alone"));
  writer.finish(pool);
  tell(true);
  return true;
}

}  // namespace levanter::data
