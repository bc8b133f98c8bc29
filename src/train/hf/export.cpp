// Whole Hugging Face folders out of checkpoints, other such folders, and runs.
#include "train/hf/export.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/stop.h"
#include "base/strings.h"
#include "infer/trace.h"
#include "text/tokenizer.h"
#include "checkpoint/load.h"
#include "train/hf/start.h"
#include "train/setup.h"

namespace levanter::train {

using compat::HfTensor;
using safetensors::Element;

namespace {

struct DtypeName {
  std::string_view ours;
  Element element;
  const char* theirs;
};
constexpr DtypeName kDtypes[] = {{"f32", Element::f32, "float32"},
                                 {"bf16", Element::bf16, "bfloat16"},
                                 {"f16", Element::f16, "float16"}};

std::vector<nn::Param> parameters(const models::HfModel& model) {
  return infer::trace_params({*model.family, *model.config},
                             {.vocab_size = *model.config->vocab_size});
}

/// The family and shape that a config says, which loses them.
models::HfModel model_of(TrainConfig& config, int64_t vocab_size) {
  models::HfModel model{&models::entry(config.model.type), nullptr};
  model.config.reset(static_cast<ModelConfig*>(config.model.value.release()));
  model.config->vocab_size = vocab_size;
  return model;
}

HfSource from_folder(const std::string& folder, std::vector<std::string>& problems) {
  TrainConfig config = hf_config(folder);
  const int64_t vocab = *config.model->vocab_size;
  HfSource source{.model = model_of(config, vocab),
                  .tensors = {},
                  .ids = compat::read_token_ids(folder),
                  .folder = folder};
  const auto weights = std::make_shared<compat::HfWeights>(folder);
  if (std::string line = weights->changed(); !line.empty()) problems.push_back(std::move(line));
  std::vector<compat::HfTarget> targets;
  for (const nn::Param& param : parameters(source.model))
    targets.push_back({param.path, param.shape});
  const auto found = weights->match(targets);
  weights->check();
  for (size_t i = 0; i < targets.size(); ++i) {
    const safetensors::Tensor* tensor = found[i];
    const Element kept = tensor->element == Element::f64 ? Element::f32 : tensor->element;
    source.tensors.push_back(
        {{targets[i].name, kept, tensor->shape}, [weights, tensor](std::vector<float>& room) {
           room.resize(static_cast<size_t>(tensor->size()));
           to_f32(*tensor, room);
           return std::span<const float>(room);
         }});
  }
  return source;
}

/// The adapter that a config has, on such a base.
PeftSource peft_source(const TrainConfig& config, int64_t vocab, const BaseRecord& base) {
  const infer::Tracing t("adapter", model_spec(config), {.vocab_size = vocab});
  std::set<std::string> names;
  PeftSource source{*config.adapter, {}, false, base.place, base.params_hash};
  for (const nn::Adapted::Site& site : t.adapted.sites)
    for (const std::string& path : site.modules)
      if (site.adaptation) names.insert(path.substr(path.rfind('.') + 1));
  source.modules.assign(names.begin(), names.end());
  for (const nn::Param& param : t.params)
    source.in_out |= !param.adapts && !param.in.empty() && param.type.axes[0] == param.in[0];
  return source;
}

/// All but the tensors.
HfSource from_config(TrainConfig config, std::shared_ptr<const text::Tokenizer> tokenizer,
                     const BaseRecord& base) {
  const int64_t vocab = vocab_size(config, tokenizer.get());
  std::optional<PeftSource> adapter;
  if (config.adapter) adapter = peft_source(config, vocab, base);
  std::vector<std::string> stop_strings = std::move(config.stop_strings);
  HfSource source{.model = model_of(config, vocab),
                  .tensors = {},
                  .ids = {tokenizer->bos_id(), {}, {}},
                  .tokenizer = std::move(tokenizer)};
  for (const int32_t id : source.tokenizer->end_ids()) source.ids.eos.push_back(id);
  source.ids.stop_strings = std::move(stop_strings);
  source.adapter = std::move(adapter);
  compat::end_at_tokens(source.ids, *source.tokenizer);
  return source;
}

/// The tensors that the class which config.json names has, from those that the model has.
std::vector<HfTensor> all_tensors(const HfSource& source, const models::HfModel& as_read,
                                  std::optional<Element> dtype) {
  std::map<std::string, const HfTensor*> left;
  for (const HfTensor& tensor : source.tensors) left[tensor.entry.name] = &tensor;
  std::vector<HfTensor> tensors;
  for (const nn::Param& param : parameters(as_read)) {
    const auto found = left.find(param.path);
    if (found != left.end()) {
      tensors.push_back(*found->second);
      left.erase(found);
    } else {
      // A norm without a weight is one whose weight is what it begins with.
      LEV_CHECK(param.path.ends_with(".bias") || param.role == nn::Role::kNorm,
                cat("there is no tensor ", param.path));
      const auto value = static_cast<float>(param.init.mean);
      tensors.push_back({{param.path, Element::f32, param.shape},
                         [n = param.type.elements(), value](std::vector<float>& room) {
                           room.assign(static_cast<size_t>(n), value);
                           return std::span<const float>(room);
                         }});
    }
    HfTensor& tensor = tensors.back();
    LEV_CHECK(tensor.entry.shape == param.shape, cat("another shape of ", param.path));
    if (dtype) tensor.entry.element = *dtype;
  }
  LEV_CHECK(left.empty(), cat("config.json has no place for ", left.begin()->first));
  return tensors;
}

/// error  where something stands at `out` that is not to be replaced
void refuse_occupied(const std::string& out, bool overwrite) {
  if (!path_exists(out)) return;
  std::string fault = "there is a file of that name";
  if (is_directory(out)) {
    fault = overwrite ? "" : "the folder is not empty";
    const std::vector<std::string> names = list_directory(out);
    if (names.empty()) return;
    for (const std::string& name : names)
      if (overwrite && !compat::is_hf_file(name))
        fault =
            cat("the folder holds ", quote(name), ", which is no part of a Hugging Face folder");
    if (fault.empty()) return;
  }
  throw Error(ErrorKind::kConfig, fault)
      .at(out)
      .allowed("a folder that is empty or not there, or with --overwrite a Hugging Face folder");
}

/// Removes what exports to this folder left that were killed.
void remove_leftovers(const std::string& out) {
  const std::string parent = parent_path(out);
  if (!path_exists(parent)) return;
  for (const std::string& name : list_directory(parent))
    if (is_temporary_name(name) && name.starts_with(file_name(out) + "."))
      remove_tree(join_path(parent, name));
}

HfReport write_into(const std::string& folder, const HfSource& source, const HfOptions& options) {
  LEV_CHECK(!source.tensors.empty(), "a model without tensors");
  const Element element = options.dtype.value_or(source.tensors[0].entry.element);
  const auto* dtype = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                   [&](const DtypeName& d) { return d.element == element; });
  HfReport report;
  if (source.adapter) {
    std::vector<HfTensor> tensors = source.tensors;
    for (HfTensor& tensor : tensors) tensor.entry.element = element;
    report.tensors = std::ssize(tensors);
    report.weights = write_peft(folder, *source.adapter, tensors);
    report.tokenizer = true;  // the model's
    return report;
  }
  write_file_atomic(join_path(folder, "config.json"),
                    models::hf_config_text(source.model, source.ids, dtype->theirs));
  const std::vector<HfTensor> tensors =
      all_tensors(source, models::read_hf_model(folder), options.dtype);
  report.tensors = static_cast<int64_t>(tensors.size());
  compat::HfConfig generation;
  compat::write_token_ids(generation, source.ids);
  std::vector<std::string> stops = source.ids.stop_strings;
  if (!stops.empty()) generation("stop_strings", stops);
  if (!source.ids.eos.empty() || !stops.empty())  // a copied one replaces it
    write_file_atomic(join_path(folder, "generation_config.json"), generation.text());
  report.tokenizer = source.tokenizer ? compat::save_tokenizer(folder, *source.tokenizer)
                                      : compat::copy_tokenizer(source.folder, folder);
  // Last, with the checksums of all others.
  report.weights =
      compat::save_weights(folder, tensors, options.max_shard_bytes, {}, options.progress);
  return report;
}

}  // namespace

HfSource hf_source(const std::string& checkpoint, std::vector<std::string>& problems, bool ema) {
  if (compat::is_hf_folder(checkpoint)) {
    if (!ema) return from_folder(checkpoint, problems);
    throw Error(ErrorKind::kConfig, "a Hugging Face folder has one set of weights, no mean of them")
        .at(checkpoint);
  }
  FoundCheckpoint found = open_checkpoint(checkpoint);
  problems = std::move(found.problems);
  const auto good = std::make_shared<const Checkpoint>(std::move(*found.checkpoint));
  HfSource source = from_config(
      parse_train_config(good->config_toml(), join_path(good->folder(), "config.toml")),
      text::load_tokenizer(good->tokenizer(), join_path(good->folder(), "tokenizer.json")),
      base_of(good->manifest().extra_json).value_or(BaseRecord()));
  for (const auto& [path, record] : good->manifest().tensors) {
    if (!record.in_model()) continue;
    // By itself: GCC 12 destroys twice what stands before a part of a list that throws.
    const std::string from = good->path_in_use(path, ema);
    const std::string name = source.adapter ? peft_name(path) : path;
    source.tensors.push_back({{name, Element::f32, record.shape},
                              [good, from, n = record.elements()](std::vector<float>& room) {
                                room.resize(static_cast<size_t>(n));
                                good->load_tensor(from, std::as_writable_bytes(std::span(room)));
                                return std::span<const float>(room);
                              }});
  }
  return source;
}

HfSource hf_source(std::string_view config_text, std::shared_ptr<const text::Tokenizer> tokenizer,
                   std::span<const Tensor> tensors, const BaseRecord& base) {
  HfSource source =
      from_config(parse_train_config(config_text, "config.toml"), std::move(tokenizer), base);
  for (const Tensor& tensor : tensors)
    source.tensors.push_back(
        {{source.adapter ? peft_name(tensor.path) : tensor.path, Element::f32, tensor.shape},
         [tensor](std::vector<float>& room) {
           const auto count = static_cast<size_t>(tensor.elements());
           if (tensor.memory->is_host())
             return std::span<const float>(reinterpret_cast<const float*>(tensor.data), count);
           room.resize(count);
           tensor.memory->download(std::as_writable_bytes(std::span(room)), tensor.data);
           return std::span<const float>(room);
         }});
  return source;
}

safetensors::Element hf_dtype(std::string_view name) {
  for (const DtypeName& dtype : kDtypes)
    if (dtype.ours == name) return dtype.element;
  throw Error(ErrorKind::kConfig, cat("dtype = ", quote(name), " is no type of a saved tensor"))
      .allowed("f32, bf16, f16");
}

HfReport export_hf(const HfSource& source, const std::string& out, const HfOptions& options) {
  std::error_code unknown;
  const auto followed = std::filesystem::weakly_canonical(out, unknown);
  const std::string folder = unknown ? absolute_path(out) : followed.string();
  refuse_occupied(folder, options.overwrite);
  remove_leftovers(folder);
  const DeferredStop deferred;  // what is cut short leaves nothing
  const std::string made = temporary_name(folder);
  make_directories(made);
  try {
    const HfReport report = write_into(made, source, options);
    if (path_exists(folder)) {
      exchange_paths(made, folder);
      remove_tree(made);
    } else {
      rename_path(made, folder);
    }
    sync_directory(parent_path(folder));
    return report;
  } catch (...) {
    remove_tree(made);
    throw;
  }
}

}  // namespace levanter::train
