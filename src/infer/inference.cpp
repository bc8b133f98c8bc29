#include "infer/inference.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "infer/packing.h"
#include "passes/passes.h"
#include "runtime/executable.h"

namespace levanter::infer {

namespace {
constexpr int64_t kAlignment = 16;  // elements of f32: 64 bytes
}

struct InferenceModel::Impl {
  Impl(const ModelSpec& s, int64_t vocab_size, int64_t batch, const Backend& b, DType compute)
      : spec(s),
        backend(b),
        shape{batch, s.config.max_seq_len, vocab_size, DType::f32, compute},
        params(trace_params(s, shape)) {}

  /// A compiled function with the memory that it runs in.
  struct Compiled {
    explicit Compiled(Executable e) : executable(std::move(e)) {}
    Executable executable;
    std::unique_ptr<Buffer> arena, workspace, packed;
  };

  Compiled prepare(Function function, std::span<std::byte* const> inputs, std::byte* result) {
    Compiled c(compile(optimise(hoist_packs(function), backend), backend));
    c.arena = backend.allocate(c.executable.arena_bytes());
    c.workspace = backend.allocate(c.executable.workspace_bytes());
    std::vector<std::byte*> arguments;
    for (size_t i = 0; i < params.size(); ++i) arguments.push_back(parameter(i));
    arguments.insert(arguments.end(), inputs.begin(), inputs.end());
    pack(c, arguments);
    const std::vector<std::byte*> results = {result};
    c.executable.bind(c.arena->data(), c.workspace->data(), arguments, results);
    return c;
  }

  std::byte* parameter(size_t i) const {
    return memory->data() + offsets[i] * static_cast<int64_t>(sizeof(float));
  }

  /// Packs, once for all, the parameters that the function reads packed.
  void pack(Compiled& c, std::vector<std::byte*>& arguments) const {
    const Packing packing(params, {&c.executable});
    if (packing.empty()) return;
    c.packed = backend.allocate(packing.bytes());
    packing.append_arguments(c.executable, c.packed->data(), arguments);
    Executable e = compile(optimise(packing.function(), backend), backend);
    const auto arena = backend.allocate(e.arena_bytes());
    const auto workspace = backend.allocate(e.workspace_bytes());
    std::vector<std::byte*> masters;
    for (const size_t i : packing.params()) masters.push_back(parameter(i));
    e.bind(arena->data(), workspace->data(), masters, packing.places(c.packed->data()));
    e.run();
  }

  ModelSpec spec;
  const Backend& backend;
  StepShape shape;
  std::vector<nn::Param> params;
  std::vector<int64_t> offsets;
  std::unique_ptr<Buffer> memory;
  std::vector<int32_t> tokens, targets, segment_ids, positions;
  std::vector<int32_t> last = {0};
  std::vector<float> losses, logits;
  std::optional<Compiled> evaluation, next;
};

InferenceModel::InferenceModel(const ModelSpec& spec, int64_t vocab_size, int64_t batch,
                               const Backend& backend, DType compute)
    : impl_(std::make_unique<Impl>(spec, vocab_size, batch, backend, compute)) {
  int64_t elements = 0;
  for (const nn::Param& param : impl_->params) {
    impl_->offsets.push_back(elements);
    elements += (param.type.elements() + kAlignment - 1) / kAlignment * kAlignment;
  }
  impl_->memory = backend.allocate(elements * static_cast<int64_t>(sizeof(float)));
  const auto count = static_cast<size_t>(batch * spec.config.max_seq_len);
  for (auto* array : {&impl_->tokens, &impl_->targets, &impl_->segment_ids, &impl_->positions})
    array->resize(count);
  impl_->losses.resize(count);
  impl_->logits.resize(static_cast<size_t>(vocab_size));
}

InferenceModel::~InferenceModel() = default;

std::vector<ParamSlot> InferenceModel::slots() {
  std::vector<ParamSlot> slots;
  for (size_t i = 0; i < impl_->params.size(); ++i)
    slots.push_back(
        {&impl_->params[i], reinterpret_cast<float*>(impl_->memory->data()) + impl_->offsets[i]});
  return slots;
}

namespace {
template <class T>
std::byte* bytes(std::vector<T>& v) {
  return reinterpret_cast<std::byte*>(v.data());
}
}  // namespace

std::span<const float> InferenceModel::token_losses(const Rows& rows) {
  Impl& m = *impl_;
  if (!m.evaluation) {
    std::byte* const inputs[] = {bytes(m.tokens), bytes(m.targets), bytes(m.segment_ids),
                                 bytes(m.positions)};
    m.evaluation.emplace(m.prepare(trace_evaluation(m.spec, m.shape), inputs, bytes(m.losses)));
  }
  std::copy_n(rows.tokens, m.tokens.size(), m.tokens.begin());
  std::copy_n(rows.targets, m.targets.size(), m.targets.begin());
  std::copy_n(rows.segment_ids, m.segment_ids.size(), m.segment_ids.begin());
  std::copy_n(rows.positions, m.positions.size(), m.positions.begin());
  m.evaluation->executable.run();
  return m.losses;
}

std::span<const float> InferenceModel::next_logits(std::span<const int32_t> tokens) {
  Impl& m = *impl_;
  LEV_CHECK(!tokens.empty(), "there is nothing to continue");
  if (!m.next) {
    std::byte* const inputs[] = {bytes(m.tokens), bytes(m.segment_ids), bytes(m.positions),
                                 bytes(m.last)};
    StepShape one = m.shape;
    one.batch = 1;
    m.next.emplace(m.prepare(trace_next_logits(m.spec, one), inputs, bytes(m.logits)));
  }
  const auto window = static_cast<size_t>(m.shape.position);
  tokens = tokens.last(std::min(window, tokens.size()));
  for (size_t t = 0; t < window; ++t) {
    m.tokens[t] = t < tokens.size() ? tokens[t] : 0;  // what follows is masked by causality
    m.segment_ids[t] = 0;
    m.positions[t] = static_cast<int32_t>(t);
  }
  m.last[0] = static_cast<int32_t>(tokens.size()) - 1;
  m.next->executable.run();
  return m.logits;
}

std::vector<int32_t> generate(InferenceModel& model, std::span<const int32_t> prompt,
                              const GenerateOptions& options) {
  std::vector<int32_t> all(prompt.begin(), prompt.end());
  for (int64_t i = 0; i < options.max_new_tokens; ++i) {
    const int32_t token =
        sample(model.next_logits(all), options.sampling, options.key, static_cast<uint64_t>(i));
    if (std::find(options.stop_ids.begin(), options.stop_ids.end(), token) !=
        options.stop_ids.end())
      break;
    all.push_back(token);
  }
  return {all.begin() + static_cast<std::ptrdiff_t>(prompt.size()), all.end()};
}

}  // namespace levanter::infer
