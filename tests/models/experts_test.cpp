// What a mixture of experts adds to training: the losses of its router, and what it reports.
#include "models/experts.h"

#include <cmath>

#include "models/model.h"
#include "passes/passes.h"
#include "support/checks.h"
#include "support/temporary_folder.h"
#include "train/engine/step.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr int64_t kVocabulary = 13, kBatch = 2, kLength = 6, kExperts = 4;

std::string config_json() {
  return R"({"model_type": "mixtral", "vocab_size": 13, "hidden_size": 8, "intermediate_size": 6,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
    "max_position_embeddings": 16, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "num_local_experts": 4, "num_experts_per_tok": 2, "tie_word_embeddings": false,
    "hidden_act": "silu"})";
}

/// A model of two mixtures with losses of this weight, and the traced gradients of it in f64.
struct Mixture {
  explicit Mixture(double lbl, double rzl) {
    const TemporaryFolder folder;
    write_file_atomic(folder / "config.json", config_json());
    model = models::read_hf_model(folder.path());
    auto& config = dynamic_cast<DecoderConfig&>(*model.config);
    config.lbl_coef = lbl;
    config.rzl_coef = rzl;
    function.emplace(train::trace_gradients(
        {*model.family, *model.config}, {kBatch, kLength, kVocabulary, DType::f64},
        *models::objectives::make("lm"), train::Accumulate::kFirst));
    for (const Argument& argument : function->arguments)
      inputs.push_back(made_up(argument.name, argument.type));
  }
  static Array made_up(const std::string& name, const Type& type) {
    if (name == "tokens" || name == "targets") return random_ids(type.axes, kVocabulary, 5);
    if (name == "inverse_tokens") return {type, {1.0 / (kBatch * kLength)}};
    if (is_float(type.dtype) && name != "loss_weight")
      return random_array(type, static_cast<uint32_t>(name.size() * 31 +
                                                      static_cast<size_t>(name[name.size() / 2])));
    return {type, std::vector<double>(static_cast<size_t>(type.elements()),
                                      name == "loss_weight" ? 1.0 : 0.0)};
  }
  std::vector<Array> run() const {
    const auto backend = make_backend("reference");
    Function copy = duplicate(*function);
    return testing::run(optimise(copy, *backend), inputs, *backend);
  }
  double result(const std::vector<Array>& results, const std::string& name, size_t at = 0) const {
    for (size_t i = 0; i < results.size(); ++i)
      if (function->results[i].name == name) return results[i].values.at(at);
    FAIL("no result " << name);
    return 0;
  }

  models::HfModel model;
  std::optional<Function> function;
  std::vector<Array> inputs;
};

}  // namespace

TEST_CASE("gradients are those of the loss plus the router's losses", "[models]") {
  constexpr double kLbl = 0.7, kRzl = 0.3, kStep = 1e-5;
  Mixture mixture(kLbl, kRzl);
  const std::vector<Array> exact = mixture.run();
  const auto objective = [&] {
    const std::vector<Array> r = mixture.run();
    return mixture.result(r, "loss") + kLbl * mixture.result(r, "train/load_balancing_loss") +
           kRzl * mixture.result(r, "train/router_z_loss");
  };
  int routers = 0;
  for (size_t i = 0; i < mixture.inputs.size(); ++i) {
    const std::string& name = mixture.function->arguments[i].name;
    if (!name.ends_with("gate.weight") && !name.ends_with("norm.weight")) continue;
    ++routers;
    for (const size_t at : {size_t{0}, size_t{5}}) {
      INFO(name << " " << at);
      double& x = mixture.inputs[i].values[at];
      const double before = x;
      x = before + kStep;
      const double above = objective();
      x = before - kStep;
      const double below = objective();
      x = before;
      CHECK(std::abs((above - below) / (2 * kStep) - exact[i].values[at]) < kGradientTolerance);
    }
  }
  CHECK(routers == 2 + 5);
}

TEST_CASE("a mixture reports balance, router, entropy and load of each block", "[models]") {
  const Mixture mixture(0.01, 0.001);
  const std::vector<Array> r = mixture.run();
  for (const char* layer : {"layer0", "layer1"}) {
    const std::string at = cat("moe/", layer);
    double total = 0;
    for (size_t e = 0; e < kExperts; ++e) total += mixture.result(r, at + "/expert{}_load", e);
    CHECK(total == Approx(1).epsilon(kRoundingTolerance));
    const double entropy = mixture.result(r, at + "/routing_entropy");
    CHECK(entropy > 0);
    CHECK(entropy <= std::log(kExperts) + kRoundingTolerance);
  }
  CHECK(mixture.result(r, "train/load_balancing_loss") > 0);
  CHECK(mixture.result(r, "train/router_z_loss") > 0);
}

TEST_CASE("a router that prefers none balances perfectly", "[models]") {
  Mixture mixture(0.01, 0.001);
  for (size_t i = 0; i < mixture.inputs.size(); ++i)
    if (mixture.function->arguments[i].name.ends_with("gate.weight"))
      mixture.inputs[i].values.assign(mixture.inputs[i].values.size(), 0.0);
  const std::vector<Array> r = mixture.run();
  const double z = std::log(kExperts);
  CHECK(mixture.result(r, "train/load_balancing_loss") == Approx(2).epsilon(kRoundingTolerance));
  CHECK(mixture.result(r, "train/router_z_loss") == Approx(2 * z * z).epsilon(kRoundingTolerance));
  CHECK(mixture.result(r, "moe/layer0/routing_entropy") == Approx(z).epsilon(kRoundingTolerance));
}
