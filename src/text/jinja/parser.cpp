// The parser of templates: statements and expressions with Jinja's own precedence.
#include <algorithm>
#include <charconv>
#include <utility>

#include "base/strings.h"
#include "text/jinja/lexer.h"
#include "text/jinja/syntax.h"

namespace levanter::text::jinja {
namespace {

constexpr int kMaxDepth = 150;
constexpr std::string_view kTags =
    "if, for, set, macro, call, filter, with, generation, break, continue, raw";

class Parser final {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)) {}

  Block run() { return parse_block({}, 1); }

 private:
  // ---- tokens ----
  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  bool is_op(std::string_view op) const {
    return now().kind == TokenKind::kOperator && now().text == op;
  }
  bool is_name(std::string_view name) const {
    return now().kind == TokenKind::kName && now().text == name;
  }
  bool skip_op(std::string_view op) { return is_op(op) && (++at_, true); }
  bool skip_name(std::string_view name) { return is_name(name) && (++at_, true); }

  [[noreturn]] void fail(std::string message, std::string allowed = "",
                         std::string hint = "") const {
    throw Fault{std::move(message), std::move(allowed), std::move(hint), now().line};
  }
  std::string found() const {
    switch (now().kind) {
      case TokenKind::kEnd:
        return "the end of the template";
      case TokenKind::kPrintEnd:
        return "}}";
      case TokenKind::kBlockEnd:
        return "%}";
      case TokenKind::kString:
        return cat("the string ", quote(now().text));
      default:
        return quote(now().text);
    }
  }
  void need_op(std::string_view op) {
    if (!skip_op(op)) fail(cat(quote(op), " should stand before ", found()));
  }
  void need_word(std::string_view word) {
    if (!skip_name(word)) fail(cat(quote(word), " should stand before ", found()));
  }
  std::string need_name() {
    if (now().kind != TokenKind::kName) fail(cat("a name should stand before ", found()));
    return tokens_[at_++].text;
  }
  void need_block_end() {
    if (now().kind != TokenKind::kBlockEnd) fail(cat("%} should stand before ", found()));
    ++at_;
  }

  struct Deeper {
    explicit Deeper(Parser& parser) : parser(parser) {
      if (++parser.depth_ > kMaxDepth)
        parser.fail(cat("the template is nested more than ", kMaxDepth, " deep"));
    }
    ~Deeper() { --parser.depth_; }
    Parser& parser;
  };

  ExpressionPtr make(ExpressionKind kind, std::string name = "") const {
    return std::make_unique<Expression>(
        Expression{kind, now().line, std::move(name), {}, {}, {}, {}, 1});
  }
  /// Adds a part; how deep the tree is decides how deep its evaluation recurs.
  void adopt(Expression& parent, ExpressionPtr part) const {
    if (part) parent.depth = std::max(parent.depth, part->depth + 1);
    if (parent.depth > kMaxTree) fail(cat("an expression is nested more than ", kMaxTree, " deep"));
    parent.parts.push_back(std::move(part));
  }
  ExpressionPtr constant(Value value) const {
    ExpressionPtr made = make(ExpressionKind::kConstant);
    made->constant = std::move(value);
    return made;
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
    const Deeper deeper(*this);
    Block block;
    for (;;) {
      switch (now().kind) {
        case TokenKind::kEnd:
          if (ends.empty()) return block;
          throw Fault{cat("a block is never closed: {% ", ends.back(), " %} is missing"), "", "",
                      opened};
        case TokenKind::kData:
          block.push_back(statement(StatementKind::kText));
          block.back()->text = tokens_[at_++].text;
          break;
        case TokenKind::kPrintBegin:
          ++at_;
          block.push_back(statement(StatementKind::kPrint));
          block.back()->value = parse_tuple();
          if (now().kind != TokenKind::kPrintEnd) fail(cat("}} should stand before ", found()));
          ++at_;
          break;
        default:
          ++at_;  // {%
          if (now().kind == TokenKind::kName &&
              std::find(ends.begin(), ends.end(), now().text) != ends.end())
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

  std::unique_ptr<Statement> parse_statement() {
    if (now().kind != TokenKind::kName)
      fail(cat("a tag should stand before ", found()), std::string(kTags));
    const std::string tag = now().text;
    if (tag == "if") return parse_if();
    if (tag == "for") return parse_for();
    if (tag == "set") return parse_set();
    if (tag == "macro" || tag == "call") return parse_macro(tag == "call");
    if (tag == "filter") return parse_filter_block();
    if (tag == "with") return parse_with();
    if (tag == "generation") {
      auto made = statement(StatementKind::kGeneration);
      ++at_;
      made->body = parse_body("endgeneration", made->line);
      need_block_end();
      return made;
    }
    if (tag == "break" || tag == "continue") {
      if (loops_ == 0) fail(cat("{% ", tag, " %} stands outside of a loop"));
      auto made = statement(tag == "break" ? StatementKind::kBreak : StatementKind::kContinue);
      ++at_;
      need_block_end();
      return made;
    }
    if (tag.starts_with("end") || tag == "else" || tag == "elif")
      fail(cat("{% ", tag, " %} closes nothing that is open here"));
    fail(cat("{% ", tag, " %} is not supported"), std::string(kTags));
  }

  std::unique_ptr<Statement> parse_if() {
    auto made = statement(StatementKind::kIf);
    ++at_;
    made->value = parse_tuple(false);
    need_block_end();
    made->body = parse_block({"elif", "else", "endif"}, made->line);
    if (is_name("elif")) {
      const Deeper deeper(*this);
      made->other.push_back(parse_if());
      return made;
    }
    if (skip_name("else")) {
      made->other = parse_body("endif", made->line);
    } else {
      ++at_;
    }
    need_block_end();
    return made;
  }

  std::unique_ptr<Statement> parse_for() {
    auto made = statement(StatementKind::kFor);
    ++at_;
    made->target = parse_target(false);
    need_word("in");
    made->value = parse_tuple(false);
    if (skip_name("if")) made->condition = parse_expression();
    if (is_name("recursive"))
      fail("a recursive loop is not supported", "", "write a macro that calls itself");
    need_block_end();
    ++loops_;
    made->body = parse_block({"else", "endfor"}, made->line);
    --loops_;
    if (skip_name("else")) {
      made->other = parse_body("endfor", made->line);
    } else {
      ++at_;
    }
    need_block_end();
    return made;
  }

  /// Names, or tuples of them; with `spaces` also an attribute of a namespace.
  ExpressionPtr parse_target(bool spaces) {
    const Deeper deeper(*this);
    ExpressionPtr first;
    const auto one = [&]() -> ExpressionPtr {
      if (skip_op("(")) {
        ExpressionPtr inner = parse_target(spaces);
        need_op(")");
        return inner;
      }
      ExpressionPtr name = make(ExpressionKind::kName);
      name->name = need_name();
      for (const std::string_view fixed : {"true", "false", "none", "True", "False", "None"})
        if (name->name == fixed) fail(cat(quote(fixed), " can't be set"));
      if (!spaces || !skip_op(".")) return name;
      ExpressionPtr attribute = make(ExpressionKind::kAttribute);
      attribute->name = need_name();
      adopt(*attribute, std::move(name));
      return attribute;
    };
    first = one();
    if (!is_op(",")) return first;
    ExpressionPtr tuple = make(ExpressionKind::kTuple);
    adopt(*tuple, std::move(first));
    while (skip_op(",") && !is_name("in") && !is_op("=")) adopt(*tuple, one());
    return tuple;
  }

  std::unique_ptr<Statement> parse_set() {
    auto made = statement(StatementKind::kSet);
    ++at_;
    made->target = parse_target(true);
    if (skip_op("=")) {
      made->value = parse_tuple();
    } else {
      made->kind = StatementKind::kSetBlock;
      if (is_op("|")) made->value = parse_filters(nullptr);
      made->body = parse_body("endset", made->line);
    }
    need_block_end();
    return made;
  }

  std::vector<std::pair<std::string, ExpressionPtr>> parse_parameters() {
    std::vector<std::pair<std::string, ExpressionPtr>> parameters;
    need_op("(");
    while (!skip_op(")")) {
      if (!parameters.empty()) need_op(",");
      if (skip_op(")")) break;
      parameters.emplace_back(need_name(), nullptr);
      if (skip_op("=")) {
        parameters.back().second = parse_expression();
      } else if (parameters.size() > 1 && parameters[parameters.size() - 2].second) {
        fail("a parameter without a default follows one that has it");
      }
    }
    return parameters;
  }

  std::unique_ptr<Statement> parse_macro(bool is_call) {
    auto made = statement(is_call ? StatementKind::kCall : StatementKind::kMacro);
    ++at_;
    if (is_call) {
      if (is_op("(")) made->parameters = parse_parameters();
      made->text = "caller";
      made->value = parse_expression();
      if (made->value->kind != ExpressionKind::kCall) fail("{% call %} must call a macro");
    } else {
      made->text = need_name();
      made->parameters = parse_parameters();
    }
    const int loops = std::exchange(loops_, 0);
    made->body = parse_body(is_call ? "endcall" : "endmacro", made->line);
    loops_ = loops;
    need_block_end();
    return made;
  }

  std::unique_ptr<Statement> parse_filter_block() {
    auto made = statement(StatementKind::kFilter);
    ++at_;
    ExpressionPtr first = parse_filter(nullptr);
    made->value = parse_filters(std::move(first));
    made->body = parse_body("endfilter", made->line);
    need_block_end();
    return made;
  }

  std::unique_ptr<Statement> parse_with() {
    auto made = statement(StatementKind::kWith);
    ++at_;
    while (now().kind != TokenKind::kBlockEnd) {
      if (!made->parameters.empty()) need_op(",");
      std::string name = need_name();
      need_op("=");
      made->parameters.emplace_back(std::move(name), parse_expression());
    }
    made->body = parse_body("endwith", made->line);
    need_block_end();
    return made;
  }

  // ---- expressions, loosest first ----
  bool at_tuple_end() const {
    return now().kind == TokenKind::kPrintEnd || now().kind == TokenKind::kBlockEnd || is_op(")") ||
           is_name("recursive");
  }

  ExpressionPtr parse_tuple(bool conditions = true) {
    const auto one = [&] { return conditions ? parse_expression() : parse_or(); };
    if (at_tuple_end()) fail(cat("an expression should stand before ", found()));
    ExpressionPtr first = one();
    if (!is_op(",")) return first;
    ExpressionPtr tuple = make(ExpressionKind::kTuple);
    adopt(*tuple, std::move(first));
    while (skip_op(",") && !at_tuple_end()) adopt(*tuple, one());
    return tuple;
  }

  ExpressionPtr parse_expression() {
    const Deeper deeper(*this);
    ExpressionPtr value = parse_or();
    while (skip_name("if")) {
      ExpressionPtr made = make(ExpressionKind::kCondition);
      adopt(*made, std::move(value));
      adopt(*made, parse_or());
      adopt(*made, skip_name("else") ? parse_expression() : nullptr);
      value = std::move(made);
    }
    return value;
  }

  /// Operands that `next` reads, joined from the left by the operators at hand.
  template <class Next, class IsOperator>
  ExpressionPtr chain(Next&& next, IsOperator&& is_operator) {
    ExpressionPtr left = next();
    while (is_operator()) {
      ExpressionPtr made = make(ExpressionKind::kBinary, now().text);
      ++at_;
      adopt(*made, std::move(left));
      adopt(*made, next());
      left = std::move(made);
    }
    return left;
  }

  ExpressionPtr parse_or() {
    return chain([&] { return parse_and(); }, [&] { return is_name("or"); });
  }
  ExpressionPtr parse_and() {
    return chain([&] { return parse_not(); }, [&] { return is_name("and"); });
  }
  ExpressionPtr parse_not() {
    if (!is_name("not")) return parse_compare();
    const Deeper deeper(*this);
    ExpressionPtr made = make(ExpressionKind::kUnary, "not");
    ++at_;
    adopt(*made, parse_not());
    return made;
  }

  ExpressionPtr parse_compare() {
    ExpressionPtr first = parse_sum();
    ExpressionPtr made;
    for (;;) {
      std::string op;
      for (const std::string_view known : {"==", "!=", "<=", ">=", "<", ">"})
        if (is_op(known)) op = known;
      if (is_name("in")) op = "in";
      if (is_name("not") && ahead().kind == TokenKind::kName && ahead().text == "in") op = "not in";
      if (op.empty()) return made ? std::move(made) : std::move(first);
      if (!made) {
        made = make(ExpressionKind::kCompare);
        adopt(*made, std::move(first));
      }
      at_ += op == "not in" ? 2 : 1;
      made->names.push_back(op);
      adopt(*made, parse_sum());
    }
  }

  ExpressionPtr parse_sum() {
    return chain([&] { return parse_concat(); }, [&] { return is_op("+") || is_op("-"); });
  }
  ExpressionPtr parse_concat() {
    return chain([&] { return parse_product(); }, [&] { return is_op("~"); });
  }
  ExpressionPtr parse_product() {
    return chain([&] { return parse_power(); },
                 [&] { return is_op("*") || is_op("/") || is_op("//") || is_op("%"); });
  }
  ExpressionPtr parse_power() {
    return chain([&] { return parse_unary(true); }, [&] { return is_op("**"); });
  }

  ExpressionPtr parse_unary(bool filters) {
    const Deeper deeper(*this);
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

  Value whole_number() const {
    int64_t value = 0;
    const std::string& text = now().text;
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc())
      fail(cat("the number ", text, " is too large"));
    return Value::integer(value);
  }

  ExpressionPtr parse_primary() {
    const Token& token = now();
    ExpressionPtr made;
    switch (token.kind) {
      case TokenKind::kName:
        if (token.text == "true" || token.text == "True" || token.text == "false" ||
            token.text == "False")
          made = constant(Value::boolean(token.text == "true" || token.text == "True"));
        else if (token.text == "none" || token.text == "None")
          made = constant(Value::none());
        else
          made = make(ExpressionKind::kName, token.text);
        ++at_;
        return made;
      case TokenKind::kString: {
        std::string text;
        while (now().kind == TokenKind::kString) text += tokens_[at_++].text;
        return constant(Value::string(std::move(text)));
      }
      case TokenKind::kInt:
        made = constant(whole_number());
        ++at_;
        return made;
      case TokenKind::kFloat: {
        double value = 0;
        std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
        made = constant(Value::real(value));
        ++at_;
        return made;
      }
      default:
        break;
    }
    if (skip_op("(")) {
      made = is_op(")") ? make(ExpressionKind::kTuple) : parse_tuple();
      need_op(")");
      return made;
    }
    if (is_op("[")) return parse_items(ExpressionKind::kList, "]");
    if (is_op("{")) return parse_items(ExpressionKind::kDict, "}");
    fail(cat("an expression should stand before ", found()));
  }

  ExpressionPtr parse_items(ExpressionKind kind, std::string_view close) {
    ExpressionPtr made = make(kind);
    ++at_;
    while (!skip_op(close)) {
      if (!made->parts.empty()) need_op(",");
      if (skip_op(close)) break;
      adopt(*made, parse_expression());
      if (kind != ExpressionKind::kDict) continue;
      need_op(":");
      adopt(*made, parse_expression());
    }
    return made;
  }

  ExpressionPtr parse_postfix(ExpressionPtr value) {
    for (;;) {
      if (skip_op(".")) {
        ExpressionPtr made;
        if (now().kind == TokenKind::kInt) {
          made = make(ExpressionKind::kItem);
          adopt(*made, std::move(value));
          adopt(*made, constant(whole_number()));
          ++at_;
        } else {
          made = make(ExpressionKind::kAttribute);
          made->name = need_name();
          adopt(*made, std::move(value));
        }
        value = std::move(made);
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
    ExpressionPtr made = make(ExpressionKind::kItem);
    ++at_;
    adopt(*made, std::move(value));
    ExpressionPtr part;
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
    ExpressionPtr made = make(ExpressionKind::kCall);
    adopt(*made, std::move(callee));
    parse_arguments(*made);
    return made;
  }

  void parse_arguments(Expression& out) {
    need_op("(");
    for (bool first = true; !skip_op(")"); first = false) {
      if (!first) need_op(",");
      if (skip_op(")")) break;
      if (is_op("*") || is_op("**")) fail("arguments by * or ** are not supported");
      if (now().kind == TokenKind::kName && ahead().kind == TokenKind::kOperator &&
          ahead().text == "=") {
        std::string name = need_name();
        ++at_;
        ExpressionPtr value = parse_expression();
        out.depth = std::max(out.depth, value->depth + 1);
        out.named.emplace_back(std::move(name), std::move(value));
      } else {
        if (!out.named.empty()) fail("an argument without a name follows one that has it");
        adopt(out, parse_expression());
      }
    }
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

  std::string known_name(std::string_view what, bool (*has)(std::string_view),
                         std::vector<std::string> (*names)()) {
    std::string name = need_name();
    if (has(name)) return name;
    --at_;
    const std::string near = nearest(name, names());
    fail(cat("there is no ", what, " ", quote(name)), join(names(), ", "),
         near.empty() ? "" : cat("did you mean ", quote(near)));
  }

  ExpressionPtr parse_filter(ExpressionPtr value) {
    ExpressionPtr made = make(ExpressionKind::kFilter);
    made->name = known_name("filter", has_filter, filter_names);
    adopt(*made, std::move(value));
    if (is_op("(")) parse_arguments(*made);
    return made;
  }

  ExpressionPtr parse_test(ExpressionPtr value) {
    ++at_;
    const bool negated = skip_name("not");
    ExpressionPtr made = make(ExpressionKind::kTest);
    made->name = known_name("test", has_test, test_names);
    adopt(*made, std::move(value));
    const TokenKind kind = now().kind;
    const bool word = kind == TokenKind::kName && !is_name("else") && !is_name("or") &&
                      !is_name("and") && !is_name("is") && !is_name("if") && !is_name("in") &&
                      !is_name("not");
    if (is_op("(")) {
      parse_arguments(*made);
    } else if (word || kind == TokenKind::kString || kind == TokenKind::kInt ||
               kind == TokenKind::kFloat || is_op("[") || is_op("{")) {
      adopt(*made, parse_postfix(parse_primary()));
    } else if (is_name("is")) {
      fail("tests can't be chained by \"is\"");
    }
    if (!negated) return made;
    ExpressionPtr wrapped = make(ExpressionKind::kUnary, "not");
    adopt(*wrapped, std::move(made));
    return wrapped;
  }

  static constexpr int kMaxTree = 500;

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0, loops_ = 0;
};

}  // namespace

Block parse(std::string_view source) { return Parser(source).run(); }

}  // namespace levanter::text::jinja
