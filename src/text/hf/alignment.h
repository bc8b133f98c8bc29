// Where in a text its tokens lie, and so which tokens hold a part of it.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace levanter::text::hf {

/// The bytes of `text` that each of its tokens stands for.
///   surfaces  what each token stands for inside a text, in the normalized form that `text` has; ""
///             where that is not known, as for an unknown word. U+2581 stands for a space too, and
///             one that the text lacks before a word was put there by the tokenizer
/// returns spans in order, one a token. Text that no token stands for lies between them; unknown
/// tokens have a character each of what lies between their known neighbours, where that goes up,
/// else share it
std::vector<ByteSpan> align(std::string_view text, std::span<const std::string> surfaces);

/// The part of normalized text that a span of the text itself became.
///   normalize   the whole normalizer, for the beginning of a text
///   normalized  what it makes of the whole text
ByteSpan normalized_span(std::string_view text, ByteSpan span, std::string_view normalized,
                         const std::function<std::string(std::string_view)>& normalize);

/// Whether a token that stands for `token` holds a part of `span`; one that stands for nothing
/// counts where it stands.
bool touches(ByteSpan token, ByteSpan span);

}  // namespace levanter::text::hf
