// Where a module's parameters are declared: a path, which is the Hugging Face tensor name.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ops/function.h"
#include "ops/ops.h"

namespace levanter::nn {

/// What a parameter is: optimizers decay by role. An expert is a weight that few tokens meet;
/// scales are those of a frozen weight in int8, and no parameters of the model.
enum class Role : uint8_t { kWeight, kBias, kNorm, kEmbedding, kExpert, kScale };
/// "weight", "bias", "norm", "embedding", "weight", "scale".
std::string_view name_of(Role role);

class Adaptation;
struct Adapted;
struct Matrix;

/// How a parameter begins: every element `mean`, or normal around it, or uniform at most `reach`
/// from it.
struct Init {
  double mean = 0, stddev = 0, reach = 0;
  static Init zeros() { return {}; }
  static Init ones() { return {.mean = 1}; }
  static Init normal(double stddev) { return {.stddev = stddev}; }
  static Init uniform(double reach) { return {.reach = reach}; }
};

/// An array of a model. In files its path is its name and `shape` its shape: the axes, some of them
/// merged, in the same order, so that the bytes are the same.
struct Param {
  std::string path;
  Type type;
  std::vector<int64_t> shape;
  Init init;
  Role role = Role::kWeight;
  NamedArray value;        ///< the argument of the function being traced
  bool trainable = true;   ///< false: it has no gradient and no optimizer state, and never moves
  std::string group = {};  ///< what optimizers may tell parameters apart by, besides their role
  Axes in = {};            ///< of a weight that multiplies: the axes that are summed over
  bool adapts = false;     ///< is the adapter's, not the model's
};

/// A matrix that a module multiplies by: an array, or one of int8 with a scale for each of its
/// rows, those of one output.
struct Weight {
  NamedArray array;
  NamedArray scale = {};  ///< [out...]; empty where the array is floating

  /// x W^T: the product over the axes that both have, which `out` lacks.
  NamedArray times(NamedArray x, const Axes& out) const;
  /// W as products read it.
  NamedArray factor() const;
};
/// What the scales of the parameter `path` are called.
std::string scale_name(std::string_view path);

/// A place in the tree of modules of a function being traced. Constructors declare parameters
/// through it; `operator()`s enter it, so that their nodes carry its path.
class Scope {
 public:
  /// `adapted`: where the model has an adapter; its own parameters are then frozen.
  Scope(Function& function, std::vector<Param>& params, Adapted* adapted = nullptr)
      : function_(&function), params_(&params), adapted_(adapted) {}

  /// The scope of a child: "transformer" / "h" is "transformer.h".
  Scope operator/(std::string_view name) const;

  /// The same place, whose parameters and those below it are not trained.
  Scope frozen() const;
  /// The same place, whose parameters and those below it are of this group.
  Scope in_group(std::string_view name) const;
  /// The same place, whose parameters are the adapter's and are trained.
  Scope adapter() const;
  /// The same place, where the paths of an adapter's parameters begin with NAME and a colon.
  Scope adapter_named(std::string_view name) const;
  /// Adapted::of_row, once the model is built.
  NamedArray adapter_of_row() const;
  /// What the model's adapter does to the matrices of one product; null for nothing.
  std::shared_ptr<const Adaptation> adapt(std::span<const Matrix> matrices) const;

  /// Declares the parameter `path`.`name`, an argument of the function. `in`: see Param.
  NamedArray param(std::string_view name, const Axes& axes, std::vector<int64_t> shape, Init init,
                   Role role, const Axes& in = {}) const;

  /// Declares the module's matrix, "weight", which multiplies over `in`; under an adapter that
  /// holds the model in int8 its scales too.
  Weight weight(const Axes& axes, std::vector<int64_t> shape, Init init, Role role,
                const Axes& in) const;

  /// While the result lives, new nodes carry this path.
  [[nodiscard]] OriginScope enter() const;
  /// enter(), and the nodes belong to a new region with this policy, named for the path.
  [[nodiscard]] OriginScope enter_region(Region region) const;

  Graph& graph() const { return function_->graph; }
  const std::string& path() const { return path_; }

 private:
  Function* function_;
  std::vector<Param>* params_;
  Adapted* adapted_;
  std::string path_;
  bool trainable_ = true, adapts_ = false;
  std::string group_, adapter_prefix_;
};

}  // namespace levanter::nn
