// A subcommand as data: command_line.h reads its options, words and overrides.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/strings.h"
#include "device/backends.h"

namespace levanter::commands {

/// One option. With `value` empty it is a flag.
struct Option {
  const char* name;   ///< "config" for --config
  const char* value;  ///< what to call its value in help: "FILE"; "" for a flag
  const char* help;
  bool required = false;
  bool may_be_empty = false;   ///< whether "" is a value
  bool repeats = false;        ///< may be given several times
  const char* with = "";       ///< the option without which this one is not read
  const char* otherwise = "";  ///< the option that may stand in place of a required one
};

/// What the user wrote.
class Arguments final {
 public:
  std::map<std::string, std::string, std::less<>> values;              ///< options with a value
  std::map<std::string, std::vector<std::string>, std::less<>> lists;  ///< options that repeat
  std::vector<std::string> flags;
  std::vector<std::string> words;      ///< the subcommand's name, if any, then positional ones
  std::vector<std::string> overrides;  ///< --k.p=v, or --k.p and v
  /// Where bench has its devices from.
  std::unique_ptr<Backend> (*make_backend)(std::string_view name,
                                           int threads) = device::make_backend;

  bool has(std::string_view flag) const;
  /// The option's value, or `otherwise`.
  std::string text(std::string_view name, std::string_view otherwise = "") const;
  /// All values of an option that repeats.
  std::vector<std::string> all(std::string_view name) const;
  /// Error kConfig for a value that is no such number, or outside [low, high].
  int64_t integer(std::string_view name, int64_t otherwise, int64_t low, int64_t high) const;
  double number(std::string_view name, double otherwise, double low, double high) const;
};

/// One command: src/commands/<name>.cpp defines `<name>_entry`. Or a command of a command.
struct CommandEntry {
  const char* name;
  const char* summary;
  const char* words;  ///< positional arguments in help, "check|print|describe [KEY]"; "" for none
  int max_words;      ///< how many of them
  std::span<const Option> options;
  bool overrides;  ///< takes --k.p=v
  /// Does it; the exit code. Results go to stdout. Null when one of `commands` must be named.
  int (*run)(const Arguments& arguments);
  /// What its first word may name, each with options of its own, which stand after it or before.
  std::span<const CommandEntry> commands = {};
  const char* does = "do";  ///< what such a word names: "what to do"
  bool by_ranks = false;    ///< whether the processes of a launcher run it together
};

std::span<const CommandEntry* const> entries();

/// Writes all of `text` to stdout; Error kIo when nobody reads it.
void print(std::string_view text);
/// Bytes as JSON text; what is no UTF-8 becomes U+FFFD.
std::string text_json(const std::string& text);
/// "[1, 2, 3]".
template <class Number>
std::string list_json(std::span<const Number> numbers) {
  std::string text;
  for (const Number number : numbers) text += cat(text.empty() ? "" : ", ", number);
  return cat("[", text, "]");
}
/// Bytes with a unit: "17", "512M", "24G" (units of 1024), "5GB" (of 1000). Error kConfig for
/// another form.
int64_t parse_bytes(std::string_view text, std::string_view option);

}  // namespace levanter::commands
