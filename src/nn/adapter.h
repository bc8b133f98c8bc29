// What makes adaptations: the small matrices beside a frozen model's.
#pragma once

#include <memory>
#include <span>

namespace levanter::nn {

class Adaptation;
struct Matrix;

/// One kind of adapter with its settings.
class Adapter {
 public:
  virtual ~Adapter() = default;
  /// The adaptation of the matrices of one product, whose parameters it declares through their
  /// scopes; null for matrices that are left alone.
  virtual std::shared_ptr<const Adaptation> adapt(std::span<const Matrix> matrices) const = 0;
  /// Whether each row of a batch chooses what is beside it: see Adapted::of_row.
  virtual bool is_chosen_by_row() const { return false; }
};

}  // namespace levanter::nn
