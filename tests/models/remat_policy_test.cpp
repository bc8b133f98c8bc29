// The spelling of remat policies, and the errors that teach it.
#include "models/remat_policy.h"

#include <catch2/catch.hpp>

#include "models/families/gpt2_config.h"
#include "support/checks.h"
#include "train/config/train_config.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

RematPolicy parsed(std::string_view text) {
  return parse_remat_policy(text, Gpt2Config::checkpoint_names());
}

/// What loading a config with this policy says.
std::string refusal(const std::string& text) {
  return error_of([&] {
    parse_train_config("[model]\ngradient_checkpointing = \"" + text + "\"\n", "run.toml", {});
  });
}

}  // namespace

TEST_CASE("each spelling of a policy is read", "[models]") {
  CHECK(parsed("none").remat == Remat::kNone);
  CHECK(parsed("save_dots").remat == Remat::kSaveDots);
  CHECK(parsed("full").remat == Remat::kFull);
  CHECK(parsed("full").group_size == 0);
  const RematPolicy named = parsed("save( attn,mlp_up )");
  CHECK(named.remat == Remat::kNames);
  CHECK(named.saved == std::vector<std::string>{"attn", "mlp_up"});
  CHECK(parsed("nested(3)").remat == Remat::kFull);
  CHECK(parsed("nested(3)").group_size == 3);
}

TEST_CASE("blocks are numbered into groups from one on", "[models]") {
  const RematPolicy policy = parsed("nested(3)");
  CHECK(policy.region(0).group == 1);
  CHECK(policy.region(2).group == 1);
  CHECK(policy.region(3).group == 2);
  CHECK(parsed("full").region(3).group == 0);
  CHECK(parsed("save(attn)").region(3).saved == std::vector<std::string>{"attn"});
}

TEST_CASE("a policy that is none is refused with its place and what is allowed", "[models]") {
  CHECK(refusal("save_dot") ==
        "error: model.gradient_checkpointing = \"save_dot\" is not a policy\n"
        "  at       run.toml:2:26\n"
        "  allowed  none, save_dots, full, save(name, ...), nested(k)\n"
        "  hint     the nearest is \"save_dots\"");
  CHECK(refusal("save(attn, mlp_upp)") ==
        "error: model.gradient_checkpointing = \"save(attn, mlp_upp)\" names \"mlp_upp\", which no "
        "value has\n"
        "  at       run.toml:2:26\n"
        "  allowed  qkv, attn, attn_out, mlp_up, mlp_act, mlp_down\n"
        "  hint     the nearest is \"mlp_up\"");
  CHECK_THAT(refusal("save()"), Catch::Contains("lacks a name"));
  CHECK_THAT(refusal("save(attn,)"), Catch::Contains("lacks a name"));
  CHECK_THAT(refusal("save(attn, attn)"), Catch::Contains("names \"attn\" twice"));
  for (const char* group :
       {"nested()", "nested(0)", "nested(-1)", "nested(two)", "nested(1.5)", "nested(99999999999)"})
    CHECK_THAT(refusal(group), Catch::Contains("does not say how many blocks make a group"));
  for (const char* text : {"", "nested", "save(attn", "Full", "full "})
    CHECK_THAT(refusal(text), Catch::Contains("is not a policy"));
  CHECK(refusal("nested(2)").empty());
}

TEST_CASE("a policy reads as a command line's words write it", "[models]") {
  const std::vector<std::string> overrides = {"--model.gradient_checkpointing=save(attn, qkv)"};
  const TrainConfig config = parse_train_config("", "run.toml", overrides);
  CHECK(dynamic_cast<const Gpt2Config&>(*config.model).gradient_checkpointing == "save(attn, qkv)");
}
