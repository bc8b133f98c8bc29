// What a run begins with: the checkpoint or folder that it goes on from, its texts, its step.
#include "train/start.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/files.h"
#include "base/strings.h"
#include "base/threads.h"
#include "checkpoint/folder.h"
#include "text/tokenizer.h"
#include "train/data_record.h"
#include "train/hf/start.h"
#include "train/introduction.h"
#include "train/setup.h"

namespace levanter::train {

namespace {

/// Whether a key of the config says only where something lies that is known by its content:
/// a text by the record of the data, a tokenizer by the one that is saved.
bool is_known_by_content(const Difference& d, const TrainConfig& config,
                         const Checkpoint& checkpoint) {
  if (d.key == "data.tokenizer.path") {
    const TokenizerConfig& tokenizer = *config.data.tokenizer;
    const auto now = text::find_tokenizer(config.data.tokenizer.type).make(tokenizer, {});
    return now->identity() ==
           text::load_tokenizer(checkpoint.tokenizer(), checkpoint.folder())->identity();
  }
  return d.key.starts_with("data.components.") &&
         (d.key.ends_with(".train") || d.key.ends_with(".validation") ||
          d.key.ends_with(".chat_template"));
}

/// Takes up what the run's own checkpoint knows beside its tensors.
void take_up(Run& run, const std::string& checkpoints) {
  const nlohmann::json extra = extra_of(run);
  run.first_step = extra.value("first_step", int64_t{0});
  const int64_t kept = extra.value("kept_step", int64_t{-1});
  if (kept >= 0 && path_exists(join_path(step_folder(checkpoints, kept), kManifestFile)))
    run.kept = {kept, extra.value("kept_loss", run.kept.loss)};
}

void check_memory(const TrainConfig& config, const CompiledStep& step, const Backend& backend) {
  const auto needs = memory_needs(memory_total(step, config), backend, memory_limit());
  for (const MemoryNeed& need : needs) {
    if (need.fits()) continue;
    const bool one = needs.size() == 1;
    throw Error(ErrorKind::kDevice,
                cat("the run needs ", format_bytes(need.needed), one ? "" : cat(" of ", need.name),
                    " and there are ", format_bytes(need.limit)))
        .at(config.where("trainer.microbatch_size"))
        .allowed(one ? "" : cat("at most ", format_bytes(need.limit)))
        .hint("levanter plan lists what takes it and which microbatch would fit");
  }
}

/// What the run's texts are read with: the tokenizer of the checkpoint that it goes on from, else
/// the config's.
std::shared_ptr<const text::Tokenizer> first_tokenizer(const TrainConfig& config) {
  FoundCheckpoint found = find_latest(join_path(config.run_folder(), "checkpoints"));
  if (!found.checkpoint && config.start_from.kind == StartKind::kCheckpoint)
    found = open_checkpoint(config.start_from.path->resolved);
  if (!found.checkpoint) return open_tokenizer(config);
  return text::load_tokenizer(found.checkpoint->tokenizer(),
                              join_path(found.checkpoint->folder(), "tokenizer.json"));
}

/// Of the backend of one rank.
int threads(const TrainConfig& config) {
  if (config.trainer.threads) return static_cast<int>(*config.trainer.threads);
  return config.trainer.ranks > 1
             ? std::max<int>(1, available_threads() / static_cast<int>(config.trainer.ranks))
             : 0;
}

}  // namespace

TrainConfig refuse_differences(const TrainConfig& config, const Checkpoint& checkpoint) {
  TrainConfig saved =
      parse_train_config(checkpoint.config_toml(), join_path(checkpoint.folder(), "config.toml"));
  const bool by_content = records_data(checkpoint.manifest().extra_json);
  std::string list;
  for (const Difference& d : resume_differences(saved, config))
    if (!by_content || !is_known_by_content(d, config, checkpoint))
      list += cat(list.empty() ? "" : "; ", d.key, " was ", d.saved, " and is ", d.now);
  if (list.empty()) return saved;
  throw Error(ErrorKind::kConfig, cat("the config does not fit the run's checkpoint: ", list))
      .at(checkpoint.folder())
      .hint("give the new run another trainer.id, or undo the change");
}

nlohmann::json extra_of(const Run& run) {
  if (!run.from || run.start_step == 0) return nlohmann::json::object();
  auto extra = nlohmann::json::parse(run.from->manifest().extra_json, nullptr, false);
  return extra.is_object() ? extra : nlohmann::json::object();
}

void choose_start(Run& run, const RunFolder& folder, std::vector<std::string>& messages) {
  FoundCheckpoint found = find_latest(folder.checkpoints());
  for (const std::string& problem : found.problems) messages.push_back(problem);
  if (!found.checkpoint && !found.problems.empty())
    throw Error(ErrorKind::kCheckpoint,
                cat("no checkpoint of this run is good: ", join(found.problems, "; ")))
        .at(folder.checkpoints())
        .hint("move the folder away to start anew");
  if (found.checkpoint) {
    const TrainConfig saved = refuse_differences(run.config, *found.checkpoint);
    run.from = std::move(found.checkpoint);
    run.resumes = true;
    run.start_step = run.from->step();
    take_up(run, folder.checkpoints());
    messages.push_back(cat("resuming from step ", run.start_step));
    if (run.start_step >= run.config.trainer.num_train_steps) return;
    std::string change = schedule_change(saved, run.config, run.start_step);
    if (!change.empty()) messages.push_back(std::move(change));
    return;
  }
  const StartFrom& start = run.config.start_from;
  if (start.kind == StartKind::kNone) {
    messages.push_back(cat("starting anew with seed ", run.config.trainer.seed));
    return;
  }
  if (start.kind == StartKind::kHf) {
    run.hf = std::make_unique<const compat::HfWeights>(start.path->resolved);
    messages.push_back(cat("starting from ", run.hf->folder(), " (model)"));
    if (std::string line = run.hf->changed(); !line.empty()) messages.push_back(std::move(line));
    return;
  }
  FoundCheckpoint other = open_checkpoint(start.path->resolved);
  for (const std::string& problem : other.problems) messages.push_back(problem);
  run.from = std::move(other.checkpoint);
  run.restore_optimizer = start.what == StartPart::kAll;
  if (run.restore_optimizer) run.start_step = run.first_step = run.from->step();
  if (run.start_step >= run.config.trainer.num_train_steps)
    throw run.config
        .error(ErrorKind::kConfig, run.length_key,
               cat("start_from names a checkpoint of step ", run.start_step,
                   ", and the run would end at ", run.config.trainer.num_train_steps))
        .hint(cat("raise ", run.length_key,
                  ", or take the model alone: start_from.what = \"model\""));
  messages.push_back(
      cat("starting from ", run.from->folder(), " (", config::word_of(start.what), ")"));
}

void check_data(const Run& run, std::vector<std::string>& messages) {
  const std::string& extra = run.from->manifest().extra_json;
  require_same_data(extra, *run.data, run.from->folder());
  if (!records_data(extra))
    messages.push_back(
        "the checkpoint does not say what its data held; that they are the same is not checked");
}

void check_numerics(const Run& run, const Backend& backend, std::vector<std::string>& messages) {
  if (run.start_step == 0 || !run.from) return;
  const std::string now = backend.numerics_signature() + "; mp " + run.config.trainer.precision();
  const std::string& saved = run.from->manifest().numerics;
  if (saved == now) return;
  const std::string difference = cat("numerics were \"", saved, "\" and are \"", now, "\"");
  if (run.config.trainer.require_same_bits)
    throw Error(ErrorKind::kCheckpoint, cat("the bits would differ: ", difference))
        .at(run.config.where("trainer.require_same_bits"))
        .hint("go on where the run was begun, or without trainer.require_same_bits");
  messages.push_back(difference);
}

void restore(const Run& run, Engine& engine) {
  engine.initialise(fold_in(run.root, "init"));
  if (run.hf) load_hf(*run.hf, model_spec(run.config), run.vocab, engine.model_targets());
  if (!run.from) return;
  for (const Tensor& target : engine.model_targets()) run.from->load(target);
  if (run.restore_optimizer)
    for (const Tensor& target : engine.optimizer_tensors()) run.from->load(target);
}

Prepared prepare(const TrainConfig& config, const RunOptions& options, int64_t vocab,
                 int64_t rank) {
  const bool eager = options.eager;
  auto backend = options.make_backend(eager ? "reference" : config.trainer.device, threads(config));
  if (config.trainer.debug && !backend->is_host())
    throw config
        .error(ErrorKind::kConfig, "trainer.debug",
               cat("trainer.debug reads the device's memory, which the host cannot do on ",
                   backend->name()))
        .hint("remove the key, or train on trainer.device = \"cpu\"");
  CompiledStep step(step_options(config, vocab, rank, !eager), *backend);
  if (rank == 0) check_memory(config, step, *backend);
  return {std::move(backend), std::move(step)};
}

void read_texts(Run& run, std::shared_ptr<const text::Tokenizer> tokenizer) {
  const std::optional<int64_t> vocab =
      tokenizer ? vocab_size(run.config, tokenizer.get()) : known_vocab_size(run.config, nullptr);
  if (vocab) run.prepared.emplace(prepare(run.config, run.options, *vocab, 0));
  run.data = load_data(run.config, std::move(tokenizer), run.options.cache_report);
  run.vocab = vocab_size(run.config, run.data->tokenizer().get());
  if (run.vocab != vocab) run.prepared.reset();
}

std::string count_epochs(Run& run) {
  TrainerConfig& trainer = run.config.trainer;
  read_texts(run, first_tokenizer(run.config));
  trainer.num_train_steps = steps_of_epochs(run.config, *run.data);
  run.length_key = "trainer.num_train_epochs";
  const std::string epochs = format_number(*trainer.num_train_epochs);
  trainer.num_train_epochs.reset();
  return cat("trainer.num_train_epochs = ", epochs, " is ",
             count_of(trainer.num_train_steps, "step"));
}

}  // namespace levanter::train
