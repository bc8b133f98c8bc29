#include "support/random_function.h"

#include <algorithm>
#include <map>

#include "base/random.h"
#include "ops/attributes.h"
#include "passes/passes.h"
#include "support/checks.h"

namespace levanter::testing {

namespace {

constexpr int kNodes = 30;
constexpr int64_t kIndexBound = 3;
const std::vector<Axis> kAxes = {{"a", 2}, {"b", 3}, {"c", 4}, {"d", 1}};

class Generator {
 public:
  Generator(uint32_t seed, DType real) : key_(key_from_seed(seed)), real_(real) {}

  RandomFunction make() {
    for (int i = 0; i < 4; ++i) add_argument(random_real(random_axes(), 100 + next()));
    add_argument(random_ids({{"n", 3}}, kIndexBound, next()));
    index_ = values_.back();
    values_.pop_back();
    for (int i = 0; i < kNodes; ++i) grow();
    add_results();
    return {std::move(function_), std::move(inputs_)};
  }

 private:
  uint32_t next() { return random_bits(key_, at_++); }
  size_t below(size_t bound) { return random_below(key_, at_++, bound); }
  bool chance(size_t one_in) { return below(one_in) == 0; }
  NamedArray any() { return values_[below(values_.size())]; }

  void add_argument(const Array& array) {
    Type type = array.type;
    if (is_float(type.dtype)) type.dtype = real_;
    values_.push_back(function_.argument("x" + std::to_string(inputs_.size()), type));
    inputs_.push_back(array);
  }

  Axes random_axes() {
    Axes axes;
    for (const Axis& axis : shuffled(kAxes))
      if (!chance(3)) axes.push_back(axis);
    return axes;
  }

  std::vector<Axis> shuffled(std::vector<Axis> axes) {
    for (size_t i = axes.size(); i > 1; --i) std::swap(axes[i - 1], axes[below(i)]);
    return axes;
  }

  Axes some_of(const Axes& axes) {
    Axes some;
    for (const Axis& axis : shuffled({axes.begin(), axes.end()}))
      if (chance(2)) some.push_back(axis);
    return some;
  }

  /// Adds values unless they are larger than a test should handle.
  void keep(const std::vector<NamedArray>& made) {
    for (const NamedArray& x : made)
      if (x.type().elements() <= 2000) values_.push_back(x);
  }

  void grow() {
    const NamedArray x = any(), y = any();
    switch (below(13)) {
      case 0:
        return keep({map(
            static_cast<Map>(below(2) ? static_cast<int>(Map::kTanh) : static_cast<int>(Map::kNeg)),
            x)});
      case 1:
        return binary(x, y);
      case 2:
        return product(x, y);
      case 3:
        return keep({reduce(static_cast<Reduce>(below(3)), x, some_of(x.axes()))});
      case 4: {
        const auto order = shuffled({x.axes().begin(), x.axes().end()});
        return keep({transpose(x, Axes(order))});
      }
      case 5:
        return cut(x);
      case 6:
        return join(x, y);
      case 7:
        return x.axes().contains("e") ? void() : keep({broadcast(x, unite(x.axes(), {{"e", 2}}))});
      case 8:
        return exchange(x);
      case 9:
        return pick(x);
      case 10:
        return keep({chance(2) ? x * 1.0 : x / 1.0});
      case 11:
        return composite(x);
      default:
        return keep({copy(x) + (tanh(x) + tanh(x))});
    }
  }

  void binary(NamedArray x, NamedArray y) {
    const Axes all = agreeing(x, y);
    if (all.empty() && !(x.axes().empty() && y.axes().empty())) return;
    const NamedArray wide = broadcast(x, unite(x.axes(), y.axes()));
    switch (below(3)) {
      case 0:
        return keep({wide + y});
      case 1:
        return keep({tanh(wide * y)});
      default:
        return keep({select(map(Map::kLess, wide, y), y, wide)});
    }
  }

  /// The union of both axes, or none when a shared name has two sizes.
  static Axes agreeing(NamedArray x, NamedArray y) {
    if (!is_subset(intersect(x.axes(), y.axes()), y.axes())) return {};
    Axes all = x.axes();
    for (const Axis& axis : without(y.axes(), x.axes()))
      if (all.size() < 6) all.push_back(axis);
    return is_subset(y.axes(), all) ? all : Axes{};
  }

  void product(NamedArray x, NamedArray y) {
    if (agreeing(x, y).empty()) return;
    const Axes shared = intersect(x.axes(), y.axes());
    Axes out = some_of(shared);
    for (const Axis& axis : without(unite(x.axes(), y.axes()), shared)) out.push_back(axis);
    const NamedArray p = dot(x, y, Axes(shuffled({out.begin(), out.end()})));
    keep({tanh(p)});
    if (chance(2))  // onto an argument or another value of the same axes
      for (const NamedArray& acc : values_)
        if (acc.type() == p.type()) return keep({chance(2) ? acc + p : dot_add(acc, x, y)});
  }

  void cut(NamedArray x) {
    for (const Axis& axis : x.axes())
      if (axis.size > 1) {
        const std::vector<int64_t> sizes = {1, axis.size - 1};
        return keep(partition(x, axis.name, sizes));
      }
  }

  void join(NamedArray x, NamedArray y) {
    if (x.axes().empty()) return;
    const AxisName axis = x.axes()[below(x.axes().size())].name;
    std::vector<NamedArray> parts = {tanh(x), chance(2) ? x : -x};
    const Axes others = without(x.axes(), axis);
    if (y.axes().contains(axis) && is_subset(without(y.axes(), axis), others) &&
        y.axes().size() == x.axes().size())
      parts.push_back(y + 1.0);
    const NamedArray joined = concat(parts, axis);
    keep({joined, joined + joined});
  }

  void exchange(NamedArray x) {
    if (!x.axes().contains("c") || x.axes().size_of("c") % 2 || x.axes().size() > 5 ||
        x.axes().contains("c1"))
      return;
    const Axes pieces = {{"c1", 2}, {"c", x.axes().size_of("c") / 2}};
    const NamedArray apart = split_axis(x, "c", pieces);
    keep({apart, merge_axes(tanh(apart), pieces, "c")});
    if (chance(2)) keep({rename(x, "c", "c1") + 1.0});
  }

  void pick(NamedArray x) {
    if (x.axes().empty() || x.axes().contains("n")) return;
    const Axis axis = x.axes()[below(x.axes().size())];
    if (axis.size < kIndexBound) return;
    const NamedArray y = gather(x, axis.name, index_);
    keep({y, scatter_add(y, x.axes(), axis.name, index_)});
  }

  void composite(NamedArray x) {
    if (x.axes().empty()) return;
    const Axis axis = x.axes()[0];
    switch (below(3)) {
      case 0:
        return keep({gelu(x, Gelu::kTanh)});
      case 1:
        return keep({softmax(x, axis.name)});
      default:
        return keep({layer_norm(x, iota(x.graph(), axis, real_), NamedArray(), 1e-3)});
    }
  }

  void add_results() {
    for (int i = 0; i < 5; ++i) function_.result("y", any());
    function_.result("first", values_[0]);
    function_.result("last", values_.back());
    function_.result("last again", values_.back());
    for (int i = 0; i < 4; ++i) {  // arguments that some value of their type replaces
      const Type& type = function_.arguments[static_cast<size_t>(i)].type;
      std::vector<NamedArray> fitting;
      for (const NamedArray& value : values_)
        if (value.type() == type) fitting.push_back(value);
      if (!chance(3)) function_.result("new", fitting[below(fitting.size())], i);
    }
  }

  Key key_;
  uint64_t at_ = 0;
  DType real_;
  Function function_{"random", real_};
  std::vector<Array> inputs_;
  std::vector<NamedArray> values_;
  NamedArray index_;
};

/// Values over one space [rows..., embed] that feed one another.
class RowsGenerator {
 public:
  explicit RowsGenerator(uint32_t seed) : key_(key_from_seed(seed)) {}

  RandomFunction make() {
    constexpr int64_t kBatches[] = {1, 2, 3}, kPositions[] = {1, 5, 64, 67, 131};
    constexpr int64_t kWidths[] = {1, 3, 16, 17, 96, 131, 1024, 1031}, kInner[] = {1, 5, 64, 100};
    batch_ = {"batch", kBatches[below(3)]};
    position_ = {"position", kPositions[below(5)]};
    embed_ = {"embed", kWidths[below(8)]};
    inner_ = {"inner", kInner[below(4)]};
    space_ = {batch_, position_, embed_};
    compute_ = below(2) ? DType::bf16 : DType::f32;
    for (int i = 0; i < 3; ++i) values_.push_back(narrow(argument(random_real(space_, seed()))));
    for (int i = 0; i < 2; ++i) vectors_.push_back(argument(random_real({embed_}, seed())));
    std::vector<NamedArray> wanted = values_;
    if (compute_ == DType::f32)
      for (const NamedArray& vector : vectors_) wanted.push_back(vector);
    columns_.push_back(narrow(argument(random_real({batch_, position_}, seed()))));
    columns_.push_back(narrow(argument(random_real({}, seed()))));
    keys_ = argument(random_keys({batch_}, seed()));
    if (below(2))  // not without gaps
      keys_ = partition(argument(random_keys({{"batch", batch_.size + 1}}, seed())), "batch",
                        std::vector<int64_t>{1, batch_.size})[1];
    if (below(2)) keys_ = transpose(argument(keys_turned(seed())), {batch_, key_word()});
    up_ = narrow(argument(random_real({embed_, inner_}, seed())));
    for (int i = 0; i < 10; ++i) values_.push_back(next_value());
    const NamedArray y = values_.back();
    function_.result("y", below(2) ? concat(std::vector{y, tanh(values_[3])}, "embed") : y);
    function_.result("x", values_[values_.size() - 3]);
    const NamedArray loss = sum(y, space_) + sum(values_[5], space_);
    for (const NamedArray& grad : backprop(loss, wanted)) function_.result("grad", grad);
    if (compute_ == DType::f32 && below(2)) function_.result("new", values_[4], 0);
    return {std::move(function_), std::move(inputs_)};
  }

 private:
  size_t below(size_t bound) { return random_below(key_, at_++, bound); }
  uint32_t seed() { return random_bits(key_, at_++); }
  NamedArray narrow(NamedArray x) { return cast(x, compute_); }

  /// Keys with the words' axis first.
  Array keys_turned(uint32_t seed) const {
    Array keys = random_keys({batch_}, seed);
    keys.type.axes = {key_word(), batch_};
    return keys;
  }

  NamedArray argument(const Array& array) {
    Type type = array.type;
    if (is_float(type.dtype)) type.dtype = DType::f32;
    inputs_.push_back(array);
    return function_.argument("x", type);
  }

  NamedArray next_value() {
    const NamedArray x = values_[values_.size() - 1 - below(3)], y = values_[below(values_.size())];
    const NamedArray weight = vectors_[below(2)], vector = narrow(weight);
    switch (below(11)) {
      case 0:
        return x + y;
      case 1:
        return x * vector + narrow(vectors_[0]);
      case 2:
        return gelu(x, below(2) ? Gelu::kTanh : Gelu::kErf);
      case 3:
        return layer_norm(x, weight, below(2) ? vectors_[1] : NamedArray(), 1e-3);
      case 4:
        return dropout(x, keys_, 0.25);
      case 5:
        return tanh(x * columns_[below(2)]);
      case 6:
        return select(map(Map::kLess, x, y), x * 0.5, y + vector);
      case 7:
        return transpose(sigmoid(transpose(x, {embed_, position_, batch_})), space_);
      case 8:
        return exp(broadcast(columns_[below(2)], space_)) + x;
      case 9:
        return linear(gelu(linear(x, {batch_, position_, inner_}, NamedArray()), Gelu::kErf),
                      space_, weight) +
               x;
      default:
        return x - broadcast(narrow(sum(y, {batch_, position_})), space_) * 1e-3;
    }
  }

  /// A product, the bias added before it is rounded.
  NamedArray linear(NamedArray x, const Axes& out, NamedArray bias) {
    const NamedArray y = dot(x, up_, out) * 0.25;
    return narrow(bias ? y + bias : y);
  }

  Key key_;
  uint64_t at_ = 0;
  DType compute_ = DType::f32;
  Axis batch_, position_, embed_, inner_;
  Axes space_;
  Function function_{"rows", DType::f32};
  std::vector<Array> inputs_;
  std::vector<NamedArray> values_, vectors_, columns_;
  NamedArray keys_, up_;
};

/// Runs each node that computes in a function of its own, whose arguments are the values that its
/// operands are or are views of.
class EagerRun {
 public:
  EagerRun(const Function& function, const std::vector<Array>& inputs, const Backend& backend)
      : function_(function), inputs_(inputs), backend_(backend) {
    const auto& nodes = function.graph.nodes();
    values_.resize(nodes.size());
    for (NodeId id = 0; id < nodes.size(); ++id)
      if (!nodes[id].op->view && !is(id, "constant")) values_[id] = run_alone(id);
  }

  std::vector<Array> results() {
    std::vector<Array> all;
    for (const Result& result : function_.results) {
      Alone alone(function_);
      alone.function.results.push_back({"y", carry(result.value, alone)});
      all.push_back(run(std::move(alone.function), alone.inputs, backend_)[0]);
    }
    return all;
  }

 private:
  struct Alone {
    Function function;
    std::vector<Array> inputs;
    std::map<Value, Value> carried;
    explicit Alone(const Function& from) : function("node", from.graph.empty_copy()) {}
  };

  bool is(NodeId id, const std::string& name) const {
    return function_.graph.node(id).op->name == name;
  }

  std::vector<Array> run_alone(NodeId id) {
    Node node = function_.graph.node(id);
    Alone alone(function_);
    if (is(id, "input")) {
      alone.inputs = {inputs_[static_cast<size_t>(InputAttributes::of(node.attributes).index)]};
      alone.function.arguments.push_back({"x", node.outputs[0]});
      node.attributes = InputAttributes{node.outputs[0], 0}.pack();
    }
    for (Value& input : node.inputs) input = carry(input, alone);
    const size_t outputs = node.outputs.size();
    const NodeId copy = alone.function.graph.append(std::move(node));
    for (uint32_t i = 0; i < outputs; ++i) alone.function.results.push_back({"y", {copy, i}});
    return run(std::move(alone.function), alone.inputs, backend_);
  }

  /// A value in a function of its own: views and constants as they are, others as arguments.
  Value carry(Value value, Alone& alone) {
    if (const auto found = alone.carried.find(value); found != alone.carried.end())
      return found->second;
    Node node = function_.graph.node(value.node);
    Value carried;
    if (node.op->view || is(value.node, "constant")) {
      for (Value& input : node.inputs) input = carry(input, alone);
      carried = {alone.function.graph.append(std::move(node)), value.output};
    } else {
      alone.inputs.push_back(values_[value.node][value.output]);
      carried = alone.function.argument("x", alone.inputs.back().type).value();
    }
    return alone.carried[value] = carried;
  }

  const Function& function_;
  const std::vector<Array>& inputs_;
  const Backend& backend_;
  std::vector<std::vector<Array>> values_;
};

}  // namespace

RandomFunction random_function(uint32_t seed, DType real) { return Generator(seed, real).make(); }

RandomFunction random_rows(uint32_t seed) { return RowsGenerator(seed).make(); }

std::vector<Array> run_eagerly(const Function& function, const std::vector<Array>& inputs,
                               const Backend& backend) {
  return EagerRun(function, inputs, backend).results();
}

}  // namespace levanter::testing
