// What a configuration can say: every key with its type, default, bounds and meaning.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/fields.h"

namespace levanter::config {

/// One key of the schema.
struct Described {
  std::string key;       ///< "trainer.checkpointer.keep[].every", "data.components.<name>.train"
  std::string variant;   ///< the choices that it belongs to, "qwen2, qwen3", or "": always there
  std::string type;      ///< "integer", "list of paths", "table", ...
  std::string standard;  ///< the default as TOML; "" for tables and required keys
  std::string unit;
  std::string allowed;  ///< bounds or words; "" when anything of the type
  std::string meaning;
  bool required = false;
  bool table = false;       ///< has keys of its own, which follow
  bool may_change = false;  ///< free to differ in a resumed run
  struct Candidate {
    std::string name, summary;
  };
  std::vector<Candidate> choices;  ///< what `type` may be, the default first
};

/// Every key below a struct, in the order of declaration but tables last, each before its own keys.
std::vector<Described> describe(const Type& root);

/// The entries of one key and of those below it as text for a terminal; "" when there is none.
std::string describe_text(const std::vector<Described>& keys, std::string_view key);

/// The whole as the page docs/config.md.
std::string describe_markdown(const std::vector<Described>& keys);

/// What a field may be, in words: "an integer, at least 1". `type` is the field's or its element's.
std::string allowed_values(const Field& field, const Type& type);

}  // namespace levanter::config
