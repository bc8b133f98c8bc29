// The weights of a model as Hugging Face keeps it.
#include "compat/hf_folder.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "compat/safetensors.h"

namespace levanter::compat {

using Json = nlohmann::json;

namespace {

constexpr char kOneFile[] = "model.safetensors", kIndex[] = "model.safetensors.index.json";

/// The files that hold a folder's tensors.
std::vector<std::string> weight_files(const std::string& folder) {
  if (path_exists(join_path(folder, kOneFile))) return {kOneFile};
  const std::string index = join_path(folder, kIndex);
  if (!path_exists(index))
    throw Error(ErrorKind::kCheckpoint, "the folder holds no weights")
        .at(folder)
        .allowed(cat(kOneFile, ", or ", kIndex, " and its files"));
  const Json json = Json::parse(read_file(index), nullptr, false);
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (!json.is_object() || map == json.end() || !map->is_object())
    throw Error(ErrorKind::kCheckpoint, "the index has no \"weight_map\"").at(index);
  std::set<std::string> files;
  for (const auto& [name, file] : map->items()) {
    if (!file.is_string() || file.get<std::string>().find('/') != std::string::npos)
      throw Error(ErrorKind::kCheckpoint, cat("the file of ", quote(name), " is ", file.dump()))
          .at(index)
          .allowed("the name of a file in the same folder");
    files.insert(file);
    if (!path_exists(join_path(folder, file.get<std::string>())))
      throw Error(ErrorKind::kCheckpoint, cat("there is no file ", file.dump()))
          .at(index)
          .hint("a shard is missing; fetch the folder again");
  }
  return {files.begin(), files.end()};
}

/// Buffers that old versions of Transformers saved beside the parameters.
bool is_buffer(std::string_view name) {
  return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") ||
         name.ends_with(".rotary_emb.inv_freq");
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) text += cat(text.empty() ? "" : " ", size);
  return cat("[", text, "]");
}

}  // namespace

void load_weights(const std::string& folder, std::span<const HfTarget> targets) {
  std::vector<safetensors::File> files;
  std::map<std::string, const safetensors::Tensor*> tensors;
  for (const std::string& name : weight_files(folder)) files.emplace_back(join_path(folder, name));
  for (const safetensors::File& file : files)
    for (const safetensors::Tensor& tensor : file.tensors()) tensors[tensor.name] = &tensor;
  std::string faults;
  const auto fault = [&](const std::string& text) {
    faults += cat(faults.empty() ? "" : "; ", text);
  };
  std::vector<const safetensors::Tensor*> found;
  std::vector<std::string> missing, left;
  for (const HfTarget& target : targets) {
    auto at = tensors.find(target.name);
    if (at == tensors.end()) at = tensors.find(target.name.substr(target.name.find('.') + 1));
    found.push_back(at == tensors.end() ? nullptr : at->second);
    if (at == tensors.end()) {
      missing.push_back(target.name);
      continue;
    }
    if (at->second->shape != target.shape)
      fault(cat(quote(at->first), " is ", shape_text(at->second->shape), ", not ",
                shape_text(target.shape)));
    tensors.erase(at);
  }
  for (const auto& [name, tensor] : tensors) left.push_back(name);
  for (const std::string& name : missing) {
    const std::string near = nearest(name, left);
    fault(cat(quote(name), " is missing", near.empty() ? "" : cat(" (nearest: ", near, ")")));
  }
  for (const auto& [name, tensor] : tensors)
    // A tied head that is saved all the same is the embedding once more.
    if (!is_buffer(name) && name != "lm_head.weight") fault(cat(quote(name), " is not wanted"));
  if (!faults.empty())
    throw Error(ErrorKind::kCheckpoint, cat("the weights do not fit the model: ", faults))
        .at(folder);
  for (size_t i = 0; i < targets.size(); ++i)
    safetensors::to_f32(*found[i], {targets[i].data, static_cast<size_t>(found[i]->size())});
}

bool is_hf_folder(const std::string& folder) {
  return path_exists(join_path(folder, "config.json"));
}

}  // namespace levanter::compat
