// A page that shows documents as a model sees them.
#pragma once

#include <cstdint>
#include <string>

namespace levanter::commands {

/// Each token of the documents coloured by its log-probability; pointed at, it tells that, the
/// entropy of the distribution that it was drawn from, its rank and the likeliest tokens.
///   checkpoint  what load_model opens
///   documents   a file of lines {"text": ...}, or a text; "-": the standard input
///   most        tokens of a document; the rest is left out, and that is said
/// error  as load_model; kData where a document can't be read, or none is there
std::string token_page(const std::string& checkpoint, const std::string& documents, int64_t most);

}  // namespace levanter::commands
