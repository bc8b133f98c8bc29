// Running a template's tree: scopes, loops, macros, and the limits that end a hostile one.
#include "text/jinja/evaluator.h"

#include <algorithm>

#include "text/jinja/builtins.h"

namespace levanter::text::jinja {
namespace {

constexpr int kMaxEvaluationDepth = 1200;
constexpr size_t kSteps = 4'000'000, kStepsOfByte = 16;

}  // namespace

Evaluator::Evaluator(const Dict& variables, std::optional<int64_t> now_seconds, size_t chat_bytes)
    : budget_(kSteps + kStepsOfByte * chat_bytes),
      variables_(variables),
      functions_(global_functions()),
      now_seconds_(now_seconds),
      scope_(std::make_shared<Scope>()),
      out_(&output_.text) {}

Evaluator::~Evaluator() {
  for (const auto& space : namespaces_) space->entries.clear();  // one may hold itself
}

Rendered Evaluator::run(const Block& block) {
  execute(block);
  return std::move(output_);
}

Value Evaluator::call(const Value& callee, const Arguments& arguments) {
  if (callee.is(Kind::kFunction)) return callee.as_function().call(*this, arguments);
  fail("a value of type ", type_name(need_defined(callee)), " can't be called");
}

Value Evaluator::name_space(Dict items) {
  namespaces_.push_back(std::make_shared<Dict>(std::move(items)));
  return Value::name_space(namespaces_.back());
}

Changed<int> Evaluator::deeper(int line) {
  if (depth_ >= kMaxEvaluationDepth)
    throw Fault{"macros or expressions call each other too deeply", "",
                "does a macro call itself without an end?", line};
  return {depth_, depth_ + 1};
}

Changed<Evaluator::ScopePtr> Evaluator::inside(ScopePtr parent) {
  Budget::spend(4);
  return {scope_, std::make_shared<Scope>(Scope{std::move(parent), {}})};
}

void Evaluator::set(const std::string& name, Value value) {
  scope_->names.set(Value::string(name), std::move(value));
}

/// What `run` gives, its faults at that line where they have none.
template <class Run>
auto Evaluator::at_line(int line, Run&& run) {
  const Changed<int> level = deeper(line);
  try {
    Budget::spend(1);
    return run();
  } catch (Fault& fault) {
    if (fault.line == 0) fault.line = line;
    throw;
  }
}

// ---- expressions ----

Value Evaluator::evaluate(const Expression& expression) {
  return at_line(expression.line, [&] { return evaluate_kind(expression); });
}

Value Evaluator::look_up(const std::string& name) {
  for (Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get())
    if (const Value* found = scope->names.find(name)) return *found;
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
      const bool is_list = expression.kind == ExpressionKind::kList;
      return Value::sequence(is_list ? Kind::kList : Kind::kTuple, std::move(items));
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
      return get_slice(value, part(1), part(2), part(3));
    }
    case ExpressionKind::kCall: {
      const Value callee = part(0);
      return call(callee, arguments_of(expression));
    }
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
    case ExpressionKind::kBinary: {
      const Value left = part(0);
      if (expression.name == "and") return truth(left) ? part(1) : left;
      if (expression.name == "or") return truth(left) ? left : part(1);
      return arithmetic(expression.name, left, part(1));
    }
    case ExpressionKind::kCompare:
      return Value::boolean(evaluate_compare(expression));
    default:  // kCondition
      if (truth(part(1))) return part(0);
      if (expression.parts[2]) return part(2);
      return Value::undefined("the condition is false and has no else");
  }
}

bool Evaluator::evaluate_compare(const Expression& expression) {
  Value left = evaluate(*expression.parts[0]);
  for (size_t i = 0; i < expression.names.size(); ++i) {
    Value right = evaluate(*expression.parts[i + 1]);
    const std::string& op = expression.names[i];
    const bool is_not_in = op == "not in";
    const bool holds =
        apply_test(*this, is_not_in ? "in" : op, left, Arguments{{right}, {}}) != is_not_in;
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

Arguments Evaluator::arguments_of(const Expression& expression) {
  Arguments arguments;
  for (size_t i = 1; i < expression.parts.size(); ++i)
    arguments.positional.push_back(evaluate(*expression.parts[i]));
  for (const auto& [name, expressed] : expression.named) {
    const Value value = evaluate(*expressed);
    if (name != "**")
      arguments.named.emplace_back(name, value);
    else if (!value.is(Kind::kDict))
      fail("** needs a dict, not a value of type ", type_name(value));
    else
      for (const auto& [key, item] : value.as_dict().entries) {
        if (!key.is(Kind::kString) || arguments.find(arguments.positional.size(), key.as_string()))
          fail("** can't give the argument ", to_text(key), ": it is given, or its name is no str");
        arguments.named.emplace_back(key.as_string(), item);
      }
  }
  return arguments;
}

/// The value of a chain of filters; `input` is what its innermost one takes in a block.
Value Evaluator::filter(const Expression& chain, const Value* input) {
  const Changed<int> level = deeper(chain.line);
  const Expression* inner = chain.parts[0].get();
  const auto value_of_inner = [&] {
    if (inner == nullptr) return *input;
    return inner->kind == ExpressionKind::kFilter ? filter(*inner, input) : evaluate(*inner);
  };
  const Value value = value_of_inner();
  if (value.is(Kind::kString)) Budget::spend(value.as_string().size() / 16);
  return apply_filter(*this, chain.name, value, arguments_of(chain));
}

// ---- statements ----

void Evaluator::print(std::string_view text) {
  check_text_size(out_->size() + text.size());
  Budget::hold(text.size());
  *out_ += text;
}

Evaluator::Flow Evaluator::execute(const Block& block) {
  for (const auto& statement : block)
    if (const Flow flow = execute(*statement); flow != Flow::kOn) return flow;
  return Flow::kOn;
}

Evaluator::Flow Evaluator::execute(const Statement& statement) {
  return at_line(statement.line, [&] { return execute_kind(statement); });
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
    case StatementKind::kSetBlock:
      assign(*statement.target, captured(statement));
      break;
    case StatementKind::kMacro:
      set(statement.text, macro(statement));
      break;
    case StatementKind::kCall: {
      const Expression& call_expression = *statement.value;
      const Value callee = evaluate(*call_expression.parts[0]);
      Arguments arguments = arguments_of(call_expression);
      arguments.named.emplace_back("caller", macro(statement));
      print(to_text(call(callee, arguments)));
      break;
    }
    case StatementKind::kFilter:
      print(to_text(captured(statement)));
      break;
    case StatementKind::kWith: {
      std::vector<Value> values;
      for (const auto& parameter : statement.parameters)
        values.push_back(evaluate(*parameter.second));
      const Changed<ScopePtr> inner = inside(scope_);
      for (size_t i = 0; i < values.size(); ++i)
        set(statement.parameters[i].first, std::move(values[i]));
      return execute(statement.body);
    }
    case StatementKind::kGeneration:
      generation(statement);
      break;
    default:
      return statement.kind == StatementKind::kBreak ? Flow::kBreak : Flow::kContinue;
  }
  return Flow::kOn;
}

void Evaluator::generation(const Statement& statement) {
  if (captures_ > 0)
    throw Fault{"{% generation %} stands inside a macro, a filter or a set block", "",
                "its place in the rendered text would be unknown; move it out", statement.line};
  const size_t begin = output_.text.size();
  const Changed<ScopePtr> inner = inside(scope_);
  if (execute(statement.body) != Flow::kOn)
    throw Fault{"a loop can't be left from inside {% generation %}", "", "", statement.line};
  if (is_learned()) output_.generation.push_back({begin, output_.text.size()});
}

bool Evaluator::is_learned() {
  const Value* const messages = variables_.find("messages");
  if (messages == nullptr || !messages->is_sequence()) return true;
  const List& all = messages->items();
  const auto is_silent = [](const Value& message) {
    const Value* const weight =
        message.is(Kind::kDict) ? message.as_dict().find("weight") : nullptr;
    return weight != nullptr && weight->is_number() && weight->as_real() == 0;
  };
  if (std::none_of(all.begin(), all.end(), is_silent)) return true;
  for (auto loop = loops_.rbegin(); loop != loops_.rend(); ++loop) {
    const Value& item = (*(*loop)->items)[(*loop)->index];
    if (std::any_of(all.begin(), all.end(), [&](const Value& one) { return one.same_as(item); }))
      return !is_silent(item);
  }
  throw Fault{"one of the messages is not learned, and the template does not tell which it writes",
              "", "write the messages in a loop over them: {% for message in messages %}"};
}

Evaluator::Flow Evaluator::loop(const Statement& statement) {
  Value source = evaluate(*statement.value);
  if (statement.condition) {
    List kept;
    for (const Value& item : iterate(source)) {
      const Changed<ScopePtr> inner = inside(scope_);
      assign(*statement.target, item);
      if (truth(evaluate(*statement.condition))) kept.push_back(item);
    }
    source = Value::list(std::move(kept));
  } else if (!source.is_sequence()) {
    source = Value::list(iterate(source));
  }
  const std::shared_ptr<const List> items = source.shared_items();
  if (items->empty()) {
    const Changed<ScopePtr> inner = inside(scope_);
    return execute(statement.other);
  }
  auto state = std::make_shared<LoopState>();
  state->items = items;
  loops_.push_back(state);
  Flow flow = Flow::kOn;
  for (size_t i = 0; i < items->size() && flow != Flow::kBreak; ++i) {
    state->index = i;
    const Changed<ScopePtr> inner = inside(scope_);
    set("loop", Value::loop(state));
    assign(*statement.target, (*items)[i]);
    flow = execute(statement.body);
  }
  loops_.pop_back();
  return Flow::kOn;
}

void Evaluator::assign(const Expression& target, const Value& value) {
  if (target.kind == ExpressionKind::kName) return set(target.name, value);
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
    throw Fault{cat(levanter::count_of(std::ssize(items), "value"), " can't be set to ",
                    levanter::count_of(std::ssize(target.parts), "name")),
                "", "", target.line};
  for (size_t i = 0; i < items.size(); ++i) assign(*target.parts[i], items[i]);
}

std::string Evaluator::capture(const Block& block) {
  std::string text;
  const Changed<ScopePtr> inner = inside(scope_);
  const Changed<std::string*> out(out_, &text);
  const Changed<int> captures(captures_, captures_ + 1);
  if (execute(block) != Flow::kOn) fail("a loop can't be left from inside a captured block");
  return text;
}

Value Evaluator::captured(const Statement& statement) {
  const Value text = Value::string(capture(statement.body));
  return statement.value ? filter(*statement.value, &text) : text;
}

Value Evaluator::macro(const Statement& statement) {
  // The scope holds the macro, so the macro must not hold the scope.
  const std::weak_ptr<Scope> scope(scope_);
  const auto run = [&statement, scope](Evaluator& self, const Arguments& arguments) {
    const ScopePtr alive = scope.lock();
    if (!alive)
      fail("the macro ", quote(statement.text), " is called outside of the block that defines it");
    return self.call_macro(statement, alive, arguments);
  };
  return Value::function({statement.text, run});
}

Value Evaluator::call_macro(const Statement& statement, const ScopePtr& scope,
                            const Arguments& arguments) {
  const Changed<ScopePtr> inner = inside(scope);
  const auto& parameters = statement.parameters;
  const std::string title = cat("the macro ", quote(statement.text));
  if (arguments.positional.size() > parameters.size())
    fail(title, " takes ", levanter::count_of(std::ssize(parameters), "argument"), ", not ",
         arguments.positional.size());
  for (const auto& given : arguments.named) {
    if (given.first == "caller") {
      set(given.first, given.second);
    } else if (std::none_of(parameters.begin(), parameters.end(), [&](const auto& parameter) {
                 return parameter.first == given.first;
               })) {
      fail(title, " has no argument ", quote(given.first));
    }
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto& [name, other] = parameters[i];
    if (const Value* given = arguments.find(i, name)) {
      set(name, *given);
    } else {
      set(name, other ? evaluate(*other)
                      : Value::undefined(cat("the argument ", quote(name), " was not given")));
    }
  }
  return Value::string(capture(statement.body));
}

}  // namespace levanter::text::jinja
