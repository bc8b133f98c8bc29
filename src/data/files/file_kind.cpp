// What a file of texts is by its content and name: kinds that hold no text are refused by name.
#include "data/files/file_kind.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/strings.h"
#include "text/utf8.h"

namespace levanter::data {
namespace {

using namespace std::string_view_literals;

constexpr auto kIds =
    "token ids become JSON lines {\"input_ids\": [...]} for format = \"prebuilt\" and the "
    "tokenizer that made them";

[[noreturn]] void refuse(std::string_view what, std::string_view path, std::string_view way_out) {
  throw Error(ErrorKind::kData, cat("the file is ", what))
      .at(std::string(path))
      .hint(std::string(way_out));
}

bool ends_in_any(std::string_view name, std::initializer_list<std::string_view> suffixes) {
  return std::any_of(suffixes.begin(), suffixes.end(),
                     [&](std::string_view suffix) { return has_suffix(name, suffix); });
}

/// The mark that texts of these encodings may begin with; the longer one is looked for first.
std::string_view marked_encoding(std::string_view text) {
  for (const auto& [mark, name] : {std::pair("\xFF\xFE\0\0"sv, "UTF-32"sv),
                                   {"\0\0\xFE\xFF"sv, "UTF-32"sv},
                                   {"\xFF\xFE"sv, "UTF-16"sv},
                                   {"\xFE\xFF"sv, "UTF-16"sv}})
    if (text.starts_with(mark)) return name;
  return "";
}

/// The encoding of a text without a mark: in plain English every other byte of UTF-16 is 0, or
/// three of four of UTF-32.
std::string_view encoding_by_zeros(std::string_view sample) {
  std::array<size_t, 4> zeros{};
  for (size_t i = 0; i < sample.size(); ++i) zeros[i % 4] += sample[i] == '\0';
  const auto many = [&](size_t i) { return zeros[i] * 8 >= sample.size(); };
  if (many(0) && many(1) && many(2)) return "UTF-32BE";
  if (many(1) && many(2) && many(3)) return "UTF-32LE";
  return many(0) && many(2) ? "UTF-16BE" : "UTF-16LE";
}

/// Whether bytes that are not UTF-8 hold control characters, as no old encoding of text does, but
/// the few that move the paper or switch alphabets.
bool is_binary(std::string_view sample) {
  const auto controls = std::count_if(sample.begin(), sample.end(), [](char c) {
    return static_cast<unsigned char>(c) < ' ' &&
           "\b\t\n\v\f\r\x0E\x0F\x1A\x1B"sv.find(c) == std::string_view::npos;
  });
  return sample.size() >= 512 && static_cast<size_t>(controls) * 50 > sample.size();
}

void refuse_table(std::string_view beginning, std::string_view path, std::string_view plain) {
  const bool tabs = has_suffix(plain, ".tsv");
  if ((!tabs && !has_suffix(plain, ".csv")) || trim(beginning).starts_with('{')) return;
  refuse(cat("a table of ", tabs ? "tab" : "comma", "-separated values by its name"), path,
         cat("write its rows as JSON lines: python3 -c 'import csv, json, sys; "
             "csv.field_size_limit(sys.maxsize); [print(json.dumps(row)) for row in "
             "csv.DictReader(sys.stdin",
             tabs ? ", delimiter=\"\\t\"" : "",
             ")]' < FILE > NEW.jsonl; a text that is to be such a table has a name that ends in "
             ".txt"));
}

}  // namespace

void refuse_nul_bytes(std::string_view text, std::string_view path) {
  const size_t at = text.find('\0');
  if (at == text.npos) return;
  const auto sample = text.substr(0, 4096);
  const auto zeros = static_cast<size_t>(std::count(sample.begin(), sample.end(), '\0'));
  const bool few = zeros * 100 < sample.size();
  throw Error(ErrorKind::kData,
              cat("the file holds NUL bytes, the first at byte ", at, few ? "" : ": it is no text"))
      .at(std::string(path))
      .hint(few ? "remove them: tr -d '\\000' < FILE > NEW"
                : cat(kIds, "; ", encoding_by_zeros(sample).substr(0, 6),
                      " is converted by iconv -f ", encoding_by_zeros(sample), " -t UTF-8"));
}

void refuse_foreign(std::string_view beginning, std::string_view path, std::string_view plain) {
  if (const auto kind = foreign_kind(beginning)) refuse(kind->name, path, kind->way_out);
  if (const std::string_view encoding = marked_encoding(beginning); !encoding.empty())
    refuse(encoding, path, cat("convert it: iconv -f ", encoding, " -t UTF-8"));
  if (const auto kind = stand_in(beginning);
      kind && !ends_in_any(plain, {".html", ".htm", ".xhtml", ".xml"}))
    refuse(kind->name, path, kind->way_out);
  refuse_nul_bytes(beginning, path);
  refuse_table(beginning, path, plain);
  const std::string_view sample = beginning.substr(0, 4096);
  const bool broken = text::find_broken_utf8(sample) + 4 < sample.size();
  if (broken && (is_binary(sample) || ends_in_any(plain, {".bin", ".idx"})))
    refuse("no text, by its bytes", path, kIds);
}

}  // namespace levanter::data
