// Formats for tests: from the keys of a config, and their documents.
#pragma once

#include <catch2/catch.hpp>

#include "base/strings.h"
#include "config/bind.h"
#include "config/document.h"
#include "data/format.h"

namespace levanter::testing {

/// The config of a format from its keys, such as `type = "prebuilt"`.
inline std::shared_ptr<const FormatConfig> format_config(std::string_view toml) {
  struct Holder {
    config::Choice<FormatConfig> format;
    void fields(config::Fields& f) { f("format", format, "what a record means"); }
  } holder;
  config::Sources sources;
  config::Problems problems(sources);
  const config::Value root =
      config::parse_document(cat("[format]\n", toml, "\n"), "f.toml", {}, problems);
  config::bind(root, config::type_of<Holder>(), &holder, sources, problems);
  problems.raise("f.toml");
  return {static_cast<FormatConfig*>(holder.format.value.release()),
          [](const FormatConfig* f) { delete f; }};
}

/// A format and the config that it was made from.
struct MadeFormat {
  std::shared_ptr<const FormatConfig> config;
  std::unique_ptr<data::Format> format;

  MadeFormat(std::string_view toml, const data::DocumentRules& rules)
      : config(format_config(toml)), format(config->make(rules)) {}

  std::vector<data::Document> documents(std::string_view json, int64_t line = 1) {
    std::vector<data::Document> out;
    format->add({{json, "f.jsonl", line}, true}, out);
    return out;
  }
  /// The one document of a record.
  data::Document document(std::string_view json, int64_t line = 1) {
    std::vector<data::Document> out = documents(json, line);
    REQUIRE(out.size() == 1);
    return out[0];
  }
};

}  // namespace levanter::testing
