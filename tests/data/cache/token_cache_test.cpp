// Token caches: what is committed survives, what is of something else is refused.
#include "data/cache/token_cache.h"

#include <catch2/catch.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <map>

#include "base/error.h"
#include "base/random.h"
#include "base/strings.h"
#include "support/fault.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::data;
using namespace levanter::testing;

namespace {

ThreadPool& pool() {
  static ThreadPool threads(2);
  return threads;
}

CacheIdentity identity(int64_t vocab_size = 1000, bool weighted = false) {
  return {{{"tokenizer", "t1"}, {"format", "text"}}, vocab_size, weighted};
}

/// Document d of a made-up text: 0 to 40 ids; every seventh has none.
Document document(int64_t d, int64_t vocab_size = 1000, bool weighted = false) {
  const Key key = fold_in(key_from_seed(3), static_cast<uint32_t>(d));
  Document made;
  const auto count = d % 7 == 6 ? 0 : static_cast<int64_t>(random_below(key, 0, 41));
  for (int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<uint64_t>(i + 1);
    made.tokens.push_back(
        static_cast<int32_t>(random_below(key, at, static_cast<uint64_t>(vocab_size))));
    if (weighted) made.weights.push_back(static_cast<float>(random_below(key, at + 100, 3)) / 2);
  }
  return made;
}

/// Adds documents up to `end`, with a commit after every `every`.
void write(CacheWriter& writer, int64_t end, int64_t every, int64_t vocab_size = 1000,
           bool weighted = false) {
  while (writer.progress().records < end) {
    const Document made = document(writer.progress().records, vocab_size, weighted);
    writer.append(std::span(&made, 1), {.records = 1});
    if (writer.progress().records % every == 0) writer.commit();
  }
}

/// Every file of a folder but the lock.
std::map<std::string, std::string> content_of(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const std::string& name : list_directory(folder))
    if (name != "lock") files[name] = read_file(join_path(folder, name));
  return files;
}

void check_stream(const TokenStream& stream, int64_t documents, int64_t vocab_size, bool weighted) {
  int64_t at = 0, number = 0;
  for (int64_t d = 0; d < documents; ++d) {
    const Document want = document(d, vocab_size, weighted);
    if (want.tokens.empty()) continue;
    REQUIRE(stream.document_start(number++) == at);
    std::vector<int32_t> ids(want.tokens.size());
    stream.read(at, ids);
    REQUIRE(ids == want.tokens);
    std::vector<float> weights(ids.size());
    stream.read_weights(at, weights);
    REQUIRE(weights == (weighted ? want.weights : std::vector<float>(ids.size(), 1.0f)));
    at += static_cast<int64_t>(ids.size());
  }
  CHECK(stream.size() == at);
  CHECK(stream.num_documents() == number);
  CHECK(stream.weighted() == weighted);
}

}  // namespace

TEST_CASE("a cache gives back its documents, of both widths, with weights and without", "[data]") {
  for (const int64_t vocab_size : {65536, 65537})
    for (const bool weighted : {false, true}) {
      const TemporaryFolder folder;
      const CacheIdentity of = identity(vocab_size, weighted);
      {
        CacheWriter writer(folder.path(), of);
        write(writer, 300, 1000, vocab_size, weighted);
        writer.finish(pool());
      }
      check_stream(*open_cache(folder.path(), of, pool()).stream, 300, vocab_size, weighted);
    }
}

TEST_CASE("a cache of no documents is complete too", "[data]") {
  const TemporaryFolder folder;
  CacheWriter(folder.path(), identity()).finish(pool());
  CHECK(open_cache(folder.path(), identity(), pool()).stream->size() == 0);
}

TEST_CASE("what was committed survives, what came after is cut off", "[data]") {
  const TemporaryFolder whole, cut;
  {
    CacheWriter writer(whole.path(), identity());
    write(writer, 200, 50);
    writer.finish(pool());
  }
  int64_t committed = 0;
  for (const int64_t reach : {3, 60, 130, 199}) {  // each time it goes on, and is dropped again
    CacheWriter writer(cut.path(), identity());
    CHECK(writer.progress().records == committed);
    committed = reach / 50 * 50;
    write(writer, reach, 50);
    CHECK_FALSE(has_cache(cut.path()));
  }
  CacheWriter writer(cut.path(), identity());
  write(writer, 200, 50);
  writer.finish(pool());
  CHECK(content_of(cut.path()) == content_of(whole.path()));
  CHECK(writer.finished());
}

TEST_CASE("a complete cache loses what a builder that was killed at the end has left", "[data]") {
  const TemporaryFolder folder;
  {
    CacheWriter writer(folder.path(), identity());
    write(writer, 3, 5);
    writer.finish(pool());
  }
  const std::vector<std::string> files = list_directory(folder.path());
  tidy_cache(folder.path());
  CHECK(list_directory(folder.path()) == files);
  write_file_atomic(folder / "progress.json", "{}");
  write_file_atomic(folder / "ledger.json.levanter.tmp-1-2", "{");
  {
    const ProcessLock held(cache_lock(folder.path()), "");
    tidy_cache(folder.path());  // the builder is at it
    CHECK(list_directory(folder.path()).size() == files.size() + 2);
  }
  tidy_cache(folder.path());
  CHECK(list_directory(folder.path()) == files);
}

TEST_CASE("an unfinished cache of what can't be read again is begun anew", "[data]") {
  const TemporaryFolder whole, again;
  {
    CacheWriter writer(whole.path(), identity());
    write(writer, 60, 50);
    writer.finish(pool());
  }
  const auto writer_of = [&](bool anew) {
    return CacheWriter(again.path(), identity(), ProcessLock(cache_lock(again.path()), ""), anew);
  };
  {
    CacheWriter writer = writer_of(true);
    write(writer, 130, 50);
  }
  CHECK(writer_of(false).progress().records == 100);
  {
    CacheWriter writer = writer_of(true);
    CHECK(writer.progress().records == 0);
    write(writer, 60, 50);
    writer.finish(pool());
  }
  CHECK(content_of(again.path()) == content_of(whole.path()));
  CHECK(writer_of(true).finished());
}

TEST_CASE("a writer killed at any moment leaves a cache that is finished to the same bytes",
          "[.slow]") {
  const TemporaryFolder whole, cut;
  constexpr int64_t kDocuments = 4000;
  {
    CacheWriter writer(whole.path(), identity());
    write(writer, kDocuments, 37);
    writer.finish(pool());
  }
  int kills = 0;
  for (uint32_t attempt = 0; !has_cache(cut.path()); ++attempt) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      CacheWriter writer(cut.path(), identity());
      write(writer, kDocuments, 37);
      writer.finish(pool());
      _exit(0);
    }
    usleep(static_cast<useconds_t>(random_below(key_from_seed(9), attempt, 12000)));
    kill(child, SIGKILL);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    kills += WIFSIGNALED(status) ? 1 : 0;
  }
  CHECK(kills > 5);
  { const CacheWriter writer(cut.path(), identity()); }
  CHECK(content_of(cut.path()) == content_of(whole.path()));
}

TEST_CASE("an unfinished cache of a text that was mended since is begun anew", "[data]") {
  const TemporaryFolder folder;
  {
    CacheWriter writer(folder.path(), identity());
    write(writer, 50, 10);
    writer.commit();
  }
  CacheIdentity mended = identity();
  mended.facts[0].value = "t2";
  {
    CacheWriter writer(folder.path(), mended);
    CHECK(writer.progress().records == 0);
    CHECK(writer.note().find("begun anew") != std::string::npos);
    write(writer, 50, 10);
    writer.finish(pool());
  }
  CHECK(open_cache(folder.path(), mended, pool()).stream->num_documents() > 0);
}

TEST_CASE("a cache of something else, an unfinished and a damaged one are refused", "[data]") {
  const TemporaryFolder folder;
  const auto fault = [&](const CacheIdentity& of) {
    return failure_of(ErrorKind::kData, [&] { open_cache(folder.path(), of, pool()); });
  };
  CHECK(fault(identity()).find("there is no token cache") != std::string::npos);
  {
    CacheWriter writer(folder.path(), identity());
    write(writer, 50, 10);
    CHECK(fault(identity()).find("unfinished") != std::string::npos);
    writer.finish(pool());
  }
  CacheIdentity other = identity();
  other.facts[0].value = "t2";
  CHECK(fault(other).find("made of tokenizer t1, the run wants tokenizer t2") != std::string::npos);
  CHECK(failure_of(ErrorKind::kData, [&] {
          CacheWriter(folder.path(), other);
        }).find("tokenizer t1") != std::string::npos);
  other.facts.pop_back();
  other.facts[0].value = "t1";
  CHECK(fault(other).find("the run wants nothing more") != std::string::npos);

  const std::string tokens = join_path(folder.path(), "tokens.u16");
  const std::string good = read_file(tokens);
  flip_bit(tokens, 17, 0);
  CHECK(fault(identity()).find("checksum") != std::string::npos);
  write_file_atomic(tokens, good.substr(2));
  CHECK(fault(identity()).find("should have") != std::string::npos);
  write_file_atomic(tokens, good);
  CHECK(fault(identity()).empty());
  const std::string starts = join_path(folder.path(), "starts.i64");
  flip_bit(starts, 13, 2);
  CHECK(fault(identity()).find("checksum") != std::string::npos);
  CHECK(fault(identity()).find(starts) != std::string::npos);
  flip_bit(starts, 13, 2);
  const std::string ledger = join_path(folder.path(), "ledger.json");
  const std::string text = read_file(ledger);
  for (const std::string& broken : {std::string("{}"), text.substr(0, text.size() / 2)}) {
    write_file_atomic(ledger, broken);
    CHECK(fault(identity()).find("not a ledger") != std::string::npos);
  }
  write_file_atomic(ledger, text);
  const size_t seal = text.rfind("xxh3");  // a ledger without one is of an older program
  for (size_t byte = 0; byte + 1 < text.size(); ++byte) {  // the last one ends the line
    if (byte >= seal && byte < seal + 4) continue;
    flip_bit(ledger, byte, static_cast<int>(byte % 7));
    INFO("byte " << byte << " of the ledger");
    CHECK_FALSE(fault(identity()).empty());
    flip_bit(ledger, byte, static_cast<int>(byte % 7));
  }
  write_file_atomic(ledger, R"({"format": 1})");
  CHECK(fault(identity()).find("is of format 1") != std::string::npos);
}

TEST_CASE("every bit of a cache's arrays is checked when it is opened", "[data]") {
  const TemporaryFolder folder;
  const CacheIdentity of = identity(70000, true);
  {
    CacheWriter writer(folder.path(), of);
    write(writer, 20, 1000, 70000, true);
    writer.finish(pool());
  }
  const Digest good = open_cache(folder.path(), of, pool()).digest;
  for (const char* name : {"tokens.u32", "starts.i64", "weights.f32"}) {
    const std::string path = join_path(folder.path(), name);
    for (size_t byte = 0; byte < static_cast<size_t>(file_size(path)); byte += 37) {
      INFO(name << ", byte " << byte);
      flip_bit(path, byte, static_cast<int>(byte % 8));
      const std::string fault =
          failure_of(ErrorKind::kData, [&] { open_cache(folder.path(), of, pool()); });
      CHECK(fault.find(path) != std::string::npos);
      flip_bit(path, byte, static_cast<int>(byte % 8));
    }
  }
  CHECK(open_cache(folder.path(), of, pool()).digest == good);
}

TEST_CASE("documents have one digest in a cache and in memory, and every change is another one",
          "[data]") {
  for (const int64_t vocab_size : {65536, 65537})
    for (const bool weighted : {false, true}) {
      const TemporaryFolder folder;
      const CacheIdentity of = identity(vocab_size, weighted);
      CacheWriter writer(folder.path(), of);
      write(writer, 30, 1000, vocab_size, weighted);
      writer.finish(pool());
      const Digest cached = open_cache(folder.path(), of, pool()).digest;
      const auto in_memory = [&](auto change) {
        TokenStream stream(vocab_size);
        for (int64_t d = 0; d < 30; ++d) {
          Document made = document(d, vocab_size, weighted);
          change(d, made);
          stream.append(made.tokens, made.weights);
        }
        return stream.digest(pool());
      };
      CHECK(in_memory([](int64_t, Document&) {}) == cached);
      CHECK_FALSE(in_memory([](int64_t d, Document& made) {
                    if (d == 9) made.tokens.at(0) ^= 1;
                  }) == cached);
      std::vector<int32_t> rest;  // the last token of a document begins the next one
      CHECK_FALSE(in_memory([&](int64_t d, Document& made) {
                    if (weighted) {
                      if (d == 9) made.weights.at(0) += 1;
                      return;
                    }
                    made.tokens.insert(made.tokens.begin(), rest.begin(), rest.end());
                    rest.clear();
                    if (d != 9) return;
                    rest = {made.tokens.back()};
                    made.tokens.pop_back();
                  }) == cached);
    }
}

TEST_CASE("a cache that is cut short while it is read is an error that names the file", "[data]") {
  const TemporaryFolder folder;
  const CacheIdentity of = identity(1000, true);
  {
    CacheWriter writer(folder.path(), of);
    write(writer, 3000, 10000, 1000, true);
    writer.finish(pool());
  }
  for (const char* name : {"tokens.u16", "weights.f32"}) {
    const auto stream = open_cache(folder.path(), of, pool()).stream;
    const auto part = TokenStream::part(stream, 100, stream->size());
    const std::string path = join_path(folder.path(), name);
    const std::string whole = read_file(path);
    REQUIRE(::truncate(path.c_str(), 4096) == 0);
    const std::string fault = failure_of(ErrorKind::kIo, [&] {
      std::vector<int32_t> ids(64);
      std::vector<float> weights(64);
      part->read(part->size() - 64, ids);
      part->read_weights(part->size() - 64, weights);
    });
    CHECK(fault.find(path) != std::string::npos);
    write_file_atomic(path, whole);
  }
}

TEST_CASE("a file of a cache's name that is somebody else's is refused and kept", "[data]") {
  const TemporaryFolder folder;
  const std::string path = join_path(folder.path(), "tokens.u16");
  write_file_atomic(path, "mine");
  CHECK_THAT(failure_of(ErrorKind::kData, [&] { CacheWriter(folder.path(), identity()); }),
             Catch::Contains("but no cache") && Catch::Contains(path));
  CHECK(read_file(path) == "mine");
}
