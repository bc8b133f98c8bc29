// The known splitting patterns by their texts.
#include "text/hf/split.h"

namespace levanter::text::hf {

KnownPattern known_pattern(std::string_view expression) {
  constexpr std::string_view kContractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|";
  constexpr std::string_view kLetters = R"([^\r\n\p{L}\p{N}]?\p{L}+|)";
  constexpr std::string_view kRest = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  if (expression ==
          R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)" ||
      expression == R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)")
    return KnownPattern::kGpt2;
  for (const std::string_view part : {kContractions, kLetters}) {
    if (!expression.starts_with(part)) return KnownPattern::kNone;
    expression.remove_prefix(part.size());
  }
  if (!expression.ends_with(kRest)) return KnownPattern::kNone;
  expression.remove_suffix(kRest.size());
  if (expression == R"(\p{N})") return KnownPattern::kOneDigit;
  if (expression == R"(\p{N}{1,3})") return KnownPattern::kThreeDigits;
  return KnownPattern::kNone;
}

}  // namespace levanter::text::hf
