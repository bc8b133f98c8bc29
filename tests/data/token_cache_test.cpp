// Token caches: what is committed survives, what is of something else is refused.
#include "data/token_cache.h"

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
    writer.append(std::span(&made, 1), 1);
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
        writer.finish();
      }
      check_stream(*open_cache(folder.path(), of, true), 300, vocab_size, weighted);
    }
}

TEST_CASE("a cache of no documents is complete too", "[data]") {
  const TemporaryFolder folder;
  CacheWriter(folder.path(), identity()).finish();
  CHECK(open_cache(folder.path(), identity(), true)->size() == 0);
}

TEST_CASE("what was committed survives, what came after is cut off", "[data]") {
  const TemporaryFolder whole, cut;
  {
    CacheWriter writer(whole.path(), identity());
    write(writer, 200, 50);
    writer.finish();
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
  writer.finish();
  CHECK(content_of(cut.path()) == content_of(whole.path()));
  CHECK(writer.finished());
}

TEST_CASE("a writer killed at any moment leaves a cache that is finished to the same bytes",
          "[.slow]") {
  const TemporaryFolder whole, cut;
  constexpr int64_t kDocuments = 4000;
  {
    CacheWriter writer(whole.path(), identity());
    write(writer, kDocuments, 37);
    writer.finish();
  }
  int kills = 0;
  for (uint32_t attempt = 0; !has_cache(cut.path()); ++attempt) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      CacheWriter writer(cut.path(), identity());
      write(writer, kDocuments, 37);
      writer.finish();
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

TEST_CASE("a cache of something else, an unfinished and a damaged one are refused", "[data]") {
  const TemporaryFolder folder;
  const auto fault = [&](const CacheIdentity& of) {
    return failure_of(ErrorKind::kData, [&] { open_cache(folder.path(), of, true); });
  };
  CHECK(fault(identity()).find("there is no token cache") != std::string::npos);
  {
    CacheWriter writer(folder.path(), identity());
    write(writer, 50, 10);
    CHECK(fault(identity()).find("unfinished") != std::string::npos);
    writer.finish();
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
  CHECK_THAT(failure_of(ErrorKind::kData, [&] { open_cache(folder.path(), identity()); }),
             Catch::Contains("document 1 begins at token "));
  flip_bit(starts, 13, 2);
  const std::string ledger = join_path(folder.path(), "ledger.json");
  const std::string text = read_file(ledger);
  for (const std::string& broken : {std::string("{}"), text.substr(0, text.size() / 2)}) {
    write_file_atomic(ledger, broken);
    CHECK(fault(identity()).find("not a ledger") != std::string::npos);
  }
}

TEST_CASE("a source is known by its size and its ends", "[data]") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.txt";
  write_file_atomic(path, "abc");
  const std::string before = describe_source(path);
  CHECK(before.find("a.txt of 3 bytes") == 0);
  write_file_atomic(path, "abd");
  CHECK(describe_source(path) != before);
  write_file_atomic(path, "abc");
  CHECK(describe_source(path) == before);
}
