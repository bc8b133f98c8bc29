// Logs whose trouble ends nothing.
#include "trackers/log_sink.h"

#include <catch2/catch.hpp>

#include "support/temporary_folder.h"

using namespace levanter;
using Catch::Contains;
using trackers::LogSink;

TEST_CASE("records follow what is in the file, also when others have cut it", "[trackers]") {
  const testing::TemporaryFolder folder;
  write_file_atomic(folder / "log", "old\n");
  LogSink sink(folder / "log", "log", "line");
  sink.add("one\n");
  sink.add("two\n");
  CHECK(read_file(folder / "log") == "old\n");
  sink.write();
  CHECK(read_file(folder / "log") == "old\none\ntwo\n");
  sink.replace_last("2\n");
  sink.write();
  CHECK(read_file(folder / "log") == "old\none\n2\n");
  LogFile(folder / "log").truncate(0);  // as logrotate's copytruncate does
  sink.replace_last("two\n");
  sink.add("three\n");
  sink.write();
  CHECK(read_file(folder / "log") == "two\nthree\n");
  sink.finish();
  CHECK(sink.news() == "");
}

TEST_CASE("a file that is removed or renamed is made anew", "[trackers]") {
  const testing::TemporaryFolder folder;
  int prepared = 0;
  LogSink sink(folder / "below/log", "log", "line", [&](LogFile&) { ++prepared; });
  sink.write();
  CHECK(prepared == 1);
  rename_path(folder / "below/log", folder / "log.1");
  sink.add("one\n");
  sink.write();
  CHECK(read_file(folder / "below/log") == "one\n");
  remove_tree(folder / "below");
  sink.add("two\n");
  sink.write();
  CHECK(read_file(folder / "below/log") == "two\n");
  CHECK(prepared == 1);
  CHECK(sink.news() == "");
}

TEST_CASE("what cannot be written is said once, waits, and follows when it can", "[trackers]") {
  const testing::TemporaryFolder folder;
  write_file_atomic(folder / "log", "");  // where a folder has to be
  LogSink sink(folder / "log/metrics", "metrics", "line");
  for (const char* line : {"one\n", "two\n", "three\n"}) {
    sink.add(line);
    sink.write();
  }
  const std::string news = sink.news();
  CHECK_THAT(news, Contains(folder / "log") && Contains("the run goes on"));
  CHECK(sink.news() == "");
  remove_tree(folder / "log");
  sink.write();
  CHECK(sink.news() == "metrics is written again");
  CHECK(read_file(folder / "log/metrics") == "one\ntwo\nthree\n");
  sink.finish();
  CHECK(sink.news() == "");
}

TEST_CASE("what is lost is counted at the end", "[trackers]") {
  const testing::TemporaryFolder folder;
  write_file_atomic(folder / "log", "");
  LogSink sink(folder / "log/metrics", "metrics", "line");
  // The first of five gives way, for four fill what may wait.
  for (int i = 0; i < 5; ++i) sink.add(std::string(LogSink::kWaitingBytes / 4, 'a'));
  sink.write();
  CHECK_THAT(sink.news(), Contains("the run goes on"));
  SECTION("all of it") {
    sink.finish();
    CHECK(sink.news() == "metrics: 5 lines could not be written");
  }
  SECTION("the oldest alone where the rest could follow") {
    remove_tree(folder / "log");
    sink.finish();
    CHECK(sink.news() == "metrics is written again");
    CHECK(sink.news() == "metrics: 1 line could not be written");
    CHECK(file_size(folder / "log/metrics") == LogSink::kWaitingBytes);
  }
}
