// Adapters as PEFT keeps them: a folder with adapter_config.json and adapter_model.safetensors.
#include "train/adapter/peft.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "compat/safetensors.h"
#include "config/bind.h"
#include "config/print.h"
#include "config/problems.h"
#include "device/transfer.h"

namespace levanter::train {

namespace {

constexpr std::string_view kPrefix = "base_model.model.";
constexpr std::string_view kMagnitude = ".lora_magnitude_vector";
constexpr char kBaseHash[] = "params_hash of the base";

std::string shape_text(const std::vector<int64_t>& shape) {
  std::vector<std::string> sizes;
  for (const int64_t size : shape) sizes.push_back(cat(size));
  return cat("[", join(sizes, " "), "]");
}

/// The tensor of each target.
std::vector<const safetensors::Tensor*> match(const safetensors::File& file,
                                              std::span<const Tensor> targets) {
  std::map<std::string, const safetensors::Tensor*> left;
  for (const safetensors::Tensor& tensor : file.tensors()) left[tensor.name] = &tensor;
  std::vector<const safetensors::Tensor*> found;
  std::string faults;
  int64_t count = 0;
  const auto add = [&](const std::string& fault) {
    constexpr int64_t kShown = 3;
    if (count++ < kShown) faults += cat(faults.empty() ? "" : "; ", fault);
  };
  for (const Tensor& target : targets) {
    const std::string name = peft_name(target.path);
    auto at = left.find(name);
    if (at == left.end()) at = left.find(name + ".weight");
    found.push_back(at == left.end() ? nullptr : at->second);
    if (at == left.end()) {
      add(cat(quote(name), " is missing"));
      continue;
    }
    if (at->second->shape != target.shape)
      add(cat(quote(name), " is ", shape_text(at->second->shape), ", not ",
              shape_text(target.shape)));
    else if (!safetensors::is_float(at->second->element))
      add(cat(quote(name), " holds ", safetensors::name_of(at->second->element),
              ", not F16, BF16, F32 or F64"));
    left.erase(at);
  }
  for (const auto& [name, tensor] : left) add(cat(quote(name), " is not wanted"));
  if (count > 0)
    throw Error(ErrorKind::kCheckpoint, cat("the adapter does not fit the model: ", faults,
                                            count > 3 ? cat("; and ", count - 3, " more") : ""))
        .at(file.path())
        .hint("it was made for another model, or parts of it are not supported");
  return found;
}

/// Throws where a setting is out of the bounds that the key of a config has.
void require_bounds(const config::Choice<AdapterConfig>& chosen, const std::string& file) {
  struct Held {
    config::Choice<AdapterConfig> adapter;
    void fields(config::Fields& f) { f("adapter", adapter, "what the file says"); }
  };
  Held said{chosen}, taken;
  config::Sources sources;
  config::Problems problems(sources);
  config::bind(config::to_value(config::type_of<Held>(), &said), config::type_of<Held>(), &taken,
               sources, problems);
  if (problems.empty()) return;
  const config::Fault& first = *problems.sorted().front();
  throw Error(ErrorKind::kCheckpoint, first.message())
      .at(file)
      .allowed(first.allowed_values())
      .hint(first.advice());
}

}  // namespace

bool is_peft_folder(const std::string& folder) {
  return path_exists(join_path(folder, kPeftConfig));
}

config::Choice<AdapterConfig> read_peft_config(const std::string& folder) {
  if (!is_peft_folder(folder))
    throw Error(ErrorKind::kCheckpoint, cat("the folder holds no ", kPeftConfig))
        .at(folder)
        .hint(cat("a PEFT folder has ", kPeftConfig, " and ", kPeftWeights));
  compat::HfConfig hf(join_path(folder, kPeftConfig));
  std::string type, known;
  hf("peft_type", type);
  for (const models::AdapterEntry* entry : models::adapters::entries()) {
    known += cat(known.empty() ? "" : ", ", entry->peft_type);
    if (type != entry->peft_type) continue;
    config::Choice<AdapterConfig> chosen;
    chosen.type = entry->name;
    chosen.value = entry->make_config();
    chosen->hf_keys(hf);
    hf.finish();
    require_bounds(chosen, join_path(folder, kPeftConfig));
    return chosen;
  }
  hf.refuse("peft_type", known);
}

std::string load_peft(const std::string& folder, std::span<const Tensor> targets) {
  const std::string weights = join_path(folder, kPeftWeights);
  if (!path_exists(weights))
    throw Error(ErrorKind::kCheckpoint, cat("the folder holds no ", kPeftWeights))
        .at(folder)
        .hint("weights in a .bin are not read: PEFT's save_pretrained writes the other form");
  const safetensors::File file(weights);
  const std::vector<const safetensors::Tensor*> found = match(file, targets);
  for (size_t i = 0; i < targets.size(); ++i) {
    file.check(*found[i]);
    HostWrite place(*targets[i].memory, targets[i].data, static_cast<size_t>(targets[i].bytes()));
    const std::span<float> values(reinterpret_cast<float*>(place.bytes().data()),
                                  static_cast<size_t>(targets[i].elements()));
    to_f32(*found[i], values);
    if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); }))
      throw Error(ErrorKind::kCheckpoint,
                  cat("tensor ", quote(found[i]->name), " has numbers that are not finite"))
          .at(file.path());
    place.done();
  }
  const auto hash = file.metadata().find(kBaseHash);
  return hash == file.metadata().end() ? "" : hash->second;
}

std::string peft_name(const std::string& path) {
  std::string name = cat(kPrefix, path);
  if (name.ends_with(cat(kMagnitude, ".weight"))) name.resize(name.size() - 7);
  return name;
}

compat::HfWritten write_peft(const std::string& folder, const PeftSource& source,
                             std::span<const compat::HfTensor> tensors) {
  compat::HfConfig hf;
  std::string type, base = source.base, task = "CAUSAL_LM";
  for (const models::AdapterEntry* entry : models::adapters::entries())
    if (source.config.type == entry->name) type = entry->peft_type;
  hf("peft_type", type);
  hf("task_type", task);
  hf("base_model_name_or_path", base);
  bool in_out = source.in_out, inference = true;
  hf("fan_in_fan_out", in_out);
  hf("inference_mode", inference);
  config::Choice<AdapterConfig> said = source.config;
  if (!said->target_modules.listed && said->is_all_linear())
    said->target_modules = {source.modules, true};
  said->hf_keys(hf);
  write_file_atomic(join_path(folder, kPeftConfig), hf.text());
  return compat::save_weights(folder, tensors, std::numeric_limits<int64_t>::max(),
                              {.name = kPeftWeights, .metadata = {{kBaseHash, source.base_hash}}});
}

}  // namespace levanter::train
