// The packed forms of parameters that compiled functions read: which, where, and what makes them.
#include "infer/packing.h"

#include <set>
#include <string_view>

#include "base/integers.h"
#include "passes/passes.h"

namespace levanter::infer {

namespace {
constexpr int64_t kAlignment = 64;
}  // namespace

Packing::Packing(const std::vector<nn::Param>& params,
                 std::initializer_list<const Executable*> readers, const std::vector<bool>& held) {
  std::set<std::string_view> read;
  for (const Executable* reader : readers)
    if (reader)
      for (const Argument& argument : reader->arguments()) read.insert(argument.name);
  for (size_t i = 0; i < params.size(); ++i) {
    if (!read.contains(packed_name(params[i].path)) || (!held.empty() && !held[i])) continue;
    packed_.push_back({i, params[i].path, params[i].type, bytes_, params[i].trainable});
    const int64_t size = params[i].type.elements() * size_of(DType::bf16);
    bytes_ += round_up(size, kAlignment);
  }
}

std::vector<size_t> Packing::params() const {
  std::vector<size_t> indices;
  for (const Packed& p : packed_) indices.push_back(p.param);
  return indices;
}

Function Packing::function(Which which) const {
  Function f("pack", Graph(DType::f32, DType::bf16));
  Origin origin;
  origin.phase = Phase::kUpdate;
  const OriginScope scope(f.graph, origin, false);
  for (const Packed& p : packed_)
    if (which == Which::kAll || p.trainable == (which == Which::kTrained))
      f.result(packed_name(p.path), pack(f.argument(p.path, p.type)));
  return f;
}

void Packing::add_places(std::byte* memory, Addresses& addresses) const {
  for (const Packed& p : packed_) addresses[packed_name(p.path)] = memory + p.offset;
}

}  // namespace levanter::infer
