// Regular expressions of tokenizer files, which are Oniguruma's, in the words of PCRE2.
#include "text/hf/expression.h"

#include <algorithm>
#include <map>
#include <vector>

#include "base/hash.h"
#include "base/strings.h"
#include "text/hf/unicode.h"

namespace levanter::text::hf {
namespace {

/// The added characters of a class as ranges of a character class.
std::string added_ranges(uint16_t wanted) {
  const auto escape = [](uint32_t scalar) { return cat("\\x{", hex64(scalar).substr(10), "}"); };
  std::string out;
  for (const auto& [classes, ranges] : hf::added_ranges())
    for (const ScalarRange& range : ranges)
      if ((classes & wanted) != 0) out += cat(escape(range.first), "-", escape(range.last));
  return out;
}

/// What stands inside of a character class for an escape or a "[:name:]"; "" when it stays.
std::string_view inside_of(std::string_view word) {
  static const std::map<std::string_view, std::string> kInside = [] {
    std::map<std::string_view, std::string> of;
    of["\\s"] = of["[:space:]"] = R"(\p{Z}\t-\r\x{85})";
    of["\\h"] = "0-9A-Fa-f";
    of["\\w"] = of["[:word:]"] =
        R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})" +
        added_ranges(kWord);
    of["\\p{L}"] = of["\\p{Letter}"] = R"(\p{L})" + added_ranges(kLetter);
    of["\\p{Lo}"] = R"(\p{Lo})" + added_ranges(kLetter);
    of["\\p{N}"] = of["\\p{Number}"] = R"(\p{N})" + added_ranges(kNumber);
    of["\\p{M}"] = of["\\p{Mark}"] = R"(\p{M})" + added_ranges(kMark);
    of["\\p{S}"] = of["\\p{Symbol}"] = R"(\p{S})" + added_ranges(kSymbol);
    of["\\p{P}"] = of["\\p{Punctuation}"] = R"(\p{P})" + added_ranges(kPunctuation);
    of["[:punct:]"] = of["\\p{P}"] + of["\\p{S}"];
    of["[:alpha:]"] = of["\\p{Alpha}"] = R"(\p{Alphabetic})";
    of["[:alnum:]"] = R"(\p{Alphabetic}\p{Nd})";
    return of;
  }();
  const auto found = kInside.find(word);
  return found == kInside.end() ? std::string_view() : std::string_view(found->second);
}

class Translation final {
 public:
  explicit Translation(std::string_view expression) : rest_(expression) {}

  std::string run() {
    while (!rest_.empty()) {
      const char c = rest_[0];
      if (c == '{') {
        repeat();
        continue;
      }
      const bool quantifies = c == '?' || c == '*' || c == '+';
      if (!quantifies && c != ')') atom_ = out_.size();
      if (c == '(') groups_.push_back(out_.size());
      if (c == ')' && !groups_.empty()) {
        atom_ = groups_.back();
        groups_.pop_back();
      }
      if (c == '[')
        out_ += set();
      else if (c == '\\')
        out_ += escape();
      else
        out_ += take(1);
    }
    return std::move(out_);
  }

 private:
  std::string_view take(size_t count) {
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  std::string_view take_until(char last) {
    const size_t at = rest_.find(last);
    return take(at == rest_.npos ? rest_.size() : at + 1);
  }

  /// {n,m} and the + behind it.
  void repeat() {
    out_ += take_until('}');
    if (!rest_.starts_with('+')) return;
    out_.insert(atom_, "(?:");
    out_ += ')';
  }

  /// An escape as it is written, "\p{L}".
  std::string_view escape_word() {
    const char kind = rest_.size() > 1 ? rest_[1] : '\0';
    return (kind == 'p' || kind == 'P' || kind == 'x') && rest_.substr(2).starts_with('{')
               ? take_until('}')
               : take(2);
  }
  /// What an escape stands for, as the inside of a class; `negated` when as all but that.
  std::string inside(bool& negated) {
    std::string word(escape_word());
    negated = false;
    if (word.size() == 2 && (word[1] == 'S' || word[1] == 'W' || word[1] == 'H')) {
      negated = true;
      word[1] = static_cast<char>(word[1] - 'A' + 'a');
    } else if (word.starts_with("\\P{")) {
      negated = true;
      word[1] = 'p';
    } else if (word == "\\u") {
      return cat("\\x{", take(4), "}");
    }
    if (const std::string_view ours = inside_of(word); !ours.empty()) return std::string(ours);
    // Scripts: PCRE2 would take in characters that several share.
    if (word.starts_with("\\p{") && word.size() > 6 && word != "\\p{Any}")
      word = cat("\\p{sc:", word.substr(3));
    return word;
  }
  std::string escape() {
    // Fractions and small digits are of \w where it does not stand in a class.
    constexpr std::string_view kAlone = R"(\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";
    constexpr std::string_view kBoundary = "(?:(?<=[W])(?![W])|(?<![W])(?=[W]))";
    if (rest_.starts_with("\\b")) {
      take(2);
      std::string out;
      for (const char c : kBoundary) c == 'W' ? out += cat(inside_of("\\w"), kAlone) : out += c;
      return out;
    }
    const bool is_word = rest_.starts_with("\\w") || rest_.starts_with("\\W");
    bool negated = false;
    std::string word = inside(negated);
    if (is_word) word += kAlone;
    const bool plain = !negated && word[0] == '\\' && word.find('\\', 2) == word.npos &&
                       word.find('-') == word.npos;
    return plain ? word : cat(negated ? "[^" : "[", word, "]");
  }

  /// The members of a class: those of a list, and expressions of one character.
  struct Members {
    std::string list;
    std::vector<std::string> others;

    bool empty() const { return list.empty() && others.empty(); }
    std::string text(bool negated = false) const {
      if (others.empty()) return cat(negated ? "[^" : "[", list, "]");
      std::string any = list.empty() ? "" : cat("[", list, "]");
      for (const std::string& other : others) any += cat(any.empty() ? "" : "|", other);
      return negated ? cat("(?!", any, ")(?s:.)") : cat("(?:", any, ")");
    }
  };

  /// One class, its '[' being next.
  std::string set() {
    take(1);
    const bool negated = rest_.starts_with('^');
    if (negated) take(1);
    Members members = this->members();
    std::string common;  // a condition for what && joins
    while (rest_.starts_with("&&")) {
      take(2);
      common += cat("(?=", members.text(), ")");
      members = this->members();
    }
    take(1);
    if (common.empty()) return negated ? cat("(?:", members.text(true), ")") : members.text();
    common += members.text();
    return negated ? cat("(?:(?!", common, ")(?s:.))") : cat("(?:", common, ")");
  }
  /// What stands up to && or the class's end.
  Members members() {
    Members out;
    while (!rest_.empty() && !rest_.starts_with("&&") && (rest_[0] != ']' || out.empty())) {
      if (rest_.starts_with("[:")) {
        const size_t end = rest_.find(":]");
        const std::string_view word = take(end == rest_.npos ? rest_.size() : end + 2);
        const std::string_view ours = inside_of(word);
        out.list += ours.empty() ? word : ours;
      } else if (rest_[0] == '[') {
        std::string nested = set();
        // [a[bc]] is [abc].
        if (nested[0] == '[' && nested[1] != '^')
          out.list += std::string_view(nested).substr(1, nested.size() - 2);
        else
          out.others.push_back(std::move(nested));
      } else if (rest_[0] == '\\') {
        bool negated = false;
        const std::string word = inside(negated);
        if (negated)
          out.others.push_back(cat("[^", word, "]"));
        else
          out.list += word;
      } else {
        out.list += take(1);
      }
    }
    return out;
  }

  std::string_view rest_;
  std::string out_;
  size_t atom_ = 0;             ///< where what a quantifier repeats begins in `out_`
  std::vector<size_t> groups_;  ///< where the open groups do
};

}  // namespace

std::string to_pcre2(std::string_view expression) { return Translation(expression).run(); }

}  // namespace levanter::text::hf
