#include "commands/loaded_model.h"

#include "base/files.h"
#include "base/strings.h"
#include "device/backends.h"
#include "train/checkpoint_load.h"
#include "train/setup.h"

namespace levanter::commands {

LoadedModel load_model(const std::string& checkpoint, const std::string& config_file,
                       std::span<const std::string> overrides) {
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
  loaded.backend = device::make_backend(
      loaded.config.trainer.device, static_cast<int>(loaded.config.trainer.threads.value_or(0)));
  loaded.model = std::make_unique<infer::InferenceModel>(
      train::model_spec(loaded.config), train::vocab_size(loaded.config, loaded.tokenizer.get()),
      loaded.config.microbatch_size(), *loaded.backend);
  for (const infer::ParamSlot& slot : loaded.model->slots())
    good.load(
        {slot.param->path, DType::f32, slot.param->shape, reinterpret_cast<std::byte*>(slot.data)});
  return loaded;
}

}  // namespace levanter::commands
