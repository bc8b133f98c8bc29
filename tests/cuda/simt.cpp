// Blocks of threads on fibers: each thread of a block has a stack and runs until a barrier; then
// the next warp that can goes on. Only the order decides, so a fault comes again.
#include "cuda/simt.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

// Of the address sanitizer's library, where that is linked: it is told of each change of the stack.
extern "C" [[gnu::weak]] void __sanitizer_start_switch_fiber(void** fake_stack_save,
                                                             const void* bottom, size_t size);
extern "C" [[gnu::weak]] void __sanitizer_finish_switch_fiber(void* fake_stack_save,
                                                              const void** bottom_old,
                                                              size_t* size_old);

// Saves the registers that calls keep and the stack at *save, goes on at the stack `load`. A stack
// that was left begins with a frame of kFrameWords, in which kEntryWord is where it goes on.
extern "C" void levanter_simt_switch(void** save, void* load);
#if defined(__x86_64__)
constexpr size_t kFrameWords = 8, kEntryWord = 6;  // the last one aligns the stack at entry
asm(R"(
.text
.globl levanter_simt_switch
.type levanter_simt_switch,@function
levanter_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size levanter_simt_switch,.-levanter_simt_switch
)");
#elif defined(__aarch64__)
constexpr size_t kFrameWords = 20, kEntryWord = 11;
asm(R"(
.text
.globl levanter_simt_switch
.type levanter_simt_switch,@function
levanter_simt_switch:
  sub sp,sp,#160
  stp x19,x20,[sp,#0]
  stp x21,x22,[sp,#16]
  stp x23,x24,[sp,#32]
  stp x25,x26,[sp,#48]
  stp x27,x28,[sp,#64]
  stp x29,x30,[sp,#80]
  stp d8,d9,[sp,#96]
  stp d10,d11,[sp,#112]
  stp d12,d13,[sp,#128]
  stp d14,d15,[sp,#144]
  mov x9,sp
  str x9,[x0]
  mov sp,x1
  ldp x19,x20,[sp,#0]
  ldp x21,x22,[sp,#16]
  ldp x23,x24,[sp,#32]
  ldp x25,x26,[sp,#48]
  ldp x27,x28,[sp,#64]
  ldp x29,x30,[sp,#80]
  ldp d8,d9,[sp,#96]
  ldp d10,d11,[sp,#112]
  ldp d12,d13,[sp,#128]
  ldp d14,d15,[sp,#144]
  add sp,sp,#160
  ret
.size levanter_simt_switch,.-levanter_simt_switch
)");
#else
#error "switching stacks is written for x86-64 and 64-bit ARM"
#endif

namespace levanter::simt {

thread_local Dim thread_index, block_index, block_size, grid_size;

namespace {

constexpr size_t kStackBytes = 64 << 10;
constexpr size_t kGuardBytes = 4096;  // below a stack, closed
constexpr unsigned kWarp = 32;

void start_switch(void** saved, const void* stack, size_t bytes) {
  if (__sanitizer_start_switch_fiber) __sanitizer_start_switch_fiber(saved, stack, bytes);
}
void finish_switch(void* saved, const void** stack, size_t* bytes) {
  if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(saved, stack, bytes);
}

std::multimap<std::string_view, const Kernel*>& registry() {
  static std::multimap<std::string_view, const Kernel*> kernels;
  return kernels;
}

/// Stacks, kept from launch to launch.
class Stacks {
 public:
  ~Stacks() {
    for (std::byte* stack : all_) ::munmap(stack - kGuardBytes, kStackBytes + kGuardBytes);
  }
  std::byte* get(size_t index) {
    while (all_.size() <= index) {
      void* mapped = ::mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      LEV_CHECK(mapped != MAP_FAILED, "no memory for a fiber's stack");
      ::mprotect(mapped, kGuardBytes, PROT_NONE);
      all_.push_back(static_cast<std::byte*>(mapped) + kGuardBytes);
    }
    return all_[index];
  }

 private:
  std::vector<std::byte*> all_;
};

struct Fiber {
  void* stack_pointer = nullptr;
  std::byte* stack = nullptr;
  void* sanitizer = nullptr;  ///< what AddressSanitizer keeps of it while another runs
  Dim index;
  unsigned number = 0;
  Place place{"", 0};  ///< of the barrier where it waits
  bool done = false;
  /// What it brings to an operation of its warp, and takes from it.
  uint64_t bits = 0;
  unsigned from = 0;
  std::array<uint32_t, 4> a{};
  std::array<uint32_t, 2> b{};
  std::array<float, 4> c{};
  const uint16_t* row = nullptr;
  std::array<uint32_t, 4> words{};

  unsigned lane() const { return number % kWarp; }
};

/// Threads that go on together.
struct Meeting {
  size_t expected = 0;
  std::vector<Fiber*> waiting = {};
};

float widened(uint32_t word, int half) {
  return bits_as<float>(static_cast<uint32_t>(half == 0 ? word << 16 : word & 0xffff0000u));
}

/// d = a b + c by all lanes of a warp, in the layout of mma.m16n8k16: lane l holds, with g = l / 4
/// and t = l % 4, of a the rows g and g + 8 and the columns 2 t, 2 t + 1 and these + 8, of b the
/// rows 2 t, 2 t + 1 and these + 8 of column g, of c the columns 2 t, 2 t + 1 of rows g and g + 8.
void multiply_fragments(std::span<Fiber* const> warp) {
  float a[16][16], b[16][8];
  for (const Fiber* lane : warp) {
    const unsigned g = lane->lane() / 4, t = lane->lane() % 4;
    for (unsigned i = 0; i < 4; ++i)
      for (unsigned half = 0; half < 2; ++half) {
        a[g + i % 2 * 8][2 * t + half + i / 2 * 8] = widened(lane->a[i], static_cast<int>(half));
        if (i < 2) b[2 * t + half + i * 8][g] = widened(lane->b[i], static_cast<int>(half));
      }
  }
  for (Fiber* lane : warp)
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = lane->lane() / 4 + i / 2 * 8, column = lane->lane() % 4 * 2 + i % 2;
      for (unsigned k = 0; k < 16; ++k) lane->c[i] += a[row][k] * b[k][column];
    }
}

/// Four matrices of 8 by 8 words of 2 bytes; lane l says where row l % 8 of matrix l / 8 begins.
void fetch_matrices(std::span<Fiber* const> warp, bool transposed) {
  for (Fiber* lane : warp)
    for (unsigned i = 0; i < 4; ++i) {
      uint32_t word = 0;
      for (unsigned half = 0; half < 2; ++half) {
        const unsigned g = lane->lane() / 4, t = lane->lane() % 4 * 2 + half;
        const unsigned row = transposed ? t : g, column = transposed ? g : t;
        word |= static_cast<uint32_t>(warp[i * 8 + row]->row[column]) << (16 * half);
      }
      lane->words[i] = word;
    }
}

class Block;
thread_local Block* current = nullptr;

class Block {
 public:
  Block(const Kernel& kernel, Dim size, size_t dynamic_bytes, const void* arguments, Order order)
      : kernel_(kernel),
        arguments_(arguments),
        order_(order),
        size_(size),
        dynamic_((dynamic_bytes + sizeof(Line) - 1) / sizeof(Line)) {
    static thread_local Stacks stacks;
    const unsigned threads = size.x * size.y * size.z;
    fibers_.resize(threads);
    ready_.resize((threads + kWarp - 1) / kWarp);
    for (unsigned t = 0; t < threads; ++t) {
      fibers_[t].number = t;
      fibers_[t].stack = stacks.get(t);
      fibers_[t].index = {t % size.x, t / size.x % size.y, t / size.x / size.y};
    }
    block_.expected = threads;
    warps_.resize(ready_.size());
    for (const Fiber& fiber : fibers_) ++warps_[fiber.number / kWarp].expected;
  }

  void run() {
    shared_.clear();
    shared_bytes_ = 0;
    std::memset(dynamic_.data(), 0xff, dynamic_.size() * sizeof(Line));
    block_.waiting.clear();
    for (Meeting& warp : warps_) warp.waiting.clear();
    for (Fiber& fiber : fibers_) {
      prepare(fiber);
      ready_[fiber.number / kWarp].push_back(&fiber);
    }
    size_t finished = 0;
    while (finished < fibers_.size()) {
      std::vector<Fiber*> warp;
      warp.swap(ready_[choose()]);
      if (order_ == Order::kBackward) std::reverse(warp.begin(), warp.end());
      if (order_ == Order::kRandom)
        std::rotate(warp.begin(), warp.begin() + static_cast<long>(random_ % warp.size()),
                    warp.end());
      for (Fiber* fiber : warp) {
        enter(*fiber);
        if (!fault_.empty()) throw Error(ErrorKind::kInternal, fault_);
        finished += fiber->done;
      }
    }
  }

  /// The running thread waits until all have come to a barrier.
  void synchronize(Place place) {
    meet(block_, place, [](std::span<Fiber* const>) {});
  }
  /// Likewise its warp; the last to come does `work` for all.
  template <class Work>
  void meet_warp(Place place, Work&& work) {
    meet(warps_[self_->number / kWarp], place, work);
  }
  Fiber& self() { return *self_; }

  void* shared(const void* key, size_t bytes) {
    std::vector<Line>& piece = shared_[key];
    if (!piece.empty()) return piece.data();
    shared_bytes_ += bytes;
    if (shared_bytes_ > kMostNamedShared)
      fail(cat("kernel ", kernel_.name, " names more shared memory than a block has"));
    piece.resize((bytes + sizeof(Line) - 1) / sizeof(Line));
    std::memset(piece.data(), 0xff, piece.size() * sizeof(Line));
    return piece.data();
  }
  void* dynamic_shared() { return dynamic_.data(); }

  /// Ends the launch: no thread goes on, and the launch throws.
  void fail(std::string fault) {
    fault_ = std::move(fault);
    leave();
  }

 private:
  /// Shared memory lies as a card's does: by 16 bytes.
  struct alignas(16) Line {
    std::byte bytes[16];
  };

  template <class Work>
  void meet(Meeting& meeting, Place place, Work&& work) {
    self_->place = place;
    std::vector<Fiber*>& waiting = meeting.waiting;
    waiting.push_back(self_);
    if (waiting.size() == meeting.expected) {
      std::sort(waiting.begin(), waiting.end(),
                [](const Fiber* a, const Fiber* b) { return a->number < b->number; });
      const bool together = std::all_of(waiting.begin(), waiting.end(), [&](const Fiber* f) {
        return f->place.line == place.line && f->place.file == std::string_view(place.file);
      });
      if (together) {
        work(std::span<Fiber* const>(waiting));
        for (Fiber* fiber : waiting) ready_[fiber->number / kWarp].push_back(fiber);
        waiting.clear();
      }
    }
    leave();
  }

  /// Of the warps with threads that can go on, the one whose turn it is.
  size_t choose() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    const size_t count = ready_.size();
    for (size_t i = 0; i < count; ++i) {
      size_t warp = i;
      if (order_ == Order::kBackward) warp = count - 1 - i;
      if (order_ == Order::kRandom) warp = (random_ + i) % count;
      if (!ready_[warp].empty()) return warp;
    }
    throw Error(ErrorKind::kInternal,
                cat("threads of ", kernel_.name, " wait for each other: ", places()));
  }

  /// "32 at dot.cu:41, 224 at their end".
  std::string places() const {
    std::map<std::string, int> counts;
    for (const Fiber& fiber : fibers_)
      ++counts[fiber.done ? "their end" : cat(fiber.place.file, ":", fiber.place.line)];
    std::string text;
    for (const auto& [place, count] : counts)
      text += cat(text.empty() ? "" : ", ", count, " at ", place);
    return text;
  }

  static void prepare(Fiber& fiber) {
    auto** const frame = reinterpret_cast<void**>(fiber.stack + kStackBytes) - kFrameWords;
    std::fill_n(frame, kFrameWords, nullptr);
    frame[kEntryWord] = reinterpret_cast<void*>(&Block::begin);
    fiber.stack_pointer = frame;
    fiber.done = false;
  }

  [[noreturn]] static void begin() {
    Block& block = *current;
    block.arrived(nullptr);
    block.kernel_.run(block.arguments_);
    block.self_->done = true;
    block.leave();
    std::abort();  // nobody goes on with a thread that is done
  }

  void enter(Fiber& fiber) {
    self_ = &fiber;
    thread_index = fiber.index;
    void* saved = nullptr;
    start_switch(&saved, fiber.stack, kStackBytes);
    levanter_simt_switch(&scheduler_, fiber.stack_pointer);
    finish_switch(saved, nullptr, nullptr);
  }

  void leave() {
    Fiber& fiber = *self_;
    start_switch(fiber.done ? nullptr : &fiber.sanitizer, scheduler_stack_, scheduler_bytes_);
    levanter_simt_switch(&fiber.stack_pointer, scheduler_);
    arrived(fiber.sanitizer);
  }

  void arrived(void* saved) { finish_switch(saved, &scheduler_stack_, &scheduler_bytes_); }

  const Kernel& kernel_;
  const void* arguments_;
  Order order_;
  Dim size_;
  std::vector<Fiber> fibers_;
  std::vector<std::vector<Fiber*>> ready_;  ///< by warp
  Meeting block_;
  std::vector<Meeting> warps_;
  std::map<const void*, std::vector<Line>> shared_;
  size_t shared_bytes_ = 0;
  std::string fault_;
  std::vector<Line> dynamic_;
  Fiber* self_ = nullptr;
  void* scheduler_ = nullptr;
  const void* scheduler_stack_ = nullptr;
  size_t scheduler_bytes_ = 0;
  uint64_t random_ = 88172645463325252ull;
};

}  // namespace

Kernel::Kernel(const char* file, const char* name, size_t argument_bytes, unsigned threads,
               void (*run)(const void*))
    : file(file), name(name), argument_bytes(argument_bytes), threads(threads), run(run) {
  registry().emplace(name, this);
}

const Kernel* find_kernel(std::string_view name, std::string_view program) {
  const auto [begin, end] = registry().equal_range(name);
  for (auto kernel = begin; kernel != end; ++kernel)
    if (program.empty() || file_stem(kernel->second->file) == program) return kernel->second;
  return nullptr;
}

void launch(const Kernel& kernel, Dim grid, Dim block, size_t dynamic_shared_bytes,
            const void* arguments, Order order) {
  Block running(kernel, block, dynamic_shared_bytes, arguments, order);
  current = &running;
  grid_size = grid;
  block_size = block;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        block_index = {x, y, z};
        running.run();
      }
  current = nullptr;
}

void synchronize(Place place) { current->synchronize(place); }
void synchronize_warp(Place place) {
  current->meet_warp(place, [](std::span<Fiber* const>) {});
}
void* shared(const void* key, size_t bytes) { return current->shared(key, bytes); }
void* dynamic_shared() { return current->dynamic_shared(); }
unsigned lane() { return current->self().lane(); }

uint64_t exchange(uint64_t bits, unsigned from, Place place) {
  Fiber& self = current->self();
  self.bits = bits;
  self.from = from;
  current->meet_warp(place, [](std::span<Fiber* const> warp) {
    std::array<uint64_t, kWarp> given{};
    for (const Fiber* lane : warp) given[lane->lane()] = lane->bits;
    for (Fiber* lane : warp) lane->bits = given[lane->from % kWarp];
  });
  return self.bits;
}

void multiply(float* d, const uint32_t* a, const uint32_t* b, Place place) {
  Fiber& self = current->self();
  std::copy_n(a, 4, self.a.begin());
  std::copy_n(b, 2, self.b.begin());
  std::copy_n(d, 4, self.c.begin());
  current->meet_warp(place, multiply_fragments);
  std::copy_n(self.c.begin(), 4, d);
}

void load_matrices(uint32_t* to, const uint16_t* row, bool transposed, Place place) {
  Fiber& self = current->self();
  self.row = row;
  current->meet_warp(place, [&](std::span<Fiber* const> warp) {
    for (const Fiber* lane : warp)
      if (reinterpret_cast<uintptr_t>(lane->row) % 16 != 0)
        current->fail(cat("a row that is loaded at ", place.file, ":", place.line,
                          " does not lie at 16 bytes"));
    fetch_matrices(warp, transposed);
  });
  std::copy_n(self.words.begin(), 4, to);
}

}  // namespace levanter::simt
