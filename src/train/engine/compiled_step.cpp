// Compiles a run's functions and counts every byte that they need, without allocating any.
#include "train/engine/compiled_step.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "base/integers.h"
#include "base/strings.h"
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

std::vector<int64_t> rows_of_all(const StepOptions& o, const std::vector<nn::Param>& params) {
  std::vector<int64_t> rows;
  for (const nn::Param& param : params)
    rows.push_back(param.trainable ? o.optimizer->rows(param) : 1);
  return rows;
}

/// What each rank updates: the largest part is as small as it can be. Parameters are cut between
/// rows that begin at multiples of 64 bytes; not where they are gathered.
std::vector<std::vector<Piece>> cut(const StepOptions& o, const std::vector<nn::Param>& params) {
  const bool whole = o.sharding == dist::Sharding::kParameters;
  std::vector<Piece> units;
  std::vector<int64_t> sizes;
  for (const Piece& all : whole_pieces(params, *o.optimizer)) {
    const int64_t row = params[all.param].type.elements() / all.end;
    const int64_t step = whole ? all.end : kAlignment / std::gcd(row, kAlignment);
    for (int64_t at = 0; at < all.end; at += step) {
      units.push_back({all.param, at, std::min(at + step, all.end)});
      sizes.push_back(aligned((units.back().end - at) * row));
    }
  }
  std::vector<std::vector<Piece>> pieces;
  for (const dist::Shard& part : dist::whole_shards(sizes, o.ranks)) {
    std::vector<Piece>& own = pieces.emplace_back();
    for (int64_t i = part.begin; i < part.end; ++i) {
      const Piece& unit = units[static_cast<size_t>(i)];
      if (own.empty() || own.back().param != unit.param)
        own.push_back(unit);
      else
        own.back().end = unit.end;
    }
  }
  return pieces;
}

/// Parts of a flat array of `elements`, of which each rank's begins where place(its first piece)
/// says; from `reports` on it is the last rank's, though that may have no piece.
template <class Place>
std::vector<dist::Shard> parts_from(const std::vector<std::vector<Piece>>& pieces, int64_t reports,
                                    int64_t elements, const Place& place) {
  std::vector<dist::Shard> parts(pieces.size());
  int64_t end = reports;
  for (size_t r = pieces.size(); r-- > 0;) {
    parts[r] = {pieces[r].empty() ? end : place(pieces[r].front()), end};
    end = parts[r].begin;
  }
  parts.back().end = elements;
  return parts;
}

StateLayout lay_out_state(const StepOptions& o, const std::vector<nn::Param>& params,
                          const FlatLayout& flat, std::span<const int64_t> rows,
                          const std::vector<Piece>& pieces) {
  StateLayout layout;
  for (const Piece& piece : pieces) {
    const nn::Param param = piece_of(params[piece.param], rows[piece.param], piece);
    for (optim::StateArray& array : o.optimizer->state(param)) {
      size_t part = 0;
      while (part < layout.parts.size() && layout.parts[part].name != array.name) ++part;
      if (part == layout.parts.size()) layout.parts.push_back({array.name});
      int64_t& end = layout.parts[part].elements;
      const int64_t elements = array.type.elements();
      layout.places.push_back({piece, std::move(array), part, end});
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

/// Whose whole parameters are in parts over the ranks.
dist::Owners owners_of(const std::vector<nn::Param>& params,
                       const std::vector<std::vector<Piece>>& pieces) {
  dist::Owners owners;
  for (size_t rank = 0; rank < pieces.size(); ++rank)
    for (const Piece& piece : pieces[rank]) {
      const std::string& path = params[piece.param].path;
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

/// Of two that may run at a time on different ranks.
void require_same_gathers(const Executable& one, const Executable& other) {
  LEV_CHECK(one.gathers() == other.gathers(),
            "two microbatches gather parameters in different orders");
}

int64_t link_bytes(const StepOptions& o, const Backend& backend) {
  const DeviceNetwork* const network = backend.network();
  return network && o.ranks > 1 ? network->link_bytes(o.ranks) : 0;
}

/// The squares of the rank's own gradients, where there are such.
std::optional<Executable> make_squares(const StepOptions& o, const Backend& backend,
                                       const Pieces& own) {
  if (!own || own->empty()) return std::nullopt;
  return make(trace_squares(o.model, o.shape, *o.optimizer, own), o, backend);
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
      rows_(rows_of_all(o, params)),
      pieces_(is_sharded() ? cut(o, params) : std::vector<std::vector<Piece>>()),
      link_bytes_(link_bytes(o, backend)),
      sample_bytes_(former ? former->sample_bytes_ : bytes_of_samples(o, backend)),
      state(lay_out_state(o, params, layout, rows_, pieces_of(o.rank))),
      shards(is_sharded() ? parts_from(pieces_, layout.offset_of(0), layout.elements,
                                       [this](const Piece& piece) {
                                         return layout.offsets[piece.param] + first_element(piece);
                                       })
                          : dist::equal_shards(layout.elements, o.ranks)),
      gradients(make_reader(first, o, backend, owners())),
      squares(former ? std::move(former->squares) : make_squares(o, backend, own())),
      update(former
                 ? std::move(former->update)
                 : make(trace_update(o.model, o.shape, *o.optimizer, o.limits, own()), o, backend)),
      evaluation(former && former->options.shape.batch == o.shape.batch
                     ? std::move(former->evaluation)
                     : make_reader(infer::trace_evaluation(o.model, o.shape, *o.objective), o,
                                   backend, owners())) {
  if (o.watch.attention && o.rank == 0) {
    watched_gradients.emplace(
        make_reader(trace_gradients(o.model, o.shape, *o.objective, Accumulate::kFirst, o.watch), o,
                    backend, owners()));
    require_same_gathers(gradients, *watched_gradients);
    const std::vector<Result>& results = watched_gradients->results();
    for (size_t i = gradients.results().size(); i < results.size(); ++i)
      watched_attention_.push_back(results[i].name);
  }
  if (former && former->watched_update)
    watched_update.emplace(*std::move(former->watched_update));
  else if (watched_values(o.rank) > std::ssize(watched_attention_))
    watched_update.emplace(
        make(trace_update(o.model, o.shape, *o.optimizer, o.limits, own(), o.watch), o, backend));
  using By = optim::Refresh::By;
  const auto make_refresh = [&](By by, auto CompiledStep::*which) {
    if (!o.optimizer->refreshes(by)) return;
    if (former)
      (this->*which).emplace(*std::move(former->*which));
    else
      (this->*which)
          .emplace(make(trace_refresh(o.model, o.shape, *o.optimizer, by,
                                      o.limits && by != By::kDrawnLabels, own()),
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
    require_same_gathers(before, next);
    return next;
  };
  if (refresh_drawn) drawn.emplace(make_gradients(*o.drawn, Accumulate::kFirst));
  tree = dist::schedule_tree(o.groups, groups);
  if (accumulates(o, groups)) {
    gradients_next.emplace(make_next(*o.objective, gradients));
    if (refresh_drawn) drawn_next.emplace(make_next(*o.drawn, *drawn));
  }
  batch = infer::BatchLayout({&gradients, gradients_next ? &*gradients_next : nullptr, &evaluation,
                              drawn ? &*drawn : nullptr, drawn_next ? &*drawn_next : nullptr,
                              watched_gradients ? &*watched_gradients : nullptr});
  packing = packing_of(o.rank);
  using Which = infer::Packing::Which;
  for (const auto& [packer, which] :
       {std::pair{&pack, Which::kTrained}, std::pair{&pack_frozen, Which::kFrozen}}) {
    Function function = packing.function(which);
    if (!function.results.empty()) packer->emplace(make(std::move(function), o, backend));
  }
}

dist::Owners CompiledStep::owners() const {
  return gathers() ? owners_of(params, pieces_) : dist::Owners();
}

Pieces CompiledStep::own() const {
  if (!is_sharded()) return std::nullopt;
  return pieces_[static_cast<size_t>(options.rank)];
}

std::vector<Piece> CompiledStep::pieces_of(int64_t rank) const {
  if (is_sharded()) return pieces_[static_cast<size_t>(rank)];
  return whole_pieces(params, *options.optimizer);
}

int64_t CompiledStep::watched_values(int64_t rank) const {
  int64_t count = rank == 0 ? std::ssize(watched_attention_) : 0;
  for (const Piece& piece : pieces_of(rank))
    count +=
        (piece.end - piece.begin) * std::ssize(options.watch.squares(params[piece.param].path));
  return count;
}

std::vector<std::pair<std::string, double>> CompiledStep::watched_metrics(
    std::span<const float> values) const {
  using Squares = StepWatch::Squares;
  std::vector<std::pair<std::string, double>> metrics;
  for (const std::string& name : watched_attention_) {
    metrics.emplace_back(name, values[0]);
    values = values.subspan(1);
  }
  std::map<std::pair<size_t, Squares>, double> sums;  // row after row, whoever has them
  for (int64_t rank = 0; rank < (is_sharded() ? options.ranks : 1); ++rank)
    for (const Piece& piece : pieces_of(rank))
      for (const Squares squares : options.watch.squares(params[piece.param].path)) {
        const auto rows = static_cast<size_t>(piece.end - piece.begin);
        double& sum = sums[{piece.param, squares}];
        for (const float row : values.first(rows)) sum += row;
        values = values.subspan(rows);
      }
  LEV_CHECK(values.empty(), "watched values without names");
  for (const auto& [of, sum] : sums) {
    const auto& [param, squares] = of;
    const std::string& path = params[param].path;
    const double norm = std::sqrt(sum);
    if (squares == Squares::kGradient) metrics.emplace_back(cat("watch/grad_norm/", path), norm);
    if (squares == Squares::kParameter && options.watch.param_norm)
      metrics.emplace_back(cat("watch/param_norm/", path), norm);
    if (squares == Squares::kChange)
      metrics.emplace_back(cat("watch/update_ratio/", path),
                           norm / std::sqrt(sums.at({param, Squares::kParameter})));
  }
  return metrics;
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

int64_t CompiledStep::norm_place(size_t param) const {
  int64_t place = 0;
  for (size_t i = 0; i < param; ++i)
    if (params[i].trainable) place += rows_[i];
  return place;
}

int64_t CompiledStep::norm_reports() const { return aligned(norm_place(params.size())); }

int64_t CompiledStep::norm_elements() const {
  return norm_reports() + layout.elements - layout.offset_of(0);
}

std::vector<dist::Shard> CompiledStep::norm_shards() const {
  return parts_from(pieces_, norm_reports(), norm_elements(),
                    [this](const Piece& piece) { return norm_place(piece.param) + piece.begin; });
}

int64_t CompiledStep::state_bytes() const {
  int64_t total = parameter_bytes(options.rank) - base_bytes();
  for (const StateLayout::Part& part : state.parts) total += part.bytes();
  return total;
}

std::vector<MemoryLine> CompiledStep::base() const {
  std::vector<MemoryLine> lines;
  for (const nn::Param& param : params) {
    if (!options.model.adapter || param.adapts) continue;
    const bool is_scale = param.role == nn::Role::kScale;
    const std::string what = cat("frozen base, ", is_scale ? "scales" : name_of(param.type.dtype));
    const auto at = std::find_if(lines.begin(), lines.end(),
                                 [&](const MemoryLine& line) { return line.what == what; });
    const int64_t bytes = aligned(infer::room_of(param)) * 4;
    if (at == lines.end())
      lines.push_back({what, bytes});
    else
      at->bytes += bytes;
  }
  if (lines.size() == 1) lines[0].what = "frozen base";
  return lines;
}

int64_t CompiledStep::base_bytes() const {
  int64_t total = 0;
  for (const MemoryLine& line : base()) total += line.bytes;
  return total;
}

std::vector<MemoryLine> CompiledStep::persistent() const {
  std::vector<MemoryLine> lines = base();
  lines.push_back({options.model.adapter ? "adapter" : "parameters",
                   parameter_bytes(options.rank) - base_bytes()});
  if (!packing.empty()) lines.push_back({"packed parameters", packing.bytes()});
  for (const StateLayout::Part& part : state.parts)
    lines.push_back({"optimizer " + part.name, part.bytes()});
  lines.push_back({"gradients", layout.bytes() * gradient_buffers()});
  if (options.ranks > 1)
    lines.push_back({"gradient exchange",
                     dist::GradientSum::staging_bytes(options.groups, shards, options.rank)});
  if (link_bytes_ > 0) lines.push_back({"network (estimated)", link_bytes_});
  if (is_sharded()) lines.push_back({"parts of the norm", norm_elements() * 4});
  if (const int64_t values = watched_values(options.rank); values > 0)
    lines.push_back({"watched values", values * int64_t{sizeof(float)}});
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
  int64_t total = 0;
  for (const StateLayout::Part& part :
       lay_out_state(options, params, layout, rows_, pieces_of(rank)).parts)
    total += part.bytes();
  return total;
}

int64_t CompiledStep::save_bytes_of(int64_t rank) const {
  const int64_t optimizer = is_sharded() || rank == 0 ? optimizer_bytes(rank) : 0;
  if (rank > 0 && !gathers()) return optimizer;
  // The first saves what is frozen of that which is saved at all.
  const int64_t left_out = rank == 0 ? base_bytes() : frozen_bytes();
  return parameter_bytes(rank) - left_out + optimizer;
}

int64_t CompiledStep::differing_bytes(int64_t rank) const {
  const int64_t staging =
      options.ranks > 1 ? dist::GradientSum::staging_bytes(options.groups, shards, rank) : 0;
  const dist::GroupRange own = dist::groups_of_rank(options.groups, options.ranks, rank);
  const int64_t stack = own.size() == 1 ? 0 : dist::schedule_tree(options.groups, own).depth;
  return parameter_bytes(rank) + packing_of(rank).bytes() + staging + optimizer_bytes(rank) +
         watched_values(rank) * 4 + stack * layout.bytes();
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
       {&gradients_next, &squares, &watched_update, &watched_gradients, &pack, &pack_frozen,
        &first_refresh, &refresh, &refresh_drawn, &drawn, &drawn_next, &beginnings})
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
  for (const nn::Param& param : params)
    if (param.role != nn::Role::kScale) total += param.type.elements();
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
