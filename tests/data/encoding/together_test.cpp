// Token caches that all ranks of a run make together: the bytes, the error and the end of one.
#include "data/encoding/together.h"

#include <catch2/catch.hpp>

#include <memory>

#include "base/error.h"
#include "base/strings.h"
#include "data/cache/cache_build.h"
#include "support/fault.h"
#include "support/temporary_folder.h"
#include "text/tokenizer.h"

using namespace levanter;
using namespace levanter::data;
using namespace levanter::testing;
using Catch::Contains;
using dist::Communicator;

namespace {

/// Lines of more than one MiB, which is a shard: some without text and some that are no UTF-8.
std::string lines() {
  std::string text;
  for (int64_t n = 0; n < 24000; ++n)
    text += n % 7 == 3 ? "{\"text\": \"\"}\n"
                       : cat("{\"text\": \"", n, n % 5 ? "" : "\xff", " ",
                             std::string(static_cast<size_t>(n % 80), 'x'), "\"}\n");
  return text;
}

/// A rank's end that fails at its exchange number `at`.
class FailingEnd final : public Communicator {
 public:
  FailingEnd(Communicator& end, int64_t at) : end_(end), at_(at) {}
  int64_t rank() const override { return end_.rank(); }
  int64_t size() const override { return end_.size(); }
  void exchange(std::span<const dist::Sent> send,
                std::span<const dist::Received> receive) override {
    if (at_-- == 0) throw Error(ErrorKind::kIo, "a fault made up by the test");
    end_.exchange(send, receive);
  }
  void abandon(ErrorKind kind) override { end_.abandon(kind); }

 private:
  Communicator& end_;
  int64_t at_;
};

/// What goes otherwise when a cache is made.
struct Ways {
  OnBadRecord on_bad = OnBadRecord::kFail;
  int64_t failing_rank = -1, failing_at = -1;
  bool other_format = false;  ///< on the last rank
};

/// Texts, and caches that are made of them.
class Texts {
 public:
  Texts() {
    for (const char* name : {"a", "b", "d", "e"}) write(name, lines());
    write_file_atomic(folder_ / "c.txt", std::string(size_t{5} << 20, 'y'));  // a record by itself
  }

  void write(const std::string& name, const std::string& text) {
    write_file_atomic(folder_ / cat(name, ".jsonl"), text);
  }
  std::string operator/(std::string_view name) const { return folder_ / name; }

  /// Makes the cache `name` on so many ranks, each with a thread; returns whether it was missing.
  bool make(const std::string& name, int64_t ranks, const Ways& ways = {}) {
    bool made = false;
    dist::run_ranks(dist::entry(ranks == 1 ? "single" : "threads"), ranks, [&](Communicator& end) {
      FailingEnd own(end, end.rank() == ways.failing_rank ? ways.failing_at : -1);
      dist::Crew crew(own);
      if (end.rank() > 0) {
        const bool other = ways.other_format && end.rank() == ranks - 1;
        serve_encoding(
            crew,
            [&, other](const std::string& component) -> const FormatConfig& {
              CHECK(component == "c");
              return other ? *refusing_ : *format_;
            },
            1);
        return crew.follow();
      }
      ThreadPool pool(1);
      const DocumentRules rules{.tokenizer = tokenizer_.get()};
      const CacheJob job{"c/train",
                         folder_ / name,
                         {folder_ / "a.jsonl", folder_ / "b.jsonl", folder_ / "c.txt",
                          folder_ / "d.jsonl", folder_ / "e.jsonl"},
                         {&crew, "c"}};
      made = build_cache(job, cache_identity(job, *format_, rules, pool), *format_, rules, pool, {},
                         ways.on_bad);
      crew.release();
    });
    return made;
  }

  /// Of all files of a cache.
  std::string content(const std::string& name) const {
    std::string text;
    for (const std::string& file : list_directory(folder_ / name))
      if (file != "lock") text += cat(file, "\n", read_file(join_path(folder_ / name, file)));
    return text;
  }

 private:
  static std::shared_ptr<const FormatConfig> make_refusing() {
    for (const config::ChoiceEntry& entry : FormatConfig::choices())
      if (std::string_view(entry.name) == "prebuilt")
        return std::shared_ptr<const FormatConfig>(
            dynamic_cast<const FormatConfig*>(entry.make().release()));
    return nullptr;
  }

  TemporaryFolder folder_;
  std::shared_ptr<const text::Tokenizer> tokenizer_ = text::open_tokenizer("bytes");
  std::shared_ptr<const FormatConfig> format_ = default_format(), refusing_ = make_refusing();
};

}  // namespace

TEST_CASE("any number of ranks makes the token cache of one, to the byte", "[data]") {
  Texts texts;
  REQUIRE(texts.make("one", 1));
  const std::string expected = texts.content("one");
  for (const int64_t ranks : {2, 3, 5}) {
    const std::string name = cat("of-", ranks);
    CHECK(texts.make(name, ranks));
    CHECK_FALSE(texts.make(name, ranks));
    CHECK((texts.content(name) == expected));
  }
}

TEST_CASE("of several ranks a bad record is told once, in the words of one rank", "[data]") {
  Texts texts;
  std::string text = lines();
  text.replace(text.find("{\"text\": \"20001 "), 6, "{\"xxxx");
  texts.write("b", text);
  texts.write("e", text);  // a later one, which its rank may find before
  const auto fault = [&](const std::string& name, int64_t ranks) {
    return failure_of(ErrorKind::kData, [&] { texts.make(name, ranks); });
  };
  const std::string expected = fault("one", 1);
  CHECK_THAT(expected, Contains("b.jsonl:20002") && !Contains("e.jsonl"));
  for (const int64_t ranks : {2, 3, 5}) {
    const std::string name = cat("of-", ranks);
    CHECK(fault(name, ranks) == expected);
    CHECK((texts.content(name) == texts.content("one")));  // as far as they were made
  }
  REQUIRE(texts.make("skipped", 1, {.on_bad = OnBadRecord::kSkip}));
  REQUIRE(texts.make("skipped-3", 3, {.on_bad = OnBadRecord::kSkip}));
  CHECK((texts.content("skipped-3") == texts.content("skipped")));
}

TEST_CASE("a cache whose making a rank has ended is finished by any other number of them",
          "[data]") {
  Texts texts;
  REQUIRE(texts.make("one", 1));
  const std::string expected = texts.content("one");
  for (const int64_t failing : {0, 2}) {
    const std::string name = cat("failed-", failing);
    const Ways ways{.failing_rank = failing, .failing_at = 20};  // in the second file or so
    CHECK_THAT(failure_of(ErrorKind::kIo, [&] { texts.make(name, 3, ways); }),
               Contains("a fault made up by the test"));
    CHECK(path_exists(texts / cat(name, "/progress.json")));
    CHECK(texts.make(name, failing == 0 ? 1 : 5));
    CHECK((texts.content(name) == expected));
  }
}

TEST_CASE("a rank with another format than the first is refused", "[data]") {
  Texts texts;
  CHECK_THAT(failure_of(ErrorKind::kConfig, [&] { texts.make("c", 3, {.other_format = true}); }),
             Contains("rank 2 has another format than rank 0"));
}
