// Groups of parameters, told apart by their paths: what a group changes of their training.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/fields.h"

namespace levanter {

/// Parameters whose path a pattern is found in, and what is different about them.
struct ParameterGroup {
  std::string match;                        ///< a regular expression, Perl's as PCRE2 reads it
  std::optional<std::string> type = {};     ///< another optimizer, at its defaults
  double lr_scale = 1;                      ///< what the learning rate is multiplied by
  std::optional<double> weight_decay = {};  ///< of all of them, whatever their role
  bool frozen = false;                      ///< neither gradient nor state, and they never move

  void fields(config::Fields& f);
  void validate(config::Problems& p) const;
};

namespace optim {

/// A regular expression that is looked for anywhere in a path.
class Pattern final {
 public:
  /// error  kConfig saying what cannot be read of it, and where
  explicit Pattern(const std::string& expression);
  Pattern(Pattern&&) noexcept;
  ~Pattern();
  bool found_in(std::string_view path) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Which group a parameter is of: the first whose pattern is found in its path.
class Groups final {
 public:
  /// The groups outlive it.
  explicit Groups(std::span<const ParameterGroup> groups);

  std::span<const ParameterGroup> all() const { return groups_; }
  /// The index of a parameter's group; nothing where no pattern is found.
  std::optional<size_t> index_of(std::string_view path) const;
  /// The group itself, or null.
  const ParameterGroup* of(std::string_view path) const;
  /// Whether a pattern is found in the path, other groups aside.
  bool matches(size_t group, std::string_view path) const;

 private:
  std::span<const ParameterGroup> groups_;
  std::vector<Pattern> patterns_;
};

}  // namespace optim
}  // namespace levanter
