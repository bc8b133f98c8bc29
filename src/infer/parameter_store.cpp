// A model's parameters in a device's memory, and the packed forms that compiled functions read.
#include "infer/parameter_store.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/integers.h"
#include "base/threads.h"
#include "device/transfer.h"

namespace levanter::infer {

namespace {
constexpr int64_t kAlignment = 16;  // elements of f32: 64 bytes
}  // namespace

int64_t room_of(const nn::Param& param) { return ceil_div(param.type.bytes(), 4); }

ParameterLayout one_after_the_other(const std::vector<nn::Param>& params) {
  ParameterLayout layout;
  for (const nn::Param& param : params) {
    layout.offsets.push_back(layout.elements);
    layout.elements += round_up(room_of(param), kAlignment);
  }
  return layout;
}

ParameterStore::ParameterStore(const Backend& backend, std::vector<nn::Param> params,
                               ParameterLayout layout)
    : backend_(&backend),
      params_(std::move(params)),
      layout_(std::move(layout)),
      memory_(backend.allocate(layout_.elements * static_cast<int64_t>(sizeof(float)))) {}

std::byte* ParameterStore::place(size_t param) const {
  if (layout_.offsets[param] == ParameterLayout::kElsewhere) return nullptr;
  return memory_->data() + layout_.offsets[param] * static_cast<int64_t>(sizeof(float));
}

std::vector<Tensor> ParameterStore::tensors() const {
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < params_.size(); ++i)
    if (place(i))
      tensors.push_back(
          {params_[i].path, params_[i].type.dtype, params_[i].shape, place(i), backend_});
  return tensors;
}

void draw(const nn::Init& init, Key key, uint64_t first, std::span<float> values) {
  const auto mean = static_cast<float>(init.mean), stddev = static_cast<float>(init.stddev);
  if (init.stddev > 0) {
    fill_normal(key, first, values);
    for (float& x : values) x = mean + stddev * x;
  } else if (init.reach > 0) {
    const auto reach = static_cast<float>(init.reach);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = uniform(key, first + i, mean - reach, mean + reach);
  } else {
    std::fill(values.begin(), values.end(), mean);
  }
}

namespace {

/// A part of an array that begins as values of `init` under `key`.
struct Piece {
  float* to;
  int64_t first, count;
  nn::Init init;
  Key key;
};

void begin(const Piece& piece, const Memory& memory) {
  const auto count = static_cast<size_t>(piece.count);
  auto* const to = reinterpret_cast<std::byte*>(piece.to + piece.first);
  const nn::Init& init = piece.init;
  if (init.stddev <= 0 && init.reach <= 0 && init.mean == 0)
    return memory.fill(to, piece.count * static_cast<int64_t>(sizeof(float)), std::byte{0});
  HostWrite place(memory, to, count * sizeof(float));
  draw(init, piece.key, static_cast<uint64_t>(piece.first),
       {reinterpret_cast<float*>(place.bytes().data()), count});
  place.done();
}

}  // namespace

void ParameterStore::draw(Key key, const ProgressReport& progress) {
  changed();
  static constexpr int64_t kPiece = 1 << 16;  // what fits a core's own cache
  std::vector<Piece> pieces;
  for (size_t i = 0; i < params_.size(); ++i) {
    auto* const to = reinterpret_cast<float*>(place(i));
    if (params_[i].type.dtype != DType::f32) continue;  // is read from where it is kept
    const int64_t count = params_[i].type.elements();
    for (int64_t at = 0; to && at < count; at += kPiece)
      pieces.push_back(
          {to, at, std::min(kPiece, count - at), params_[i].init, fold_in(key, params_[i].path)});
  }
  ThreadPool pool(backend_->threads());
  int64_t all = 0;
  for (const Piece& piece : pieces) all += piece.count;
  std::atomic<int64_t> done = 0;
  const auto tell = [&] {
    if (progress)
      progress({"initialising", static_cast<double>(done), static_cast<double>(all), "parameter"});
  };
  pool.parallel_for(std::ssize(pieces), [&](int64_t i, int worker) {
    begin(pieces[static_cast<size_t>(i)], *backend_);
    done += pieces[static_cast<size_t>(i)].count;
    if (worker == 0) tell();  // one thread alone
  });
  tell();
}

void ParameterStore::keep_packed(Packing packing) {
  packing_ = std::move(packing);
  packed_ = backend_->allocate(packing_.bytes());
  changed();
}

void ParameterStore::refresh(const Executable* trained, const Executable* frozen,
                             StepObserver* observer) {
  if (trained && !trained_is_packed_) trained->run(observer);
  if (frozen && !frozen_is_packed_) frozen->run(observer);
  trained_is_packed_ = frozen_is_packed_ = true;
}

void ParameterStore::add_places(Addresses& addresses) const {
  for (size_t i = 0; i < params_.size(); ++i)
    if (place(i)) addresses[params_[i].path] = place(i);
  if (packed_) packing_.add_places(packed_->data(), addresses);
}

int64_t ParameterStore::bytes() const {
  return memory_->bytes() + (packed_ ? packed_->bytes() : 0);
}

}  // namespace levanter::infer
