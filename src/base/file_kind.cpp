// What a file is by its first bytes, where that is not what it was taken for.
#include "base/file_kind.h"

#include <algorithm>

#include "base/strings.h"

namespace levanter {
namespace {

using namespace std::string_view_literals;

constexpr auto kTable =
    "write its rows as JSON lines: in Python, pandas.read_parquet or "
    "read_feather, then to_json(path, orient=\"records\", lines=True)";
constexpr auto kAvro =
    "write its rows as JSON lines: in Python, json.dumps of each row of fastavro.reader(file)";
constexpr auto kArray =
    "write its ids as JSON lines {\"input_ids\": [...]} and set format = "
    "\"prebuilt\" and the tokenizer that made them";
constexpr auto kArchive = "unpack it and name the files that it holds";
constexpr auto kOffice =
    "take its text out: pandoc for a document; for a table, in Python, pandas.read_excel, then "
    "to_json(path, orient=\"records\", lines=True)";
constexpr auto kPacked =
    "unpack it, or pipe it in: xzcat, bzcat, lz4cat or zcat FILE | levanter "
    "train ... --data.components.NAME.train=-";
constexpr auto kPage =
    "fetch the file again; a text that is to be such a page has a name that ends in .html or .xml";

/// A kind of file by the bytes at its beginning.
struct Magic {
  std::string_view bytes;
  size_t offset;
  FileKind kind;
};

constexpr Magic kForeign[] = {
    {"PAR1"sv, 0, {"a Parquet file", kTable}},
    {"ARROW1\0\0"sv, 0, {"an Arrow file", kTable}},
    {"\xFF\xFF\xFF\xFF"sv, 0, {"an Arrow stream", kTable}},
    {"FEA1"sv, 0, {"a Feather file", kTable}},
    {"Obj\x01"sv, 0, {"an Avro file", kAvro}},
    {"SQLite format 3\0"sv, 0, {"an SQLite database", kTable}},
    {"\xFD"
     "7zXZ\0"sv,
     0,
     {"packed with xz", kPacked}},
    {"BZh"sv, 0, {"packed with bzip2", kPacked}},
    {"\x04\x22\x4D\x18"sv, 0, {"packed with lz4", kPacked}},
    {"PK\x03\x04"sv, 0, {"a zip archive", kArchive}},
    {"PK\x05\x06"sv, 0, {"a zip archive", kArchive}},
    {"7z\xBC\xAF\x27\x1C"sv, 0, {"a 7z archive", kArchive}},
    {"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"sv, 0, {"an Office document", kOffice}},
    {"ustar"sv, 257, {"a tar archive", kArchive}},
    {"\x93NUMPY"sv, 0, {"a NumPy array", kArray}},
    {"MMIDIDX\0"sv, 0, {"an index of token ids, as Megatron writes it", kArray}},
    {"\x89HDF\r\n\x1A\n"sv, 0, {"an HDF5 file", kArray}},
    {"%PDF-"sv, 0, {"a PDF file", "take its text out, as with pdftotext"}},
};

/// bzip2 has a digit and the first block's mark behind "BZh".
bool is_of_kind(std::string_view beginning, const Magic& magic) {
  if (beginning.size() < magic.offset || !beginning.substr(magic.offset).starts_with(magic.bytes))
    return false;
  if (magic.bytes == "BZh")
    return beginning.size() >= 6 && (beginning.substr(4, 2) == "1A" || beginning[4] == '\x17');
  return true;
}

/// The name of the first file in a zip archive, which stands behind 30 bytes, tells some kinds.
FileKind zip_kind(std::string_view beginning, FileKind plain) {
  const std::string_view first = beginning.substr(std::min<size_t>(30, beginning.size()));
  for (const auto name : {"[Content_Types].xml"sv, "_rels/"sv, "docProps/"sv, "xl/"sv, "word/"sv,
                          "mimetypeapplication/vnd.oasis"sv})
    if (first.starts_with(name)) return {"an Office document", kOffice};
  if (first.starts_with("mimetypeapplication/epub"))
    return {"an EPUB book", "take its text out, as with pandoc"};
  return plain;
}

/// What stands behind a declaration of XML; all of a text that has none.
std::string_view behind_declaration(std::string_view text) {
  if (!has_prefix(text, "<?xml")) return text;
  const size_t end = text.find("?>");
  return end == text.npos ? "" : trim(text.substr(end + 2));
}

}  // namespace

std::optional<FileKind> foreign_kind(std::string_view beginning) {
  for (const Magic& magic : kForeign)
    if (is_of_kind(beginning, magic))
      return magic.bytes.starts_with("PK") ? zip_kind(beginning, magic.kind) : magic.kind;
  return std::nullopt;
}

std::optional<FileKind> stand_in(std::string_view beginning) {
  if (beginning.starts_with("version https://git-lfs.github.com/"))
    return FileKind{"a Git LFS pointer, not the file itself", "fetch the file: git lfs pull"};
  if (beginning.starts_with("\xEF\xBB\xBF")) beginning.remove_prefix(3);
  const std::string_view text = behind_declaration(trim(beginning));
  if (has_prefix(text, "<!doctype html") || has_prefix(text, "<html"))
    return FileKind{"a page of HTML, as a web server sends in place of a file", kPage};
  if (has_prefix(text, "<Error>") || has_prefix(text, "<Error "))
    return FileKind{"an error in XML, as a web server sends in place of a file", kPage};
  return std::nullopt;
}

void refuse_stand_in(ErrorKind kind, std::string_view beginning, const std::string& path) {
  std::optional<FileKind> found = stand_in(beginning);
  if (beginning.empty()) found = {"empty", "fetch the file again"};
  if (!found) return;
  const bool is_page = found->way_out == kPage;
  throw Error(kind, cat("the file is ", found->name))
      .at(path)
      .hint(is_page ? "fetch the file again; its page may say why it was refused"
                    : std::string(found->way_out));
}

bool has_prefix(std::string_view text, std::string_view prefix) {
  const auto lower = [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(),
                    [&](char a, char b) { return lower(a) == lower(b); });
}

bool has_suffix(std::string_view name, std::string_view suffix) {
  return name.size() >= suffix.size() &&
         has_prefix(name.substr(name.size() - suffix.size()), suffix);
}

}  // namespace levanter
