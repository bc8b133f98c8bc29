// The texts that are made for the regions of common models are taken by the real NVRTC; skipped
// where it is not there.
#include <map>
#include <regex>

#include "base/integers.h"
#include "base/threads.h"
#include "kernels/cuda/kernel.h"
#include "support/checks.h"
#include "support/golden.h"
#include "train/engine/compiled_step.h"
#include "train/setup.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// One text takes one or two registers more or less from compilation to compilation.
constexpr int kRegisterNoise = 4;
constexpr int kAnyRegisters = 255;  // another compiler than the golden text's chooses others

/// A model's step at its real widths; two layers have all kernels of more.
struct Model {
  const char *name, *config;
  int64_t vocab_size;
  std::vector<const char*> architectures;
  std::vector<std::string> overrides;
};

const Model kModels[] = {
    {"GPT-2 124M in bf16",
     "gpt2/gpt2_124m.toml",
     50257,
     {"sm_90a", "sm_120"},
     {"--model.num_layers=2", "--trainer.mp=p=f32,c=bf16"}},
    {"GPT-2 124M in f32 with dropout",
     "gpt2/gpt2_124m.toml",
     50257,
     {"sm_80"},
     {"--model.num_layers=2", "--model.resid_pdrop=0.1"}},
    {"Llama 1B in bf16",
     "tiny/llama.toml",
     32000,
     {"sm_100"},
     {"--model.hidden_dim=2048", "--model.intermediate_dim=8192", "--model.num_heads=32",
      "--model.num_kv_heads=8", "--trainer.mp=p=f32,c=bf16"}},
};

std::vector<cuda::Program> programs_of(const Model& model) {
  const TrainConfig config =
      load_train_config(cat(source_root(), "/configs/", model.config), model.overrides);
  const auto backend = cuda::make_backend();
  const train::CompiledStep step(train::step_options(config, model.vocab_size, 0), *backend);
  return cuda::programs_of(*backend);
}

/// What ptxas says of a kernel.
struct Use {
  int registers = 0, shared_bytes = 0, stack_bytes = 0, spilled_bytes = 0;
};

std::map<std::string, Use> uses_of(const std::string& log) {
  static const std::regex kPattern(
      "entry function '(\\w+)'|(\\d+) bytes stack frame, (\\d+) bytes spill stores|Used (\\d+) "
      "registers(?:[^\\n]*?(\\d+) bytes smem)?");
  std::map<std::string, Use> uses;
  std::string kernel;
  for (std::sregex_iterator found(log.begin(), log.end(), kPattern), end; found != end; ++found) {
    const std::smatch& match = *found;
    if (match[1].matched) kernel = match[1];
    if (match[2].matched) uses[kernel].stack_bytes = std::stoi(match[2]);
    if (match[3].matched) uses[kernel].spilled_bytes = std::stoi(match[3]);
    if (match[4].matched) uses[kernel].registers = std::stoi(match[4]);
    if (match[5].matched) uses[kernel].shared_bytes = std::stoi(match[5]);
  }
  return uses;
}

/// The registers that a golden text says after `begin`, where `registers` is within `noise` of
/// them; else `registers`, as where the text has no such line.
int golden_registers(const std::string& golden, const std::string& begin, int registers,
                     int noise) {
  const size_t at = golden.find(begin);
  if (at == std::string::npos) return registers;
  const int expected = std::stoi(golden.substr(at + begin.size()));
  return std::abs(expected - registers) <= noise ? expected : registers;
}

/// "NVRTC 13.0\n"
std::string compiler_line(const cuda::Nvrtc& nvrtc) {
  int major = 0, minor = 0;
  nvrtc.version(&major, &minor);
  return cat("NVRTC ", major, ".", minor, "\n");
}

/// A program that is compiled for one architecture, and what came of it.
struct Task {
  const Model& model;
  const char* architecture;
  cuda::Program program;
  std::string log = {};
};

}  // namespace

TEST_CASE("NVRTC compiles what GPT-2 and Llama need, without spilled registers", "[cuda][nvrtc]") {
  cuda::Nvrtc nvrtc;
  const std::string absent = error_of([&] { nvrtc = cuda::open_nvrtc(); });
  if (!absent.empty()) {
    WARN("skipped: " << absent);
    return;
  }
  std::vector<Task> tasks;
  for (const Model& model : kModels)
    for (const cuda::Program& program : programs_of(model))
      for (const char* architecture : model.architectures)
        if (program.name.starts_with("made_")) tasks.push_back({model, architecture, program});
  ThreadPool pool(available_threads());
  pool.parallel_for(ssize(tasks), [&](int64_t i, int) {
    Task& task = tasks[static_cast<size_t>(i)];
    task.log = cuda::compile_program(nvrtc, task.program, task.architecture).log;
  });
  std::string report;
  std::map<std::pair<std::string, std::string>, Use> largest;
  std::map<std::pair<std::string, std::string>, int> kernels;
  for (const Task& task : tasks)
    for (const auto& [kernel, use] : uses_of(task.log)) {
      INFO(kernel << " for " << task.architecture);
      CHECK(use.spilled_bytes == 0);
      CHECK(use.stack_bytes == 0);
      Use& most = largest[{task.model.name, task.architecture}];
      most.registers = std::max(most.registers, use.registers);
      most.shared_bytes = std::max(most.shared_bytes, use.shared_bytes);
      ++kernels[{task.model.name, task.architecture}];
    }
  const std::string path = golden_path("cuda/texts.txt");
  const std::string golden = path_exists(path) ? read_file(path) : "";
  const std::string compiler = compiler_line(nvrtc);
  const bool is_same = golden.starts_with(compiler);
  const int noise = is_same || updating_golden() ? kRegisterNoise : kAnyRegisters;
  report = noise == kAnyRegisters ? golden.substr(0, golden.find('\n') + 1) : compiler;
  for (const auto& [key, use] : largest) {
    const std::string begin =
        cat(key.first, ", ", key.second, ": ", kernels[key], " kernels, at most ");
    report += cat(begin, golden_registers(golden, begin, use.registers, noise),
                  " registers a thread, ", use.shared_bytes, " bytes of shared memory a block\n");
  }
  CHECK(report == expected_text(path, report));
}
