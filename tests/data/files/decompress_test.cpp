// Streams of bytes: plain, gzip, zstd, in pieces of any size, whole and damaged.
#include "data/files/decompress.h"

#include <catch2/catch.hpp>

#include "base/files.h"
#include "base/random.h"
#include "base/strings.h"
#include "support/compress.h"
#include "support/fault.h"
#include "support/temporary_folder.h"

using namespace levanter;
using levanter::data::open_decompressed;
using namespace levanter::testing;

namespace {

/// The whole stream, read `piece` bytes at a time.
std::string read_all(const std::string& path, size_t piece) {
  const auto reader = open_decompressed(path);
  std::string out, part(piece, '\0');
  while (const size_t n = reader->read(part)) out += part.substr(0, n);
  CHECK(reader->read(part) == 0);
  return out;
}

std::string some_text(size_t count) {
  std::string out(count, '\0');
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<char>('a' + random_bits({3, 4}, i) % 9);
  return out;
}

}  // namespace

TEST_CASE("a stream gives the same bytes however it is compressed and read", "[data]") {
  const TemporaryFolder folder;
  const std::string path = folder / "a";
  for (const size_t size : {size_t{0}, size_t{1}, size_t{3}, size_t{5000}, size_t{700'000}}) {
    const std::string text = some_text(size);
    const std::string half = text.substr(0, size / 2), rest = text.substr(size / 2);
    for (const std::string& packed : {text, gzip(text), zstd(text), gzip(half) + gzip(rest),
                                      zstd(half) + zstd("") + zstd(rest)}) {
      write_file_atomic(path, packed);
      for (const size_t piece : {size_t{1021}, size_t{1} << 18, size_t{1} << 20})
        CHECK(read_all(path, piece) == text);
    }
    write_file_atomic(path, zstd(text));
    if (size < 10'000) CHECK(read_all(path, 1) == text);
  }
}

TEST_CASE("bytes taken reach the size of the file", "[data]") {
  const TemporaryFolder folder;
  const std::string text = some_text(600'000);
  for (const std::string& packed : {text, gzip(text), zstd(text)}) {
    write_file_atomic(folder / "a", packed);
    const auto reader = open_decompressed(folder / "a");
    std::string part(100'000, '\0');
    int64_t before = 0;
    while (reader->read(part) > 0) {
      CHECK(reader->bytes_taken() >= before);
      before = reader->bytes_taken();
    }
    CHECK(before == static_cast<int64_t>(packed.size()));
  }
}

TEST_CASE("a zstd file cut at any place, flipped or followed by other bytes is refused", "[data]") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.zst";
  const std::string packed = zstd(some_text(3000));
  const auto error = [&] { return failure_of(ErrorKind::kData, [&] { read_all(path, 1 << 16); }); };
  for (size_t size = 4; size < packed.size(); size += size < 40 ? 1 : 17) {
    INFO("size " << size);
    write_file_atomic(path, packed.substr(0, size));
    CHECK(error() == cat("error: the zstd file is damaged: it ends too early\n  at       ", path,
                         "\n  hint     fetch or compress it again; zstd -t tests a file"));
  }
  for (const char* behind : {"\n", "mor"}) {
    write_file_atomic(path, packed + behind);
    CHECK_THAT(error(), Catch::StartsWith("error: the zstd file is damaged: "));
  }
  write_file_atomic(path, packed + "more");
  CHECK(error() == cat("error: the zstd file is damaged: unknown frame descriptor\n  at       ",
                       path, "\n  hint     fetch or compress it again; zstd -t tests a file"));
}

TEST_CASE("behind a gzip file's data stand zeros and further data alone", "[data]") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.gz";
  const std::string packed = gzip("one"), zeros(5, '\0');
  for (const std::string& good :
       {packed + zeros, packed + zeros + packed, packed + packed + zeros}) {
    write_file_atomic(path, good);
    CHECK(read_all(path, 1 << 16) == (good.size() > packed.size() + 5 ? "oneone" : "one"));
  }
  for (const std::string& behind : {std::string("more"), std::string("\n"), std::string("\x1F"),
                                    zeros + "more", std::string("\x1F\x8C more")}) {
    write_file_atomic(path, packed + behind);
    CHECK(failure_of(ErrorKind::kData, [&] { read_all(path, 1 << 16); }) ==
          cat("error: the gzip file is damaged: something else follows its data at byte ",
              packed.size() + (behind[0] == '\0' ? 5 : 0), "\n  at       ", path,
              "\n  hint     fetch or compress it again; gzip -t tests a file"));
  }
}

TEST_CASE("a file that can not be opened is named", "[data]") {
  const TemporaryFolder folder;
  CHECK_THAT(failure_of(ErrorKind::kIo, [&] { open_decompressed(folder / "none"); }),
             Catch::Contains(folder / "none"));
}
