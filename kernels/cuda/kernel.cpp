// Opens the card when it is first needed, and starts kernels on it.
#include "kernels/cuda/kernel.h"

#include <algorithm>

#include "base/error.h"
#include "base/integers.h"
#include "base/strings.h"
#include "kernels/cuda/products.h"

namespace levanter::cuda {

namespace {

/// Blocks of a loop for each multiprocessor: all its threads, twice.
constexpr int64_t kBlocksEach = 16;

/// Shared memory that a block has without asking.
constexpr int64_t kSharedBytesUnasked = 48 << 10;

}  // namespace

Context::Context(Source source)
    : source_(std::move(source)),
      modules_(source_.nvrtc, source_.cache),
      products_(std::make_unique<Products>(*this, source_.cublas_lt)),
      sdpa_(make_sdpa(*this, source_.cudnn, source_.sdpa)),
      network_(make_network(*this, source_.nccl)) {}

Context::~Context() {
  sdpa_.reset();
  products_.reset();
  if (device_) modules_.unload(*device_);
}

Device& Context::device() {
  const std::lock_guard lock(mutex_);
  if (!device_) device_ = std::make_unique<Device>(source_.driver(), card_);
  return *device_;
}

void Context::take_card(size_t place) {
  const std::lock_guard lock(mutex_);
  LEV_CHECK(!device_, "another card was opened before this one was taken");
  card_ = place;
}

int64_t Function::loop_blocks(int64_t count) const {
  return std::min(ceil_div(count, kThreads), kBlocksEach * context_.device().multiprocessors());
}

CUfunction Function::find(int64_t shared_bytes) const {
  CUfunction function = function_.load(std::memory_order_acquire);
  if (function) return function;
  Device& device = context_.device();
  function = context_.modules().function(device, name_);
  if (shared_bytes > kSharedBytesUnasked) device.allow_shared_memory(function);
  function_.store(function, std::memory_order_release);
  return function;
}

void Function::start(const Grid& grid, const void* arguments) const {
  const auto& [x, y, z] = grid.blocks;
  if (x == 0 || y == 0 || z == 0) return;
  LEV_CHECK(x <= INT32_MAX && y <= 65535 && z <= 65535,
            cat("kernel ", name_, " asks for a grid that no card has"));
  context_.device().launch(find(grid.shared_bytes), name_.c_str(), grid, arguments);
}

CopyFunction::CopyFunction(Context& context, DType dtype, const Axes& axes, const View& from,
                           const View& to)
    : function_(context, "cast", "copy") {
  element_of(dtype);
  arguments_.space = make_space(axes, {&from, &to});
  arguments_.word_bytes = static_cast<int>(size_of(dtype));
}

void CopyFunction::run(const void* from, void* to) const {
  CopyArguments arguments = arguments_;
  arguments.from = from;
  arguments.to = to;
  function_.loop(arguments.space.count, arguments);
}

}  // namespace levanter::cuda
