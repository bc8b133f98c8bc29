// Compiles a model's functions for evaluation and decoding, and runs them over one memory.
#include "infer/inference.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "device/transfer.h"
#include "infer/batch_layout.h"
#include "infer/generation.h"
#include "infer/parameter_store.h"
#include "passes/passes.h"
#include "runtime/executable.h"

namespace levanter::infer {

namespace {
/// Tokens of a prompt that are read at a time: the least for which products run at their full
/// speed.
constexpr int64_t kPiece = 64;

Executable compiled_for(const Function& function, const Backend& backend, bool small_m) {
  return compile(optimise(hoist_packs(function), backend), backend, {.small_m = small_m});
}

/// What decoding is made of: a piece of one row, a token of every row, and caches of `room` tokens.
struct DecodingPlan {
  DecodingPlan(const ModelSpec& spec, const StepShape& shape, const TextRoom& texts);

  int64_t rows, piece = 0, room = kPiece;
  std::vector<std::pair<std::string, int64_t>> caches;  ///< names, and bytes of a row
  Function text{""}, step{""};

  int64_t cache_bytes() const {
    int64_t total = 0;
    for (const auto& [name, bytes] : caches) total += bytes * rows;
    return total;
  }
  size_t slots() const { return static_cast<size_t>(std::max(rows, piece)); }
};

DecodingPlan::DecodingPlan(const ModelSpec& spec, const StepShape& shape, const TextRoom& texts)
    : rows(texts.rows) {
  const int64_t window = shape.position;
  while (room < std::min(texts.longest, window)) room *= 2;  // few lengths need functions
  room = std::min(room, window);
  StepShape one = shape, all = shape;
  one.batch = 1;
  one.position = piece = std::min(kPiece, room);
  all.batch = rows;
  all.position = 1;
  text = trace_decode(spec, one, room);
  step = trace_decode(spec, all, room);
  for (const Result& result : text.results)
    if (result.name != "logits")  // all others are caches, written in place
      caches.emplace_back(result.name, text.graph.type(result.value).bytes());
}

StepShape shape_of(const ModelSpec& spec, int64_t vocab_size, int64_t batch, DType compute) {
  return {batch, spec.config.max_seq_len, vocab_size, DType::f32, compute};
}

}  // namespace

struct InferenceModel::Impl {
  Impl(const ModelSpec& s, int64_t vocab_size, int64_t batch, const Backend& b, DType compute)
      : spec(s),
        backend(b),
        shape(shape_of(s, vocab_size, batch, compute)),
        store(b, trace_params(s, shape)) {}

  /// A compiled function with the memory that it runs in.
  struct Compiled {
    explicit Compiled(Executable e) : executable(std::move(e)) {}
    /// Runs it on rows, where it has arrays for them.
    void run(const Rows& rows) {
      layout.load(rows, Key(), batch.host().data());
      batch.upload();
      executable.run();
    }
    Executable executable;
    std::unique_ptr<Buffer> arena, workspace;
    BatchLayout layout;
    SharedArray<std::byte> batch;
  };

  /// Texts that grow by a token at a time.
  struct Decoding {
    int64_t rows = 0, piece = 0, room = 0;
    std::unique_ptr<Buffer> memory;  ///< of the caches: one after the other, row by row
    std::vector<std::pair<std::string, int64_t>> caches;  ///< names, and bytes of a row
    std::vector<int64_t> lengths;                         ///< of the rows' texts
    std::vector<int32_t> adapters;                        ///< of the rows' texts
    SharedArray<int32_t> tokens, positions, last, adapter;
    SharedArray<float> logits;
    std::optional<Compiled> text, step;  ///< a piece of one row; a token of every row

    void upload() {
      for (SharedArray<int32_t>* array : {&tokens, &positions, &last, &adapter}) array->upload();
    }
  };

  Executable compiled(const Function& function, bool small_m = false) {
    return compiled_for(function, backend, small_m);
  }

  Compiled prepare(Executable executable) {
    Compiled c(std::move(executable));
    c.arena = backend.allocate(c.executable.arena_bytes());
    c.workspace = backend.allocate(c.executable.workspace_bytes());
    return c;
  }

  /// A function of rows: `arrays` are its others.
  Compiled prepare(Executable executable, Addresses arrays) {
    Compiled c = prepare(std::move(executable));
    c.layout = BatchLayout({&c.executable});
    c.batch = SharedArray<std::byte>(backend, static_cast<size_t>(c.layout.bytes()));
    c.layout.add_places(c.batch.device(), arrays);
    bind(c, std::move(arrays));
    return c;
  }

  /// Gives a function its memory: `arrays` and the parameters.
  void bind(Compiled& c, Addresses arrays) {
    pack(c.executable);
    store.add_places(arrays);
    c.executable.bind_by_name(c.arena->data(), c.workspace->data(), arrays, arrays);
  }

  /// Packs, once for all, the parameters that functions read packed: all read the same ones.
  void pack(const Executable& reader) {
    if (store.has_packed()) return;
    const Packing packing(store.params(), {&reader});
    if (packing.empty()) return;
    store.keep_packed(packing);
    Executable e = compile(optimise(packing.function(), backend), backend);
    const auto arena = backend.allocate(e.arena_bytes());
    const auto workspace = backend.allocate(e.workspace_bytes());
    Addresses addresses;
    store.add_places(addresses);
    e.bind_by_name(arena->data(), workspace->data(), addresses, addresses);
    store.refresh(&e, nullptr);
  }

  void bind_decoding(Compiled& c, int64_t row);

  Executable compiled_evaluation() {
    return compiled(trace_evaluation(spec, shape, *models::objectives::make("lm")));
  }

  size_t loss_count() const { return static_cast<size_t>(shape.batch * shape.position); }

  ModelSpec spec;
  const Backend& backend;
  StepShape shape;
  ParameterStore store;
  SharedArray<int32_t> last, adapter;
  SharedArray<float> losses, logits;
  std::optional<Compiled> evaluation, next;
  std::optional<Decoding> decoding;
};

InferenceModel::InferenceModel(const ModelSpec& spec, int64_t vocab_size, int64_t batch,
                               const Backend& backend, DType compute)
    : impl_(std::make_unique<Impl>(spec, vocab_size, batch, backend, compute)) {
  impl_->last = SharedArray<int32_t>(backend, 1);
  impl_->adapter = SharedArray<int32_t>(backend, 1);
  impl_->logits = SharedArray<float>(backend, static_cast<size_t>(vocab_size));
}

InferenceModel::~InferenceModel() = default;

std::vector<Tensor> InferenceModel::tensors() { return impl_->store.tensors(); }

const std::vector<nn::Param>& InferenceModel::params() const { return impl_->store.params(); }

void InferenceModel::merge() {
  Impl& m = *impl_;
  Impl::Compiled merging =
      m.prepare(compile(optimise(trace_merge(m.spec, m.shape), m.backend), m.backend));
  Addresses parameters;
  m.store.add_places(parameters);
  merging.executable.bind_by_name(merging.arena->data(), merging.workspace->data(), parameters,
                                  parameters);
  merging.executable.run();
  m.store.changed();
}

int64_t InferenceModel::evaluation_bytes() {
  Impl& m = *impl_;
  const Executable e = m.compiled_evaluation();
  const int64_t packed = m.store.has_packed() ? 0 : Packing(m.store.params(), {&e}).bytes();
  const auto losses = static_cast<int64_t>(m.loss_count() * sizeof(float));
  return m.store.bytes() + packed + losses + BatchLayout({&e}).bytes() + e.arena_bytes() +
         e.workspace_bytes();
}

std::span<const float> InferenceModel::token_losses(const Rows& rows) {
  Impl& m = *impl_;
  if (!m.evaluation) {
    m.losses = SharedArray<float>(m.backend, m.loss_count());
    m.evaluation.emplace(m.prepare(m.compiled_evaluation(), {{"token_loss", m.losses.device()}}));
  }
  m.evaluation->run(rows);
  m.losses.download();
  return m.losses.host();
}

std::span<const float> InferenceModel::next_logits(std::span<const int32_t> tokens,
                                                   int32_t adapter) {
  Impl& m = *impl_;
  LEV_CHECK(!tokens.empty(), "there is nothing to continue");
  if (!m.next) {
    StepShape one = m.shape;
    one.batch = 1;
    m.next.emplace(
        m.prepare(m.compiled(trace_next_logits(m.spec, one)), {{"last", m.last.device()},
                                                               {"adapter", m.adapter.device()},
                                                               {"logits", m.logits.device()}}));
  }
  const auto window = static_cast<size_t>(m.shape.position);
  tokens = tokens.last(std::min(window, tokens.size()));
  data::Example row(window);
  std::copy(tokens.begin(), tokens.end(), row.tokens.begin());
  std::fill(row.segment_ids.begin(), row.segment_ids.end(), 0);  // causality masks what follows
  m.last.host()[0] = static_cast<int32_t>(tokens.size()) - 1;
  m.last.upload();
  m.adapter.host()[0] = adapter;
  m.adapter.upload();
  m.next->run({row});
  m.logits.download();
  return m.logits.host();
}

int64_t InferenceModel::max_seq_len() const { return impl_->shape.position; }

/// Gives a decoding function its memory, the caches from row `row` on.
void InferenceModel::Impl::bind_decoding(Compiled& c, int64_t row) {
  Decoding& d = *decoding;
  Addresses arrays = {{"tokens", d.tokens.device()},
                      {"positions", d.positions.device()},
                      {"last", d.last.device()},
                      {"adapter", d.adapter.device()},
                      {"logits", d.logits.device()}};
  std::byte* cache = d.memory->data();
  for (const auto& [name, size] : d.caches) {
    arrays[name] = cache + row * size;
    cache += d.rows * size;
  }
  bind(c, std::move(arrays));
}

void InferenceModel::begin_decoding(int64_t rows, int64_t longest) {
  Impl& m = *impl_;
  const int64_t window = m.shape.position;
  longest = std::min(longest, window);
  if (m.decoding && m.decoding->rows == rows && m.decoding->room >= longest) return;
  const DecodingPlan plan(m.spec, m.shape, {rows, longest});
  Impl::Decoding& d = m.decoding.emplace();
  d.rows = rows;
  d.room = plan.room;
  d.piece = plan.piece;
  d.caches = plan.caches;
  d.memory = m.backend.allocate(plan.cache_bytes());
  for (auto* array : {&d.tokens, &d.positions})
    *array = SharedArray<int32_t>(m.backend, plan.slots());
  for (auto* array : {&d.last, &d.adapter})
    *array = SharedArray<int32_t>(m.backend, static_cast<size_t>(rows));
  d.lengths.resize(static_cast<size_t>(rows));
  d.adapters.assign(static_cast<size_t>(rows), -1);
  d.logits = SharedArray<float>(m.backend, static_cast<size_t>(rows * m.shape.vocab_size));
  d.text.emplace(m.prepare(m.compiled(plan.text, true)));
  d.step.emplace(m.prepare(m.compiled(plan.step, true)));
  m.bind_decoding(*d.step, 0);
}

std::span<const float> InferenceModel::decode_text(int64_t row, std::span<const int32_t> tokens,
                                                   int32_t adapter) {
  Impl& m = *impl_;
  Impl::Decoding& d = *m.decoding;
  const auto length = static_cast<int64_t>(tokens.size());
  LEV_CHECK(length > 0 && length <= d.room, "a text of no tokens or too many");
  m.bind_decoding(*d.text, row);
  d.adapters[static_cast<size_t>(row)] = d.adapter.host()[0] = adapter;
  for (int64_t begin = 0; begin < length; begin += d.piece) {
    const int64_t count = std::min(d.piece, length - begin);
    for (int64_t i = 0; i < d.piece; ++i) {
      const auto at = static_cast<size_t>(i);
      d.tokens.host()[at] = i < count ? tokens[static_cast<size_t>(begin) + at] : 0;
      d.positions.host()[at] = i < count ? static_cast<int32_t>(begin + i) : -1;
    }
    d.last.host()[0] = static_cast<int32_t>(count) - 1;
    d.upload();
    d.text->executable.run();
  }
  d.lengths[static_cast<size_t>(row)] = length;
  d.logits.download();
  return d.logits.host().first(static_cast<size_t>(m.shape.vocab_size));
}

std::span<const float> InferenceModel::decode_next(std::span<const int32_t> tokens) {
  Impl& m = *impl_;
  Impl::Decoding& d = *m.decoding;
  LEV_CHECK(tokens.size() == d.lengths.size(), "a token for each row");
  for (size_t row = 0; row < tokens.size(); ++row) {
    const bool idle = tokens[row] < 0;
    LEV_CHECK(idle || d.lengths[row] < d.room, "a text has no room for a token");
    d.tokens.host()[row] = idle ? 0 : tokens[row];
    d.positions.host()[row] = idle ? -1 : static_cast<int32_t>(d.lengths[row]++);
    d.last.host()[row] = 0;
    d.adapter.host()[row] = d.adapters[row];
  }
  d.upload();
  d.step->executable.run();
  d.logits.download();
  return d.logits.host();
}

int64_t generation_bytes(const ModelSpec& spec, int64_t vocab_size, const TextRoom& texts,
                         const Backend& backend, DType compute) {
  const StepShape shape = shape_of(spec, vocab_size, 1, compute);
  const DecodingPlan plan(spec, shape, texts);
  const std::vector<nn::Param> params = trace_params(spec, shape);
  const Executable text = compiled_for(plan.text, backend, true),
                   step = compiled_for(plan.step, backend, true);
  const auto words = static_cast<int64_t>(2 * plan.slots()) + 2 * texts.rows;  // what goes in
  int64_t total = one_after_the_other(params).elements * 4 + Packing(params, {&text}).bytes() +
                  plan.cache_bytes() + 4 * (words + (texts.rows + 1) * vocab_size + 2);
  for (const Executable* e : {&text, &step})
    total += e->arena_bytes() + e->workspace_bytes() + e->constant_bytes();
  if (texts.longest <= shape.position) return total;
  const Executable next = compiled_for(trace_next_logits(spec, shape), backend, false);
  return total + next.arena_bytes() + next.workspace_bytes() + next.constant_bytes() +
         BatchLayout({&next}).bytes();
}

}  // namespace levanter::infer
