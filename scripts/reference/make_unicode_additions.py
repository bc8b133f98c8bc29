#!/usr/bin/env python3
"""Writes src/text/hf/unicode_additions.cpp: what Unicode 16 has and the libraries of
Debian 12 (14.0 and 15.0) have not; scripts/check_format.sh --fix lays it out.

Needs Python 3.11, whose tables are those of Unicode 14.0, and the package unicodedata2 16.0.0.
"""
import pathlib
import unicodedata
import unicodedata2

# The table that the ranges of a general category go to, with its classes.
LETTERS, DIGITS = ("kLetters", "kLetter | kWord"), ("kDigits", "kNumber | kWord")
PUNCTUATION, OTHERS = ("kPunctuationMarks", "kPunctuation"), ("kOthers", "kOther")
MARKS = ("kOtherMarks", "kMark | kWord")
TABLES = {
    "L": LETTERS, "Mn": ("kNonspacingMarks", "kMark | kNonspacing | kWord"), "Mc": MARKS,
    "Me": MARKS, "Nd": DIGITS, "Nl": DIGITS, "No": ("kOtherNumbers", "kNumber"), "P": PUNCTUATION,
    "S": ("kSymbols", "kSymbol"), "Cf": OTHERS, "Cc": OTHERS, "Co": OTHERS,
}


def table(category):
    return TABLES.get(category) or TABLES.get(category[0])


def main():
    assert unicodedata2.unidata_version == "16.0.0"
    assert unicodedata.unidata_version == "14.0.0"
    ranges = {}
    for scalar in range(0x110000):
        new = table(unicodedata2.category(chr(scalar)))
        if new == table(unicodedata.category(chr(scalar))):
            continue
        of = ranges.setdefault(new, [])
        if of and of[-1][1] == scalar - 1:
            of[-1][1] = scalar
        else:
            of.append([scalar, scalar])
    tables = "\n".join(
        f"constexpr ScalarRange {name}[] = {{"
        + ", ".join(f"{{0x{a:X}, 0x{b:X}}}" for a, b in of) + ",};"
        for (name, _), of in ranges.items())
    rows = "\n".join(f"      {{{classes}, {name}}}," for name, classes in ranges)
    text = f"""// Characters of Unicode 16 that the libraries' tables (14.0 and 15.0) lack; written by
// scripts/reference/make_unicode_additions.py.
#include "text/hf/unicode.h"

namespace levanter::text::hf {{

{tables}

std::span<const AddedRanges> added_ranges() {{
  static constexpr AddedRanges kAdded[] = {{
{rows}
  }};
  return kAdded;
}}

}}  // namespace levanter::text::hf
"""
    root = pathlib.Path(__file__).resolve().parents[2]
    (root / "src/text/hf/unicode_additions.cpp").write_text(text)


main()
