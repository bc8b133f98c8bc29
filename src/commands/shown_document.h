// A document as people look at it: its text, and what of it is learned, not learned, or cut off.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/rows/packing.h"
#include "data/rows/training_data.h"
#include "text/tokenizer.h"

namespace levanter::commands {

/// What becomes of a token of a document.
enum class Fate { kLearned, kNotLearned, kCut };

/// A document of a stream.
struct ShownDocument {
  std::vector<int32_t> ids;
  std::vector<float> weights;
  std::vector<Fate> fates;
};

/// Reads the document; what a packed row has no room for is cut.
ShownDocument read_document(const data::TokenStream& stream, int64_t document,
                            const data::RowSpec& rows, int64_t seq_len);

/// How a text is marked.
enum class Marks {
  kNone,
  kPlain,   ///< brackets of a kind that texts seldom have
  kColour,  ///< the codes of terminals
};

/// Colours where the standard output is a terminal that has them.
Marks marks_of_output();

/// What the marks mean, as a line; "" where there are none.
std::string legend(Marks marks);

/// The document's text with what is not learned and what is cut marked.
std::string marked_text(const ShownDocument& document, const text::Tokenizer& tokenizer,
                        Marks marks);

/// The tokens one by one, marked by brackets: [not learned], and {cut}.
std::string tokens_text(const ShownDocument& document, const text::Tokenizer& tokenizer);

}  // namespace levanter::commands
