// A model as Hugging Face keeps it: a folder with config.json and safetensors, in one file or many.
#include "compat/hf_folder.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "compat/safetensors.h"

namespace levanter::compat {

using Json = nlohmann::ordered_json;

struct HfConfig::Impl {
  std::string path;    // of the file
  std::string prefix;  // "rope_scaling." inside an object
  Json json;
  std::set<std::string, std::less<>> taken;

  [[noreturn]] void refuse(std::string_view key, const std::string& what,
                           std::string allowed) const {
    throw Error(ErrorKind::kCheckpoint, cat(prefix, key, " ", what))
        .at(path)
        .allowed(std::move(allowed));
  }
  /// The value, taken; nullptr where it is missing or null.
  const Json* take(std::string_view key) {
    taken.emplace(key);
    const auto found = json.find(key);
    return found == json.end() || found->is_null() ? nullptr : &*found;
  }
  const Json& need(std::string_view key) {
    if (const Json* value = take(key)) return *value;
    refuse(key, "is missing", "");
  }
  template <class T>
  T as(const Json& value, std::string_view key, bool fits, const char* expected) const {
    if (!fits) refuse(key, cat("= ", value.dump(), " is not ", expected), expected);
    return value.get<T>();
  }
  int64_t integer(const Json& value, std::string_view key) const {
    return as<int64_t>(value, key, value.is_number_integer(), "a whole number");
  }
  double number(const Json& value, std::string_view key) const {
    return as<double>(value, key, value.is_number(), "a number");
  }
  std::string text(const Json& value, std::string_view key) const {
    return as<std::string>(value, key, value.is_string(), "a text");
  }
};

HfConfig::HfConfig(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HfConfig::HfConfig(std::string path) : impl_(std::make_unique<Impl>()) {
  impl_->path = std::move(path);
  if (!path_exists(impl_->path))
    throw Error(ErrorKind::kCheckpoint, "the folder holds no config.json")
        .at(parent_path(impl_->path))
        .hint("a Hugging Face folder has config.json and *.safetensors");
  impl_->json = Json::parse(read_file(impl_->path), nullptr, false);
  if (!impl_->json.is_object())
    throw Error(ErrorKind::kCheckpoint, "the file is no JSON object").at(impl_->path);
}
HfConfig::~HfConfig() = default;
HfConfig::HfConfig(HfConfig&&) noexcept = default;
HfConfig& HfConfig::operator=(HfConfig&&) noexcept = default;

int64_t HfConfig::integer(std::string_view key) { return impl_->integer(impl_->need(key), key); }
double HfConfig::number(std::string_view key) { return impl_->number(impl_->need(key), key); }
std::string HfConfig::text(std::string_view key) { return impl_->text(impl_->need(key), key); }

std::optional<int64_t> HfConfig::optional_integer(std::string_view key) {
  const Json* value = impl_->take(key);
  return value ? std::optional(impl_->integer(*value, key)) : std::nullopt;
}
double HfConfig::number_or(std::string_view key, double otherwise) {
  const Json* value = impl_->take(key);
  return value ? impl_->number(*value, key) : otherwise;
}
std::string HfConfig::text_or(std::string_view key, std::string_view otherwise) {
  const Json* value = impl_->take(key);
  return value ? impl_->text(*value, key) : std::string(otherwise);
}
bool HfConfig::flag_or(std::string_view key, bool otherwise) {
  const Json* value = impl_->take(key);
  return value ? impl_->as<bool>(*value, key, value->is_boolean(), "true or false") : otherwise;
}
std::optional<HfConfig> HfConfig::object(std::string_view key) {
  const Json* value = impl_->take(key);
  if (!value) return std::nullopt;
  if (!value->is_object()) impl_->refuse(key, cat("= ", value->dump(), " is no object"), "");
  auto inner = std::make_unique<Impl>();
  inner->path = impl_->path;
  inner->prefix = cat(impl_->prefix, key, ".");
  inner->json = *value;
  return HfConfig(std::move(inner));
}

void HfConfig::require(std::string_view key, bool value) {
  if (flag_or(key, value) != value) refuse(key, value ? "true" : "false");
}
void HfConfig::require(std::string_view key, double value) {
  if (number_or(key, value) != value) refuse(key, cat(value));
}
void HfConfig::ignore(std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) impl_->taken.emplace(key);
}
void HfConfig::refuse(std::string_view key, std::string_view allowed) const {
  const auto found = impl_->json.find(key);
  impl_->refuse(key,
                cat("= ", found == impl_->json.end() ? "null" : found->dump(), " is not supported"),
                std::string(allowed));
}

void HfConfig::finish() const {
  std::string left;
  for (const auto& [key, value] : impl_->json.items())
    if (!impl_->taken.contains(key))
      left += cat(left.empty() ? "" : ", ", impl_->prefix, key, " = ", value.dump());
  if (left.empty()) return;
  throw Error(ErrorKind::kCheckpoint, cat("settings that are not supported: ", left))
      .at(impl_->path)
      .hint("they may change what the model computes; remove them if you know that they do not");
}

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
