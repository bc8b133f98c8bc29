// Groups of parameters: which one a path is of, what it changes, and what is refused.
#include "optim/groups.h"

#include "optim/assignment.h"
#include "support/checks.h"
#include "support/fault.h"
#include "support/tiny_run.h"
#include "support/training.h"
#include "train/engine/memory_report.h"
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
    CHECK(step.params[place.param].trainable);
  const std::string report = train::memory_report(config, step, {{{"memory", 1, 2}}});
  CHECK_THAT(report,
             Contains(cat("\"wte|wpe\": 2 tensors, ", count_of(frozen, "parameter"), "; frozen")) &&
                 Contains("adam, lr x 0.5, weight_decay 0") && Contains("all others: "));
}
