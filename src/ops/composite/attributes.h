// What the nodes of composites carry, by name, as ops/attributes.h has it for primitive ops;
// attention's are in attention.h.
#pragma once

#include "ops/ops.h"

namespace levanter {

/// Of `gelu` and `gelu_grad`.
struct GeluAttributes {
  Gelu kind = Gelu::kTanh;

  Attributes pack() const { return {.code = static_cast<int32_t>(kind)}; }
  static GeluAttributes of(const Attributes& a) { return {static_cast<Gelu>(a.code)}; }
};

/// Of `dropout`.
struct DropoutAttributes {
  double rate = 0;

  Attributes pack() const { return {.reals = {rate}}; }
  static DropoutAttributes of(const Attributes& a) { return {a.reals[0]}; }
};

/// Of `layer_norm`, and the last two of `layer_norm_grad`.
struct LayerNormAttributes {
  double eps = 0;
  bool has_bias = false;
  bool has_mean = true;    ///< else the mean counts as 0: RMS norm
  bool is_frozen = false;  ///< the gradient is x's alone

  Attributes pack() const { return {.ints = {has_bias, !has_mean, is_frozen}, .reals = {eps}}; }
  static LayerNormAttributes of(const Attributes& a) {
    return {a.reals[0], a.ints[0] != 0, a.ints[1] == 0, a.ints[2] != 0};
  }
};

/// What else `linear_xent` gives than losses.
enum class XentGradients : uint8_t {
  kNone,
  kHidden,  ///< dh, where the weight is frozen
  kBoth,    ///< dh and dweight
};

/// Of `linear_xent`.
struct LinearXentAttributes {
  XentGradients gradients = XentGradients::kNone;
  LinearXentOptions options;

  Attributes pack() const {
    return {.ints = {static_cast<int64_t>(gradients), options.scaled_only},
            .reals = {options.z_loss, options.soft_cap}};
  }
  static LinearXentAttributes of(const Attributes& a) {
    return {static_cast<XentGradients>(a.ints[0]),  // as they were packed
            {.z_loss = a.reals[0], .soft_cap = a.reals[1], .scaled_only = a.ints[1] != 0}};
  }
};

/// Of `adamw`.
struct AdamwAttributes {
  AdamwOptions options;

  Attributes pack() const {
    return {.reals = {options.beta1, options.beta2, options.epsilon, options.weight_decay}};
  }
  static AdamwAttributes of(const Attributes& a) {
    const auto [beta1, beta2, epsilon, weight_decay] = a.reals;
    return {{beta1, beta2, epsilon, weight_decay}};
  }
};

/// Of `grouped_outer`.
struct GroupedOuterAttributes {
  Axes weight;        ///< of each result
  int64_t count = 0;  ///< of results

  Attributes pack() const { return {.axes = weight, .ints = {count}}; }
  static GroupedOuterAttributes of(const Attributes& a) { return {a.axes, a.ints[0]}; }
};

}  // namespace levanter
