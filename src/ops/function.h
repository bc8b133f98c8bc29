// A traced program with its arguments and results: what the passes transform and compile takes.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace levanter {

/// An array that the caller binds: the i-th `input` node reads it.
struct Argument {
  std::string name;  ///< a parameter's path, or "tokens", "lr", ...
  Type type;
};

/// A value that the function computes. Its memory is the caller's: the buffer of the argument that
/// it replaces (`donated`), or one of its own.
struct Result {
  std::string name;
  Value value;
  int donated = -1;  ///< index of the argument whose buffer it takes over, or -1
};

struct Function {
  std::string name;
  Graph graph;
  std::vector<Argument> arguments;
  std::vector<Result> results;

  explicit Function(std::string function_name, DType real = DType::f32)
      : name(std::move(function_name)), graph(real) {}
  Function(std::string function_name, Graph empty)
      : name(std::move(function_name)), graph(std::move(empty)) {}

  /// A new argument, as a value of the graph.
  NamedArray argument(std::string argument_name, const Type& type,
                      std::source_location where = std::source_location::current());
  void result(std::string result_name, NamedArray value, int donated = -1) {
    results.push_back({std::move(result_name), value.value(), donated});
  }
  /// The same arguments and an empty graph: what a pass fills.
  Function empty_copy() const;
};

}  // namespace levanter
