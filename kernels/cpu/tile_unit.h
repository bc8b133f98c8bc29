// The processor's unit of eight tiles, each 16 rows of 64 bytes, that multiplies bf16 with sums in
// f32: Intel's AMX. What the tests use in its place: tests/support/emulated_tiles.h.
#pragma once

#include <cstdint>

namespace levanter::cpu {

inline constexpr int64_t kTileRows = 16, kTileRowBytes = 64;
inline constexpr int64_t kTileDepth = 32;  ///< terms of a sum in one product of tiles

/// Whether the system lets this process use the processor's tiles; asked once a process.
bool may_use_tiles();

#if defined(__x86_64__)
/// The calling thread's. oneDNN gives them up after each of its calls, so one of these lives for a
/// task in which there is no such call. Tiles are named by template arguments:
///   zero<t>()                  t = 0
///   load<t>(from, stride)      t = 16 rows of 64 bytes, `stride` bytes apart
///   store<t>(to, stride)       the reverse
///   multiply<c, a, b>()        c[r, j] += sum over pairs p, and i of 0 and 1, of
///                              a[r, 2 p + i] b[p, 2 j + i], with c of f32, a and b of bf16
///   will_write(line)           asks for a line of the cache that will be written
///
/// The instructions are written out: the compiler's own forms do not say which memory they read.
class HardwareTiles final {
 public:
  HardwareTiles() {
    alignas(64) uint8_t shape[64] = {1};  // palette 1; then bytes a row, and rows, of eight tiles
    for (int tile = 0; tile < 8; ++tile) {
      shape[16 + 2 * tile] = kTileRowBytes;
      shape[48 + tile] = kTileRows;
    }
    asm volatile("ldtilecfg (%0)" : : "r"(shape) : "memory");
  }
  ~HardwareTiles() { asm volatile("tilerelease" : : : "memory"); }
  HardwareTiles(const HardwareTiles&) = delete;
  HardwareTiles& operator=(const HardwareTiles&) = delete;

  template <int t>
  void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(t));
  }
  template <int t>
  void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(t) : "memory");
  }
  template <int t>
  void store(void* to, int64_t stride) const {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(t) : "memory");
  }
  template <int c, int a, int b>
  void multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
  }
  static void will_write(const char* line) { asm volatile("prefetchw (%0)" : : "r"(line)); }
};
#endif

}  // namespace levanter::cpu
