// Collects every fault of a configuration, so that all are reported together.
#pragma once

#include <initializer_list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace levanter::config {

/// Where a value was written: a file with line and column, or the override that set it.
struct Source {
  std::string file;  ///< as the user named it; for an override its text, "--trainer.seed=1"
  int line = 0;      ///< from 1; 0 for an override or a whole file
  int column = 0;    ///< from 1, in characters

  /// "run.toml:3:14", "--trainer.seed=1", or "" when the value is a default.
  std::string text() const;
};

/// The places of all keys that a config sets, by full key ("trainer.checkpointer.keep[0].every").
class Sources final {
 public:
  void set(std::string key, Source source) { places_[std::move(key)] = std::move(source); }
  bool has(std::string_view key) const { return places_.find(key) != places_.end(); }
  /// The place of `key`, else of the nearest table around it, else of the file.
  const Source& find(std::string_view key) const;
  /// find(key) as text, with "(default)" added when the key itself is not set.
  std::string where(std::string_view key) const;

 private:
  std::map<std::string, Source, std::less<>> places_;
};

/// One fault, to be completed by its reporter.
class Fault final {
 public:
  Fault& allowed(std::string values) {
    allowed_ = std::move(values);
    return *this;
  }
  Fault& hint(std::string advice) {
    hint_ = std::move(advice);
    return *this;
  }
  /// The fault as an Error of its own.
  Error error() const;
  const std::string& message() const { return message_; }
  const std::string& place() const { return place_; }
  const std::string& allowed_values() const { return allowed_; }
  const std::string& advice() const { return hint_; }

 private:
  friend class Problems;
  std::string message_, allowed_, hint_;
  Source at_;
  std::string place_;
};

/// The faults found so far. A `validate` function sees one whose keys are relative to its struct:
///
///   void validate(config::Problems& p) const {
///     if (hidden_dim % num_heads != 0)
///       p.add("num_heads", cat(p.name("num_heads"), " = ", num_heads, " does not divide ", ...),
///             {"hidden_dim"})
///           .allowed(...);
///   }
class Problems final {
 public:
  explicit Problems(const Sources& sources) : sources_(&sources) {}

  /// The full name of a key of the struct being validated: "model.num_heads".
  std::string name(std::string_view key) const;

  /// Reports a fault at `key`. Left out when the value of `key` or of one of `also`, the other keys
  /// that the fault depends on, was refused before: it would be a consequence.
  Fault& add(std::string_view key, std::string message,
             std::initializer_list<std::string_view> also = {});
  /// Reports a fault at a place, and marks the full name `key` as refused.
  Fault& refuse(std::string key, const Source& at, std::string message);

  bool empty() const { return faults_.empty(); }
  size_t count() const { return faults_.size() + left_out_; }
  /// Whether enough faults are known that more are only counted: what it takes to explain one is
  /// spared then.
  bool full() const { return faults_.size() >= kMostKept; }
  /// Those that are kept, in the order of their places: of a file's before those of overrides.
  std::vector<const Fault*> sorted() const;
  /// Throws one Error that lists the first kMostShown faults in the order of their places and
  /// counts all; returns when there is none. `subject` is what was examined, such as the file.
  void raise(std::string_view subject) const;

  /// Sets what names are relative to ("" for the root) and returns what it was before.
  std::string enter(std::string scope);

  static constexpr size_t kMostShown = 20;

 private:
  static constexpr size_t kMostKept = 500, kLongestMessage = 4000;

  bool refused(const std::string& name) const;
  Fault& put(std::string message, Source at, std::string place);

  const Sources* sources_;
  std::string scope_;
  std::vector<std::unique_ptr<Fault>> faults_;
  size_t left_out_ = 0;
  std::set<std::string, std::less<>> refused_;
  Fault ignored_;
};

}  // namespace levanter::config
