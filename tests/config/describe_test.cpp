// What the program says of its own keys.
#include "config/describe.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

#include "train/config/train_config.h"

using namespace levanter;
using namespace levanter::config;

namespace {

std::vector<Described> keys() { return describe(type_of<TrainConfig>()); }

const Described& find(const std::vector<Described>& all, const std::string& key) {
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Described& d) { return d.key == key; });
  REQUIRE(found != all.end());
  return *found;
}

}  // namespace

TEST_CASE("each key is described with type, default, bounds, unit and meaning", "[config]") {
  const std::vector<Described> all = keys();
  const Described& steps = find(all, "trainer.num_train_steps");
  CHECK(steps.type == "integer");
  CHECK(steps.standard == "400000");
  CHECK(steps.unit == "steps");
  CHECK(steps.allowed == "at least 1, at most 1000000000000");
  CHECK(steps.may_change);
  const Described& beta = find(all, "optimizer.beta2");
  CHECK(beta.variant == "adam");
  CHECK(beta.standard == "0.95");
  CHECK_FALSE(beta.may_change);
  CHECK(find(all, "data.components.<name>.train").required);
  CHECK(find(all, "trainer.checkpointer.keep[].until").standard == "none");
  const Described& model = find(all, "model");
  REQUIRE_FALSE(model.choices.empty());
  CHECK(model.choices[0].name == "gpt2");
}

TEST_CASE("no key lacks a meaning, and none is declared twice", "[config]") {
  std::set<std::string> seen;
  for (const Described& described : keys()) {
    INFO(described.key);
    CHECK_FALSE(described.meaning.empty());
    CHECK_FALSE(described.meaning.ends_with('.'));
    CHECK(seen.insert(described.key + " " + described.variant).second);
  }
}

TEST_CASE("describing a key shows it and those below it only", "[config]") {
  const std::string text = describe_text(keys(), "trainer.checkpointer");
  CHECK(text.starts_with("trainer.checkpointer\n"));
  CHECK(text.find("trainer.checkpointer.keep[].every") != std::string::npos);
  CHECK(text.find("trainer.seed") == std::string::npos);
  CHECK(describe_text(keys(), "trainer.check").empty());
}

TEST_CASE("a bar in a key's meaning or default does not end its cell of the page's table",
          "[config]") {
  Described described;
  described.key = "separator";
  described.type = "string";
  described.standard = "\"<|end|>\"";
  described.meaning = "this | that";
  CHECK_THAT(describe_markdown({described}),
             Catch::Contains("| `separator` | this \\| that | string | `\"<\\|end\\|>\"` |\n"));
}

TEST_CASE("every default is accepted by its own field", "[config]") {
  for (const Described& described : keys()) {
    const bool direct = !described.table && !described.required && described.standard != "none" &&
                        described.key.find_first_of("<[") == std::string::npos;
    if (!direct || described.variant != "" || described.standard == "[]") continue;
    const std::string value = described.standard.starts_with('"')
                                  ? described.standard.substr(1, described.standard.size() - 2)
                                  : described.standard;
    INFO(described.key);
    const std::vector<std::string> overrides = {"--" + described.key + "=" + value};
    CHECK_NOTHROW(load_train_config("", overrides));
  }
}
