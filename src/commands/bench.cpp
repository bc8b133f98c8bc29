// levanter bench: the machine's measured rate of products, and what a whole step reaches of it.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "commands/command.h"
#include "data/loader.h"
#include "device/backends.h"
#include "ops/ops.h"
#include "train/engine.h"
#include "train/peak.h"
#include "train/setup.h"

namespace levanter::commands {

namespace {

constexpr Option kOptions[] = {
    {"config", "FILE", "step: the configuration to time"},
    {"steps", "N", "step: how many to time, the median counts; default 10"},
    {"device", "NAME", "gemm: cpu or reference; default cpu"},
    {"threads", "N", "gemm: threads; default: what the machine allows"},
    {"json", "", "print one JSON object"},
};

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int run_gemm(const Arguments& a) {
  if (!a.overrides.empty() || a.values.contains("config"))
    throw Error(ErrorKind::kConfig, "bench gemm reads no configuration")
        .at(a.overrides.empty() ? cat("--config ", a.text("config")) : a.overrides[0])
        .hint("--device and --threads choose what is timed");
  const auto backend = device::make_backend(a.text("device", "cpu"),
                                            static_cast<int>(a.integer("threads", 0, 0, 1024)));
  const auto rates = train::measure_products(*backend, 2);
  double best = 0;
  std::string rows;
  for (const train::ProductRate& r : rates) {
    best = std::max(best, r.gflops_per_second);
    rows += a.has("json")
                ? cat(rows.empty() ? "" : ", ", "{\"m\": ", r.m, ", \"n\": ", r.n, ", \"k\": ", r.k,
                      ", \"gflops_per_second\": ", format_fixed(r.gflops_per_second, 1), "}")
                : cat("f32  ", r.m, " x ", r.n, " x ", r.k, "  ",
                      format_fixed(r.gflops_per_second, 1), " GFLOP/s\n");
  }
  print(a.has("json")
            ? cat("{\"peak_gflops_per_second\": ", format_fixed(best, 1), ", \"dtype\": \"f32\"",
                  ", \"threads\": ", backend->threads(), ", \"products\": [", rows, "]}\n")
            : cat(rows, "peak ", format_fixed(best, 1), " GFLOP/s, ", backend->threads(),
                  " threads\n"));
  return 0;
}

/// Seconds by kind of op.
class Profile final : public StepObserver {
 public:
  void before(const Node&) override { start_ = now_seconds(); }
  void after(const Node& node, const std::string&, void* const*) override {
    std::string name = node.op->name;
    if (name == "map") name += cat(" ", name_of(static_cast<Map>(node.attributes.code)));
    seconds_[name] += now_seconds() - start_;
  }
  std::vector<std::pair<double, std::string>> sorted() const {
    std::vector<std::pair<double, std::string>> rows;
    for (const auto& [name, seconds] : seconds_) rows.emplace_back(seconds, name);
    std::sort(rows.rbegin(), rows.rend());
    return rows;
  }

 private:
  double start_ = 0;
  std::map<std::string, double> seconds_;
};

/// A whole optimizer step on random ids.
class StepBench {
 public:
  StepBench(const TrainConfig& config, const Backend& backend)
      : config_(config),
        vocab_(config.model->vocab_size.value_or(config.data.tokenizer->vocab_size().value_or(65))),
        engine_(train::CompiledStep(train::step_options(config, vocab_, 0), backend), backend),
        schedule_(config.schedule()) {
    const auto count = static_cast<size_t>(config.microbatch_size() * config.model->max_seq_len);
    tokens_.resize(count), targets_.resize(count), positions_.resize(count);
    segments_.assign(count, 0), weight_.assign(count, 1);
    for (size_t i = 0; i < count; ++i) {
      tokens_[i] = random_id(i);
      targets_[i] = random_id(i + 1);
      positions_[i] = static_cast<int32_t>(i % static_cast<size_t>(config.model->max_seq_len));
    }
    engine_.initialise(key_from_seed(0));
    scalars_.resize(engine_.step().options.optimizer.scalar_names.size());
  }

  double tokens() const {
    return static_cast<double>(config_.trainer.train_batch_size * config_.model->max_seq_len);
  }
  train::Engine& engine() { return engine_; }

  double run() {
    const auto& o = engine_.step().options;
    const double start = now_seconds();
    engine_.begin_step(tokens(), key_from_seed(static_cast<uint64_t>(step_)));
    for (int64_t m = 0; m < o.microbatches; ++m)
      engine_.run_microbatch({tokens_.data(), targets_.data(), segments_.data(), positions_.data(),
                              weight_.data(), m * o.shape.batch});
    if (engine_.subtree_sums()[0] != engine_.total())
      throw Error(ErrorKind::kInternal, "one rank's sum is not the total");
    o.optimizer.scalars(*config_.optimizer, step_, scalars_);
    engine_.run_update(schedule_.at(step_), scalars_);
    ++step_;
    return now_seconds() - start;
  }

 private:
  int32_t random_id(size_t i) const {
    return static_cast<int32_t>(random_below(key_from_seed(7), i, static_cast<uint64_t>(vocab_)));
  }

  const TrainConfig& config_;
  int64_t vocab_;
  train::Engine engine_;
  Schedule schedule_;
  std::vector<int32_t> tokens_, targets_, segments_, positions_;
  std::vector<float> weight_;
  std::vector<double> scalars_;
  int64_t step_ = 0;
};

std::string profile_table(StepBench& bench) {
  Profile profile;
  bench.engine().observe(&profile);
  double total = 0;
  for (int i = 0; i < 3; ++i) total += bench.run();
  bench.engine().observe(nullptr);
  std::string text;
  for (const auto& [seconds, name] : profile.sorted())
    if (seconds > 0.002 * total)
      text += cat("  ", format_fixed(100 * seconds / total, 1), " %  ", name, "\n");
  return text;
}

int run_step(const Arguments& a) {
  if (!a.values.contains("config"))
    throw Error(ErrorKind::kConfig, "bench step needs a configuration").allowed("--config FILE");
  const TrainConfig config = load_train_config(a.text("config"), a.overrides);
  if (config.trainer.ranks != 1)
    throw Error(ErrorKind::kConfig, "bench step times one rank")
        .at(config.where("trainer.ranks"))
        .allowed("1");
  const auto backend = device::make_backend(config.trainer.device,
                                            static_cast<int>(config.trainer.threads.value_or(0)));
  train::require_precision(config, *backend);
  StepBench bench(config, *backend);
  const int64_t steps = a.integer("steps", 10, 1, 1000000);
  for (int i = 0; i < 3; ++i) bench.run();
  std::vector<double> times;
  for (int64_t i = 0; i < steps; ++i) times.push_back(bench.run());
  std::nth_element(times.begin(), times.begin() + steps / 2, times.end());
  const double seconds = times[static_cast<size_t>(steps / 2)];
  double peak = 0;
  for (const train::ProductRate& r : train::measure_products(*backend, 0.5))
    peak = std::max(peak, r.gflops_per_second);
  const double rate = bench.engine().step().flops_per_token() * bench.tokens() / seconds / 1e9;
  if (a.has("json")) {
    print(cat("{\"tokens_per_second\": ", format_fixed(bench.tokens() / seconds, 1),
              ", \"ms_per_step\": ", format_fixed(seconds * 1e3, 3), ", \"gflops_per_second\": ",
              format_fixed(rate, 2), ", \"peak_gflops_per_second\": ", format_fixed(peak, 2),
              ", \"fraction_of_peak\": ", format_fixed(rate / peak, 4), ", \"dtype\": ",
              quote(config.trainer.mp), ", \"threads\": ", backend->threads(), "}\n"));
    return 0;
  }
  print(cat(format_fixed(seconds * 1e3, 2), " ms a step, ",
            format_count(std::llround(bench.tokens() / seconds)), " tokens/s, ",
            format_fixed(rate, 1), " GFLOP/s of ", format_fixed(peak, 1), " (",
            format_fixed(100 * rate / peak, 1), " %), ", backend->threads(), " threads\n",
            profile_table(bench)));
  return 0;
}

int run(const Arguments& a) {
  const std::string what = a.words.empty() ? "" : a.words[0];
  if (what == "gemm") return run_gemm(a);
  if (what == "step") return run_step(a);
  throw Error(ErrorKind::kConfig, what.empty() ? "levanter bench needs a word for what to time"
                                               : cat("levanter bench cannot time ", quote(what)))
      .allowed("gemm, step");
}

}  // namespace

extern const CommandEntry bench_entry;
const CommandEntry bench_entry = {
    "bench", "the machine's rate of products, and a step's share", "gemm|step", 1, kOptions, true,
    run};

}  // namespace levanter::commands
