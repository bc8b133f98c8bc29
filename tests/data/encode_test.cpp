// Files to documents: in order whatever the threads, up to the first record that is none.
#include "data/encode.h"

#include <catch2/catch.hpp>

#include <memory>

#include "base/error.h"
#include "base/strings.h"
#include "data/cache/cache_build.h"
#include "support/fault.h"
#include "support/made_tokenizer.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::data;
using namespace levanter::testing;

namespace {

/// `count` lines of JSON, the n-th with the text "<n> " and n % 50 letters.
std::string lines(int64_t count) {
  std::string text;
  for (int64_t n = 0; n < count; ++n)
    text += cat("{\"text\": \"", n, " ", std::string(static_cast<size_t>(n % 50), 'x'), "\"}\n");
  return text;
}

std::vector<Document> encoded(const std::vector<std::string>& files, int64_t first, int threads) {
  const MadeTokenizer made;
  ThreadPool pool(threads);
  std::vector<Document> all;
  encode_files(files, first, *default_format(), {.tokenizer = &made}, pool,
               [&](std::span<const Document> documents, const RecordCounts&) {
                 all.insert(all.end(), documents.begin(), documents.end());
               });
  return all;
}

}  // namespace

TEST_CASE("documents come in the order of the files, from any record on, on any threads",
          "[data]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "a.jsonl", lines(20000));
  write_file_atomic(folder / "b.txt", "a text");
  write_file_atomic(folder / "c.jsonl", lines(10));
  write_file_atomic(folder / "d.txt", std::string(3 << 19, 'y'));  // encoded by all threads at once
  const std::vector<std::string> files = {folder / "a.jsonl", folder / "b.txt", folder / "c.jsonl",
                                          folder / "d.txt"};
  const std::vector<Document> all = encoded(files, 0, 1);
  REQUIRE(all.size() == 20012);
  CHECK(all[20000].tokens.size() == 7);  // and EOS
  CHECK(all[20011].tokens.size() == (3 << 19) + 1);
  for (const int threads : {2, 5})
    for (const int64_t first : {0, 1, 19999, 20000, 20001, 20011, 20012}) {
      const std::vector<Document> some = encoded(files, first, threads);
      REQUIRE(static_cast<int64_t>(some.size()) == 20012 - first);
      for (size_t i = 0; i < some.size(); i += 97)
        REQUIRE(some[i].tokens == all[static_cast<size_t>(first) + i].tokens);
    }
}

TEST_CASE("a cache that met a bad record is begun anew when the record is mended", "[data]") {
  const TemporaryFolder folder, whole;
  const MadeTokenizer made;
  const DocumentRules rules{.tokenizer = &made};
  ThreadPool pool(2);
  const auto format = default_format();
  const CacheJob job{"c/train", folder / "cache", {folder / "a.jsonl"}};
  const auto identity = [&] { return cache_identity(job, *format, rules, pool); };
  write_file_atomic(folder / "a.jsonl", lines(300) + "{\"text\": \"cut");
  const std::string fault =
      failure_of(ErrorKind::kData, [&] { build_cache(job, identity(), *format, rules, pool, {}); });
  CHECK(fault.find("a.jsonl:301") != std::string::npos);
  CHECK_FALSE(has_cache(job.folder));
  CHECK(failure_of(ErrorKind::kData, [&] {
          open_cache(job.folder, identity(), pool);
        }).find("unfinished") != std::string::npos);
  // A file that changed is another source: the cache is not continued, and says so.
  write_file_atomic(folder / "a.jsonl", lines(301));
  CacheStatus last;
  build_cache(job, identity(), *format, rules, pool,
              [&](const CacheStatus& status) { last = status; });
  CHECK(last.complete);
  CHECK(last.documents == 301);
  CHECK(last.note.find("begun anew") != std::string::npos);
  CHECK(open_cache(job.folder, identity(), pool).stream->num_documents() == 301);
}

TEST_CASE("a cache is known by its tokenizer, its format and its rules", "[data]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "a.txt", "text");
  const MadeTokenizer made, other(true);
  const CacheJob job{"c", folder / "cache", {folder / "a.txt"}};
  const auto format = default_format();
  ThreadPool pool(2);
  const CacheIdentity one = cache_identity(job, *format, {&made, {}, true}, pool);
  CHECK(one == cache_identity(job, *format, {&made, {}, true}, pool));
  CHECK_FALSE(one == cache_identity(job, *format, {&other, {}, true}, pool));
  CHECK_FALSE(one == cache_identity(job, *format, {&made, true, true}, pool));
  CHECK_FALSE(one == cache_identity(job, *format, {&made, {}, false}, pool));
}

TEST_CASE("a cache knows its texts by all their bytes, not by where they lie", "[data]") {
  const TemporaryFolder folder;
  const MadeTokenizer made;
  const DocumentRules rules{.tokenizer = &made};
  ThreadPool pool(2);
  const auto of = [&](const std::string& name) {
    const CacheJob job{"c", folder / "cache", {folder / name}};
    return cache_identity(job, *default_format(), rules, pool);
  };
  std::string text(5 << 20, 'a');
  write_file_atomic(folder / "a.txt", text);
  make_directories(folder / "other");
  write_file_atomic(folder / "other/b.txt", text);
  write_file_atomic(folder / "a.jsonl", text);
  const CacheIdentity one = of("a.txt");
  CHECK(of("other/b.txt") == one);
  CHECK_FALSE(of("a.jsonl") == one);  // is cut into other records
  text[text.size() / 2] = 'b';
  write_file_atomic(folder / "a.txt", text);
  CHECK_FALSE(of("a.txt") == one);
}

TEST_CASE("a text that changes while it is cached makes no cache", "[data]") {
  const TemporaryFolder folder;
  const MadeTokenizer made;
  const DocumentRules rules{.tokenizer = &made};
  ThreadPool pool(2);
  const auto format = default_format();
  const CacheJob job{"c/train", folder / "cache", {folder / "a.jsonl"}};
  write_file_atomic(folder / "a.jsonl", lines(300));
  const CacheIdentity before = cache_identity(job, *format, rules, pool);
  write_file_atomic(folder / "a.jsonl", lines(301));
  CHECK(failure_of(ErrorKind::kData, [&] {
          build_cache(job, before, *format, rules, pool, {});
        }).find("changed while they were read") != std::string::npos);
  CHECK_FALSE(has_cache(job.folder));
}

TEST_CASE("a cache that another makes is waited for, and taken over when that one ends", "[data]") {
  const TemporaryFolder folder;
  const MadeTokenizer made;
  const DocumentRules rules{.tokenizer = &made};
  ThreadPool pool(2);
  const auto format = default_format();
  const CacheJob job{"c/train", folder / "cache", {folder / "a.jsonl"}};
  write_file_atomic(folder / "a.jsonl", lines(300));
  const CacheIdentity identity = cache_identity(job, *format, rules, pool);
  for (const bool finishes : {false, true}) {
    remove_tree(job.folder);
    auto writer = std::make_unique<CacheWriter>(job.folder, identity);
    int64_t waits = 0, documents = 0;
    bool complete = false;
    build_cache(job, identity, *format, rules, pool, [&](const CacheStatus& status) {
      complete = status.complete;
      if (status.maker.empty()) return;
      CHECK(status.maker.starts_with("process "));
      documents = status.documents;
      const Document one{{1, 2, 3}, {}};
      if (++waits == 2) {
        writer->append(std::span(&one, 1), {.records = 1});
        writer->commit();
      }
      if (waits < 4) return;
      if (finishes) writer->finish(pool);
      writer.reset();
    });
    CHECK(waits == 4);
    CHECK(documents == 1);
    CHECK(complete == !finishes);
    CHECK(open_cache(job.folder, identity, pool).stream->num_documents() == (finishes ? 1 : 300));
  }
  // A cache of something else that is being made is not worth waiting for.
  remove_tree(job.folder);
  CacheIdentity other = identity;
  other.facts[1].value += ", otherwise";
  const CacheWriter writer(job.folder, other);
  CHECK_THAT(
      failure_of(ErrorKind::kData, [&] { build_cache(job, identity, *format, rules, pool, {}); }),
      Catch::Contains("the token cache is of something else"));
}

TEST_CASE("bad records are left out, counted, and the first twenty named", "[data]") {
  const TemporaryFolder folder;
  std::string text = lines(3);
  for (int i = 0; i < 25; ++i) text += "{\"texts\": 1}\n";
  write_file_atomic(folder / "a.jsonl", text + lines(2) + "{\"text\": \"cut");
  const MadeTokenizer made;
  ThreadPool pool(2);
  const std::vector<std::string> files = {folder / "a.jsonl"};
  const auto encode = [&](OnBadRecord on_bad) {
    int64_t documents = 0, bad = 0;
    const EncodeStatus status = encode_files(
        files, 0, *default_format(), {.tokenizer = &made}, pool,
        [&](std::span<const Document> some, const RecordCounts& read) {
          documents += std::ssize(some);
          bad += read.bad;
        },
        {}, on_bad);
    CHECK(documents == 5);
    CHECK(bad == 26);
    return status;
  };
  const EncodeStatus status = encode(OnBadRecord::kSkip);
  CHECK(status.records == 31);
  CHECK(status.bad.count == 26);
  REQUIRE(status.bad.first.size() == 20);
  CHECK(status.bad.first[0] == cat(folder / "a.jsonl", ":4: no key \"text\"; it has texts"));
  const std::string words = status.bad.describe();
  CHECK(words.starts_with("26 bad records left out\n  "));
  CHECK(words.ends_with("\n  and 6 more"));

  const std::string fault = failure_of(ErrorKind::kData, [&] { encode(OnBadRecord::kFail); });
  CHECK(fault.find("a.jsonl:4\n") != std::string::npos);
  CHECK(fault.find("25 more were read with it") != std::string::npos);
  CHECK(fault.find("a.jsonl:5: no key") != std::string::npos);
}

TEST_CASE("a cache that was made without bad records says so to a run that wants none", "[data]") {
  const TemporaryFolder folder;
  const MadeTokenizer made;
  const DocumentRules rules{.tokenizer = &made};
  ThreadPool pool(2);
  const auto format = default_format();
  const CacheJob job{"c/train", folder / "cache", {folder / "a.jsonl"}};
  write_file_atomic(folder / "a.jsonl", lines(3) + "{\"text\": \"\\ud83d\"}\n{\"text\": \"cut");
  const CacheIdentity identity = cache_identity(job, *format, rules, pool);
  CHECK(build_cache(job, identity, *format, rules, pool, {}, OnBadRecord::kSkip));
  const OpenedCache opened = open_cache(job.folder, identity, pool);
  CHECK(opened.read.records == 5);
  CHECK(opened.read.bad == 1);
  CHECK(opened.read.replaced == 1);  // which a run that finds the cache made tells of too
  CHECK(opened.stream->num_documents() == 4);
}
