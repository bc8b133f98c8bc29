// Low-rank adapters: what is declared, what is computed of them, and what is not computed at all.
#include <catch2/catch.hpp>

#include <cmath>
#include <map>
#include <set>

#include "base/strings.h"
#include "infer/trace.h"
#include "passes/passes.h"
#include "support/checks.h"
#include "support/fault.h"
#include "support/training.h"
#include "train/config/train_config.h"
#include "train/engine/step.h"
#include "train/setup.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Contains;

namespace {

/// Central differences of a loss in f64, of numbers near 1; a wrong factor is off by far more.
constexpr double kDifferenceTolerance = 1e-7;
constexpr double kDelta = 1e-5;

constexpr const char* kGpt2 =
    "type = \"gpt2\", max_seq_len = 8, hidden_dim = 16, num_layers = 2, num_heads = 2";
constexpr const char* kLlama =
    "type = \"llama\", max_seq_len = 8, hidden_dim = 16, intermediate_dim = 24, num_layers = 2, "
    "num_heads = 4, num_kv_heads = 2";
constexpr const char* kMixtral =
    "type = \"mixtral\", max_seq_len = 8, hidden_dim = 16, intermediate_dim = 24, num_layers = 1, "
    "num_heads = 2, num_kv_heads = 2, n_routed_experts = 3, num_experts_per_tok = 2, "
    "lbl_coef = 0.0, rzl_coef = 0.0";

TrainConfig config_of(const std::string& model, const std::string& adapter,
                      const std::string& more = "") {
  return parse_train_config(
      cat("model = { ", model, ", vocab_size = ", kVocab, " }\n",
          adapter.empty() ? "" : cat("adapter = { type = \"lora\", ", adapter, " }\n"),
          "data = { tokenizer = { type = \"passthrough\", vocab_size = ", kVocab, " } }\n", more),
      "test.toml");
}

infer::StepShape shape(DType real = DType::f64) { return {2, 8, kVocab, real}; }

Function gradients_of(const TrainConfig& config, DType real = DType::f64) {
  return train::trace_gradients(train::model_spec(config), shape(real),
                                *models::objectives::make("lm"), train::Accumulate::kFirst);
}

/// Made-up values of every argument: parameters small, but for norms near 1.
std::vector<Array> inputs_of(const Function& f) {
  std::vector<Array> inputs;
  uint32_t seed = 1;
  for (const Argument& argument : f.arguments) {
    if (argument.type.dtype == DType::u32) {
      inputs.push_back(random_keys({argument.type.axes[0]}, 3));
      continue;
    }
    Array array = random_array(argument.type, seed++);
    const bool is_norm = argument.name.find("norm") != argument.name.npos ||
                         argument.name.find("ln_") != argument.name.npos;
    for (size_t i = 0; i < array.values.size(); ++i) {
      double& value = array.values[i];
      if (argument.name == "tokens" || argument.name == "targets")
        value = static_cast<double>((i * 5 + seed) % kVocab);
      else if (argument.name == "positions")
        value = static_cast<double>(i % 8);
      else if (argument.name == "segment_ids")
        value = 0;
      else if (argument.name == "loss_weight")
        value = 1;
      else if (argument.name == "inverse_tokens")
        value = 1.0 / 16;
      else if (argument.name.find("magnitude") != argument.name.npos)
        value = 1 + 0.3 * value;
      else if (argument.type.dtype == DType::i8)
        value = static_cast<double>((i * 37 + seed) % 255) - 127;
      else if (argument.name.ends_with("weight_scale"))
        value = (1 + 0.5 * value) * 0.4 / 127;
      else
        value = is_norm ? 1 + 0.1 * value : 0.4 * value;
    }
    inputs.push_back(std::move(array));
  }
  return inputs;
}

size_t index_of(const Function& f, const std::string& result) {
  for (size_t i = 0; i < f.results.size(); ++i)
    if (f.results[i].name == result) return i;
  FAIL("there is no result " << result);
  return 0;
}

/// The largest difference of a gradient of a parameter whose name holds `part` from central
/// differences, at some places of each.
double worst_difference(const TrainConfig& config, const std::string& part) {
  const auto backend = make_backend("reference");
  const Function f = optimise(gradients_of(config), *backend);
  std::vector<Array> inputs = inputs_of(f);
  const std::vector<Array> at = run(duplicate(f), inputs, *backend);
  const size_t loss = index_of(f, "loss");
  double worst = 0;
  int checked = 0;
  for (size_t a = 0; a < f.arguments.size(); ++a) {
    const std::string& name = f.arguments[a].name;
    if (name.find("lora_") == name.npos || name.find(part) == name.npos) continue;
    const size_t gradient = index_of(f, name), count = inputs[a].values.size();
    for (const size_t place : {size_t{0}, count / 2, count - 1}) {
      const auto loss_at = [&](double offset) {
        const double before = inputs[a].values[place];
        inputs[a].values[place] = before + offset;
        const double value = run(duplicate(f), inputs, *backend)[loss].values[0];
        inputs[a].values[place] = before;
        return value;
      };
      const double slope = (loss_at(kDelta) - loss_at(-kDelta)) / (2 * kDelta);
      worst = std::max(worst, std::abs(slope - at[gradient].values[place]));
      ++checked;
    }
  }
  REQUIRE(checked > 0);
  return worst;
}

std::vector<nn::Param> params_of(const TrainConfig& config) {
  return infer::trace_params(train::model_spec(config), shape(DType::f32));
}

std::string fault_of(const std::string& model, const std::string& adapter) {
  return failure_of(ErrorKind::kConfig,
                    [&] { train::step_options(config_of(model, adapter), kVocab, 0); });
}

}  // namespace

TEST_CASE("an adapter's gradients are those of central differences", "[models]") {
  CHECK(worst_difference(config_of(kGpt2, "r = 3, alpha = 6.0"), "") < kDifferenceTolerance);
  CHECK(worst_difference(config_of(kLlama, "r = 2, rslora = true"), "") < kDifferenceTolerance);
  CHECK(worst_difference(config_of(kMixtral, "r = 2"), "") < kDifferenceTolerance);
}

TEST_CASE("DoRA's magnitudes have the gradients of central differences", "[models]") {
  CHECK(worst_difference(config_of(kGpt2, "r = 2, dora = true"), "magnitude") <
        kDifferenceTolerance);
  CHECK(worst_difference(config_of(kLlama, "r = 2, dora = true"), "magnitude") <
        kDifferenceTolerance);
}

TEST_CASE("an adapter's parameters alone are trained, under the names that PEFT gives them",
          "[models]") {
  const std::vector<nn::Param> params = params_of(config_of(kGpt2, "r = 3"));
  std::set<std::string> trained;
  for (const nn::Param& param : params) {
    CHECK(param.trainable == param.adapts);
    if (param.trainable) trained.insert(param.path);
    if (param.path == "transformer.h.1.attn.c_attn.lora_A.weight")
      CHECK(param.shape == std::vector<int64_t>{3, 16});
    if (param.path == "transformer.h.1.attn.c_attn.lora_B.weight")
      CHECK(param.shape == std::vector<int64_t>{48, 3});
  }
  CHECK(trained.size() == 2 * 2 * 4);
  CHECK(trained.contains("transformer.h.1.attn.c_attn.lora_A.weight"));
  CHECK(trained.contains("transformer.h.0.mlp.c_proj.lora_B.weight"));
}

TEST_CASE("no value of a frozen weight's shape is computed for its gradient", "[models]") {
  for (const char* model : {kGpt2, kLlama, kMixtral}) {
    INFO(model);
    const TrainConfig config = config_of(model, "r = 3");
    for (const bool optimised : {false, true}) {
      Function f = gradients_of(config, DType::f32);
      const auto backend = make_backend("cpu");
      if (optimised) f = optimise(f, *backend);
      std::set<std::set<std::string>> frozen;
      const auto names_of = [](const Axes& axes) {
        std::set<std::string> names;
        for (const Axis& axis : axes) names.insert(std::string(axis.name.text()));
        return names;
      };
      for (const nn::Param& param : params_of(config))
        if (!param.trainable && param.type.axes.size() > 1)
          frozen.insert(names_of(param.type.axes));
      int weights = 0;
      for (const Node& node : f.graph.nodes())
        for (const Type& type : node.outputs) {
          if (!frozen.contains(names_of(type.axes))) continue;
          ++weights;
          INFO(node.op->name);
          CHECK(std::string(node.op->name) == "input");
        }
      CHECK(weights > 0);
    }
  }
}

TEST_CASE("modules are named as PEFT names them", "[models]") {
  const auto adapted = [](const std::string& targets) {
    std::set<std::string> modules;
    for (const nn::Param& param : params_of(config_of(kLlama, cat("target_modules = ", targets))))
      if (param.path.ends_with(".lora_A.weight"))
        modules.insert(param.path.substr(0, param.path.size() - 14));
    return modules;
  };
  const std::string at = "model.layers.";
  CHECK(adapted("[\"q_proj\"]") ==
        std::set<std::string>{at + "0.self_attn.q_proj", at + "1.self_attn.q_proj"});
  CHECK(adapted("[\"1.self_attn.q_proj\", \"proj\"]") ==
        std::set<std::string>{at + "1.self_attn.q_proj"});
  CHECK(adapted("\".*0.*(up|down)_proj\"") ==
        std::set<std::string>{at + "0.mlp.up_proj", at + "0.mlp.down_proj"});
  CHECK(adapted("\"all_linear\"").size() == 2 * 7);
  CHECK(adapted("\"all-linear\"").size() == 2 * 7);
}

TEST_CASE("an adapter that fits nothing is told before anything is allocated", "[models]") {
  CHECK_THAT(
      fault_of(kGpt2, "target_modules = [\"q_proj\"]"),
      Contains("names no module") && Contains("c_attn, c_fc, c_proj") && Contains("test.toml"));
  CHECK_THAT(fault_of(kGpt2, "target_modules = \"c_attn\""), Contains("names no module"));
  CHECK_THAT(fault_of(kGpt2, "r = 17"),
             Contains("adapter.r = 17 is more than the smaller side of") && Contains("1 to 16") &&
                 Contains("test.toml"));
  CHECK(fault_of(kGpt2, "r = 16").empty());
  CHECK_THAT(fault_of(kMixtral, "r = 2, dora = true"), Contains("dora does not adapt experts"));
  CHECK_THAT(fault_of(kMixtral, "target_modules = \".*experts.0.*\""),
             Contains("some of the experts"));
  CHECK_THAT(fault_of(kGpt2, "target_modules = \"(\""), Contains("target_modules"));
}

TEST_CASE("a base in int8 has the gradients of central differences", "[models]") {
  const std::string int8 = "trainer.frozen = \"int8\"\n";
  CHECK(worst_difference(config_of(kGpt2, "r = 3, alpha = 6.0", int8), "") < kDifferenceTolerance);
  CHECK(worst_difference(config_of(kLlama, "r = 2, dora = true", int8), "magnitude") <
        kDifferenceTolerance);
  CHECK(worst_difference(config_of(kMixtral, "r = 2", int8), "") < kDifferenceTolerance);
}

TEST_CASE("a base is counted by what it is held in, and what is frozen of an adapter with it",
          "[models]") {
  const auto backend = make_backend("cpu");
  const auto lines = [&](const std::string& more) {
    const TrainConfig config = config_of(kGpt2, "r = 3", more);
    const train::CompiledStep step(train::step_options(config, kVocab, 0), *backend);
    std::map<std::string, int64_t> bytes;
    for (const train::MemoryLine& line : step.persistent()) bytes[line.what] = line.bytes;
    bytes["saved"] = step.state_bytes();
    return bytes;
  };
  const auto aligned = [](int64_t bytes) { return (bytes + 63) / 64 * 64; };
  const int64_t outputs = 48 + 16 + 64 + 16, norms = 4 * 16;  // of a layer
  const int64_t others =
      aligned(kVocab * 16 * 4) + 8 * 16 * 4 + 2 * 4 * (outputs + norms) + 2 * 16 * 4;
  const int64_t elements = 2 * (16 * 48 + 16 * 16 + 16 * 64 + 64 * 16);
  const auto plain = lines(""), int8 = lines("trainer.frozen = \"int8\"\n");
  CHECK(plain.at("frozen base") == others + 4 * elements);
  CHECK(int8.at("frozen base, f32") == others);
  CHECK(int8.at("frozen base, i8") == elements);
  CHECK(int8.at("frozen base, scales") == 2 * 4 * outputs);
  CHECK(int8.at("adapter") == plain.at("adapter"));
  const auto partly = lines("optimizer.groups = [{ match = \"lora_A\", frozen = true }]\n");
  CHECK(partly.at("frozen base") == plain.at("frozen base"));
  CHECK(partly.at("adapter") == plain.at("adapter"));
  CHECK(partly.at("saved") > partly.at("adapter"));
  CHECK(partly.at("saved") < plain.at("saved"));
}
