// What a file is by its first bytes, where that is not what it was taken for.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace levanter {

/// A kind of file: what to call it, and what to do about it.
struct FileKind {
  std::string_view name;     ///< "a Parquet file", to stand behind "the file is"
  std::string_view way_out;  ///< a hint
};

/// The kind of a file of another program, holding no text as it is: a table, an archive, an array.
///   beginning  its first bytes; 512 are enough, all of it where it is shorter
std::optional<FileKind> foreign_kind(std::string_view beginning);

/// What stands in the place of a file that was not fetched: a Git LFS pointer, or a page or an
/// error that a web server sends, in HTML or XML.
std::optional<FileKind> stand_in(std::string_view beginning);

/// Throws where a file that could not be read is a stand-in, or empty: call it before you say
/// what is wrong inside.
///   beginning  as above
/// error  `kind` naming the stand-in at `path`
void refuse_stand_in(ErrorKind kind, std::string_view beginning, const std::string& path);

/// Whether a text begins, or a name ends, so, with English letters in whatever case:
/// has_suffix("A.JSONL", ".jsonl").
bool has_prefix(std::string_view text, std::string_view prefix);
bool has_suffix(std::string_view name, std::string_view suffix);

}  // namespace levanter
