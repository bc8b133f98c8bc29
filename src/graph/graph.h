// The traced program: nodes in topological order, and the handle that model code holds.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "axes/axes.h"
#include "graph/op.h"

namespace levanter {

using NodeId = uint32_t;

/// One output of one node.
struct Value {
  NodeId node = UINT32_MAX;
  uint32_t output = 0;
  bool operator==(const Value&) const = default;
  auto operator<=>(const Value&) const = default;
};

/// A handle to a value of a graph: 16 bytes, copied freely; default-made it refers to nothing.
class NamedArray {
 public:
  NamedArray() = default;
  NamedArray(Graph& graph, Value value)
      : graph_(&graph), node_(value.node), output_(value.output) {}

  explicit operator bool() const { return graph_ != nullptr; }
  Graph& graph() const { return *graph_; }
  Value value() const { return {node_, output_}; }
  const Type& type() const;
  const Axes& axes() const { return type().axes; }
  DType dtype() const { return type().dtype; }

 private:
  Graph* graph_ = nullptr;
  NodeId node_ = UINT32_MAX;
  uint32_t output_ = 0;
};

/// The first operand of an op: it notes the line of model code that applies the op.
struct Operand {
  Operand(NamedArray a,  // NOLINT: conversion is the point
          std::source_location w = std::source_location::current())
      : array(a), where(w) {}
  NamedArray array;
  std::source_location where;
};

/// What the backward pass keeps of a region and what it computes again.
enum class Remat : uint8_t {
  kNone,      ///< keep all that backward needs
  kSaveDots,  ///< keep the region's inputs and the outputs of products and attention
  kFull,      ///< keep the region's inputs
  kNames,     ///< keep the region's inputs and the values that carry one of its names
};

enum class Phase : uint8_t { kForward, kBackward, kUpdate };

/// A traced block of a model: the unit of rematerialisation. Region 0 is "outside".
struct Region {
  std::string name;
  Remat remat = Remat::kNone;
  std::vector<std::string> saved = {};  ///< with kNames: the names, see checkpoint_name
  /// Above 0: of the regions with this number, one after the other, only the first one's inputs are
  /// kept; the others' are computed again when the backward pass reaches the last.
  uint32_t group = 0;
};

/// Where a node comes from: module path, source line, region, phase, and which copy it is.
struct Origin {
  uint32_t path = 0;  ///< index into the graph's table of module paths
  uint32_t region = 0;
  Phase phase = Phase::kForward;
  uint32_t generation = 0;  ///< above 0 for a rematerialised copy; copies are never merged
  uint32_t name = 0;        ///< index into the graph's table of names that checkpoint_name gives
  std::source_location where;
};

struct Body;

struct Node {
  const Op* op = nullptr;
  Attributes attributes;
  std::vector<Value> inputs;
  std::vector<Type> outputs;
  Origin origin;
  std::shared_ptr<const Body> body = nullptr;  ///< what a `fused` node computes; shared by copies
};

/// Nodes in the order they were traced, which is a topological order. Passes make new graphs.
class Graph {
 public:
  /// `real` is the type of parameters, losses and sums: f32, or f64 for checking gradients.
  /// `compute` is the type of activations and of the factors of products: `real` itself, or bf16.
  explicit Graph(DType real = DType::f32) : Graph(real, real) {}
  Graph(DType real, DType compute);
  Graph(Graph&&) = default;
  Graph& operator=(Graph&&) = default;

  DType real() const { return real_; }
  DType compute() const { return compute_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const Node& node(NodeId id) const { return nodes_[id]; }
  const Type& type(Value value) const { return nodes_[value.node].outputs[value.output]; }
  /// The types of a node's inputs, in order.
  std::vector<Type> input_types(const Node& node) const;

  /// Appends a node whose output types the op infers. Errors name op, operands, path and line.
  NamedArray add(const Op& op, Attributes attributes, std::vector<Value> inputs,
                 std::source_location where = std::source_location::current());
  NamedArray add(const Op& op, Attributes attributes, std::span<const NamedArray> inputs,
                 std::source_location where = std::source_location::current());
  /// Appends a copy of another graph's node with its inputs already mapped into this graph.
  NodeId append(Node node) {
    nodes_.push_back(std::move(node));
    return static_cast<NodeId>(nodes_.size() - 1);
  }

  const std::string& path(uint32_t id) const { return tables_->paths[id]; }
  const Region& region(uint32_t id) const { return tables_->regions[id]; }
  /// "transformer.h.0.attn, src/models/gpt2.cpp:52".
  std::string describe(NodeId id) const;
  /// The whole graph, a node a line: for tests, golden files and reading.
  std::string print() const;

  /// What the next nodes are stamped with.
  const Origin& origin() const { return origin_; }
  bool keeps_location() const { return keep_location_; }
  void set_origin(Origin origin, bool keep_location) {
    origin_ = origin;
    keep_location_ = keep_location;
  }
  uint32_t intern_path(std::string_view path);
  /// The name that checkpoint_name gave the node's values, or "".
  const std::string& name(uint32_t id) const { return tables_->names[id]; }
  void set_name(NodeId id, std::string_view name);
  uint32_t add_region(Region region);

  /// An empty graph with the same tables of paths and regions, for a pass to fill.
  Graph empty_copy() const;

 private:
  std::string print_lines(const std::string& indent) const;

  struct Tables {
    std::deque<std::string> paths{""};
    std::deque<std::string> names{""};
    std::deque<Region> regions{Region{}};
  };
  DType real_, compute_;
  std::vector<Node> nodes_;
  std::shared_ptr<Tables> tables_;
  Origin origin_;
  bool keep_location_ = false;
};

/// Returns x, which the remat policy save(name) then keeps, with the other outputs of its node. It
/// makes no node and changes no number.
NamedArray checkpoint_name(NamedArray x, std::string_view name);

/// The program of a `fused` node: its i-th `input` node stands for the node's input i.
struct Body {
  Graph graph;
  std::vector<Value> results;  ///< the fused node's outputs
};

/// While it lives, new nodes carry this origin (the path, region and phase, and with
/// `keep_location` the source line too).
class OriginScope {
 public:
  OriginScope(Graph& graph, const Origin& origin, bool keep_location);
  ~OriginScope();
  OriginScope(const OriginScope&) = delete;
  OriginScope& operator=(const OriginScope&) = delete;

 private:
  Graph& graph_;
  Origin saved_;
  bool saved_keep_location_;
};

/// What a gradient rule sees: the node, its values, the cotangents of its outputs (an empty handle
/// where none arrived), and the places for the cotangents of its inputs.
struct GradientCall {
  Graph& graph;
  const Node node;  // a copy: appending to the graph moves its nodes
  std::vector<NamedArray> inputs, outputs;
  std::vector<NamedArray> output_cotangents;
  std::vector<NamedArray> input_cotangents;
  std::vector<bool> wanted;  ///< inputs whose cotangent leads to something asked for
};

}  // namespace levanter
