// Adds nodes to the traced program, each checked by its op's type rule.
#include "graph/graph.h"

#include <bit>

#include "base/error.h"
#include "base/strings.h"

namespace levanter {

void type_error(std::string message) { throw Error(ErrorKind::kInternal, std::move(message)); }

size_t hash_of(const Attributes& attributes) {
  size_t h = 0;
  const auto mix = [&h](uint64_t x) { h = (h ^ x) * 0x9e3779b97f4a7c15ull; };
  mix(static_cast<uint64_t>(attributes.code));
  mix(attributes.axis.id());
  for (const Axis& axis : attributes.axes)
    mix(axis.name.id() * 31ull + static_cast<uint64_t>(axis.size));
  for (const int64_t i : attributes.ints) mix(static_cast<uint64_t>(i));
  for (const double r : attributes.reals) mix(std::bit_cast<uint64_t>(r));
  return h;
}

bool View::is_contiguous() const {
  int64_t stride = 1;
  for (size_t i = axes.size(); i-- > 0; stride *= axes[i].size)
    if (axes[i].size != 1 && strides[i] != stride) return false;
  return true;
}

const Type& NamedArray::type() const {
  LEV_CHECK(graph_ != nullptr, "an empty NamedArray has no type");
  return graph_->type(value());
}

Graph::Graph(DType real, DType compute)
    : real_(real), compute_(compute), tables_(std::make_shared<Tables>()) {}

std::vector<Type> Graph::input_types(const Node& node) const {
  std::vector<Type> types;
  types.reserve(node.inputs.size());
  for (const Value& input : node.inputs) types.push_back(type(input));
  return types;
}

namespace {

/// The path of a source file from the project's own folders on, whatever the build called it.
std::string_view short_file(std::string_view file) {
  for (const std::string_view folder : {"src/", "kernels/", "tests/"})
    if (const size_t at = file.rfind(folder); at != std::string_view::npos) return file.substr(at);
  return file;
}

/// The index of `text` in a table, to which it is added unless it is among the last ones: a module
/// is mostly entered again soon, and one that comes back late stands there twice, which does no
/// harm.
uint32_t intern(std::deque<std::string>& table, std::string_view text) {
  constexpr size_t kLast = 64;
  for (size_t i = table.size(); i-- > 0 && i + kLast >= table.size();)
    if (table[i] == text) return static_cast<uint32_t>(i);
  table.emplace_back(text);
  return static_cast<uint32_t>(table.size() - 1);
}

std::string place(const std::string& path, const std::source_location& where) {
  const std::string line = cat(short_file(where.file_name()), ":", where.line());
  return path.empty() ? line : cat(path, ", ", line);
}

}  // namespace

NamedArray Graph::add(const Op& op, Attributes attributes, std::vector<Value> inputs,
                      std::source_location where) {
  Node node{&op, attributes, std::move(inputs), {}, origin_};
  if (!keep_location_) node.origin.where = where;
  const std::vector<Type> types = input_types(node);
  try {
    node.outputs = op.infer(node.attributes, types);
  } catch (const Error& error) {
    std::string operands;
    for (const Type& type : types) operands += cat(operands.empty() ? "" : ", ", to_string(type));
    throw Error(error.kind(), cat(op.name, ": ", error.message()))
        .at(place(path(node.origin.path), node.origin.where))
        .hint(cat("the operands are ", operands));
  }
  return {*this, Value{append(std::move(node)), 0}};
}

NamedArray Graph::add(const Op& op, Attributes attributes, std::span<const NamedArray> inputs,
                      std::source_location where) {
  std::vector<Value> values;
  values.reserve(inputs.size());
  for (const NamedArray& input : inputs) {
    LEV_CHECK(input && &input.graph() == this, cat(op.name, ": an operand of another graph"));
    values.push_back(input.value());
  }
  return add(op, attributes, std::move(values), where);
}

std::string Graph::describe(NodeId id) const {
  const Origin& origin = nodes_[id].origin;
  return place(path(origin.path), origin.where);
}

std::string Graph::print() const { return print_lines(""); }

std::string Graph::print_lines(const std::string& indent) const {
  std::string text;
  for (NodeId id = 0; id < nodes_.size(); ++id) {
    const Node& node = nodes_[id];
    text += cat(indent, "%", id, " = ", node.op->name);
    if (node.attributes.code) text += cat("#", node.attributes.code);
    text += "(";
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      text += cat(i ? ", " : "", "%", node.inputs[i].node);
      if (node.inputs[i].output) text += cat(".", node.inputs[i].output);
    }
    text += ")";
    for (const Type& type : node.outputs) text += cat(" ", to_string(type));
    if (const std::string& module = path(node.origin.path); !module.empty())
      text += cat("  ; ", module);
    text += "\n";
    if (!node.body) continue;
    text += node.body->graph.print_lines(indent + "  ");
    text += indent + "  results";
    for (const Value& result : node.body->results)
      text += cat(" %", result.node, result.output ? cat(".", result.output) : std::string());
    text += "\n";
  }
  return text;
}

uint32_t Graph::intern_path(std::string_view path) { return intern(tables_->paths, path); }

void Graph::set_name(NodeId id, std::string_view name) {
  nodes_[id].origin.name = intern(tables_->names, name);
}

NamedArray checkpoint_name(NamedArray x, std::string_view name) {
  x.graph().set_name(x.value().node, name);
  return x;
}

uint32_t Graph::add_region(Region region) {
  tables_->regions.push_back(std::move(region));
  return static_cast<uint32_t>(tables_->regions.size() - 1);
}

Graph Graph::empty_copy() const {
  Graph copy(real_, compute_);
  copy.tables_ = tables_;
  return copy;
}

OriginScope::OriginScope(Graph& graph, const Origin& origin, bool keep_location)
    : graph_(graph), saved_(graph.origin()), saved_keep_location_(graph.keeps_location()) {
  graph_.set_origin(origin, keep_location);
}

OriginScope::~OriginScope() { graph_.set_origin(saved_, saved_keep_location_); }

}  // namespace levanter
