// The debug mode catches each fault that it is there for, and leaves every bit alone.
#include "runtime/memory_check.h"

#include <cstring>
#include <functional>

#include "passes/passes.h"
#include "runtime/executable.h"
#include "support/checks.h"
#include "support/forwarding_backend.h"
#include "support/random_function.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kX = {{"batch", 4}, {"embed", 16}};
constexpr int64_t kBytes = 64 * 4;  // of a value over kX in f32

/// A planner that gives all buffers the same place.
MemoryPlan plan_all_at_once(std::span<const Lifetime> buffers) {
  MemoryPlan plan;
  plan.offsets.assign(buffers.size(), 0);
  for (const Lifetime& b : buffers) plan.arena_bytes = std::max(plan.arena_bytes, b.bytes);
  return plan;
}

/// A planner that leaves free memory behind each buffer.
MemoryPlan plan_with_gaps(std::span<const Lifetime> buffers) {
  MemoryPlan plan;
  for (const Lifetime& b : buffers) {
    plan.offsets.push_back(plan.arena_bytes);
    plan.arena_bytes += (b.bytes + 63) / 64 * 64 + 64;
  }
  return plan;
}

/// What may go wrong around one kernel: it is called with the kernel and its pointers.
using Fault = std::function<void(const Kernel&, const void* const*, void* const*, void*)>;

/// The reference backend with a fault in its kernels of one op.
class FaultyBackend final : public ForwardingBackend {
 public:
  FaultyBackend(std::string op, Fault fault) : op_(std::move(op)), fault_(std::move(fault)) {}
  std::unique_ptr<Kernel> lower(const KernelRequest& request) const override {
    auto kernel = ForwardingBackend::lower(request);
    if (request.node.op->name != op_) return kernel;
    return std::make_unique<Faulty>(std::move(kernel), fault_);
  }

 private:
  class Faulty final : public Kernel {
   public:
    Faulty(std::unique_ptr<Kernel> kernel, const Fault& fault)
        : kernel_(std::move(kernel)), fault_(fault) {}
    void run(const void* const* inputs, void* const* outputs, void* workspace) const override {
      fault_(*kernel_, inputs, outputs, workspace);
    }
    int64_t workspace_bytes() const override { return kernel_->workspace_bytes() + 64; }

   private:
    std::unique_ptr<Kernel> kernel_;
    const Fault& fault_;
  };
  std::string op_;
  Fault fault_;
};

/// dot(exp(x), tanh(x)) and then some: two values alive at once, others dead by then.
Function chain() {
  Function f("chain");
  const NamedArray x = f.argument("x", {DType::f32, kX});
  const NamedArray y = dot(exp(x), rename(x, "batch", "row"), {kX[0], {"row", 4}});
  f.result("y", sum(tanh(y) * sigmoid(y + 1.0), y.axes()));
  return f;
}

/// Runs the function once in debug mode; what it throws, or "".
std::string fault_of(const Function& f, const Backend& backend, bool debug = true,
                     MemoryPlan (*plan)(std::span<const Lifetime>) = plan_memory) {
  Executable e = compile(duplicate(f), backend, {.debug = debug, .plan = plan});
  std::vector<std::byte> arena(static_cast<size_t>(e.arena_bytes()) + 4096);
  std::vector<std::byte> workspace(static_cast<size_t>(e.workspace_bytes()) + 64);
  std::vector<float> x(64, 0.5f), y(64);
  std::byte* arguments[] = {reinterpret_cast<std::byte*>(x.data())};
  std::byte* results[] = {reinterpret_cast<std::byte*>(y.data())};
  e.bind(arena.data(), workspace.data(), arguments, results);
  return error_of([&] { e.run(); });
}

}  // namespace

TEST_CASE("a sound function passes every check", "[runtime]") {
  for (const char* device : {"reference", "cpu"}) {
    const auto backend = make_backend(device);
    CHECK(fault_of(decompose(chain(), *backend), *backend).empty());
    CHECK(fault_of(optimise(chain(), *backend), *backend).empty());
  }
}

TEST_CASE("a value that takes the memory of a living one is caught, and both are named",
          "[runtime]") {
  const auto backend = make_backend("reference");
  const std::string fault = fault_of(chain(), *backend, true, plan_all_at_once);
  CHECK_THAT(fault, Catch::StartsWith("error: chain, step 1: dot of tests/runtime/") &&
                        Catch::Contains("last written by map of tests/runtime/"));
  CHECK(fault_of(chain(), *backend, false, plan_all_at_once).empty());  // unseen without debug
}

TEST_CASE("a read of what another step wrote is caught, and both are named", "[runtime]") {
  const auto backend = make_backend("reference");
  Function f("swapped");
  const NamedArray x = f.argument("x", {DType::f32, kX});
  const NamedArray a = exp(x), b = dot(x, x, kX);
  f.result("y", dot(a, b, {}));
  Lowered lowered = lower(f, *backend);
  REQUIRE(lowered.steps.size() == 3);
  lowered.steps[2].inputs[1] = lowered.steps[0].outputs[0];  // the product reads exp(x) twice
  std::vector<int64_t> offsets(lowered.slots.size());
  for (size_t s = 0; s < offsets.size(); ++s) offsets[s] = static_cast<int64_t>(s) * kBytes;
  std::vector<std::byte> arena(offsets.size() * kBytes);
  float given[64] = {}, result = 0;
  std::byte* arguments[] = {reinterpret_cast<std::byte*>(given)};
  std::byte* results[] = {reinterpret_cast<std::byte*>(&result)};
  MemoryCheck check(f, lowered, offsets, static_cast<int64_t>(arena.size()));
  check.bind(arena.data(), nullptr, arguments, results);
  check.before_run();
  for (size_t s = 0; s < 2; ++s) {  // kernels that write zeros
    check.before_step(s);
    std::memset(arena.data() + offsets[static_cast<size_t>(lowered.steps[s].outputs[0].slot)], 0,
                kBytes);
    check.after_step(s);
  }
  CHECK_THAT(error_of([&] { check.before_step(2); }),
             Catch::StartsWith("error: swapped, step 2: dot of tests/runtime/") &&
                 Catch::Contains(" reads dot of tests/runtime/") &&
                 Catch::Contains("last written by map of tests/runtime/"));
}

TEST_CASE("an element that a kernel leaves out is caught", "[runtime]") {
  const FaultyBackend lazy(
      "dot", [](const Kernel& kernel, const void* const* in, void* const* out, void* workspace) {
        float last;
        std::memcpy(&last, static_cast<float*>(out[0]) + 15, sizeof last);
        kernel.run(in, out, workspace);
        std::memcpy(static_cast<float*>(out[0]) + 15, &last, sizeof last);
      });
  CHECK_THAT(fault_of(chain(), lazy), Catch::Contains("dot of tests/runtime/memory_check_test") &&
                                          Catch::Contains("left an element unwritten"));
}

TEST_CASE("a kernel that reads dead memory or its workspace unwritten is caught", "[runtime]") {
  const Fault adds_workspace = [](const Kernel& kernel, const void* const* in, void* const* out,
                                  void* workspace) {
    kernel.run(in, out, workspace);
    *static_cast<float*>(out[0]) += 0 * *static_cast<float*>(workspace);
  };
  CHECK_THAT(fault_of(chain(), FaultyBackend("dot", adds_workspace)),
             Catch::Contains("dot of ") && Catch::Contains("read memory that holds no value"));
  // The reduction's operand lies in the arena, and behind it nothing does.
  const Fault reads_past = [](const Kernel& kernel, const void* const* in, void* const* out,
                              void* workspace) {
    kernel.run(in, out, workspace);
    *static_cast<float*>(out[0]) += 0 * static_cast<const float*>(in[0])[16];
  };
  CHECK_THAT(fault_of(chain(), FaultyBackend("reduce", reads_past), true, plan_with_gaps),
             Catch::Contains("reduce of ") && Catch::Contains("read memory that holds no value"));
}

TEST_CASE("a kernel that writes past its output is caught", "[runtime]") {
  const FaultyBackend wild(
      "dot", [](const Kernel& kernel, const void* const* in, void* const* out, void* workspace) {
        kernel.run(in, out, workspace);
        std::memset(static_cast<float*>(out[0]) + 16, 0, 64);
      });
  CHECK_THAT(fault_of(chain(), wild, true, plan_with_gaps),
             Catch::Contains("chain: a kernel wrote into memory of the arena"));
}

TEST_CASE("random functions pass every check, views, parts and replaced arguments too",
          "[runtime]") {
  const StridedBackend strided;
  const auto reference = make_backend("reference"), cpu = make_backend("cpu");
  const std::vector<const Backend*> backends = {&strided, reference.get(), cpu.get()};
  for (uint32_t seed = 0; seed < 100; ++seed) {
    INFO("seed " << seed);
    const RandomFunction random = random_function(seed, DType::f32);
    for (const Backend* backend : backends)
      CHECK(same_bits(
          run(optimise(random.function, *backend), random.inputs, *backend),
          run(optimise(random.function, *backend), random.inputs, *backend, {.debug = true})));
  }
}

TEST_CASE("debug mode says what memory its map takes", "[runtime]") {
  const auto backend = make_backend("reference");
  CHECK(compile(chain(), *backend).debug_bytes() == 0);
  const Executable e = compile(chain(), *backend, {.debug = true});
  CHECK(e.debug_bytes() == e.arena_bytes() + kBytes + 4);  // x and y beside the arena
}
