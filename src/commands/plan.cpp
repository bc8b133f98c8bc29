// levanter plan: every byte that a run needs, before it starts.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "commands/command.h"
#include "device/backends.h"
#include "train/engine/memory_report.h"
#include "train/engine/peak.h"
#include "train/setup.h"

namespace levanter::commands {

namespace {

constexpr Option kOptions[] = {
    {"config", "FILE", "the run's configuration", true},
    {"ranks", "N", "for so many ranks as processes; no launcher is needed"},
    {"shard", "WORD", "what each rank has a part of: as trainer.shard"},
    {"memory", "BYTES", "what must suffice, such as 16G; default: what this machine allows"},
    {"device-model", "NAME",
     "whose memory must suffice, where the device is not here: h200, h100, a100, b200, rtx4090"},
    {"json", "", "print one JSON object"},
};

/// The vocabulary: from the config if it says, else from the tokenizer, else from the texts, of
/// which nothing is tokenised.
int64_t find_vocab(const TrainConfig& config) {
  if (train::known_vocab_size(config, nullptr)) return train::vocab_size(config, nullptr);
  auto tokenizer = train::open_tokenizer(config);
  if (!tokenizer && !config.data.components.empty()) tokenizer = train::find_tokenizer(config);
  return train::vocab_size(config, tokenizer.get());
}

/// How long the run takes on this machine, if it takes longer than a glance.
std::string time_text(const TrainConfig& config, const train::CompiledStep& step,
                      const Backend& backend) {
  constexpr double kUsualShare = 0.6;              // of the peak, that whole steps reach
  constexpr double kGlance = 1e12;                 // operations
  if (config.trainer.num_train_epochs) return "";  // the data, which are not read, say how many
  const double flops = step.flops_per_token() * static_cast<double>(config.model->max_seq_len) *
                       static_cast<double>(config.trainer.train_batch_size) *
                       static_cast<double>(config.trainer.num_train_steps);
  if (flops < kGlance) return "";
  const auto peak = train::known_peak(backend, config.trainer.compute());
  if (!peak) return "time           not known: the first run measures this machine's peak\n";
  return cat("time           about ", format_duration(flops / (*peak * 1e9 * kUsualShare)),
             " here without evaluations, at 60 % of the measured peak of ", format_fixed(*peak, 0),
             " GFLOP/s\n");
}

/// One way to need less, as words for the command line, and what it would need of the memory that
/// kernels work in.
struct Way {
  std::vector<std::string> words;
  int64_t needed = 0;
  double flops = 0;  ///< of a microbatch's gradients, a sequence
};

Way way_of(std::vector<std::string> words, const TrainConfig& config,
           const train::CompiledStep& step, const Backend& backend, std::optional<int64_t> own) {
  double flops = 0;
  for (const auto& [op, count] : step.gradients.flops_by_op()) flops += count;
  const train::MemoryTotal total = train::memory_total(step, config);
  return {std::move(words), train::memory_needs(total, backend.name(), own, 0)[0].needed,
          flops / static_cast<double>(config.microbatch_size())};
}

/// Plans again with changes to the config that was asked about.
class Replanner {
 public:
  /// own  of memory_needs
  Replanner(const Arguments& a, const TrainConfig& config, int64_t vocab, const Backend& backend,
            std::optional<int64_t> own, train::CompiledStep step)
      : now(way_of({}, config, step, backend, own)),
        arguments_(a),
        config_(config),
        vocab_(vocab),
        backend_(backend),
        own_(own),
        step_(std::move(step)) {}

  Way plan(std::vector<std::string> words) {
    std::vector<std::string> changed = arguments_.overrides;
    changed.insert(changed.end(), words.begin(), words.end());
    const TrainConfig config = load_train_config(arguments_.text("config"), changed);
    if (differences(config_, config).empty()) return now;
    train::CompiledStep step(train::step_options(config, vocab_, 0), backend_, std::move(*step_));
    step_.emplace(std::move(step));
    return way_of(std::move(words), config, *step_, backend_, own_);
  }

  std::span<const nn::Param> params() const { return step_->params; }

  const Way now;  ///< as the config stands

 private:
  const Arguments& arguments_;
  const TrainConfig& config_;
  int64_t vocab_;
  const Backend& backend_;
  std::optional<int64_t> own_;
  std::optional<train::CompiledStep> step_;  ///< the last one: the next takes what is the same
};

/// Remat policies from the least recomputation to the most.
constexpr const char* kPolicies[] = {"none",      "save_dots", "full",
                                     "nested(2)", "nested(4)", "nested(8)"};

/// The microbatch sizes below the config's, the largest first.
std::vector<int64_t> smaller_sizes(const TrainConfig& config) {
  std::vector<int64_t> sizes;
  for (int64_t size = config.microbatch_size() - 1; size >= 1; --size)
    if (config.trainer.train_batch_size % size == 0) sizes.push_back(size);
  return sizes;
}

/// Ways to need less: other policies with the same microbatch; then smaller microbatches, summed in
/// one group, which takes one gradient array: the largest that fits, with the same policy if any
/// does, else with the policy that recomputes least. Less memory goes with smaller microbatches, so
/// few of them have to be planned.
std::vector<Way> find_ways(Replanner& replanner, const TrainConfig& config, int64_t limit) {
  const Way& now = replanner.now;
  std::vector<Way> ways;
  std::vector<std::vector<std::string>> bases = {{}};
  int64_t least = now.needed;
  for (const char* policy : kPolicies) {
    Way way = replanner.plan({cat("--model.gradient_checkpointing=", policy)});
    if (way.needed >= least) continue;
    least = way.needed;
    bases.push_back(way.words);
    ways.push_back(std::move(way));
  }
  const std::vector<int64_t> sizes = smaller_sizes(config);
  const auto with_size = [&](std::vector<std::string> words, int64_t size) {
    words.push_back(cat("--trainer.microbatch_size=", size));
    if (config.trainer.ranks == 1) words.push_back("--trainer.gradient_groups=1");
    return replanner.plan(std::move(words));
  };
  if (sizes.empty()) bases.clear();
  if (!bases.empty()) {  // where not even the least of all fits, it is the one to be told
    Way way = with_size(bases.back(), 1);
    if (way.needed > limit) {
      bases.clear();
      if (way.needed < now.needed) ways.push_back(std::move(way));
    }
  }
  for (const std::vector<std::string>& base : bases) {
    Way way = with_size(base, 1);
    const bool fits = way.needed <= limit;
    size_t low = 0, high = sizes.size() - 1;  // the size at `high` has been planned
    while (fits && low < high) {
      const size_t middle = (low + high) / 2;
      Way larger = with_size(base, sizes[middle]);
      const bool enough = larger.needed <= limit;
      if (enough) {
        way = std::move(larger);
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    if (way.needed < now.needed) ways.push_back(std::move(way));
    if (fits) break;
  }
  for (Way& way : ways) way.flops = way.flops / now.flops - 1;
  return ways;
}

/// The words as a shell takes them.
std::string shell_words(std::vector<std::string> words) {
  for (std::string& word : words)
    if (word.find('(') != std::string::npos) word = cat("'", word, "'");
  return join(words, " ");
}

/// What would fit, and what would not: each way with its total and its price. `optimizers`: which
/// would where no way does.
std::string advice(const std::vector<Way>& ways, int64_t limit, const std::string& optimizers) {
  std::string text;
  bool any = false;
  for (const Way& way : ways) {
    const bool fits = way.needed <= limit;
    any = any || fits;
    const double percent = 100 * way.flops;
    const std::string price =
        percent < 0.5 && percent > -0.5
            ? ""
            : cat(percent > 0 ? "+" : "", format_fixed(percent, 0), " % FLOPs");
    text += cat(train::align_right(format_bytes(way.needed), 14),
                fits ? "  fits        " : "  does not fit", train::align_right(price, 12), "  ",
                shell_words(way.words), "\n");
  }
  if (!any)
    text += cat("  nothing of this fits: ", optimizers,
                "a smaller model, a shorter max_seq_len or more memory would\n");
  return text;
}

/// Optimizers that keep less than the run's, and with which the least of all ways would fit; "" for
/// none, and where ranks share what is kept.
std::string leaner_optimizers(const TrainConfig& config, const Replanner& replanner,
                              const std::vector<Way>& ways, int64_t limit) {
  if (config.trainer.ranks > 1) return "";
  const optim::Assignment run(optim::entry(config.optimizer.type), *config.optimizer);
  int64_t least = replanner.now.needed;
  for (const Way& way : ways) least = std::min(least, way.needed);
  const auto kept = [&](auto&& state_of) {
    int64_t bytes = 0;
    for (const nn::Param& param : replanner.params())
      if (param.trainable)
        for (const optim::StateArray& array : state_of(param)) bytes += array.type.bytes();
    return bytes;
  };
  const int64_t own = kept([&](const nn::Param& param) { return run.state(param); });
  std::vector<std::string> leaner;
  for (const char* name : {"adam", "lion", "adafactor"}) {
    const auto other = optim::entry(name).make_config();
    const int64_t bytes = kept([&](const nn::Param& param) {
      return optim::entry(name).state(static_cast<const OptimizerConfig&>(*other), param);
    });
    if (bytes < own && least - own + bytes <= limit)
      leaner.push_back(cat(quote(name), " (", format_bytes(bytes), ")"));
  }
  if (leaner.empty()) return "";
  return cat("an optimizer that keeps less than ", format_bytes(own), ", such as ",
             join(leaner, " or "), ", ");
}

std::string json_of(const TrainConfig& config, const train::CompiledStep& step,
                    const train::MemoryTotal& need, std::span<const train::MemoryNeed> needs,
                    bool fits) {
  nlohmann::ordered_json plan = {{"parameters", step.parameter_count()},
                                 {"persistent_bytes", need.persistent},
                                 {"arena_bytes", need.arena},
                                 {"workspace_bytes", need.workspace},
                                 {"total_bytes", need.total()},
                                 {"save_bytes", need.save}};
  if (need.samples > 0) plan["sample_bytes"] = need.samples;
  if (needs.size() > 1) {
    plan["device_bytes"] = needs[0].needed;
    plan["host_bytes"] = needs[1].needed;
  }
  for (int64_t rank = 0; rank < step.options.ranks && step.options.ranks > 1; ++rank) {
    const train::SentBytes sent = step.sent_bytes_of(rank);
    const train::MemoryTotal total = train::memory_total(step, config, std::span(&rank, 1));
    plan["ranks"].push_back({{"persistent_bytes", total.persistent},
                             {"total_bytes", total.total()},
                             {"save_bytes", total.save},
                             {"sent_gathered_bytes", sent.gathers},
                             {"sent_gradients_bytes", sent.gradients},
                             {"sent_norms_bytes", sent.norm},
                             {"sent_parameters_bytes", sent.parameters}});
  }
  plan["fits"] = fits;
  return plan.dump() + "\n";
}

/// The memory that a device has of its own.
struct Planned {
  std::optional<int64_t> memory;
  const char* model = nullptr;  ///< that was named or is assumed
  const char* note = "";
};

/// Of the model that --device-model names; else of the device that is here; else of the first
/// model.
Planned planned_device(const Arguments& a, std::string_view device, const Backend& backend) {
  const std::span<const DeviceModel> models = device::entry(device).models;
  if (a.values.contains("device-model")) {
    const std::string& wanted = a.text("device-model");
    std::string names;
    for (const DeviceModel& model : models) {
      if (model.name == wanted) return {model.memory, model.name};
      names += cat(names.empty() ? "" : ", ", model.name);
    }
    Error error(ErrorKind::kConfig, cat("device ", device, " has no model ", quote(wanted)));
    if (names.empty()) throw std::move(error).at("--device-model").hint("it is for device cuda");
    throw std::move(error).at("--device-model").allowed(names);
  }
  const std::optional<int64_t> own = backend.device_memory();
  if (own || models.empty()) return {own};
  return {models[0].memory, models[0].name, ", as there is none here (--device-model)"};
}

/// With what --ranks and --shard stand for as words for the config, before those that are there.
Arguments with_ranks(const Arguments& given) {
  Arguments a = given;
  std::vector<std::string> words;
  if (a.values.contains("ranks")) {
    const int64_t ranks = a.integer("ranks", 1, 1, 1024);
    words = {"--trainer.communicator=mpi", cat("--trainer.ranks=", ranks)};
  }
  if (a.values.contains("shard")) words.push_back(cat("--trainer.shard=", a.text("shard")));
  a.overrides.insert(a.overrides.begin(), words.begin(), words.end());
  return a;
}

int run(const Arguments& given) {
  const Arguments a = with_ranks(given);
  const TrainConfig config = load_train_config(a.text("config"), a.overrides);
  const int64_t memory = a.values.contains("memory") ? parse_bytes(a.text("memory"), "memory") : -1;
  const int64_t vocab = find_vocab(config);
  const auto backend = device::make_backend(config.trainer.device,
                                            static_cast<int>(config.trainer.threads.value_or(0)));
  train::require_shard(config, *backend);
  train::CompiledStep step(train::step_options(config, vocab, 0), *backend);
  // As a run asks, once the program has mapped what it takes itself.
  const train::MemoryTotal need = train::memory_total(step, config);
  const Planned planned = planned_device(a, config.trainer.device, *backend);
  auto needs = train::memory_needs(need, backend->name(), planned.memory, train::memory_limit());
  if (memory >= 0) needs[0].limit = memory;
  const bool fits = std::all_of(needs.begin(), needs.end(), [](const auto& m) { return m.fits(); });
  if (a.has("json")) {
    print(json_of(config, step, need, needs, fits));
  } else {
    print(train::memory_report(config, step, needs));
    if (planned.model) print(cat("device model   ", planned.model, planned.note, "\n"));
    print(cat("FLOPs a token  ", format_fixed(step.flops_per_token() / 1e6, 2), " million\n"));
    if (!planned.model) print(time_text(config, step, *backend));  // else it is not this machine's
    if (fits) {
      print("FITS\n");
    } else if (needs[0].fits()) {
      print("DOES NOT FIT: the host's memory is too small for the loader and a save\n");
    } else {
      print("DOES NOT FIT; with a save it would need, with\n");
      const int64_t limit = needs[0].limit;
      Replanner replanner(a, config, vocab, *backend, planned.memory, std::move(step));
      const std::vector<Way> ways = find_ways(replanner, config, limit);
      print(advice(ways, limit, leaner_optimizers(config, replanner, ways, limit)));
    }
  }
  return fits ? 0 : static_cast<int>(ErrorKind::kDevice);
}

}  // namespace

extern const CommandEntry plan_entry;
const CommandEntry plan_entry = {
    "plan", "memory, parameters and FLOPs of a run; exit 0 if it fits", "", 0, kOptions, true, run};

}  // namespace levanter::commands
