// What the model in training writes: trainer.sample.
#pragma once

#include "infer/generation.h"
#include "text/tokenizer.h"
#include "train/config/train_config.h"

namespace levanter::train {

/// The most room that the texts of trainer.sample take, whatever the tokenizer; none where there
/// are none.
infer::TextRoom sample_room(const TrainConfig& config);

/// Throws where a prompt is none for the model. error  kConfig naming it
void require_prompts(const TrainConfig& config, const text::Tokenizer& tokenizer,
                     int64_t vocab_size);

}  // namespace levanter::train
