// Memory of the host: zero-filled, in huge pages where the system has them, touched in parallel.
#include "device/host_buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/integers.h"
#include "base/strings.h"

namespace levanter {

namespace {

constexpr int64_t kHugePage = 2 << 20;
constexpr int64_t kPage = 4096;

class HostBuffer final : public Buffer {
 public:
  HostBuffer(std::byte* mapping, int64_t mapped, std::byte* data, int64_t bytes)
      : mapping_(mapping), mapped_(mapped), data_(data), bytes_(bytes) {}
  ~HostBuffer() override { munmap(mapping_, static_cast<size_t>(mapped_)); }
  std::byte* data() const override { return data_; }
  int64_t bytes() const override { return bytes_; }

 private:
  std::byte* mapping_;
  int64_t mapped_;
  std::byte* data_;
  int64_t bytes_;
};

/// Writes one byte of every page, so that the first step does not pay for the page faults.
void touch(std::byte* data, int64_t bytes, int threads) {
  const auto part = [&](int i) {
    const int64_t begin = bytes * i / threads, end = bytes * (i + 1) / threads;
    for (int64_t at = begin / kPage * kPage; at < end; at += kPage) data[at] = std::byte{0};
  };
  std::vector<std::jthread> workers;
  int shared = 1;  // parts that a thread was found for
  try {
    for (; shared < threads; ++shared) workers.emplace_back(part, shared);
  } catch (const std::system_error&) {
  }
  part(0);
  for (int i = shared; i < threads; ++i) part(i);
}

}  // namespace

std::unique_ptr<Buffer> allocate_host(int64_t bytes, int threads) {
  const bool large = bytes >= kHugePage;
  const int64_t unit = large ? kHugePage : kPage;
  // Huge pages need an aligned start, so a large piece is mapped with room to align in.
  const int64_t mapped = std::max<int64_t>(1, ceil_div(bytes, unit)) * unit + (large ? unit : 0);
  void* mapping = mmap(nullptr, static_cast<size_t>(mapped), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED)
    throw Error(ErrorKind::kDevice, cat("cannot allocate ", format_bytes(bytes)))
        .hint("a smaller microbatch needs less; see levanter plan");
  auto* start = static_cast<std::byte*>(mapping);
  const auto address = reinterpret_cast<uintptr_t>(start);
  std::byte* data =
      start + (static_cast<uintptr_t>(unit) - address % static_cast<uintptr_t>(unit)) %
                  static_cast<uintptr_t>(unit);
  if (large) madvise(data, static_cast<size_t>(mapped - (data - start)), MADV_HUGEPAGE);
  touch(data, bytes, large ? std::max(1, threads) : 1);
  return std::make_unique<HostBuffer>(start, mapped, data, bytes);
}

}  // namespace levanter
