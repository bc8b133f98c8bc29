// JSON lines of texts and ids: {"text": "..."} and {"ids": [1, 2]}.
#include "text/json_lines.h"

#include <simdjson.h>

#include <charconv>

#include "base/error.h"
#include "base/strings.h"
#include "text/hf/decoder.h"

namespace levanter::text {

namespace dom = simdjson::dom;

struct JsonLineReader::Impl {
  dom::parser parser;

  dom::element field(std::string_view line, const char* key, const std::string& place) {
    dom::element root, value;
    if (const auto error = parser.parse(line.data(), line.size(), true).get(root); error)
      throw Error(ErrorKind::kData, cat("a line is no JSON: ", simdjson::error_message(error)))
          .at(place)
          .allowed("one JSON object a line");
    if (root[key].get(value)) throw_wrong(key, place);
    return value;
  }

  [[noreturn]] static void throw_wrong(std::string_view key, const std::string& place) {
    throw Error(ErrorKind::kData, cat("a line is no object with ", quote(key)))
        .at(place)
        .allowed(key == "text" ? "{\"text\": \"...\"}" : "{\"ids\": [1, 2]}");
  }
};

JsonLineReader::JsonLineReader() : impl_(std::make_unique<Impl>()) {}
JsonLineReader::~JsonLineReader() = default;
JsonLineReader::JsonLineReader(JsonLineReader&&) noexcept = default;

std::string JsonLineReader::read_text(std::string_view line, const std::string& place) {
  std::string_view text;
  if (impl_->field(line, "text", place).get(text)) Impl::throw_wrong("text", place);
  return std::string(text);
}

std::vector<int32_t> JsonLineReader::read_ids(std::string_view line, const std::string& place) {
  dom::array list;
  if (impl_->field(line, "ids", place).get(list)) Impl::throw_wrong("ids", place);
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  for (const dom::element item : list) {
    int64_t id = 0;
    if (item.get(id) || id < INT32_MIN || id > INT32_MAX) Impl::throw_wrong("ids", place);
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

void append_ids_line(std::string& out, std::span<const int32_t> ids) {
  out += "{\"ids\": [";
  char digits[16];
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += ", ";
    out.append(digits, std::to_chars(digits, digits + sizeof digits, ids[i]).ptr);
  }
  out += "]}\n";
}

void append_text_line(std::string& out, const std::string& text) {
  out += cat("{\"text\": ", quote(hf::replace_invalid_utf8(text)), "}\n");
}

}  // namespace levanter::text
