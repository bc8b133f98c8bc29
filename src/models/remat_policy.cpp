// Reads what gradient_checkpointing says: the values that blocks keep for the backward pass.
#include "models/remat_policy.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/strings.h"

namespace levanter {

namespace {

constexpr const char* kForms = "none, save_dots, full, save(name, ...), nested(k)";
constexpr int64_t kLargestGroup = 1'000'000;

/// Why a text is no policy: the second half of the message, and the other parts of the error.
struct Refusal {
  std::string what, allowed, hint = {};
};

/// "inside" of "word(inside)", or false.
bool reads_as_call(std::string_view text, std::string_view word, std::string_view& inside) {
  if (!text.starts_with(word) || !text.ends_with(")")) return false;
  text.remove_prefix(word.size());
  if (!text.starts_with("(")) return false;
  inside = text.substr(1, text.size() - 2);
  return true;
}

std::string hint_of(std::string_view text, const std::vector<std::string>& words) {
  const std::string near = nearest(text, words);
  return near.empty() ? "" : cat("the nearest is ", quote(near));
}

std::vector<std::string> parse_names(std::string_view list,
                                     std::span<const std::string_view> names) {
  const std::vector<std::string> known(names.begin(), names.end());
  std::vector<std::string> saved;
  for (const std::string& part : split(list, ',')) {
    const std::string name(trim(part));
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw Refusal{
          name.empty() ? "lacks a name" : cat("names ", quote(name), ", which no value has"),
          join(known, ", "), hint_of(name, known)};
    if (std::find(saved.begin(), saved.end(), name) != saved.end())
      throw Refusal{cat("names ", quote(name), " twice"), "each name once"};
    saved.push_back(name);
  }
  return saved;
}

RematPolicy parse(std::string_view text, std::span<const std::string_view> names) {
  if (text == "none") return {Remat::kNone, {}, 0};
  if (text == "save_dots") return {Remat::kSaveDots, {}, 0};
  if (text == "full") return {Remat::kFull, {}, 0};
  std::string_view inside;
  if (reads_as_call(text, "save", inside)) return {Remat::kNames, parse_names(inside, names), 0};
  if (reads_as_call(text, "nested", inside)) {
    const std::string_view digits = trim(inside);
    int64_t k = 0;
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), k);
    if (read.ec != std::errc() || read.ptr != digits.data() + digits.size() || k < 1 ||
        k > kLargestGroup)
      throw Refusal{"does not say how many blocks make a group", "nested(1), nested(2), ...",
                    "about the square root of num_layers takes the least memory"};
    return {Remat::kFull, {}, k};
  }
  if (text == "true" || text == "false")
    throw Refusal{"is not a policy", kForms,
                  cat("write ", quote(text == "true" ? "full" : "none"))};
  throw Refusal{"is not a policy", kForms,
                hint_of(text, {"none", "save_dots", "full", "save(name)", "nested(2)"})};
}

}  // namespace

Region RematPolicy::region(size_t layer) const {
  Region region;
  region.remat = remat;
  region.saved = saved;
  if (group_size > 0)
    region.group = static_cast<uint32_t>(layer / static_cast<size_t>(group_size)) + 1;
  return region;
}

RematPolicy parse_remat_policy(std::string_view text, std::span<const std::string_view> names) {
  try {
    return parse(text, names);
  } catch (const Refusal& refusal) {
    throw Error(ErrorKind::kConfig, cat("the remat policy ", quote(text), " ", refusal.what))
        .allowed(refusal.allowed)
        .hint(refusal.hint);
  }
}

void remat_field(config::Fields& f, std::string& policy, std::span<const std::string_view> names) {
  std::string list;
  for (const std::string_view name : names) list += cat(list.empty() ? "" : ", ", name);
  f("gradient_checkpointing", policy,
    "what a block recomputes in the backward pass: nothing, all but its matrix products, all, "
    "all but the values of some of these names, or all with only every k-th block's input "
    "kept; more recomputation takes less memory and gives the same bits")
      .written_as({"none", "save_dots", "full", cat("save(", list, ")"), "nested(k)"})
      .may_change();
  f.dropped("gradient_checkpointing_block_size", "write gradient_checkpointing = \"nested(k)\"");
}

void validate_remat_policy(config::Problems& p, std::string_view key, std::string_view text,
                           std::span<const std::string_view> names) {
  try {
    parse(text, names);
  } catch (const Refusal& refusal) {
    p.add(key, cat(p.name(key), " = ", quote(text), " ", refusal.what))
        .allowed(refusal.allowed)
        .hint(refusal.hint);
  }
}

}  // namespace levanter
