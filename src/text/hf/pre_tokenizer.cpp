// Cuts text into the pieces that a model encodes one by one.
#include "text/hf/pre_tokenizer.h"

#include <algorithm>

#include "base/strings.h"
#include "text/hf/pattern.h"
#include "text/hf/unicode.h"

namespace levanter::text::hf {
namespace {

constexpr char kGpt2Expression[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// What becomes of the matches that pieces are split at.
enum class Behavior { kRemoved, kIsolated, kContiguous, kMergedWithPrevious, kMergedWithNext };

Behavior behavior_of(const Value& value, std::string_view otherwise) {
  const std::string name = value.text_or("behavior", otherwise);
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "Contiguous") return Behavior::kContiguous;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  value.throw_wrong("behavior",
                    "Removed, Isolated, Contiguous, MergedWithPrevious, MergedWithNext");
}

/// Joins or drops ranges, which are in order, as the behavior asks.
void join_ranges(std::vector<Range>& ranges, Behavior behavior) {
  size_t kept = 0;
  bool before_matches = false;
  switch (behavior) {
    case Behavior::kIsolated:
      return;
    case Behavior::kRemoved:
      std::erase_if(ranges, [](const Range& range) { return range.match; });
      return;
    case Behavior::kContiguous:
      for (const Range& range : ranges) {
        if (kept > 0 && range.match == before_matches)
          ranges[kept - 1].end = range.end;
        else
          ranges[kept++] = range;
        before_matches = range.match;
      }
      break;
    case Behavior::kMergedWithPrevious:
      for (const Range& range : ranges) {
        const bool match = range.match;
        if (match && !before_matches && kept > 0)
          ranges[kept - 1].end = range.end;
        else
          ranges[kept++] = range;
        before_matches = match;
      }
      break;
    case Behavior::kMergedWithNext:
      std::reverse(ranges.begin(), ranges.end());
      for (const Range& range : ranges) {
        const bool match = range.match;
        if (match && !before_matches && kept > 0)
          ranges[kept - 1].begin = range.begin;
        else
          ranges[kept++] = range;
        before_matches = match;
      }
      std::reverse(ranges.begin(), ranges.begin() + static_cast<ptrdiff_t>(kept));
      break;
  }
  ranges.resize(kept);
}

/// Splits every piece at what `cut` finds in it.
template <class Cut>
void split_pieces(Pieces& pieces, Behavior behavior, Cut cut) {
  std::vector<Pieces::Piece> list;
  list.reserve(pieces.list.size());
  std::vector<Range> ranges;
  for (const Pieces::Piece& piece : pieces.list) {
    ranges.clear();
    cut(piece.text, ranges);
    join_ranges(ranges, behavior);
    for (const Range& range : ranges)
      if (range.end > range.begin)
        list.push_back({piece.text.substr(range.begin, range.end - range.begin),
                        piece.first && range.begin == 0});
  }
  pieces.list = std::move(list);
}

class PatternStep final : public SplitStep {
 public:
  PatternStep(Pattern pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void apply(Pieces& pieces) const override {
    split_pieces(pieces, behavior_, [this](std::string_view text, std::vector<Range>& out) {
      pattern_.cut(text, out);
      if (invert_)
        for (Range& range : out) range.match = !range.match;
    });
  }

 private:
  Pattern pattern_;
  Behavior behavior_;
  bool invert_;
};

/// Splits at characters of some classes.
class ClassStep final : public SplitStep {
 public:
  ClassStep(uint8_t classes, bool ascii_symbols, Behavior behavior)
      : classes_(classes), ascii_symbols_(ascii_symbols), behavior_(behavior) {}
  void apply(Pieces& pieces) const override {
    split_pieces(pieces, behavior_, [this](std::string_view text, std::vector<Range>& out) {
      size_t done = 0;
      for (const char *p = text.data(), *end = p + text.size(); p < end;) {
        const auto at = static_cast<size_t>(p - text.data());
        if (!matches(next_scalar(p))) continue;
        if (at > done) out.push_back({done, at, false});
        done = static_cast<size_t>(p - text.data());
        out.push_back({at, done, true});
      }
      if (done < text.size()) out.push_back({done, text.size(), false});
    });
  }

 private:
  bool matches(uint32_t scalar) const {
    const uint8_t classes = CharClasses::get().of(scalar);
    if ((classes & classes_) != 0) return true;
    return ascii_symbols_ && scalar > 0x20 && scalar < 0x7F && (classes & (kLetter | kNumber)) == 0;
  }

  uint8_t classes_;
  bool ascii_symbols_;  ///< takes $ + < = > ^ ` | ~ for punctuation too
  Behavior behavior_;
};

/// \w+|[^\w\s]+, and nothing else is kept.
class WordStep final : public SplitStep {
 public:
  void apply(Pieces& pieces) const override {
    split_pieces(pieces, Behavior::kRemoved, [](std::string_view text, std::vector<Range>& out) {
      const CharClasses& classes = CharClasses::get();
      uint8_t before = 0;
      for (const char *p = text.data(), *end = p + text.size(); p < end;) {
        const auto at = static_cast<size_t>(p - text.data());
        const uint8_t kind = classes.of(next_scalar(p)) & (kWord | kSpace);
        const auto behind = static_cast<size_t>(p - text.data());
        const bool space = kind == kSpace;
        if (!out.empty() && kind == before)
          out.back().end = behind;
        else
          out.push_back({at, behind, space});
        before = kind;
      }
    });
  }
};

class FixedLengthStep final : public SplitStep {
 public:
  explicit FixedLengthStep(size_t length) : length_(length) {}
  void apply(Pieces& pieces) const override {
    split_pieces(pieces, Behavior::kIsolated, [this](std::string_view text, auto& out) {
      for (size_t at = 0; at < text.size();) {
        const size_t begin = at;
        for (size_t i = 0; i < length_ && at < text.size(); ++i) at += length_at(text[at]);
        out.push_back({begin, at, true});
      }
    });
  }

 private:
  size_t length_;
};

/// Spaces become a visible mark, which begins the pieces.
class MetaspaceStep final : public SplitStep {
 public:
  explicit MetaspaceStep(const Value& value) : mark_(value.text_or("replacement", "\u2581")) {
    const std::string scheme =
        value.text_or("prepend_scheme", value.flag("add_prefix_space", true) ? "always" : "never");
    if (scheme != "always" && scheme != "first" && scheme != "never")
      value.throw_wrong("prepend_scheme", "always, first, never");
    always_ = scheme == "always";
    first_ = scheme == "first";
    split_ = value.flag("split", true);
  }
  void apply(Pieces& pieces) const override {
    for (Pieces::Piece& piece : pieces.list) {
      std::string text;
      text.reserve(piece.text.size() * 3 / 2 + mark_.size());
      if (!piece.text.starts_with(' ') && !piece.text.starts_with(mark_) &&
          (always_ || (first_ && piece.first)))
        text = mark_;
      for (const char c : piece.text) c == ' ' ? text += mark_ : text += c;
      piece.text = pieces.texts.emplace_back(std::move(text));
    }
    if (!split_) return;
    split_pieces(pieces, Behavior::kMergedWithNext, [this](std::string_view text, auto& out) {
      size_t done = 0;
      for (size_t at = 0; (at = text.find(mark_, done)) != text.npos;) {
        if (at > done) out.push_back({done, at, false});
        done = at + mark_.size();
        out.push_back({at, done, true});
      }
      if (done < text.size()) out.push_back({done, text.size(), false});
    });
  }

 private:
  std::string mark_;
  bool always_, first_, split_;
};

/// A space before pieces that begin without one.
class PrefixSpaceStep final : public SplitStep {
 public:
  void apply(Pieces& pieces) const override {
    for (Pieces::Piece& piece : pieces.list)
      if (!piece.text.starts_with(' '))
        piece.text = pieces.texts.emplace_back(cat(" ", piece.text));
  }
};

/// A character for each byte.
class ByteCharacterStep final : public SplitStep {
 public:
  void apply(Pieces& pieces) const override {
    for (Pieces::Piece& piece : pieces.list)
      piece.text = pieces.texts.emplace_back(to_byte_characters(piece.text));
  }
};

}  // namespace

PreTokenizer::PreTokenizer(const Value& value) {
  if (!value.is_null()) add(value);
}

void PreTokenizer::add_byte_level(const Value& value) {
  const KnownPattern before = steps_.size() == 1 ? only_pattern_ : KnownPattern::kNone;
  const bool first = steps_.empty();
  only_pattern_ = before;
  if (value.flag("add_prefix_space", true)) {
    steps_.push_back(std::make_unique<PrefixSpaceStep>());
    only_pattern_ = KnownPattern::kNone;
  }
  if (value.flag("use_regex", true)) {
    only_pattern_ = first && steps_.empty() ? KnownPattern::kGpt2 : KnownPattern::kNone;
    steps_.push_back(std::make_unique<PatternStep>(Pattern(kGpt2Expression, value.place),
                                                   Behavior::kIsolated, false));
  }
  steps_.push_back(std::make_unique<ByteCharacterStep>());
  ends_in_bytes_ = true;
}

void PreTokenizer::keep_bytes() { steps_.pop_back(); }

void PreTokenizer::add(const Value& value) {
  const std::string& type = value.type();
  const auto classes = [&](uint8_t of, bool ascii_symbols, Behavior behavior) {
    steps_.push_back(std::make_unique<ClassStep>(of, ascii_symbols, behavior));
  };
  if (type == "Sequence") {
    for (const Value& step : value.list("pretokenizers")) add(step);
    return;
  }
  if (type == "ByteLevel") return add_byte_level(value);
  ends_in_bytes_ = false;
  only_pattern_ = KnownPattern::kNone;
  if (type == "Split") {
    Pattern pattern(value["pattern"]);
    const Behavior behavior = behavior_of(value, "");
    const bool invert = value.flag("invert", false);
    if (steps_.empty() && behavior == Behavior::kIsolated && !invert)
      only_pattern_ = pattern.known();
    steps_.push_back(std::make_unique<PatternStep>(std::move(pattern), behavior, invert));
  } else if (type == "Metaspace") {
    steps_.push_back(std::make_unique<MetaspaceStep>(value));
  } else if (type == "Whitespace") {
    steps_.push_back(std::make_unique<WordStep>());
  } else if (type == "WhitespaceSplit") {
    classes(kSpace, false, Behavior::kRemoved);
  } else if (type == "Digits") {
    classes(kNumber, false,
            value.flag("individual_digits", false) ? Behavior::kIsolated : Behavior::kContiguous);
  } else if (type == "Punctuation") {
    classes(kPunctuation, true, behavior_of(value, "Isolated"));
  } else if (type == "BertPreTokenizer") {
    classes(kSpace, false, Behavior::kRemoved);
    classes(kPunctuation, true, Behavior::kIsolated);
  } else if (type == "CharDelimiterSplit") {
    steps_.push_back(
        std::make_unique<PatternStep>(Pattern(value["delimiter"]), Behavior::kRemoved, false));
  } else if (type == "FixedLength") {
    const int64_t length = value.integer("length", 5);
    if (length < 1) value.throw_wrong("length", "a whole number from 1 on");
    steps_.push_back(std::make_unique<FixedLengthStep>(static_cast<size_t>(length)));
  } else {
    value.throw_unknown("pre-tokenizer",
                        "BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits, FixedLength, "
                        "Metaspace, Punctuation, Sequence, Split, Whitespace, WhitespaceSplit");
  }
}

}  // namespace levanter::text::hf
