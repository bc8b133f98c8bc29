// Runs a compiled function: a flat list of steps over one planned arena.
#include "runtime/executable.h"

#include <algorithm>

#include "base/bf16.h"
#include "base/error.h"
#include "base/strings.h"
#include "device/ranges.h"
#include "device/tracing.h"
#include "ops/attributes.h"
#include "ops/entries.h"
#include "runtime/lowering.h"
#include "runtime/memory_check.h"

namespace levanter {

namespace {

/// "dot backward of transformer.h.0.attn, src/models/gpt2.cpp:52"
std::string place_of(const Graph& graph, NodeId node) {
  return cat(graph.node(node).op->name,
             graph.node(node).origin.phase == Phase::kBackward ? " backward of " : " of ",
             graph.describe(node));
}

}  // namespace

struct Executable::Impl final : Runnable {
  Function function{""};
  Lowered lowered;
  MemoryPlan plan;
  std::vector<int> planned;      ///< slot of each planned buffer
  std::vector<int64_t> offsets;  ///< arena offset of each slot
  int64_t workspace_bytes = 0, first_run_bytes = 0;
  std::vector<double> constant_memory;  ///< 8 bytes a constant, whatever its type
  const Backend* backend = nullptr;
  std::unique_ptr<Buffer> device_constants;  ///< the same where kernels cannot read the host's
  struct Pointers {
    std::vector<const void*> inputs;
    std::vector<void*> outputs;
  };
  std::vector<Pointers> pointers;
  std::byte* workspace = nullptr;
  bool bound = false;
  std::unique_ptr<MemoryCheck> check;  ///< in debug mode
  /// Of the addresses that are bound.
  enum class Replay : uint8_t { kNew, kHasRun, kRecorded, kNever } replay = Replay::kNew;
  std::unique_ptr<Recording> recording;
  bool is_recorded = false;  ///< what runs now: then a device is not to be waited for
  std::vector<Gather> gathers;
  std::vector<size_t> gather_steps;   ///< of each
  std::vector<size_t> gather_reader;  ///< the first step that reads each
  GatherSource* source = nullptr;
  /// The last step that writes or reads each result, 0 where none does, and the result; by step.
  std::vector<std::pair<size_t, size_t>> last_uses;

  int root(int slot) const {
    while (lowered.slots[static_cast<size_t>(slot)].moved_to >= 0)
      slot = lowered.slots[static_cast<size_t>(slot)].moved_to;
    return slot;
  }
  void plan_slots(const CompileOptions& options);
  void write_constants();
  void find_gathers();
  void find_last_uses();
  std::byte* constants();
  void run() const override;
  void run_step(size_t s) const;
  void start_gather(size_t gather) const;
  void run_steps(ResultListener* listener) const;
  void run_shown(size_t s) const;
  void run_watched(StepObserver* observer);
};

/// Where kernels find the constants.
std::byte* Executable::Impl::constants() {
  auto* const own = reinterpret_cast<std::byte*>(constant_memory.data());
  if (backend->is_host() || constant_memory.empty()) return own;
  if (!device_constants) {
    const std::span<const std::byte> bytes(own, constant_memory.size() * sizeof(double));
    device_constants = backend->allocate(static_cast<int64_t>(bytes.size()));
    backend->upload(device_constants->data(), bytes);
  }
  return device_constants->data();
}

void Executable::Impl::plan_slots(const CompileOptions& options) {
  std::vector<Lifetime> lifetimes;
  for (int s = 0; s < static_cast<int>(lowered.slots.size()); ++s) {
    const Slot& slot = lowered.slots[static_cast<size_t>(s)];
    if (slot.kind != Slot::Kind::kArena || slot.moved_to >= 0 || slot.first < 0) continue;
    lifetimes.push_back({slot.bytes, slot.first, slot.last});
    planned.push_back(s);
  }
  plan = options.plan(lifetimes);
  offsets.assign(lowered.slots.size(), 0);
  for (size_t i = 0; i < planned.size(); ++i)
    offsets[static_cast<size_t>(planned[i])] = plan.offsets[i];
  for (const Step& step : lowered.steps) {
    workspace_bytes = std::max(workspace_bytes, step.kernel->workspace_bytes());
    first_run_bytes = std::max(first_run_bytes, step.kernel->first_run_bytes());
  }
  if (options.debug)
    check = std::make_unique<MemoryCheck>(function, lowered, offsets, plan.arena_bytes);
}

void Executable::Impl::write_constants() {
  constant_memory.resize(lowered.constants.size());
  for (size_t i = 0; i < lowered.constants.size(); ++i) {
    void* at = &constant_memory[i];
    const double value = lowered.constants[i];
    switch (lowered.constant_types[i]) {
      case DType::f32:
        *static_cast<float*>(at) = static_cast<float>(value);
        break;
      case DType::f64:
        *static_cast<double*>(at) = value;
        break;
      case DType::i32:
        *static_cast<int32_t*>(at) = static_cast<int32_t>(value);
        break;
      case DType::u32:
        *static_cast<uint32_t*>(at) = static_cast<uint32_t>(value);
        break;
      case DType::bf16:
        *static_cast<Bf16*>(at) = static_cast<float>(value);
        break;
      case DType::i8:
        *static_cast<int8_t*>(at) = static_cast<int8_t>(value);
        break;
    }
  }
}

void Executable::Impl::find_gathers() {
  const auto& steps = lowered.steps;
  const auto reads = [](const Step& step, const Step& maker) {
    for (const Place& input : step.inputs)
      for (const Place& made : maker.outputs)
        if (input.slot == made.slot) return true;
    return false;
  };
  for (size_t s = 0; s < steps.size(); ++s) {
    const Node& node = function.graph.node(steps[s].node);
    if (!is(node, ops::all_gather_entry)) continue;
    Gather& gather = gathers.emplace_back();
    for (const Value& input : node.inputs) {
      const Node& argument = function.graph.node(input.node);
      const int64_t index = InputAttributes::of(argument.attributes).index;
      gather.names.push_back(function.arguments[static_cast<size_t>(index)].name);
      gather.bytes.push_back(static_cast<size_t>(argument.outputs[0].bytes()));
    }
    size_t reader = s + 1;
    while (reader < steps.size() && !reads(steps[reader], steps[s])) ++reader;
    gather_steps.push_back(s);
    gather_reader.push_back(reader);
  }
}

Executable::Executable(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Executable::Executable(Executable&&) noexcept = default;
Executable::~Executable() = default;

const std::string& Executable::name() const { return impl_->function.name; }
const std::vector<Argument>& Executable::arguments() const { return impl_->function.arguments; }
const std::vector<Result>& Executable::results() const { return impl_->function.results; }
const Type& Executable::type(const Result& result) const {
  return impl_->function.graph.type(result.value);
}
int64_t Executable::arena_bytes() const { return impl_->plan.arena_bytes; }
int64_t Executable::workspace_bytes() const { return impl_->workspace_bytes; }
int64_t Executable::first_run_bytes() const { return impl_->first_run_bytes; }
int64_t Executable::constant_bytes() const {
  return static_cast<int64_t>(impl_->constant_memory.size() * sizeof(double));
}
int64_t Executable::debug_bytes() const { return impl_->check ? impl_->check->bytes() : 0; }
int64_t Executable::arena_lower_bound() const { return impl_->plan.lower_bound; }
size_t Executable::step_count() const { return impl_->lowered.steps.size(); }

std::vector<LiveBuffer> Executable::buffers() const {
  std::vector<LiveBuffer> all;
  const Graph& graph = impl_->function.graph;
  const auto phase_of = [&](int step) {
    return graph.node(impl_->lowered.steps[static_cast<size_t>(step)].node).origin.phase;
  };
  const int last_step = static_cast<int>(impl_->lowered.steps.size()) - 1;
  for (size_t i = 0; i < impl_->planned.size(); ++i) {
    const Slot& slot = impl_->lowered.slots[static_cast<size_t>(impl_->planned[i])];
    const Node& node = graph.node(slot.maker);
    all.push_back(
        {.bytes = slot.bytes,
         .op = node.op->name,
         .where = graph.describe(slot.maker),
         .saved_for_backward = node.origin.phase == Phase::kForward &&
                               phase_of(std::min(slot.last, last_step)) == Phase::kBackward,
         .offset = impl_->plan.offsets[i],
         .first = slot.first,
         .last = slot.last});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const LiveBuffer& a, const LiveBuffer& b) { return a.bytes > b.bytes; });
  return all;
}

std::vector<LiveBuffer> Executable::peak() const {
  std::vector<LiveBuffer> alive = buffers();
  std::erase_if(alive, [&](const LiveBuffer& b) {
    return b.first > impl_->plan.peak_step || b.last < impl_->plan.peak_step;
  });
  return alive;
}

int Executable::peak_step() const { return impl_->plan.peak_step; }

std::string Executable::peak_place() const {
  if (impl_->lowered.steps.empty()) return "";
  return place_of(impl_->function.graph,
                  impl_->lowered.steps[static_cast<size_t>(impl_->plan.peak_step)].node);
}

namespace {

/// fn(op, flops) for a node, or for what a fused one is made of.
template <class Fn>
void each_cost(const Graph& graph, const Node& node, Fn&& fn) {
  if (node.op->cost) fn(*node.op, node.op->cost(node, graph.input_types(node)).flops);
  if (!node.body) return;
  for (const Node& member : node.body->graph.nodes()) each_cost(node.body->graph, member, fn);
}

}  // namespace

std::vector<std::pair<std::string, double>> Executable::flops_by_op() const {
  std::map<std::string, double> total;
  for (const Step& step : impl_->lowered.steps) {
    const Graph& graph = impl_->function.graph;
    each_cost(graph, graph.node(step.node),
              [&](const Op& op, double flops) { total[op.name] += flops; });
  }
  return {total.begin(), total.end()};
}

std::map<const Node*, StepCost> Executable::step_costs() const {
  std::map<const Node*, StepCost> costs;
  const Graph& graph = impl_->function.graph;
  for (const Step& step : impl_->lowered.steps) {
    const Node& node = graph.node(step.node);
    StepCost& cost = costs[&node];
    cost.by_reference = step.kernel->is_reference();
    cost.plan = step.kernel->plan();
    each_cost(graph, node, [&](const Op&, double flops) { cost.flops += flops; });
    for (const auto* places : {&step.inputs, &step.outputs})
      for (const Place& place : *places)  // a view that repeats its memory reads it once
        cost.bytes += static_cast<double>(std::min(
            place.info.bytes(), impl_->lowered.slots[static_cast<size_t>(place.slot)].bytes));
  }
  return costs;
}

void Executable::bind(std::byte* arena, std::byte* workspace, std::span<std::byte* const> arguments,
                      std::span<std::byte* const> results) {
  LEV_CHECK(arguments.size() == this->arguments().size(), cat(name(), ": wrong arguments"));
  LEV_CHECK(results.size() == this->results().size(), cat(name(), ": wrong results"));
  std::byte* const constants = impl_->constants();
  const auto base = [&](int slot_index) -> std::byte* {
    const int root = impl_->root(slot_index);
    const Slot& slot = impl_->lowered.slots[static_cast<size_t>(root)];
    const auto index = static_cast<size_t>(slot.index);
    switch (slot.kind) {
      case Slot::Kind::kArena:
        return arena + impl_->offsets[static_cast<size_t>(root)];
      case Slot::Kind::kArgument:
        return arguments[index];
      case Slot::Kind::kResult:
        return results[index];
      case Slot::Kind::kConstant:
        return constants + index * sizeof(double);
    }
    return nullptr;
  };
  const auto address = [&](const Place& p) {
    return base(p.slot) + p.info.view.offset * size_of(p.info.dtype);
  };
  impl_->pointers.clear();
  for (const Step& step : impl_->lowered.steps) {
    Impl::Pointers pointers;
    for (const Place& p : step.inputs) pointers.inputs.push_back(address(p));
    for (const Place& p : step.outputs) pointers.outputs.push_back(address(p));
    impl_->pointers.push_back(std::move(pointers));
  }
  if (impl_->check) impl_->check->bind(arena, workspace, arguments, results);
  impl_->workspace = workspace;
  impl_->bound = true;
  impl_->recording.reset();
  if (impl_->replay != Impl::Replay::kNever) impl_->replay = Impl::Replay::kNew;
}

void Executable::bind_by_name(std::byte* arena, std::byte* workspace, const Addresses& arguments,
                              const Addresses& results) {
  const auto find = [&](const Addresses& addresses, const std::string& wanted) {
    const auto found = addresses.find(wanted);
    LEV_CHECK(found != addresses.end(), cat(name(), ": there is no ", wanted));
    return found->second;
  };
  std::vector<std::byte*> in, out;
  for (const Argument& argument : this->arguments()) in.push_back(find(arguments, argument.name));
  for (const Result& result : this->results())
    out.push_back(result.donated >= 0 ? nullptr : find(results, result.name));
  bind(arena, workspace, in, out);
}

void Executable::Impl::run_step(size_t s) const {
  lowered.steps[s].kernel->run(pointers[s].inputs.data(), pointers[s].outputs.data(), workspace);
}

void Executable::Impl::find_last_uses() {
  const auto& results = function.results;
  std::vector<size_t> last(results.size());
  std::map<std::pair<Slot::Kind, int>, size_t> result_in;
  for (size_t i = 0; i < results.size(); ++i)
    if (results[i].donated < 0)
      result_in[{Slot::Kind::kResult, static_cast<int>(i)}] = i;
    else
      result_in[{Slot::Kind::kArgument, results[i].donated}] = i;
  for (size_t s = 0; s < lowered.steps.size(); ++s)
    for (const auto* places : {&lowered.steps[s].inputs, &lowered.steps[s].outputs})
      for (const Place& place : *places) {
        const Slot& slot = lowered.slots[static_cast<size_t>(root(place.slot))];
        const auto found = result_in.find({slot.kind, slot.index});
        if (found != result_in.end()) last[found->second] = s;
      }
  for (size_t i = 0; i < results.size(); ++i) last_uses.emplace_back(last[i], i);
  std::sort(last_uses.begin(), last_uses.end());
}

void Executable::Impl::run() const { run_steps(nullptr); }

void Executable::Impl::start_gather(size_t gather) const {
  const Pointers& at = pointers[gather_steps[gather]];
  source->start(gathers[gather], at.inputs.data(), at.outputs.data());
}

/// One step in a range: "linear_xent backward of lm_head, src/nn/layers.cpp:20". In a trace that is
/// the time of the device, which is waited for.
void Executable::Impl::run_shown(size_t s) const {
  const Node& node = function.graph.node(lowered.steps[s].node);
  const std::string name =
      cat(node.op->name, node.origin.phase == Phase::kBackward ? " backward" : "");
  const Range range(name.c_str(), function.graph.describe(lowered.steps[s].node));
  run_step(s);
  if (is_tracing() && !is_recorded) backend->synchronize();
}

/// A gather goes on while the steps up to its first reader run.
void Executable::Impl::run_steps(ResultListener* listener) const {
  const bool shown = ranges_are_shown();
  size_t started = 0, finished = 0, told = 0;
  for (size_t s = 0; s < lowered.steps.size(); ++s) {
    for (; finished < started && gather_reader[finished] <= s; ++finished) {
      const Range range("wait for parameters");
      source->finish();
    }
    if (source && started < gathers.size() && gather_steps[started] == s)
      start_gather(started++);
    else if (shown)
      run_shown(s);
    else
      run_step(s);
    for (; listener && told < last_uses.size() && last_uses[told].first == s; ++told)
      listener->ready(last_uses[told].second);
  }
}

void Executable::Impl::run_watched(StepObserver* observer) {
  const Graph& graph = function.graph;
  size_t gather = 0;
  if (check) check->before_run();
  for (size_t s = 0; s < lowered.steps.size(); ++s) {
    const Step& step = lowered.steps[s];
    if (check) check->before_step(s);
    if (observer) observer->before(graph.node(step.node));
    if (source && gather < gathers.size() && gather_steps[gather] == s) {
      start_gather(gather++);
      source->finish();
    } else if (ranges_are_shown()) {
      run_shown(s);
    } else {
      run_step(s);
    }
    if (check) check->after_step(s);
    if (observer)
      observer->after(graph.node(step.node), graph.describe(step.node), pointers[s].outputs.data());
  }
  if (check) check->after_run();
}

const std::vector<Gather>& Executable::gathers() const { return impl_->gathers; }
void Executable::gather_from(GatherSource* source) { impl_->source = source; }

void Executable::attend() const {
  LEV_CHECK(impl_->bound && impl_->source, cat(name(), " has nothing to gather from"));
  for (size_t gather = 0; gather < impl_->gathers.size(); ++gather) {
    impl_->start_gather(gather);
    impl_->source->finish();
  }
}

void Executable::run(StepObserver* observer, ResultListener* listener) const {
  if (listener) {
    const bool stepwise = !observer && !impl_->check;
    if (stepwise && impl_->backend->is_host() && impl_->bound) {
      const Range range(name().c_str());
      return impl_->run_steps(listener);
    }
    run(observer);
    for (const auto& [step, result] : impl_->last_uses) listener->ready(result);
    return;
  }
  using Replay = Impl::Replay;
  LEV_CHECK(impl_->bound, cat(name(), " has no memory yet"));
  const Range range(name().c_str());
  if (observer || impl_->check) return impl_->run_watched(observer);
  if (is_tracing()) return impl_->run();  // also what could be replayed as one
  if (impl_->replay == Replay::kHasRun) {
    impl_->is_recorded = true;
    impl_->recording = impl_->backend->record(*impl_);
    impl_->is_recorded = false;
    impl_->replay = impl_->recording ? Replay::kRecorded : Replay::kNever;
  }
  if (impl_->replay == Replay::kRecorded) return impl_->recording->replay();
  impl_->run();
  if (impl_->replay == Replay::kNew) impl_->replay = Replay::kHasRun;
}

Executable compile(Function function, const Backend& backend, const CompileOptions& options) {
  auto impl = std::make_unique<Executable::Impl>();
  impl->function = std::move(function);
  impl->backend = &backend;
  impl->lowered = lower(impl->function, backend, options.small_m);
  impl->plan_slots(options);
  impl->write_constants();
  impl->find_gathers();
  impl->find_last_uses();
  backend.prepare();
  return Executable(std::move(impl));
}

}  // namespace levanter
