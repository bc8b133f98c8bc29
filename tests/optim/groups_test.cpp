// Groups of parameters: which one a path is of, what it changes, and what is refused.
#include "optim/groups.h"

#include "optim/assignment.h"
#include "passes/passes.h"
#include "support/checks.h"
#include "support/fault.h"
#include "support/tiny_run.h"
#include "support/training.h"
#include "train/engine/memory_report.h"
#include "train/run.h"
#include "train/setup.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Contains;

namespace {

/// A config whose optimizer has these groups.
TrainConfig with_groups(const TinyRun& run, const std::string& groups) {
  return run.config("a", "num_train_steps = 1\n", "", {"--optimizer.groups=" + groups});
}

std::string refusal(const TinyRun& run, const std::string& groups) {
  return failure_of(ErrorKind::kConfig,
                    [&] { train::step_options(with_groups(run, groups), 31, 0); });
}

nn::Param param(const std::string& path, nn::Role role = nn::Role::kWeight) {
  nn::Param param;
  param.path = path;
  param.role = role;
  return param;
}

}  // namespace

TEST_CASE("a parameter is of the first group whose pattern is found in its path", "[optim]") {
  AdamConfig adam;
  adam.groups = {{.match = "^head\\.", .weight_decay = 0.5},
                 {.match = "bias$|ln", .lr_scale = 2},
                 {.match = "head", .type = "adam", .lr_scale = 3}};
  const optim::Assignment optimizer(optim::entry("adam"), adam);
  CHECK(optimizer.groups().index_of("head.bias") == 0);
  CHECK(optimizer.groups().index_of("h.0.ln.weight") == 1);
  CHECK(optimizer.groups().index_of("lm_head.weight") == 2);
  CHECK(optimizer.groups().index_of("h.0.weight") == std::nullopt);
  const optim::Rule bias = optimizer.rule_of(param("head.bias", nn::Role::kBias));
  CHECK(bias.lr_scale == 1);
  CHECK(bias.weight_decay == 0.5);  // though biases are no role that decays
  CHECK(optimizer.rule_of(param("h.0.ln.weight", nn::Role::kNorm)).weight_decay == 0);
  CHECK(optimizer.rule_of(param("lm_head.weight")).lr_scale == 3);
  CHECK(optimizer.rule_of(param("lm_head.weight")).weight_decay == adam.weight_decay);
}

TEST_CASE("groups that do nothing or leave nothing are refused before anything is allocated",
          "[optim]") {
  const TinyRun run;
  const std::string nothing = refusal(run, "[{ match = \"h.7.\" }]");
  CHECK_THAT(nothing, Contains("optimizer.groups[0].match = \"h.7.\" is found in no parameter") &&
                          Contains("transformer.wte.weight, "));
  CHECK_THAT(refusal(run, "[{ match = \"ln\" }, { match = \"ln_f\" }]"),
             Contains("groups[1].match = \"ln_f\" is found in parameters of earlier groups only"));
  CHECK_THAT(refusal(run, "[{ match = \"\", frozen = true }]"),
             Contains("optimizer.groups freeze all parameters, and none is left to train"));
  CHECK_THAT(refusal(run, "[{ match = \"h.(0\" }]"),
             Contains("\"h.(0\" can't be read: missing closing parenthesis at character"));
  CHECK_THAT(refusal(run, "[{ match = \"ln\", frozen = true, lr_scale = 2.0 }]"),
             Contains("groups[0].lr_scale says how parameters move that are frozen"));
  CHECK_THAT(refusal(run, "[{ match = \"ln\", type = \"adamw\" }]"), Contains("\"adam\""));
  CHECK_THAT(refusal(run, "[{ match = \"ln\" }, { match = '^((\\w+)*\\.?)*[A-Z]$' }]"),
             Contains("optimizer.groups[1].match = ") &&
                 Contains("takes too many steps on \"transformer.") &&
                 Contains("at       --optimizer.groups") && Contains("one repeat inside another"));
}

TEST_CASE("two means of the weights and a rate that nothing follows are refused", "[optim]") {
  const TinyRun run;
  const auto refused = [&](const std::vector<std::string>& keys) {
    return failure_of(ErrorKind::kConfig,
                      [&] { run.config("a", "num_train_steps = 1\n", "", keys); });
  };
  CHECK_THAT(refused({"--optimizer.ema={decay=0.5}",
                      "--optimizer.groups=[{match=\"ln\", type=\"schedule_free\"}]"}),
             Contains("optimizer.groups[0].type = \"schedule_free\" keeps a mean of its own") &&
                 Contains("hint"));
  CHECK_THAT(refused({"--optimizer.type=muon", "--optimizer.learning_rate=0"}),
             Contains("optimizer.learning_rate = 0 would hold optimizer.adam_lr = 6e-04 at 0") &&
                 Contains("allowed  above 0, or optimizer.adam_lr = 0"));
  run.config("a", "num_train_steps = 1\n", "",
             {"--optimizer.type=muon", "--optimizer.learning_rate=0", "--optimizer.adam_lr=0"});
}

TEST_CASE("a muon group moves what is no hidden matrix by the run's learning rate", "[optim]") {
  AdamConfig adam;
  adam.learning_rate = 0.01;
  adam.groups = {{.match = "bias", .type = "muon"}};
  const optim::Assignment optimizer(optim::entry("adam"), adam);
  const auto backend = make_backend("reference");
  Function f("update", DType::f64);
  nn::Param bias = param("bias", nn::Role::kBias);
  bias.type = {DType::f64, {{"embed", 1}}};
  bias.shape = {1};
  optim::Before before{f.argument("p", bias.type), f.argument("g", bias.type), {}};
  for (const optim::StateArray& state : optimizer.state(bias))
    before.state.push_back(f.argument(state.name, state.type));
  std::vector<double> own(optimizer.scalar_names().size());
  optimizer.fill_scalars(0, own);
  optim::Step step;
  step.lr = constant(f.graph, adam.learning_rate, DType::f64);
  step.proceed = step.clip = constant(f.graph, 1, DType::f64);
  for (const double x : own) step.own.push_back(constant(f.graph, x, DType::f64));
  f.result("p", optimizer.update(bias, before, step).param);
  const std::vector<Array> inputs = {
      {bias.type, {1.0}}, {bias.type, {0.5}}, {bias.type, {0.0}}, {bias.type, {0.0}}};
  // AdamW's first step is the rate, but for its epsilon of 1e-8.
  CHECK(run(decompose(std::move(f), *backend), inputs, *backend)[0].values[0] ==
        Approx(1 - 0.01).epsilon(1e-9));
}

TEST_CASE("a run with a frozen group goes on from its own checkpoint", "[optim]") {
  const TinyRun run;
  const std::string keys = "num_train_steps = 4\nid = \"run\"\n";
  const TrainConfig config =
      run.config("a", keys, "", {"--optimizer.groups=[{ match = 'ln_1', frozen = true }]"});
  REQUIRE(train::train(config, {}) == train::Outcome::kFinished);
  const std::string kept = run.folder / "runs/run/checkpoints/step-4/config.toml";
  CHECK_NOTHROW(load_train_config(kept, {}));
  const TrainConfig longer = run.config("b", "num_train_steps = 6\nid = \"run\"\n", "",
                                        {"--optimizer.groups=[{ match = 'ln_1', frozen = true }]"});
  CHECK(train::train(longer, {}) == train::Outcome::kFinished);
}

TEST_CASE("a frozen group has neither gradients nor state, and the plan says what is trained how",
          "[optim]") {
  const TinyRun run;
  const TrainConfig config = with_groups(
      run, "[{ match = \"wte|wpe\", frozen = true }, { match = \"ln_\", lr_scale = 0.5 }]");
  const auto backend = make_backend("cpu");
  const train::CompiledStep step(train::step_options(config, 31, 0), *backend);
  int64_t frozen = 0;
  for (const nn::Param& p : step.params) {
    CHECK(p.trainable == (p.path.find(".wte.") + p.path.find(".wpe.") == 2 * std::string::npos));
    if (!p.trainable) frozen += p.type.elements();
  }
  CHECK(frozen > 0);
  for (const train::StateLayout::Place& place : step.state.places)
    CHECK(step.params[place.piece.param].trainable);
  const std::string report = train::memory_report(config, step, {{{"memory", 1, 2}}});
  CHECK_THAT(report,
             Contains(cat("\"wte|wpe\": 2 tensors, ", count_of(frozen, "parameter"), "; frozen")) &&
                 Contains("adam, lr x 0.5, weight_decay 0") && Contains("all others: "));
}
