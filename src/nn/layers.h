// The layers that models are built of: plain structs whose constructors declare parameters and
// whose operator() builds the graph. Parameters have the graph's real type, what a layer returns
// has its compute type.
#pragma once

#include <memory>

#include "nn/scope.h"

namespace levanter::nn {

/// Which axes of a linear layer's weight come first in memory and in files.
enum class WeightOrder : uint8_t {
  kInOut,  ///< Hugging Face's Conv1D
  kOutIn,  ///< torch.nn.Linear
};

/// y[..., out] = sum over in of x[..., in] weight[in, out] + bias[out]. `in` and `out` may be
/// several axes. Under mixed precision weight and bias are packed, and the sum is rounded once,
/// after the bias.
struct Linear {
  struct Options {
    bool bias = true;
    Init init;
    WeightOrder order = WeightOrder::kInOut;
  };
  Linear(const Scope& scope, const Axes& in, const Axes& out, const Options& options);
  NamedArray operator()(NamedArray x, NamedArray dropout_keys) const;

  Scope scope;
  Axes in, out;
  Weight weight;
  NamedArray bias;
  std::shared_ptr<const Adaptation> adaptation;  ///< null for none
};

/// One row of `embed` for each entry of `table`.
struct Embedding {
  Embedding(const Scope& scope, Axis table, Axis embed, Init init);
  /// ids: i32 [...] -> [..., embed]
  NamedArray operator()(NamedArray ids) const;

  Scope scope;
  AxisName table;
  NamedArray weight;
};

/// Layer norm over `embed` with a weight and, if asked for, a bias.
struct LayerNorm {
  LayerNorm(const Scope& scope, Axis embed, double epsilon, bool with_bias);
  NamedArray operator()(NamedArray x) const;

  Scope scope;
  double epsilon;
  NamedArray weight, bias;
};

/// RMS norm over `axes`.
struct RmsNorm {
  /// What is multiplied by.
  enum class Weight : uint8_t {
    kAroundOne,   ///< a weight
    kAroundZero,  ///< 1 + a weight
    kNone,
  };
  RmsNorm(const Scope& scope, const Axes& axes, double epsilon, Weight kind);
  NamedArray operator()(NamedArray x) const;

  Scope scope;
  Axes axes;
  double epsilon;
  Weight kind;
  NamedArray weight;
};

/// Dropout with a stream of its own: the keys folded with the hash of the module's path and `name`.
struct Dropout {
  Dropout(const Scope& scope, std::string_view name, double rate);
  /// The keys for this place; empty when nothing is dropped (`keys` empty, or rate 0).
  NamedArray keys_for(NamedArray keys) const;
  NamedArray operator()(NamedArray x, NamedArray keys) const;

  std::string path;
  double rate;
};

}  // namespace levanter::nn
