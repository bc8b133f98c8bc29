#include "commands/loaded_model.h"

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "device/backends.h"
#include "models/model.h"
#include "compat/hf_folder.h"
#include "train/checkpoint_load.h"
#include "train/hf_start.h"
#include "train/setup.h"

namespace levanter::commands {

namespace {

/// Throws the error of a tensor that does not fit, saying in which keys the models differ.
[[noreturn]] void explain(const Error& error, const Checkpoint& checkpoint,
                          const TrainConfig& config) {
  const TrainConfig saved =
      parse_train_config(checkpoint.config_toml(), join_path(checkpoint.folder(), "config.toml"));
  std::string list;
  for (const Difference& d : differences(saved, config))
    if (d.key.starts_with("model."))
      list += cat(list.empty() ? "" : "; ", d.key, " was ", d.saved, " and is ", d.now);
  if (list.empty()) throw error;
  throw Error(ErrorKind::kCheckpoint, error.message())
      .at(checkpoint.folder())
      .hint(cat("the checkpoint is of another model: ", list));
}

void make_model(LoadedModel& loaded, int64_t rows) {
  loaded.rows = rows > 0 ? rows : loaded.config.microbatch_size();
  loaded.backend = device::make_backend(
      loaded.config.trainer.device, static_cast<int>(loaded.config.trainer.threads.value_or(0)));
  train::require_precision(loaded.config, *loaded.backend);
  loaded.model = std::make_unique<infer::InferenceModel>(
      train::model_spec(loaded.config), train::vocab_size(loaded.config, loaded.tokenizer.get()),
      loaded.rows, *loaded.backend, loaded.config.trainer.compute());
}

std::vector<TensorTarget> targets_of(LoadedModel& loaded) {
  std::vector<TensorTarget> targets;
  for (const infer::ParamSlot& slot : loaded.model->slots())
    targets.push_back(
        {slot.param->path, DType::f32, slot.param->shape, reinterpret_cast<std::byte*>(slot.data)});
  return targets;
}

LoadedModel load_hf_folder(const std::string& folder, const std::string& config_file,
                           std::span<const std::string> overrides, int64_t rows) {
  LoadedModel loaded;
  loaded.folder = folder;
  loaded.config = config_file.empty() ? train::hf_config(folder, overrides)
                                      : load_train_config(config_file, overrides);
  if (config_file.empty()) loaded.tokenizer = text::open_tokenizer(folder);
  const infer::ModelSpec spec = train::model_spec(loaded.config);
  const std::string family = models::read_hf_model(folder).family->name;
  if (family != loaded.config.model.type)
    throw Error(ErrorKind::kCheckpoint, cat("the config's model is ", loaded.config.model.type,
                                            ", the folder's is ", family))
        .at(loaded.config.where("model.type"))
        .hint(cat("take the folder's: --model='{type = \"from_hf\", path = \"", folder, "\"}'"));
  const int64_t vocab = train::vocab_size(loaded.config, loaded.tokenizer.get());
  train::check_hf(folder, spec, vocab);
  make_model(loaded, rows);
  train::load_hf(folder, spec, vocab, targets_of(loaded));
  return loaded;
}

}  // namespace

LoadedModel load_model(const std::string& checkpoint, const std::string& config_file,
                       std::span<const std::string> overrides, int64_t rows) {
  if (compat::is_hf_folder(checkpoint))
    return load_hf_folder(checkpoint, config_file, overrides, rows);
  FoundCheckpoint found = open_checkpoint(checkpoint);
  const Checkpoint& good = *found.checkpoint;
  LoadedModel loaded;
  loaded.folder = good.folder();
  loaded.step = good.step();
  loaded.problems = std::move(found.problems);
  loaded.config = config_file.empty()
                      ? parse_train_config(good.config_toml(),
                                           join_path(good.folder(), "config.toml"), overrides)
                      : load_train_config(config_file, overrides);
  loaded.tokenizer =
      text::load_tokenizer(good.tokenizer(), join_path(good.folder(), "tokenizer.json"));
  make_model(loaded, rows);
  try {
    for (const TensorTarget& target : targets_of(loaded)) good.load(target);
  } catch (const Error& error) {
    explain(error, good, loaded.config);
  }
  return loaded;
}

}  // namespace levanter::commands
