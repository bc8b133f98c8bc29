// Files, folders, locks and paths.
#include "base/files.h"

#include <catch2/catch.hpp>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "base/strings.h"
#include "support/temporary_folder.h"

using namespace levanter;
using Catch::Contains;

namespace {

/// The text of the kIo error that `call` throws, or "" when it throws none.
template <class Call>
std::string io_failure(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.kind() == ErrorKind::kIo ? error.what() : "another kind of error";
  }
  return "";
}

}  // namespace

TEST_CASE("a file reads back as it was written", "[base]") {
  const testing::TemporaryFolder folder;
  const std::string content("a\0b\n\xff", 5);
  write_file_atomic(folder / "x", content);
  CHECK(read_file(folder / "x") == content);
  write_file_atomic(folder / "x", "shorter");
  CHECK(read_file(folder / "x") == "shorter");
  CHECK(file_size(folder / "x") == 7);
  write_file_atomic(folder / "empty", "");
  CHECK(read_file(folder / "empty").empty());
  CHECK(list_directory(folder.path()) == std::vector<std::string>{"empty", "x"});
}

TEST_CASE("an atomic file that is not committed leaves the old content and nothing else",
          "[base]") {
  const testing::TemporaryFolder folder;
  write_file_atomic(folder / "x", "old");
  {
    AtomicFile file(folder / "x");
    file.write("new, but not all of it");
    CHECK(read_file(folder / "x") == "old");
    CHECK(list_directory(folder.path()).size() == 2);
    CHECK(is_temporary_name(list_directory(folder.path())[1]));
  }
  CHECK(read_file(folder / "x") == "old");
  CHECK(list_directory(folder.path()) == std::vector<std::string>{"x"});
}

TEST_CASE("direct writes leave what cached ones leave, whatever the sizes", "[base]") {
  constexpr size_t kRoom = size_t{1} << 20;  // what is written at once
  std::string content(3 * kRoom, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 2654435761u >> 13);
  std::vector<std::string> folders = {""};
  if (is_directory("/dev/shm")) folders.emplace_back("/dev/shm");  // may know no direct writes
  for (const std::string& where : folders)
    for (const size_t size : {size_t{0}, size_t{1}, size_t{4097}, kRoom - 1, kRoom, kRoom + 1,
                              2 * kRoom + 4096, 3 * kRoom})
      for (const size_t piece : {kRoom / 3, kRoom, 2 * kRoom + 7}) {
        INFO(size << " bytes by " << piece);
        const testing::TemporaryFolder folder(where);
        const std::string_view all(content.data(), size);
        AtomicFile file(folder / "x", Writes::kDirect);
        for (size_t at = 0; at < size; at += piece) file.write(all.substr(at, piece));
        CHECK(file.size() == static_cast<int64_t>(size));
        if (size > 2 * kRoom) file.rewrite(3, all.substr(3, kRoom));  // and nothing after it
        file.commit();
        CHECK(read_file(folder / "x") == all);
      }
}

TEST_CASE("a file goes on after a part of it was written anew", "[base]") {
  const testing::TemporaryFolder folder;
  for (const Writes writes : {Writes::kCached, Writes::kDirect}) {
    AtomicFile file(folder / "x", writes);
    file.write(std::string(3 << 20, 'a'));
    file.rewrite(1, "b");
    file.write("c");
    file.commit();
    const std::string content = read_file(folder / "x");
    CHECK(content.size() == (3 << 20) + 1);
    CHECK(content.substr(0, 3) == "aba");
    CHECK(content.back() == 'c');
  }
}

TEST_CASE("a pipe is neither replaced by a file nor waited for", "[base]") {
  const testing::TemporaryFolder folder;
  const std::string pipe = folder / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK_THAT(io_failure([&] { write_file_atomic(pipe, "text"); }),
             Contains("it is a device, a pipe or a socket"));
  CHECK(is_stream(pipe));
  CHECK(list_directory(folder.path()) == std::vector<std::string>{"pipe"});
  CHECK_THAT(io_failure([&] { LogFile{pipe}; }), Contains("cannot write"));  // nobody reads it
  CHECK(InputFile(pipe).size() == 0);
}

TEST_CASE("a write that the system refuses leaves the old content and nothing else", "[base]") {
  const testing::TemporaryFolder folder;
  write_file_atomic(folder / "x", "old");
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &small);
    const std::string text =
        io_failure([&] { write_file_atomic(folder / "x", std::string(5000, 'n')); });
    bool told = text.find("cannot write") != text.npos && text.find("/x") != text.npos &&
                text.find("hint") != text.npos;
    told &= io_failure([&] {
              AtomicFile file(folder / "x", Writes::kDirect);
              file.write(std::string(3 << 20, 'n'));
            }).find("cannot write") != text.npos;
    ::_exit(told && list_directory(folder.path()).size() == 1 ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(read_file(folder / "x") == "old");
}

TEST_CASE("failures name the path, the system's words and a hint", "[base]") {
  const testing::TemporaryFolder folder;
  const std::string missing = io_failure([&] { read_file(folder / "no/such"); });
  CHECK_THAT(missing, Contains("cannot read " + (folder / "no/such") + ": no such file"));
  CHECK_THAT(missing, Contains("hint"));
  CHECK_THAT(io_failure([&] { read_file(folder.path()); }), Contains("directory"));
  CHECK_THAT(io_failure([&] { AtomicFile file(folder / "no/such"); }), Contains("cannot write"));
  CHECK_THAT(io_failure([&] { list_directory(folder / "none"); }), Contains("cannot list"));
  write_file_atomic(folder / "file", "");
  CHECK_THAT(io_failure([&] { make_directories(folder / "file/below"); }),
             Contains((folder / "file") + ": not a directory"));
  CHECK_THAT(io_failure([&] { make_directories(folder / "file"); }), Contains("not a directory"));
}

TEST_CASE("folders are made with their parents and removed with their content", "[base]") {
  const testing::TemporaryFolder folder;
  make_directories(folder / "a/b/c");
  make_directories(folder / "a/b/c");
  write_file_atomic(folder / "a/b/x", "1");
  REQUIRE(::symlink((folder / "a/b").c_str(), (folder / "a/link").c_str()) == 0);
  CHECK(list_directory(folder / "a") == std::vector<std::string>{"b", "link"});
  CHECK(is_directory(folder / "a/b/c"));
  remove_tree(folder / "a/link");
  CHECK(path_exists(folder / "a/b/x"));
  remove_tree(folder / "a");
  CHECK_FALSE(path_exists(folder / "a"));
  CHECK_NOTHROW(remove_tree(folder / "a"));
}

TEST_CASE("two folders exchange their names", "[base]") {
  const testing::TemporaryFolder folder;
  make_directories(folder / "a");
  make_directories(folder / "b");
  write_file_atomic(folder / "a/one", "");
  exchange_paths(folder / "a", folder / "b");
  CHECK(list_directory(folder / "a").empty());
  CHECK(list_directory(folder / "b") == std::vector<std::string>{"one"});
}

TEST_CASE("an input file shows a file's bytes", "[base]") {
  const testing::TemporaryFolder folder;
  write_file_atomic(folder / "x", "0123456789");
  const InputFile file(folder / "x");
  char part[4] = {};
  file.read(6, std::as_writable_bytes(std::span(part)));
  CHECK(std::string_view(part, 4) == "6789");
  CHECK_THAT(io_failure([&] { file.read(7, std::as_writable_bytes(std::span(part))); }),
             Contains("too short"));
}

TEST_CASE("a log grows at its end, also after others have cut it", "[base]") {
  const testing::TemporaryFolder folder;
  {
    LogFile log(folder / "log");
    log.append("0123456789");
    log.append("abcd");
    log.truncate(11);
  }
  CHECK(read_file(folder / "log") == "0123456789a");
  LogFile log(folder / "log");  // what is there stays
  CHECK(log.size() == 11);
  log.append("x");
  LogFile(folder / "log").truncate(0);
  log.append("y");
  CHECK(read_file(folder / "log") == "y");
  CHECK(log.in_place());
  rename_path(folder / "log", folder / "log.1");
  CHECK_FALSE(log.in_place());
  LogFile other(folder / "log");
  CHECK_FALSE(log.in_place());
  CHECK_THAT(io_failure([&] { LogFile file(folder / "no/such"); }), Contains("cannot write"));
}

TEST_CASE("paths are joined and taken apart", "[base]") {
  CHECK(join_path("a", "b") == "a/b");
  CHECK(join_path("a/", "b") == "a/b");
  CHECK(join_path("a", "/b") == "/b");
  CHECK(join_path("", "b") == "b");
  CHECK(parent_path("a/b/c.txt") == "a/b");
  CHECK(parent_path("c.txt") == ".");
  CHECK(parent_path("/c") == "/");
  CHECK(parent_path("a/b/") == "a");
  CHECK(file_name("a/b/c.txt") == "c.txt");
  CHECK(file_name("a/b/") == "b");
  CHECK(file_stem("a/c.tar.gz") == "c.tar");
  CHECK(file_stem(".profile") == ".profile");
  CHECK(absolute_path("/a/./b//../c") == "/a/c");
  CHECK(absolute_path("/../..") == "/");
  CHECK(absolute_path("x").ends_with("/x"));
  CHECK(absolute_path("x").starts_with("/"));
}

TEST_CASE("temporary names are told from others", "[base]") {
  CHECK(is_temporary_name(temporary_name("step-5")));
  CHECK(temporary_name("x") != temporary_name("x"));
  CHECK_FALSE(is_temporary_name("step-5"));
  for (const char* other : {"notes.tmp-of-mine", "notes.tmp-2024-11", "x.levanter.tmp-",
                            "x.levanter.tmp-1", "x.levanter.tmp-1-2-3", "x.levanter.tmp-1-b"})
    CHECK_FALSE(is_temporary_name(other));
}
