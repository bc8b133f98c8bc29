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
#include "train/adapter/peft.h"
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

/// Takes up what the run's own checkpoint knows besides its tensors.
void take_up(Run& run, const std::string& checkpoints) {
  const nlohmann::json extra = extra_of(run);
  run.decision.first_step = extra.value("first_step", int64_t{0});
  const int64_t kept = extra.value("kept_step", int64_t{-1});
  if (kept >= 0 && path_exists(join_path(step_folder(checkpoints, kept), kManifestFile)))
    run.kept = {kept, extra.value("kept_loss", run.kept.loss)};
}

std::shared_ptr<const text::Tokenizer> tokenizer_of(const Checkpoint& checkpoint) {
  return text::load_tokenizer(checkpoint.tokenizer(),
                              join_path(checkpoint.folder(), "tokenizer.json"));
}

/// What the run's texts are read with: the tokenizer of the checkpoint that it goes on from, else
/// the config's.
std::shared_ptr<const text::Tokenizer> first_tokenizer(const TrainConfig& config) {
  FoundCheckpoint found = find_latest(join_path(config.run_folder(), "checkpoints"));
  // Of an adapter the checkpoint has it too: the base's.
  if (!found.checkpoint && config.start_from.kind == StartKind::kCheckpoint)
    found = open_checkpoint(config.start_from.path->resolved);
  return found.checkpoint ? tokenizer_of(*found.checkpoint) : open_tokenizer(config);
}

/// Of the backend of one rank.
int threads(const Run& run) { return threads_of_rank(run.config, run.places, run.rank); }

/// The ranks of the same machine, this one among them.
std::vector<int64_t> ranks_beside(const Run& run) {
  std::vector<int64_t> ranks;
  for (size_t r = 0; r < run.places.size(); ++r)
    if (run.places[r].host == run.places[static_cast<size_t>(run.rank)].host)
      ranks.push_back(static_cast<int64_t>(r));
  return ranks;
}

void compile(Run& run, int64_t vocab) {
  run.step.emplace(step_options(run.config, vocab, run.rank, !run.options.eager), *run.backend);
  if (run.rank != 0) return;
  const std::vector<int64_t> here = ranks_beside(run);
  require_memory(run.config, *run.step, *run.backend, here);
  run.decision.need = memory_total(*run.step, run.config, here).needed();
}

/// Reads the texts with the tokenizer, null for one that they make. Where it or the config tells
/// the vocabulary, a run that does not fit is refused before.
void read_texts(Run& run, std::shared_ptr<const text::Tokenizer> tokenizer) {
  const std::optional<int64_t> vocab =
      tokenizer ? vocab_size(run.config, tokenizer.get()) : known_vocab_size(run.config, nullptr);
  if (vocab) compile(run, *vocab);
  const SharedOpening shared{.crew = run.helpers, .checked = run.rank > 0};
  run.opened.data =
      load_data(run.given, std::move(tokenizer), run.options.cache_report, DataPart::kAll, shared);
  run.decision.vocab = vocab_size(run.config, run.opened.data->tokenizer().get());
  if (run.decision.vocab != vocab) run.step.reset();
}

void refuse_other_config(const Run& run) {
  const TrainConfig there = parse_train_config(run.decision.config, "rank 0's config");
  std::string list;
  if (there.run_id() != run.config.run_id())
    list = cat("trainer.id is ", run.config.run_id(), " and there ", there.run_id());
  for (const Difference& d : differences(there, run.config))
    if (d.key != "trainer.threads" && d.key != "trainer.id")
      list += cat(list.empty() ? "" : "; ", d.key, " is ", d.now, " and there ", d.saved);
  if (list.empty()) return;
  throw Error(ErrorKind::kConfig, cat("rank ", run.rank, " has another config than rank 0: ", list))
      .at(run.config.file)
      .hint("every rank of a run starts with the same config");
}

/// The checkpoint whose tokenizer is the run's; null for none.
const Checkpoint* tokenized_by(const Run& run) {
  const auto& [data, from, hf, base] = run.opened;
  return from ? from.get() : base.checkpoint.get();
}

/// What a process without rank 0 reads the texts with, or their caches.
std::shared_ptr<const text::Tokenizer> told_tokenizer(const Run& run) {
  if (!run.decision.tokenizer.empty())
    return text::load_tokenizer(run.decision.tokenizer, "rank 0's tokenizer");
  const Checkpoint* const tokenized = tokenized_by(run);
  return tokenized ? tokenizer_of(*tokenized) : open_tokenizer(run.config);
}

/// Opens what the decision names, in a process without rank 0.
Opened open_as_decided(Run& run) {
  const Decision& decision = run.decision;
  refuse_other_config(run);
  if (!decision.checkpoint.empty())
    run.opened.from = std::make_shared<const Checkpoint>(read_checkpoint(decision.checkpoint));
  if (!decision.hf_folder.empty())
    run.opened.hf = std::make_shared<const compat::HfWeights>(decision.hf_folder);
  if (run.config.adapter) run.opened.base = open_base(decision.base_kind, decision.base_place);
  const int64_t vocab = decision.vocab;
  if (!run.opened.data) read_texts(run, told_tokenizer(run));
  std::string list = changed_data(cat("{\"data\": ", decision.data, "}"), *run.opened.data);
  if (vocab != decision.vocab) list = cat(list, list.empty() ? "" : "; ", "another vocabulary");
  if (!list.empty())
    throw Error(ErrorKind::kData, cat("rank ", run.rank, " finds other texts than rank 0: ", list))
        .hint("every rank of a run reads the same files");
  return run.opened;
}

}  // namespace

Opened Process::once(int64_t start, const std::function<Opened()>& open) {
  const std::lock_guard lock(mutex_);
  if (!opened_ || start_ != start) opened_ = open();
  start_ = start;
  return *opened_;
}

void make_backend(Run& run) {
  const TrainConfig& config = run.config;
  run.backend = run.options.make_backend(run.options.eager ? "reference" : config.trainer.device,
                                         threads(run));
  run.backend->take_device(run.device);
  require_shard(config, *run.backend);
  if (config.trainer.debug && !run.backend->is_host())
    throw config
        .error(ErrorKind::kConfig, "trainer.debug",
               cat("trainer.debug reads the device's memory, which the host cannot do on ",
                   run.backend->name()))
        .hint("remove the key, or train on trainer.device = \"cpu\"");
}

TrainConfig refuse_differences(const TrainConfig& config, const Checkpoint& checkpoint) {
  TrainConfig saved =
      parse_train_config(checkpoint.config_toml(), join_path(checkpoint.folder(), "config.toml"));
  const bool by_content = records_data(checkpoint.manifest().extra_json);
  std::string list;
  for (const Difference& d : resume_differences(saved, config))
    if (!by_content || !is_known_by_content(d, config, checkpoint))
      list += cat(list.empty() ? "" : "; ", d.key, " was ", d.saved, " and is ", d.now);
  const std::string &held = saved.trainer.frozen, &holds = config.trainer.frozen;
  if ((held == "int8") != (holds == "int8"))  // f32 and bf16 give the same bits
    list +=
        cat(list.empty() ? "" : "; ", "trainer.frozen was ", quote(held), " and is ", quote(holds));
  if (list.empty()) return saved;
  throw Error(ErrorKind::kConfig, cat("the config does not fit the run's checkpoint: ", list))
      .at(checkpoint.folder())
      .hint("give the new run another trainer.id, or undo the change");
}

nlohmann::json extra_of(const Run& run) {
  if (!run.opened.from || run.decision.start_step == 0) return nlohmann::json::object();
  auto extra = nlohmann::json::parse(run.opened.from->manifest().extra_json, nullptr, false);
  return extra.is_object() ? extra : nlohmann::json::object();
}

namespace {

/// Opens the frozen model under the run's adapter: the one that the run was begun on, else the one
/// that start_from names.
void open_base_of(Run& run, std::vector<std::string>& messages) {
  const StartFrom& start = run.config.start_from;
  const std::string named = start.kind == StartKind::kNone ? "" : start.path->resolved;
  std::optional<BaseRecord> begun;
  if (run.opened.from) begun = base_of(run.opened.from->manifest().extra_json);
  BaseModel& base = run.opened.base;
  try {
    base = begun ? open_base(begun->kind, begun->place) : open_base(start.kind, named);
  } catch (const Error& error) {
    if (!begun || named.empty()) throw;
    messages.emplace_back(error.message());
    base = open_base(start.kind, named);
  }
  if (base.record().kind == StartKind::kNone) return;
  messages.push_back(cat("the frozen model is ", base.record().place));
  messages.insert(messages.end(), base.problems.begin(), base.problems.end());
}

/// Throws where the adapter of adapter.path computes something else than the config's.
void require_same_adapter(const TrainConfig& config) {
  if (!config.adapter || !(*config.adapter)->path) return;
  const AdapterConfig& adapter = **config.adapter;
  const config::Choice<AdapterConfig> there = read_peft_config(adapter.path->resolved);
  const std::string list = there.type == config.adapter->type
                               ? adapter.difference(*there)
                               : cat("type is ", config.adapter->type, " and there ", there.type);
  if (list.empty()) return;
  throw config
      .error(ErrorKind::kConfig, "adapter.path",
             cat("the adapter of ", quote(adapter.path->text), " is another one: adapter.", list))
      .hint("a run goes on with the settings that its adapter was made with");
}

/// As choose_start, of the checkpoints that are there.
void choose_among(Run& run, const RunFolder& folder, std::vector<std::string>& messages) {
  FoundCheckpoint found = find_latest(folder.checkpoints());
  for (const std::string& problem : found.problems) messages.push_back(problem);
  if (!found.checkpoint && !found.problems.empty())
    throw Error(ErrorKind::kCheckpoint,
                cat("no checkpoint of this run is good: ", join(found.problems, "; ")))
        .at(folder.checkpoints())
        .hint("move the folder away to start anew");
  if (found.checkpoint) {
    const TrainConfig saved = refuse_differences(run.config, *found.checkpoint);
    run.opened.from = std::make_shared<const Checkpoint>(*std::move(found.checkpoint));
    run.resumes = true;
    run.decision.start_step = run.opened.from->step();
    take_up(run, folder.checkpoints());
    if (run.config.adapter) open_base_of(run, messages);
    messages.push_back(cat("resuming from step ", run.decision.start_step));
    if (run.decision.start_step >= run.config.trainer.num_train_steps) return;
    std::string change = schedule_change(saved, run.config, run.decision.start_step);
    if (!change.empty()) messages.push_back(std::move(change));
    return;
  }
  require_same_adapter(run.config);
  const StartFrom& start = run.config.start_from;
  if (run.config.adapter && start.kind != StartKind::kNone) return open_base_of(run, messages);
  if (start.kind == StartKind::kNone) {
    messages.push_back(cat("starting anew with seed ", run.config.trainer.seed));
    return;
  }
  if (start.kind == StartKind::kHf) {
    run.opened.hf = std::make_shared<const compat::HfWeights>(start.path->resolved);
    messages.push_back(cat("starting from ", run.opened.hf->folder(), " (model)"));
    if (std::string line = run.opened.hf->changed(); !line.empty())
      messages.push_back(std::move(line));
    return;
  }
  FoundCheckpoint other = open_checkpoint(start.path->resolved);
  for (const std::string& problem : other.problems) messages.push_back(problem);
  run.opened.from = std::make_shared<const Checkpoint>(*std::move(other.checkpoint));
  if (base_of(run.opened.from->manifest().extra_json))
    throw run.config
        .error(ErrorKind::kConfig, "start_from.path",
               "the checkpoint holds an adapter and no model under it")
        .hint("levanter export --merge makes a whole model of it");
  run.decision.restore_optimizer = start.what == StartPart::kAll;
  if (run.decision.restore_optimizer)
    run.decision.start_step = run.decision.first_step = run.opened.from->step();
  if (run.decision.start_step >= run.config.trainer.num_train_steps)
    throw run.config
        .error(ErrorKind::kConfig, run.decision.length_key,
               cat("start_from names a checkpoint of step ", run.decision.start_step,
                   ", and the run would end at ", run.config.trainer.num_train_steps))
        .hint(cat("raise ", run.decision.length_key,
                  ", or take the model alone: start_from.what = \"model\""));
  messages.push_back(
      cat("starting from ", run.opened.from->folder(), " (", config::word_of(start.what), ")"));
}

}  // namespace

void choose_start(Run& run, const RunFolder& folder, std::vector<std::string>& messages) {
  const std::optional<Rollbacks> known = read_rollbacks(folder.path());
  if (known)
    for (std::string& line : remove_abandoned(folder.checkpoints(), *known))
      messages.push_back(std::move(line));
  choose_among(run, folder, messages);
  const nlohmann::json guard = extra_of(run).value("guard", nlohmann::json::object());
  run.decision.rollbacks =
      known ? *known : rollbacks_of(guard.value("rollbacks", nlohmann::json::array()));
}

void require_room(const Run& run) {
  const std::vector<int64_t> here = ranks_beside(run);
  if (run.rank == 0) return;
  if (here.front() == run.rank || run.backend->device_memory())
    require_memory(run.config, *run.step, *run.backend, here);
}

void check_numerics(const Run& run, std::vector<std::string>& messages) {
  if (run.decision.start_step == 0 || !run.opened.from) return;
  const std::string now = numerics_of(run.config, *run.backend);
  const std::string& saved = run.opened.from->manifest().numerics;
  if (saved == now) return;
  const std::string difference = cat("numerics were \"", saved, "\" and are \"", now, "\"");
  if (run.config.trainer.require_same_bits)
    throw Error(ErrorKind::kCheckpoint, cat("the bits would differ: ", difference))
        .at(run.config.where("trainer.require_same_bits"))
        .hint("go on where the run was begun, or without trainer.require_same_bits");
  messages.push_back(difference);
}

namespace {

void fill_base(Run& run, Engine& engine, const ProgressReport& progress) {
  const BaseModel& base = run.opened.base;
  run.base = base.record();
  run.base.params_hash =
      load_base(base, model_spec(run.config), run.decision.vocab, init_key(run.config),
                engine.step().params, engine.model_targets(), threads(run), progress);
}

/// Fills the frozen model under an adapter, and lets the adapter begin.
void restore_base(Run& run, Engine& engine, const ProgressReport& progress) {
  const std::vector<nn::Param>& params = engine.step().params;
  fill_base(run, engine, progress);
  if (run.opened.from) {
    const std::optional<BaseRecord> begun = base_of(run.opened.from->manifest().extra_json);
    if (!begun) return;
    const StartFrom& start = run.config.start_from;
    if (begun->params_hash != run.base.params_hash && start.kind != StartKind::kNone) {
      // Another model lies where that one was; start_from may say where it is now.
      run.opened.base = open_base(start.kind, start.path->resolved);
      fill_base(run, engine, progress);
    }
    require_same_base(begun->params_hash, run.base.params_hash, run.opened.from->folder(),
                      run.base.place);
    return;
  }
  engine.begin_adapter();
  const std::optional<config::Path>& path = (*run.config.adapter)->path;
  if (!path) return;
  const std::vector<Tensor> own = tensors_of(params, engine.model_targets(), true);
  require_same_base(load_peft(path->resolved, own), run.base.params_hash, path->resolved,
                    run.base.place);
}

}  // namespace

void restore(Run& run, Engine& engine) {
  // One of several ranks tells it.
  const ProgressReport progress = run.rank == 0 ? run.options.progress : ProgressReport();
  engine.initialise(init_key(run.config), progress);
  if (run.config.adapter) restore_base(run, engine, progress);
  if (run.opened.hf)
    load_hf(*run.opened.hf, model_spec(run.config), run.decision.vocab, engine.model_targets(),
            progress);
  std::vector<Tensor> targets;  // of the checkpoint
  if (run.opened.from)
    targets =
        tensors_of(engine.step().params, engine.model_targets(), run.config.adapter.has_value());
  // Without its optimizer a model begins as it would be used.
  if (!run.decision.restore_optimizer)
    for (Tensor& target : targets) target.path = run.opened.from->path_in_use(target.path);
  const bool has_optimizer = run.opened.from && run.decision.restore_optimizer;
  if (has_optimizer)
    for (Tensor& target : engine.optimizer_tensors()) targets.push_back(std::move(target));
  double done = 0, all = 0;
  for (const Tensor& target : targets) all += static_cast<double>(target.bytes());
  for (const Tensor& target : targets) {
    run.opened.from->load(target);
    done += static_cast<double>(target.bytes());
    if (progress) progress({"reading the checkpoint", done, all, "B"});
  }
  if (!has_optimizer) engine.begin_optimizer();
}

void restore_initial(const Run& run, Engine& engine) {
  Run anew{.given = run.given, .options = run.options, .rank = run.rank, .config = run.config};
  anew.places = run.places;
  anew.decision.vocab = run.decision.vocab;
  anew.opened.base = run.opened.base;  // under an adapter start_from names that, now as then
  const StartFrom& start = run.config.start_from;
  if (run.config.adapter) return restore(anew, engine);
  if (start.kind == StartKind::kHf)
    anew.opened.hf = std::make_shared<const compat::HfWeights>(start.path->resolved);
  if (start.kind == StartKind::kCheckpoint)
    anew.opened.from =
        std::make_shared<const Checkpoint>(*open_checkpoint(start.path->resolved).checkpoint);
  anew.decision.restore_optimizer = start.what == StartPart::kAll;
  restore(anew, engine);
}

void read_early(Run& run, std::vector<std::string>& messages) {
  TrainerConfig& trainer = run.config.trainer;
  const bool is_new =
      run.config.start_from.kind == StartKind::kNone && !path_exists(run.config.run_folder());
  if (is_new) require_same_adapter(run.config);
  if (!is_new && !trainer.num_train_epochs) return;
  if (!run.opened.data) read_texts(run, first_tokenizer(run.config));
  if (!trainer.num_train_epochs) return;
  trainer.num_train_steps = steps_of_epochs(run.config, *run.opened.data);
  run.decision.length_key = "trainer.num_train_epochs";
  const std::string epochs = format_number(*trainer.num_train_epochs);
  trainer.num_train_epochs.reset();
  messages.push_back(cat("trainer.num_train_epochs = ", epochs, " is ",
                         count_of(trainer.num_train_steps, "step")));
}

void read_chosen(Run& run, std::vector<std::string>& messages) {
  const TrainConfig& config = run.config;
  const std::shared_ptr<const data::TextData>& data = run.opened.data;
  const Checkpoint* const tokenized = tokenized_by(run);
  if (!tokenized) {
    if (!data) read_texts(run, open_tokenizer(config));
    return;
  }
  const Checkpoint& from = *tokenized;
  std::shared_ptr<const text::Tokenizer> saved = tokenizer_of(from);
  if (saved->name() != config.data.tokenizer.type)
    throw config.error(ErrorKind::kConfig, "data.tokenizer",
                       cat("data.tokenizer is ", config.data.tokenizer.type,
                           ", but the checkpoint was trained with ", saved->name()));
  if (!data || data->tokenizer()->identity() != saved->identity())
    read_texts(run, std::move(saved));
  if (!run.resumes) return;
  const std::string& extra = from.manifest().extra_json;
  require_same_data(extra, *data, from.folder());
  if (!records_data(extra))
    messages.push_back(
        "the checkpoint does not say what its data held; that they are the same is not checked");
}

void decide(Run& run, Process& process, const dist::Communicator& communicator) {
  Decision& decision = run.decision;
  if (!run.step) compile(run, decision.vocab);
  decision.num_train_steps = run.config.trainer.num_train_steps;
  decision.resumes = run.resumes;
  process.once(run.start, [&run] { return run.opened; });
  if (communicator.size() == 1) return;
  if (run.opened.from) decision.checkpoint = run.opened.from->folder();
  if (run.opened.hf) decision.hf_folder = run.opened.hf->folder();
  const BaseRecord base = run.opened.base.record();
  decision.base_kind = base.kind;
  decision.base_place = base.place;
  if (run.config.data.cache_dir) decision.tokenizer = run.opened.data->tokenizer()->serialise();
  decision.config = print_config(run.config);
  decision.data = data_record(*run.opened.data);
  decision.numerics = numerics_of(run.config, *run.backend);
}

void help(const Run& run, dist::Crew& crew) {
  serve_encoding(crew, run.given, threads(run));
  crew.follow();
}

void follow(Run& run, Process& process) {
  make_backend(run);
  const std::string numerics = numerics_of(run.config, *run.backend);
  if (numerics != run.decision.numerics)
    throw Error(ErrorKind::kDevice,
                cat("rank ", run.rank, " computes other bits than rank 0: its numerics are ",
                    quote(numerics), ", and rank 0's ", quote(run.decision.numerics)))
        .hint(
            "the ranks of a run need the same libraries and instructions: ONEDNN_MAX_CPU_ISA "
            "sets a level that all processors have");
  run.config.trainer.num_train_steps = run.decision.num_train_steps;
  run.config.trainer.num_train_epochs.reset();
  run.opened = process.once(run.start, [&run] { return open_as_decided(run); });
  if (!run.step) compile(run, run.decision.vocab);
}

}  // namespace levanter::train
