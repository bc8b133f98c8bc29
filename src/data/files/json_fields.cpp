// The fields of a record of JSON: strings, numbers, messages, each fault with its file and line.
#include "data/files/json_fields.h"

#include <algorithm>
#include <simdjson.h>

#include "base/error.h"
#include "json/fault.h"
#include "json/mend.h"
#include "base/strings.h"
#include "text/utf8.h"

namespace levanter::data {
namespace {

using Element = simdjson::dom::element;
using simdjson::dom::element_type;

/// The number of a record that was mended, where the value is one; "" where not.
std::string_view odd_digits(Element value) {
  std::string_view text;
  const auto odd = value.get(text) == simdjson::SUCCESS ? odd_number(text) : std::nullopt;
  return odd ? odd->digits : "";
}

/// The value of the last of the object's keys of that name.
std::optional<Element> find_last(simdjson::dom::object object, std::string_view key) {
  std::optional<Element> found;
  for (const auto field : object)
    if (field.key == key) found = field.value;
  return found;
}

/// A value as an error names it: "a string", "an array of 3".
std::string name_of(Element value) {
  switch (value.type()) {
    case element_type::ARRAY:
      return cat("an array of ", simdjson::dom::array(value).size());
    case element_type::OBJECT:
      return "an object";
    case element_type::STRING:
      return odd_digits(value).empty() ? "a string" : cat("the number ", odd_digits(value));
    case element_type::BOOL:
      return bool(value) ? "true" : "false";
    case element_type::NULL_VALUE:
      return "null";
    default:
      return cat("the number ", std::string(simdjson::minify(value)));
  }
}

std::string keys_of(simdjson::dom::object object) {
  std::string keys;
  int64_t count = 0;
  for (const auto field : object) {
    if (++count > 12) return keys + ", ...";
    keys += cat(count > 1 ? ", " : "", field.key);
  }
  return count == 0 ? "nothing" : keys;
}

constexpr auto kReplaceHint =
    "convert it (iconv -f LATIN1 -t UTF-8), or set invalid_utf8 = \"replace\"";

/// Throws what is wrong with a record that simdjson refused.
[[noreturn]] void throw_broken(const Record& record, simdjson::error_code code) {
  if (const std::string where = where_json_is_cut(record.content); !where.empty())
    throw Error(ErrorKind::kData, cat("the record is cut: it ends inside ", where))
        .at(record.origin())
        .hint(cat("it ends with ", quote_end(record.content)));
  std::string place = where_json_breaks(record.content), words = simdjson::error_message(code);
  while (words.ends_with('.')) words.pop_back();
  if (place.empty()) place = cat(": ", words);
  throw Error(ErrorKind::kData, cat("the record is not JSON", place))
      .at(record.origin())
      .hint("each record must be one JSON object");
}

}  // namespace

struct JsonFields::Impl {
  explicit Impl(BrokenText broken_text) : broken(broken_text) {}

  const BrokenText broken;
  simdjson::dom::parser parser;
  mutable simdjson::dom::parser inner;  // of JSON texts inside a record
  simdjson::dom::object root;
  std::string origin;
  std::string mended;  // the record, where it had to be mended
  int64_t replaced = 0;

  /// Where the search for a path ended: at the value, or at the object `in` that lacks `key`.
  struct Found {
    std::optional<Element> value;
    simdjson::dom::object in;
    std::string_view key;
  };
  Found find(std::string_view path) const {
    Found found{std::nullopt, root, path};
    for (;;) {
      if ((found.value = find_last(found.in, found.key))) return found;
      const size_t dot = found.key.find('.');
      if (dot == std::string_view::npos) return found;
      const std::optional<Element> outer = find_last(found.in, found.key.substr(0, dot));
      simdjson::dom::object object;
      if (!outer || outer->get(object) != simdjson::SUCCESS) {
        found.key = found.key.substr(0, dot);
        return found;
      }
      found.in = object;
      found.key.remove_prefix(dot + 1);
    }
  }

  Element need(std::string_view key) const {
    const auto [value, in, missing] = find(key);
    if (value) return *value;
    const auto begin = static_cast<size_t>(missing.data() - key.data());
    if (const auto wrong = find_last(in, missing))  // a path through what is no object
      refuse(key.substr(0, begin + missing.size()), *wrong, "an object");
    std::vector<std::string> names;
    for (const auto field : in) names.emplace_back(field.key);
    const std::string near = nearest(missing, names);
    const std::string where = begin == 0 ? "" : cat(" in ", quote(key.substr(0, begin - 1)));
    throw Error(ErrorKind::kData, cat("no key ", quote(missing), where, "; it has ", keys_of(in)))
        .at(origin)
        .hint(near.empty() ? "name the key that holds it in the config"
                           : cat("did you mean ", quote(near)));
  }

  [[noreturn]] void refuse(std::string_view key, Element found, std::string_view wanted) const {
    throw Error(ErrorKind::kData, cat(quote(key), " is ", name_of(found), ", not ", wanted))
        .at(origin);
  }

  /// A value as a T; `wanted` names what that is.
  template <class T>
  T as(std::string_view key, Element value, std::string_view wanted) const {
    T out;
    if (value.get(out) != simdjson::SUCCESS || !odd_digits(value).empty())
      refuse(key, value, wanted);
    return out;
  }
  simdjson::dom::array array(std::string_view key, std::string_view wanted) const {
    return as<simdjson::dom::array>(key, need(key), wanted);
  }
  /// The numbers of an array, each of which check(number, index) has let pass.
  template <class T, class Check>
  std::vector<T> numbers(std::string_view key, std::string_view wanted, Check check) const {
    std::vector<T> out;
    for (const Element value : array(key, cat("an array of ", wanted, "s"))) {
      T number = 0;
      bool flag = false;
      if (std::is_same_v<T, double> && value.get(flag) == simdjson::SUCCESS)
        number = flag ? 1 : 0;
      else if (value.get(number) != simdjson::SUCCESS)
        refuse(cat(key, "[", out.size(), "]"), value, cat("a ", wanted));
      check(number, out.size());
      out.push_back(number);
    }
    return out;
  }

  void replace_broken_bytes(const Record& record) {
    if (broken == BrokenText::kRefuse)
      throw Error(ErrorKind::kData, "the text is not UTF-8")
          .at(text::place_in_text(record.content, origin, text::find_broken_utf8(record.content)))
          .hint(kReplaceHint);
    mended.clear();
    replaced += text::append_mended_utf8(mended, record.content);
  }
  /// Goes on with a record of which some numbers or strings were put into other words.
  void take(MendedJson other) {
    if (other.surrogates > 0 && broken == BrokenText::kRefuse)
      throw Error(ErrorKind::kData, "the text has half of a surrogate pair, which is no UTF-8")
          .at(origin)
          .hint(kReplaceHint);
    mended = std::move(other.text);
    replaced += other.surrogates;
  }

  /// A list or an object that may stand there as its JSON text. `wanted` names it.
  template <class T>
  T structure(std::string_view key, Element value, std::string_view wanted) const {
    std::string_view text;
    if (value.get(text) != simdjson::SUCCESS || !odd_digits(value).empty())
      return as<T>(key, value, wanted);
    const std::optional<Element> parsed = parse_inside(text, inner);
    if (!parsed)
      throw Error(ErrorKind::kData,
                  cat(quote(key), " is a text that is no JSON: ", quote_end(text)))
          .at(origin)
          .allowed(cat(wanted, ", or its JSON text"));
    return as<T>(key, *parsed, wanted);
  }
  /// What the JSON text in a record says; nothing where it is not JSON. Good until that parser's
  /// next text.
  static std::optional<Element> parse_inside(std::string_view text, simdjson::dom::parser& with) {
    Element parsed;
    if (with.parse(text.data(), text.size(), true).get(parsed) == simdjson::SUCCESS) return parsed;
    const std::string other = mend_json(text).text;
    const bool is_json =
        with.parse(other.data(), other.size(), true).get(parsed) == simdjson::SUCCESS;
    return is_json ? std::optional(parsed) : std::nullopt;
  }
  /// Whether there is anything but null or a blank text.
  bool is_given(std::string_view key) const {
    const auto value = find(key).value;
    std::string_view text;
    if (!value || value->is_null()) return false;
    return value->get(text) != simdjson::SUCCESS || !trim(text).empty();
  }

  Message message(const std::string& place, Element message, const MessageKeys& keys) const;
  Message calls(const std::string& place, std::optional<Element> content) const;
};

/// The assistant's message that calls functions, from its content as MessageKeys::calls has it.
Message JsonFields::Impl::calls(const std::string& place, std::optional<Element> content) const {
  simdjson::dom::parser parser;
  std::string_view text;
  if (content && content->get(text) == simdjson::SUCCESS) content = parse_inside(text, parser);
  std::vector<Element> given;
  if (content && content->is_array())
    for (const Element one : simdjson::dom::array(*content)) given.push_back(one);
  else if (content)
    given.push_back(*content);
  std::vector<std::string> calls;
  for (const Element one : given) {
    simdjson::dom::object call;
    if (one.get(call) != simdjson::SUCCESS) break;
    const auto name = find_last(call, "name"), arguments = find_last(call, "arguments");
    if (!name || !name->is_string() || !arguments) break;
    calls.push_back(cat(R"({"type":"function","function":{"name":)",
                        std::string(simdjson::minify(*name)), R"(,"arguments":)",
                        std::string(simdjson::minify(*arguments)), "}}"));
  }
  if (calls.empty() || calls.size() < given.size())
    throw Error(ErrorKind::kData, cat(quote(place), " calls no function"))
        .at(origin)
        .allowed(R"({"name": ..., "arguments": ...}, a list of these, or the JSON text of either)");
  return {"assistant", cat(R"({"role":"assistant","tool_calls":[)", join(calls, ","), "]}")};
}

/// A message with its keys and its role renamed.
Message JsonFields::Impl::message(const std::string& place, Element message,
                                  const MessageKeys& keys) const {
  const auto fields = as<simdjson::dom::object>(place, message, "an object");
  const auto role = find_last(fields, keys.role), content = find_last(fields, keys.content);
  if (!role)
    throw Error(ErrorKind::kData,
                cat(quote(place), " has no ", quote(keys.role), "; it has ", keys_of(fields)))
        .at(origin);
  const auto name =
      std::string(as<std::string_view>(cat(place, ".", keys.role), *role, "a string"));
  if (content && !odd_digits(*content).empty())
    refuse(cat(place, ".", keys.content), *content, "a text");
  const auto known = keys.roles.find(name);
  const bool is_assistant =
      known == keys.roles.end() ? name == "assistant" : known->second == "assistant";
  const auto has = [&](std::string_view key) { return find_last(fields, key).has_value(); };
  if (is_assistant && !content && !has("tool_calls") && !has("function_call") && !has("refusal") &&
      !has("reasoning_content") && !has("reasoning") && !has("thinking"))
    throw Error(ErrorKind::kData, cat(quote(place), " says nothing: it has no ",
                                      quote(keys.content), ", but ", keys_of(fields)))
        .at(origin)
        .hint("name the key in the format's content_field");
  if (keys == MessageKeys{}) return {name, simdjson::minify(message)};
  if (name == keys.calls) return calls(place, content);
  const bool is_result = std::any_of(keys.roles.begin(), keys.roles.end(),
                                     [&](const auto& entry) { return entry.second == name; });
  if (known == keys.roles.end() && !keys.roles.empty() && !is_result) {
    std::vector<std::string> names;
    for (const auto& [word, meaning] : keys.roles) names.push_back(word);
    throw Error(ErrorKind::kData, cat(quote(cat(place, ".", keys.role)), " is ", quote(name),
                                      ", which is no role that is known"))
        .at(origin)
        .allowed(join(names, ", "))
        .hint("name it in the format's roles");
  }
  const std::string& meaning = known == keys.roles.end() ? name : known->second;
  std::string text = cat("{\"role\":", quote(meaning));
  for (const auto field : fields) {
    const bool is_content = field.key == keys.content;
    if (field.key == keys.role || field.key == "role") continue;
    if (field.key == "content" && !is_content) continue;
    text += cat(",", quote(is_content ? "content" : field.key), ":",
                std::string(simdjson::minify(field.value)));
  }
  return {meaning, text + "}"};
}

Message message_of(std::string_view role, std::string_view content) {
  return {std::string(role), cat("{\"role\":", quote(role), ",\"content\":", quote(content), "}")};
}

std::string list_of(std::span<const Message> messages) {
  std::vector<std::string> texts;
  for (const Message& message : messages) texts.push_back(message.json);
  return cat("[", join(texts, ","), "]");
}

JsonFields::JsonFields(BrokenText broken) : impl_(std::make_unique<Impl>(broken)) {}
JsonFields::~JsonFields() = default;

int64_t JsonFields::replaced() const { return impl_->replaced; }

void JsonFields::parse(const Record& record) {
  impl_->origin = record.origin();
  Element root;
  const auto read = [&](std::string_view text) {
    return impl_->parser.parse(text.data(), text.size(), true).get(root);
  };
  auto code = read(record.content);
  const bool was_broken = code == simdjson::UTF8_ERROR;
  if (was_broken) {
    impl_->replace_broken_bytes(record);
    code = read(impl_->mended);
  }
  if (code == simdjson::MEMALLOC)
    throw Error(ErrorKind::kDevice, "no memory is left to parse the record").at(impl_->origin);
  if (code != simdjson::SUCCESS) {
    const std::string_view text = was_broken ? impl_->mended : record.content;
    MendedJson mended = mend_json(text);
    if (read(mended.text) != simdjson::SUCCESS)
      throw_broken({text, record.file, record.line}, code);
    impl_->take(std::move(mended));
  }
  if (root.get(impl_->root) != simdjson::SUCCESS)
    throw Error(ErrorKind::kData, cat("the record is ", name_of(root), ", not an object"))
        .at(impl_->origin);
}

bool JsonFields::has(std::string_view key) const {
  const auto value = impl_->find(key).value;
  return value && !value->is_null();
}

std::string_view JsonFields::string(std::string_view key) const {
  return impl_->as<std::string_view>(key, impl_->need(key), "a string");
}

std::optional<std::string_view> JsonFields::optional_string(std::string_view key) const {
  if (!has(key)) return std::nullopt;
  return string(key);
}

std::vector<int64_t> JsonFields::integers(std::string_view key, int64_t low, int64_t high) const {
  return impl_->numbers<int64_t>(key, "whole number", [&](int64_t number, size_t i) {
    if (number < low || number > high)
      throw Error(ErrorKind::kData, cat("\"", key, "[", i, "]\" is the number ", number))
          .at(impl_->origin)
          .allowed(cat(low, " to ", high));
  });
}

std::vector<double> JsonFields::numbers(std::string_view key) const {
  return impl_->numbers<double>(key, "number", [](double, size_t) {});
}

std::string JsonFields::json(std::string_view key) const {
  return simdjson::minify(impl_->need(key));
}

std::string JsonFields::optional_list(std::string_view key) const {
  if (!impl_->is_given(key)) return "";
  const auto list = impl_->structure<simdjson::dom::array>(key, impl_->need(key), "a list");
  int64_t count = 0;
  for (const Element item : list)
    impl_->as<simdjson::dom::object>(cat(key, "[", count++, "]"), item, "an object");
  return simdjson::minify(list);
}

std::string JsonFields::optional_object(std::string_view key) const {
  if (!impl_->is_given(key)) return "";
  return simdjson::minify(
      impl_->structure<simdjson::dom::object>(key, impl_->need(key), "an object"));
}

bool JsonFields::is_chat(std::string_view key) const {
  const Element value = impl_->need(key);
  std::string_view text;
  if (value.is_array()) return true;
  if (value.get(text) != simdjson::SUCCESS) impl_->refuse(key, value, "a text or messages");
  const auto parsed =
      trim(text).starts_with("[") ? Impl::parse_inside(text, impl_->inner) : std::nullopt;
  simdjson::dom::array list;
  if (!parsed || parsed->get(list) != simdjson::SUCCESS || list.size() == 0) return false;
  return std::all_of(list.begin(), list.end(), [](Element item) {
    simdjson::dom::object message;
    return item.get(message) == simdjson::SUCCESS && find_last(message, "role") &&
           (find_last(message, "content") || find_last(message, "tool_calls"));
  });
}

std::vector<Message> JsonFields::messages(std::string_view key, const MessageKeys& keys) const {
  const auto given =
      impl_->structure<simdjson::dom::array>(key, impl_->need(key), "an array of messages");
  std::vector<Message> list;
  for (const Element message : given)
    list.push_back(impl_->message(cat(key, "[", list.size(), "]"), message, keys));
  if (list.empty())
    throw Error(ErrorKind::kData, cat(quote(key), " is a chat without a message"))
        .at(impl_->origin);
  return list;
}

}  // namespace levanter::data
