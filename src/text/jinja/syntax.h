// A template as tokens, and as a tree of expressions and statements.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace levanter::text::jinja {

enum class TokenKind : uint8_t {
  kData,  ///< text outside of any mark
  kName,
  kString,  ///< its text, escapes resolved
  kInt,
  kFloat,
  kOperator,  ///< or a mark: {{ }} {% %}
  kEnd,
};

struct Token {
  TokenKind kind;
  std::string text;
  int line;
};

/// The tokens of a template, the last of them kEnd. Line ends become \n, one at the very end is
/// dropped; trim_blocks and lstrip_blocks are on, as chat templates assume.
/// error  Fault for what is no token, or for a mark that is never closed
std::vector<Token> tokenize(std::string_view source);

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

enum class ExpressionKind : uint8_t {
  kConstant,
  kName,
  kList,       ///< parts
  kTuple,      ///< parts
  kDict,       ///< keys and values in turn
  kAttribute,  ///< parts[0].name
  kItem,       ///< parts[0][parts[1]]
  kSlice,      ///< parts[0][parts[1]:parts[2]:parts[3]], absent ones null
  kCall,       ///< parts[0](parts[1]..., named)
  kFilter,     ///< parts[0] | name(parts[1]..., named); no parts[0] in {% filter %}
  kTest,       ///< parts[0] is name(parts[1]..., named)
  kUnary,      ///< name: - + not
  kBinary,     ///< name: + - * / // % ** ~ and or
  kCompare,    ///< parts[0] names[0] parts[1] names[1] parts[2] ...
  kCondition,  ///< parts[0] if parts[1] else parts[2], which may be null
};

struct Expression {
  ExpressionKind kind = ExpressionKind::kConstant;
  int line = 0;
  std::string name;
  Value constant;
  std::vector<ExpressionPtr> parts;
  std::vector<std::string> names;                            ///< operators of kCompare
  std::vector<std::pair<std::string, ExpressionPtr>> named;  ///< "**" for all of a dict
  int depth = 1;                                             ///< levels of the tree from here
};

struct Statement;
using Block = std::vector<std::unique_ptr<Statement>>;

enum class StatementKind : uint8_t {
  kText,        ///< text
  kPrint,       ///< value
  kIf,          ///< value, body, other
  kFor,         ///< target in value if condition: body, else other
  kSet,         ///< target = value
  kSetBlock,    ///< target = body, filtered by value where there is one
  kMacro,       ///< text is the name; parameters, body
  kCall,        ///< value is the call; parameters, body
  kFilter,      ///< value is the chain of filters; body
  kWith,        ///< parameters are the names and their values; body
  kGeneration,  ///< body
  kBreak,
  kContinue,
};

struct Statement {
  StatementKind kind;
  int line;
  std::string text;
  ExpressionPtr target, value, condition;
  std::vector<std::pair<std::string, ExpressionPtr>>
      parameters;  ///< default null where there is none
  Block body, other;
};

/// Gives a variable another value for as long as this lives.
template <class T>
class Changed final {
 public:
  Changed(T& place, T value) : place_(place), before_(std::exchange(place, std::move(value))) {}
  ~Changed() { place_ = std::move(before_); }
  Changed(const Changed&) = delete;
  Changed& operator=(const Changed&) = delete;

 private:
  T& place_;
  T before_;
};

/// The tree of a template.
/// error  Fault naming the line and the construct: one that is not supported, or not closed
Block parse(std::string_view source);

/// The names of all filters and tests; their meaning is in builtins.h.
std::vector<std::string> filter_names();
std::vector<std::string> test_names();

}  // namespace levanter::text::jinja
