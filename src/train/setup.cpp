// From a config to what a run is made of: the data, the vocabulary, the limits of memory.
#include "train/setup.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/integers.h"
#include "base/limits.h"
#include "base/strings.h"
#include "data/encoding/together.h"
#include "data/rows/loader.h"
#include "dist/watch.h"
#include "text/hf/config.h"
#include "train/watch/samples.h"

namespace levanter::train {

namespace {

data::RowSpec row_spec(const DataConfig& config, const ComponentConfig& component) {
  data::RowSpec spec;
  spec.borders = {!config.block_cross_document_attention, config.reset_positions};
  if (component.pack == data::Packing::kNo) return spec;
  data::PackOptions pack;
  if (component.pack == data::Packing::kBestFit) pack.order = data::PackOrder::kBestFit;
  pack.alone = component.pack == data::Packing::kAlone;
  pack.crosses = spec.borders.crosses;
  pack.reset_positions = config.reset_positions;
  pack.too_long = component.too_long;
  if (component.format->pairs()) {
    pack.pairs = true;
    pack.reset_positions = true;  // each answer stands behind its prompt as if it were alone
  }
  spec.pack = pack;
  return spec;
}

data::ShuffleSpec shuffle_spec(const DataConfig& config) {
  data::ShuffleSpec spec;
  spec.permutation = config.permutation_type;
  if (!config.shuffle) {
    spec.reach = data::ShuffleReach::kNone;
  } else if (config.era_length) {
    spec.reach = data::ShuffleReach::kEra;
    spec.era_length = *config.era_length;
  } else if (config.block_shuffle) {
    spec.reach = data::ShuffleReach::kBlock;
    spec.io_block_size = config.block_shuffle->io_block_size;
    spec.window_blocks = config.block_shuffle->window_blocks;
  }
  return spec;
}

std::optional<data::MixtureSpec> mixture_spec(const TrainConfig& config) {
  const DataConfig& data = config.data;
  if (data.train_weights.empty() && data.train_weight_stages.empty()) return std::nullopt;
  data::MixtureSpec spec;
  spec.block_size = data.mixture_block_size;
  spec.stop = data.stop_strategy;
  if (data.train_weight_stages.empty()) spec.stages = {{0, data.train_weights}};
  for (const WeightStageConfig& stage : data.train_weight_stages)
    spec.stages.push_back({config.batch_sizes().before(stage.step), stage.weights});
  return spec;
}

std::vector<data::TextComponent> components_of(const TrainConfig& config) {
  std::vector<data::TextComponent> components;
  const int64_t seq_len = config.model->max_seq_len;
  for (const auto& [name, source] : config.data.components) {
    data::TextComponent component{.name = name};
    component.validation_fraction = source.validation_fraction.value_or(0);
    const auto held = config.data.num_validation_sequences.find(name);
    if (held != config.data.num_validation_sequences.end())
      component.validation_tokens = held->second * seq_len + 1;
    for (const config::Path& path : source.train) component.train.push_back(path.resolved);
    for (const config::Path& path : source.validation)
      component.validation.push_back(path.resolved);
    component.format = {std::shared_ptr<void>(), &*source.format};
    component.rows = row_spec(config.data, source);
    if (source.format.type == "chat") component.noun = "chat";
    if (source.format->pairs()) component.noun = "answer";
    component.tags = source.tags;
    components.push_back(std::move(component));
  }
  return components;
}

data::TextDataOptions data_options(const TrainConfig& config) {
  data::TextDataOptions options;
  options.kind = &text::find_tokenizer(config.data.tokenizer.type);
  options.tokenizer = &*config.data.tokenizer;
  options.enforce_bos = config.data.enforce_bos;
  options.enforce_eos = config.data.enforce_eos;
  if (config.data.cache_dir) options.cache_dir = config.data.cache_dir->resolved;
  options.memory_bytes = memory_limit();
  options.on_bad_record = config.data.on_bad_record;
  options.build_caches = config.data.auto_build_caches;
  options.threads = static_cast<int>(config.trainer.threads.value_or(available_threads()));
  return options;
}

}  // namespace

std::unique_ptr<data::TextData> load_data(const TrainConfig& config,
                                          std::shared_ptr<const text::Tokenizer> saved,
                                          data::CacheReport report, DataPart part,
                                          const SharedOpening& shared) {
  require_data(config);
  data::TextDataOptions options = data_options(config);
  options.saved = std::move(saved);
  options.report = std::move(report);
  options.held_out_only = part == DataPart::kHeldOut;
  options.crew = shared.crew;
  options.checked_caches = shared.checked;
  auto data = std::make_unique<data::TextData>(components_of(config), options);
  data->check_lengths(config.model->max_seq_len);
  return data;
}

int threads_of_rank(const TrainConfig& config, std::span<const dist::Place> places, int64_t rank) {
  if (config.trainer.threads) return static_cast<int>(*config.trainer.threads);
  // Ranks that may use the same processors share them.
  LEV_CHECK(rank < std::ssize(places), "a run knows where its ranks are");
  const dist::Place& own = places[static_cast<size_t>(rank)];
  const auto sharers = std::count(places.begin(), places.end(), own);
  return std::max(1, available_threads() / static_cast<int>(sharers));
}

std::unique_ptr<data::TextData> load_data_together(const TrainConfig& config,
                                                   dist::Communicator& communicator,
                                                   data::CacheReport report) {
  const std::vector<dist::Place> places = dist::gather_places(communicator);
  const int64_t rank = communicator.rank();
  if (dist::Watch* const watch = communicator.watch()) watch->set_places(places);
  dist::Crew crew(communicator);
  if (rank > 0) {
    serve_encoding(crew, config, threads_of_rank(config, places, rank));
    crew.follow();
    return nullptr;
  }
  auto data = load_data(config, nullptr, std::move(report), DataPart::kAll, {.crew = &crew});
  crew.release();
  return data;
}

void serve_encoding(dist::Crew& crew, const TrainConfig& config, int threads) {
  const auto format_of = [&config](const std::string& name) -> const FormatConfig& {
    const auto found = config.data.components.find(name);
    if (found != config.data.components.end()) return *found->second.format;
    throw Error(ErrorKind::kConfig, cat("rank 0 has a component ", quote(name)))
        .at("data.components")
        .hint("every rank of a run starts with the same config");
  };
  data::serve_encoding(crew, format_of, threads);
}

std::shared_ptr<const text::Tokenizer> open_tokenizer(const TrainConfig& config) {
  const text::TokenizerEntry& kind = text::find_tokenizer(config.data.tokenizer.type);
  if (kind.reads_texts) return nullptr;
  return kind.make(*config.data.tokenizer, {});
}

std::shared_ptr<const text::Tokenizer> find_tokenizer(const TrainConfig& config) {
  require_data(config);
  return data::make_tokenizer(components_of(config), data_options(config));
}

int64_t steps_of_epochs(const TrainConfig& config, const data::TextData& data) {
  constexpr double kRounding = 1e-9;  // of the product: 0.1 epochs of 100 rows are 10 rows
  const auto rows = static_cast<double>(data.training(training_options(config, {})).epoch_length);
  const double batches = *config.trainer.num_train_epochs * rows /
                         static_cast<double>(config.trainer.train_batch_size);
  return std::max<int64_t>(1, std::llround(std::ceil(batches * (1 - kRounding))));
}

data::TrainingOptions training_options(const TrainConfig& config, Key key) {
  data::TrainingOptions options{.seq_len = config.model->max_seq_len, .key = key};
  options.shuffle = shuffle_spec(config.data);
  options.mixture = mixture_spec(config);
  for (const auto& [name, batches] : config.data.max_train_batches)
    options.most_rows[name] = batches * config.trainer.train_batch_size;
  if (config.data.target_budget)
    options.share_of_rows = *config.data.experiment_budget / *config.data.target_budget;
  return options;
}

namespace {
/// Whether the tokenizer may have more tokens than the model's folder: the model gets rows for
/// them.
bool adds_tokens(const TrainConfig& config) {
  const auto* hf = dynamic_cast<const text::hf::HfTokenizerConfig*>(&*config.data.tokenizer);
  return hf && !hf->add_tokens.empty();
}
}  // namespace

std::optional<SmallVocabulary> small_vocabulary(const TrainConfig& config, int64_t tokens) {
  const std::optional<int64_t> wanted = config.model->vocab_size;
  if (!wanted || *wanted >= tokens || adds_tokens(config)) return std::nullopt;
  const bool of_weights = config.start_from.kind == StartKind::kHf;
  return SmallVocabulary{
      cat("model.vocab_size = ", *wanted, " is less than the ", tokens, " tokens of the tokenizer"),
      cat("at least ", tokens),
      of_weights ? cat("set model.vocab_size = ", tokens,
                       ": tokens that the weights lack begin as the mean of the others")
                 : "leave it out to take the tokenizer's"};
}

int64_t vocab_size(const TrainConfig& config, const text::Tokenizer* tokenizer) {
  const std::optional<int64_t> wanted = config.model->vocab_size;
  std::optional<int64_t> known = config.data.tokenizer->vocab_size();
  if (tokenizer) known = tokenizer->vocab_size();
  if (wanted && known && adds_tokens(config)) return std::max(*wanted, *known);
  if (const auto small = known ? small_vocabulary(config, *known) : std::nullopt)
    throw Error(ErrorKind::kConfig, small->message)
        .at(config.where("model.vocab_size"))
        .allowed(small->allowed)
        .hint(small->hint);
  if (wanted) return *wanted;
  if (known) return *known;
  throw Error(ErrorKind::kConfig, "the size of the vocabulary is not known without the data")
      .at(config.where("model.vocab_size"))
      .hint("set model.vocab_size");
}

std::optional<int64_t> known_vocab_size(const TrainConfig& config,
                                        const text::Tokenizer* tokenizer) {
  if (!tokenizer && adds_tokens(config)) return std::nullopt;
  if (config.model->vocab_size && tokenizer && adds_tokens(config))
    return std::max(*config.model->vocab_size, tokenizer->vocab_size());
  if (config.model->vocab_size) return config.model->vocab_size;
  if (tokenizer) return tokenizer->vocab_size();
  return config.data.tokenizer->vocab_size();
}

Key init_key(const TrainConfig& config) {
  return fold_in(key_from_seed(static_cast<uint64_t>(config.trainer.seed)), "init");
}

namespace {
std::optional<DType> held_frozen(const std::string& word) {
  if (word == "bf16") return DType::bf16;
  if (word == "int8") return DType::i8;
  return std::nullopt;
}
}  // namespace

ModelSpec model_spec(const TrainConfig& config) {
  return {models::entry(config.model.type), *config.model,
          std::make_shared<optim::Groups>(config.optimizer->groups),
          config.adapter ? &**config.adapter : nullptr, held_frozen(config.trainer.frozen)};
}

namespace {

/// The documents of a window are of one segment where attention crosses their borders. Packs keep
/// their segments: what pads them counts in the means that a mixture of experts measures.
models::Segments segments_of(const DataConfig& config) {
  for (const auto& [name, component] : config.components)
    if (component.pack != data::Packing::kNo) return models::Segments::kSeveral;
  return config.block_cross_document_attention ? models::Segments::kSeveral
                                               : models::Segments::kOne;
}

}  // namespace

namespace {

std::vector<std::string> paths_of(const std::vector<nn::Param>& params) {
  std::vector<std::string> paths;
  for (const nn::Param& param : params) paths.push_back(param.path);
  return paths;
}
/// Some paths of parameters or modules, for an error.
std::string some_of(std::vector<std::string> paths) {
  constexpr size_t kShown = 6;
  if (paths.size() > kShown) {
    paths.resize(kShown);
    paths.emplace_back("...");
  }
  return join(paths, ", ");
}

/// The group that a parameter is of, as Groups::index_of; an error has the place of its pattern.
std::optional<size_t> group_of(const TrainConfig& config, const optim::Groups& groups,
                               const std::string& path) {
  for (size_t i = 0; i < groups.all().size(); ++i) {
    try {
      if (groups.matches(i, path)) return i;
    } catch (const Error& error) {
      throw config.error(error.kind(), cat("optimizer.groups[", i, "].match"), error.message())
          .hint(error.hint());
    }
  }
  return std::nullopt;
}

/// Throws where a group has no parameters, or none is left to train.
void require_groups(const TrainConfig& config, int64_t vocab_size) {
  if (config.optimizer->groups.empty()) return;
  const ModelSpec spec = model_spec(config);
  ModelSpec whole = spec;
  whole.groups = nullptr;  // told apart here, where errors have a place
  std::vector<nn::Param> params = infer::trace_params(whole, {.vocab_size = vocab_size});
  for (nn::Param& p : params) {
    const std::optional<size_t> index = group_of(config, *spec.groups, p.path);
    if (index && spec.groups->all()[*index].frozen) p.trainable = false;
  }
  const auto count = [&](auto is_meant) {
    return std::count_if(params.begin(), params.end(), is_meant);
  };
  for (size_t i = 0; i < spec.groups->all().size(); ++i) {
    const auto in_group = [&](const nn::Param& p) { return spec.groups->index_of(p.path) == i; };
    if (count(in_group) > 0) continue;
    const bool taken =
        count([&](const nn::Param& p) { return spec.groups->matches(i, p.path); }) > 0;
    const std::string key = cat("optimizer.groups[", i, "].match");
    Error error = config.error(ErrorKind::kConfig, key,
                               cat(key, " = ", quote(spec.groups->all()[i].match),
                                   taken ? " is found in parameters of earlier groups only"
                                         : " is found in no parameter"));
    if (taken) throw std::move(error).hint("the first group that matches counts: put it before");
    throw std::move(error)
        .allowed(some_of(paths_of(params)))
        .hint("levanter plan lists what each group has");
  }
  if (count([](const nn::Param& p) { return p.trainable; }) == 0)
    throw config
        .error(ErrorKind::kConfig, "optimizer.groups",
               "optimizer.groups freeze all parameters, and none is left to train")
        .hint("a group before them, without frozen, keeps what it matches");
}

/// Throws where nothing would be watched.
void require_watched(const TrainConfig& config, int64_t vocab_size) {
  const WatchConfig& watch = config.trainer.watch;
  if (!watch.every || watch.match.empty()) return;
  const char* const key = "trainer.watch.match";
  const optim::Pattern pattern(watch.match);
  const StepShape shape = {.vocab_size = vocab_size};
  std::vector<std::string> searched, some;  // kinds of paths, and some of each
  const auto found_in = [&](const char* kind, const std::vector<std::string>& paths) {
    searched.push_back(cat("no ", kind));
    if (!paths.empty()) some.push_back(some_of(paths));
    return std::any_of(paths.begin(), paths.end(),
                       [&](const std::string& path) { return pattern.found_in(path); });
  };
  try {
    if (watch.what != std::vector{WatchKind::kAttention} &&
        found_in("parameter that is trained",
                 paths_of(trained(infer::trace_params(model_spec(config), shape)))))
      return;
    if (watch.has(WatchKind::kAttention) &&
        found_in("module of attention", attention_modules(model_spec(config), shape)))
      return;
  } catch (const Error& error) {
    throw config.error(error.kind(), key, error.message()).hint(error.hint());
  }
  throw config
      .error(ErrorKind::kConfig, key,
             cat(key, " = ", quote(watch.match), " is found in ", join(searched, " and ")))
      .allowed(join(some, ", "));
}

StepWatch step_watch(const WatchConfig& config) {
  StepWatch watch;
  watch.every = config.every.value_or(0);
  watch.grad_norm = config.has(WatchKind::kGradNorm);
  watch.param_norm = config.has(WatchKind::kParamNorm);
  watch.update_ratio = config.has(WatchKind::kUpdateRatio);
  watch.attention = config.has(WatchKind::kAttention);
  if (!config.match.empty()) watch.match = std::make_shared<optim::Pattern>(config.match);
  return watch;
}

/// Throws where an optimizer measures the curvature of another loss than the objective's.
void require_no_drawn_labels(const TrainConfig& config, const optim::Assignment& optimizer) {
  if (!config.objective->learns_pairs() || !optimizer.refreshes(optim::Refresh::By::kDrawnLabels))
    return;
  throw config
      .error(ErrorKind::kConfig, "optimizer",
             cat("the optimizer measures the curvature of the loss of texts by labels that the "
                 "model draws, and objective.type = ",
                 quote(config.objective.type), " has another loss"))
      .hint("another optimizer than \"sophia\" trains with it");
}

/// Throws where a name that target_modules lists is that of no module.
void require_names(const TrainConfig& config, const std::vector<std::string>& modules,
                   const std::vector<std::string>& last_names) {
  const config::OneOrMany<std::string>& said = (*config.adapter)->target_modules;
  if (!said.listed) return;
  config::Choice<AdapterConfig> one = *config.adapter;
  for (const std::string& name : said.values) {
    one->target_modules.values = {name};
    if (std::any_of(modules.begin(), modules.end(),
                    [&](const std::string& module) { return one->targets(module); }))
      continue;
    const std::string near = nearest(name, last_names);
    throw config
        .error(
            ErrorKind::kConfig, "adapter.target_modules",
            cat("adapter.target_modules names ", quote(name), ", which is no module of the model"))
        .allowed(cat("all_linear, or of ", join(last_names, ", ")))
        .hint(near.empty() ? cat("a name is a module's path, such as ", modules.front(),
                                 ", or its last parts")
                           : cat("the nearest is ", near));
  }
}

/// Throws where an adapter does not fit the model, or has nothing to adapt.
void require_adapter(const TrainConfig& config, int64_t vocab_size) {
  if (!config.adapter) return;
  std::set<std::string> names;
  std::vector<std::string> modules;
  bool adapts = false;
  try {
    const infer::Tracing t("adapter", model_spec(config), {.vocab_size = vocab_size});
    for (const nn::Adapted::Site& site : t.adapted.sites) {
      adapts |= site.adaptation != nullptr;
      for (const std::string& path : site.modules) names.insert(path.substr(path.rfind('.') + 1));
      modules.insert(modules.end(), site.modules.begin(), site.modules.end());
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kConfig || !error.at().empty()) throw;
    const std::string key = error.message().substr(0, error.message().find(' '));
    throw Error(error).at(config.where(key));
  }
  const std::vector<std::string> last_names(names.begin(), names.end());
  if (adapts) return require_names(config, modules, last_names);
  throw config
      .error(ErrorKind::kConfig, "adapter.target_modules",
             "adapter.target_modules names no module of the model")
      .allowed(cat("all_linear, or of ", join(last_names, ", ")))
      .hint(cat("a list has names; one text is a regular expression of the whole path, such as ",
                modules.front()));
}

}  // namespace

StepOptions step_options(const TrainConfig& config, int64_t vocab_size, int64_t rank,
                         bool optimise) {
  require_adapter(config, vocab_size);
  require_groups(config, vocab_size);
  require_watched(config, vocab_size);
  const auto optimizer =
      std::make_shared<optim::Assignment>(optim::entry(config.optimizer.type), *config.optimizer);
  require_no_drawn_labels(config, *optimizer);
  return {.model = model_spec(config),
          .shape = {config.microbatch_size(), config.model->max_seq_len, vocab_size, DType::f32,
                    config.trainer.compute(), segments_of(config.data)},
          .optimizer = optimizer,
          .microbatches = config.num_microbatches(),
          .groups = config.gradient_groups(),
          .ranks = config.trainer.ranks,
          .rank = rank,
          .sharding = config.trainer.shard,
          .objective = config.objective->make({.z_loss = config.z_loss_weight}),
          .watch = step_watch(config.trainer.watch),
          .samples = sample_room(config),
          .limits = config.trainer.guard.on_spike.has_value(),
          .optimise = optimise,
          .debug = config.trainer.debug,
          .schedule_seed = config.trainer.schedule_seed};
}

std::string numerics_of(const TrainConfig& config, const Backend& backend) {
  return cat(backend.numerics_signature(config.trainer.compute()), "; mp ",
             config.trainer.precision());
}

void require_shard(const TrainConfig& config, const Backend& backend) {
  const bool gathers = config.trainer.shard == dist::Sharding::kParameters;
  if (!gathers || config.trainer.ranks == 1 || backend.is_host()) return;
  throw config
      .error(
          ErrorKind::kConfig, "trainer.shard",
          cat("trainer.shard = \"parameters\" gathers parameters in the host's memory, and device ",
              quote(backend.name()), " has its own"))
      .allowed("\"none\", \"optimizer\"")
      .hint("\"optimizer\" keeps a part of the optimizer's state on each rank");
}

int64_t neediest_rank(const CompiledStep& step, const TrainConfig& config) {
  int64_t neediest = 0, most = 0;
  for (int64_t rank = 0; rank < config.trainer.ranks; ++rank) {
    const int64_t needed = memory_total(step, config, std::span(&rank, 1)).needed();
    if (needed <= most) continue;
    most = needed;
    neediest = rank;
  }
  return neediest;
}

MemoryTotal memory_total(const CompiledStep& step, const TrainConfig& config) {
  if (config.trainer.communicator == "mpi") {
    const int64_t rank = neediest_rank(step, config);
    return memory_total(step, config, std::span(&rank, 1));
  }
  std::vector<int64_t> ranks(static_cast<size_t>(config.trainer.ranks));
  std::iota(ranks.begin(), ranks.end(), int64_t{0});
  return memory_total(step, config, ranks);
}

MemoryTotal memory_total(const CompiledStep& step, const TrainConfig& config,
                         std::span<const int64_t> ranks) {
  data::LoaderOptions loading;
  loading.seq_len = config.model->max_seq_len;
  loading.batch_size = config.trainer.train_batch_size;
  loading.rows = ceil_div(config.trainer.train_batch_size, config.trainer.ranks);
  loading.prefetch = config.data.prefetch;
  loading.references = config.objective->needs_reference();
  int64_t persistent = 0, most_of_one = 0, save = 0, samples = 0;
  for (const int64_t rank : ranks) {
    const int64_t own = step.persistent_bytes_of(rank);
    const int64_t writing = rank == 0 ? step.sample_bytes() : 0;
    persistent += own;
    samples += writing;
    most_of_one = std::max(most_of_one, own + writing);
    save += staging_bytes(step.save_bytes_of(rank));
  }
  return {.persistent = persistent,
          .arena = step.arena_bytes() * std::ssize(ranks),
          .workspace = step.workspace_bytes() * std::ssize(ranks),
          .first_run = step.first_run_bytes() * std::ssize(ranks),
          .of_a_device =
              most_of_one + step.arena_bytes() + step.workspace_bytes() + step.first_run_bytes(),
          .samples = samples,
          .loader = data::loader_bytes(loading) * std::ssize(ranks),
          .save = save};
}

std::vector<MemoryNeed> memory_needs(const MemoryTotal& total, const std::string& device,
                                     std::optional<int64_t> own, int64_t host_limit) {
  if (!own) return {{"memory", total.needed(), host_limit}};
  return {{cat(device, "'s memory"), total.of_a_device, *own},
          {"the host's memory", total.loader + total.save, host_limit}};
}

void require_memory(const TrainConfig& config, const CompiledStep& step, const Backend& backend,
                    std::span<const int64_t> ranks) {
  backend.synchronize();  // a device that is missing is told of first
  const MemoryTotal total =
      ranks.empty() ? memory_total(step, config) : memory_total(step, config, ranks);
  const auto needs = memory_needs(total, backend.name(), backend.device_memory(), memory_limit());
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

namespace {

/// Of address space: compiled products, stacks of threads, buffers of files.
constexpr int64_t kBesideThePlan = int64_t{32} << 20;

}  // namespace

int64_t memory_limit() {
  const int64_t machine = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  const int64_t limit = std::min(machine, cgroup_memory_limit().value_or(machine));
  const int64_t mappable = mappable_bytes();
  return mappable < 0 ? limit : std::min(limit, std::max<int64_t>(mappable - kBesideThePlan, 0));
}

}  // namespace levanter::train
