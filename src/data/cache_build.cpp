// Making the token cache of some files, or going on with one that was begun.
#include "data/cache_build.h"

#include <chrono>

#include "base/hash.h"
#include "base/strings.h"
#include "data/http.h"

namespace levanter::data {
namespace {

constexpr double kSecondsBetweenCommits = 2;

using Clock = std::chrono::steady_clock;

std::string checksum_of(const std::string& text) {
  Hasher hasher(Hasher::Width::k128);
  hasher.update(std::as_bytes(std::span(text)));
  return hasher.hex();
}

}  // namespace

CacheIdentity cache_identity(const CacheJob& job, const FormatConfig& format,
                             const DocumentRules& rules) {
  const text::Tokenizer& tokenizer = *rules.tokenizer;
  CacheIdentity identity;
  identity.vocab_size = tokenizer.vocab_size();
  identity.weighted = format.weighted();
  identity.facts = {{"tokenizer", cat(tokenizer.name(), " ", checksum_of(tokenizer.identity()))},
                    {"format", format.facts(rules)},
                    {"bos", !rules.enforce_bos   ? "the tokenizer's"
                            : *rules.enforce_bos ? "enforced"
                                                 : "none"},
                    {"eos", rules.enforce_eos ? "enforced" : "the tokenizer's"}};
  for (const std::string& file : job.files)
    identity.facts.push_back({"file", file == "-"    ? "standard input"
                                      : is_url(file) ? file
                                                     : describe_source(file)});
  return identity;
}

void build_cache(const CacheJob& job, const FormatConfig& format, const DocumentRules& rules,
                 ThreadPool& pool, const CacheReport& report) {
  if (has_cache(job.folder)) return;  // also in a folder that can only be read
  const auto seconds = [begin = Clock::now()] {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  CacheWriter writer(job.folder, cache_identity(job, format, rules));
  CacheStatus status;
  status.name = job.name;
  const auto tell = [&](bool complete) {
    status.documents = writer.progress().documents;
    status.tokens = writer.progress().tokens;
    status.seconds = seconds();
    status.complete = complete;
    if (report) report(status);
  };
  if (writer.finished()) return;
  double committed = 0;
  try {
    encode_files(
        job.files, writer.progress().records, format, rules, pool,
        [&](std::span<const Document> documents, int64_t records) {
          writer.append(documents, records);
          if (seconds() - committed < kSecondsBetweenCommits) return;
          writer.commit();
          committed = seconds();
        },
        [&](const EncodeStatus& now) {
          status.now = now;
          tell(false);
        });
  } catch (...) {
    writer.commit();
    throw;
  }
  writer.finish();
  tell(true);
}

}  // namespace levanter::data
