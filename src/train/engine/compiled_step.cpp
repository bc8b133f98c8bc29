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

/// Of the parameters and the results of a function of gradients.
FlatLayout lay_out(const Function& gradients, const std::vector<nn::Param>& params) {
  FlatLayout layout;
  int64_t end = 0;
  const auto take = [&end](int64_t elements) {
    const int64_t offset = end;
    end += aligned(elements);
    return offset;
  };
  size_t trained = 0;
  for (const nn::Param& param : params) {
    layout.offsets.push_back(param.trainable ? take(param.type.elements()) : 0);
    trained += param.trainable;
  }
  for (size_t i = trained; i < gradients.results.size(); ++i) {
    const Result& report = gradients.results[i];
    layout.reported.push_back({report.name, gradients.graph.type(report.value).elements()});
    layout.offsets.push_back(take(layout.reported.back().elements));
  }
  layout.elements = end;
  for (size_t i = 0; i < params.size(); ++i)
    if (!params[i].trainable) layout.offsets[i] = take(params[i].type.elements());
  layout.all_elements = end;
  return layout;
}

StateLayout lay_out_state(const StepOptions& o, const std::vector<nn::Param>& params,
                          const FlatLayout& flat) {
  StateLayout layout;
  for (size_t i = 0; i < params.size(); ++i) {
    if (!params[i].trainable) continue;
    for (optim::StateArray& array : o.optimizer.state(o.optimizer_config, params[i])) {
      size_t part = 0;
      while (part < layout.parts.size() && layout.parts[part].name != array.name) ++part;
      if (part == layout.parts.size()) layout.parts.push_back({array.name});
      int64_t& end = layout.parts[part].elements;
      const int64_t elements = array.type.elements();
      layout.places.push_back({i, std::move(array), part, end});
      end += aligned(elements);
    }
  }
  for (StateLayout::Part& part : layout.parts) part.elements += flat.elements - flat.offset_of(0);
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
      layout(lay_out(first, params)),
      state(lay_out_state(o, params, layout)),
      groups(dist::groups_of_rank(o.groups, o.ranks, o.rank)),
      gradients(make(hoist_packs(std::move(first)), o, backend)),
      update(former
                 ? std::move(former->update)
                 : make(trace_update(o.model, o.shape, o.optimizer, o.optimizer_config, o.limits),
                        o, backend)),
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

infer::ParameterLayout FlatLayout::parameters() const {
  return {{offsets.begin(), offsets.end() - std::ssize(reported)}, all_elements};
}

int64_t CompiledStep::input_bytes() const {
  const int64_t losses = options.shape.batch * options.shape.position;
  return batch.bytes() + (aligned(kScalars) + aligned(losses)) * 4;
}

int64_t CompiledStep::state_bytes() const {
  int64_t total = layout.parameter_bytes();
  for (const StateLayout::Part& part : state.parts) total += part.bytes();
  return total;
}

std::vector<MemoryLine> CompiledStep::persistent() const {
  std::vector<MemoryLine> lines = {{"parameters", layout.parameter_bytes()}};
  if (pack) lines.push_back({"packed parameters", packing.bytes()});
  for (const StateLayout::Part& part : state.parts)
    lines.push_back({"optimizer " + part.name, part.bytes()});
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

int64_t CompiledStep::first_run_bytes() const {
  return std::max(
      {gradients.first_run_bytes(), update.first_run_bytes(), evaluation.first_run_bytes(),
       gradients_next ? gradients_next->first_run_bytes() : 0, pack ? pack->first_run_bytes() : 0});
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
