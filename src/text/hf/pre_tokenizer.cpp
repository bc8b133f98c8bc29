// Cuts text into the pieces that a model encodes one by one.
#include "text/hf/pre_tokenizer.h"

#include <algorithm>

#include "base/strings.h"
#include "text/hf/component.h"
#include "text/hf/pattern.h"
#include "text/hf/unicode.h"

namespace levanter::text::hf {
namespace {

constexpr char kGpt2Expression[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// What becomes of the matches that pieces are split at.
enum class Behavior { kRemoved, kIsolated, kContiguous, kMergedWithPrevious, kMergedWithNext };

Behavior behavior_of(const Value& value, std::string_view otherwise) {
  static const std::vector<std::string> kNames = {"Removed", "Isolated", "Contiguous",
                                                  "MergedWithPrevious", "MergedWithNext"};
  const auto name = std::find(kNames.begin(), kNames.end(), value.text_or("behavior", otherwise));
  if (name == kNames.end()) value.throw_wrong("behavior", join(kNames, ", "));
  return static_cast<Behavior>(name - kNames.begin());
}

/// Joins or drops ranges, which are in order, as the behavior asks.
void join_ranges(std::vector<Range>& ranges, Behavior behavior) {
  if (behavior == Behavior::kIsolated) return;
  if (behavior == Behavior::kRemoved) {
    std::erase_if(ranges, [](const Range& range) { return range.match; });
    return;
  }
  const bool backwards = behavior == Behavior::kMergedWithNext;
  if (backwards) std::reverse(ranges.begin(), ranges.end());
  size_t kept = 0;
  bool before_matches = false;
  for (const Range range : ranges) {
    const bool joins = behavior == Behavior::kContiguous ? range.match == before_matches
                                                         : range.match && !before_matches;
    before_matches = range.match;
    if (kept == 0 || !joins)
      ranges[kept++] = range;
    else if (backwards)
      ranges[kept - 1].begin = range.begin;
    else
      ranges[kept - 1].end = range.end;
  }
  ranges.resize(kept);
  if (backwards) std::reverse(ranges.begin(), ranges.end());
}

/// Splits every piece at what `cut` finds in it.
template <class Cut>
void split_pieces(Pieces& pieces, Behavior behavior, const Cut& cut) {
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

template <class Cut>
void add_split(SplitSteps& steps, Behavior behavior, Cut cut) {
  steps.add(
      [behavior, cut = std::move(cut)](Pieces& pieces) { split_pieces(pieces, behavior, cut); });
}

void add_pattern(SplitSteps& steps, Pattern pattern, Behavior behavior, bool invert) {
  add_split(steps, behavior,
            [pattern = std::move(pattern), invert](std::string_view text, std::vector<Range>& out) {
              pattern.cut(text, out);
              if (invert)
                for (Range& range : out) range.match = !range.match;
            });
}

/// Splits at characters of which `matches(scalar, classes)` is true.
template <class Matches>
void add_classes(SplitSteps& steps, Behavior behavior, Matches matches) {
  add_split(steps, behavior, [matches](std::string_view text, std::vector<Range>& out) {
    const CharClasses& classes = CharClasses::get();
    size_t done = 0;
    for (const char *p = text.data(), *end = p + text.size(); p < end;) {
      const auto at = static_cast<size_t>(p - text.data());
      const uint32_t scalar = next_scalar(p);
      if (matches(scalar, classes.of(scalar)))
        done = push_match(out, done, at, static_cast<size_t>(p - text.data()));
    }
    push_match(out, done, text.size(), text.size());
  });
}

void add_spaces(SplitSteps& steps, const Value&) {
  add_classes(steps, Behavior::kRemoved,
              [](uint32_t, uint8_t classes) { return (classes & kSpace) != 0; });
}

/// $ + < = > ^ ` | ~ are punctuation too.
void add_punctuation(SplitSteps& steps, Behavior behavior) {
  add_classes(steps, behavior, [](uint32_t scalar, uint8_t classes) {
    return (classes & kPunctuation) != 0 ||
           (scalar > 0x20 && scalar < 0x7F && (classes & (kLetter | kNumber)) == 0);
  });
}

void add_digits(SplitSteps& steps, const Value& value) {
  add_classes(steps,
              value.flag("individual_digits", false) ? Behavior::kIsolated : Behavior::kContiguous,
              [](uint32_t, uint8_t classes) { return (classes & kNumber) != 0; });
}

/// \w+|[^\w\s]+, and nothing else is kept.
void add_words(SplitSteps& steps, const Value&) {
  add_split(steps, Behavior::kRemoved, [](std::string_view text, std::vector<Range>& out) {
    const CharClasses& classes = CharClasses::get();
    uint8_t before = 0;
    for (const char *p = text.data(), *end = p + text.size(); p < end;) {
      const auto at = static_cast<size_t>(p - text.data());
      const uint8_t kind = classes.of(next_scalar(p)) & (kWord | kSpace);
      const auto behind = static_cast<size_t>(p - text.data());
      if (!out.empty() && kind == before)
        out.back().end = behind;
      else
        out.push_back({at, behind, kind == kSpace});
      before = kind;
    }
  });
}

void add_fixed_length(SplitSteps& steps, const Value& value) {
  const int64_t length = value.integer("length", 5);
  if (length < 1) value.throw_wrong("length", "a whole number from 1 on");
  add_split(steps, Behavior::kIsolated, [length](std::string_view text, std::vector<Range>& out) {
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      for (int64_t i = 0; i < length && at < text.size(); ++i) at += length_at(text[at]);
      out.push_back({begin, at, true});
    }
  });
}

/// Spaces become a visible mark, which begins the pieces.
void add_metaspace(SplitSteps& steps, const Value& value) {
  const std::string mark = value.text_or("replacement", "\u2581");
  const std::string scheme =
      value.text_or("prepend_scheme", value.flag("add_prefix_space", true) ? "always" : "never");
  if (scheme != "always" && scheme != "first" && scheme != "never")
    value.throw_wrong("prepend_scheme", "always, first, never");
  steps.add([mark, always = scheme == "always", never = scheme == "never"](Pieces& all) {
    for (Pieces::Piece& piece : all.list) {
      std::string text;
      text.reserve(piece.text.size() * 3 / 2 + mark.size());
      if (!piece.text.starts_with(' ') && !piece.text.starts_with(mark) &&
          (always || (!never && piece.first)))
        text = mark;
      for (const char c : piece.text) c == ' ' ? text += mark : text += c;
      piece.text = all.texts.emplace_back(std::move(text));
    }
  });
  if (value.flag("split", true))
    add_pattern(steps, Pattern::of_text(mark), Behavior::kMergedWithNext, false);
}

/// Where one pattern decides alone, ByteLevel apart, that is remembered.
void add_byte_level(SplitSteps& steps, const Value& value) {
  KnownPattern only = steps.list.size() == 1 ? steps.only_pattern : KnownPattern::kNone;
  if (value.flag("add_prefix_space", true)) {
    steps.add([](Pieces& pieces) {
      for (Pieces::Piece& piece : pieces.list)
        if (!piece.text.starts_with(' '))
          piece.text = pieces.texts.emplace_back(cat(" ", piece.text));
    });
    only = KnownPattern::kNone;
  }
  if (value.flag("use_regex", true)) {
    only = steps.list.empty() ? KnownPattern::kGpt2 : KnownPattern::kNone;
    add_pattern(steps, Pattern(kGpt2Expression, value.place), Behavior::kIsolated, false);
  }
  steps.add([](Pieces& pieces) {
    for (Pieces::Piece& piece : pieces.list)
      piece.text = pieces.texts.emplace_back(to_byte_characters(piece.text));
  });
  steps.only_pattern = only;
  steps.ends_in_bytes = true;
}

void add_pattern_of(SplitSteps& steps, const Value& value) {
  const Pattern pattern(value["pattern"]);
  const Behavior behavior = behavior_of(value, "");
  const bool invert = value.flag("invert", false);
  const bool alone = steps.list.empty() && behavior == Behavior::kIsolated && !invert;
  add_pattern(steps, pattern, behavior, invert);
  if (alone) steps.only_pattern = pattern.known();
}

constexpr ComponentKind<SplitSteps> kKinds[] = {
    {"ByteLevel", add_byte_level},
    {"Split", add_pattern_of},
    {"Metaspace", add_metaspace},
    {"Whitespace", add_words},
    {"WhitespaceSplit", add_spaces},
    {"Digits", add_digits},
    {"FixedLength", add_fixed_length},
    {"Punctuation",
     [](SplitSteps& steps, const Value& value) {
       add_punctuation(steps, behavior_of(value, "Isolated"));
     }},
    {"BertPreTokenizer",
     [](SplitSteps& steps, const Value& value) {
       add_spaces(steps, value);
       add_punctuation(steps, Behavior::kIsolated);
     }},
    {"CharDelimiterSplit",
     [](SplitSteps& steps, const Value& value) {
       add_pattern(steps, Pattern(value["delimiter"]), Behavior::kRemoved, false);
     }},
};

}  // namespace

PreTokenizer::PreTokenizer(const Value& value) {
  if (!value.is_null()) add_component(steps_, value, kKinds, "pre-tokenizer", "pretokenizers");
}

}  // namespace levanter::text::hf
