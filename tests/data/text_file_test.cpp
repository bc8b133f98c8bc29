// Text files: plain and compressed, and everything that can be wrong with one.
#include "data/text_file.h"

#include <catch2/catch.hpp>

#include "base/files.h"
#include "base/random.h"
#include "base/strings.h"
#include "support/compress.h"
#include "support/fault.h"
#include "support/temporary_folder.h"

using namespace levanter;
using levanter::data::read_text_file;
using levanter::testing::failure_of;
using levanter::testing::gzip;
using levanter::testing::TemporaryFolder;
using levanter::testing::zstd;

namespace {

constexpr char kKey[] = "data.components.c.train";

std::string random_bytes(size_t count) {
  std::string out(count, '\0');
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<char>(random_bits({1, 2}, i) % 7);
  return out;
}

}  // namespace

TEST_CASE("plain, gzip and zstd files are told apart by their bytes, not their names", "[data]") {
  const TemporaryFolder folder;
  for (const size_t size : {size_t{1}, size_t{100}, size_t{1} << 20, size_t{3'000'000}}) {
    const std::string text = random_bytes(size);
    write_file_atomic(folder / "plain.gz", text);
    CHECK(read_text_file(folder / "plain.gz", kKey) == text);
    write_file_atomic(folder / "packed.txt", gzip(text));
    CHECK(read_text_file(folder / "packed.txt", kKey) == text);
    write_file_atomic(folder / "packed.gz", zstd(text));
    CHECK(read_text_file(folder / "packed.gz", kKey) == text);
  }
}

TEST_CASE("gzip files of several members are read to the end, padding is not", "[data]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "two.gz", gzip("one, ") + gzip("two"));
  CHECK(read_text_file(folder / "two.gz", kKey) == "one, two");
  write_file_atomic(folder / "padded.gz", gzip("text") + std::string(7, '\0'));
  CHECK(read_text_file(folder / "padded.gz", kKey) == "text");
}

TEST_CASE("a missing, empty or odd text file is refused with advice", "[data]") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.txt";
  const std::string elsewhere =
      "  hint     point data.components.c.train at another file, in the config or as "
      "--data.components.c.train='[\"my.txt\"]'";
  const auto error = [&] {
    return failure_of(ErrorKind::kData, [&] { read_text_file(path, kKey); });
  };

  CHECK(error() == cat("error: there is no such text file\n  at       ", path, "\n", elsewhere));
  write_file_atomic(path, "");
  CHECK(error() == cat("error: the text file is empty\n  at       ", path, "\n", elsewhere));
  write_file_atomic(path, gzip(""));
  CHECK(error() == cat("error: the text file is empty\n  at       ", path, "\n", elsewhere));
  write_file_atomic(path, zstd(""));
  CHECK(error() == cat("error: the text file is empty\n  at       ", path, "\n", elsewhere));
  remove_tree(path);
  make_directories(path);
  CHECK(error() == cat("error: a folder stands where a text file should be\n  at       ", path,
                       "\n", elsewhere));
}

TEST_CASE("a gzip file cut at any place or with a flipped bit is refused", "[data]") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.gz";
  const std::string packed = gzip(random_bytes(2000));
  for (size_t size = 2; size < packed.size(); size += size < 40 ? 1 : 13) {
    INFO("size " << size);
    write_file_atomic(path, packed.substr(0, size));
    CHECK(failure_of(ErrorKind::kData, [&] { read_text_file(path, kKey); }) ==
          cat("error: the gzip file is damaged: it ends too early\n  at       ", path,
              "\n  hint     fetch or compress it again; gzip -t tests a file"));
  }
  for (const size_t place : {packed.size() / 2, packed.size() - 6}) {
    std::string flipped = packed;
    flipped[place] = static_cast<char>(flipped[place] ^ 16);
    write_file_atomic(path, flipped);
    CHECK_THAT(failure_of(ErrorKind::kData, [&] { read_text_file(path, kKey); }),
               Catch::StartsWith("error: the gzip file is damaged: "));
  }
}
