// The parser of templates: statements and expressions with Jinja's own precedence.
#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "base/strings.h"
#include "text/jinja/syntax.h"

namespace levanter::text::jinja {
namespace {

constexpr int kMaxDepth = 150, kMaxTree = 500;
constexpr std::string_view kTagNames =
    "if, for, set, macro, call, filter, with, generation, break, continue, raw";

/// true, false and none; nothing for another name.
std::optional<Value> constant_named(std::string_view name) {
  if (name == "true" || name == "True") return Value::boolean(true);
  if (name == "false" || name == "False") return Value::boolean(false);
  if (name == "none" || name == "None") return Value::none();
  return std::nullopt;
}

class Parser final {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)) {}

  Block run() { return parse_block({}, 1); }

 private:
  // ---- tokens ----
  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  bool is(TokenKind kind) const { return now().kind == kind; }
  bool is_op(std::string_view op) const { return is(TokenKind::kOperator) && now().text == op; }
  bool is_name(std::string_view name) const { return is(TokenKind::kName) && now().text == name; }
  bool skip_op(std::string_view op) { return is_op(op) && (++at_, true); }
  bool skip_name(std::string_view name) { return is_name(name) && (++at_, true); }

  [[noreturn]] void fail(std::string message, std::string allowed = "",
                         std::string hint = "") const {
    throw Fault{std::move(message), std::move(allowed), std::move(hint), now().line};
  }
  std::string found() const {
    if (is(TokenKind::kEnd)) return "the end of the template";
    if (is_op("}}") || is_op("%}")) return now().text;
    return cat(is(TokenKind::kString) ? "the string " : "", quote(now().text));
  }
  void need(bool stands, std::string_view what, std::string_view allowed = "") const {
    if (!stands) fail(cat(what, " should stand before ", found()), std::string(allowed));
  }
  void need_op(std::string_view op) { need(skip_op(op), quote(op)); }
  void need_block_end() { need(skip_op("%}"), "%}"); }
  std::string need_name() {
    need(is(TokenKind::kName), "a name");
    return tokens_[at_++].text;
  }

  Changed<int> deeper() {
    if (depth_ >= kMaxDepth) fail(cat("the template is nested more than ", kMaxDepth, " deep"));
    return {depth_, depth_ + 1};
  }

  /// An expression whose first part, where it has one, stands before it.
  ExpressionPtr make(ExpressionKind kind, std::string name = "",
                     ExpressionPtr first = nullptr) const {
    auto made = std::make_unique<Expression>();
    made->kind = kind;
    made->line = now().line;
    made->name = std::move(name);
    if (first) adopt(*made, std::move(first));
    return made;
  }
  /// Adds a part; how deep the tree is decides how deep its evaluation recurs.
  void adopt(Expression& parent, ExpressionPtr part) const {
    if (part) parent.depth = std::max(parent.depth, part->depth + 1);
    if (parent.depth > kMaxTree) fail(cat("an expression is nested more than ", kMaxTree, " deep"));
    parent.parts.push_back(std::move(part));
  }
  std::unique_ptr<Statement> statement(StatementKind kind) const {
    auto made = std::make_unique<Statement>();
    made->kind = kind;
    made->line = now().line;
    return made;
  }

  // ---- statements ----
  /// Statements up to one of the tags `ends`, which stays; up to the template's end without any.
  /// `opened` is the line of the tag that they belong to.
  Block parse_block(const std::vector<std::string_view>& ends, int opened) {
    const Changed<int> inside = deeper();
    Block block;
    for (;;) {
      if (is(TokenKind::kEnd)) {
        if (ends.empty()) return block;
        throw Fault{cat("a block is never closed: {% ", ends.back(), " %} is missing"), "", "",
                    opened};
      }
      if (is(TokenKind::kData)) {
        block.push_back(statement(StatementKind::kText));
        block.back()->text = tokens_[at_++].text;
      } else if (skip_op("{{")) {
        block.push_back(statement(StatementKind::kPrint));
        block.back()->value = parse_tuple();
        need(skip_op("}}"), "}}");
      } else {
        ++at_;  // {%
        if (is(TokenKind::kName) && std::find(ends.begin(), ends.end(), now().text) != ends.end())
          return block;
        block.push_back(parse_statement());
      }
    }
  }

  /// The body of a block and its closing tag.
  Block parse_body(std::string_view end, int opened) {
    need_block_end();
    Block body = parse_block({end}, opened);
    ++at_;
    return body;
  }

  /// A statement without its {%.
  std::unique_ptr<Statement> parse_statement() {
    struct Tag {
      std::string_view name;
      StatementKind kind;
      void (Parser::*parse)(Statement&);  // from behind the name to the body or the last %}
      std::string_view end = "";          // of the body that stands last
    };
    static constexpr Tag kTags[] = {
        {"if", StatementKind::kIf, &Parser::parse_if},
        {"for", StatementKind::kFor, &Parser::parse_for},
        {"set", StatementKind::kSet, &Parser::parse_set},
        {"macro", StatementKind::kMacro, &Parser::parse_macro, "endmacro"},
        {"call", StatementKind::kCall, &Parser::parse_call_block, "endcall"},
        {"filter", StatementKind::kFilter, &Parser::parse_filter_block, "endfilter"},
        {"with", StatementKind::kWith, &Parser::parse_with, "endwith"},
        {"generation", StatementKind::kGeneration, nullptr, "endgeneration"},
        {"break", StatementKind::kBreak, nullptr},
        {"continue", StatementKind::kContinue, nullptr},
    };
    need(is(TokenKind::kName), "a tag", kTagNames);
    const std::string& tag = now().text;
    for (const auto& [name, kind, parse, end] : kTags) {
      if (tag != name) continue;
      const bool leaves_loop = kind == StatementKind::kBreak || kind == StatementKind::kContinue;
      if (leaves_loop && loops_ == 0) fail(cat("{% ", tag, " %} stands outside of a loop"));
      auto made = statement(kind);
      ++at_;
      if (parse != nullptr) (this->*parse)(*made);
      const bool is_macro = kind == StatementKind::kMacro || kind == StatementKind::kCall;
      const Changed<int> loops(loops_, is_macro ? 0 : loops_);
      if (!end.empty()) made->body = parse_body(end, made->line);
      need_block_end();
      return made;
    }
    if (tag.starts_with("end") || tag == "else" || tag == "elif")
      fail(cat("{% ", tag, " %} closes nothing that is open here"));
    fail(cat("{% ", tag, " %} is not supported"), std::string(kTagNames));
  }

  /// Up to the closing tag, by way of {% else %} where it comes first.
  void parse_else(Statement& made, std::string_view end) {
    if (skip_name("else")) {
      made.other = parse_body(end, made.line);
    } else {
      ++at_;
    }
  }

  void parse_if(Statement& made) {
    made.value = parse_tuple(false);
    need_block_end();
    made.body = parse_block({"elif", "else", "endif"}, made.line);
    if (!is_name("elif")) return parse_else(made, "endif");
    const Changed<int> inside = deeper();
    made.other.push_back(statement(StatementKind::kIf));
    ++at_;
    parse_if(*made.other.back());
  }

  void parse_for(Statement& made) {
    made.target = parse_target(false);
    need(skip_name("in"), "\"in\"");
    made.value = parse_tuple(false);
    if (skip_name("if")) made.condition = parse_expression();
    if (is_name("recursive"))
      fail("a recursive loop is not supported", "", "write a macro that calls itself");
    need_block_end();
    ++loops_;
    made.body = parse_block({"else", "endfor"}, made.line);
    --loops_;
    parse_else(made, "endfor");
  }

  /// Names, or tuples of them; with `spaces` also an attribute of a namespace.
  ExpressionPtr parse_target(bool spaces) {
    const Changed<int> inside = deeper();
    const auto one = [&] {
      if (skip_op("(")) {
        ExpressionPtr inner = parse_target(spaces);
        need_op(")");
        return inner;
      }
      ExpressionPtr name = make(ExpressionKind::kName, now().text);
      need_name();
      if (constant_named(name->name)) fail(cat(quote(name->name), " can't be set"));
      if (!spaces || !skip_op(".")) return name;
      name = make(ExpressionKind::kAttribute, now().text, std::move(name));
      need_name();
      return name;
    };
    return tuple_of(one, [&] { return is_name("in") || is_op("="); });
  }

  void parse_set(Statement& made) {
    made.target = parse_target(true);
    if (skip_op("=")) {
      made.value = parse_tuple();
    } else {
      made.kind = StatementKind::kSetBlock;
      if (is_op("|")) made.value = parse_filters(nullptr);
      made.body = parse_body("endset", made.line);
    }
  }

  void parse_parameters(Statement& made) {
    auto& parameters = made.parameters;
    need_op("(");
    each_part(")", [&] {
      parameters.emplace_back(need_name(), nullptr);
      if (skip_op("=")) {
        parameters.back().second = parse_expression();
      } else if (parameters.size() > 1 && parameters[parameters.size() - 2].second) {
        fail("a parameter without a default follows one that has it");
      }
    });
  }

  void parse_macro(Statement& made) {
    made.text = need_name();
    parse_parameters(made);
  }

  void parse_call_block(Statement& made) {
    if (is_op("(")) parse_parameters(made);
    made.text = "caller";
    made.value = parse_expression();
    if (made.value->kind != ExpressionKind::kCall) fail("{% call %} must call a macro");
  }

  void parse_filter_block(Statement& made) { made.value = parse_filters(parse_filter(nullptr)); }

  void parse_with(Statement& made) {
    while (!is_op("%}")) {
      if (!made.parameters.empty()) need_op(",");
      made.parameters.emplace_back(need_name(), nullptr);
      need_op("=");
      made.parameters.back().second = parse_expression();
    }
  }

  // ---- expressions, loosest first ----
  /// What `one` reads, a tuple of it where commas follow; at_end says where a last comma may stand.
  template <class One, class AtEnd>
  ExpressionPtr tuple_of(One&& one, AtEnd&& at_end) {
    ExpressionPtr first = one();
    if (!is_op(",")) return first;
    ExpressionPtr tuple = make(ExpressionKind::kTuple, "", std::move(first));
    while (skip_op(",") && !at_end()) adopt(*tuple, one());
    return tuple;
  }

  /// Calls one() for each part up to `close`, commas between them.
  template <class One>
  void each_part(std::string_view close, One&& one) {
    for (bool first = true; !skip_op(close); first = false) {
      if (!first) need_op(",");
      if (skip_op(close)) break;
      one();
    }
  }

  ExpressionPtr parse_tuple(bool conditions = true) {
    const auto at_end = [&] {
      return is_op("}}") || is_op("%}") || is_op(")") || is_name("recursive");
    };
    need(!at_end(), "an expression");
    return tuple_of([&] { return conditions ? parse_expression() : parse_binary(0); }, at_end);
  }

  ExpressionPtr parse_expression() {
    const Changed<int> inside = deeper();
    ExpressionPtr value = parse_binary(0);
    while (skip_name("if")) {
      ExpressionPtr made = make(ExpressionKind::kCondition, "", std::move(value));
      adopt(*made, parse_binary(0));
      adopt(*made, skip_name("else") ? parse_expression() : nullptr);
      value = std::move(made);
    }
    return value;
  }

  /// Operators that bind alike, joined from the left; "not" and comparisons are between the words
  /// and the signs.
  ExpressionPtr parse_binary(size_t level) {
    static constexpr std::string_view kLevels[][4] = {
        {"or"}, {"and"}, {"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}};
    const auto next = [&] {
      if (level == 1) return parse_not();
      return level + 1 < std::size(kLevels) ? parse_binary(level + 1) : parse_unary(true);
    };
    const auto is_operator = [&] {
      return std::any_of(std::begin(kLevels[level]), std::end(kLevels[level]),
                         [&](std::string_view op) { return is_op(op) || is_name(op); });
    };
    ExpressionPtr left = next();
    while (is_operator()) {
      ExpressionPtr made = make(ExpressionKind::kBinary, now().text, std::move(left));
      ++at_;
      adopt(*made, next());
      left = std::move(made);
    }
    return left;
  }

  ExpressionPtr parse_not() {
    if (!is_name("not")) return parse_compare();
    const Changed<int> inside = deeper();
    ExpressionPtr made = make(ExpressionKind::kUnary, "not");
    ++at_;
    adopt(*made, parse_not());
    return made;
  }

  std::string comparison() const {
    if (is_name("not") && ahead().kind == TokenKind::kName && ahead().text == "in") return "not in";
    for (const char* op : {"==", "!=", "<=", ">=", "<", ">", "in"})
      if (is_op(op) || is_name(op)) return op;
    return "";
  }

  ExpressionPtr parse_compare() {
    ExpressionPtr first = parse_binary(2), made;
    for (std::string op; !(op = comparison()).empty();) {
      if (!made) made = make(ExpressionKind::kCompare, "", std::move(first));
      at_ += op == "not in" ? 2 : 1;
      made->names.push_back(op);
      adopt(*made, parse_binary(2));
    }
    return made ? std::move(made) : std::move(first);
  }

  ExpressionPtr parse_unary(bool filters) {
    const Changed<int> inside = deeper();
    ExpressionPtr value;
    if (is_op("-") || is_op("+")) {
      value = make(ExpressionKind::kUnary, now().text);
      ++at_;
      adopt(*value, parse_unary(false));
    } else {
      value = parse_primary();
    }
    value = parse_postfix(std::move(value));
    return filters ? parse_filters(std::move(value)) : std::move(value);
  }

  /// The number at hand, which it passes.
  ExpressionPtr parse_number() {
    ExpressionPtr made = make(ExpressionKind::kConstant);
    const std::string& text = now().text;
    int64_t whole = 0;
    double real = 0;
    if (is(TokenKind::kFloat)) {
      std::from_chars(text.data(), text.data() + text.size(), real);
    } else if (std::from_chars(text.data(), text.data() + text.size(), whole).ec != std::errc()) {
      fail(cat("the number ", text, " is too large"));
    }
    made->constant = is(TokenKind::kFloat) ? Value::real(real) : Value::integer(whole);
    ++at_;
    return made;
  }

  ExpressionPtr parse_primary() {
    ExpressionPtr made;
    if (is(TokenKind::kName)) {
      const std::optional<Value> constant = constant_named(now().text);
      made = make(constant ? ExpressionKind::kConstant : ExpressionKind::kName, now().text);
      if (constant) made->constant = *constant;
      ++at_;
    } else if (is(TokenKind::kString)) {
      std::string text;
      while (is(TokenKind::kString)) text += tokens_[at_++].text;
      made = make(ExpressionKind::kConstant);
      made->constant = Value::string(std::move(text));
    } else if (is(TokenKind::kInt) || is(TokenKind::kFloat)) {
      made = parse_number();
    } else if (skip_op("(")) {
      made = is_op(")") ? make(ExpressionKind::kTuple) : parse_tuple();
      need_op(")");
    } else {
      need(is_op("[") || is_op("{"), "an expression");
      const bool is_dict = is_op("{");
      made = make(is_dict ? ExpressionKind::kDict : ExpressionKind::kList);
      ++at_;
      each_part(is_dict ? "}" : "]", [&] {
        adopt(*made, parse_expression());
        if (!is_dict) return;
        need_op(":");
        adopt(*made, parse_expression());
      });
    }
    return made;
  }

  ExpressionPtr parse_postfix(ExpressionPtr value) {
    for (;;) {
      if (skip_op(".")) {
        const bool is_item = is(TokenKind::kInt);
        const auto kind = is_item ? ExpressionKind::kItem : ExpressionKind::kAttribute;
        value = make(kind, is_item ? "" : now().text, std::move(value));
        is_item ? adopt(*value, parse_number()) : void(need_name());
      } else if (is_op("[")) {
        value = parse_subscript(std::move(value));
      } else if (is_op("(")) {
        value = parse_call(std::move(value));
      } else {
        return value;
      }
    }
  }

  ExpressionPtr parse_subscript(ExpressionPtr value) {
    ExpressionPtr made = make(ExpressionKind::kItem, "", std::move(value)), part;
    ++at_;
    if (!is_op(":")) part = parse_expression();
    if (part && !is_op(":")) {
      if (is_op(",")) fail("a subscript of several values is not supported");
      adopt(*made, std::move(part));
      need_op("]");
      return made;
    }
    made->kind = ExpressionKind::kSlice;
    adopt(*made, std::move(part));
    for (int i = 0; i < 2; ++i) {
      const bool given = skip_op(":") && !is_op(":") && !is_op("]");
      adopt(*made, given ? parse_expression() : nullptr);
    }
    need_op("]");
    return made;
  }

  ExpressionPtr parse_call(ExpressionPtr callee) {
    ExpressionPtr made = make(ExpressionKind::kCall, "", std::move(callee));
    parse_arguments(*made);
    return made;
  }

  void parse_arguments(Expression& out) {
    need_op("(");
    each_part(")", [&] {
      if (is_op("*")) fail("arguments by * are not supported");
      const bool all = skip_op("**");  // of a dict
      if (all ||
          (is(TokenKind::kName) && ahead().kind == TokenKind::kOperator && ahead().text == "=")) {
        std::string name = all ? "**" : need_name();
        if (!all) ++at_;
        ExpressionPtr value = parse_expression();
        out.depth = std::max(out.depth, value->depth + 1);
        out.named.emplace_back(std::move(name), std::move(value));
      } else {
        if (!out.named.empty()) fail("an argument without a name follows one that has it");
        adopt(out, parse_expression());
      }
    });
  }

  /// Filters, tests and calls behind a value; without one (in a block) filters alone.
  ExpressionPtr parse_filters(ExpressionPtr value) {
    const bool block =
        value == nullptr || (value->kind == ExpressionKind::kFilter && !value->parts[0]);
    for (;;) {
      if (skip_op("|")) {
        value = parse_filter(std::move(value));
      } else if (!block && is_name("is")) {
        value = parse_test(std::move(value));
      } else if (!block && is_op("(")) {
        value = parse_call(std::move(value));
      } else {
        return value;
      }
    }
  }

  /// A name, which must be one of the names of filters or tests.
  std::string known_name(std::string_view what, const std::vector<std::string>& names) {
    need(is(TokenKind::kName), "a name");
    const std::string& name = now().text;
    if (std::find(names.begin(), names.end(), name) != names.end()) return need_name();
    const std::string near = nearest(name, names);
    fail(cat("there is no ", what, " ", quote(name)), join(names, ", "),
         near.empty() ? "" : cat("did you mean ", quote(near)));
  }

  ExpressionPtr parse_filter(ExpressionPtr value) {
    ExpressionPtr made = make(ExpressionKind::kFilter);
    made->name = known_name("filter", filter_names());
    adopt(*made, std::move(value));
    if (is_op("(")) parse_arguments(*made);
    return made;
  }

  ExpressionPtr parse_test(ExpressionPtr value) {
    ++at_;
    const bool negated = skip_name("not");
    ExpressionPtr made = make(ExpressionKind::kTest, "", std::move(value));
    made->name = known_name("test", test_names());
    const bool is_word = is(TokenKind::kName);
    const bool stops = is_name("else") || is_name("or") || is_name("and") || is_name("is") ||
                       is_name("if") || is_name("in") || is_name("not");
    if (is_op("(")) {
      parse_arguments(*made);
    } else if ((is_word && !stops) || is(TokenKind::kString) || is(TokenKind::kInt) ||
               is(TokenKind::kFloat) || is_op("[") || is_op("{")) {
      adopt(*made, parse_postfix(parse_primary()));
    } else if (is_name("is")) {
      fail("tests can't be chained by \"is\"");
    }
    if (!negated) return made;
    return make(ExpressionKind::kUnary, "not", std::move(made));
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0, loops_ = 0;
};

}  // namespace

Block parse(std::string_view source) { return Parser(source).run(); }

}  // namespace levanter::text::jinja
