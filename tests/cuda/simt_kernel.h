// The emulated device as kernels see it: with this header before it, the text of a kernel is C++
// that runs thread by thread on fibers. Kernels register themselves by name. Nothing of the
// standard library, so that a text is compiled in a moment.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace levanter::simt {

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};

/// A kernel of the program: `run` takes the bytes of its arguments, for one thread.
struct Kernel {
  Kernel(const char* file, const char* name, size_t argument_bytes, unsigned threads,
         void (*run)(const void*));
  const char* file;  ///< its text's
  const char* name;
  size_t argument_bytes;
  unsigned threads;  ///< the most of a block
  void (*run)(const void*);
};

/// Of the thread that runs.
extern thread_local Dim thread_index, block_index, block_size, grid_size;

/// Where a thread is in its text.
struct Place {
  const char* file;
  int line;
};

/// __syncthreads and __syncwarp.
void synchronize(Place place);
void synchronize_warp(Place place);
/// The block's memory for `key`: filled with NaN for each block.
void* shared(const void* key, size_t bytes);
/// The block's memory whose size the launch says, filled with NaN too.
void* dynamic_shared();
/// What the lane `from` of the warp gives for `bits` at the same time.
uint64_t exchange(uint64_t bits, unsigned from, Place place);
unsigned lane();
/// See multiply_fragments and load_matrices of device.cuh.
void multiply(float* d, const uint32_t* a, const uint32_t* b, Place place);
void load_matrices(uint32_t* to, const uint16_t* row, bool transposed, Place place);

template <class Arguments, void (*kernel)(const Arguments&)>
void run(const void* bytes) {
  kernel(*static_cast<const Arguments*>(bytes));
}

template <class To, class From>
To bits_as(From x) {
  static_assert(sizeof(To) == sizeof(From));
  return __builtin_bit_cast(To, x);
}

}  // namespace levanter::simt

#define __forceinline__ inline
#define LEV_PLACE (::levanter::simt::Place{__builtin_FILE(), __builtin_LINE()})
#define threadIdx (::levanter::simt::thread_index)
#define blockIdx (::levanter::simt::block_index)
#define blockDim (::levanter::simt::block_size)
#define gridDim (::levanter::simt::grid_size)
#define __syncthreads() ::levanter::simt::synchronize({__FILE__, __LINE__})
#define __syncwarp() ::levanter::simt::synchronize_warp({__FILE__, __LINE__})
#define LEV_SHARED(type, name, count) \
  static const char name##_key = 0;   \
  auto* const name =                  \
      static_cast<type*>(::levanter::simt::shared(&name##_key, sizeof(type) * (count)))
#define LEV_DYNAMIC_SHARED(name) \
  auto* const name = static_cast<unsigned char*>(::levanter::simt::dynamic_shared())
#define LEV_KERNEL_OF(name, Arguments, threads)                                                    \
  static void name(const Arguments& a);                                                            \
  static const ::levanter::simt::Kernel name##_kernel(__FILE__, #name, sizeof(Arguments), threads, \
                                                      &::levanter::simt::run<Arguments, name>);    \
  static void name(const Arguments& a)
#define LEV_ROLLED
#define LEV_UNROLLED
#define LEV_ALIASES [[gnu::may_alias]]

// As math.h declares them, without the rest of it.
extern "C" {
float sqrtf(float) noexcept;
float fmaf(float, float, float) noexcept;
double fma(double, double, double) noexcept;
}

inline float __uint_as_float(uint32_t x) { return ::levanter::simt::bits_as<float>(x); }
inline uint32_t __float_as_uint(float x) { return ::levanter::simt::bits_as<uint32_t>(x); }
inline double __longlong_as_double(int64_t x) { return ::levanter::simt::bits_as<double>(x); }
inline int64_t __double_as_longlong(double x) { return ::levanter::simt::bits_as<int64_t>(x); }
inline uint64_t __umul64hi(uint64_t x, uint64_t y) {
  __extension__ using Wide = unsigned __int128;
  return uint64_t(Wide(x) * y >> 64);
}

/// The value of the lane whose number differs by the bits of `mask`.
inline float __shfl_xor_sync(unsigned, float x, unsigned mask,
                             ::levanter::simt::Place place = LEV_PLACE) {
  return __uint_as_float(uint32_t(
      ::levanter::simt::exchange(__float_as_uint(x), ::levanter::simt::lane() ^ mask, place)));
}
inline uint32_t __shfl_xor_sync(unsigned, uint32_t x, unsigned mask,
                                ::levanter::simt::Place place = LEV_PLACE) {
  return uint32_t(::levanter::simt::exchange(x, ::levanter::simt::lane() ^ mask, place));
}
inline int32_t __shfl_xor_sync(unsigned, int32_t x, unsigned mask,
                               ::levanter::simt::Place place = LEV_PLACE) {
  return int32_t(::levanter::simt::exchange(uint32_t(x), ::levanter::simt::lane() ^ mask, place));
}
/// The value of one lane.
inline float __shfl_sync(unsigned, float x, unsigned from,
                         ::levanter::simt::Place place = LEV_PLACE) {
  return __uint_as_float(
      uint32_t(::levanter::simt::exchange(__float_as_uint(x), from & 31u, place)));
}
inline uint32_t __shfl_sync(unsigned, uint32_t x, unsigned from,
                            ::levanter::simt::Place place = LEV_PLACE) {
  return uint32_t(::levanter::simt::exchange(x, from & 31u, place));
}
