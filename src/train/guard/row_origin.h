// Where a row of the training data comes from.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "data/text_data.h"
#include "train/config/train_config.h"

namespace levanter::train {

struct RowOrigin {
  std::string component;
  int64_t epoch = 0;  ///< of all data, or of the component where there is a mixture
  int64_t row = 0;    ///< of the component, in the order of its stream
};

/// Follows the order of data::training_rows backwards.
class RowOrigins final {
 public:
  /// The data outlive this.
  RowOrigins(const TrainConfig& config, const data::TextData& data);
  ~RowOrigins();

  /// Of an example, by its index in the order of all.
  RowOrigin of(int64_t example) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace levanter::train
