#include "support/allocations.h"

#include <link.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

namespace {
thread_local int64_t count = 0;
std::atomic<int64_t> largest = 0;
uintptr_t ignored_begin = 0, ignored_end = 0;

void* take(std::size_t bytes, std::size_t alignment, const void* caller) {
  const auto from = reinterpret_cast<uintptr_t>(caller);
  if (from < ignored_begin || from >= ignored_end) ++count;
  const auto size = static_cast<int64_t>(bytes);
  for (int64_t most = largest; most < size && !largest.compare_exchange_weak(most, size);) {
  }
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded ? rounded : alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
}  // namespace

// The arrays' forms of the standard library call these.
void* operator new(std::size_t bytes) {
  return take(bytes, alignof(std::max_align_t), __builtin_return_address(0));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return take(bytes, static_cast<std::size_t>(alignment), __builtin_return_address(0));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return take(bytes, alignof(std::max_align_t), __builtin_return_address(0));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace levanter::testing {
int64_t allocations() { return count; }
int64_t largest_allocation() { return largest.exchange(0); }

bool ignore_allocations_of(const char* name) {
  ignored_begin = ignored_end = 0;
  const auto find = [](dl_phdr_info* library, std::size_t, void* wanted) {
    if (!std::strstr(library->dlpi_name, static_cast<const char*>(wanted))) return 0;
    for (int i = 0; i < library->dlpi_phnum; ++i) {
      const auto& part = library->dlpi_phdr[i];
      if (part.p_type != PT_LOAD || !(part.p_flags & PF_X)) continue;
      ignored_begin = library->dlpi_addr + part.p_vaddr;
      ignored_end = ignored_begin + part.p_memsz;
    }
    return 1;
  };
  return dl_iterate_phdr(find, const_cast<char*>(name)) != 0;
}
}  // namespace levanter::testing
