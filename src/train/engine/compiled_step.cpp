// Compiles a run's functions and counts every byte that they need, without allocating any.
#include "train/engine/compiled_step.h"

#include <algorithm>

#include "base/integers.h"
#include "dist/gradient_sum.h"
#include "passes/passes.h"

namespace levanter::train {

namespace {

constexpr int64_t kAlignment = 16;  // elements of f32: 64 bytes

int64_t aligned(int64_t elements) { return round_up(elements, kAlignment); }

/// Of the results of a function of gradients.
FlatLayout lay_out(const Function& gradients, size_t params) {
  FlatLayout layout;
  for (const Result& result : gradients.results) {
    const int64_t elements = gradients.graph.type(result.value).elements();
    if (layout.offsets.size() >= params) layout.reported.push_back({result.name, elements});
    layout.offsets.push_back(layout.elements);
    layout.elements += aligned(elements);
  }
  return layout;
}

Executable make(Function function, const StepOptions& options, const Backend& backend) {
  return compile(options.optimise
                     ? optimise(function, backend,
                                {.fuse = options.fuse, .schedule_seed = options.schedule_seed})
                     : decompose(std::move(function), backend),
                 backend, {.debug = options.debug});
}

/// Whether some group of these has more than one microbatch.
bool accumulates(const StepOptions& o, dist::GroupRange groups) {
  for (int64_t g = groups.begin; g < groups.end; ++g)
    if (dist::microbatches_of_group(o.microbatches, o.groups, g).size() > 1) return true;
  return false;
}

}  // namespace

CompiledStep::CompiledStep(const StepOptions& o, const Backend& backend, CompiledStep* former,
                           Function first)
    : options(o),
      params(infer::trace_params(o.model, o.shape)),
      layout(lay_out(first, params.size())),
      groups(dist::groups_of_rank(o.groups, o.ranks, o.rank)),
      gradients(make(hoist_packs(std::move(first)), o, backend)),
      update(former ? std::move(former->update)
                    : make(trace_update(o.model, o.shape, o.optimizer, o.optimizer_config), o,
                           backend)),
      evaluation(former && former->options.shape.batch == o.shape.batch
                     ? std::move(former->evaluation)
                     : make(hoist_packs(infer::trace_evaluation(o.model, o.shape, *o.objective)), o,
                            backend)) {
  tree = dist::schedule_tree(o.groups, groups);
  if (accumulates(o, groups))
    gradients_next.emplace(
        make(hoist_packs(trace_gradients(o.model, o.shape, *o.objective, Accumulate::kNext)), o,
             backend));
  const std::initializer_list<const Executable*> readers = {
      &gradients, gradients_next ? &*gradients_next : nullptr, &evaluation};
  batch = infer::BatchLayout(readers);
  packing = infer::Packing(params, readers);
  if (!packing.empty()) pack.emplace(make(packing.function(), o, backend));
}

int64_t CompiledStep::input_bytes() const {
  const int64_t losses = options.shape.batch * options.shape.position;
  return batch.bytes() + (aligned(kScalars) + aligned(losses)) * 4;
}

int64_t CompiledStep::state_bytes() const {
  return layout.bytes() * (1 + static_cast<int64_t>(options.optimizer.state_names.size()));
}

std::vector<MemoryLine> CompiledStep::persistent() const {
  std::vector<MemoryLine> lines = {{"parameters", layout.bytes()}};
  if (pack) lines.push_back({"packed parameters", packing.bytes()});
  for (const std::string_view name : options.optimizer.state_names)
    lines.push_back({"optimizer " + std::string(name), layout.bytes()});
  lines.push_back({"gradients", layout.bytes() * gradient_buffers()});
  if (options.ranks > 1)
    lines.push_back({"gradient exchange", dist::GradientSum::staging_bytes(
                                              options.ranks, options.groups, layout.elements)});
  lines.push_back({"inputs", input_bytes()});
  int64_t constants =
      gradients.constant_bytes() + update.constant_bytes() + evaluation.constant_bytes();
  if (gradients_next) constants += gradients_next->constant_bytes();
  if (pack) constants += pack->constant_bytes();
  lines.push_back({"constants", constants});
  int64_t debug = gradients.debug_bytes() + update.debug_bytes() + evaluation.debug_bytes();
  if (gradients_next) debug += gradients_next->debug_bytes();
  if (pack) debug += pack->debug_bytes();
  if (options.debug) lines.push_back({"map of writers", debug});
  return lines;
}

int64_t CompiledStep::persistent_bytes() const {
  int64_t total = 0;
  for (const MemoryLine& line : persistent()) total += line.bytes;
  return total;
}

int64_t CompiledStep::arena_bytes() const {
  return std::max({gradients.arena_bytes(), update.arena_bytes(), evaluation.arena_bytes(),
                   gradients_next ? gradients_next->arena_bytes() : 0,
                   pack ? pack->arena_bytes() : 0});
}

int64_t CompiledStep::workspace_bytes() const {
  return std::max(
      {gradients.workspace_bytes(), update.workspace_bytes(), evaluation.workspace_bytes(),
       gradients_next ? gradients_next->workspace_bytes() : 0, pack ? pack->workspace_bytes() : 0});
}

int64_t CompiledStep::parameter_count() const {
  int64_t total = 0;
  for (const nn::Param& param : params) total += param.type.elements();
  return total;
}

double CompiledStep::flops_per_token() const {
  return infer::flops_per_token(options.model, params, options.shape.position);
}

int64_t staging_bytes(int64_t state_bytes) {
  constexpr int64_t kMost = int64_t{256} << 20;
  return std::min(state_bytes, kMost);
}

}  // namespace levanter::train
