// A printed config reads back as the same one.
#include "config/print.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/strings.h"
#include "config/toml.h"
#include "train/config/train_config.h"

using namespace levanter;
using namespace levanter::config;

namespace {

/// A value that a field accepts, as TOML; "" to leave the key out.
std::string random_scalar(const Field& field, const Type& type, std::mt19937& random) {
  const double low = field.low.value_or(0), high = field.high.value_or(low + 1000);
  const double share = std::uniform_real_distribution<double>(0.01, 0.99)(random);
  switch (type.kind) {
    case Kind::kBool:
      return random() % 2 ? "true" : "false";
    case Kind::kInteger:
      return cat(static_cast<int64_t>(low + share * std::min(high - low, 1e4)));
    case Kind::kNumber:
      return print_number(low + share * (high - low));
    case Kind::kString:
      return field.words.empty() ? "" : quote(field.words[random() % field.words.size()]);
    case Kind::kPath:
      return quote(cat("../text \"", random() % 9, "\".txt"));
    case Kind::kDuration:
      return quote(cat(1 + random() % 100000, random() % 2 ? "s" : "ms"));
    default:
      return "";
  }
}

/// A list whose elements differ where they are words, so that none stands twice.
std::string random_list(const Field& field, const Type& element, std::mt19937& random) {
  std::vector<std::string> items;
  for (size_t i = 0; i < 1 + random() % 3; ++i) {
    const std::string item = random_scalar(field, element, random);
    if (!item.empty() && std::find(items.begin(), items.end(), item) == items.end())
      items.push_back(item);
  }
  return cat("[", join(items, ", "), "]");
}

/// Overrides for about half of the scalar fields below `path`, each valid by itself.
void random_overrides(const Type& type, void* object, const std::string& path, std::mt19937& random,
                      std::vector<std::string>& out) {
  Fields fields;
  if (type.kind == Kind::kChoice)
    static_cast<AnyChoice*>(object)->value->fields(fields);
  else
    type.fields(object, fields);
  for (const Field& field : fields.list()) {
    const std::string key = path.empty() ? field.key : cat(path, ".", field.key);
    const Kind kind = field.type->kind;
    if (kind == Kind::kStruct || kind == Kind::kChoice) {
      random_overrides(*field.type, field.value, key, random, out);
      continue;
    }
    if (random() % 2) continue;
    std::string text;
    if (kind == Kind::kOptional)
      text = random() % 4 ? random_scalar(field, field.type->element(), random) : "none";
    else if (kind == Kind::kList)
      text = random_list(field, field.type->element(), random);
    else
      text = random_scalar(field, *field.type, random);
    const bool quoted = text.starts_with('"');  // such fields take the text as it stands
    if (quoted) text = text.substr(1, text.size() - 2);
    if (!text.empty() && text != "[]") out.push_back(cat("--", key, "=", text));
  }
}

/// Whether the values together were refused: by relations between keys, which are random here.
bool refused(const std::vector<std::string>& overrides) {
  try {
    load_train_config("", overrides);
    return false;
  } catch (const Error&) {
    return true;
  }
}

}  // namespace

TEST_CASE("a printed config reads back as the same config", "[config]") {
  std::mt19937 random(1);
  size_t accepted = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> overrides;
    TrainConfig standard;
    random_overrides(type_of<TrainConfig>(), &standard, "", random, overrides);
    overrides.push_back(cat("--optimizer.lr_schedule=",
                            LrSchedule::choices()[random() % LrSchedule::choices().size()].name));
    while (!overrides.empty() && refused(overrides)) overrides.pop_back();
    const TrainConfig config = load_train_config("", overrides);
    accepted += overrides.size();
    const std::string printed = print_config(config);
    const TrainConfig again = parse_train_config(printed, "elsewhere/again.toml");
    INFO(join(overrides, "\n"));
    INFO(printed);
    CHECK(print_config(again) == printed);
    for (const Difference& difference : differences(config, again))
      CHECK(difference.key == "trainer.id");  // the name is written out
  }
  CHECK(accepted > 300);
}

TEST_CASE("numbers and keys print as TOML", "[config]") {
  CHECK(print_number(1) == "1.0");
  CHECK(print_number(-0.5) == "-0.5");
  CHECK(print_number(1e-8) == "1e-08");
  CHECK(print_number(1e30) == "1e+30");
  CHECK(print_key("abc_1-X") == "abc_1-X");
  CHECK(print_key("a b") == "\"a b\"");
  CHECK(print_key("") == "\"\"");
}

TEST_CASE("tables with tables in them become sections, others stay on their line", "[config]") {
  Sources sources;
  Problems problems(sources);
  const std::string text =
      "top = 1\n\n[a]\nsmall = { x = 1, y = [1, 2] }\n\n[a.b]\nz = 2.5\n\n[a.b.c]\n"
      "deep = { one = { } }\n";
  const Value value = parse_toml(text, "t.toml", problems);
  REQUIRE(problems.empty());
  const std::string printed = print_document(value);
  CHECK(printed ==
        "top = 1\n\n[a]\nsmall = { x = 1, y = [1, 2] }\n\n[a.b]\nz = 2.5\n\n[a.b.c.deep]\n"
        "one = {}\n");
  CHECK(parse_toml(printed, "t.toml", problems).print() == value.print());
}

TEST_CASE("the canonical text has every key once, in a fixed order", "[config]") {
  const TrainConfig config = parse_train_config(
      "[data.components.letters]\ntrain = \"/a.txt\"\n[optimizer]\nlr_schedule = \"inv_sqrt\"\n",
      "run.toml");
  const std::string text = canonical_text(config);
  CHECK(text == canonical_text(config));
  CHECK(text.starts_with("model.type = \"gpt2\"\nmodel.max_seq_len = 1024\n"));
  CHECK(text.find("\ndata.components.letters.train = [\"/a.txt\"]\n") != std::string::npos);
  CHECK(text.find("\noptimizer.lr_schedule.timescale = 10000.0\n") != std::string::npos);
}
