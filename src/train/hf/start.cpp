// Runs that begin with a Hugging Face folder: its model's shape in a config, its weights in memory.
#include "train/hf/start.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "compat/hf_folder.h"
#include "config/document.h"
#include "config/print.h"
#include "config/slot.h"
#include "device/transfer.h"
#include "models/model.h"
#include "text/hf/config.h"

namespace levanter::train {
namespace {

/// Gives a value and all in it a place, for errors.
void stand_at(config::Value& value, const config::Source& place) {
  value.at = place;
  for (config::Value& item : value.items) stand_at(item, place);
  for (config::Value::Member& member : value.members) {
    member.key_at = place;
    stand_at(member.value, place);
  }
}

/// Reads an override's text where it is a value of TOML, so that more can be added to it.
void read_override(config::Value& value) {
  config::Value whole;
  std::string error;
  if (value.kind == config::Value::Kind::kRaw && config::read_raw(value, whole, error))
    value = std::move(whole);
}

/// Lets the table `key` of `in` say `tag = word` and name the folder, unless it says something
/// else.
void name_folder(config::Value& in, const char* key, const char* tag, const char* word,
                 const config::Value& folder) {
  config::Value::Member* member = in.find(key);
  if (!member) {
    member = &in.members.emplace_back(config::Value::Member{key, folder.at, {}});
    member->value.at = folder.at;
  }
  config::Value& table = member->value;
  read_override(table);
  if (std::string_view(tag) == "type") config::name_choice(table);
  if (table.kind != config::Value::Kind::kTable) return;
  config::Value kind;
  kind.kind = config::Value::Kind::kString;
  kind.at = folder.at;
  kind.text = word;
  if (!table.find(tag)) table.members.push_back({tag, folder.at, std::move(kind)});
  if (table.find(tag)->value.text == word && !table.find("path"))
    table.members.push_back({"path", folder.at, folder});
}

/// Lets `root` say the stop texts of a folder, unless it says others.
void take_stop_strings(config::Value& root, const std::string& folder) {
  const std::vector<std::string> stops = compat::read_token_ids(folder).stop_strings;
  if (stops.empty() || root.find("stop_strings")) return;
  config::Value list;
  list.kind = config::Value::Kind::kArray;
  for (const std::string& stop : stops) {
    list.items.emplace_back().kind = config::Value::Kind::kString;
    list.items.back().text = stop;
  }
  stand_at(list, {join_path(folder, "generation_config.json")});
  root.members.push_back({"stop_strings", list.at, std::move(list)});
}

}  // namespace

std::vector<std::string> take_hf_model(config::Value& root) {
  config::Value::Member* model = root.find("model");
  if (!model) return {};
  read_override(model->value);
  config::name_choice(model->value);
  const config::Value::Member* type = model->value.find("type");
  if (!type || type->value.text != "from_hf") return {};
  const config::Value::Member* path = model->value.find("path");
  if (!path)
    throw Error(ErrorKind::kConfig, "model.type = \"from_hf\" needs model.path")
        .at(type->key_at.text())
        .hint("path = \"DIR\", a folder with config.json");
  if (const std::string hint = config::remote_hint(path->value.text); !hint.empty())
    throw Error(ErrorKind::kConfig,
                cat("model.path = ", quote(path->value.text), " is not on this machine"))
        .at(path->value.at.text())
        .hint(hint);
  const config::Value named = path->value;  // the place in the file is kept: paths start from it
  const config::Source at = path->value.at;
  const bool in_file = at.line > 0;
  const std::string folder =
      absolute_path(in_file ? join_path(parent_path(at.file), path->value.text) : path->value.text);

  models::HfModel hf = models::read_hf_model(folder);
  TrainConfig config;
  config.model.type = hf.family->name;
  config.model.value = std::move(hf.config);
  config::Value shape =
      std::move(config::to_value(config::type_of<TrainConfig>(), &config).find("model")->value);
  stand_at(shape, {join_path(folder, "config.json")});
  std::erase_if(model->value.members, [](const config::Value::Member& member) {
    return member.key == "type" || member.key == "path";
  });
  config::merge(shape, std::move(model->value));
  model->value = std::move(shape);
  if (config::Value::Member* data = root.find("data"))
    name_folder(data->value, "tokenizer", "type", "hf", named);
  name_folder(root, "start_from", "kind", "hf", named);
  take_stop_strings(root, folder);
  return hf.not_trained;
}

TrainConfig hf_config(const std::string& folder, std::span<const std::string> overrides) {
  const std::string path = quote(absolute_path(folder));
  return parse_train_config(cat("model = { type = \"from_hf\", path = ", path, " }\n",
                                "data = { tokenizer = { type = \"hf\", path = ", path, " } }\n"),
                            folder, overrides);
}

namespace {
/// A vocabulary may be larger than the one that the folder's config.json says its weights have.
std::vector<compat::HfTarget> targets_of(const std::string& folder, const infer::ModelSpec& model,
                                         int64_t vocab_size) {
  const int64_t theirs = models::read_hf_model(folder).config->vocab_size.value_or(0);
  std::vector<compat::HfTarget> wanted;
  infer::ModelSpec alone = model;  // an adapter is read elsewhere
  alone.adapter = nullptr;
  for (const nn::Param& param : infer::trace_params(alone, {.vocab_size = vocab_size}))
    wanted.push_back(
        {param.path, param.shape, nullptr, param.type.axes.contains("vocab") ? theirs : 0});
  return wanted;
}
}  // namespace

std::string changed_tokenizer(const TrainConfig& config, const std::string& known) {
  const auto* hf = dynamic_cast<const text::hf::HfTokenizerConfig*>(&*config.data.tokenizer);
  if (!hf) return "";
  const std::string& path = hf->path.resolved;
  const std::string folder = is_directory(path) ? path : parent_path(path);
  return absolute_path(folder) == absolute_path(known) ? "" : compat::changed_since_export(folder);
}

void check_hf(const compat::HfWeights& weights, const infer::ModelSpec& model, int64_t vocab_size) {
  weights.match(targets_of(weights.folder(), model, vocab_size));
}

HfReader hf_reader(const compat::HfWeights& weights, const infer::ModelSpec& model,
                   int64_t vocab_size) {
  const std::vector<compat::HfTarget> targets = targets_of(weights.folder(), model, vocab_size);
  const std::vector<const safetensors::Tensor*> found = weights.match(targets);
  weights.check();
  struct Source {
    const safetensors::Tensor* tensor;
    std::vector<float> mean;  ///< of its rows, where the model has more of them
  };
  std::map<std::string, Source> sources;
  for (size_t i = 0; i < targets.size(); ++i) {
    Source& source = sources[targets[i].name];
    source.tensor = found[i];
    if (targets[i].elements() > found[i]->size()) source.mean = compat::mean_row(*found[i]);
  }
  return [&weights, sources = std::move(sources)](const Tensor& rows, std::span<float> room) {
    const auto at = sources.find(rows.path);
    LEV_CHECK(at != sources.end(), cat("the model has no parameter ", rows.path));
    const auto& [tensor, mean] = at->second;
    const int64_t first = rows.first_element();
    const int64_t known = std::clamp<int64_t>(tensor->size() - first, 0, std::ssize(room));
    if (known > 0) weights.read(*tensor, first, room.first(static_cast<size_t>(known)));
    for (auto rest = room.subspan(static_cast<size_t>(known)); !rest.empty();
         rest = rest.subspan(mean.size()))  // whole rows
      std::copy(mean.begin(), mean.end(), rest.begin());
    return known;
  };
}

void load_hf(const compat::HfWeights& weights, const infer::ModelSpec& model, int64_t vocab_size,
             std::span<const Tensor> targets, const ProgressReport& progress) {
  std::vector<compat::HfTarget> wanted = targets_of(weights.folder(), model, vocab_size);
  std::vector<HostWrite> places;
  places.reserve(targets.size());
  for (const Tensor& target : targets) {
    const auto at = std::find_if(wanted.begin(), wanted.end(), [&](const compat::HfTarget& one) {
      return one.name == target.path;
    });
    LEV_CHECK(at != wanted.end(), cat("the model has no parameter ", target.path));
    places.emplace_back(*target.memory, target.data, static_cast<size_t>(target.bytes()));
    at->data = reinterpret_cast<float*>(places.back().bytes().data());
  }
  weights.load(wanted, progress);
  for (HostWrite& place : places) place.done();
}

}  // namespace levanter::train
