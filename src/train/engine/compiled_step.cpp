// Compiles a run's functions and counts every byte that they need, without allocating any.
#include "train/engine/compiled_step.h"

#include <algorithm>
#include <set>

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
    if (!params[i].trainable) layout.offsets[i] = take(infer::room_of(params[i]));
  layout.all_elements = end;
  return layout;
}

/// For each rank, which of the parameters that are trained are its own, in their order.
std::vector<dist::Shard> own_parameters(const StepOptions& o,
                                        const std::vector<nn::Param>& params) {
  std::vector<int64_t> sizes;
  for (const nn::Param& param : trained(params)) sizes.push_back(aligned(param.type.elements()));
  return dist::whole_shards(sizes, o.ranks);
}

/// Each rank's part of a flat array of gradients.
std::vector<dist::Shard> shard_gradients(const StepOptions& o, const std::vector<nn::Param>& params,
                                         const FlatLayout& layout,
                                         std::span<const dist::Shard> own) {
  if (own.empty()) return dist::equal_shards(layout.elements, o.ranks);
  std::vector<int64_t> begins;  // of each that is trained, and of the reports
  for (size_t i = 0; i < params.size(); ++i)
    if (params[i].trainable) begins.push_back(layout.offsets[i]);
  begins.push_back(layout.offset_of(0));
  std::vector<dist::Shard> shards;
  for (const dist::Shard& params_of_rank : own)
    shards.push_back({begins[static_cast<size_t>(params_of_rank.begin)],
                      begins[static_cast<size_t>(params_of_rank.end)]});
  shards.back().end = layout.elements;
  return shards;
}

/// Which of the parameters that are trained the rank owns; none where each has all.
Owned owned_by(const StepOptions& o, std::span<const dist::Shard> own) {
  if (own.empty()) return {};
  Owned owned(static_cast<size_t>(own.back().end));
  const dist::Shard& mine = own[static_cast<size_t>(o.rank)];
  std::fill(owned.begin() + mine.begin, owned.begin() + mine.end, true);
  return owned;
}

StateLayout lay_out_state(const StepOptions& o, const std::vector<nn::Param>& params,
                          const FlatLayout& flat, const Owned& owned) {
  StateLayout layout;
  size_t trained = 0;
  for (size_t i = 0; i < params.size(); ++i) {
    if (!params[i].trainable) continue;
    const size_t at = trained++;
    if (!owned.empty() && !owned[at]) continue;
    for (optim::StateArray& array : o.optimizer->state(params[i])) {
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

Function optimised(Function function, const StepOptions& o, const Backend& backend) {
  if (!o.optimise) return decompose(std::move(function), backend);
  return optimise(function, backend, {.fuse = o.fuse, .schedule_seed = o.schedule_seed});
}

Executable make(Function function, const StepOptions& options, const Backend& backend) {
  return compile(optimised(std::move(function), options, backend), backend,
                 {.debug = options.debug});
}

/// Whose parameters are in parts over the ranks, `own` of each.
dist::Owners owners_of(const std::vector<nn::Param>& params, std::span<const dist::Shard> own) {
  dist::Owners owners;
  const std::vector<nn::Param> all = trained(params);
  for (size_t rank = 0; rank < own.size(); ++rank)
    for (int64_t i = own[rank].begin; i < own[rank].end; ++i) {
      const std::string& path = all[static_cast<size_t>(i)].path;
      owners[path] = owners[packed_name(path)] = static_cast<int64_t>(rank);
    }
  return owners;
}

/// A function that reads parameters, which it gathers if each rank has some.
Executable make_reader(const Function& traced, const StepOptions& o, const Backend& backend,
                       const dist::Owners& owners) {
  Function hoisted = hoist_packs(traced);
  if (owners.empty()) return make(std::move(hoisted), o, backend);
  std::set<std::string> names;
  for (const auto& [name, owner] : owners) names.insert(name);
  GatherUnits units = gather_units(hoisted, names);
  if (o.schedule_seed) {  // an order that is drawn may be another for each function
    for (int& unit : units.of) unit = std::min(unit, 0);
    units.once = true;
  }
  return compile(gather_parameters(optimised(std::move(hoisted), o, backend), units), backend,
                 {.debug = o.debug});
}

int64_t link_bytes(const StepOptions& o, const Backend& backend) {
  const DeviceNetwork* const network = backend.network();
  return network && o.ranks > 1 ? network->link_bytes(o.ranks) : 0;
}

/// The squares of the rank's own gradients, where there are such.
std::optional<Executable> make_squares(const StepOptions& o, const Backend& backend,
                                       std::span<const dist::Shard> own) {
  if (own.empty() || own[static_cast<size_t>(o.rank)].size() == 0) return std::nullopt;
  return make(trace_squares(o.model, o.shape, owned_by(o, own)), o, backend);
}

int64_t bytes_of_samples(const StepOptions& o, const Backend& backend) {
  if (o.samples.rows == 0) return 0;
  return infer::generation_bytes(o.model, o.shape.vocab_size, o.samples, backend,
                                 o.shape.compute.value_or(o.shape.real));
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
      groups(dist::groups_of_rank(o.groups, o.ranks, o.rank)),
      owned_(is_sharded() ? own_parameters(o, params) : std::vector<dist::Shard>()),
      link_bytes_(link_bytes(o, backend)),
      sample_bytes_(former ? former->sample_bytes_ : bytes_of_samples(o, backend)),
      state(lay_out_state(o, params, layout, owned_by(o, owned_))),
      shards(shard_gradients(o, params, layout, owned_)),
      gradients(make_reader(first, o, backend, owners())),
      squares(former ? std::move(former->squares) : make_squares(o, backend, owned_)),
      update(former
                 ? std::move(former->update)
                 : make(trace_update(o.model, o.shape, *o.optimizer, o.limits, owned_by(o, owned_)),
                        o, backend)),
      evaluation(former && former->options.shape.batch == o.shape.batch
                     ? std::move(former->evaluation)
                     : make_reader(infer::trace_evaluation(o.model, o.shape, *o.objective), o,
                                   backend, owners())) {
  if (former && former->watched_update)
    watched_update.emplace(*std::move(former->watched_update));
  else if (!watched().empty())
    watched_update.emplace(
        make(trace_update(o.model, o.shape, *o.optimizer, o.limits, owned_by(o, owned_), o.watch),
             o, backend));
  using By = optim::Refresh::By;
  const auto make_refresh = [&](By by, auto CompiledStep::*which) {
    if (!o.optimizer->refreshes(by)) return;
    if (former)
      (this->*which).emplace(*std::move(former->*which));
    else
      (this->*which)
          .emplace(make(trace_refresh(o.model, o.shape, *o.optimizer, by,
                                      o.limits && by != By::kDrawnLabels, owned_by(o, owned_)),
                        o, backend));
  };
  make_refresh(By::kFirstGradient, &CompiledStep::first_refresh);
  make_refresh(By::kGradient, &CompiledStep::refresh);
  make_refresh(By::kDrawnLabels, &CompiledStep::refresh_drawn);
  if (o.model.adapter) {
    Function function = infer::trace_beginnings(o.model, o.shape, elsewhere());
    if (!function.results.empty()) beginnings.emplace(make(std::move(function), o, backend));
  }
  const auto make_gradients = [&](const models::Objective& objective, Accumulate mode) {
    return make_reader(trace_gradients(o.model, o.shape, objective, mode), o, backend, owners());
  };
  const auto make_next = [&](const models::Objective& objective, const Executable& before) {
    Executable next = make_gradients(objective, Accumulate::kNext);
    LEV_CHECK(next.gathers() == before.gathers(),
              "two microbatches gather parameters in different orders");
    return next;
  };
  if (refresh_drawn) drawn.emplace(make_gradients(*o.drawn, Accumulate::kFirst));
  tree = dist::schedule_tree(o.groups, groups);
  if (accumulates(o, groups)) {
    gradients_next.emplace(make_next(*o.objective, gradients));
    if (refresh_drawn) drawn_next.emplace(make_next(*o.drawn, *drawn));
  }
  batch = infer::BatchLayout({&gradients, gradients_next ? &*gradients_next : nullptr, &evaluation,
                              drawn ? &*drawn : nullptr, drawn_next ? &*drawn_next : nullptr});
  packing = packing_of(o.rank);
  using Which = infer::Packing::Which;
  for (const auto& [packer, which] :
       {std::pair{&pack, Which::kTrained}, std::pair{&pack_frozen, Which::kFrozen}}) {
    Function function = packing.function(which);
    if (!function.results.empty()) packer->emplace(make(std::move(function), o, backend));
  }
}

dist::Owners CompiledStep::owners() const {
  return gathers() ? owners_of(params, owned_) : dist::Owners();
}

dist::Shard CompiledStep::updated() const {
  if (is_sharded()) return owned_[static_cast<size_t>(options.rank)];
  return {0, std::ssize(trained(params))};
}

std::vector<std::string> CompiledStep::watched() const {
  std::vector<std::string> names;
  for (const nn::Param& param : params)
    if (param.trainable)
      for (std::string& name : options.watch.metrics(param.path)) names.push_back(std::move(name));
  return names;
}

std::set<std::string> CompiledStep::elsewhere() const {
  std::set<std::string> paths;
  for (const auto& [name, rank] : owners())
    if (rank != options.rank) paths.insert(name);
  return paths;
}

infer::ParameterLayout CompiledStep::parameters_of(int64_t rank) const {
  infer::ParameterLayout all;
  all.offsets.assign(layout.offsets.begin(), layout.offsets.end() - std::ssize(layout.reported));
  all.elements = layout.all_elements;
  if (!gathers()) return all;
  const dist::Shard& shard = shards[static_cast<size_t>(rank)];
  const int64_t end = std::min(shard.end, layout.offset_of(0));  // the reports are no parameters
  const int64_t own = end - shard.begin;
  for (size_t i = 0; i < params.size(); ++i) {
    int64_t& offset = all.offsets[i];
    if (!params[i].trainable)
      offset += own - layout.elements;
    else if (offset < shard.begin || offset >= end)
      offset = infer::ParameterLayout::kElsewhere;
    else
      offset -= shard.begin;
  }
  all.elements += own - layout.elements;
  return all;
}

infer::Packing CompiledStep::packing_of(int64_t rank) const {
  const infer::ParameterLayout here = parameters_of(rank);
  std::vector<bool> held;
  for (const int64_t offset : here.offsets)
    held.push_back(offset != infer::ParameterLayout::kElsewhere);
  return {params, {&gradients, &evaluation, drawn ? &*drawn : nullptr}, held};
}

int64_t CompiledStep::held_elements() const {
  const dist::Shard all{0, layout.offset_of(0)};  // the reports are no parameters
  if (!gathers()) return all.size();
  const dist::Shard& own = shards[static_cast<size_t>(options.rank)];
  return std::min(own.end, all.end) - own.begin;
}

int64_t CompiledStep::rounds(int64_t microbatches) const {
  const auto microbatches_of = [&](int64_t rank) {
    const dist::GroupRange own = dist::groups_of_rank(options.groups, options.ranks, rank);
    int64_t count = 0;
    for (int64_t g = own.begin; g < own.end; ++g)
      count += dist::microbatches_of_group(microbatches, options.groups, g).size();
    return count;
  };
  int64_t most = microbatches_of(options.rank);
  for (int64_t rank = 0; gathers() && rank < options.ranks; ++rank)
    most = std::max(most, microbatches_of(rank));
  return most;
}

int64_t CompiledStep::input_bytes() const {
  const int64_t losses = options.shape.batch * options.shape.position;
  return batch.bytes() + (aligned(kScalars) + aligned(losses)) * 4;
}

int64_t CompiledStep::norm_reports() const { return aligned(owned_.back().end); }

int64_t CompiledStep::norm_elements() const {
  return norm_reports() + layout.elements - layout.offset_of(0);
}

std::vector<dist::Shard> CompiledStep::norm_shards() const {
  std::vector<dist::Shard> norms = owned_;
  norms.back().end = norm_elements();
  return norms;
}

int64_t CompiledStep::state_bytes() const {
  int64_t total = parameter_bytes(options.rank);
  if (options.model.adapter) total -= frozen_bytes();
  for (const StateLayout::Part& part : state.parts) total += part.bytes();
  return total;
}

std::vector<MemoryLine> CompiledStep::persistent() const {
  std::vector<MemoryLine> lines;
  if (options.model.adapter)
    lines = {{"frozen base", frozen_bytes()},
             {"adapter", parameter_bytes(options.rank) - frozen_bytes()}};
  else
    lines = {{"parameters", parameter_bytes(options.rank)}};
  if (!packing.empty()) lines.push_back({"packed parameters", packing.bytes()});
  for (const StateLayout::Part& part : state.parts)
    lines.push_back({"optimizer " + part.name, part.bytes()});
  lines.push_back({"gradients", layout.bytes() * gradient_buffers()});
  if (options.ranks > 1)
    lines.push_back({"gradient exchange",
                     dist::GradientSum::staging_bytes(options.groups, shards, options.rank)});
  if (link_bytes_ > 0) lines.push_back({"network (estimated)", link_bytes_});
  if (is_sharded()) lines.push_back({"parts of the norm", norm_elements() * 4});
  if (watched_update)
    lines.push_back({"watched values", std::ssize(watched()) * int64_t{sizeof(float)}});
  lines.push_back({"inputs", input_bytes()});
  int64_t constants = 0, debug = 0;
  for (const Executable* executable : executables()) {
    constants += executable->constant_bytes();
    debug += executable->debug_bytes();
  }
  lines.push_back({"constants", constants});
  if (options.debug) lines.push_back({"map of writers", debug});
  return lines;
}

int64_t CompiledStep::persistent_bytes() const {
  int64_t total = 0;
  for (const MemoryLine& line : persistent()) total += line.bytes;
  return total;
}

int64_t CompiledStep::optimizer_bytes(int64_t rank) const {
  StepOptions other = options;
  other.rank = rank;
  int64_t total = 0;
  for (const StateLayout::Part& part :
       lay_out_state(other, params, layout, owned_by(other, owned_)).parts)
    total += part.bytes();
  return total;
}

int64_t CompiledStep::save_bytes_of(int64_t rank) const {
  const int64_t optimizer = is_sharded() || rank == 0 ? optimizer_bytes(rank) : 0;
  if (rank == 0 && !options.model.adapter) return parameter_bytes(rank) + optimizer;
  if (rank > 0 && !gathers()) return optimizer;
  return parameter_bytes(rank) - frozen_bytes() + optimizer;  // the first saves what is frozen
}

int64_t CompiledStep::differing_bytes(int64_t rank) const {
  const int64_t staging =
      options.ranks > 1 ? dist::GradientSum::staging_bytes(options.groups, shards, rank) : 0;
  const dist::GroupRange own = dist::groups_of_rank(options.groups, options.ranks, rank);
  const int64_t stack = own.size() == 1 ? 0 : dist::schedule_tree(options.groups, own).depth;
  return parameter_bytes(rank) + packing_of(rank).bytes() + staging + optimizer_bytes(rank) +
         stack * layout.bytes();
}

int64_t CompiledStep::persistent_bytes_of(int64_t rank) const {
  return persistent_bytes() - differing_bytes(options.rank) + differing_bytes(rank);
}

SentBytes CompiledStep::sent_bytes_of(int64_t rank) const {
  const int64_t others = options.ranks - 1;
  if (others == 0) return {};
  const auto own = static_cast<size_t>(rank);
  const auto subtrees = dist::maximal_subtrees(
      options.groups, dist::groups_of_rank(options.groups, options.ranks, rank));
  SentBytes sent;
  sent.gradients = std::ssize(subtrees) * (layout.elements - shards[own].size()) * 4;
  if (!is_sharded()) {
    sent.gradients += others * shards[own].size() * 4;
    return sent;
  }
  sent.norm = others * norm_shards()[own].size() * 4;
  const dist::Owners owner = owners();
  for (const Gather& gather : gradients.gathers())
    for (size_t i = 0; i < gather.names.size(); ++i)
      if (owner.at(gather.names[i]) == rank)
        sent.gathers += rounds() * others * static_cast<int64_t>(gather.bytes[i]);
  if (!gathers()) {
    const int64_t end = std::min(shards[own].end, layout.offset_of(0));  // without the reports
    sent.parameters = others * (end - shards[own].begin) * 4;
  }
  return sent;
}

std::vector<const Executable*> CompiledStep::executables() const {
  std::vector<const Executable*> all = {&gradients, &update, &evaluation};
  for (const std::optional<Executable>* optional :
       {&gradients_next, &squares, &watched_update, &pack, &pack_frozen, &first_refresh, &refresh,
        &refresh_drawn, &drawn, &drawn_next, &beginnings})
    if (*optional) all.push_back(&**optional);
  return all;
}

int64_t CompiledStep::arena_bytes() const {
  int64_t most = 0;
  for (const Executable* e : executables()) most = std::max(most, e->arena_bytes());
  return most;
}

int64_t CompiledStep::workspace_bytes() const {
  int64_t most = 0;
  for (const Executable* e : executables()) most = std::max(most, e->workspace_bytes());
  return most;
}

int64_t CompiledStep::first_run_bytes() const {
  int64_t most = 0;
  for (const Executable* e : executables()) most = std::max(most, e->first_run_bytes());
  return most;
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
