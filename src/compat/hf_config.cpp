// A config.json, read and written through one list of keys.
#include "compat/hf_config.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/files.h"
#include "json/mend.h"
#include "base/strings.h"

namespace levanter::compat {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 64;

struct HfConfig::Impl {
  std::string path;    // of the file
  std::string prefix;  // "rope_scaling." inside an object
  bool writes = false;
  Json json = Json::object(), defaults = Json::object();
  std::set<std::string, std::less<>> taken;
  std::map<std::string, std::string, std::less<>> effects;  // of keys that are not supported

  [[noreturn]] void refuse(std::string_view key, const std::string& what,
                           std::string allowed) const {
    throw Error(ErrorKind::kCheckpoint, cat(prefix, key, " ", what))
        .at(path)
        .allowed(std::move(allowed));
  }
  /// The value, taken, or its default; nullptr where there is none.
  const Json* take(std::string_view key) {
    taken.emplace(key);
    for (const Json* from : {&json, &defaults})
      if (const auto found = from->find(key); found != from->end()) return &*found;
    return nullptr;
  }
  /// The same, where null stands for nothing.
  const Json* take_value(std::string_view key) {
    if (const auto found = json.find(key); found != json.end() && found->is_null())
      json.erase(found);
    const Json* value = take(key);
    return value && value->is_null() ? nullptr : value;
  }
};

namespace {

template <class T>
constexpr bool kIsOptional = false;
template <class T>
constexpr bool kIsOptional<std::optional<T>> = true;
template <class T>
constexpr bool kIsList = false;
template <class T>
constexpr bool kIsList<std::vector<T>> = true;

/// What T is called, and whether a value is one.
template <class T>
std::pair<const char*, bool> fits(const Json& value) {
  if constexpr (std::is_same_v<T, int64_t>) return {"a whole number", value.is_number_integer()};
  if constexpr (std::is_same_v<T, double>)
    return {"a finite number", value.is_number() && std::isfinite(value.get<double>())};
  if constexpr (std::is_same_v<T, bool>) return {"true or false", value.is_boolean()};
  if constexpr (std::is_same_v<T, std::string>) return {"a text", value.is_string()};
}

/// A value as JSON, where JSON has words for it.
std::string words_of(const Json& value) {
  const bool is_odd = value.is_number_float() && !std::isfinite(value.get<double>());
  return is_odd ? cat(value.get<double>()) : value.dump();
}

}  // namespace

HfConfig::HfConfig(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HfConfig::HfConfig() : impl_(std::make_unique<Impl>()) { impl_->writes = true; }
HfConfig::HfConfig(std::string path) : impl_(std::make_unique<Impl>()) {
  impl_->path = std::move(path);
  if (!path_exists(impl_->path))
    throw Error(ErrorKind::kCheckpoint, "the folder holds no config.json")
        .at(parent_path(impl_->path))
        .hint("a Hugging Face folder has config.json and *.safetensors");
  if (is_directory(impl_->path) || is_stream(impl_->path))
    throw Error(ErrorKind::kCheckpoint, "the folder's config.json is no file").at(impl_->path);
  const std::string text = read_file(impl_->path);
  impl_->json = json_depth(text) > kMaxDepth ? Json() : parse_in_order_as_python(text);
  if (!impl_->json.is_object()) refuse_stand_in(ErrorKind::kCheckpoint, text, impl_->path);
  if (!impl_->json.is_object())
    throw Error(ErrorKind::kCheckpoint, "the file is no JSON object, or one that nests too deeply")
        .at(impl_->path)
        .hint("fetch the file again; python -m json.tool FILE shows where it breaks");
}
HfConfig::~HfConfig() = default;
HfConfig::HfConfig(HfConfig&&) noexcept = default;
HfConfig& HfConfig::operator=(HfConfig&&) noexcept = default;

bool HfConfig::writes() const { return impl_->writes; }
bool HfConfig::has(std::string_view key) const {
  const auto found = impl_->json.find(key);
  return found != impl_->json.end() && !found->is_null() && *found != Json::object();
}
bool HfConfig::is_text(std::string_view key) const {
  const auto found = impl_->json.find(key);
  return found != impl_->json.end() && found->is_string();
}
void HfConfig::defaults(std::string_view json) { impl_->defaults = Json::parse(json); }

void HfConfig::assume(std::string_view key, std::string_view value) {
  impl_->json[std::string(key)] = Json::parse(value);
}

template <class T>
void HfConfig::handle(std::string_view key, T& value, const T* otherwise) {
  if (impl_->writes) {
    if constexpr (kIsOptional<T>)
      impl_->json[std::string(key)] = value ? Json(*value) : Json(nullptr);
    else
      impl_->json[std::string(key)] = value;
    return;
  }
  const Json* found = kIsOptional<T> ? impl_->take(key) : impl_->take_value(key);
  if constexpr (kIsOptional<T>) {
    if (!found || found->is_null()) {
      value = found || !otherwise ? std::nullopt : T(*otherwise);
    } else {
      value.emplace();
      handle<typename T::value_type>(key, *value, nullptr);
    }
  } else {
    if (!found && !otherwise) impl_->refuse(key, "is missing", "");
    if (!found) {
      value = *otherwise;
      return;
    }
    const auto take = [&]<class E>(const Json& from, E& to) {
      const auto [expected, is_one] = fits<E>(from);
      if (!is_one) impl_->refuse(key, cat("= ", words_of(from), " is not ", expected), expected);
      to = from.get<E>();
    };
    if constexpr (kIsList<T>) {
      if (!found->is_array()) impl_->refuse(key, cat("= ", found->dump(), " is no list"), "a list");
      value.clear();
      for (const Json& item : *found) take(item, value.emplace_back());
    } else {
      take(*found, value);
    }
  }
}

template void HfConfig::handle(std::string_view, int64_t&, const int64_t*);
template void HfConfig::handle(std::string_view, double&, const double*);
template void HfConfig::handle(std::string_view, bool&, const bool*);
template void HfConfig::handle(std::string_view, std::string&, const std::string*);
template void HfConfig::handle(std::string_view, std::vector<int64_t>&,
                               const std::vector<int64_t>*);
template void HfConfig::handle(std::string_view, std::vector<std::string>&,
                               const std::vector<std::string>*);
template void HfConfig::handle(std::string_view, std::optional<bool>&, const std::optional<bool>*);
template void HfConfig::handle(std::string_view, std::optional<int64_t>&,
                               const std::optional<int64_t>*);
template void HfConfig::handle(std::string_view, std::optional<double>&,
                               const std::optional<double>*);
template void HfConfig::handle(std::string_view, std::optional<std::string>&,
                               const std::optional<std::string>*);
template void HfConfig::handle(std::string_view, std::optional<std::vector<int64_t>>&,
                               const std::optional<std::vector<int64_t>>*);
template void HfConfig::handle(std::string_view, std::optional<std::vector<std::string>>&,
                               const std::optional<std::vector<std::string>>*);

void HfConfig::named(std::string_view key, std::string& value, const char* otherwise, Names names) {
  if (impl_->writes) {
    for (const auto& [theirs, ours] : names)
      if (value == ours) return void(impl_->json[std::string(key)] = theirs);
    LEV_CHECK(false, cat(key, " has no name for ", value));
  }
  std::string said, known;
  (*this)(key, said, otherwise);
  for (const auto& [theirs, ours] : names) {
    if (said == theirs) return void(value = ours);
    known += cat(known.empty() ? "" : ", ", theirs);
  }
  refuse(key, known);
}

void HfConfig::object(std::string_view key, const std::function<void(HfConfig&)>& each) {
  auto inner = std::make_unique<Impl>();
  inner->path = impl_->path;
  inner->prefix = cat(impl_->prefix, key, ".");
  inner->writes = impl_->writes;
  if (!impl_->writes) {
    const Json* value = impl_->take(key);
    if (!value || value->is_null()) return;
    if (!value->is_object()) impl_->refuse(key, cat("= ", value->dump(), " is no object"), "");
    inner->json = *value;
  }
  HfConfig config(std::move(inner));
  each(config);
  if (impl_->writes) impl_->json[std::string(key)] = std::move(config.impl_->json);
}

void HfConfig::ignore(std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) {
    impl_->taken.emplace(key);
    if (!key.ends_with('*')) continue;
    for (const auto& [name, value] : impl_->json.items())
      if (name.starts_with(key.substr(0, key.size() - 1))) impl_->taken.insert(name);
  }
}

bool HfConfig::neutral(std::string_view key, std::string_view value, std::string_view effect) {
  const auto found = impl_->json.find(key);
  if (found == impl_->json.end() || impl_->taken.contains(key)) return false;
  const Json wanted = Json::parse(value);
  const bool nothing_else =
      found->is_array() &&
      std::all_of(found->begin(), found->end(), [&](const Json& item) { return item == wanted; });
  if (*found == wanted || nothing_else) return impl_->taken.emplace(key).second;
  impl_->effects.emplace(key, effect);
  return false;
}

std::string HfConfig::other_than(std::string_view key, std::string_view value) {
  const auto found = impl_->json.find(key);
  if (found == impl_->json.end() || !impl_->taken.emplace(key).second) return "";
  return found->is_null() || *found == Json::parse(value) ? "" : found->dump();
}

void HfConfig::refuse(std::string_view key, std::string_view allowed) const {
  const auto found = impl_->json.find(key);
  impl_->refuse(key,
                cat("= ", found == impl_->json.end() ? "null" : found->dump(), " is not supported"),
                std::string(allowed));
}

void HfConfig::finish() const {
  std::string left;
  for (const auto& [key, value] : impl_->json.items()) {
    if (impl_->taken.contains(key) || value.is_null()) continue;
    left += cat(left.empty() ? "" : ", ", impl_->prefix, key, " = ", value.dump());
    if (const auto effect = impl_->effects.find(key); effect != impl_->effects.end())
      left += cat(" (", effect->second, ")");
  }
  if (left.empty() || impl_->writes) return;
  throw Error(ErrorKind::kCheckpoint, cat("settings that are not supported: ", left))
      .at(impl_->path)
      .hint("they may change what the model computes; remove them if you know that they do not");
}

std::string HfConfig::text() const { return impl_->json.dump(2) + "\n"; }

}  // namespace levanter::compat
