// JSON to a template's values.
#include "text/jinja/builtins.h"

#include <simdjson.h>

namespace levanter::text::jinja {
namespace {

using simdjson::dom::element_type;

Value convert(simdjson::dom::element element) {
  switch (element.type()) {
    case element_type::NULL_VALUE:
      return Value::none();
    case element_type::BOOL:
      return Value::boolean(bool(element));
    case element_type::INT64:
      return Value::integer(int64_t(element));
    case element_type::UINT64:
      fail("the number ", uint64_t(element), " is too large for a template");
    case element_type::DOUBLE:
      return Value::real(double(element));
    case element_type::STRING:
      return Value::string(std::string_view(element));
    case element_type::ARRAY: {
      List items;
      for (const auto item : simdjson::dom::array(element)) items.push_back(convert(item));
      return Value::list(std::move(items));
    }
    default: {
      Dict dict;
      for (const auto field : simdjson::dom::object(element))
        dict.set(Value::string(field.key), convert(field.value));
      return Value::dict(std::move(dict));
    }
  }
}

}  // namespace

Value from_json(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  const auto code = parser.parse(json.data(), json.size(), true).get(root);
  if (code != simdjson::SUCCESS) {
    std::string words = simdjson::error_message(code);
    while (words.ends_with('.')) words.pop_back();
    fail("the variables of a template are not JSON: ", words);
  }
  return convert(root);
}

}  // namespace levanter::text::jinja
