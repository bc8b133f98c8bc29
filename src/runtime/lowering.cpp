// From a function's nodes to steps over slots of memory, before the slots have addresses.
#include "runtime/lowering.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "ops/attributes.h"
#include "ops/entries.h"

namespace levanter {

namespace {

/// An all_gather of a run without a source: this rank has all.
class OwnArrays final : public Kernel {
 public:
  explicit OwnArrays(std::span<const ArrayInfo> arrays) {
    for (const ArrayInfo& array : arrays) bytes_.push_back(static_cast<size_t>(array.bytes()));
  }
  void run(const void* const* in, void* const* out, void*) const override {
    for (size_t i = 0; i < bytes_.size(); ++i) std::memcpy(out[i], in[i], bytes_[i]);
  }

 private:
  std::vector<size_t> bytes_;
};

class Lowering {
 public:
  Lowering(Function& function, const Backend& backend, bool small_m)
      : function_(function), backend_(backend), small_m_(small_m) {}

  Lowered run() {
    count_uses();
    const size_t traced = function_.graph.nodes().size();
    places_.resize(traced);
    for (NodeId id = 0; id < traced; ++id) reserve_concat(id);
    for (NodeId id = 0; id < traced; ++id) visit(id);
    find_lifetimes();
    for (size_t i = 0; i < function_.results.size(); ++i)  // before sharing ties their memory
      if (function_.results[i].donated >= 0) settle_in_place(static_cast<int>(i));
    share_in_place();
    settle_results();
    return std::move(out_);
  }

 private:
  const Graph& graph() const { return function_.graph; }
  void count_uses() {
    uses_.resize(graph().nodes().size());
    for (const Node& node : graph().nodes())
      for (const Value& input : node.inputs) ++uses_[input.node];
    for (const Result& result : function_.results) uses_[result.value.node] += 2;
  }

  int new_slot(Slot::Kind kind, int index, int64_t bytes, NodeId maker) {
    Slot slot;
    slot.kind = kind;
    slot.index = index;
    slot.bytes = bytes;
    slot.maker = maker;
    out_.slots.push_back(slot);
    return static_cast<int>(out_.slots.size()) - 1;
  }

  Place& place(Value value) { return places_[value.node][value.output]; }

  /// The value that `part` is another name of: what a kernel writes.
  Value maker_of(Value part) const {
    while (is(graph().node(part.node), ops::rename_entry) && uses_[part.node] == 1)
      part = graph().node(part.node).inputs[0];
    return part;
  }

  /// Lets the makers of a concatenation's parts write straight into it, if all of them can.
  void reserve_concat(NodeId id) {
    const Node& node = graph().node(id);
    if (!is(node, ops::concat_entry)) return;
    std::vector<Value> parts;
    for (const Value& part : node.inputs) {
      const Value made = maker_of(part);
      const Node& maker = graph().node(made.node);
      const bool twice = std::find(parts.begin(), parts.end(), made) != parts.end();
      if (twice || maker.op->view || !backend_.writes_strided(maker) ||
          uses_[made.node] != maker.outputs.size() || inside_.contains(made) ||
          elided_.contains(made.node))
        return;
      parts.push_back(made);
    }
    const Type& type = node.outputs[0];
    const int slot = new_slot(Slot::Kind::kArena, 0, type.bytes(), id);
    const auto at = static_cast<size_t>(type.axes.find(node.attributes.axis));
    const Place whole{slot, {type.dtype, View::row_major(type.axes), {}}};
    int64_t start = 0;
    for (const Value& part : parts) {
      const Axes& axes = graph().type(part).axes;  // renaming keeps their order
      Place piece = whole;
      piece.info.view.axes = axes;
      piece.info.view.offset = start * whole.info.view.strides[at];
      inside_[part] = piece;
      start += axes[at].size;
    }
    elided_[id] = whole;
  }

  void visit(NodeId id) {
    const Node& node = graph().node(id);
    std::vector<Place>& outputs = places_[id];
    if (const auto elided = elided_.find(id); elided != elided_.end()) {
      outputs = {elided->second};
    } else if (is(node, ops::input_entry)) {
      const Type& type = node.outputs[0];
      outputs = {
          {argument_slot(static_cast<int>(InputAttributes::of(node.attributes).index), type, id),
           {type.dtype, View::row_major(type.axes), {}}}};
    } else if (is(node, ops::constant_entry)) {
      const Type& type = node.outputs[0];
      out_.constants.push_back(ConstantAttributes::of(node.attributes).value);
      out_.constant_types.push_back(type.dtype);
      outputs = {{new_slot(Slot::Kind::kConstant, static_cast<int>(out_.constants.size()) - 1,
                           type.bytes(), id),
                  {type.dtype, {}, ConstantAttributes::of(node.attributes).value}}};
    } else if (node.op->view) {
      const Place source = place(node.inputs[0]);
      for (size_t i = 0; i < node.outputs.size(); ++i) {
        Place out = source;
        out.info.view = node.op->view(node, source.info.view, i);
        outputs.push_back(out);
      }
    } else {
      add_step(id);
    }
  }

  int argument_slot(int index, const Type& type, NodeId id) {
    const auto [at, fresh] = arguments_.try_emplace(index, 0);
    if (fresh) at->second = new_slot(Slot::Kind::kArgument, index, type.bytes(), id);
    return at->second;
  }

  void add_step(NodeId id) {
    const Node& node = graph().node(id);
    Step step;
    step.node = id;
    for (const Value& input : node.inputs) step.inputs.push_back(place(input));
    for (uint32_t i = 0; i < node.outputs.size(); ++i) {
      const Type& type = node.outputs[i];
      const auto reserved = inside_.find(Value{id, i});
      step.outputs.push_back(reserved != inside_.end()
                                 ? reserved->second
                                 : Place{new_slot(Slot::Kind::kArena, 0, type.bytes(), id),
                                         {type.dtype, View::row_major(type.axes), {}}});
    }
    make_kernel(step);
    places_[id] = step.outputs;
    out_.steps.push_back(std::move(step));
  }

  void make_kernel(Step& step) {
    KernelRequest request{graph().node(step.node), {}, {}, small_m_};
    for (const Place& p : step.inputs) request.inputs.push_back(p.info);
    for (const Place& p : step.outputs) request.outputs.push_back(p.info);
    if (is(request.node, ops::all_gather_entry)) {
      LEV_CHECK(backend_.is_host(), "a gather needs memory that the host reads");
      step.kernel = std::make_unique<OwnArrays>(request.inputs);
    } else {
      step.kernel = backend_.lower(request);
    }
  }

  void find_lifetimes() {
    for (int s = 0; s < static_cast<int>(out_.steps.size()); ++s) note_use(s);
    for (const Result& result : function_.results)
      root_slot(place(result.value).slot).last = static_cast<int>(out_.steps.size());
  }

  void note_use(int s) {
    const Step& step = out_.steps[static_cast<size_t>(s)];
    for (const auto* places : {&step.inputs, &step.outputs})
      for (const Place& p : *places) {
        Slot& slot = root_slot(p.slot);
        if (slot.first < 0) slot.first = s;
        slot.last = std::max(slot.last, s);
      }
  }

  int root(int slot) const {
    while (out_.slots[static_cast<size_t>(slot)].moved_to >= 0)
      slot = out_.slots[static_cast<size_t>(slot)].moved_to;
    return slot;
  }
  Slot& root_slot(int slot) { return out_.slots[static_cast<size_t>(root(slot))]; }
  const Slot& root_slot(int slot) const { return out_.slots[static_cast<size_t>(root(slot))]; }

  bool fills(const Place& p) const {
    return p.info.view.offset == 0 && p.info.view.is_contiguous() &&
           p.info.bytes() == out_.slots[static_cast<size_t>(p.slot)].bytes;
  }

  /// Whether the step's kernel may write output o over its input i: no other output lies there,
  /// and whatever it reads of that memory it reads as the same array.
  bool may_write_over(const Step& step, size_t o, size_t i) const {
    const Place& in = step.inputs[i];
    const int memory = root(in.slot);
    for (const Place& out : step.outputs)
      if (root(out.slot) == memory) return false;
    for (size_t j = 0; j < step.inputs.size(); ++j) {
      const View &view = in.info.view, &other = step.inputs[j].info.view;
      if (root(step.inputs[j].slot) != memory) continue;
      if (!(other.axes == view.axes) || other.strides != view.strides ||
          other.offset != view.offset || !step.kernel->in_place(o, j))
        return false;
    }
    return fills(in);
  }

  /// Whether output o of step s may take the memory of its input i, which dies there.
  bool can_share(int s, size_t o, size_t i) {
    const Step& step = out_.steps[static_cast<size_t>(s)];
    const Place &in = step.inputs[i], &out = step.outputs[o];
    return root_slot(in.slot).last == s && root_slot(in.slot).bytes == root_slot(out.slot).bytes &&
           fills(out) && may_write_over(step, o, i);
  }

  void share_in_place() {
    for (int s = 0; s < static_cast<int>(out_.steps.size()); ++s) {
      const Step& step = out_.steps[static_cast<size_t>(s)];
      for (size_t o = 0; o < step.outputs.size(); ++o)
        for (size_t i = 0; i < step.inputs.size(); ++i) {
          const int from = root(step.outputs[o].slot), to = root(step.inputs[i].slot);
          Slot& target = out_.slots[static_cast<size_t>(to)];
          if (target.kind != Slot::Kind::kArena ||
              out_.slots[static_cast<size_t>(from)].kind != Slot::Kind::kArena ||
              !can_share(s, o, i))
            continue;
          target.last = out_.slots[static_cast<size_t>(from)].last;
          out_.slots[static_cast<size_t>(from)].moved_to = to;
          break;
        }
    }
  }

  /// Puts each result where the caller wants it: by choosing its memory, else by a copy at the
  /// end. Copies into donated arguments come last, when nothing reads an argument any more.
  void settle_results() {
    std::map<size_t, Held> late;
    for (size_t i = 0; i < function_.results.size(); ++i) {
      const Result& result = function_.results[i];
      if (settle_in_place(static_cast<int>(i))) continue;
      const Place source = place(result.value);
      if (result.donated < 0)
        add_copy({result.value, source}, Slot::Kind::kResult, static_cast<int>(i));
      else if (is(graph().node(out_.slots[static_cast<size_t>(source.slot)].maker),
                  ops::input_entry))
        late[i] = add_copy({result.value, source}, Slot::Kind::kArena, 0);
      else
        late[i] = {result.value, source};
    }
    for (const auto& [i, source] : late)
      add_copy(source, Slot::Kind::kArgument, function_.results[i].donated);
  }

  /// Settles a result without a copy if its value has memory of its own, or is the argument that
  /// it is to replace.
  bool settle_in_place(int index) {
    const Result& result = function_.results[static_cast<size_t>(index)];
    const Place& source = place(result.value);
    Slot& slot = root_slot(source.slot);
    const bool donated = result.donated >= 0;
    if (!fills(source)) return false;
    if (slot.kind == Slot::Kind::kArena && (!donated || argument_is_free(result, slot))) {
      slot.kind = donated ? Slot::Kind::kArgument : Slot::Kind::kResult;
      slot.index = donated ? result.donated : index;
      return true;
    }
    // Already there: the argument itself, or settled before.
    return donated && slot.kind == Slot::Kind::kArgument && slot.index == result.donated;
  }

  /// A value and where it is.
  struct Held {
    Value value;
    Place place;
  };

  /// Appends a copy of `source` to memory of its own.
  Held add_copy(const Held& source, Slot::Kind kind, int index) {
    Node node;
    node.op = &ops::copy_entry;
    node.inputs = {source.value};
    node.outputs = {graph().type(source.value)};
    node.origin = graph().node(source.value.node).origin;
    Step step;
    step.node = function_.graph.append(std::move(node));
    const Type& type = graph().node(step.node).outputs[0];
    const Place target{new_slot(kind, index, type.bytes(), step.node),
                       {type.dtype, View::row_major(type.axes), {}}};
    step.inputs = {source.place};
    step.outputs = {target};
    make_kernel(step);
    out_.steps.push_back(std::move(step));
    note_use(static_cast<int>(out_.steps.size()) - 1);
    return {{out_.steps.back().node, 0}, target};
  }

  /// The donated argument is read for the last time before the result is first written, or by the
  /// step that writes it, over which its kernel can write.
  bool argument_is_free(const Result& result, const Slot& slot) const {
    const auto found = arguments_.find(result.donated);
    if (found == arguments_.end()) return true;
    const Slot& argument = out_.slots[static_cast<size_t>(found->second)];
    if (argument.last < slot.first) return true;
    if (argument.last > slot.first) return false;
    const Step& step = out_.steps[static_cast<size_t>(slot.first)];
    for (size_t o = 0; o < step.outputs.size(); ++o)
      for (size_t i = 0; i < step.inputs.size(); ++i)
        if (&root_slot(step.outputs[o].slot) == &slot && step.inputs[i].slot == found->second)
          return may_write_over(step, o, i);
    return false;
  }

  Function& function_;
  const Backend& backend_;
  bool small_m_;
  Lowered out_;
  std::vector<uint32_t> uses_;
  std::vector<std::vector<Place>> places_;
  std::map<Value, Place> inside_;
  std::map<NodeId, Place> elided_;
  std::map<int, int> arguments_;
};

}  // namespace

Lowered lower(Function& function, const Backend& backend, bool small_m) {
  return Lowering(function, backend, small_m).run();
}

}  // namespace levanter
