// Reads the whole configuration of a run, checks it, prints it and compares two of them.
#include "train/config/train_config.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"
#include "config/bind.h"
#include "config/document.h"
#include "config/print.h"
#include "train/hf/start.h"
#include "train/setup.h"

namespace levanter {

namespace {

constexpr int64_t kDefaultGroups = 8;

/// Every divisor of n, smallest first.
std::string divisors(int64_t n) {
  std::vector<std::string> small, large;
  for (int64_t d = 1; d * d <= n; ++d) {
    if (n % d != 0) continue;
    small.push_back(cat(d));
    if (d * d != n) large.push_back(cat(n / d));
  }
  small.insert(small.end(), large.rbegin(), large.rend());
  return join(small, ", ");
}

}  // namespace

int64_t TrainConfig::microbatch_size() const {
  if (trainer.microbatch_size) return *trainer.microbatch_size;
  const int64_t limit = std::max<int64_t>(1, kMicrobatchTokens / model->max_seq_len);
  int64_t size = trainer.train_batch_size;
  for (const BatchStageConfig& stage : trainer.batch_schedule) size = std::gcd(size, stage.size);
  const int64_t common = size;  // what divides all batches
  size = std::min(limit, common);
  while (common % size != 0) --size;
  return size;
}

int64_t TrainConfig::gradient_groups() const {
  if (trainer.gradient_groups) return *trainer.gradient_groups;
  int64_t groups = std::min(num_microbatches(), kDefaultGroups);
  for (const BatchStageConfig& stage : trainer.batch_schedule)
    groups = std::min(groups, std::max<int64_t>(1, stage.size / microbatch_size()));
  return groups;
}

data::BatchSizes TrainConfig::batch_sizes() const {
  std::vector<data::BatchStage> stages;
  for (const BatchStageConfig& stage : trainer.batch_schedule)
    stages.push_back({stage.until, stage.size});
  return data::BatchSizes(trainer.train_batch_size, std::move(stages));
}

Schedule TrainConfig::schedule() const {
  return {*optimizer,
          {.num_train_steps = trainer.num_train_steps,
           .train_batch_size = trainer.train_batch_size,
           .max_seq_len = model->max_seq_len}};
}

std::string TrainConfig::run_id() const {
  if (trainer.id) return *trainer.id;
  return file.empty() ? "run" : file_stem(file);
}

std::string TrainConfig::run_folder() const {
  return join_path(trainer.log_dir.resolved, run_id());
}

Error TrainConfig::error(ErrorKind kind, std::string_view key, std::string message) const {
  return Error(kind, std::move(message)).at(where(key));
}

namespace {

/// Faults stages of the batch's size that do not follow each other or cannot be cut up as the
/// largest batch is; whether there was none.
bool check_batch_schedule(const TrainConfig& config, config::Problems& p) {
  const TrainerConfig& trainer = config.trainer;
  const int64_t largest = trainer.train_batch_size, microbatch = config.microbatch_size(),
                least = microbatch * config.gradient_groups();
  bool good = true;
  int64_t before = 0;
  for (size_t i = 0; i < trainer.batch_schedule.size(); ++i) {
    const auto& [until, size] = trainer.batch_schedule[i];
    const std::string key = cat("trainer.batch_schedule[", i, "]");
    if (until <= before) {
      good = false;
      p.add(cat(key, ".until"),
            cat(key, ".until = ", until, " does not come after ", before, " of the stage before"))
          .allowed(cat("above ", before));
    }
    std::string fault;
    if (size > largest)
      fault =
          cat("is more than trainer.train_batch_size = ", largest, ", the size after all stages");
    else if (size % microbatch != 0)
      fault = cat("is no multiple of the microbatch, ", microbatch);
    else if (size < least)
      fault = cat("has no microbatch of ", microbatch, " for each of the ",
                  config.gradient_groups(), " gradient groups");
    if (!fault.empty()) {
      good = false;
      auto& problem =
          p.add(cat(key, ".size"), cat(key, ".size = ", size, " ", fault),
                {"trainer.train_batch_size", "trainer.microbatch_size", "trainer.gradient_groups"})
              .allowed(least == largest
                           ? std::to_string(least)
                           : cat("multiples of ", microbatch, " from ", least, " to ", largest));
      if (size <= largest)
        problem.hint(
            "a smaller trainer.microbatch_size or fewer trainer.gradient_groups allow more");
    }
    before = until;
  }
  return good;
}

/// Faults sizes that do not cut a batch into microbatches, groups and ranks.
void check_batch(const TrainConfig& config, config::Problems& p) {
  const TrainerConfig& trainer = config.trainer;
  const int64_t batch = trainer.train_batch_size;
  if (trainer.microbatch_size && batch % *trainer.microbatch_size != 0) {
    p.add("trainer.microbatch_size",
          cat("trainer.microbatch_size = ", *trainer.microbatch_size,
              " does not divide trainer.train_batch_size = ", batch),
          {"trainer.train_batch_size"})
        .allowed(divisors(batch))
        .hint("without the key a size is chosen that does");
    return;  // what follows counts microbatches
  }
  if (!check_batch_schedule(config, p)) return;
  const int64_t groups = config.gradient_groups();
  const int64_t num_of_microbatches = config.num_microbatches();
  if (groups > num_of_microbatches) {
    p.add("trainer.gradient_groups",
          cat("trainer.gradient_groups = ", groups, " is more than the ", config.num_microbatches(),
              " microbatches of a step"),
          {"trainer.train_batch_size", "trainer.microbatch_size", "model.max_seq_len"})
        .allowed(cat("1 to ", config.num_microbatches()))
        .hint("a smaller trainer.microbatch_size gives more microbatches");
  } else if (trainer.ranks > groups) {
    p.add(
         "trainer.ranks",
         cat("trainer.ranks = ", trainer.ranks, " is more than trainer.gradient_groups = ", groups),
         {"trainer.train_batch_size", "trainer.microbatch_size", "trainer.gradient_groups",
          "model.max_seq_len"})
        .allowed(cat("1 to ", groups))
        .hint(groups < num_of_microbatches
                  ? "a rank owns whole groups of microbatches; raise trainer.gradient_groups"
                  : "a rank owns whole groups of microbatches; a smaller trainer.microbatch_size "
                    "gives more");
  }
}

/// Faults a component whose rows are not what the objective learns from.
void check_pairs(const TrainConfig& config, config::Problems& p, const std::string& name,
                 const ComponentConfig& component) {
  const std::string key = cat("data.components.", name), format = cat(key, ".format");
  const std::string objective = cat("objective.type = ", quote(config.objective.type));
  const bool learns_pairs = config.objective->learns_pairs();
  if (!component.format->pairs()) {
    if (!learns_pairs || component.train.empty()) return;
    p.add(format,
          cat(objective, " learns from pairs of answers, and ", format,
              ".type = ", quote(component.format.type), " gives ",
              component.format.type == "preference" ? "one answer at a time" : "texts"),
          {"objective"})
        .allowed("{ type = \"preference\", learn = \"pair\" }")
        .hint("a component with validation alone may be of texts");
    return;
  }
  if (!learns_pairs)
    p.add(cat(format, ".learn"),
          cat(format, ".learn = \"pair\" gives pairs of answers, and ", objective,
              " learns from texts"),
          {"objective"})
        .allowed("\"chosen\", \"rejected\", \"both\"")
        .hint("or write objective = \"dpo\" to learn from pairs");
  if (component.pack == data::Packing::kNo)
    p.add(cat(key, ".pack"),
          cat(key, ".pack = \"no\" cuts texts into windows, and pairs stay whole"), {format})
        .allowed("\"greedy\", \"best_fit\", \"alone\"");
  if (!config.data.block_cross_document_attention)
    p.add("data.block_cross_document_attention",
          "data.block_cross_document_attention = false lets an answer see the other one", {format})
        .allowed("true");
}

/// Faults what does not go with the objective.
void check_objective(const TrainConfig& config, config::Problems& p) {
  for (const auto& [name, component] : config.data.components)
    check_pairs(config, p, name, component);
  if (config.z_loss_weight > 0 && config.objective->learns_pairs())
    p.add("z_loss_weight",
          cat("z_loss_weight is part of the loss of texts, and objective.type = ",
              quote(config.objective.type), " has another"),
          {"objective"})
        .hint("remove it");
}

}  // namespace

void TrainConfig::validate(config::Problems& p) const {
  check_batch(*this, p);
  check_objective(*this, p);
  if (trainer.frozen != "f32" && !adapter)
    p.add("trainer.frozen",
          "trainer.frozen says how a model under an adapter is held, and there is none",
          {"adapter"})
        .hint("write adapter = \"lora\", or remove the key");
  else if (trainer.frozen == "bf16" && trainer.compute() != DType::bf16)
    p.add("trainer.frozen",
          cat("trainer.frozen = \"bf16\" takes arithmetic on bf16, and trainer.mp is ",
              quote(trainer.mp)),
          {"trainer.mp"})
        .allowed("\"f32\", \"int8\"")
        .hint("write trainer.mp = \"p=f32,c=bf16\"");
  if (!hf_save_path && hf_save_dtype)
    p.add("hf_save_dtype", "hf_save_dtype is not read without hf_save_path", {"hf_save_path"})
        .hint("write hf_save_path = \"DIR\", or remove the key");
  if (const std::string key = model->without_hf_form(); hf_save_path && !key.empty())
    p.add("hf_save_path",
          cat("model.", key, " of model.type = ", quote(model.type),
              " has no form in a Hugging Face folder"),
          {cat("model.", key)})
        .hint("leave hf_save_path out; checkpoints keep such a model");
  const std::optional<int64_t> needed = data.tokenizer->vocab_size();
  if (data.components.empty() || !needed) return;
  if (const auto small = train::small_vocabulary(*this, *needed))
    p.add("model.vocab_size", small->message, {"data.tokenizer"})
        .allowed(small->allowed)
        .hint(small->hint);
}

namespace {

/// As train::take_hf_model. A folder that is none is a fault of the key, and all else in the config
/// is looked at without its model.
std::optional<Error> take_hf_model(config::Value& root, TrainConfig& config,
                                   config::Problems& problems) {
  try {
    config.not_trained = train::take_hf_model(root);
    return std::nullopt;
  } catch (const Error& error) {
    config::Value::Member* model = root.find("model");
    const config::Value::Member* path = model->value.find("path");
    const std::string place = error.at().empty() ? "" : cat(": ", error.at());
    problems.refuse("model", path ? path->value.at : model->key_at, cat(error.message(), place))
        .allowed(error.allowed())
        .hint(error.hint());
    model->value = {};
    return error;
  }
}

/// A run has one length. A command's overrides may replace it; a file that says both is at fault.
void settle_length(TrainConfig& config, config::Problems& problems) {
  std::optional<double>& wanted = config.trainer.num_train_epochs;
  const std::string_view steps = "trainer.num_train_steps", epochs = "trainer.num_train_epochs";
  if (wanted && config.sources.has(steps)) {
    const bool steps_in_file = config.sources.find(steps).line > 0;
    const bool epochs_in_file = config.sources.find(epochs).line > 0;
    if (epochs_in_file && !steps_in_file) wanted.reset();
    if (epochs_in_file == steps_in_file)
      problems.add(epochs, cat(epochs, " and ", steps, " both say how long the run is"), {steps})
          .hint("remove one of them");
  }
  if (wanted && !config.trainer.batch_schedule.empty())
    problems
        .add(epochs,
             cat(epochs, " counts batches of one size, and trainer.batch_schedule has more"),
             {"trainer.batch_schedule"})
        .hint(cat("write ", steps));
  const data::StopStrategy stop = config.data.stop_strategy;
  if (wanted && stop != data::StopStrategy::kRestart)
    problems
        .add(epochs,
             cat(epochs, " counts all data, and data.stop_strategy = ",
                 quote(config::word_of(stop)), " says where they end"),
             {"data.stop_strategy"})
        .hint(cat("remove one of them, or write ", steps));
}

/// Levanter's word for what guard.on_nan says becomes that. Of two that are said, a command's
/// override counts.
void settle_guard(TrainConfig& config, config::Problems& problems) {
  std::optional<bool>& crash = config.trainer.crash_on_nan;
  if (!crash) return;
  const std::string_view key = "trainer.crash_on_nan", ours = "trainer.guard.on_nan";
  const bool both = config.sources.has(ours);
  const bool in_file = config.sources.find(key).line > 0;
  const bool ours_in_file = both && config.sources.find(ours).line > 0;
  if (both && in_file == ours_in_file)
    problems.add(key, cat(key, " and ", ours, " both say what a run does at a NaN"), {ours})
        .hint(cat("remove ", key));
  if (!both || ours_in_file)
    config.trainer.guard.on_nan = *crash ? GuardAction::kStop : GuardAction::kSkip;
  crash.reset();
}

/// Binds a document to a config; the reader is given the problems to report to.
template <class Read>
TrainConfig load(const std::string& file, Inspector* inspector, Read read) {
  TrainConfig config;
  config.file = file;
  config::Problems problems(config.sources);
  const std::string subject = file.empty() ? "the overrides" : file;
  config::Value root = read(problems);
  problems.raise(subject);  // a file that cannot be read leaves nothing else to check
  const std::optional<Error> no_model = take_hf_model(root, config, problems);
  bind(root, config::type_of<TrainConfig>(), &config, config.sources, problems);
  settle_length(config, problems);
  settle_guard(config, problems);
  if (inspector) inspector->inspect(config, problems);
  if (no_model && problems.count() == 1) throw *no_model;
  problems.raise(subject);
  return config;
}

}  // namespace

TrainConfig load_train_config(const std::string& path, std::span<const std::string> overrides,
                              Inspector* inspector) {
  return load(path, inspector, [&](config::Problems& problems) {
    return config::load_document(path, overrides, problems);
  });
}

TrainConfig parse_train_config(std::string_view text, const std::string& name,
                               std::span<const std::string> overrides) {
  return load(name, nullptr, [&](config::Problems& problems) {
    return config::parse_document(text, name, overrides, problems);
  });
}

std::string print_config(const TrainConfig& config) {
  config::Value root = config::to_value(config::type_of<TrainConfig>(), &config);
  auto& members = root.find("trainer")->value.members;
  if (config.trainer.num_train_epochs)
    std::erase_if(members, [](const auto& member) { return member.key == "num_train_steps"; });
  if (!config.trainer.id) {  // the file that it would follow from is another one from here on
    config::Value id;
    id.kind = config::Value::Kind::kString;
    id.text = config.run_id();
    const auto after = std::find_if(members.begin(), members.end(),
                                    [](const auto& member) { return member.key == "device"; });
    members.insert(after, {"id", {}, std::move(id)});
  }
  return config::print_document(root);
}

std::vector<config::Entry> config_entries(const TrainConfig& config) {
  return config::flatten(config::type_of<TrainConfig>(), &config);
}

std::string canonical_text(const TrainConfig& config) {
  std::string out;
  for (const config::Entry& entry : config_entries(config))
    out += cat(entry.key, " = ", entry.text, "\n");
  return out;
}

std::string config_hash(const TrainConfig& config) {
  return hex64(xxh3_64(canonical_text(config)));
}

namespace {

/// The entries of a config, with `open_adapter` each key of its adapter by itself.
std::vector<config::Entry> entries_of(const TrainConfig& config, bool open_adapter) {
  std::vector<config::Entry> all = config::flatten(config::type_of<TrainConfig>(), &config);
  if (!open_adapter) return all;
  std::erase_if(all, [](const config::Entry& entry) { return entry.key == "adapter"; });
  for (config::Entry& entry :
       config::flatten(config::type_of<config::Choice<AdapterConfig>>(), &*config.adapter)) {
    entry.key = cat("adapter.", entry.key);
    all.push_back(std::move(entry));
  }
  return all;
}

/// The entries that differ; with `fixed_only` those that a resumed run must keep.
std::vector<Difference> compare(const TrainConfig& saved, const TrainConfig& now, bool fixed_only) {
  const bool same_kind = saved.adapter && now.adapter && saved.adapter->type == now.adapter->type;
  const auto a = entries_of(saved, same_kind);
  const auto b = entries_of(now, same_kind);
  const auto find = [](const std::vector<config::Entry>& entries, const std::string& key) {
    const auto found = std::find_if(entries.begin(), entries.end(),
                                    [&](const config::Entry& e) { return e.key == key; });
    return found == entries.end() ? nullptr : &*found;
  };
  std::vector<Difference> out;
  for (const config::Entry& entry : a) {
    if (fixed_only && entry.may_change) continue;
    const config::Entry* other = find(b, entry.key);
    const std::string text = other ? other->text : "none";
    if (text != entry.text) out.push_back({entry.key, entry.text, text});
  }
  for (const config::Entry& entry : b)
    if (!(fixed_only && entry.may_change) && !find(a, entry.key))
      out.push_back({entry.key, "none", entry.text});
  return out;
}

}  // namespace

std::vector<Difference> differences(const TrainConfig& saved, const TrainConfig& now) {
  return compare(saved, now, false);
}

std::vector<Difference> resume_differences(const TrainConfig& saved, const TrainConfig& now) {
  std::vector<Difference> out = compare(saved, now, true);
  const auto derived = [&](const char* key, int64_t a, int64_t b) {
    if (a != b) out.push_back({key, cat(a), cat(b)});
  };
  if (saved.trainer.compute() != now.trainer.compute())
    out.push_back({"trainer.mp", saved.trainer.precision(), now.trainer.precision()});
  derived("trainer.microbatch_size", saved.microbatch_size(), now.microbatch_size());
  derived("trainer.gradient_groups", saved.gradient_groups(), now.gradient_groups());
  return out;
}

void require_data(const TrainConfig& config, bool to_train) {
  for (const auto& [name, component] : config.data.components)
    if (!to_train || !component.train.empty()) return;
  throw config.error(ErrorKind::kConfig, "data.components", "the config names no text to train on")
      .hint("add [data.components.NAME] with train = [\"file.txt\"]");
}

}  // namespace levanter
