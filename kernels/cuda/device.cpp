// An open card: its context, its stream, and pinned memory through which bytes come and go.
#include "kernels/cuda/device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"

namespace levanter::cuda {

namespace {

constexpr int kOldestMajor = 8;  // sm_80, the A100

CUdeviceptr address(const std::byte* data) { return reinterpret_cast<CUdeviceptr>(data); }

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value && *value && std::string_view(value) != "0";
}

Error failure(const Driver& driver, CUresult result, std::string_view what) {
  const char *name = nullptr, *words = nullptr;
  driver.get_error_name(result, &name);
  driver.get_error_string(result, &words);
  return Error(ErrorKind::kDevice, cat("cannot ", what, ": ", words ? words : "unknown error", " (",
                                       name ? name : "no name", ")"));
}

/// The name of a card: "GPU-" and its number in groups of 4, 2, 2, 2 and 6 bytes.
std::string identity_of(const CUuuid& uuid) {
  static constexpr const char* kDigits = "0123456789abcdef";
  std::string text = "GPU-";
  for (size_t i = 0; i < sizeof uuid.bytes; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    const auto byte = static_cast<unsigned char>(uuid.bytes[i]);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace

std::vector<std::string> list_cards(const Driver& driver) {
  const auto require = [&](CUresult result, const char* what) {
    if (result != CUDA_SUCCESS) throw failure(driver, result, what);
  };
  if (const CUresult result = driver.init(0); result != CUDA_SUCCESS) {
    if (result != CUDA_ERROR_NO_DEVICE) require(result, "start the driver");
    throw Error(ErrorKind::kDevice, "device cuda needs an NVIDIA card, and there is none")
        .hint("look with nvidia-smi, or set trainer.device = \"cpu\"");
  }
  int count = 0;
  require(driver.device_get_count(&count), "count the cards");
  if (count == 0)
    throw Error(ErrorKind::kDevice, "device cuda needs an NVIDIA card, and none is visible")
        .at("CUDA_VISIBLE_DEVICES")
        .hint("unset the variable, or set trainer.device = \"cpu\"");
  std::vector<std::string> cards;
  for (int i = 0; i < count; ++i) {
    CUdevice device = 0;
    CUuuid uuid{};
    require(driver.device_get(&device, i), "find a card");
    require(driver.device_get_uuid(&uuid, device), "name a card");
    cards.push_back(identity_of(uuid));
  }
  return cards;
}

Device::Device(const Driver& driver, size_t place) : driver_(driver) {
  try {
    open(place);
  } catch (...) {
    close();
    throw;
  }
}

Device::~Device() { close(); }

void Device::open(size_t place) {
  const std::vector<std::string> cards = list_cards(driver_);
  LEV_CHECK(place < cards.size(), "a card that is not among those that were listed");
  identity_ = cards[place];
  require(driver_.device_get(&device_, static_cast<int>(place)), cat("find card ", place));
  char name[256] = {};
  require(driver_.device_get_name(name, sizeof name - 1, device_), cat("name card ", place));
  name_ = name;
  major_ = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  architecture_ = cat("sm_", major_, attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
  if (major_ < kOldestMajor)
    throw Error(ErrorKind::kDevice, cat("card ", name_, " is of architecture ", architecture_,
                                        ", which device cuda does not support"))
        .allowed("sm_80 (A100) and newer")
        .hint("set trainer.device = \"cpu\"");
  multiprocessors_ = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  require(driver_.primary_context_retain(&context_, device_), cat("open ", name_));
  enter();
  require(driver_.stream_create(&stream_, CU_STREAM_NON_BLOCKING), "make a stream");
  for (Piece& piece : pieces_) {
    void* data = nullptr;
    require(driver_.memory_allocate_host(&data, kPieceBytes), "pin memory of the host");
    piece.data = static_cast<std::byte*>(data);
    require(driver_.event_create(&piece.free, CU_EVENT_DISABLE_TIMING), "make an event");
  }
  waits_ = is_set("LEVANTER_CUDA_SYNC");
  require(driver_.driver_get_version(&driver_version_), "ask for the driver's version");
}

/// Gives back what was opened; failures no longer matter to anyone.
void Device::close() {
  if (!context_) return;
  driver_.context_set_current(context_);
  if (stream_) driver_.stream_synchronize(stream_);
  for (Piece& piece : pieces_) {
    if (piece.free) driver_.event_destroy(piece.free);
    if (piece.data) driver_.memory_free_host(piece.data);
  }
  if (stream_) driver_.stream_destroy(stream_);
  driver_.primary_context_release(device_);
}

int Device::attribute(CUdevice_attribute attribute) const {
  int value = 0;
  require(driver_.device_get_attribute(&value, attribute, device_), "ask for an attribute");
  return value;
}

void Device::require(CUresult result, std::string_view what) const {
  if (result == CUDA_SUCCESS) return;
  Error error = failure(driver_, result, what);
  if (result == CUDA_ERROR_OUT_OF_MEMORY)
    throw std::move(error).hint("a smaller microbatch needs less; see levanter plan");
  if (waits_) throw error;
  throw std::move(error).hint("LEVANTER_CUDA_SYNC=1 names the kernel that a fault is in");
}

void Device::enter() const { require(driver_.context_set_current(context_), cat("use ", name_)); }

int64_t Device::free_memory() const {
  enter();
  size_t free = 0, total = 0;
  require(driver_.memory_get_info(&free, &total), "ask for free memory");
  return static_cast<int64_t>(free);
}

std::byte* Device::allocate(int64_t bytes) const {
  enter();
  const auto size = static_cast<size_t>(std::max<int64_t>(bytes, 1));
  CUdeviceptr data = 0;
  const CUresult result = driver_.memory_allocate(&data, size);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    size_t free = 0, total = 0;
    require(driver_.memory_get_info(&free, &total), "ask for free memory");
    require(result, cat("allocate ", format_bytes(bytes), " on ", name_, ", where ",
                        format_bytes(static_cast<int64_t>(free)), " of ",
                        format_bytes(static_cast<int64_t>(total)), " are free"));
  }
  require(result, cat("allocate ", format_bytes(bytes), " on ", name_));
  auto* const address = reinterpret_cast<std::byte*>(data);
  try {
    fill(address, static_cast<int64_t>(size), std::byte{0});
  } catch (...) {
    driver_.memory_free(data);
    throw;
  }
  return address;
}

void Device::free(std::byte* data) const {
  driver_.context_set_current(context_);
  driver_.memory_free(address(data));
}

Device::Piece& Device::next_piece() const {
  Piece& piece = pieces_[turn_++ % pieces_.size()];
  require(driver_.event_synchronize(piece.free), "wait for the card");
  return piece;
}

void Device::upload(std::byte* to, std::span<const std::byte> from) const {
  enter();
  const std::lock_guard lock(mutex_);
  while (!from.empty()) {
    const size_t bytes = std::min(from.size(), kPieceBytes);
    const Piece& piece = next_piece();
    std::memcpy(piece.data, from.data(), bytes);
    require(driver_.copy_to_device(address(to), piece.data, bytes, stream_), "copy to the card");
    require(driver_.event_record(piece.free, stream_), "record an event");
    from = from.subspan(bytes);
    to += bytes;
  }
}

void Device::download(std::span<std::byte> to, const std::byte* from) const {
  enter();
  const std::lock_guard lock(mutex_);
  while (!to.empty()) {
    const size_t bytes = std::min(to.size(), kPieceBytes);
    const Piece& piece = next_piece();
    require(driver_.copy_to_host(piece.data, address(from), bytes, stream_), "copy from the card");
    require(driver_.event_record(piece.free, stream_), "record an event");
    require(driver_.event_synchronize(piece.free), "wait for the card");
    std::memcpy(to.data(), piece.data, bytes);
    to = to.subspan(bytes);
    from += bytes;
  }
}

void Device::copy(std::byte* to, const std::byte* from, int64_t bytes) const {
  if (bytes == 0) return;
  enter();
  require(driver_.copy_on_device(address(to), address(from), static_cast<size_t>(bytes), stream_),
          "copy on the card");
}

void Device::fill(std::byte* to, int64_t bytes, std::byte value) const {
  if (bytes == 0) return;
  enter();
  require(driver_.memory_set(address(to), std::to_integer<unsigned char>(value),
                             static_cast<size_t>(bytes), stream_),
          "fill the card's memory");
}

void Device::synchronize() const {
  enter();
  require(driver_.stream_synchronize(stream_), "wait for the card");
}

namespace {

/// A graph of the driver's, which the card runs as one.
class GraphRecording final : public Recording {
 public:
  GraphRecording(const Device& device, CUstream stream, CUgraphExec graph)
      : device_(device), stream_(stream), graph_(graph) {}
  ~GraphRecording() override {
    device_.driver().context_set_current(device_.context());
    device_.driver().graph_exec_destroy(graph_);
  }
  void replay() const override {
    device_.enter();
    device_.require(device_.driver().graph_launch(graph_, stream_), "start what was recorded");
  }

 private:
  const Device& device_;
  CUstream stream_;
  CUgraphExec graph_;
};

}  // namespace

std::unique_ptr<Recording> Device::record(const Runnable& work) const {
  if (waits_) return nullptr;
  enter();
  const std::lock_guard lock(mutex_);  // nobody else's copies get into the recording
  require(driver_.stream_begin_capture(stream_, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
          "begin to record");
  CUgraph graph = nullptr;
  try {
    work.run();
  } catch (...) {
    driver_.stream_end_capture(stream_, &graph);
    if (graph) driver_.graph_destroy(graph);
    throw;
  }
  // What cannot be recorded runs step by step.
  if (driver_.stream_end_capture(stream_, &graph) != CUDA_SUCCESS || !graph) return nullptr;
  CUgraphExec executable = nullptr;
  const CUresult result = driver_.graph_instantiate(&executable, graph, 0);
  driver_.graph_destroy(graph);
  if (result != CUDA_SUCCESS) return nullptr;
  return std::make_unique<GraphRecording>(*this, stream_, executable);
}

void Device::allow_shared_memory(CUfunction function) const {
  enter();
  require(driver_.function_set_attribute(
              function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
              attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)),
          "give a kernel more shared memory");
}

void Device::launch(CUfunction function, const char* name, const Grid& grid,
                    const void* arguments) const {
  enter();
  void* parameters[] = {const_cast<void*>(arguments)};
  require(
      driver_.launch_kernel(
          function, static_cast<unsigned>(grid.blocks[0]), static_cast<unsigned>(grid.blocks[1]),
          static_cast<unsigned>(grid.blocks[2]), static_cast<unsigned>(grid.threads), 1, 1,
          static_cast<unsigned>(grid.shared_bytes), stream_, parameters, nullptr),
      cat("start kernel ", name));
  if (waits_) require(driver_.stream_synchronize(stream_), cat("run kernel ", name));
}

void Device::launched(std::string_view what) const {
  if (waits_) require(driver_.stream_synchronize(stream_), cat("run ", what));
}

}  // namespace levanter::cuda
