// Whether what a config names is there and is what it should be.
#pragma once

#include "config/problems.h"
#include "train/config/train_config.h"

namespace levanter::train {

/// Reports, each at its key: texts that match nothing, cannot be read or do not begin with a record
/// of their format; a tokenizer or chat template that cannot be opened; a checkpoint or Hugging
/// Face folder to start from that is none or of another model; folders that cannot be written to.
/// Of a text no more than its beginning is read, and web addresses are not looked at.
void look(const TrainConfig& config, config::Problems& problems);

}  // namespace levanter::train
