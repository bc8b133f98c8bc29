// levanter diff: where two runs part.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "commands/command.h"
#include "report/compare.h"

namespace levanter::commands {

namespace {

using Json = nlohmann::ordered_json;

constexpr int kDiffers = 1;  ///< the exit code, as diff's

constexpr Option kOptions[] = {
    {"json", "", "print one JSON object"},
};

std::string padded(std::string text, size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text;
}

/// Names and both sides, in columns.
std::string rows(const std::vector<report::Apart>& list) {
  size_t name = 0, left = 0;
  for (const report::Apart& apart : list) {
    name = std::max(name, apart.name.size());
    left = std::max(left, apart.a.size());
  }
  std::string text;
  for (const report::Apart& apart : list)
    text += cat("  ", padded(apart.name, name), "  ", padded(apart.a, left), "  ", apart.b, "\n");
  return text;
}

std::string index_text(const std::vector<int64_t>& index) { return list_json<int64_t>(index); }

std::string text_of(const report::Comparison& c) {
  std::string text;
  if (!c.keys.empty()) text += cat("config\n", rows(c.keys));
  if (!c.provenance.empty()) text += cat("made by\n", rows(c.provenance));
  if (c.first_step.step >= 0)
    text +=
        cat("metrics differ from step ", c.first_step.step, " on\n", rows(c.first_step.metrics));
  if (c.tensor) {
    const report::FirstTensor& t = *c.tensor;
    text += cat("checkpoints differ from step ", t.step, " on\n  ", t.name,
                t.differing > 0 ? index_text(t.index) : "", "  ", t.a, "  ", t.b);
    if (t.differing > 0)
      text += cat("  (", format_count(t.differing), " of ", count_of(t.elements, "element"), ")");
    text += "\n";
  }
  return text;
}

Json json_of(const std::vector<report::Apart>& list) {
  Json out = Json::object();
  for (const report::Apart& apart : list) out[apart.name] = {apart.a, apart.b};
  return out;
}

std::string json_of(const report::Comparison& c) {
  Json out = {{"equal", c.equal()},
              {"config", json_of(c.keys)},
              {"provenance", json_of(c.provenance)},
              {"first_step", nullptr},
              {"metrics", json_of(c.first_step.metrics)},
              {"tensor", nullptr},
              {"notes", c.notes}};
  if (c.first_step.step >= 0) out["first_step"] = c.first_step.step;
  if (c.tensor)
    out["tensor"] = {{"step", c.tensor->step},
                     {"name", c.tensor->name},
                     {"index", c.tensor->index},
                     {"a", c.tensor->a},
                     {"b", c.tensor->b},
                     {"differing", c.tensor->differing},
                     {"elements", c.tensor->elements}};
  return out.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

int run(const Arguments& a) {
  if (a.words.size() != 2)
    throw Error(ErrorKind::kConfig, cat("levanter diff compares two runs, and ", a.words.size(),
                                        a.words.size() == 1 ? " is named" : " are named"))
        .allowed("levanter diff A B, each a run's folder or a checkpoint's");
  const report::Comparison comparison = report::compare(a.words[0], a.words[1]);
  for (const std::string& note : comparison.notes) std::fprintf(stderr, "note  %s\n", note.c_str());
  print(a.has("json") ? json_of(comparison) : text_of(comparison));
  return comparison.equal() ? 0 : kDiffers;
}

}  // namespace

extern const CommandEntry diff_entry;
const CommandEntry diff_entry = {
    "diff",   "where two runs part: keys, what made them, the first step, the first tensor",
    "A B",    2,
    kOptions, false,
    run};

}  // namespace levanter::commands
