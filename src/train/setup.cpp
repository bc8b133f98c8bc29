#include "train/setup.h"

#include <unistd.h>

#include <algorithm>

#include "base/files.h"
#include "base/strings.h"
#include "data/loader.h"

namespace levanter::train {

std::unique_ptr<data::TextData> load_data(const TrainConfig& config,
                                          std::shared_ptr<const text::Tokenizer> saved) {
  require_data(config);
  std::vector<data::TextComponent> components;
  for (const auto& [name, source] : config.data.components) {
    data::TextComponent component{name, {}, {}, source.validation_fraction.value_or(0)};
    for (const config::Path& path : source.train) component.train.push_back(path.resolved);
    for (const config::Path& path : source.validation)
      component.validation.push_back(path.resolved);
    components.push_back(std::move(component));
  }
  auto data = std::make_unique<data::TextData>(
      components, text::find_tokenizer(config.data.tokenizer.type), std::move(saved));
  data->check_lengths(config.model->max_seq_len);
  return data;
}

int64_t vocab_size(const TrainConfig& config, const text::Tokenizer* tokenizer) {
  const std::optional<int64_t> wanted = config.model->vocab_size;
  std::optional<int64_t> known = config.data.tokenizer->vocab_size();
  if (tokenizer) known = tokenizer->vocab_size();
  if (wanted && known && *wanted < *known)
    throw Error(ErrorKind::kConfig, cat("model.vocab_size = ", *wanted,
                                        " is too small for the tokenizer's ", *known, " tokens"))
        .at(config.where("model.vocab_size"))
        .allowed(cat("at least ", *known))
        .hint("leave it out to take the tokenizer's");
  if (wanted) return *wanted;
  if (known) return *known;
  throw Error(ErrorKind::kConfig, "the size of the vocabulary is not known without the data")
      .at(config.where("model.vocab_size"))
      .hint("set model.vocab_size");
}

ModelSpec model_spec(const TrainConfig& config) {
  return {models::entry(config.model.type), *config.model};
}

StepOptions step_options(const TrainConfig& config, int64_t vocab_size, int64_t rank,
                         bool optimise) {
  return {.model = model_spec(config),
          .shape = {config.microbatch_size(), config.model->max_seq_len, vocab_size},
          .optimizer = optim::entry(config.optimizer.type),
          .optimizer_config = *config.optimizer,
          .microbatches = config.num_microbatches(),
          .groups = config.gradient_groups(),
          .ranks = config.trainer.ranks,
          .rank = rank,
          .optimise = optimise,
          .debug = config.trainer.debug,
          .schedule_seed = config.trainer.schedule_seed};
}

MemoryTotal memory_total(const CompiledStep& step, const TrainConfig& config) {
  const int64_t ranks = config.trainer.ranks;
  data::LoaderOptions loading;
  loading.seq_len = config.model->max_seq_len;
  loading.batch_size = config.trainer.train_batch_size;
  loading.rows = (config.trainer.train_batch_size + ranks - 1) / ranks;
  loading.prefetch = config.data.prefetch;
  return {.persistent = step.persistent_bytes() * ranks,
          .arena = step.arena_bytes() * ranks,
          .workspace = step.workspace_bytes() * ranks,
          .loader = data::loader_bytes(loading) * ranks,
          .save = staging_bytes(step.state_bytes())};
}

namespace {

/// The number in a control group's file, or -1 for "max" or none.
int64_t limit_in(const std::string& path) {
  if (!path_exists(path)) return -1;
  const std::string text = read_file(path);
  int64_t value = -1;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return parsed.ec == std::errc() ? value : -1;
}

}  // namespace

int64_t memory_limit() {
  int64_t limit = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  for (const char* file :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"})
    if (const int64_t group = limit_in(file); group > 0) limit = std::min(limit, group);
  return limit;
}

}  // namespace levanter::train
