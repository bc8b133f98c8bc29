// Adds arguments to a traced program, and makes an empty copy of one for a pass to fill.
#include "ops/function.h"

#include "ops/ops.h"

namespace levanter {

NamedArray Function::argument(std::string argument_name, const Type& type,
                              std::source_location where) {
  arguments.push_back({std::move(argument_name), type});
  return input(graph, type, static_cast<int64_t>(arguments.size()) - 1, where);
}

Function Function::empty_copy() const {
  Function copy(name, graph.empty_copy());
  copy.arguments = arguments;
  return copy;
}

}  // namespace levanter
