// Several adapters over one model at once: each row of a batch has one of them, or none.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/adapter.h"

namespace levanter::nn {

/// Every adapter is applied to all rows, and each row keeps what its own makes of it, to the bit
/// what that adapter alone would: they may differ in kind, rank and modules. Their parameters'
/// paths are "NAME:PATH". Not for training, nor to be merged.
class SeveralAdapters final : public Adapter {
 public:
  struct Named {
    std::string name;
    std::shared_ptr<const Adapter> adapter;
    std::string place = {};  ///< where it comes from, for errors
  };
  explicit SeveralAdapters(std::vector<Named> adapters) : adapters_(std::move(adapters)) {}

  std::shared_ptr<const Adaptation> adapt(std::span<const Matrix> matrices) const override;
  bool is_chosen_by_row() const override { return true; }

 private:
  std::vector<Named> adapters_;  ///< in the order that Adapted::of_row counts them
};

}  // namespace levanter::nn
