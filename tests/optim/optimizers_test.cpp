// Every optimizer, by one table: others' numbers, steps that are not taken, and one hash.
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/files.h"
#include "base/hash.h"
#include "checkpoint/load.h"
#include "optim/assignment.h"
#include "passes/passes.h"
#include "support/checks.h"
#include "support/devices.h"
#include "support/source_root.h"
#include "support/tiny_run.h"
#include "support/training.h"
#include "train/run.h"
#include "train/setup.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

using By = optim::Refresh::By;

constexpr int64_t kSteps = 20;
constexpr double kTokens = 50;
/// Of parameters of about 1 after twenty steps: rounding in f32, grown by what iterates on it.
constexpr double kF32Tolerance = 1e-5;
/// The same where eigenvectors are found by rotations in f32, whose errors grow as values are near.
constexpr double kF32EigenvectorTolerance = 1e-4;
/// The same in f64, and where the references add an epsilon of their own.
constexpr double kF64Tolerance = 1e-7;

/// As scripts/reference/make_optimizer_steps.py: parameters (step -1) and gradients in [-1, 1).
double number(uint64_t which, int64_t step, uint64_t i) {
  constexpr uint64_t kWord = uint64_t{1} << 32;
  uint64_t x = ((i + 1) * 7919 + static_cast<uint64_t>(step + 1) * 104729 + which * 1299709) *
               2654435761 % kWord;
  x = (x ^ (x >> 15)) * 2246822519 % kWord;
  x = (x ^ (x >> 13)) % kWord;
  return static_cast<double>(x) / 2147483648.0 - 1;
}

/// One line of steps.jsonl.
struct Case {
  explicit Case(const nlohmann::json& line)
      : name(line["optimizer"]), lr(line["learning_rate"]), params(line["params"]) {
    std::string keys;
    for (const auto& [key, value] : line["keys"].items())
      keys += cat(key, " = ", value.get<std::string>(), "\n");
    config = parse_train_config(
        cat("[optimizer]\ntype = ", quote(name), "\nlearning_rate = ", format_number(lr),
            "\nweight_decay = 0.1\nmax_grad_norm = \"none\"\n", keys),
        name);
    text = cat(name, " ", line["keys"].dump());
  }
  std::string name, text;
  double lr;
  std::vector<std::vector<double>> params;
  TrainConfig config;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string& line :
       split(read_file(join_path(source_root(), "tests/optim/steps.jsonl")), '\n'))
    if (!line.empty()) all.emplace_back(nlohmann::json::parse(line));
  return all;
}

/// The three parameters of the table: a matrix [out, in] with inputs along two axes, one [in, out],
/// and a vector that does not decay, which has two axes as biases of attention have.
std::vector<nn::Param> made_up_params(DType real) {
  const Axis out{"out", 5}, head{"head", 2}, dim{"dim", 4}, in{"in", 9}, mlp{"mlp", 4};
  std::vector<nn::Param> params(3);
  params[0].path = "wide";
  params[0].type = {real, {out, head, dim}};
  params[0].shape = {5, 8};
  params[0].in = {head, dim};
  params[1].path = "tall";
  params[1].type = {real, {in, mlp}};
  params[1].shape = {9, 4};
  params[1].in = {in};
  params[2].path = "vector";
  params[2].type = {real, {{"head", 7}, {"head_dim", 1}}};
  params[2].shape = {7};
  params[2].role = nn::Role::kBias;
  return params;
}

/// Values of parameter `which`, in its own order: the table has matrices as [out, in].
std::vector<double> values(size_t which, const std::function<double(uint64_t)>& of) {
  std::vector<double> values;
  if (which != 1) {
    for (uint64_t i = 0; i < (which == 0 ? 40 : 7); ++i) values.push_back(of(i));
  } else {
    for (uint64_t i = 0; i < 36; ++i) values.push_back(of(i % 4 * 9 + i / 4));
  }
  return values;
}

/// The update of the three, run on the host's arrays.
class Steps {
 public:
  Steps(const Case& c, std::unique_ptr<Backend> backend, DType real)
      : lr_(c.lr),
        optimizer_(optim::entry(c.name), *c.config.optimizer),
        backend_(std::move(backend)),
        function_("update", real) {
    params_ = made_up_params(real);
    trace(function_, {});
    for (const By by : {By::kFirstGradient, By::kGradient, By::kDrawnLabels})
      if (optimizer_.refreshes(by))
        trace(refreshes_.try_emplace(by, "refresh", real).first->second, by);
    for (size_t k = 0; k < params_.size(); ++k) {
      arrays_.push_back({params_[k].type, values(k, [&](uint64_t i) { return number(k, -1, i); })});
      for (double& x : arrays_.back().values)
        if (real == DType::f32) x = static_cast<float>(x);  // as it will be
    }
    for (size_t k = 0; k < params_.size(); ++k)
      for (const optim::StateArray& state : optimizer_.state(params_[k])) {
        const auto count = static_cast<size_t>(state.type.elements());
        using Begin = optim::StateArray::Begin;
        std::vector<double> begin(count, 0.0);
        if (state.begin == Begin::kParameter) begin = arrays_[k].values;
        for (size_t i = 0; i < count && state.begin == Begin::kIdentity; ++i)
          begin[i] = optim::is_diagonal(state.type.axes, static_cast<int64_t>(i)) ? 1 : 0;
        arrays_.push_back({state.type, std::move(begin)});
      }
  }

  void run(int64_t step, bool proceed = true) {
    for (const By by : {By::kFirstGradient, By::kGradient})
      if (optimizer_.refreshes(by, step)) run(refreshes_.at(by), step, proceed, 0, 1);
    run(function_, step, proceed, 0, 1);
    if (optimizer_.refreshes(By::kDrawnLabels, step))
      run(refreshes_.at(By::kDrawnLabels), step, proceed, 3, 0.1);
  }

  const std::vector<Array>& arrays() const { return arrays_; }
  const std::vector<nn::Param>& params() const { return params_; }

 private:
  /// With the gradients of the parameters from `first` on in the table, times `factor`.
  void run(const Function& function, int64_t step, bool proceed, uint64_t first, double factor) {
    std::vector<Array> inputs = arrays_;
    for (size_t k = 0; k < params_.size(); ++k)
      inputs.push_back({params_[k].type, values(k, [&](uint64_t i) {
                          return factor * number(first + k, step, i);
                        })});
    const Type scalar{function.graph.real(), {}};
    std::vector<double> own(optimizer_.scalar_names().size());
    optimizer_.fill_scalars(step, own);
    inputs.push_back({scalar, {lr_ * (1 - 0.02 * static_cast<double>(step))}});
    inputs.push_back({scalar, {proceed ? 1.0 : 0.0}});
    inputs.push_back({scalar, {1 / kTokens}});
    for (const double x : own) inputs.push_back({scalar, {x}});
    arrays_ = testing::run(optimise(duplicate(function), *backend_), inputs, *backend_);
  }

  void trace(Function& function, std::optional<By> refresh) {
    const DType real = function.graph.real();
    std::vector<optim::Before> before(params_.size());
    for (size_t k = 0; k < params_.size(); ++k)
      before[k].param = function.argument(params_[k].path, params_[k].type);
    for (size_t k = 0; k < params_.size(); ++k)
      for (const optim::StateArray& state : optimizer_.state(params_[k]))
        before[k].state.push_back(
            function.argument(train::state_name(params_[k].path, state.name), state.type));
    for (size_t k = 0; k < params_.size(); ++k)
      before[k].grad = function.argument(train::grad_name(params_[k].path), params_[k].type);
    optim::Step step;
    step.lr = function.argument("lr", {real, {}});
    step.proceed = function.argument("proceed", {real, {}});
    step.inverse_tokens = function.argument("inverse_tokens", {real, {}});
    step.clip = constant(function.graph, 1, real);
    for (const std::string& name : optimizer_.scalar_names())
      step.own.push_back(function.argument(name, {real, {}}));
    std::vector<NamedArray> results, states;
    for (size_t k = 0; k < params_.size(); ++k) {
      optim::After after{before[k].param, before[k].state};
      if (!refresh) {
        after = optimizer_.update(params_[k], before[k], step);
      } else {
        auto state = optimizer_.refresh(*refresh, params_[k], before[k], step);
        if (!state.empty()) after.state = std::move(state);
      }
      results.push_back(after.param);
      states.insert(states.end(), after.state.begin(), after.state.end());
    }
    results.insert(results.end(), states.begin(), states.end());
    for (size_t i = 0; i < results.size(); ++i)
      function.result(cat("r", i), results[i], static_cast<int>(i));
  }

  double lr_;
  optim::Assignment optimizer_;
  std::unique_ptr<Backend> backend_;
  Function function_;
  std::map<By, Function> refreshes_;
  std::vector<nn::Param> params_;
  std::vector<Array> arrays_;  ///< parameters, then state
};

std::vector<std::string> names() { return config::names_of(optim::entries()); }

/// A tiny run with an optimizer, and with a mean of the weights where it has none of its own.
TrainConfig tiny_config(const TinyRun& run, const std::string& optimizer, const std::string& id,
                        int64_t steps, int64_t ranks, int64_t threads) {
  std::vector<std::string> keys = {cat("--optimizer.type=", optimizer),
                                   "--optimizer.lr_schedule=constant"};
  // Of what happens every few steps, at least two in a run of six.
  if (optimizer == "soap") keys.emplace_back("--optimizer.precondition_frequency=2");
  if (!optim::entry(optimizer).averages) keys.emplace_back("--optimizer.ema={decay=0.5}");
  return run.config("a",
                    cat("num_train_steps = ", steps, "\nranks = ", ranks, "\nid = \"", id,
                        "\"\nthreads = ", threads, "\ncommunicator = \"threads\"\n"),
                    "", keys);
}

/// What such a run ends with, trained to `steps` by some ranks.
std::string trained(const TinyRun& run, const std::string& optimizer, const std::string& id,
                    int64_t steps, int64_t ranks, int64_t threads) {
  const TrainConfig config = tiny_config(run, optimizer, id, steps, ranks, threads);
  REQUIRE(train::train(config, {}) == train::Outcome::kFinished);
  const Checkpoint last =
      read_checkpoint(join_path(config.run_folder(), cat("checkpoints/step-", steps)));
  std::string hashes = last.params_hash();
  for (const auto& [path, record] : last.manifest().tensors) {
    std::vector<std::byte> bytes(static_cast<size_t>(record.bytes()));
    last.load_tensor(path, bytes);
    hashes += hex64(xxh3_64(bytes));
  }
  return hashes;
}

}  // namespace

TEST_CASE("every optimizer steps as others' code does", "[optim]") {
  std::set<std::string> seen;
  for (const Case& c : cases()) {
    INFO(c.text);
    seen.insert(c.name);
    for (const auto& [device, real, tolerance] :
         {std::tuple("reference", DType::f64, kF64Tolerance),
          std::tuple("cpu", DType::f32, kF32Tolerance)}) {
      Steps steps(c, make_backend(device), real);
      for (int64_t step = 0; step < kSteps; ++step) steps.run(step);
      for (size_t k = 0; k < 3; ++k) {
        INFO(device << " " << steps.params()[k].path);
        const Array expected{steps.params()[k].type,
                             values(k, [&](uint64_t i) { return c.params[k][i]; })};
        CHECK(difference(steps.arrays()[k], expected) <= tolerance);
      }
    }
  }
  for (const std::string& name : names()) CHECK(seen.count(name) == 1);
}

TEST_CASE("soap steps on every device as on the reference in f64", "[optim]") {
  for (const Case& c : cases()) {
    if (c.name != "soap") continue;
    for_each_device([&](const std::string& device, const Backend&) {
      INFO(device << " " << c.text);
      Steps steps(c, make_device(device, 1), DType::f32);
      for (int64_t step = 0; step < kSteps; ++step) steps.run(step);
      for (size_t k = 0; k < 3; ++k) {
        const Array expected{steps.params()[k].type,
                             values(k, [&](uint64_t i) { return c.params[k][i]; })};
        CHECK(difference(steps.arrays()[k], expected) <= kF32EigenvectorTolerance);
      }
    });
  }
}

TEST_CASE("a step that does not proceed changes no bit, and the next is as without it", "[optim]") {
  for (const std::string& name : names()) {
    INFO(name);
    const Case c(nlohmann::json{{"optimizer", name},
                                {"keys", nlohmann::json::object()},
                                {"learning_rate", 0.01},
                                {"params", nlohmann::json::array()}});
    Steps steps(c, make_backend("cpu"), DType::f32);
    for (const bool first : {true, false}) {
      const std::vector<Array> before = steps.arrays();
      steps.run(first ? 0 : 1, false);
      CHECK(same_bits(steps.arrays(), before));
      steps.run(first ? 0 : 1);
      CHECK_FALSE(same_bits(steps.arrays(), before));
      for (const Array& array : steps.arrays())
        for (const double x : array.values) CHECK(std::isfinite(x));
    }
  }
}

TEST_CASE("each optimizer saves a model with biases, goes on from there, and has no NaN",
          "[optim]") {
  const TinyRun run;
  for (const std::string& name : names()) {
    INFO(name);
    const std::string straight = trained(run, name, name + "1", 2, 1, 1);
    trained(run, name, name + "2", 1, 1, 1);
    CHECK(trained(run, name, name + "2", 2, 1, 1) == straight);
    const TrainConfig eager = tiny_config(run, name, name + "3", 1, 1, 1);
    CHECK(train::train(eager, {.eager = true}) == train::Outcome::kFinished);
  }
}

TEST_CASE("each optimizer ends with one hash over threads, ranks and restarts", "[optim][.slow]") {
  const TinyRun run;
  for (const std::string& name : names()) {
    INFO(name);
    const std::string straight = trained(run, name, name + "1", 6, 1, 1);
    CHECK(trained(run, name, name + "2", 6, 3, 2) == straight);
    trained(run, name, name + "3", 3, 2, 1);
    CHECK(trained(run, name, name + "3", 6, 1, 3) == straight);
  }
}

TEST_CASE("the plan names the bytes of each optimizer's state exactly", "[optim]") {
  const TinyRun run;
  const auto backend = make_backend("cpu");
  for (const std::string& name : names()) {
    INFO(name);
    const TrainConfig config =
        run.config("a", "num_train_steps = 1\n", "", {cat("--optimizer.type=", name)});
    train::CompiledStep step(train::step_options(config, 31, 0), *backend);
    int64_t state = 0, constants = 0;
    for (const train::MemoryLine& line : step.persistent()) {
      if (line.what.starts_with("optimizer ")) state += line.bytes;
      if (line.what == "constants") constants += line.bytes;
    }
    CHECK(state == step.state_bytes() - 4 * step.layout.all_elements);
    const int64_t planned =
        step.persistent_bytes() - constants + step.arena_bytes() + step.workspace_bytes();
    const train::Engine engine(std::move(step), *backend);
    CHECK(engine.allocated_bytes() == planned);
    int64_t saved = 0;
    for (const Tensor& tensor : engine.optimizer_tensors()) saved += tensor.bytes();
    CHECK(saved > 0);
    CHECK(saved <= state);
  }
}

TEST_CASE("numbers that are 0 or infinite in f32 are refused, whatever the optimizer", "[optim]") {
  const auto refusal = [](const std::string& optimizer, const std::string& line) {
    return error_of([&] {
      parse_train_config(cat("[optimizer]\ntype = ", quote(optimizer), "\n", line, "\n"),
                         "run.toml");
    });
  };
  for (const std::string& name : names()) {
    INFO(name);
    CHECK(refusal(name, "learning_rate = 1e-30") == "");
    CHECK_THAT(refusal(name, "learning_rate = 1e-300"),
               Catch::Contains("optimizer.learning_rate = 1e-300 is too small for f32") &&
                   Catch::Contains("run.toml:3") &&
                   Catch::Contains("numbers from 1.2e-38 to 3.4e38, or 0 where the key may be 0"));
    CHECK_THAT(refusal(name, "learning_rate = 1e39"), Catch::Contains("is too large for f32"));
    CHECK_THAT(refusal(name, "weight_decay = 1e300"), Catch::Contains("is too large for f32"));
    CHECK_THAT(refusal(name, "max_grad_norm = 1e-40"),
               Catch::Contains("optimizer.max_grad_norm = 1e-40 is too small for f32"));
    CHECK_THAT(refusal(name, "groups = [{ match = \"w\", lr_scale = 1e-300 }]"),
               Catch::Contains("optimizer.groups[0].lr_scale = 1e-300 is too small for f32"));
    // Every number of its own, where its bounds let it be so small.
    const auto config = optim::entry(name).make_config();
    config::Fields fields;
    config->fields(fields);
    for (const config::Field& field : fields.list()) {
      if (field.type->kind != config::Kind::kNumber) continue;
      INFO(field.key);
      CHECK(refusal(name, cat(field.key, " = 1e-300")) != "");
    }
  }
}

TEST_CASE("muon's rate for all else cannot follow a course that is 0 beside it", "[optim]") {
  const auto refusal = [](const std::string& lines) {
    return error_of(
        [&] { parse_train_config(cat("[optimizer]\ntype = \"muon\"\n", lines), "run.toml"); });
  };
  CHECK_THAT(refusal("learning_rate = 1e-35\n"),
             Catch::Contains("optimizer.learning_rate = 1e-35 is too small beside "
                             "optimizer.adam_lr = 6e-04") &&
                 Catch::Contains("at least 1e-30 of optimizer.adam_lr"));
  CHECK(refusal("learning_rate = 1e-35\nadam_lr = 1e-35\n") == "");
}
