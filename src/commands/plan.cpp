// levanter plan: every byte that a run needs, before it starts.
#include "base/error.h"
#include "base/strings.h"
#include "commands/command.h"
#include "device/backends.h"
#include "train/setup.h"

namespace levanter::commands {

namespace {

constexpr Option kOptions[] = {
    {"config", "FILE", "the run's configuration", true},
    {"memory", "BYTES", "what must suffice, such as 16G; default: what this machine allows"},
    {"json", "", "print one JSON object"},
};

std::string line(std::string_view name, int64_t bytes) {
  std::string text = cat("  ", name);
  text.resize(std::max<size_t>(text.size(), 26), ' ');
  std::string size = format_bytes(bytes);
  return cat(text, std::string(12 - std::min<size_t>(12, size.size()), ' '), size, "\n");
}

/// The vocabulary: from the config if it says, else from the texts.
int64_t find_vocab(const TrainConfig& config) {
  if (config.model->vocab_size || config.data.tokenizer->vocab_size() ||
      config.data.components.empty())
    return train::vocab_size(config, nullptr);
  return train::vocab_size(config, train::load_data(config)->tokenizer().get());
}

std::string report(const TrainConfig& config, const train::CompiledStep& step,
                   const train::MemoryTotal& need, int64_t limit) {
  const auto& shape = step.options.shape;
  std::string text =
      cat(config.run_id(), ": ", config.model.type, ", ", format_count(step.parameter_count()),
          " parameters, ", config.trainer.mp, "\nmicrobatch ", shape.batch, " x position ",
          shape.position, ", ", step.options.microbatches, " a step in ", step.options.groups,
          " groups, ", config.trainer.ranks, " ranks\n\npersistent, each rank\n");
  for (const train::MemoryLine& l : step.persistent()) text += line(l.what, l.bytes);
  text += cat("arena", line("", step.arena_bytes()).substr(5));
  text += cat("  lower bound ", format_bytes(step.gradients.arena_lower_bound()), "; fullest at ",
              step.gradients.peak_place(), "\n");
  int64_t saved = 0;
  const std::vector<LiveBuffer> peak = step.gradients.peak();
  for (const LiveBuffer& b : peak) saved += b.saved_for_backward ? b.bytes : 0;
  text += cat("  saved for backward ", format_bytes(saved), "; the largest:\n");
  for (size_t i = 0; i < peak.size() && i < 5; ++i)
    text += cat("    ", format_bytes(peak[i].bytes), "  ", peak[i].op, ", ", peak[i].where, "\n");
  text += cat("workspace", line("", step.workspace_bytes()).substr(9));
  text += cat("loader", line("", need.loader).substr(6));
  text += cat("total", line("", need.total()).substr(5));
  text += cat("a save, beside", line("", need.save).substr(14));
  text += cat("available", line("", limit).substr(9));
  text += cat("FLOPs a token  ", format_fixed(step.flops_per_token() / 1e6, 2), " million\n");
  return text;
}

/// What would fit: the largest smaller microbatch, first with the same remat, then with full.
std::string advice(const std::string& file, std::span<const std::string> overrides,
                   const TrainConfig& config, int64_t vocab, const Backend& backend,
                   int64_t limit) {
  for (const char* remat : {"", "full"})
    for (int64_t size = config.microbatch_size(); size >= 1; --size) {
      if (config.trainer.train_batch_size % size != 0) continue;
      std::vector<std::string> changed(overrides.begin(), overrides.end());
      changed.push_back(cat("--trainer.microbatch_size=", size));
      if (*remat) changed.push_back(cat("--model.gradient_checkpointing=", remat));
      const TrainConfig other = load_train_config(file, changed);
      const train::CompiledStep step(train::step_options(other, vocab, 0), backend);
      const train::MemoryTotal need = train::memory_total(step, other);
      if (need.needed() <= limit)
        return cat("trainer.microbatch_size = ", size,
                   *remat ? " with model.gradient_checkpointing = \"full\"" : "", " needs ",
                   format_bytes(need.needed()));
    }
  return "no microbatch fits; the parameters and the optimizer's state are too large";
}

int run(const Arguments& a) {
  const TrainConfig config = load_train_config(a.text("config"), a.overrides);
  const int64_t limit =
      a.values.contains("memory") ? parse_bytes(a.text("memory"), "memory") : train::memory_limit();
  const int64_t vocab = find_vocab(config);
  const auto backend = device::make_backend(config.trainer.device,
                                            static_cast<int>(config.trainer.threads.value_or(0)));
  train::require_precision(config, *backend);
  const train::CompiledStep step(train::step_options(config, vocab, 0), *backend);
  const train::MemoryTotal need = train::memory_total(step, config);
  const bool fits = need.needed() <= limit;
  if (a.has("json")) {
    print(cat("{\"parameters\": ", step.parameter_count(),
              ", \"persistent_bytes\": ", need.persistent, ", \"arena_bytes\": ", need.arena,
              ", \"workspace_bytes\": ", need.workspace, ", \"total_bytes\": ", need.total(),
              ", \"save_bytes\": ", need.save, ", \"fits\": ", fits, "}\n"));
  } else {
    print(report(config, step, need, limit));
    print(fits ? "FITS\n" : "DOES NOT FIT\n");
    if (!fits)
      print(cat("  ", advice(a.text("config"), a.overrides, config, vocab, *backend, limit), "\n"));
  }
  return fits ? 0 : static_cast<int>(ErrorKind::kDevice);
}

}  // namespace

extern const CommandEntry plan_entry;
const CommandEntry plan_entry = {
    "plan", "memory, parameters and FLOPs of a run; exit 0 if it fits", "", 0, kOptions, true, run};

}  // namespace levanter::commands
