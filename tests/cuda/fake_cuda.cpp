// A driver that runs kernels on the emulated cards.
#include "cuda/fake_cuda.h"

#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "base/integers.h"
#include "base/strings.h"
#include "cuda/fake_machine.h"
#include "kernels/cuda/backend.h"

namespace levanter::testing {

namespace fake {

FakeCuda::State* machine = nullptr;

namespace {

thread_local CUcontext current_context = nullptr;
std::array<char, kMostCards> contexts;  // their addresses are the contexts' handles

}  // namespace

int current_card() {
  for (size_t card = 0; card < contexts.size(); ++card)
    if (current_context == reinterpret_cast<CUcontext>(&contexts[card]))
      return static_cast<int>(card);
  return -1;
}

}  // namespace fake

/// What was not given back is the test's to tell, not the sanitizer's.
FakeCuda::State::~State() {
  for (const auto& [data, piece] : memory) ::munmap(piece.mapped, piece.mapped_bytes + fake::kPage);
  for (const auto& [piece, bytes] : pinned) delete[] piece;
  const auto drop = [](const auto& living) {
    for (auto* object : living) delete object;
  };
  drop(streams);
  drop(events);
  drop(graphs);
  drop(graph_execs);
  drop(modules);
  drop(programs);
}

void FakeCuda::State::protect(int card, int protection) const {
  for (const auto& [data, piece] : memory)
    if (piece.card == card) ::mprotect(piece.mapped, piece.mapped_bytes, protection);
}

CUresult FakeCuda::State::run(fake::Stream& stream, int64_t until) {
  CUresult& failed = broken[static_cast<size_t>(stream.card)];
  if (stream.done >= until) return failed;
  protect(stream.card, PROT_READ | PROT_WRITE);
  bool waits = false;
  while (stream.done < until && failed == CUDA_SUCCESS && !waits) {
    const CUresult result = stream.queue.front()();
    waits = result == CUDA_ERROR_NOT_READY;
    if (waits) break;
    failed = result;
    stream.queue.pop_front();
    ++stream.done;
  }
  protect(stream.card, PROT_NONE);
  return waits ? CUDA_ERROR_NOT_READY : failed;
}

CUresult FakeCuda::State::finish(fake::Stream& stream, int64_t until) {
  for (;;) {
    const CUresult result = run(stream, until);
    if (result != CUDA_ERROR_NOT_READY) return result;
    moved.wait(mutex);  // which the caller holds
  }
}

CUresult FakeCuda::State::enqueue(CUstream handle, fake::Work work) {
  auto* const stream = reinterpret_cast<fake::Stream*>(handle);
  if (!streams.contains(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->card != fake::current_card()) return CUDA_ERROR_INVALID_CONTEXT;
  if (stream->capture) {
    stream->capture->nodes.push_back(std::move(work));
    return CUDA_SUCCESS;
  }
  stream->queue.push_back(std::move(work));
  ++stream->enqueued;
  return CUDA_SUCCESS;
}

bool FakeCuda::State::is_memory(CUdeviceptr address, size_t bytes, int card) const {
  const auto at = reinterpret_cast<std::byte*>(address);
  auto found = memory.upper_bound(at);
  if (found == memory.begin()) return false;
  --found;
  return found->second.card == card && at + bytes <= found->first + found->second.bytes;
}

bool FakeCuda::State::is_pinned(const void* data, size_t bytes) const {
  const auto at = static_cast<std::byte*>(const_cast<void*>(data));
  auto found = pinned.upper_bound(at);
  if (found == pinned.begin()) return false;
  --found;
  return at + bytes <= found->first + found->second;
}

int64_t FakeCuda::State::used(int card) const {
  int64_t bytes = 0;
  for (const auto& [data, piece] : memory)
    if (piece.card == card) bytes += static_cast<int64_t>(piece.bytes);
  return bytes;
}

int64_t FakeCuda::State::used() const {
  int64_t bytes = 0;
  for (int card = 0; card < cards; ++card) bytes += used(card);
  return bytes;
}

namespace {

using namespace fake;
using State = FakeCuda::State;

constexpr size_t kAlignment = 256, kMostArgumentBytes = 4096;
constexpr unsigned kMostBlocks = 65535;
constexpr size_t kPoisoned = 1 << 20;
constexpr int64_t kLogitBytes = 128 << 10;  // so that small tests have several chunks
constexpr int64_t kProductSide = 32;        // of bench
constexpr unsigned kMostSharedBytes = 227 << 10;
constexpr int64_t kFewPositions = 8;  // of attention by cuDNN, so that small tests have it

cuda::Cudnn (*cudnn)() = nullptr;
cuda::Nccl (*nccl)() = nullptr;

template <class T>
std::string counted(const T& living, const char* what) {
  return living.empty() ? "" : cat(living.size(), " ", what, ", ");
}

template <class T, class Handle>
CUresult destroy(std::set<T*>& living, Handle handle) {
  auto* const object = reinterpret_cast<T*>(handle);
  if (living.erase(object) == 0) return CUDA_ERROR_INVALID_HANDLE;
  delete object;
  return CUDA_SUCCESS;
}

CUresult attribute(int* value, CUdevice_attribute which, CUdevice) {
  return called([&](State& s) {
    if (which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
      *value = s.major;
    else if (which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
      *value = 0;
    else if (which == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
      *value = s.multiprocessors;
    else if (which == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
      *value = kMostSharedBytes;
    else
      return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
  });
}

CUresult allocate(CUdeviceptr* address, size_t bytes) {
  return called_inside([&](State& s) {
    if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    const int card = current_card();
    if (s.used(card) + static_cast<int64_t>(bytes) > s.capacity) return CUDA_ERROR_OUT_OF_MEMORY;
    const size_t padded = round_up(bytes, kAlignment), pages = round_up(padded, kPage);
    void* mapped = ::mmap(nullptr, pages + kPage, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    LEV_CHECK(mapped != MAP_FAILED, "no memory for a test's pages");
    const Piece piece{card, static_cast<std::byte*>(mapped), pages, bytes};
    ::mprotect(mapped, pages, PROT_READ | PROT_WRITE);
    // As little zero as on a card; of what is large, the beginning and the end.
    const size_t poisoned = std::min(pages, kPoisoned);
    std::memset(mapped, 0xff, poisoned);
    std::memset(piece.mapped + (pages - poisoned), 0xff, poisoned);
    ::mprotect(mapped, pages, PROT_NONE);
    std::byte* const data = piece.mapped + (pages - padded);
    s.memory[data] = piece;
    s.most = std::max(s.most, s.used());
    *address = reinterpret_cast<CUdeviceptr>(data);
    return CUDA_SUCCESS;
  });
}

CUresult release(CUdeviceptr address) {
  return called_inside([&](State& s) {
    const auto found = s.memory.find(reinterpret_cast<std::byte*>(address));
    if (found == s.memory.end()) return CUDA_ERROR_INVALID_VALUE;
    for (Stream* stream : s.streams)
      if (stream->card == found->second.card) s.finish(*stream, stream->enqueued);
    ::munmap(found->second.mapped, found->second.mapped_bytes + kPage);
    s.memory.erase(found);
    return CUDA_SUCCESS;
  });
}

CUresult allocate_host(void** data, size_t bytes) {
  return called_inside([&](State& s) {
    auto* const piece = new std::byte[bytes];
    std::memset(piece, 0xff, bytes);
    s.pinned[piece] = bytes;
    *data = piece;
    return CUDA_SUCCESS;
  });
}

CUresult release_host(void* data) {
  return called([&](State& s) {
    auto* const piece = static_cast<std::byte*>(data);
    if (s.pinned.erase(piece) == 0) return CUDA_ERROR_INVALID_VALUE;
    delete[] piece;
    return CUDA_SUCCESS;
  });
}

CUresult copy_to_device(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
  return called_inside([&](State& s) {
    if (!s.is_memory(to, bytes, current_card()) || !s.is_pinned(from, bytes))
      return CUDA_ERROR_INVALID_VALUE;
    return s.enqueue(stream, [=] {
      std::memcpy(reinterpret_cast<void*>(to), from, bytes);
      return CUDA_SUCCESS;
    });
  });
}

CUresult copy_to_host(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return called_inside([&](State& s) {
    if (!s.is_memory(from, bytes, current_card()) || !s.is_pinned(to, bytes))
      return CUDA_ERROR_INVALID_VALUE;
    return s.enqueue(stream, [=] {
      std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
      return CUDA_SUCCESS;
    });
  });
}

CUresult copy_on_device(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return called_inside([&](State& s) {
    const int card = current_card();
    if (!s.is_memory(to, bytes, card) || !s.is_memory(from, bytes, card))
      return CUDA_ERROR_INVALID_VALUE;
    return s.enqueue(stream, [=] {
      std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
      return CUDA_SUCCESS;
    });
  });
}

CUresult fill(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream) {
  return called_inside([&](State& s) {
    if (!s.is_memory(to, bytes, current_card())) return CUDA_ERROR_INVALID_VALUE;
    return s.enqueue(stream, [=] {
      std::memset(reinterpret_cast<void*>(to), value, bytes);
      return CUDA_SUCCESS;
    });
  });
}

CUresult launch(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                CUstream stream, void** parameters, void** extra) {
  return called_inside([&](State& s) {
    const auto& kernel = *reinterpret_cast<const simt::Kernel*>(function);
    const unsigned threads = block_x * block_y * block_z;
    if (threads == 0 || threads > kernel.threads || grid_x == 0 || grid_x > INT32_MAX ||
        grid_y == 0 || grid_y > kMostBlocks || grid_z == 0 || grid_z > kMostBlocks ||
        shared_bytes > s.shared_bytes_of(kernel) || extra ||
        kernel.argument_bytes > kMostArgumentBytes)
      return CUDA_ERROR_INVALID_VALUE;
    const auto* const from = static_cast<const std::byte*>(parameters[0]);
    // Words of 16 bytes, so that the arguments lie as their type asks.
    struct alignas(16) Word {
      std::byte bytes[16];
    };
    std::vector<Word> arguments(ceil_div(kernel.argument_bytes, sizeof(Word)));
    std::memcpy(arguments.data(), from, kernel.argument_bytes);
    return s.enqueue(stream, [=, &kernel, &s, arguments = std::move(arguments)] {
      try {
        simt::launch(kernel, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes,
                     arguments.data(), s.order);
      } catch (const Error& error) {
        s.fault = error.message();
        return CUDA_ERROR_LAUNCH_FAILED;
      }
      return CUDA_SUCCESS;
    });
  });
}

CUresult error_name(CUresult result, const char** text) {
  *text = "CUDA_ERROR_OF_A_TEST";
  if (result == CUDA_ERROR_OUT_OF_MEMORY) *text = "CUDA_ERROR_OUT_OF_MEMORY";
  if (result == CUDA_ERROR_LAUNCH_FAILED) *text = "CUDA_ERROR_LAUNCH_FAILED";
  return CUDA_SUCCESS;
}

CUresult error_words(CUresult, const char** text) {
  *text = "as the fake was told";
  return CUDA_SUCCESS;
}

cuda::Driver devices() {
  cuda::Driver d;
  d.init = [](unsigned) { return called([](State&) { return CUDA_SUCCESS; }); };
  d.get_error_name = error_name;
  d.get_error_string = error_words;
  d.driver_get_version = [](int* version) {
    return called([&](State& s) {
      *version = s.driver_version;
      return CUDA_SUCCESS;
    });
  };
  d.device_get_count = [](int* count) {
    return called([&](State& s) {
      *count = s.cards;
      return CUDA_SUCCESS;
    });
  };
  d.device_get = [](CUdevice* device, int place) {
    return called([&](State& s) {
      *device = place;
      return place >= 0 && place < s.cards ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
    });
  };
  d.device_get_uuid = [](CUuuid* uuid, CUdevice device) {
    return called([&](State&) {
      *uuid = {};
      uuid->bytes[15] = static_cast<char>(device);
      return CUDA_SUCCESS;
    });
  };
  d.device_get_name = [](char* name, int bytes, CUdevice) {
    return called([&](State&) {
      std::strncpy(name, "an emulated card", static_cast<size_t>(bytes));
      return CUDA_SUCCESS;
    });
  };
  d.device_get_attribute = attribute;
  d.primary_context_retain = [](CUcontext* context, CUdevice device) {
    return called([&](State& s) {
      ++s.contexts[static_cast<size_t>(device)];
      *context = reinterpret_cast<CUcontext>(&contexts[static_cast<size_t>(device)]);
      return CUDA_SUCCESS;
    });
  };
  d.primary_context_release = [](CUdevice device) {
    return called([&](State& s) {
      return --s.contexts[static_cast<size_t>(device)] < 0 ? CUDA_ERROR_INVALID_VALUE
                                                           : CUDA_SUCCESS;
    });
  };
  d.context_set_current = [](CUcontext context) {
    return called([&](State&) {
      current_context = context;
      return CUDA_SUCCESS;
    });
  };
  return d;
}

void add_memory(cuda::Driver& d) {
  d.memory_get_info = [](size_t* free, size_t* total) {
    return called_inside([&](State& s) {
      *total = static_cast<size_t>(s.capacity);
      *free = static_cast<size_t>(s.capacity - s.used(current_card()));
      return CUDA_SUCCESS;
    });
  };
  d.memory_allocate = allocate;
  d.memory_free = release;
  d.memory_allocate_host = allocate_host;
  d.memory_free_host = release_host;
  d.copy_to_device = copy_to_device;
  d.copy_to_host = copy_to_host;
  d.copy_on_device = copy_on_device;
  d.memory_set = fill;
}

void add_streams(cuda::Driver& d) {
  d.stream_create = [](CUstream* stream, unsigned) {
    return called_inside([&](State& s) {
      *stream = reinterpret_cast<CUstream>(*s.streams.insert(new Stream{current_card()}).first);
      return CUDA_SUCCESS;
    });
  };
  d.stream_destroy = [](CUstream stream) {
    return called([&](State& s) { return destroy(s.streams, stream); });
  };
  d.stream_synchronize = [](CUstream handle) {
    return called_inside([&](State& s) {
      auto* const stream = reinterpret_cast<Stream*>(handle);
      if (!s.streams.contains(stream)) return CUDA_ERROR_INVALID_HANDLE;
      if (stream->capture) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
      return s.finish(*stream, stream->enqueued);
    });
  };
  d.event_create = [](CUevent* event, unsigned) {
    return called_inside([&](State& s) {
      *event = reinterpret_cast<CUevent>(*s.events.insert(new Event).first);
      return CUDA_SUCCESS;
    });
  };
  d.event_destroy = [](CUevent event) {
    return called([&](State& s) { return destroy(s.events, event); });
  };
  d.event_record = [](CUevent handle, CUstream stream) {
    return called_inside([&](State& s) {
      auto* const event = reinterpret_cast<Event*>(handle);
      if (!s.events.contains(event)) return CUDA_ERROR_INVALID_HANDLE;
      event->stream = reinterpret_cast<Stream*>(stream);
      event->after = event->stream->enqueued;
      return CUDA_SUCCESS;
    });
  };
  d.event_query = [](CUevent handle) {
    return called_inside([&](State& s) {
      auto* const event = reinterpret_cast<Event*>(handle);
      if (!s.events.contains(event)) return CUDA_ERROR_INVALID_HANDLE;
      return event->stream ? s.run(*event->stream, event->after) : CUDA_SUCCESS;
    });
  };
  d.event_synchronize = [](CUevent handle) {
    return called_inside([&](State& s) {
      auto* const event = reinterpret_cast<Event*>(handle);
      if (!s.events.contains(event)) return CUDA_ERROR_INVALID_HANDLE;
      return event->stream ? s.finish(*event->stream, event->after) : CUDA_SUCCESS;
    });
  };
}

void add_graphs(cuda::Driver& d) {
  d.stream_begin_capture = [](CUstream handle, CUstreamCaptureMode) {
    return called_inside([&](State& s) {
      auto* const stream = reinterpret_cast<Stream*>(handle);
      if (!s.streams.contains(stream) || stream->capture) return CUDA_ERROR_INVALID_HANDLE;
      stream->capture = *s.graphs.insert(new Graph).first;
      return CUDA_SUCCESS;
    });
  };
  d.stream_end_capture = [](CUstream handle, CUgraph* graph) {
    return called_inside([&](State& s) {
      auto* const stream = reinterpret_cast<Stream*>(handle);
      if (!s.streams.contains(stream) || !stream->capture) return CUDA_ERROR_INVALID_HANDLE;
      *graph = reinterpret_cast<CUgraph>(stream->capture);
      stream->capture = nullptr;
      return CUDA_SUCCESS;
    });
  };
  d.graph_instantiate = [](CUgraphExec* exec, CUgraph graph, unsigned long long) {
    return called_inside([&](State& s) {
      auto* const captured = reinterpret_cast<Graph*>(graph);
      if (!s.graphs.contains(captured)) return CUDA_ERROR_INVALID_HANDLE;
      auto* const made = new GraphExec{captured->nodes};
      *exec = reinterpret_cast<CUgraphExec>(*s.graph_execs.insert(made).first);
      return CUDA_SUCCESS;
    });
  };
  d.graph_destroy = [](CUgraph graph) {
    return called([&](State& s) { return destroy(s.graphs, graph); });
  };
  d.graph_exec_destroy = [](CUgraphExec exec) {
    return called([&](State& s) { return destroy(s.graph_execs, exec); });
  };
  d.graph_launch = [](CUgraphExec handle, CUstream stream) {
    return called_inside([&](State& s) {
      auto* const exec = reinterpret_cast<GraphExec*>(handle);
      if (!s.graph_execs.contains(exec)) return CUDA_ERROR_INVALID_HANDLE;
      ++s.replays;
      for (const Work& node : exec->nodes)
        if (const CUresult result = s.enqueue(stream, node); result != CUDA_SUCCESS) return result;
      return CUDA_SUCCESS;
    });
  };
}

void add_modules(cuda::Driver& d) {
  d.module_load_data = [](CUmodule* module, const void* image) {
    return called_inside([&](State& s) {
      const std::string_view cubin(static_cast<const char*>(image));
      if (!cubin.starts_with(kCubin)) return CUDA_ERROR_INVALID_IMAGE;
      auto* const made = new Module{std::string(cubin.substr(kCubin.size()))};
      *module = reinterpret_cast<CUmodule>(*s.modules.insert(made).first);
      return CUDA_SUCCESS;
    });
  };
  d.module_unload = [](CUmodule module) {
    return called([&](State& s) { return destroy(s.modules, module); });
  };
  d.module_get_function = [](CUfunction* function, CUmodule handle, const char* name) {
    return called_inside([&](State& s) {
      auto* const module = reinterpret_cast<Module*>(handle);
      if (!s.modules.contains(module)) return CUDA_ERROR_INVALID_HANDLE;
      const simt::Kernel* const kernel = simt::find_kernel(name, file_stem(module->program));
      if (!kernel) return CUDA_ERROR_NOT_FOUND;
      *function = reinterpret_cast<CUfunction>(const_cast<simt::Kernel*>(kernel));
      return CUDA_SUCCESS;
    });
  };
  d.function_set_attribute = [](CUfunction function, CUfunction_attribute which, int value) {
    return called_inside([&](State& s) {
      if (which != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 ||
          static_cast<unsigned>(value) > kMostSharedBytes)
        return CUDA_ERROR_INVALID_VALUE;
      s.shared_bytes[reinterpret_cast<const simt::Kernel*>(function)] =
          static_cast<unsigned>(value);
      return CUDA_SUCCESS;
    });
  };
  d.launch_kernel = launch;
}

cuda::Driver driver() {
  cuda::Driver d = devices();
  add_memory(d);
  add_streams(d);
  add_graphs(d);
  add_modules(d);
  return d;
}

}  // namespace

FakeCuda::FakeCuda() : state_(std::make_unique<State>()) {
  LEV_CHECK(!machine, "there is one emulated card already");
  machine = state_.get();
}

FakeCuda::~FakeCuda() { machine = nullptr; }

cuda::Source FakeCuda::source(std::string cache) {
  const char* real = std::getenv("LEVANTER_TEST_CARD");
  if (real && std::string_view(real) == "1") {
    // Kept open: to open the card anew for each test would take most of the time.
    static const auto kept = cuda::make_backend();
    static const auto piece = kept->allocate(1);
    cuda::Source source;
    source.logit_bytes = kLogitBytes;
    source.product_side = kProductSide;
    return source;
  }
  return {.driver = driver,
          .nvrtc = nvrtc,
          .cublas_lt = FakeCublas::functions,
          .cache = std::move(cache),
          .logit_bytes = kLogitBytes,
          .product_side = kProductSide,
          .cudnn = cudnn,
          .sdpa = {.positions = kFewPositions},
          .nccl = nccl};
}

void attach_nccl(cuda::Nccl (*functions)()) { nccl = functions; }

void attach_cudnn(cuda::Cudnn (*functions)()) { cudnn = functions; }

CUresult enqueue_on(CUstream stream, std::function<CUresult()> work) {
  return called_inside([&](State& s) { return s.enqueue(stream, std::move(work)); });
}

bool is_card_memory(const void* data, size_t bytes) {
  const std::lock_guard lock(machine->mutex);
  return machine->is_memory(reinterpret_cast<CUdeviceptr>(data), bytes, current_card());
}

std::unique_ptr<Backend> FakeCuda::backend() { return cuda::make_backend(source()); }

std::unique_ptr<Backend> FakeCuda::make(std::string_view, int) { return backend(); }

void FakeCuda::set_cards(int count) { state_->cards = count; }
void FakeCuda::set_order(simt::Order order) { state_->order = order; }
void FakeCuda::set_multiprocessors(int count) { state_->multiprocessors = count; }
void FakeCuda::set_driver_version(int version) { state_->driver_version = version; }
void FakeCuda::set_major(int major) { state_->major = major; }
void FakeCuda::set_memory(int64_t bytes) { state_->capacity = bytes; }
void FakeCuda::fail(int64_t call, CUresult result) {
  state_->failing_call = state_->calls + call;
  state_->failing_result = result;
}

int64_t FakeCuda::calls() const { return state_->calls; }
int64_t FakeCuda::memory() const { return state_->used(); }
int64_t FakeCuda::memory(int card) const {
  const std::lock_guard lock(state_->mutex);  // other cards may be at work
  return state_->used(card);
}
int64_t FakeCuda::most_memory() const { return state_->most; }
int64_t FakeCuda::replays() const { return state_->replays; }
int FakeCuda::compilations() const { return state_->compilations; }
std::string FakeCuda::fault() const { return state_->fault; }

std::string FakeCuda::living() const {
  const State& s = *state_;
  std::string text = counted(s.memory, "pieces of memory") + counted(s.pinned, "pinned pieces") +
                     counted(s.streams, "streams") + counted(s.events, "events") +
                     counted(s.graphs, "graphs") + counted(s.graph_execs, "executable graphs") +
                     counted(s.modules, "modules") + counted(s.programs, "programs");
  if (cublas.living() != 0) text += cat(cublas.living(), " of cuBLASLt's, ");
  for (const int contexts : s.contexts)
    if (contexts != 0) text += cat(contexts, " contexts, ");
  if (!text.empty()) text.resize(text.size() - 2);
  return text;
}

}  // namespace levanter::testing
