// Running a template's tree: scopes, loops, macros, and the limits that end a hostile one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/chat_template.h"
#include "text/jinja/syntax.h"
#include "text/jinja/value.h"

namespace levanter::text::jinja {

/// One run of one template.
class Evaluator final {
 public:
  /// `now_seconds` is what strftime_now sees, seconds since 1970; nothing for the clock. A long
  /// chat may take more steps.
  /// What {% generation %} blocks print of a message in `messages` whose "weight" is 0 is not told.
  Evaluator(const Dict& variables, std::optional<int64_t> now_seconds, size_t chat_bytes);
  ~Evaluator();
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  /// error  Fault with its line
  Rendered run(const Block& block);

  /// Calls a function or a macro. error Fault for what can't be called
  Value call(const Value& callee, const Arguments& arguments);
  std::optional<int64_t> now_seconds() const { return now_seconds_; }
  /// A namespace that lives as long as the run.
  Value name_space(Dict items);

 private:
  struct Scope {
    std::shared_ptr<Scope> parent;
    Dict names;
  };
  using ScopePtr = std::shared_ptr<Scope>;
  enum class Flow { kOn, kBreak, kContinue };

  Changed<int> deeper(int line);
  /// A scope inside of that one for as long as the result lives.
  Changed<ScopePtr> inside(ScopePtr parent);
  void set(const std::string& name, Value value);
  template <class Run>
  auto at_line(int line, Run&& run);

  Value evaluate(const Expression& expression);
  Value evaluate_kind(const Expression& expression);
  bool evaluate_compare(const Expression& expression);
  Value filter(const Expression& chain, const Value* input);
  Arguments arguments_of(const Expression& expression);
  Value look_up(const std::string& name);

  Flow execute(const Block& block);
  Flow execute(const Statement& statement);
  Flow execute_kind(const Statement& statement);
  Flow loop(const Statement& statement);
  void assign(const Expression& target, const Value& value);
  void generation(const Statement& statement);
  /// Whether the message that is being written is not one of weight 0.
  bool is_learned();
  /// The text that the block prints, in a scope of its own.
  std::string capture(const Block& block);
  /// That text as a value, filtered by the statement's value where it has one.
  Value captured(const Statement& statement);
  Value macro(const Statement& statement);
  Value call_macro(const Statement& statement, const ScopePtr& scope, const Arguments& arguments);
  void print(std::string_view text);

  Budget budget_;
  const Dict& variables_;
  Dict functions_;
  std::optional<int64_t> now_seconds_;
  ScopePtr scope_;
  std::vector<std::shared_ptr<Dict>> namespaces_;
  Rendered output_;
  std::string* out_;
  std::vector<std::shared_ptr<LoopState>> loops_;  ///< those that run, the innermost last
  int depth_ = 0, captures_ = 0;
};

}  // namespace levanter::text::jinja
