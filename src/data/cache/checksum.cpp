// Checksums of long arrays and whole files.
#include "data/cache/checksum.h"

#include <algorithm>

#include "base/hash.h"
#include "base/strings.h"

namespace levanter {
namespace {

constexpr size_t kPiece = size_t{1} << 20;  ///< read at a time: what stays in a processor's cache

/// `hash(begin, bytes)` of each block, in order.
template <class Hash>
std::vector<std::string> of_blocks(int64_t size, ThreadPool& pool, Hash hash) {
  std::vector<std::string> sums(static_cast<size_t>((size + kChecksumBlock - 1) / kChecksumBlock));
  pool.parallel_for(static_cast<int64_t>(sums.size()), [&](int64_t block, int) {
    const int64_t begin = block * kChecksumBlock;
    sums[static_cast<size_t>(block)] = hex64(hash(begin, std::min(kChecksumBlock, size - begin)));
  });
  return sums;
}

}  // namespace

std::vector<std::string> checksums(std::span<const std::byte> bytes, ThreadPool& pool) {
  return of_blocks(std::ssize(bytes), pool, [&](int64_t begin, int64_t size) {
    return xxh3_64(bytes.subspan(static_cast<size_t>(begin), static_cast<size_t>(size)));
  });
}

std::vector<std::string> checksums(const InputFile& file, ThreadPool& pool) {
  return of_blocks(file.size(), pool, [&](int64_t begin, int64_t size) {
    std::vector<std::byte> room(std::min(kPiece, static_cast<size_t>(size)));
    Hasher hasher(Hasher::Width::k64);
    for (int64_t done = 0; done < size;) {
      const auto piece =
          std::span(room).first(std::min(room.size(), static_cast<size_t>(size - done)));
      file.read(begin + done, piece);
      hasher.update(piece);
      done += std::ssize(piece);
    }
    return hasher.value64();
  });
}

std::string checksum_of(std::span<const std::string> blocks) {
  return blocks.size() == 1 ? blocks[0] : hex64(xxh3_64(join(blocks, " ")));
}

}  // namespace levanter
