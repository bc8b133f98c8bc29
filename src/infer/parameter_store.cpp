// A model's parameters in a device's memory, and the packed forms that compiled functions read.
#include "infer/parameter_store.h"

#include <utility>

#include "base/integers.h"

namespace levanter::infer {

namespace {
constexpr int64_t kAlignment = 16;  // elements of f32: 64 bytes
}  // namespace

ParameterLayout one_after_the_other(const std::vector<nn::Param>& params) {
  ParameterLayout layout;
  for (const nn::Param& param : params) {
    layout.offsets.push_back(layout.elements);
    layout.elements += round_up(param.type.elements(), kAlignment);
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
      tensors.push_back({params_[i].path, DType::f32, params_[i].shape, place(i), backend_});
  return tensors;
}

void ParameterStore::keep_packed(Packing packing) {
  packing_ = std::move(packing);
  packed_ = backend_->allocate(packing_.bytes());
  packed_is_fresh_ = false;
}

void ParameterStore::refresh(const Executable& packer, StepObserver* observer) {
  if (packed_is_fresh_) return;
  packer.run(observer);
  packed_is_fresh_ = true;
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
