// Opens a checkpoint or a Hugging Face folder for evaluation and generation.
#include "commands/loaded_model.h"

#include <algorithm>
#include <cmath>

#include "base/bf16.h"
#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "commands/progress.h"
#include "device/backends.h"
#include "device/transfer.h"
#include "compat/hf_folder.h"
#include "nn/several_adapters.h"
#include "data/rows/loader.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/load.h"
#include "train/adapter/base.h"
#include "train/adapter/peft.h"
#include "train/evaluate.h"
#include "train/hf/start.h"
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

/// The rows of the model's embedding. A tokenizer may have more tokens: those that occur are looked
/// at one by one.
int64_t vocab_size_of(const LoadedModel& loaded) {
  const text::Tokenizer* tokenizer = loaded.tokenizer.get();
  const std::optional<int64_t> known = train::known_vocab_size(loaded.config, tokenizer);
  return known ? *known : train::vocab_size(loaded.config, tokenizer);
}

/// `adapter`: the only one, of a folder; null where there is none, or several.
void make_model(LoadedModel& loaded, int64_t rows, const AdapterFolder* adapter) {
  loaded.vocab_size = vocab_size_of(loaded);
  loaded.rows = rows > 0 ? rows : loaded.config.microbatch_size();
  loaded.backend = device::make_backend(
      loaded.config.trainer.device, static_cast<int>(loaded.config.trainer.threads.value_or(0)));
  infer::ModelSpec spec = train::model_spec(loaded.config);
  if (loaded.several) spec.adapter = loaded.several.get();
  try {
    loaded.model = std::make_unique<infer::InferenceModel>(
        spec, loaded.vocab_size, loaded.rows, *loaded.backend, loaded.config.trainer.compute());
  } catch (const Error& error) {
    if (!adapter || !error.at().empty() || !error.message().starts_with("adapter.")) throw;
    throw Error(error).at(join_path(adapter->folder, train::kPeftConfig));
  }
}

/// Keys that do not change what a trained model computes: a config may have its own.
constexpr std::string_view kFree[] = {"max_seq_len",       "vocab_size",  "gradient_checkpointing",
                                      "initializer_range", "embed_pdrop", "attn_pdrop",
                                      "resid_pdrop",       "lbl_coef",    "rzl_coef"};

/// Gives a config that was written for its data the model that the weights are of, with the window
/// that it says itself; where it describes another model, that is told.
void take_model(LoadedModel& loaded, TrainConfig own, const std::string& whose) {
  TrainConfig& config = loaded.config;
  const bool learned_positions = own.model.type == "gpt2";
  std::string list;
  for (const Difference& d : differences(own, config)) {
    const bool is_free = std::any_of(std::begin(kFree), std::end(kFree), [&](std::string_view key) {
      return d.key == cat("model.", key);
    });
    const bool window = d.key == "model.max_seq_len" && learned_positions;
    if (d.key.starts_with("model.") && (window || !is_free) && config.sources.has(d.key))
      list += cat(list.empty() ? "" : ", ", d.key, " is ", d.saved, ", not ", d.now);
  }
  if (!list.empty())
    loaded.problems.push_back(cat("the model is ", whose, ", not the config's: ", list));
  if (config.sources.has("model.max_seq_len") && !learned_positions)
    own.model->max_seq_len = config.model->max_seq_len;
  config.model = std::move(own.model);
  config.adapter = std::move(own.adapter);
  if (!config.sources.has("trainer.frozen") && own.trainer.frozen == "int8")
    config.trainer.frozen = own.trainer.frozen;
}

/// error  naming the first parameter of a checkpoint that is not finite
void require_finite(const LoadedModel& loaded) {
  std::vector<std::byte> room;
  for (const Tensor& tensor : loaded.model->tensors()) {
    if (tensor.dtype == DType::i8) continue;  // whose scales are looked at
    const auto count = static_cast<size_t>(tensor.elements());
    const auto bytes =
        read_bytes(*tensor.memory, tensor.data, static_cast<size_t>(tensor.bytes()), room);
    const auto all_finite = [&]<class T>(const T* values) {
      return std::all_of(values, values + count, [](float x) { return std::isfinite(x); });
    };
    if (tensor.dtype == DType::bf16 ? all_finite(reinterpret_cast<const Bf16*>(bytes.data()))
                                    : all_finite(reinterpret_cast<const float*>(bytes.data())))
      continue;
    throw Error(ErrorKind::kCheckpoint,
                cat("tensor ", quote(tensor.path), " has numbers that are not finite"))
        .at(loaded.folder)
        .hint("the model was ruined before it was saved; take an earlier checkpoint");
  }
}

bool has_tokenizer(const std::string& folder) {
  const std::vector<std::string> names = list_directory(folder);
  return std::any_of(names.begin(), names.end(), [](std::string_view name) {
    if (name.ends_with(".gz")) name.remove_suffix(3);
    return name == "tokenizer.json" || name == "vocab.json" || name.ends_with(".model");
  });
}

/// A folder's tokenizer goes with its model, unless the config names another one of kind "hf".
void take_tokenizer(LoadedModel& loaded) {
  const TrainConfig& config = loaded.config;
  if (config.data.tokenizer.type == "hf" || !has_tokenizer(loaded.folder)) return;
  loaded.tokenizer = text::open_tokenizer(loaded.folder);
  if (config.sources.has("data.tokenizer") || config.sources.has("data.tokenizer.type"))
    loaded.problems.push_back(cat(
        "the tokenizer is the folder's, not the config's: ", "data.tokenizer.type is \"hf\", not ",
        quote(config.data.tokenizer.type)));
}

/// Lets the model have the adapters of PEFT folders; of several, the config says the first one's.
void take_adapters(LoadedModel& loaded, const std::vector<AdapterFolder>& adapters) {
  std::vector<nn::SeveralAdapters::Named> named;
  for (const AdapterFolder& adapter : adapters) {
    const auto read = std::make_shared<const config::Choice<AdapterConfig>>(
        train::read_peft_config(adapter.folder));
    if (&adapter == &adapters.front()) loaded.config.adapter = *read;
    named.push_back({adapter.name, {read, &**read}, join_path(adapter.folder, train::kPeftConfig)});
  }
  if (!adapters.empty() && !adapters.front().name.empty())
    loaded.several = std::make_shared<const nn::SeveralAdapters>(std::move(named));
}

/// The overrides with what they imply: keys of an adapter mean one that stands beside the model,
/// and a checkpoint's trainer.frozen gives way to another trainer.mp where it changes no bit.
std::vector<std::string> completed(std::span<const std::string> overrides,
                                   const std::vector<AdapterFolder>& adapters,
                                   const TrainConfig* checkpoint = nullptr) {
  const auto says = [&](std::string_view start) {
    return std::any_of(overrides.begin(), overrides.end(),
                       [&](const std::string& one) { return one.starts_with(start); });
  };
  std::vector<std::string> all;
  if (!adapters.empty())
    all.push_back(cat("--adapter=", train::read_peft_config(adapters.front().folder).type));
  const bool is_int8 = checkpoint && checkpoint->trainer.frozen == "int8";
  if (!is_int8 && says("--trainer.mp=") && !says("--trainer.frozen="))
    all.emplace_back("--trainer.frozen=f32");
  all.insert(all.end(), overrides.begin(), overrides.end());
  return all;
}

/// error  where the folder holds an adapter alone
void refuse_peft_folder(const std::string& folder) {
  if (!train::is_peft_folder(folder)) return;
  throw Error(ErrorKind::kCheckpoint, "the folder holds an adapter and no model")
      .at(folder)
      .hint("name the model, and the folder beside it: --checkpoint MODEL --adapter DIR");
}

const AdapterFolder* only_one(const std::vector<AdapterFolder>& adapters) {
  return adapters.size() == 1 && adapters[0].name.empty() ? &adapters[0] : nullptr;
}

/// Fills the model with what a base has; its params_hash.
std::string fill_base(const LoadedModel& loaded, const train::BaseModel& base) {
  return train::load_base(base, train::model_spec(loaded.config), loaded.vocab_size,
                          train::init_key(loaded.config), loaded.model->params(),
                          loaded.model->tensors(), loaded.backend->threads(), phase_progress());
}

/// Fills the parameters of the PEFT folders' adapters, of a base with that params_hash.
void fill_adapters(const LoadedModel& loaded, const std::vector<AdapterFolder>& adapters,
                   const std::string& base) {
  const std::vector<Tensor> all =
      train::tensors_of(loaded.model->params(), loaded.model->tensors(), true);
  for (const AdapterFolder& adapter : adapters) {
    std::vector<Tensor> own;
    for (Tensor tensor : all) {
      const size_t behind = tensor.path.rfind(':') + 1;  // 0 without a name; modules have no colon
      if (tensor.path.substr(0, behind) != (adapter.name.empty() ? "" : adapter.name + ":"))
        continue;
      tensor.path.erase(0, behind);
      own.push_back(std::move(tensor));
    }
    train::require_same_base(train::load_peft(adapter.folder, own), base, adapter.folder,
                             loaded.folder);
  }
}

/// Fills the frozen model under the adapter that a checkpoint holds.
void fill_base_under(LoadedModel& loaded, const Checkpoint& from) {
  const std::optional<train::BaseRecord> base = train::base_of(from.manifest().extra_json);
  if (!base) return;
  if (base->kind != StartKind::kNone && !path_exists(base->place))
    throw Error(ErrorKind::kCheckpoint,
                cat("the frozen model under the adapter is gone: ", base->place))
        .at(from.folder())
        .hint("if it lies elsewhere: export --adapter, then --checkpoint MODEL --adapter DIR");
  const train::BaseModel files = train::open_base(base->kind, base->place);
  loaded.problems.insert(loaded.problems.end(), files.problems.begin(), files.problems.end());
  const std::string hash = fill_base(loaded, files);
  train::require_same_base(base->params_hash, hash, from.folder(), base->place);
}

LoadedModel load_hf_folder(const std::string& folder, const std::string& config_file,
                           std::span<const std::string> overrides, const LoadOptions& options) {
  const std::vector<AdapterFolder>& adapters = options.adapters;
  LoadedModel loaded;
  loaded.folder = folder;
  if (config_file.empty()) {
    loaded.config = train::hf_config(folder, overrides);
    loaded.tokenizer = text::open_tokenizer(folder);
  } else {
    loaded.config = load_train_config(config_file, overrides);
    take_model(loaded, train::hf_config(folder), "the folder's");
    take_tokenizer(loaded);
  }
  take_adapters(loaded, adapters);
  const infer::ModelSpec spec = train::model_spec(loaded.config);
  const int64_t vocab = vocab_size_of(loaded);
  const compat::HfWeights weights(folder);
  train::check_hf(weights, spec, vocab);
  if (std::string line = weights.changed(); !line.empty())
    loaded.problems.push_back(std::move(line));
  if (!loaded.tokenizer)
    if (std::string line = train::changed_tokenizer(loaded.config, folder); !line.empty())
      loaded.problems.push_back(std::move(line));
  make_model(loaded, options.rows, only_one(adapters));
  if (adapters.empty()) {
    train::load_hf(weights, spec, vocab, loaded.model->tensors(), phase_progress());
    return loaded;
  }
  const std::string base = fill_base(loaded, {.hf = std::make_shared<compat::HfWeights>(folder)});
  fill_adapters(loaded, adapters, base);
  return loaded;
}

}  // namespace

LoadedModel load_model(const std::string& checkpoint, const std::string& config_file,
                       std::span<const std::string> overrides, const LoadOptions& options) {
  if (compat::is_hf_folder(checkpoint))
    return load_hf_folder(checkpoint, config_file, completed(overrides, options.adapters), options);
  refuse_peft_folder(checkpoint);
  const std::vector<AdapterFolder>& adapters = options.adapters;
  FoundCheckpoint found = open_checkpoint(checkpoint);
  const Checkpoint& good = *found.checkpoint;
  LoadedModel loaded;
  loaded.folder = good.folder();
  loaded.step = good.step();
  loaded.extra_json = good.manifest().extra_json;
  loaded.problems = std::move(found.problems);
  const bool is_adapter = train::base_of(loaded.extra_json).has_value();
  if (is_adapter && !adapters.empty())
    throw Error(ErrorKind::kConfig, "the checkpoint holds an adapter of its own")
        .at(adapters.front().folder)
        .hint("name the model under it, or leave --adapter out");
  const std::string saved_file = join_path(good.folder(), "config.toml");
  TrainConfig own = parse_train_config(good.config_toml(), saved_file);
  std::vector<std::string> said = completed(overrides, adapters, &own);
  if (own.adapter && !config_file.empty())  // which a config for the data alone need not say
    said.insert(said.begin(), cat("--adapter=", own.adapter->type));
  if (config_file.empty()) {
    loaded.config = parse_train_config(good.config_toml(), saved_file, said);
  } else {
    loaded.config = load_train_config(config_file, said);
    take_model(loaded, std::move(own), "the checkpoint's");
  }
  loaded.tokenizer =
      text::load_tokenizer(good.tokenizer(), join_path(good.folder(), "tokenizer.json"));
  take_adapters(loaded, adapters);
  make_model(loaded, options.rows, only_one(adapters));
  fill_base_under(loaded, good);
  try {
    if (!adapters.empty()) {
      const auto files = std::make_shared<const Checkpoint>(good);
      fill_adapters(loaded, adapters, fill_base(loaded, {.checkpoint = files}));
    }
    const std::vector<Tensor> all = loaded.model->tensors();
    for (Tensor target : train::tensors_of(loaded.model->params(), all, is_adapter)) {
      if (!adapters.empty()) break;  // both are there
      target.path = good.path_in_use(target.path, options.ema);
      good.load(target);
    }
  } catch (const Error& error) {
    explain(error, good, loaded.config);
  }
  require_finite(loaded);
  return loaded;
}

void require_memory(const LoadedModel& model) {
  data::LoaderOptions loading;
  loading.seq_len = model.model->max_seq_len();
  loading.rows = model.rows;
  const int64_t needed = model.model->evaluation_bytes() + data::loader_bytes(loading);
  const int64_t limit = model.backend->device_memory().value_or(train::memory_limit());
  if (needed <= limit) return;
  throw Error(ErrorKind::kDevice,
              cat(count_of(model.rows, "row"), " at a time need ", format_bytes(needed),
                  ", and there are ", format_bytes(limit)))
      .at(model.folder)
      .hint("--batch N computes fewer at a time, with the same results");
}

void require_rows(const LoadedModel& model, std::span<const int32_t> ids,
                  const std::string& place) {
  train::require_rows(ids, model.vocab_size, *model.tokenizer, place);
}

}  // namespace levanter::commands
