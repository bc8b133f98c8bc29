// Runs that begin with a Hugging Face folder: its model's shape in a config, its weights in memory.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "compat/hf_folder.h"
#include "config/value.h"
#include "infer/trace.h"
#include "checkpoint/load.h"
#include "train/config/train_config.h"

namespace levanter::train {

/// Where a config says model = { type = "from_hf", path = "DIR" }, puts the folder's family and
/// sizes in its place; further keys of [model] lie over these. Where [start_from] or data.tokenizer
/// do not say otherwise, they are the folder's weights and its tokenizer; where [stop_strings] is
/// not said, it is what the folder's generation_config.json lists.
/// returns the folder's settings that only training would heed, and does not
/// error  kConfig without a path; kCheckpoint as models::read_hf_model
std::vector<std::string> take_hf_model(config::Value& root);

/// A Hugging Face folder as a config of its model and tokenizer.
TrainConfig hf_config(const std::string& folder, std::span<const std::string> overrides = {});

/// compat::changed_since_export of the folder that data.tokenizer.path names or lies in; "" for
/// tokenizers of no folder, or of `known`, which was looked at already.
std::string changed_tokenizer(const TrainConfig& config, const std::string& known = "");

/// Whether a folder's weights are this model's parameters, before memory is taken for them; errors
/// as compat::HfWeights::match.
void check_hf(const compat::HfWeights& weights, const infer::ModelSpec& model, int64_t vocab_size);

/// Fills a model's parameters, f32, or those of them that `targets` are, from a Hugging Face folder
/// of the whole model; errors as compat::HfWeights::load.
/// A token that the folder does not have gets the mean of all that it has.
void load_hf(const compat::HfWeights& weights, const infer::ModelSpec& model, int64_t vocab_size,
             std::span<const Tensor> targets, const ProgressReport& progress = {});

/// The same of some rows of a parameter, each into room that is given for it: what reads those that
/// `rows` names into as many f32, in any thread. All are compared with their checksums before.
///   returns  how many of the numbers the folder has; those of further tokens follow
using HfReader = std::function<int64_t(const Tensor& rows, std::span<float> room)>;
HfReader hf_reader(const compat::HfWeights& weights, const infer::ModelSpec& model,
                   int64_t vocab_size);

}  // namespace levanter::train
