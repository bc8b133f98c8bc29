// One rank's state in memory, and the running of its compiled step.
#include "train/engine/engine.h"

#include <algorithm>
#include <set>
#include <string>

#include "base/error.h"
#include "base/integers.h"
#include "base/strings.h"
#include "base/threads.h"
#include "device/ranges.h"
#include "device/transfer.h"
#include "infer/parameter_store.h"

namespace levanter::train {

namespace {

/// What goes to the device with a microbatch or a step and what comes back, one piece after the
/// other, each from a multiple of 64 bytes.
class Inputs {
 public:
  Inputs() = default;
  Inputs(const Backend& backend, std::byte* memory, const CompiledStep& step)
      : image_(backend, memory, step.input_bytes()) {
    step.batch.add_places(memory, places_);
    scalars_ = step.batch.bytes();
    losses_ = scalars_ + round_up(4 * CompiledStep::kScalars, 64);
    end_ = step.input_bytes();
    const std::pair<const char*, int64_t> named[] = {
        {"inverse_tokens", inverse_tokens()}, {"lr", lr()},
        {"loss_limit", loss_limit()},         {"norm_limit", norm_limit()},
        {"grad_norm", grad_norm()},           {"proceed", proceed()},
        {"token_loss", token_loss()}};
    for (const auto& [name, place] : named) places_[name] = memory + place;
    const std::vector<std::string> own = step.options.optimizer->scalar_names();
    LEV_CHECK(own.size() + 6 <= CompiledStep::kScalars, "the scalars of a step have no room");
    for (size_t i = 0; i < own.size(); ++i) places_[own[i]] = memory + own_scalar(i);
    own_.resize(own.size());
  }

  // Places, in bytes: what the host writes comes first, what it reads last. The arrays of a
  // microbatch are before all of these.
  int64_t inverse_tokens() const { return scalars_; }
  int64_t lr() const { return scalars_ + 4; }
  int64_t loss_limit() const { return scalars_ + 8; }
  int64_t norm_limit() const { return scalars_ + 12; }
  int64_t own_scalar(size_t i) const { return scalars_ + 16 + 4 * static_cast<int64_t>(i); }
  int64_t grad_norm() const { return losses_ - 8; }  // at the end of the scalars' room
  int64_t proceed() const { return losses_ - 4; }
  int64_t token_loss() const { return losses_; }  ///< [batch, position]

  void add_places(Addresses& addresses) const { addresses.insert(places_.begin(), places_.end()); }
  std::byte* image() { return image_.host(); }
  template <class T>
  T* host(int64_t place) {
    return reinterpret_cast<T*>(image_.host() + place);
  }

  /// The optimizers' own, to be filled.
  std::span<double> own() { return own_; }
  void write_own() {
    for (size_t i = 0; i < own_.size(); ++i)
      *host<float>(own_scalar(i)) = static_cast<float>(own_[i]);
  }

  void upload_batch() { image_.upload(0, lr()); }
  void upload_scalars() { image_.upload(lr(), grad_norm()); }
  void download_update() { image_.download(grad_norm(), losses_); }
  void download_losses() { image_.download(losses_, end_); }

 private:
  Mirror image_;
  int64_t scalars_ = 0;  ///< 1 / loss tokens, the learning rate, the optimizer's own
  int64_t losses_ = 0, end_ = 0;
  std::vector<double> own_;
  Addresses places_;
};

std::byte* bytes(void* p) { return static_cast<std::byte*>(p); }

}  // namespace

struct Engine::Impl {
  Impl(CompiledStep s, const Backend& b)
      : step(std::move(s)),
        backend(b),
        store(b, step.params, step.parameters_of(step.options.rank)) {}

  CompiledStep step;
  const Backend& backend;
  std::vector<std::unique_ptr<Buffer>> buffers;
  infer::ParameterStore store;
  std::vector<float*> states;     ///< one flat array a part of step.state
  std::vector<float*> gradients;  ///< [0] is accumulated into, [1 + i] is the stack
  float* watched = nullptr;       ///< in the order of CompiledStep::watched
  float* norms = nullptr;         ///< see CompiledStep::norm_shards
  std::byte *arena = nullptr, *workspace = nullptr;
  Inputs inputs;
  StepObserver* observer = nullptr;
  Key dropout_key;
  int64_t microbatches = step.options.microbatches;  ///< of the global batch
  int64_t microbatch = 0;                            ///< of this rank, in this step
  int64_t depth = 0;                                 ///< of the stack
  bool draws = false;  ///< whether gradients are those of drawn labels
  bool watches = false;

  std::byte* allocate(int64_t size) {
    buffers.push_back(backend.allocate(size));
    return buffers.back()->data();
  }

  void allocate_all();
  void bind_all();
  /// Sends the arrays of a microbatch to the device.
  void load(const Rows& rows);
  void refresh_packed();
  /// Sends the learning rate, the optimizers' own scalars and what stands between to the device.
  void upload_scalars(int64_t step, double lr);
  /// Which group a microbatch belongs to, and whether it is the group's last.
  struct Place {
    int64_t group = 0;
    bool ends_group = false;
  };
  /// Runs it.
  Place next_microbatch(const Rows& rows, ResultListener* listener);
  /// Of a stack of partial sums; none where there is one group.
  std::span<const dist::TreeMove> moves_after(int64_t group) const;
  /// Of a part of the arrays; `depth`, of the stack, as it is then.
  int64_t move(dist::TreeMove move, int64_t depth, const dist::Shard& part, bool beside_kernels);
  /// Where a piece of a parameter is.
  std::byte* place_of(const Piece& piece) const {
    return store.place(piece.param) + step.first_element(piece) * int64_t{4};
  }
  std::byte* state(const StateLayout::Place& place) const {
    return bytes(states[place.part] + place.offset);
  }
  /// Of the global batch.
  float* first_report() {
    return norms ? norms + step.norm_reports() : total() + step.layout.offset_of(0);
  }
  float* total() { return step.groups.size() == 1 ? gradients[0] : gradients[1]; }
  /// What the functions report of the global batch: the loss, then the measures.
  std::span<const float> reports();
  std::vector<std::byte> report_room = {};
  std::vector<float> step_reports = {};  ///< where labels were drawn since: before that
};

void Engine::Impl::allocate_all() {
  for (const StateLayout::Part& part : step.state.parts)
    states.push_back(reinterpret_cast<float*>(allocate(part.bytes())));
  for (int64_t i = 0; i < step.gradient_buffers(); ++i)
    gradients.push_back(reinterpret_cast<float*>(allocate(step.layout.bytes())));
  if (step.is_sharded()) norms = reinterpret_cast<float*>(allocate(step.norm_elements() * 4));
  if (const int64_t values = step.watched_values(step.options.rank); values > 0)
    watched = reinterpret_cast<float*>(allocate(values * int64_t{4}));
  if (!step.packing.empty()) store.keep_packed(step.packing);
  inputs = Inputs(backend, allocate(step.input_bytes()), step);
  arena = allocate(step.arena_bytes());
  workspace = allocate(step.workspace_bytes());
}

void Engine::Impl::bind_all() {
  Addresses memory, microbatch;  // of everything, and of what a microbatch's results are
  inputs.add_places(memory);
  store.add_places(memory);
  for (const auto& [name, owner] : step.owners()) memory.try_emplace(name, nullptr);
  Addresses squares;  // where this rank's go
  for (size_t i = 0; i < step.params.size(); ++i) {
    if (!step.params[i].trainable) continue;
    const std::string& path = step.params[i].path;
    if (norms) memory[square_name(path)] = bytes(norms + step.norm_place(i));
    microbatch[path] = bytes(gradients[0] + step.layout.offsets[i]);
  }
  float* seen = watched;
  for (const std::string& name : step.watched_attention()) memory[name] = bytes(seen++);
  for (const Piece& piece : step.pieces_of(step.options.rank)) {
    const std::string& path = step.params[piece.param].path;
    const int64_t first = step.first_element(piece);
    memory[grad_name(path)] = bytes(total() + step.layout.offsets[piece.param] + first);
    memory[rows_name(path)] = place_of(piece);
    if (norms)
      squares[square_name(path)] = bytes(norms + step.norm_place(piece.param) + piece.begin);
    for (const StepWatch::Squares which : step.options.watch.squares(path)) {
      memory[watched_name(path, which)] = bytes(seen);
      seen += piece.end - piece.begin;
    }
  }
  for (const StateLayout::Place& place : step.state.places)
    memory[state_name(step.params[place.piece.param].path, place.array.name)] = state(place);
  for (size_t i = 0; i < step.layout.reported.size(); ++i)
    microbatch[step.layout.reported[i].name] = bytes(gradients[0] + step.layout.offset_of(i));
  for (const auto& [name, address] : microbatch) memory[sum_name(name)] = address;
  memory["loss"] = bytes(first_report());

  step.gradients.bind_by_name(arena, workspace, memory, microbatch);
  if (step.gradients_next) step.gradients_next->bind_by_name(arena, workspace, memory, microbatch);
  if (step.squares) step.squares->bind_by_name(arena, workspace, memory, squares);
  step.update.bind_by_name(arena, workspace, memory, memory);
  for (const std::string& name : step.watched_attention()) microbatch[name] = memory[name];
  if (step.watched_update) step.watched_update->bind_by_name(arena, workspace, memory, memory);
  if (step.watched_gradients)
    step.watched_gradients->bind_by_name(arena, workspace, memory, microbatch);
  for (auto* refresh : {&step.first_refresh, &step.refresh, &step.refresh_drawn})
    if (*refresh) (*refresh)->bind_by_name(arena, workspace, memory, memory);
  for (auto* drawn : {&step.drawn, &step.drawn_next})
    if (*drawn) (*drawn)->bind_by_name(arena, workspace, memory, microbatch);
  step.evaluation.bind_by_name(arena, workspace, memory, memory);
  for (auto* once : {&step.pack, &step.pack_frozen, &step.beginnings})
    if (*once) (*once)->bind_by_name(arena, workspace, memory, memory);
}

void Engine::Impl::load(const Rows& rows) {
  step.batch.load(rows, dropout_key, inputs.image());
  inputs.upload_batch();
}

/// Packs the parameters if they may have changed since they were packed.
void Engine::Impl::refresh_packed() {
  const auto packer = [](const std::optional<Executable>& e) { return e ? &*e : nullptr; };
  store.refresh(packer(step.pack), packer(step.pack_frozen), observer);
}

Engine::Impl::Place Engine::Impl::next_microbatch(const Rows& rows, ResultListener* listener) {
  const Range range("microbatch");
  const StepOptions& o = step.options;
  load(rows);
  refresh_packed();
  const auto members_of = [&](int64_t group) {
    return dist::microbatches_of_group(microbatches, o.groups, group);
  };
  const int64_t index = microbatch++ + members_of(step.groups.begin).begin;
  int64_t group = step.groups.begin;
  while (index >= members_of(group).end) ++group;
  const dist::GroupRange members = members_of(group);
  const bool first = index == members.begin;
  if (draws)
    (first ? *step.drawn : *step.drawn_next).run(observer, listener);
  else if (watches && step.watched_gradients && index == 0)
    step.watched_gradients->run(observer, listener);
  else
    (first ? step.gradients : *step.gradients_next).run(observer, listener);
  return {group, index + 1 == members.end};
}

std::span<const dist::TreeMove> Engine::Impl::moves_after(int64_t group) const {
  if (step.groups.size() == 1) return {};
  return step.tree.after_group[static_cast<size_t>(group - step.groups.begin)];
}

int64_t Engine::Impl::move(dist::TreeMove move, int64_t at, const dist::Shard& part,
                           bool beside_kernels) {
  const auto sum = [&](int64_t i) { return gradients[static_cast<size_t>(i)] + part.begin; };
  const auto add = [&](float* to, const float* from) {
    if (beside_kernels)
      backend.Backend::add(to, from, part.size());  // without the threads that those run in
    else
      backend.add(to, from, part.size());
  };
  switch (move) {
    case dist::TreeMove::kPush:
      backend.copy(bytes(sum(at + 1)), bytes(sum(0)), part.size() * 4);
      return at + 1;
    case dist::TreeMove::kAddGroup:
      add(sum(at), sum(0));
      return at;
    case dist::TreeMove::kAdd:
      add(sum(at - 1), sum(at));
      return at - 1;
  }
  return at;
}

Engine::Engine(CompiledStep step, const Backend& backend)
    : impl_(std::make_unique<Impl>(std::move(step), backend)) {
  LEV_CHECK(impl_->step.options.shape.real == DType::f32, "an engine trains in f32");
  impl_->allocate_all();
  impl_->bind_all();
}

Engine::~Engine() = default;

void Engine::initialise(Key key, const ProgressReport& progress) {
  impl_->store.draw(key, progress);
  begin_optimizer();
}

void Engine::begin_adapter() {
  if (impl_->step.beginnings) impl_->step.beginnings->run(impl_->observer);
  impl_->store.changed();
}

void Engine::begin_optimizer() {
  const Backend& backend = impl_->backend;
  for (size_t part = 0; part < impl_->states.size(); ++part)
    backend.fill(bytes(impl_->states[part]), impl_->step.state.parts[part].bytes(), std::byte{0});
  begin_others();
}

/// State that does not begin as zeros.
void Engine::begin_others() {
  using Begin = optim::StateArray::Begin;
  const Backend& backend = impl_->backend;
  for (const StateLayout::Place& place : impl_->step.state.places) {
    std::byte* const to = impl_->state(place);
    const int64_t size = place.array.type.bytes();
    if (place.array.begin == Begin::kParameter)
      backend.copy(to, impl_->place_of(place.piece), size);
    if (place.array.begin != Begin::kIdentity) continue;
    HostWrite room(backend, to, static_cast<size_t>(size));
    auto* const values = reinterpret_cast<float*>(room.bytes().data());
    for (int64_t i = 0; i < place.array.type.elements(); ++i)
      values[i] = optim::is_diagonal(place.array.type.axes, i) ? 1.0f : 0.0f;
    room.done();
  }
}

std::vector<Tensor> Engine::model_tensors() const { return impl_->store.tensors(); }

std::vector<Tensor> Engine::model_targets() {
  impl_->store.changed();
  return impl_->store.tensors();
}

std::vector<Tensor> Engine::model_part() const {
  const CompiledStep& step = impl_->step;
  std::vector<Tensor> tensors = model_tensors();
  if (step.options.model.adapter) {
    std::set<std::string> own;
    for (const nn::Param& param : step.params)
      if (param.adapts) own.insert(param.path);
    std::erase_if(tensors, [&](const Tensor& tensor) { return !own.contains(tensor.path); });
  }
  if (step.options.rank == 0) return tensors;
  if (!step.gathers()) return {};
  const dist::Owners owners = step.owners();  // of what is trained: all have what is not
  std::erase_if(tensors, [&](const Tensor& tensor) { return !owners.contains(tensor.path); });
  return tensors;
}

std::vector<Tensor> Engine::optimizer_tensors() const {
  const CompiledStep& step = impl_->step;
  std::vector<Tensor> tensors;
  for (const StateLayout::Place& place : step.state.places) {
    const nn::Param& param = step.params[place.piece.param];
    Tensor& tensor = tensors.emplace_back(
        Tensor{cat("optimizer.", place.array.name, ".", param.path), DType::f32, place.array.shape,
               impl_->state(place), &impl_->backend});
    if (step.is_whole(place.piece) || tensor.shape.empty()) continue;
    // A row of the piece is one or several of the file's, whose first axis is what is cut.
    tensor.all_rows = param.shape[0];
    tensor.first_row = step.first_element(place.piece) / (param.type.elements() / param.shape[0]);
  }
  return tensors;
}

std::vector<Tensor> Engine::optimizer_part() const {
  std::vector<Tensor> tensors = optimizer_tensors();
  const std::vector<StateLayout::Place>& places = impl_->step.state.places;
  size_t kept = 0;
  for (size_t i = 0; i < places.size(); ++i)
    if (places[i].piece.begin == 0 || !places[i].array.shape.empty()) tensors[kept++] = tensors[i];
  tensors.resize(kept);
  return tensors;
}

void Engine::begin_step(double loss_tokens, Key dropout_key, bool draws) {
  if (draws) {
    const std::span<const float> reports = impl_->reports();
    impl_->step_reports.assign(reports.begin(), reports.end());
  }
  impl_->draws = draws;
  Inputs& inputs = impl_->inputs;
  *inputs.host<float>(inputs.inverse_tokens()) =
      loss_tokens > 0 ? static_cast<float>(1 / loss_tokens) : 0;
  impl_->dropout_key = dropout_key;
  impl_->microbatch = 0;
  impl_->depth = 0;
}

void Engine::watch_attention(bool now) { impl_->watches = now; }

void Engine::use_microbatches(int64_t count) {
  const StepOptions& o = impl_->step.options;
  LEV_CHECK(count >= o.groups && count <= o.microbatches, "a step of another size");
  impl_->microbatches = count;
}

int64_t Engine::rounds() const { return impl_->step.rounds(impl_->microbatches); }

void Engine::gather_from(GatherSource& source) {
  CompiledStep& step = impl_->step;
  step.gradients.gather_from(&source);
  step.evaluation.gather_from(&source);
  for (std::optional<Executable>* reader :
       {&step.gradients_next, &step.drawn, &step.drawn_next, &step.watched_gradients})
    if (*reader) (*reader)->gather_from(&source);
}

void Engine::attend_microbatch() {
  impl_->refresh_packed();
  (impl_->draws ? *impl_->step.drawn : impl_->step.gradients).attend();
}

void Engine::attend_evaluation() {
  impl_->refresh_packed();
  impl_->step.evaluation.attend();
}

void Engine::run_microbatch(const Rows& rows) {
  Impl& m = *impl_;
  const Impl::Place place = m.next_microbatch(rows, nullptr);
  if (!place.ends_group) return;
  const Range range("sum of groups");
  for (const dist::TreeMove move : m.moves_after(place.group))
    m.depth = m.move(move, m.depth, {0, m.step.layout.elements}, false);
}

void Engine::run_last_microbatch(const Rows& rows, ResultListener& listener) {
  const Impl::Place place = impl_->next_microbatch(rows, &listener);
  LEV_CHECK(place.ends_group && place.group + 1 == impl_->step.groups.end, "more are to come");
}

void Engine::finish_part(const dist::Shard& part) {
  int64_t depth = impl_->depth;
  for (const dist::TreeMove move : impl_->moves_after(impl_->step.groups.end - 1))
    depth = impl_->move(move, depth, part, true);
}

std::span<float* const> Engine::subtree_sums() {
  const std::span<float* const> all(impl_->gradients);
  if (impl_->step.groups.size() == 1) return all;
  return all.subspan(1, impl_->step.tree.subtrees.size());
}

float* Engine::total() { return impl_->total(); }

float* Engine::run_squares() {
  Impl& m = *impl_;
  if (m.step.squares) m.step.squares->run(m.observer);
  const FlatLayout& layout = m.step.layout;
  if (m.step.options.rank + 1 == m.step.options.ranks)  // the reports' owner
    m.backend.copy(bytes(m.first_report()), bytes(m.total() + layout.offset_of(0)),
                   (layout.elements - layout.offset_of(0)) * 4);
  return m.norms;
}

float* Engine::parameters() { return reinterpret_cast<float*>(impl_->store.memory()); }
void Engine::changed() { impl_->store.updated(); }
const CompiledStep& Engine::step() const { return impl_->step; }

std::span<const float> Engine::Impl::reports() {
  const float* const first = first_report();
  const auto count = static_cast<size_t>(step.layout.elements - step.layout.offset_of(0));
  const auto room =
      read_bytes(backend, reinterpret_cast<const std::byte*>(first), count * 4, report_room);
  return {reinterpret_cast<const float*>(room.data()), count};
}

void Engine::Impl::upload_scalars(int64_t at_step, double lr) {
  *inputs.host<float>(inputs.lr()) = static_cast<float>(lr);
  step.options.optimizer->fill_scalars(at_step, inputs.own());
  inputs.write_own();
  inputs.upload_scalars();
}

void Engine::run_refresh(optim::Refresh::By by, int64_t step) {
  impl_->upload_scalars(step, 0);
  CompiledStep& compiled = impl_->step;
  std::optional<Executable>* which = &compiled.refresh;
  if (by == optim::Refresh::By::kFirstGradient) which = &compiled.first_refresh;
  if (by == optim::Refresh::By::kDrawnLabels) which = &compiled.refresh_drawn;
  (*which)->run(impl_->observer);
}

UpdateReport Engine::run_update(int64_t step, double lr, const StepLimits& limits) {
  Inputs& inputs = impl_->inputs;
  *inputs.host<float>(inputs.loss_limit()) = limits.loss;
  *inputs.host<float>(inputs.norm_limit()) = limits.grad_norm;
  for (const auto by : {optim::Refresh::By::kFirstGradient, optim::Refresh::By::kGradient})
    if (impl_->step.options.optimizer->refreshes(by, step)) run_refresh(by, step);
  impl_->upload_scalars(step, lr);
  const bool watches = impl_->step.watched_update && impl_->step.options.watch.due(step);
  (watches ? *impl_->step.watched_update : impl_->step.update).run(impl_->observer);
  impl_->store.updated();
  inputs.download_update();
  return {impl_->reports()[0], *inputs.host<float>(inputs.grad_norm()),
          *inputs.host<float>(inputs.proceed()) != 0};
}

std::vector<Tensor> Engine::gradients() const {
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < impl_->step.params.size(); ++i) {
    const nn::Param& param = impl_->step.params[i];
    if (param.trainable)
      tensors.push_back({param.path, DType::f32, param.shape,
                         bytes(impl_->total() + impl_->step.layout.offsets[i]), &impl_->backend});
  }
  return tensors;
}

std::vector<float> Engine::watched() const {
  const Impl& m = *impl_;
  std::vector<float> values(static_cast<size_t>(m.step.watched_values(m.step.options.rank)));
  const std::span<std::byte> to = std::as_writable_bytes(std::span(values));
  if (m.backend.is_host())
    std::copy_n(m.watched, values.size(), values.begin());
  else if (!to.empty())
    m.backend.download(to, bytes(m.watched));
  return values;
}

std::vector<std::pair<std::string, double>> Engine::measures() const {
  std::vector<std::pair<std::string, double>> out;
  const FlatLayout& layout = impl_->step.layout;
  const std::span<const float> reports = impl_->draws ? impl_->step_reports : impl_->reports();
  for (size_t i = 1; i < layout.reported.size(); ++i) {
    const auto& [name, elements] = layout.reported[i];
    const size_t place = name.find("{}");
    for (int64_t at = 0; at < elements; ++at) {
      std::string one = name;
      if (place != std::string::npos) one.replace(place, 2, std::to_string(at));
      out.emplace_back(
          std::move(one),
          reports[static_cast<size_t>(layout.offset_of(i) - layout.offset_of(0) + at)]);
    }
  }
  return out;
}

bool Engine::keeps(optim::StateArray::Average average) const {
  return impl_->step.options.optimizer->keeps(average, impl_->step.params);
}

void Engine::begin_average(optim::StateArray::Average average) {
  Impl& m = *impl_;
  m.backend.copy(bytes(m.gradients[0]), m.store.memory(), m.step.held_elements() * 4);
  for (const StateLayout::Place& place : m.step.state.places)
    if (place.array.average == average)
      m.backend.copy(m.place_of(place.piece), m.state(place), place.array.type.bytes());
  m.store.updated();
}

void Engine::end_average() {
  Impl& m = *impl_;
  m.backend.copy(m.store.memory(), bytes(m.gradients[0]), m.step.held_elements() * 4);
  m.store.updated();
}

std::span<const float> Engine::run_evaluation(const Rows& rows) {
  Inputs& inputs = impl_->inputs;
  impl_->load(rows);
  impl_->refresh_packed();
  impl_->step.evaluation.run(impl_->observer);
  inputs.download_losses();
  const StepShape& shape = impl_->step.options.shape;
  return {inputs.host<float>(inputs.token_loss()),
          static_cast<size_t>(shape.batch * shape.position)};
}

void Engine::observe(StepObserver* observer) { impl_->observer = observer; }

int64_t Engine::allocated_bytes() const {
  int64_t total = impl_->store.bytes();
  for (const auto& buffer : impl_->buffers) total += buffer->bytes();
  return total;
}

}  // namespace levanter::train
