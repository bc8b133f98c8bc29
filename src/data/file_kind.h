// What a file is by its content: kinds that hold no text are refused by name.
#pragma once

#include <string_view>

namespace levanter::data {

/// Throws where a file begins as one does that holds no text to train on, decompressed or not:
/// tables (Parquet, Arrow), archives, arrays, token ids, a pointer in place of a file, the page of
/// a web server, UTF-16, or anything with NUL bytes.
///   beginning  its first bytes; 512 are enough, all of it where it is shorter
///   name       what the error calls it; its suffix tells a page of HTML that is meant
/// error  kData naming the kind and the way out
void refuse_foreign(std::string_view beginning, std::string_view name);

/// Throws where a text holds a NUL byte, as no text does.
void refuse_nul_bytes(std::string_view text, std::string_view name);

/// Whether the name ends so, in whatever case: has_suffix("A.JSONL", ".jsonl").
bool has_suffix(std::string_view name, std::string_view suffix);

}  // namespace levanter::data
