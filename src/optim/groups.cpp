// Groups of parameters, told apart by their paths with PCRE2.
#include "optim/groups.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <utility>

#include "base/strings.h"
#include "config/problems.h"
#include "optim/optimizer.h"

namespace levanter {

void ParameterGroup::fields(config::Fields& f) {
  f("match", match,
    "a regular expression that is looked for in the parameters' paths; ^ and $ stand for their "
    "ends. A parameter is of the first group that it is found for")
      .required();
  f("type", type, "another optimizer for the group, with that one's defaults")
      .one_of(config::names_of(optim::entries()));
  f("lr_scale", lr_scale, "what the learning rate is multiplied by").at_least(0);
  f("weight_decay", weight_decay,
    "in place of optimizer.weight_decay, and of all in the group, whatever decay_roles says")
      .at_least(0);
  f("frozen", frozen, "whether they stay as they are: they have neither gradients nor state");
}

void ParameterGroup::validate(config::Problems& p) const {
  config::Fields numbers;
  const_cast<ParameterGroup*>(this)->fields(numbers);  // which only lists where they are
  optim::check_f32(p, numbers.list());
  try {
    const optim::Pattern compiled(match);
  } catch (const Error& error) {
    p.add("match", error.message()).hint(error.hint());
  }
  if (!frozen) return;
  // By value, not by whether it is given: a run's own config.toml gives all keys.
  const std::pair<const char*, bool> moves[] = {{"type", type.has_value()},
                                                {"lr_scale", lr_scale != 1},
                                                {"weight_decay", weight_decay.has_value()}};
  for (const auto& [key, is_set] : moves)
    if (is_set)
      p.add(key, cat(p.name(key), " says how parameters move that are frozen"), {"frozen"})
          .hint("remove one of them");
}

namespace optim {

struct Pattern::Impl {
  pcre2_code* code = nullptr;
  ~Impl() { pcre2_code_free(code); }
};

Pattern::Pattern(const std::string& expression) : impl_(std::make_unique<Impl>()) {
  int error = 0;
  size_t offset = 0;
  impl_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                              PCRE2_UTF, &error, &offset, nullptr);
  if (!impl_->code) {
    char message[256] = "";
    pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
    throw Error(ErrorKind::kConfig, cat("the regular expression ", quote(expression),
                                        " can't be read: ", message, " at character ", offset + 1))
        .hint("a backslash stands before what is meant as it is: \"h\\\\.0\\\\.\" in TOML");
  }
}

Pattern::Pattern(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

bool Pattern::found_in(std::string_view path) const {
  pcre2_match_data* const found = pcre2_match_data_create_from_pattern(impl_->code, nullptr);
  const int status = pcre2_match(impl_->code, reinterpret_cast<PCRE2_SPTR>(path.data()),
                                 path.size(), 0, 0, found, nullptr);
  pcre2_match_data_free(found);
  if (status < 0 && status != PCRE2_ERROR_NOMATCH)
    throw Error(ErrorKind::kConfig, cat("takes too many steps on ", quote(path)))
        .hint("one repeat inside another, as in (a+)+, multiplies the steps: write it with one");
  return status >= 0;
}

Groups::Groups(std::span<const ParameterGroup> groups) : groups_(groups) {
  for (const ParameterGroup& group : groups) patterns_.emplace_back(group.match);
}

std::optional<size_t> Groups::index_of(std::string_view path) const {
  for (size_t i = 0; i < patterns_.size(); ++i)
    if (matches(i, path)) return i;
  return std::nullopt;
}

const ParameterGroup* Groups::of(std::string_view path) const {
  const std::optional<size_t> index = index_of(path);
  return index ? &groups_[*index] : nullptr;
}

bool Groups::matches(size_t group, std::string_view path) const {
  try {
    return patterns_[group].found_in(path);
  } catch (const Error& error) {
    throw Error(error.kind(), cat("optimizer.groups[", group,
                                  "].match = ", quote(groups_[group].match), " ", error.message()))
        .hint(error.hint());
  }
}

}  // namespace optim
}  // namespace levanter
