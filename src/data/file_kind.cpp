// What a file is by its content: kinds that hold no text are refused by name.
#include "data/file_kind.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/strings.h"
#include "text/utf8.h"

namespace levanter::data {
namespace {

using namespace std::string_view_literals;

constexpr auto kTable =
    "write its rows as JSON lines: in Python, pandas.read_parquet or "
    "read_feather, then to_json(path, orient=\"records\", lines=True)";
constexpr auto kArray =
    "write its ids as JSON lines {\"input_ids\": [...]} and set format = "
    "\"prebuilt\" and the tokenizer that made them";
constexpr auto kArchive = "unpack it and name the files that it holds";
constexpr auto kPacked =
    "unpack it, or pipe it in: xzcat, bzcat, lz4cat or zcat FILE | levanter "
    "train ... --data.components.NAME.train=-";

/// A kind of file by the bytes at its beginning.
struct Kind {
  std::string_view magic;
  size_t offset;
  std::string_view name, way_out;
};

constexpr Kind kKinds[] = {
    {"PAR1"sv, 0, "a Parquet file", kTable},
    {"ARROW1\0\0"sv, 0, "an Arrow file", kTable},
    {"\xFF\xFF\xFF\xFF"sv, 0, "an Arrow stream", kTable},
    {"FEA1"sv, 0, "a Feather file", kTable},
    {"SQLite format 3\0"sv, 0, "an SQLite database", kTable},
    {"\xFD"
     "7zXZ\0"sv,
     0, "packed with xz", kPacked},
    {"BZh"sv, 0, "packed with bzip2", kPacked},
    {"\x04\x22\x4D\x18"sv, 0, "packed with lz4", kPacked},
    {"PK\x03\x04"sv, 0, "a zip archive", kArchive},
    {"PK\x05\x06"sv, 0, "a zip archive", kArchive},
    {"7z\xBC\xAF\x27\x1C"sv, 0, "a 7z archive", kArchive},
    {"ustar"sv, 257, "a tar archive", kArchive},
    {"\x93NUMPY"sv, 0, "a NumPy array", kArray},
    {"MMIDIDX\0"sv, 0, "an index of token ids, as Megatron writes it", kArray},
    {"\x89HDF\r\n\x1A\n"sv, 0, "an HDF5 file", kArray},
    {"%PDF-"sv, 0, "a PDF file", "take its text out, as with pdftotext"},
    {"version https://git-lfs.github.com/"sv, 0, "a Git LFS pointer, not the file itself",
     "fetch the file: git lfs pull"},
};

/// bzip2 has a digit and the first block's mark behind "BZh", a tar file a version behind "ustar".
bool is_of_kind(std::string_view beginning, const Kind& kind) {
  if (beginning.size() < kind.offset || !beginning.substr(kind.offset).starts_with(kind.magic))
    return false;
  if (kind.magic == "BZh")
    return beginning.size() >= 6 && (beginning.substr(4, 2) == "1A" || beginning[4] == '\x17');
  return true;
}

bool starts_with_word(std::string_view text, std::string_view word) {
  return text.size() >= word.size() &&
         std::equal(word.begin(), word.end(), text.begin(), [](char a, char b) {
           return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
         });
}

bool is_html_page(std::string_view beginning, std::string_view name) {
  for (const char* suffix : {".html", ".htm", ".xhtml"})
    if (has_suffix(name, suffix)) return false;
  const std::string_view text = trim(beginning);
  return starts_with_word(text, "<!doctype html") || starts_with_word(text, "<html");
}

[[noreturn]] void refuse(std::string_view what, std::string_view name, std::string_view way_out) {
  throw Error(ErrorKind::kData, cat("the file is ", what))
      .at(std::string(name))
      .hint(std::string(way_out));
}

}  // namespace

bool has_suffix(std::string_view name, std::string_view suffix) {
  return name.size() >= suffix.size() &&
         starts_with_word(name.substr(name.size() - suffix.size()), suffix);
}

void refuse_nul_bytes(std::string_view text, std::string_view name) {
  const size_t at = text.find('\0');
  if (at == text.npos) return;
  // In UTF-16 every other byte of plain English is 0; in ids of two bytes it is not so plain.
  const auto sample = text.substr(0, 4096);
  const auto zeros = static_cast<size_t>(std::count(sample.begin(), sample.end(), '\0'));
  const bool few = zeros * 100 < sample.size();
  throw Error(ErrorKind::kData,
              cat("the file holds NUL bytes, the first at byte ", at, few ? "" : ": it is no text"))
      .at(std::string(name))
      .hint(few ? "remove them: tr -d '\\000' < FILE > NEW"
                : "token ids become JSON lines {\"input_ids\": [...]} for format = \"prebuilt\"; "
                  "UTF-16 is converted by iconv -f UTF-16LE -t UTF-8");
}

void refuse_foreign(std::string_view beginning, std::string_view name) {
  for (const Kind& kind : kKinds)
    if (is_of_kind(beginning, kind)) refuse(kind.name, name, kind.way_out);
  if (beginning.starts_with("\xFF\xFE") || beginning.starts_with("\xFE\xFF"))
    refuse("UTF-16", name, "convert it: iconv -f UTF-16 -t UTF-8");
  if (is_html_page(beginning, name))
    refuse("a page of HTML, as a web server sends in place of a file", name,
           "fetch the file again; a text that is to be HTML has a name that ends in .html");
  refuse_nul_bytes(beginning, name);
  const bool binary = has_suffix(name, ".bin") || has_suffix(name, ".idx");
  const std::string_view sample = beginning.substr(0, 1024);
  if (binary && text::find_broken_utf8(sample) + 4 < sample.size())
    refuse("no text, by its bytes and its name", name, kArray);
}

}  // namespace levanter::data
