// Small matrices beside a frozen model's: what they make of its products.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nn/adapter.h"
#include "nn/scope.h"

namespace levanter::nn {

/// A matrix of a model, as the module that multiplies by it declares it.
struct Matrix {
  Scope scope;  ///< the module's
  Axes in, out;
  Weight weight;
};

/// What a module has multiplied: y = W x + bias, or each row of x with the matrix of its group.
struct Product {
  NamedArray x;
  NamedArray y;             ///< in the graph's compute type
  NamedArray bias;          ///< empty where there is none
  NamedArray group;         ///< i32, as of grouped_dot; empty where there is one matrix
  NamedArray dropout_keys;  ///< as of LmBatch; empty: nothing is dropped
};

/// What one matrix, or one for each group, has beside it.
class Adaptation {
 public:
  virtual ~Adaptation() = default;
  /// The product as it is with the adapter, of y's type and axes.
  virtual NamedArray apply(const Product& product) const = 0;
  /// For each matrix the one that multiplies alike where nothing is dropped.
  virtual std::vector<NamedArray> merged() const = 0;
  /// Parameters of its own that begin as a function of the others, by their paths.
  virtual std::vector<std::pair<std::string, NamedArray>> beginnings() const { return {}; }
};

/// What an adapter has met while a model was declared.
struct Adapted {
  /// The matrices of a product, by their modules' paths.
  struct Site {
    std::vector<std::string> modules;
    std::shared_ptr<const Adaptation> adaptation;  ///< null for none
  };
  const Adapter* adapter = nullptr;
  /// What the model's matrices are held in; absent: as ever. With i8 those that are only looked up,
  /// and the head, in the graph's compute type.
  std::optional<DType> frozen = {};
  std::vector<Site> sites = {};
  NamedArray of_row = {};  ///< i32 [batch], where rows choose among adapters; -1 for none
};

}  // namespace levanter::nn
