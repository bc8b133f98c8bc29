// levanter bench: the machine's measured rate of products, and what a whole step and each of its
// kernels reach of it.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "commands/command.h"
#include "data/rows/loader.h"
#include "device/ranges.h"
#include "device/tracing.h"
#include "ops/attributes.h"
#include "ops/composite/fused.h"
#include "ops/entries.h"
#include "train/engine/engine.h"
#include "trackers/tracker.h"
#include "train/engine/peak.h"
#include "train/setup.h"

namespace levanter::commands {

namespace {

constexpr Option kJson = {"json", "", "print one JSON object"};
constexpr Option kConfig = {"config", "FILE", "the configuration to time"};
constexpr Option kGemmOptions[] = {
    {"config", "FILE", "a model whose own products to add"},
    {"device", "NAME", "cpu, cuda or reference; default the configuration's, or cpu"},
    {"threads", "N", "default: what the machine allows"},
    kJson,
};
constexpr Option kStepOptions[] = {
    kConfig,
    {"steps", "N", "how many to time, the median counts; default 10"},
    {"trace", "FILE", "a trace of three more steps, op by op, for Perfetto or Chrome"},
    kJson};
constexpr Option kKernelsOptions[] = {kConfig, kJson};

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr double kSecondsOfPeak = 0.5;  // on each side of what is timed
constexpr double kSecondsOfInstruction = 0.1;

/// The standard sizes, and with a step those of its model with the microbatch's tokens.
std::vector<train::ProductSize> product_sizes(const Backend& backend,
                                              const train::CompiledStep* step) {
  std::vector<train::ProductSize> sizes = train::standard_products(backend);
  if (!step) return sizes;
  const auto& shape = step->options.shape;
  for (const train::ProductSize& size :
       train::model_products(step->params, shape.batch * shape.position))
    sizes.push_back(size);
  return sizes;
}

/// The vocabulary without looking at a text: what the config or the tokenizer says, else that of
/// a small alphabet.
int64_t bench_vocab(const TrainConfig& config) {
  return config.model->vocab_size.value_or(config.data.tokenizer->vocab_size().value_or(65));
}

/// The rates of one type on one number of threads.
struct Peak {
  DType dtype;
  int threads;
  std::vector<train::ProductRate> rates;
  std::optional<InstructionRate> instruction;
  double best() const { return train::best_rate(rates); }
};

std::string json_of(const std::optional<InstructionRate>& instruction) {
  if (!instruction) return "null";
  return cat("{\"name\": ", quote(instruction->name),
             ", \"gflops_per_second\": ", format_fixed(instruction->gflops_per_second, 1), "}");
}

std::string json_of(const Peak& peak) {
  std::string rows;
  for (const train::ProductRate& r : peak.rates)
    rows += cat(rows.empty() ? "" : ", ", "{\"m\": ", r.size.m, ", \"n\": ", r.size.n,
                ", \"k\": ", r.size.k,
                ", \"gflops_per_second\": ", format_fixed(r.gflops_per_second, 1), "}");
  return cat("\"peak_gflops_per_second\": ", format_fixed(peak.best(), 1),
             ", \"dtype\": ", quote(name_of(peak.dtype)), ", \"threads\": ", peak.threads,
             ", \"instruction\": ", json_of(peak.instruction), ", \"products\": [", rows, "]");
}

std::string text_of(const Peak& peak) {
  std::string text;
  for (const train::ProductRate& r : peak.rates)
    text += cat(name_of(peak.dtype), "  ", r.size.m, " x ", r.size.n, " x ", r.size.k, "  ",
                format_fixed(r.gflops_per_second, 1), " GFLOP/s\n");
  text += cat("peak ", name_of(peak.dtype), " ", format_fixed(peak.best(), 1), " GFLOP/s, ",
              count_of(peak.threads, "thread"));
  if (peak.instruction)
    text += cat("; ", peak.instruction->name, " alone ",
                format_fixed(peak.instruction->gflops_per_second, 1));
  return cat(text, "\n");
}

/// With one thread and with all, or with as many as were asked for; f32 and bf16.
int run_gemm(const Arguments& a) {
  std::optional<train::CompiledStep> step;
  std::optional<TrainConfig> config;
  if (a.values.contains("config")) config = load_train_config(a.text("config"), a.overrides);
  const std::string device = a.text("device", config ? config->trainer.device : "cpu");
  const auto all = a.make_backend(device, static_cast<int>(a.integer("threads", 0, 0, 1024)));
  if (config) {
    step.emplace(train::step_options(*config, bench_vocab(*config), 0), *all);
  } else if (!a.overrides.empty()) {
    throw Error(ErrorKind::kConfig, "bench gemm without a configuration has nothing to override")
        .at(a.overrides[0])
        .hint("--config names one; --device and --threads choose what is timed");
  }
  const std::vector<train::ProductSize> sizes = product_sizes(*all, step ? &*step : nullptr);
  std::vector<Peak> peaks;
  const auto measure = [&](const Backend& backend) {
    for (const DType dtype : {DType::f32, DType::bf16})
      peaks.push_back({dtype, backend.threads(),
                       train::measure_products(backend, dtype, sizes, 2 * kSecondsOfPeak),
                       backend.instruction_rate(dtype, kSecondsOfInstruction)});
  };
  measure(*all);  // f32 on all threads is the first
  if (!a.values.contains("threads") && all->threads() > 1) measure(*a.make_backend(device, 1));
  std::string text;
  for (const Peak& peak : peaks)
    text += a.has("json") ? cat(text.empty() ? "" : ", ", "{", json_of(peak), "}") : text_of(peak);
  print(a.has("json") ? cat("{", json_of(peaks[0]), ", \"peaks\": [", text, "]}\n") : text);
  return 0;
}

std::string kind_of(const Node& node) {
  std::string name = node.op->name;
  if (node.body) name += cat(" ", members_of(node));
  if (is(node, ops::map_entry))
    name += cat(" ", name_of(MapAttributes::of(node.attributes).opcode));
  if (node.origin.phase == Phase::kBackward) name += " backward";
  return name;
}

/// Seconds and work by kind of op; "(reference)" stands by what runs as a plain loop, and a
/// library's plan by what runs by one.
class Profile final : public StepObserver {
 public:
  struct Row {
    double seconds = 0, flops = 0, bytes = 0;
    int64_t count = 0;
  };

  explicit Profile(const Backend& backend) : backend_(backend) {}

  void know(const Executable& executable) { costs_.merge(executable.step_costs()); }
  void before(const Node&) override {
    backend_.synchronize();
    start_ = now_seconds();
  }
  void after(const Node& node, const std::string&, void* const*) override {
    backend_.synchronize();
    const double seconds = now_seconds() - start_;
    const auto cost = costs_.find(&node);
    std::string remark;
    if (cost != costs_.end()) remark = cost->second.plan;
    if (cost != costs_.end() && cost->second.by_reference) remark = "reference";
    Row& row = rows_[remark.empty() ? kind_of(node) : cat(kind_of(node), " (", remark, ")")];
    row.seconds += seconds;
    ++row.count;
    if (cost == costs_.end()) return;
    row.flops += cost->second.flops;
    row.bytes += cost->second.bytes;
  }
  /// The slowest kind first.
  std::vector<std::pair<std::string, Row>> sorted() const {
    std::vector<std::pair<std::string, Row>> rows(rows_.begin(), rows_.end());
    std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
      return a.second.seconds > b.second.seconds;
    });
    return rows;
  }

 private:
  const Backend& backend_;
  double start_ = 0;
  std::map<std::string, Row> rows_;
  std::map<const Node*, StepCost> costs_;
};

/// A whole optimizer step on random ids.
class StepBench {
 public:
  StepBench(const TrainConfig& config, const Backend& backend)
      : config_(config),
        vocab_(bench_vocab(config)),
        engine_(compiled(config, vocab_, backend), backend),
        schedule_(config.schedule()) {
    const auto count = static_cast<size_t>(config.microbatch_size() * config.model->max_seq_len);
    rows_ = data::Example(count);
    rows_.segment_ids.assign(count, 0);
    rows_.loss_weight.assign(count, 1);
    for (size_t i = 0; i < count; ++i) {
      rows_.tokens[i] = random_id(i);
      rows_.targets[i] = random_id(i + 1);
      rows_.positions[i] = static_cast<int32_t>(i % static_cast<size_t>(config.model->max_seq_len));
    }
    engine_.initialise(key_from_seed(0));
  }

  double tokens() const {
    return static_cast<double>(config_.trainer.train_batch_size * config_.model->max_seq_len);
  }
  train::Engine& engine() { return engine_; }

  double run() {
    const Range range("step");
    const auto& o = engine_.step().options;
    const double start = now_seconds();
    engine_.begin_step(tokens(), key_from_seed(static_cast<uint64_t>(step_)));
    for (int64_t m = 0; m < o.microbatches; ++m)
      engine_.run_microbatch({rows_, 0, m * o.shape.batch});
    if (engine_.subtree_sums()[0] != engine_.total())
      throw Error(ErrorKind::kInternal, "one rank's sum is not the total");
    engine_.run_update(step_, schedule_.at(step_));
    ++step_;
    return now_seconds() - start;
  }

 private:
  static train::CompiledStep compiled(const TrainConfig& config, int64_t vocab,
                                      const Backend& backend) {
    train::CompiledStep step(train::step_options(config, vocab, 0), backend);
    train::require_memory(config, step, backend);
    return step;
  }
  int32_t random_id(size_t i) const {
    return static_cast<int32_t>(random_below(key_from_seed(7), i, static_cast<uint64_t>(vocab_)));
  }

  const TrainConfig& config_;
  int64_t vocab_;
  train::Engine engine_;
  Schedule schedule_;
  data::Example rows_;
  int64_t step_ = 0;
};

/// Three steps, watched.
Profile profile_of(StepBench& bench, const Backend& backend, double& total) {
  Profile profile(backend);
  const train::CompiledStep& step = bench.engine().step();
  profile.know(step.gradients);
  if (step.gradients_next) profile.know(*step.gradients_next);
  profile.know(step.update);
  if (step.pack) profile.know(*step.pack);
  bench.engine().observe(&profile);
  total = 0;
  for (int i = 0; i < 3; ++i) total += bench.run();
  bench.engine().observe(nullptr);
  return profile;
}

std::string profile_table(StepBench& bench, const Backend& backend) {
  double total = 0;
  std::string text;
  for (const auto& [name, row] : profile_of(bench, backend, total).sorted())
    if (row.seconds > 0.002 * total)
      text += cat("  ", format_fixed(100 * row.seconds / total, 1), " %  ", name, "\n");
  return text;
}

TrainConfig config_to_bench(const Arguments& a) {
  if (!a.values.contains("config"))
    throw Error(ErrorKind::kConfig, cat("bench ", a.words[0], " needs a configuration"))
        .allowed("--config FILE");
  TrainConfig config = load_train_config(a.text("config"), a.overrides);
  if (config.trainer.ranks != 1)
    throw Error(ErrorKind::kConfig, cat("bench ", a.words[0], " times one rank"))
        .at(config.where("trainer.ranks"))
        .allowed("1");
  return config;
}

std::unique_ptr<Backend> backend_to_bench(const Arguments& a, const TrainConfig& config) {
  return a.make_backend(config.trainer.device,
                        static_cast<int>(config.trainer.threads.value_or(0)));
}

/// The best rate of any product, in the type that the run multiplies.
double peak_now(const TrainConfig& config, const Backend& backend,
                const train::CompiledStep& step) {
  return train::best_rate(train::measure_products(backend, config.trainer.compute(),
                                                  product_sizes(backend, &step), kSecondsOfPeak));
}

/// The better of two measurements, of which both are there or none.
std::optional<InstructionRate> better(std::optional<InstructionRate> a,
                                      std::optional<InstructionRate> b) {
  if (a && b && b->gflops_per_second > a->gflops_per_second) return b;
  return a;
}

std::string share_of(const std::optional<InstructionRate>& instruction, double rate) {
  if (!instruction) return "";
  const double alone = instruction->gflops_per_second;
  return cat(", of ", instruction->name, " alone ", format_fixed(alone, 1), " (",
             format_fixed(100 * rate / alone, 1), " %)");
}

/// Three steps, as Perfetto and Chrome show them.
void write_trace(StepBench& bench, const std::string& path) {
  name_thread("bench");
  const Tracing tracing;
  for (int i = 0; i < 3; ++i) bench.run();
  write_file_atomic(path, tracing.json("levanter bench step"));
}

int run_step(const Arguments& a) {
  const TrainConfig config = config_to_bench(a);
  const auto backend = backend_to_bench(a, config);
  const double began = now_seconds();
  StepBench bench(config, *backend);
  const double ready = now_seconds() - began;
  const int64_t steps = a.integer("steps", 10, 1, 1000000);
  const DType dtype = config.trainer.compute();
  double peak = peak_now(config, *backend, bench.engine().step());
  auto instruction = backend->instruction_rate(dtype, kSecondsOfInstruction);
  for (int i = 0; i < 3; ++i) bench.run();
  std::vector<double> times;
  for (int64_t i = 0; i < steps; ++i) times.push_back(bench.run());
  std::nth_element(times.begin(), times.begin() + steps / 2, times.end());
  const double seconds = times[static_cast<size_t>(steps / 2)];
  peak = std::max(peak, peak_now(config, *backend, bench.engine().step()));
  instruction = better(instruction, backend->instruction_rate(dtype, kSecondsOfInstruction));
  if (a.values.contains("trace")) write_trace(bench, a.text("trace"));
  const double rate = bench.engine().step().flops_per_token() * bench.tokens() / seconds / 1e9;
  if (a.has("json")) {
    print(cat("{\"tokens_per_second\": ", format_fixed(bench.tokens() / seconds, 1),
              ", \"ms_per_step\": ", format_fixed(seconds * 1e3, 3), ", \"gflops_per_second\": ",
              format_fixed(rate, 2), ", \"peak_gflops_per_second\": ", format_fixed(peak, 2),
              ", \"fraction_of_peak\": ", format_fixed(rate / peak, 4), ", \"instruction\": ",
              json_of(instruction), ", \"dtype\": ", quote(config.trainer.precision()),
              ", \"threads\": ", backend->threads(),
              ", \"ready_seconds\": ", format_fixed(ready, 3), "}\n"));
    return 0;
  }
  print(cat(format_fixed(seconds * 1e3, 2), " ms a step, ",
            format_count(std::llround(bench.tokens() / seconds)), " tokens/s, ",
            format_fixed(rate, 1), " GFLOP/s of ", format_fixed(peak, 1), " (",
            format_fixed(100 * rate / peak, 1), " %)", share_of(instruction, rate), ", ",
            count_of(backend->threads(), "thread"), ", ready in ", format_fixed(ready, 2), " s\n",
            profile_table(bench, *backend)));
  return 0;
}

/// Bytes per second of the machine's memory: the best of sums of two long arrays.
double memory_rate(const Backend& backend) {
  const int64_t elements = 8 * backend.product_side() * backend.product_side();
  const auto a = backend.allocate(elements * 4), b = backend.allocate(elements * 4);
  double best = 1e30;
  for (int i = 0; i < 5; ++i) {
    const double start = now_seconds();
    backend.add(reinterpret_cast<float*>(a->data()), reinterpret_cast<const float*>(b->data()),
                elements);
    backend.synchronize();
    best = std::min(best, now_seconds() - start);
  }
  return 3.0 * 4 * static_cast<double>(elements) / best;
}

/// Every kernel of a step with what it reaches: of the product rate by its arithmetic, of the
/// memory's by its operands and results. Above 100 % of the latter the cache has helped.
int run_kernels(const Arguments& a) {
  const TrainConfig config = config_to_bench(a);
  const auto backend = backend_to_bench(a, config);
  StepBench bench(config, *backend);
  bench.run();
  const double memory = memory_rate(*backend);
  const double peak = peak_now(config, *backend, bench.engine().step()) * 1e9;
  double total = 0;
  const Profile profile = profile_of(bench, *backend, total);
  std::string text = a.has("json") ? ""
                                   : cat("memory ", format_fixed(memory / 1e9, 1),
                                         " GB/s, products ", format_fixed(peak / 1e9, 1),
                                         " GFLOP/s, ", count_of(backend->threads(), "thread"),
                                         "\nof time   of memory   of products   kernel\n");
  const auto percent = [](double share, size_t width) {
    const std::string number = format_fixed(100 * share, 1);
    return cat(std::string(width - std::min(width, number.size()), ' '), number, " %");
  };
  for (const auto& [name, row] : profile.sorted()) {
    const double of_memory = row.bytes / row.seconds / memory;
    const double of_products = row.flops / row.seconds / peak;
    if (a.has("json"))
      text += cat(text.empty() ? "" : ", ", "{\"kernel\": ", quote(name),
                  ", \"seconds\": ", row.seconds / static_cast<double>(row.count),
                  ", \"calls\": ", row.count / 3,
                  ", \"fraction_of_time\": ", format_fixed(row.seconds / total, 4),
                  ", \"fraction_of_memory\": ", json_number(of_memory),
                  ", \"fraction_of_peak\": ", format_fixed(of_products, 4), "}");
    else
      text += cat(percent(row.seconds / total, 5), percent(of_memory, 10), percent(of_products, 12),
                  "   ", name, "\n");
  }
  print(a.has("json") ? cat("{\"memory_gbytes_per_second\": ", format_fixed(memory / 1e9, 2),
                            ", \"peak_gflops_per_second\": ", format_fixed(peak / 1e9, 2),
                            ", \"threads\": ", backend->threads(), ", \"kernels\": [", text, "]}\n")
                      : text);
  return 0;
}

constexpr CommandEntry kCommands[] = {
    {"gemm", "the peak rate of products, by type and number of threads", "", 0, kGemmOptions, true,
     run_gemm},
    {"step", "whole optimizer steps on random tokens", "", 0, kStepOptions, true, run_step},
    {"kernels", "each kind of kernel of a step", "", 0, kKernelsOptions, true, run_kernels},
};

}  // namespace

extern const CommandEntry bench_entry;
const CommandEntry bench_entry = {"bench",
                                  "the machine's rate of products, and a step's share",
                                  "gemm|step|kernels",
                                  0,
                                  {},
                                  true,
                                  nullptr,
                                  kCommands,
                                  "time"};

}  // namespace levanter::commands
