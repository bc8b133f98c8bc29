// Arrays of which each rank has some, whole on all: one array an operand, in one exchange. The pass
// `gather_parameters` puts it before what reads them; on one rank it copies.
#include "ops/entries.h"
#include "ops/ops.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes&, std::span<const Type> in) {
  return {in.begin(), in.end()};
}

std::vector<NamedArray> decompose(Graph&, const Node&, std::span<const NamedArray> inputs) {
  std::vector<NamedArray> out;
  for (const NamedArray& held : inputs) out.push_back(copy(held));
  return out;
}

}  // namespace

namespace ops {
const Op all_gather_entry = {.name = "all_gather",
                             .summary = "arrays of which each rank has some, on all of them",
                             .infer = infer,
                             .decompose = decompose};
}  // namespace ops

std::vector<NamedArray> all_gather(std::span<const NamedArray> held, std::source_location where) {
  Graph& graph = held[0].graph();
  const NamedArray first = graph.add(ops::all_gather_entry, {}, held, where);
  std::vector<NamedArray> whole;
  for (uint32_t i = 0; i < held.size(); ++i)
    whole.emplace_back(graph, Value{first.value().node, i});
  return whole;
}

}  // namespace levanter
