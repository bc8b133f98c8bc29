// What the processor at hand can do.
#pragma once

#include <string>

namespace levanter {

/// Asked once, when the program first wants to know. On processors other than x86-64 all is false.
struct Processor {
  bool avx2 = false;         ///< all of x86-64-v3 that we use: AVX2, BMI2, FMA
  bool avx512 = false;       ///< all of x86-64-v4: AVX-512 F, BW, CD, DQ, VL
  bool avx512_bf16 = false;  ///< products of bf16 in vectors
  bool quick_bf16 = false;   ///< and those are quicker than products of f32, as Intel's are not
  bool amx_bf16 = false;     ///< products of bf16 in tiles
};

const Processor& processor();

/// Its instruction set in words: "x86-64-v4, avx512_bf16, amx", "aarch64".
std::string instruction_set();

}  // namespace levanter
