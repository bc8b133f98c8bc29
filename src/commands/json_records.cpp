// What of a JSON record goes into its answer, and what is said of those that have none.
#include "commands/json_records.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "commands/command.h"
#include "json/members.h"
#include "text/hf/decoder.h"
#include "text/utf8.h"

namespace levanter::commands {

namespace {

/// A value on one line: line ends stand between its tokens alone.
std::string on_one_line(std::string_view value) {
  std::string text(trim(value));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return text;
}

}  // namespace

std::string_view without_mark(std::string_view line, int64_t number) {
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  if (number == 1 && line.starts_with(kMark)) line.remove_prefix(kMark.size());
  return line;
}

std::string other_members(std::string_view record, std::initializer_list<std::string_view> own) {
  std::string members;
  for (const auto& [key, value] : members_of(record)) {
    const auto name = nlohmann::json::parse(key, nullptr, false);  // one that is broken is no own
    const bool is_own =
        name.is_string() && std::find(own.begin(), own.end(), name.get<std::string>()) != own.end();
    if (!is_own) members += cat(key, ": ", on_one_line(value), ", ");
  }
  std::string mended;
  text::append_mended_utf8(mended, members);
  return mended;
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
  out += cat("{\"text\": ", quote(text::hf::replace_invalid_utf8(text)), "}\n");
}

void note_replaced(int64_t count) {
  if (count > 0)
    std::fprintf(stderr, "U+FFFD stands for %s of text that is no UTF-8\n",
                 count_of(count, "piece").c_str());
}

std::string BadRecords::add(const Error& error, int64_t line, const std::string& members) {
  if (error.kind() != ErrorKind::kData) throw error;
  if (count_++ == 0) first_ = std::make_exception_ptr(error);
  return cat("{", members, "\"error\": ", text_json(error.message()), ", \"line\": ", line, "}\n");
}

void BadRecords::finish() const {
  if (count_ == 0) return;
  try {
    std::rethrow_exception(first_);
  } catch (const Error& error) {
    if (count_ == 1) throw;
    throw Error(ErrorKind::kData, cat(format_count(count_),
                                      " records were not answered; the first: ", error.message()))
        .at(error.at())
        .hint(error.hint().empty() ? "their answers say why" : error.hint());
  }
}

}  // namespace levanter::commands
