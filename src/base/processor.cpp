// What the processor at hand can do.
#include "base/processor.h"

#include <sys/utsname.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace levanter {

namespace {

#if defined(__x86_64__)
/// The registers that instruction CPUID gives for leaf 7, whose bits are features.
struct Leaf7 {
  unsigned a = 0, b = 0, c = 0, d = 0;
  explicit Leaf7(unsigned subleaf) { __get_cpuid_count(7, subleaf, &a, &b, &c, &d); }
};

Processor ask() {
  Processor it;
  it.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
            __builtin_cpu_supports("fma");
  it.avx512 = it.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
  it.avx512_bf16 = it.avx512 && (Leaf7(1).a >> 5 & 1);
  it.quick_bf16 = it.avx512_bf16 && !__builtin_cpu_is("intel");
  it.amx_bf16 = it.avx512 && (Leaf7(0).d >> 22 & 1);
  return it;
}
#else
Processor ask() { return {}; }
#endif

}  // namespace

const Processor& processor() {
  static const Processor it = ask();
  return it;
}

std::string instruction_set() {
#if defined(__x86_64__)
  std::string text = "x86-64-v2";
  if (processor().avx2) text = "x86-64-v3";
  if (processor().avx512) text = "x86-64-v4";
  if (processor().avx512_bf16) text += ", avx512_bf16";
  if (processor().amx_bf16) text += ", amx";
  return text;
#else
  utsname system = {};
  return ::uname(&system) == 0 ? system.machine : "unknown";
#endif
}

}  // namespace levanter
