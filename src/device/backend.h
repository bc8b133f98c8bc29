// What the runtime asks of a device: kernels for nodes, and memory.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "device/memory.h"
#include "device/network.h"
#include "graph/graph.h"

namespace levanter {

/// An operand or a result as a kernel will find it: element type, axes, strides. The pointer that
/// `Kernel::run` gets is already at the view's offset.
struct ArrayInfo {
  DType dtype = DType::f32;
  View view;
  std::optional<double> constant;  ///< the value, when it is a scalar known now
  int64_t bytes() const { return view.axes.elements() * size_of(dtype); }
};

struct KernelRequest {
  const Node& node;
  std::vector<ArrayInfo> inputs, outputs;
  bool small_m = false;  ///< see CompileOptions
};

/// One step of a compiled function. Immutable: the same kernel may run again and again.
class Kernel {
 public:
  virtual ~Kernel() = default;
  /// Reads the inputs and writes every element of the outputs, or enqueues that on the device: all
  /// addresses are the device's. `workspace` has workspace_bytes(). Allocates
  /// nothing, but in the first run.
  virtual void run(const void* const* inputs, void* const* outputs, void* workspace) const = 0;
  virtual int64_t workspace_bytes() const { return 0; }
  /// Bytes of the device that the first run takes by itself and gives back.
  virtual int64_t first_run_bytes() const { return 0; }
  /// Whether `output` may lie exactly over `input` (both contiguous and of one size).
  virtual bool in_place(size_t output, size_t input) const {
    (void)output, (void)input;
    return false;
  }
  /// Whether this is a plain loop of the reference backend, which others borrow: right, but slow.
  virtual bool is_reference() const { return false; }
  /// The library's plan that does the work, "" for kernels of the backend's own.
  virtual std::string plan() const { return ""; }
};

/// Something that enqueues work on a device.
class Runnable {
 public:
  virtual ~Runnable() = default;
  virtual void run() const = 0;
};

/// What a backend has recorded of a Runnable, to be enqueued again as one, at the same addresses.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void replay() const = 0;
};

/// A piece of a device's memory, freed with the object; zero-filled.
class Buffer {
 public:
  virtual ~Buffer() = default;
  /// An address of the device: see Memory.
  virtual std::byte* data() const = 0;
  virtual int64_t bytes() const = 0;
};

/// How quick an instruction is that multiplies and adds, on numbers that stay in registers.
struct InstructionRate {
  std::string name;
  double gflops_per_second = 0;
};

class Backend : public Memory {
 public:
  virtual std::string name() const = 0;
  /// Whether `lower` has a kernel for the node; composites without one are decomposed.
  virtual bool supports(const Node& node, std::span<const Type> inputs) const = 0;
  virtual std::unique_ptr<Kernel> lower(const KernelRequest& request) const = 0;
  /// Whether the node may be a member of a fused region.
  virtual bool joins(const Node& node) const {
    (void)node;
    return true;
  }
  /// Comes after the last `lower` of a function: what its kernels need is compiled at once.
  virtual void prepare() const {}
  /// Records what `work` enqueues while it is run once, of which nothing is done yet. Null where
  /// nothing is gained by it: `work` is not run then.
  virtual std::unique_ptr<Recording> record(const Runnable& work) const {
    (void)work;
    return nullptr;
  }
  /// Whether the node's kernel can write outputs that are strided views.
  virtual bool writes_strided(const Node& node) const {
    (void)node;
    return false;
  }
  virtual std::unique_ptr<Buffer> allocate(int64_t bytes) const = 0;
  /// What the bits of results depend on besides the graph, where arithmetic is on `compute`:
  /// kernels, tiles, instruction set, library versions. Stored with a run.
  virtual std::string numerics_signature(DType compute = DType::f32) const = 0;
  virtual int threads() const { return 1; }
  /// Of the instruction that products with factors of `dtype` come down to, with all threads: the
  /// best of runs that take about `seconds` together. None where we know of no such instruction.
  virtual std::optional<InstructionRate> instruction_rate(DType dtype, double seconds) const {
    (void)dtype;
    (void)seconds;
    return std::nullopt;
  }
  /// Rows of a square product that is large enough to reach the device's peak.
  virtual int64_t product_side() const { return 2048; }
  /// The model of what computes: here the processor's.
  virtual std::string device_name() const;
  /// The devices of this kind that the process may use, by names that no two devices of a machine
  /// share; none where there is nothing to choose from.
  virtual std::vector<std::string> devices() const { return {}; }
  /// Takes the device of this place in devices(), the first unless told; before its first use.
  virtual void take_device(size_t place) { (void)place; }
  /// What can join this device with those of other ranks; null where bytes between ranks go
  /// through the host's memory.
  virtual DeviceNetwork* network() const { return nullptr; }
  /// Bytes of memory that are free for a run; none where it is taken from the host's.
  virtual std::optional<int64_t> device_memory() const { return std::nullopt; }
  /// to[i] += from[i], on the device: one rounding an element, in any order.
  virtual void add(float* to, const float* from, int64_t n) const {
    for (int64_t i = 0; i < n; ++i) to[i] += from[i];
  }
};

/// A kind of device with memory of its own, to plan for where none is at hand.
struct DeviceModel {
  const char* name;
  int64_t memory;  ///< bytes that a run can have
};

/// One device that trainer.device can name.
struct BackendEntry {
  const char* name;
  const char* summary;
  /// threads: 0 for what the machine allows.
  std::unique_ptr<Backend> (*make)(int threads);
  std::span<const DeviceModel> models = {};  ///< the first is what plans are for, unless told
};

}  // namespace levanter
