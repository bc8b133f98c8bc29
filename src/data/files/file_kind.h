// What a file of texts is by its content and name: kinds that hold no text are refused by name.
#pragma once

#include <string_view>

namespace levanter::data {

/// Throws where a file begins as one does that holds no text to train on, decompressed or not:
/// tables (Parquet, Arrow, CSV by its name), archives, arrays, token ids, a pointer in place of a
/// file, the page of a web server, UTF-16 and UTF-32, or anything with NUL bytes.
///   beginning  its first bytes; 512 are enough, all of it where it is shorter
///   path       what the error calls it
///   plain      its name without what says how it is packed: some kinds are told by the suffix
/// error  kData naming the kind and the way out
void refuse_foreign(std::string_view beginning, std::string_view path, std::string_view plain);

/// Throws where a text holds a NUL byte, as no text does.
void refuse_nul_bytes(std::string_view text, std::string_view path);

}  // namespace levanter::data
