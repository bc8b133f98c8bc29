// One rank's state in memory, and the running of its compiled step.
#include "train/engine/engine.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/error.h"
#include "base/strings.h"
#include "base/threads.h"

namespace levanter::train {

namespace {

/// Hands out pieces of a buffer, each from a multiple of 64 bytes.
class Carver {
 public:
  explicit Carver(std::byte* at) : at_(at) {}
  template <class T>
  T* take(int64_t count) {
    T* piece = reinterpret_cast<T*>(at_);
    at_ += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return piece;
  }

 private:
  std::byte* at_;
};

std::byte* bytes(void* p) { return static_cast<std::byte*>(p); }

}  // namespace

struct Engine::Impl {
  Impl(CompiledStep s, const Backend& b) : step(std::move(s)), backend(b) {}

  CompiledStep step;
  const Backend& backend;
  std::vector<std::unique_ptr<Buffer>> buffers;
  float* params = nullptr;
  std::vector<float*> states;     ///< one flat array a state name
  std::vector<float*> gradients;  ///< [0] is accumulated into, [1 + i] is the stack
  std::byte* packed = nullptr;    ///< the packed forms of parameters
  bool packed_is_fresh = false;
  std::byte *arena = nullptr, *workspace = nullptr;
  // The inputs.
  int32_t *tokens = nullptr, *targets = nullptr, *segment_ids = nullptr, *positions = nullptr;
  float *loss_weight = nullptr, *token_loss = nullptr, *scalars = nullptr;
  uint32_t* dropout_keys = nullptr;
  StepObserver* observer = nullptr;
  Key dropout_key;
  int64_t microbatch = 0;  ///< of this rank, in this step
  int64_t height = 0;      ///< of the stack

  // Scalars by place; the optimizer's own come last.
  float* inverse_tokens() { return scalars; }
  float* lr() { return scalars + 1; }
  float* grad_norm() { return scalars + 2; }
  float* proceed() { return scalars + 3; }
  float* own_scalars() { return scalars + 4; }

  std::byte* allocate(int64_t size) {
    buffers.push_back(backend.allocate(size));
    return buffers.back()->data();
  }

  void allocate_all();
  void bind_all();
  void bind_gradients(Executable& executable, bool added);
  std::vector<std::byte*> tensors(float* flat, bool with_reports) const;
  void load(const Rows& rows);
  void refresh_packed();
  float* total() { return step.options.groups == 1 ? gradients[0] : gradients[1]; }
};

void Engine::Impl::allocate_all() {
  const int64_t flat = step.layout.bytes();
  params = reinterpret_cast<float*>(allocate(flat));
  for (size_t i = 0; i < step.options.optimizer.state_names.size(); ++i)
    states.push_back(reinterpret_cast<float*>(allocate(flat)));
  for (int64_t i = 0; i < step.gradient_buffers(); ++i)
    gradients.push_back(reinterpret_cast<float*>(allocate(flat)));
  if (step.pack) packed = allocate(step.packing.bytes());
  Carver carve(allocate(step.input_bytes()));
  const int64_t tokens_count = step.options.shape.batch * step.options.shape.position;
  tokens = carve.take<int32_t>(tokens_count);
  targets = carve.take<int32_t>(tokens_count);
  segment_ids = carve.take<int32_t>(tokens_count);
  positions = carve.take<int32_t>(tokens_count);
  loss_weight = carve.take<float>(tokens_count);
  token_loss = carve.take<float>(tokens_count);
  dropout_keys = carve.take<uint32_t>(2 * step.options.shape.batch);
  scalars = carve.take<float>(CompiledStep::kScalars);
  arena = allocate(step.arena_bytes());
  workspace = allocate(step.workspace_bytes());
}

std::vector<std::byte*> Engine::Impl::tensors(float* flat, bool with_reports) const {
  std::vector<std::byte*> pointers;
  const size_t count = with_reports ? step.layout.offsets.size() : step.params.size();
  for (size_t i = 0; i < count; ++i) pointers.push_back(bytes(flat + step.layout.offsets[i]));
  return pointers;
}

void Engine::Impl::bind_gradients(Executable& executable, bool added) {
  std::vector<std::byte*> arguments = tensors(params, false);
  arguments.insert(arguments.end(),
                   {bytes(tokens), bytes(targets), bytes(segment_ids), bytes(positions),
                    bytes(loss_weight), bytes(dropout_keys), bytes(inverse_tokens())});
  const std::vector<std::byte*> sums = tensors(gradients[0], true);
  if (added) arguments.insert(arguments.end(), sums.begin(), sums.end());
  step.packing.append_arguments(executable, packed, arguments);
  executable.bind(arena, workspace, arguments, sums);
}

void Engine::Impl::bind_all() {
  bind_gradients(step.gradients, false);
  if (step.gradients_next) bind_gradients(*step.gradients_next, true);

  std::vector<std::byte*> arguments = tensors(params, false), results = arguments;
  const auto append = [](std::vector<std::byte*>& to, const std::vector<std::byte*>& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  append(arguments, tensors(total(), false));
  for (size_t i = 0; i < step.params.size(); ++i)
    for (float* state : states) {
      arguments.push_back(bytes(state + step.layout.offsets[i]));
      results.push_back(arguments.back());
    }
  arguments.push_back(bytes(total() + step.layout.offset_of(0)));
  arguments.push_back(bytes(lr()));
  for (size_t i = 0; i < step.options.optimizer.scalar_names.size(); ++i)
    arguments.push_back(bytes(own_scalars() + i));
  append(results, {bytes(grad_norm()), bytes(proceed())});
  step.update.bind(arena, workspace, arguments, results);

  std::vector<std::byte*> inputs = tensors(params, false);
  append(inputs, {bytes(tokens), bytes(targets), bytes(segment_ids), bytes(positions)});
  step.packing.append_arguments(step.evaluation, packed, inputs);
  const std::vector<std::byte*> losses = {bytes(token_loss)};
  step.evaluation.bind(arena, workspace, inputs, losses);
  if (!step.pack) return;
  std::vector<std::byte*> masters;
  for (const size_t i : step.packing.params())
    masters.push_back(bytes(params + step.layout.offsets[i]));
  step.pack->bind(arena, workspace, masters, step.packing.places(packed));
}

void Engine::Impl::load(const Rows& rows) {
  const auto count = static_cast<size_t>(step.options.shape.batch * step.options.shape.position);
  std::memcpy(tokens, rows.tokens, count * 4);
  std::memcpy(targets, rows.targets, count * 4);
  std::memcpy(segment_ids, rows.segment_ids, count * 4);
  std::memcpy(positions, rows.positions, count * 4);
  if (rows.loss_weight) std::memcpy(loss_weight, rows.loss_weight, count * 4);
}

/// Packs the parameters if they may have changed since they were packed.
void Engine::Impl::refresh_packed() {
  if (packed_is_fresh || !step.pack) return;
  step.pack->run(observer);
  packed_is_fresh = true;
}

Engine::Engine(CompiledStep step, const Backend& backend)
    : impl_(std::make_unique<Impl>(std::move(step), backend)) {
  LEV_CHECK(impl_->step.options.shape.real == DType::f32, "an engine trains in f32");
  impl_->allocate_all();
  impl_->bind_all();
}

Engine::~Engine() = default;

namespace {

/// A part of an array that begins as so many zeros, or as values of `init` under `key`.
struct Piece {
  float* to;
  int64_t first, count;
  nn::Init init;
  Key key = {};
};

void begin(const Piece& piece) {
  const std::span<float> values(piece.to + piece.first, static_cast<size_t>(piece.count));
  const auto mean = static_cast<float>(piece.init.mean);
  const auto stddev = static_cast<float>(piece.init.stddev);
  if (piece.init.stddev <= 0) return std::fill(values.begin(), values.end(), mean);
  fill_normal(piece.key, static_cast<uint64_t>(piece.first), values);
  for (float& x : values) x = mean + stddev * x;
}

}  // namespace

void Engine::initialise(Key key) {
  impl_->packed_is_fresh = false;
  static constexpr int64_t kPiece = 1 << 16;  // what fits a core's own cache
  std::vector<Piece> pieces;
  const auto cut = [&pieces](const Piece& whole) {
    for (int64_t at = 0; at < whole.count; at += kPiece)
      pieces.push_back({whole.to, at, std::min(kPiece, whole.count - at), whole.init, whole.key});
  };
  for (size_t i = 0; i < impl_->step.params.size(); ++i) {
    const nn::Param& param = impl_->step.params[i];
    cut({impl_->params + impl_->step.layout.offsets[i], 0, param.type.elements(), param.init,
         fold_in(key, param.path)});
  }
  for (float* state : impl_->states)
    cut({state, 0, impl_->step.layout.elements, nn::Init::zeros()});
  ThreadPool pool(impl_->backend.threads());
  pool.parallel_for(static_cast<int64_t>(pieces.size()),
                    [&](int64_t i, int) { begin(pieces[static_cast<size_t>(i)]); });
}

std::vector<TensorTarget> Engine::model_targets() {
  impl_->packed_is_fresh = false;
  std::vector<TensorTarget> targets;
  for (size_t i = 0; i < impl_->step.params.size(); ++i)
    targets.push_back({impl_->step.params[i].path, DType::f32, impl_->step.params[i].shape,
                       bytes(impl_->params + impl_->step.layout.offsets[i])});
  return targets;
}

std::vector<TensorTarget> Engine::optimizer_targets() {
  std::vector<TensorTarget> targets;
  const auto names = impl_->step.options.optimizer.state_names;
  for (size_t i = 0; i < impl_->step.params.size(); ++i)
    for (size_t s = 0; s < names.size(); ++s)
      targets.push_back({cat("optimizer.", names[s], ".", impl_->step.params[i].path), DType::f32,
                         impl_->step.params[i].shape,
                         bytes(impl_->states[s] + impl_->step.layout.offsets[i])});
  return targets;
}

namespace {
std::vector<TensorView> views(const std::vector<TensorTarget>& targets) {
  std::vector<TensorView> views;
  for (const TensorTarget& t : targets) views.push_back({t.path, t.dtype, t.shape, t.data});
  return views;
}
}  // namespace

std::vector<TensorView> Engine::model_tensors() const {
  std::vector<TensorView> views;
  for (size_t i = 0; i < impl_->step.params.size(); ++i)
    views.push_back({impl_->step.params[i].path, DType::f32, impl_->step.params[i].shape,
                     bytes(impl_->params + impl_->step.layout.offsets[i])});
  return views;
}
std::vector<TensorView> Engine::optimizer_tensors() const {
  return views(const_cast<Engine*>(this)->optimizer_targets());
}

void Engine::begin_step(double loss_tokens, Key dropout_key) {
  *impl_->inverse_tokens() = loss_tokens > 0 ? static_cast<float>(1 / loss_tokens) : 0;
  impl_->dropout_key = dropout_key;
  impl_->microbatch = 0;
  impl_->height = 0;
}

void Engine::run_microbatch(const Rows& rows) {
  Impl& m = *impl_;
  const StepOptions& o = m.step.options;
  m.load(rows);
  m.refresh_packed();
  for (int64_t row = 0; row < o.shape.batch; ++row) {
    const auto example = static_cast<uint64_t>(rows.first_example + row);
    const Key key = fold_in(fold_in(m.dropout_key, static_cast<uint32_t>(example >> 32)),
                            static_cast<uint32_t>(example));
    m.dropout_keys[2 * row] = key.hi;
    m.dropout_keys[2 * row + 1] = key.lo;
  }
  // Which group this microbatch belongs to, and whether it is the group's first and last.
  const int64_t index =
      m.microbatch++ +
      dist::microbatches_of_group(o.microbatches, o.groups, m.step.groups.begin).begin;
  int64_t group = m.step.groups.begin;
  while (index >= dist::microbatches_of_group(o.microbatches, o.groups, group).end) ++group;
  const dist::GroupRange members = dist::microbatches_of_group(o.microbatches, o.groups, group);
  (index == members.begin ? m.step.gradients : *m.step.gradients_next).run(m.observer);
  if (index + 1 < members.end || o.groups == 1) return;
  const int64_t elements = m.step.layout.elements;
  for (const dist::TreeMove move :
       m.step.tree.after_group[static_cast<size_t>(group - m.step.groups.begin)]) {
    if (move == dist::TreeMove::kPush) {
      std::memcpy(m.gradients[static_cast<size_t>(1 + m.height++)], m.gradients[0],
                  static_cast<size_t>(elements) * sizeof(float));
    } else {
      --m.height;
      m.backend.add(m.gradients[static_cast<size_t>(m.height)],
                    m.gradients[static_cast<size_t>(m.height + 1)], elements);
    }
  }
}

std::span<float* const> Engine::subtree_sums() {
  const std::span<float* const> all(impl_->gradients);
  if (impl_->step.options.groups == 1) return all;
  return all.subspan(1, static_cast<size_t>(impl_->height));
}

float* Engine::total() { return impl_->total(); }
const CompiledStep& Engine::step() const { return impl_->step; }

UpdateReport Engine::run_update(double lr, std::span<const double> scalars) {
  *impl_->lr() = static_cast<float>(lr);
  for (size_t i = 0; i < scalars.size(); ++i)
    impl_->own_scalars()[i] = static_cast<float>(scalars[i]);
  impl_->step.update.run(impl_->observer);
  impl_->packed_is_fresh = false;
  return {impl_->total()[impl_->step.layout.offset_of(0)], *impl_->grad_norm(),
          *impl_->proceed() != 0};
}

std::vector<std::pair<std::string, double>> Engine::measures() const {
  std::vector<std::pair<std::string, double>> out;
  const FlatLayout& layout = impl_->step.layout;
  for (size_t i = 1; i < layout.reported.size(); ++i) {
    const auto& [name, elements] = layout.reported[i];
    const size_t place = name.find("{}");
    for (int64_t at = 0; at < elements; ++at) {
      std::string one = name;
      if (place != std::string::npos) one.replace(place, 2, std::to_string(at));
      out.emplace_back(std::move(one), impl_->total()[layout.offset_of(i) + at]);
    }
  }
  return out;
}

std::span<const float> Engine::run_evaluation(const Rows& rows) {
  impl_->load(rows);
  impl_->refresh_packed();
  impl_->step.evaluation.run(impl_->observer);
  const StepShape& shape = impl_->step.options.shape;
  return {impl_->token_loss, static_cast<size_t>(shape.batch * shape.position)};
}

void Engine::observe(StepObserver* observer) { impl_->observer = observer; }

int64_t Engine::allocated_bytes() const {
  int64_t total = 0;
  for (const auto& buffer : impl_->buffers) total += buffer->bytes();
  return total;
}

}  // namespace levanter::train
