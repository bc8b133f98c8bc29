// A model's parameters in a device's memory, and the packed forms that compiled functions read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/progress.h"
#include "base/random.h"
#include "device/tensor.h"
#include "infer/packing.h"

namespace levanter::infer {

/// Where each parameter begins in one array of f32, in elements.
struct ParameterLayout {
  static constexpr int64_t kElsewhere = -1;  ///< the offset of one that another rank has
  std::vector<int64_t> offsets;
  int64_t elements = 0;
};
/// Elements of a parameter, from its element `first` on, as they begin under its key.
void draw(const nn::Init& init, Key key, uint64_t first, std::span<float> values);

/// How many elements of f32 a parameter's bytes take.
int64_t room_of(const nn::Param& param);
/// One after the other, each from a multiple of 64 bytes.
ParameterLayout one_after_the_other(const std::vector<nn::Param>& params);

/// All functions over one model take its parameters from here, for training and inference alike.
class ParameterStore final {
 public:
  /// Zeros. The backend outlives this.
  ParameterStore(const Backend& backend, std::vector<nn::Param> params, ParameterLayout layout);
  ParameterStore(const Backend& backend, std::vector<nn::Param> params)
      : ParameterStore(backend, params, one_after_the_other(params)) {}

  const std::vector<nn::Param>& params() const { return params_; }
  /// Null for a parameter that another rank has.
  std::byte* place(size_t param) const;
  /// All of them, as they are laid out.
  std::byte* memory() const { return memory_->data(); }
  /// The parameters that are here, in their order. After writing to them: changed().
  std::vector<Tensor> tensors() const;

  /// Draws those that are here as they begin: element i of a parameter from its path's own key.
  void draw(Key key, const ProgressReport& progress = {});

  /// Makes room for packed forms.
  void keep_packed(Packing packing);
  bool has_packed() const { return packed_ != nullptr; }
  /// The packed forms are no longer those of the parameters: of all, or of those that are trained.
  void changed() { trained_is_packed_ = frozen_is_packed_ = false; }
  void updated() { trained_is_packed_ = false; }
  /// Runs the packing's functions, bound to this memory, where they are not: of what is trained,
  /// and of what is frozen; null for none.
  void refresh(const Executable* trained, const Executable* frozen,
               StepObserver* observer = nullptr);

  /// Says where parameters and packed forms are, of those that are here.
  void add_places(Addresses& addresses) const;
  int64_t bytes() const;

 private:
  const Backend* backend_;
  std::vector<nn::Param> params_;
  ParameterLayout layout_;
  std::unique_ptr<Buffer> memory_;
  Packing packing_;
  std::unique_ptr<Buffer> packed_;
  bool trained_is_packed_ = false, frozen_is_packed_ = false;
};

}  // namespace levanter::infer
