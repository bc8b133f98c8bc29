// Web addresses as sources, from a server of the test's own: streams, redirections, faults.
#include "net/http.h"

#include <catch2/catch.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "data/files/globs.h"
#include "data/files/source.h"
#include "support/compress.h"
#include "support/fault.h"
#include "support/program.h"
#include "support/web_server.h"

using namespace levanter;
using namespace levanter::data;
using namespace levanter::net;
using namespace levanter::testing;
using Catch::Contains;

namespace {

bool absent() {
  if (!has_http()) WARN("skipped: libcurl is not installed");
  return !has_http();
}

std::string fault(ErrorKind kind, const std::string& url) {
  return failure_of(kind, [&] {
    char byte;
    for (HttpStream stream(url); stream.read({&byte, 1}) > 0;) {
    }
  });
}

}  // namespace

TEST_CASE("a file at a web address is read as a stream, unpacked like any other", "[net]") {
  if (absent()) return;
  std::string lines;
  for (int i = 0; i < 50000; ++i) lines += cat("{\"text\": \"line ", i, "\"}\n");
  WebServer server({{"a.jsonl", {200, lines}},
                    {"b.jsonl.gz", {200, gzip(lines)}},
                    {"old", {302, "", "/a.jsonl"}}});
  for (const char* path : {"a.jsonl", "b.jsonl.gz", "a.jsonl?download=true"}) {
    INFO(path);
    RecordReader reader(server.url(path));
    CHECK(reader.form() == RecordForm::kJsonLines);
    int64_t count = 0;
    while (const auto record = reader.next())
      if (++count == 50000) CHECK(record->content == "{\"text\": \"line 49999\"}");
    CHECK(count == 50000);
  }
  std::string all(lines.size(), ' ');
  HttpStream stream(server.url("old"));
  size_t at = 0;
  for (size_t n; at < all.size() && (n = stream.read(std::span(all).subspan(at))) > 0;) at += n;
  CHECK(all == lines);
}

TEST_CASE("what a server does not give is an error with the address", "[net]") {
  if (absent()) return;
  std::string gone;
  {
    WebServer server(
        {{"cut", {200, std::string(1000, 'x'), "", 300}}, {"loop", {302, "", "/loop"}}});
    CHECK(fault(ErrorKind::kData, server.url("none")) ==
          cat("error: the server answers 404 and gives no file\n  at       ", server.url("none")));
    CHECK_THAT(fault(ErrorKind::kIo, server.url("cut")), Contains("the transfer was cut"));
    CHECK_THAT(fault(ErrorKind::kIo, server.url("loop")), Contains("can't be read"));
    gone = server.url("a");
  }
  CHECK_THAT(fault(ErrorKind::kIo, gone), Contains("can't be read") && Contains(gone));
  CHECK_THAT(fault(ErrorKind::kIo, "http://"), Contains("can't be read"));
}

TEST_CASE("web addresses have braces and no stars, and a config keeps them as they are", "[net]") {
  CHECK(expand_globs("https://a.b/x-{00..02}.gz", "train") ==
        std::vector<std::string>{"https://a.b/x-00.gz", "https://a.b/x-01.gz",
                                 "https://a.b/x-02.gz"});
  CHECK_THAT(failure_of(ErrorKind::kData, [] { expand_globs("http://a.b/*.gz", "train"); }),
             Contains("a * in a web address"));
  if (absent()) return;
  WebServer server(
      {{"a.txt", {200, std::string(500, 'a')}}, {"v.txt", {200, std::string(90, 'a')}}});
  const SmallRun run;
  const auto cache = [&](const std::string& path) {
    write_file_atomic(run / "web.toml",
                      cat("data.tokenizer = \"bytes\"\ndata.cache_dir = \"cache\"\n",
                          "model = { max_seq_len = 16 }\n[data.components.web]\ntrain = \"",
                          server.url(path), "\"\nvalidation = \"", server.url("v.txt"), "\"\n"));
    return run({"cache", "--config", "web.toml", "--json"});
  };
  const Ended made = cache("a.txt");
  INFO(made.err);
  CHECK(made.code == 0);
  CHECK_THAT(made.out, Contains("\"train_tokens\": 500"));
  const Ended other = cache("v.txt");
  CHECK(other.code == 3);
  CHECK_THAT(other.err, Contains("file"));
}
