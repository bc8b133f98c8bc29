// Poisons memory and maps who wrote each piece of it, for the debug mode.
#include "runtime/memory_check.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "ops/entries.h"

namespace levanter {

namespace {

constexpr int kPoison = 0xff;  // in every byte: NaN in f32, f64 and bf16, -1 in integers
constexpr int32_t kNobody = -1, kCaller = -2;

void poison(std::byte* data, int64_t bytes) {
  if (bytes > 0) std::memset(data, kPoison, static_cast<size_t>(bytes));
}

bool is_poison(const std::byte* data, int64_t bytes) {
  return std::all_of(data, data + bytes, [](std::byte b) { return b == std::byte{kPoison}; });
}

}  // namespace

MemoryCheck::MemoryCheck(const Function& function, const Lowered& lowered,
                         std::span<const int64_t> offsets, int64_t arena_bytes)
    : function_(function), lowered_(lowered), offsets_(offsets) {
  for (const Node& node : function.graph.nodes())
    for (const Type& type : node.outputs) granule_ = std::min(granule_, size_of(type.dtype));
  dying_.resize(lowered.steps.size());
  for (size_t s = 0; s < lowered.slots.size(); ++s) {
    const Slot& slot = lowered.slots[s];
    if (slot.kind == Slot::Kind::kArena && slot.moved_to < 0 && slot.first >= 0 &&
        static_cast<size_t>(slot.last) < lowered.steps.size())
      dying_[static_cast<size_t>(slot.last)].push_back(static_cast<int>(s));
  }
  const auto sized = [this](int64_t bytes) {
    return Memory{nullptr, bytes, std::vector<int32_t>(static_cast<size_t>(bytes / granule_))};
  };
  arena_ = sized(arena_bytes);
  for (const Argument& a : function.arguments) arguments_.push_back(sized(a.type.bytes()));
  for (const Result& r : function.results)
    results_.push_back(sized(r.donated < 0 ? function.graph.type(r.value).bytes() : 0));
  find_makers();
}

/// A view's makers are those of what it shows; a concatenation written in place has its parts'.
void MemoryCheck::find_makers() {
  const auto& nodes = function_.graph.nodes();
  makers_.resize(nodes.size());
  for (size_t s = 0; s < lowered_.steps.size(); ++s)
    makers_[lowered_.steps[s].node] = {static_cast<int32_t>(s)};
  for (NodeId id = 0; id < nodes.size(); ++id) {
    if (!makers_[id].empty()) continue;
    if (is(nodes[id], ops::input_entry)) makers_[id] = {kCaller};
    for (const Value& input : nodes[id].inputs)
      makers_[id].insert(makers_[id].end(), makers_[input.node].begin(), makers_[input.node].end());
  }
}

void MemoryCheck::bind(std::byte* arena, std::byte* workspace,
                       std::span<std::byte* const> arguments, std::span<std::byte* const> results) {
  arena_.data = arena;
  workspace_ = workspace;
  for (size_t i = 0; i < arguments_.size(); ++i) arguments_[i].data = arguments[i];
  for (size_t i = 0; i < results_.size(); ++i) results_[i].data = results[i];
}

int64_t MemoryCheck::bytes() const {
  size_t count = arena_.writers.size();
  for (const auto* memories : {&arguments_, &results_})
    for (const Memory& memory : *memories) count += memory.writers.size();
  return static_cast<int64_t>(count * sizeof(int32_t));
}

const Slot& MemoryCheck::root(int slot) const {
  while (lowered_.slots[static_cast<size_t>(slot)].moved_to >= 0)
    slot = lowered_.slots[static_cast<size_t>(slot)].moved_to;
  return lowered_.slots[static_cast<size_t>(slot)];
}

MemoryCheck::Memory& MemoryCheck::memory_of(const Slot& slot) {
  if (slot.kind == Slot::Kind::kArena) return arena_;
  auto& memories = slot.kind == Slot::Kind::kArgument ? arguments_ : results_;
  return memories[static_cast<size_t>(slot.index)];
}

/// Calls visit(memory, begin, end) for every range of bytes without gaps that the place covers.
template <class Visit>
void MemoryCheck::each_run(const Place& place, Visit&& visit) {
  const Slot& slot = root(place.slot);
  Memory& memory = memory_of(slot);
  const View& view = place.info.view;
  std::vector<std::pair<int64_t, int64_t>> axes;  // stride and size, the innermost first
  for (size_t i = 0; i < view.axes.size(); ++i)
    if (view.strides[i] != 0 && view.axes[i].size > 1)
      axes.emplace_back(view.strides[i], view.axes[i].size);
  std::sort(axes.begin(), axes.end());
  int64_t run = 1;
  size_t inner = 0;
  while (inner < axes.size() && axes[inner].first == run) run *= axes[inner++].second;
  int64_t runs = 1;
  for (size_t i = inner; i < axes.size(); ++i) runs *= axes[i].second;
  const int64_t element = size_of(place.info.dtype);
  const int64_t base = slot.kind == Slot::Kind::kArena
                           ? offsets_[static_cast<size_t>(&slot - lowered_.slots.data())]
                           : 0;
  for (int64_t r = 0; r < runs; ++r) {
    int64_t at = view.offset, rest = r;
    for (size_t i = inner; i < axes.size(); ++i) {
      at += rest % axes[i].second * axes[i].first;
      rest /= axes[i].second;
    }
    visit(memory, base + at * element, base + (at + run) * element);
  }
}

std::string MemoryCheck::name(size_t step) const {
  const NodeId node = lowered_.steps[step].node;
  return cat(function_.graph.node(node).op->name, " of ", function_.graph.describe(node));
}

std::string MemoryCheck::name_of_writer(int32_t writer) const {
  if (writer >= 0) return name(static_cast<size_t>(writer));
  return writer == kCaller ? "the caller" : "nobody";
}

void MemoryCheck::fail(size_t step, const std::string& what) const {
  throw Error(ErrorKind::kInternal, cat(function_.name, ", step ", step, ": ", name(step), what));
}

void MemoryCheck::before_run() {
  poison(arena_.data, arena_.bytes);
  std::fill(arena_.writers.begin(), arena_.writers.end(), kNobody);
  for (Memory& result : results_) {
    poison(result.data, result.bytes);
    std::fill(result.writers.begin(), result.writers.end(), kNobody);
  }
  for (Memory& argument : arguments_)
    std::fill(argument.writers.begin(), argument.writers.end(), kCaller);
}

void MemoryCheck::check_reads(size_t step, size_t input) {
  const Place& place = lowered_.steps[step].inputs[input];
  const NodeId source = function_.graph.node(lowered_.steps[step].node).inputs[input].node;
  const std::vector<int32_t>& makers = makers_[source];
  each_run(place, [&](const Memory& memory, int64_t begin, int64_t end) {
    for (int64_t at = begin / granule_; at < end / granule_; ++at) {
      const int32_t writer = memory.writers[static_cast<size_t>(at)];
      if (std::find(makers.begin(), makers.end(), writer) != makers.end()) continue;
      fail(step, cat(" reads ", function_.graph.node(source).op->name, " of ",
                     function_.graph.describe(source), ", but its memory was last written by ",
                     name_of_writer(writer)));
    }
  });
}

bool MemoryCheck::writes_over_input(const Step& step, const Place& output) const {
  return std::any_of(step.inputs.begin(), step.inputs.end(),
                     [&](const Place& input) { return &root(input.slot) == &root(output.slot); });
}

void MemoryCheck::check_free(size_t step, const Place& output) {
  each_run(output, [&](const Memory& memory, int64_t begin, int64_t end) {
    if (!is_poison(memory.data + begin, end - begin))
      fail(step, cat(" finds something in the memory that it is to write first, last written by ",
                     name_of_writer(memory.writers[static_cast<size_t>(begin / granule_)])));
  });
}

void MemoryCheck::check_written(size_t step, const Place& output) {
  const int64_t element = size_of(output.info.dtype);
  each_run(output, [&](Memory& memory, int64_t begin, int64_t end) {
    std::fill(memory.writers.begin() + begin / granule_, memory.writers.begin() + end / granule_,
              static_cast<int32_t>(step));
    if (!is_float(output.info.dtype)) return;
    for (int64_t at = begin; at < end; at += element)
      if (is_poison(memory.data + at, element))
        fail(step, " left an element unwritten or read memory that holds no value");
  });
}

void MemoryCheck::before_step(size_t s) {
  const Step& step = lowered_.steps[s];
  for (size_t i = 0; i < step.inputs.size(); ++i)
    if (root(step.inputs[i].slot).kind != Slot::Kind::kConstant) check_reads(s, i);
  for (const Place& output : step.outputs)
    if (root(output.slot).kind != Slot::Kind::kArgument && !writes_over_input(step, output))
      check_free(s, output);
  poison(workspace_, step.kernel->workspace_bytes());
}

void MemoryCheck::free_memory(const Slot& slot) {
  const int64_t begin = offsets_[static_cast<size_t>(&slot - lowered_.slots.data())];
  poison(arena_.data + begin, slot.bytes);
  std::fill(arena_.writers.begin() + begin / granule_,
            arena_.writers.begin() + (begin + slot.bytes) / granule_, kNobody);
}

void MemoryCheck::after_step(size_t s) {
  for (const Place& output : lowered_.steps[s].outputs) check_written(s, output);
  for (const int slot : dying_[s]) free_memory(lowered_.slots[static_cast<size_t>(slot)]);
}

void MemoryCheck::after_run() const {
  if (!is_poison(arena_.data, arena_.bytes))
    throw Error(
        ErrorKind::kInternal,
        cat(function_.name, ": a kernel wrote into memory of the arena that holds no value"));
}

}  // namespace levanter
