// Regular expressions of tokenizer files, which are Oniguruma's, in the words of PCRE2.
#pragma once

#include <string>
#include <string_view>

namespace levanter::text::hf {

/// The expression as PCRE2 understands it. Rewritten are
///   \s \w \b \h \p{..}  to the characters that Oniguruma takes for them
///   [a[bc]] [a&&[^b]]   classes in classes and what they have in common
///   x{1,3}+             which repeats there and is possessive in PCRE2
/// Anything else stays; what is wrong is left for PCRE2 to find.
std::string to_pcre2(std::string_view expression);

}  // namespace levanter::text::hf
