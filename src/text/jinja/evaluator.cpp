// Running a template's tree: scopes, loops, macros, and the limits that end a hostile one.
#include "text/jinja/evaluator.h"

#include <algorithm>

#include "base/strings.h"
#include "text/jinja/builtins.h"
#include "text/jinja/strings.h"

namespace levanter::text::jinja {
namespace {

using Kind = Value::Kind;

constexpr int kMaxEvaluationDepth = 1200;
constexpr size_t kMaxWork = 50'000'000;

}  // namespace

struct Evaluator::Scope {
  ScopePtr parent;
  std::vector<std::pair<std::string, Value>> names;

  Value* find(const std::string& name) {
    for (auto& [known, value] : names)
      if (known == name) return &value;
    return nullptr;
  }
  void set(const std::string& name, Value value) {
    if (Value* found = find(name)) {
      *found = std::move(value);
    } else {
      names.emplace_back(name, std::move(value));
    }
  }
};

/// A scope inside `parent` for as long as this lives.
class Evaluator::Inner final {
 public:
  Inner(Evaluator& evaluator, ScopePtr parent) : evaluator_(evaluator), before_(evaluator.scope_) {
    evaluator_.scope_ = std::make_shared<Scope>();
    evaluator_.scope_->parent = std::move(parent);
  }
  explicit Inner(Evaluator& evaluator) : Inner(evaluator, evaluator.scope_) {}
  ~Inner() { evaluator_.scope_ = std::move(before_); }
  Inner(const Inner&) = delete;
  Inner& operator=(const Inner&) = delete;

 private:
  Evaluator& evaluator_;
  ScopePtr before_;
};

class Evaluator::Deeper final {
 public:
  Deeper(Evaluator& evaluator, int line) : evaluator_(evaluator) {
    if (evaluator.depth_ >= kMaxEvaluationDepth)
      throw Fault{"macros or expressions call each other too deeply", "",
                  "does a macro call itself without an end?", line};
    ++evaluator.depth_;
  }
  ~Deeper() { --evaluator_.depth_; }

 private:
  Evaluator& evaluator_;
};

Evaluator::Evaluator(const Dict& variables, std::optional<int64_t> now_seconds)
    : variables_(variables), now_seconds_(now_seconds), scope_(std::make_shared<Scope>()) {
  out_ = &output_.text;
  add_functions();
}

Evaluator::~Evaluator() {
  for (const auto& space : namespaces_) space->entries.clear();  // one may hold itself
}

Output Evaluator::run(const Block& block) {
  execute(block);
  return std::move(output_);
}

void Evaluator::spend(size_t units) {
  spent_ += units;
  if (spent_ > kMaxWork)
    throw Fault{"the template does too much work",
                cat("at most ", format_count(kMaxWork), " steps"),
                "does a loop go over a very long range?"};
}

Value Evaluator::call(const Value& callee, const Arguments& arguments) {
  if (callee.is(Kind::kFunction)) return callee.as_function().call(*this, arguments);
  if (callee.is(Kind::kUndefined)) throw Fault{callee.why_undefined(), "", ""};
  throw Fault{cat("a value of type ", type_name(callee), " can't be called"), "", ""};
}

// ---- expressions ----

Value Evaluator::evaluate(const Expression& expression) {
  const Deeper deeper(*this, expression.line);
  try {
    spend(1);
    return evaluate_kind(expression);
  } catch (Fault& fault) {
    if (fault.line == 0) fault.line = expression.line;
    throw;
  }
}

Value Evaluator::look_up(const std::string& name) {
  for (Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get())
    if (const Value* found = scope->find(name)) return *found;
  if (const Value* found = variables_.find(name)) return *found;
  if (const Value* found = functions_.find(name)) return *found;
  return Value::undefined(cat(quote(name), " is undefined"));
}

Value Evaluator::evaluate_kind(const Expression& expression) {
  const auto part = [&](size_t i) {
    return expression.parts[i] ? evaluate(*expression.parts[i]) : Value::none();
  };
  switch (expression.kind) {
    case ExpressionKind::kConstant:
      return expression.constant;
    case ExpressionKind::kName:
      return look_up(expression.name);
    case ExpressionKind::kList:
    case ExpressionKind::kTuple: {
      List items;
      for (size_t i = 0; i < expression.parts.size(); ++i) items.push_back(part(i));
      return expression.kind == ExpressionKind::kList ? Value::list(std::move(items))
                                                      : Value::tuple(std::move(items));
    }
    case ExpressionKind::kDict: {
      Dict dict;
      for (size_t i = 0; i < expression.parts.size(); i += 2) dict.set(part(i), part(i + 1));
      return Value::dict(std::move(dict));
    }
    case ExpressionKind::kAttribute:
      return get_attribute(part(0), expression.name);
    case ExpressionKind::kItem:
      return get_item(part(0), part(1));
    case ExpressionKind::kSlice: {
      const Value value = part(0);
      if (value.is_sequence()) spend(value.items().size() / 4);
      if (value.is(Kind::kString)) spend(value.as_string().size() / 16);
      return get_slice(value, part(1), part(2), part(3));
    }
    case ExpressionKind::kCall:
      return evaluate_call(expression);
    case ExpressionKind::kFilter:
      return filter(expression, nullptr);
    case ExpressionKind::kTest: {
      const Value input = part(0);
      return Value::boolean(apply_test(*this, expression.name, input, arguments_of(expression)));
    }
    case ExpressionKind::kUnary: {
      const Value value = part(0);
      if (expression.name == "not") return Value::boolean(!truth(value));
      return expression.name == "-" ? negate(value) : negate(negate(value));
    }
    case ExpressionKind::kBinary:
      return evaluate_binary(expression);
    case ExpressionKind::kCompare:
      return evaluate_compare(expression);
    default:  // kCondition
      if (truth(part(1))) return part(0);
      if (expression.parts[2]) return part(2);
      return Value::undefined("the condition is false and has no else");
  }
}

Value Evaluator::evaluate_binary(const Expression& expression) {
  const Value left = evaluate(*expression.parts[0]);
  if (expression.name == "and") return truth(left) ? evaluate(*expression.parts[1]) : left;
  if (expression.name == "or") return truth(left) ? left : evaluate(*expression.parts[1]);
  return arithmetic(*this, expression.name, left, evaluate(*expression.parts[1]));
}

Value Evaluator::evaluate_compare(const Expression& expression) {
  Value left = evaluate(*expression.parts[0]);
  for (size_t i = 0; i < expression.names.size(); ++i) {
    Value right = evaluate(*expression.parts[i + 1]);
    const std::string& op = expression.names[i];
    const bool holds = op == "=="       ? equal(left, right)
                       : op == "!="     ? !equal(left, right)
                       : op == "in"     ? contains(right, left)
                       : op == "not in" ? !contains(right, left)
                       : op == "<"      ? compare(left, right, op) < 0
                       : op == ">"      ? compare(left, right, op) > 0
                       : op == "<="     ? compare(left, right, op) <= 0
                                        : compare(left, right, op) >= 0;
    if (!holds) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Arguments Evaluator::arguments_of(const Expression& expression) {
  Arguments arguments;
  for (size_t i = 1; i < expression.parts.size(); ++i)
    arguments.positional.push_back(evaluate(*expression.parts[i]));
  for (const auto& [name, value] : expression.named)
    arguments.named.emplace_back(name, evaluate(*value));
  return arguments;
}

Value Evaluator::evaluate_call(const Expression& expression) {
  const Value callee = evaluate(*expression.parts[0]);
  return call(callee, arguments_of(expression));
}

/// The value of a chain of filters; `input` is what its innermost one takes in a block.
Value Evaluator::filter(const Expression& chain, const Value* input) {
  const Deeper deeper(*this, chain.line);
  Value value;
  if (!chain.parts[0]) {
    value = *input;
  } else if (chain.parts[0]->kind == ExpressionKind::kFilter) {
    value = filter(*chain.parts[0], input);
  } else {
    value = evaluate(*chain.parts[0]);
  }
  if (value.is(Kind::kString)) spend(value.as_string().size() / 16);
  if (value.is_sequence()) spend(value.items().size());
  return apply_filter(*this, chain.name, value, arguments_of(chain));
}

// ---- statements ----

void Evaluator::print(std::string_view text) {
  check_text_size(out_->size() + text.size());
  spend(text.size() / 16);
  *out_ += text;
}

Evaluator::Flow Evaluator::execute(const Block& block) {
  for (const auto& statement : block)
    if (const Flow flow = execute(*statement); flow != Flow::kOn) return flow;
  return Flow::kOn;
}

Evaluator::Flow Evaluator::execute(const Statement& statement) {
  const Deeper deeper(*this, statement.line);
  try {
    spend(1);
    return execute_kind(statement);
  } catch (Fault& fault) {
    if (fault.line == 0) fault.line = statement.line;
    throw;
  }
}

Evaluator::Flow Evaluator::execute_kind(const Statement& statement) {
  switch (statement.kind) {
    case StatementKind::kText:
      print(statement.text);
      break;
    case StatementKind::kPrint: {
      const Value value = evaluate(*statement.value);
      value.is(Kind::kString) ? print(value.as_string()) : print(to_text(value));
      break;
    }
    case StatementKind::kIf:
      return execute(truth(evaluate(*statement.value)) ? statement.body : statement.other);
    case StatementKind::kFor:
      return loop(statement);
    case StatementKind::kSet:
      assign(*statement.target, evaluate(*statement.value));
      break;
    case StatementKind::kSetBlock: {
      Value text = Value::string(capture(statement.body));
      assign(*statement.target, statement.value ? filter(*statement.value, &text) : text);
      break;
    }
    case StatementKind::kMacro:
      scope_->set(statement.text, macro(statement));
      break;
    case StatementKind::kCall: {
      const Expression& call_expression = *statement.value;
      const Value callee = evaluate(*call_expression.parts[0]);
      Arguments arguments = arguments_of(call_expression);
      arguments.named.emplace_back("caller", macro(statement));
      print(to_text(call(callee, arguments)));
      break;
    }
    case StatementKind::kFilter: {
      const Value text = Value::string(capture(statement.body));
      print(to_text(filter(*statement.value, &text)));
      break;
    }
    case StatementKind::kWith: {
      std::vector<Value> values;
      for (const auto& parameter : statement.parameters)
        values.push_back(evaluate(*parameter.second));
      const Inner inner(*this);
      for (size_t i = 0; i < values.size(); ++i)
        scope_->set(statement.parameters[i].first, std::move(values[i]));
      return execute(statement.body);
    }
    case StatementKind::kGeneration:
      generation(statement);
      break;
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kOn;
}

void Evaluator::generation(const Statement& statement) {
  if (captures_ > 0)
    throw Fault{"{% generation %} stands inside a macro, a filter or a set block", "",
                "its place in the rendered text would be unknown; move it out", statement.line};
  const size_t begin = output_.text.size();
  const Inner inner(*this);
  if (execute(statement.body) != Flow::kOn)
    throw Fault{"a loop can't be left from inside {% generation %}", "", "", statement.line};
  output_.generation.emplace_back(begin, output_.text.size());
}

Evaluator::Flow Evaluator::loop(const Statement& statement) {
  const Value source = evaluate(*statement.value);
  auto items = std::make_shared<List>(iterate(source));
  spend(items->size());
  if (statement.condition) {
    List kept;
    for (Value& item : *items) {
      const Inner inner(*this);
      assign(*statement.target, item);
      if (truth(evaluate(*statement.condition))) kept.push_back(std::move(item));
    }
    *items = std::move(kept);
  }
  if (items->empty()) {
    const Inner inner(*this);
    return execute(statement.other);
  }
  auto state = std::make_shared<LoopState>();
  state->items = items;
  Flow flow = Flow::kOn;
  for (size_t i = 0; i < items->size() && flow != Flow::kBreak; ++i) {
    state->index = i;
    const Inner inner(*this);
    scope_->set("loop", Value::loop(state));
    assign(*statement.target, (*items)[i]);
    flow = execute(statement.body);
  }
  return Flow::kOn;
}

void Evaluator::assign(const Expression& target, const Value& value) {
  if (target.kind == ExpressionKind::kName) return scope_->set(target.name, value);
  if (target.kind == ExpressionKind::kAttribute) {
    const Value space = look_up(target.parts[0]->name);
    if (!space.is(Kind::kNamespace))
      throw Fault{
          cat("only a namespace's attributes can be set, and ", quote(target.parts[0]->name),
              space.is(Kind::kUndefined) ? " is undefined" : cat(" is a ", type_name(space))),
          "", "{% set ns = namespace(...) %} makes one", target.line};
    return space.as_namespace().set(Value::string(target.name), value);
  }
  const List items = iterate(value);
  if (items.size() != target.parts.size())
    throw Fault{cat(items.size(), " values can't be set to ", target.parts.size(), " names"), "",
                "", target.line};
  for (size_t i = 0; i < items.size(); ++i) assign(*target.parts[i], items[i]);
}

std::string Evaluator::capture(const Block& block) {
  const Inner inner(*this);
  std::string text;
  std::string* before = std::exchange(out_, &text);
  ++captures_;
  Flow flow = Flow::kOn;
  try {
    flow = execute(block);
  } catch (...) {
    out_ = before;
    --captures_;
    throw;
  }
  out_ = before;
  --captures_;
  if (flow != Flow::kOn) throw Fault{"a loop can't be left from inside a captured block", "", ""};
  return text;
}

Value Evaluator::macro(const Statement& statement) {
  // The scope holds the macro, so the macro must not hold the scope.
  return Value::function({statement.text, [&statement, scope = std::weak_ptr<Scope>(scope_)](
                                              Evaluator& self, const Arguments& arguments) {
                            const ScopePtr alive = scope.lock();
                            if (!alive)
                              throw Fault{cat("the macro ", quote(statement.text),
                                              " is called outside of the block that defines it"),
                                          "", ""};
                            return self.call_macro(statement, alive, arguments);
                          }});
}

Value Evaluator::call_macro(const Statement& statement, const ScopePtr& scope,
                            const Arguments& arguments) {
  const Inner inner(*this, scope);
  const auto& parameters = statement.parameters;
  if (arguments.positional.size() > parameters.size())
    throw Fault{cat("the macro ", quote(statement.text), " takes ", parameters.size(),
                    " arguments, not ", arguments.positional.size()),
                "", ""};
  for (const auto& [name, value] : arguments.named) {
    const bool known = std::any_of(
        parameters.begin(), parameters.end(),
        [&known_name = name](const auto& parameter) { return parameter.first == known_name; });
    if (name == "caller") {
      scope_->set(name, value);
    } else if (!known) {
      throw Fault{cat("the macro ", quote(statement.text), " has no argument ", quote(name)), "",
                  ""};
    }
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto& [name, other] = parameters[i];
    const Value* given = arguments.find(i, name);
    if (given != nullptr) {
      scope_->set(name, *given);
    } else {
      scope_->set(name,
                  other ? evaluate(*other)
                        : Value::undefined(cat("the argument ", quote(name), " was not given")));
    }
  }
  return Value::string(capture(statement.body));
}

}  // namespace levanter::text::jinja
