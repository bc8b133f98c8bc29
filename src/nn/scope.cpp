// Declares parameters under their paths, and marks nodes with the module that made them.
#include "nn/scope.h"

#include "base/strings.h"
#include "nn/adaptation.h"

namespace levanter::nn {

std::string_view name_of(Role role) {
  switch (role) {
    case Role::kWeight:
    case Role::kExpert:
      return "weight";
    case Role::kBias:
      return "bias";
    case Role::kNorm:
      return "norm";
    case Role::kEmbedding:
      return "embedding";
    case Role::kScale:
      return "scale";
  }
  return "";
}

Scope Scope::operator/(std::string_view name) const {
  Scope child = *this;
  child.path_ = path_.empty() ? std::string(name) : cat(path_, ".", name);
  return child;
}

Scope Scope::frozen() const {
  Scope same = *this;
  same.trainable_ = false;
  return same;
}

Scope Scope::in_group(std::string_view name) const {
  Scope same = *this;
  same.group_ = name;
  return same;
}

Scope Scope::adapter() const {
  Scope same = *this;
  same.adapts_ = true;
  return same;
}

Scope Scope::adapter_named(std::string_view name) const {
  Scope same = *this;
  same.adapter_prefix_ = cat(name, ":");
  return same;
}

NamedArray Scope::adapter_of_row() const { return adapted_->of_row; }

std::shared_ptr<const Adaptation> Scope::adapt(std::span<const Matrix> matrices) const {
  if (!adapted_) return nullptr;
  Adapted::Site& site = adapted_->sites.emplace_back();
  for (const Matrix& matrix : matrices) site.modules.push_back(matrix.scope.path());
  site.adaptation = adapted_->adapter->adapt(matrices);
  return site.adaptation;
}

NamedArray Scope::param(std::string_view name, const Axes& axes, std::vector<int64_t> shape,
                        Init init, Role role, const Axes& in) const {
  const std::string path = cat(adapts_ ? adapter_prefix_ : "", path_, ".", name);
  const bool is_matrix = role != Role::kBias && role != Role::kNorm && role != Role::kScale;
  DType held = graph().real();
  if (adapted_ && adapted_->frozen && !adapts_ && is_matrix) {
    held = *adapted_->frozen;
    if (held == DType::i8 && in.empty()) held = graph().compute();  // rows that are looked up
  }
  const Type type{held, axes};
  const NamedArray value = function_->argument(path, type);
  const bool is_trained = adapts_ || (trainable_ && !adapted_);
  params_->push_back(
      {path, type, std::move(shape), init, role, value, is_trained, group_, in, adapts_});
  return value;
}

Weight Scope::weight(const Axes& axes, std::vector<int64_t> shape, Init init, Role role,
                     const Axes& in) const {
  Weight w{param("weight", axes, std::move(shape), init, role, in)};
  const Axes out = without(axes, in);
  if (w.array.dtype() == DType::i8)
    w.scale = param(scale_name("weight"), out, {out.elements()}, Init::ones(), Role::kScale);
  return w;
}

NamedArray Weight::times(NamedArray x, const Axes& out) const {
  if (scale) return quantized_dot(x, array, scale);
  return dot(x, pack(array), unite(without(x.axes(), array.axes()), out));
}

NamedArray Weight::factor() const {
  return scale ? dequantize(array, scale, array.graph().compute()) : pack(array);
}

std::string scale_name(std::string_view path) { return cat(path, "_scale"); }

OriginScope Scope::enter() const {
  Origin origin = graph().origin();
  origin.path = graph().intern_path(path_);
  return {graph(), origin, false};
}

OriginScope Scope::enter_region(Region region) const {
  Origin origin = graph().origin();
  origin.path = graph().intern_path(path_);
  region.name = path_;
  origin.region = graph().add_region(std::move(region));
  return {graph(), origin, false};
}

}  // namespace levanter::nn
