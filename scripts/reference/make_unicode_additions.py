#!/usr/bin/env python3
"""Writes src/text/hf/unicode_additions.cpp: what Unicode 16 has and the libraries of
Debian 12 (14.0 and 15.0) have not.

Needs Python 3.11, whose tables are those of Unicode 14.0, and the package unicodedata2 16.0.0.
"""
import pathlib
import unicodedata
import unicodedata2

CLASSES = {
    "Mn": "kMark | kNonspacing | kWord", "Mc": "kMark | kWord", "Me": "kMark | kWord",
    "Nd": "kNumber | kWord", "Nl": "kNumber | kWord", "No": "kNumber", "Pc": "kPunctuation | kWord",
    "Cf": "kOther", "Cc": "kOther", "Co": "kOther",
}


def classes(category):
    if category[0] == "L":
        return "kLetter | kWord"
    return CLASSES.get(category, {"P": "kPunctuation", "S": "kSymbol"}.get(category[0], "0"))


def main():
    assert unicodedata2.unidata_version == "16.0.0"
    assert unicodedata.unidata_version == "14.0.0"
    ranges = []
    for scalar in range(0x110000):
        new = classes(unicodedata2.category(chr(scalar)))
        if new == classes(unicodedata.category(chr(scalar))):
            continue
        if ranges and ranges[-1][1] == scalar - 1 and ranges[-1][2] == new:
            ranges[-1][1] = scalar
        else:
            ranges.append([scalar, scalar, new])
    rows = "\n".join(f"    {{0x{a:X}, 0x{b:X}, {c}}}," for a, b, c in ranges)
    text = f"""// Characters of Unicode 16 that the libraries' tables (14.0 and 15.0) lack; written by
// scripts/reference/make_unicode_additions.py.
#include "text/hf/unicode.h"

namespace levanter::text::hf {{

const AddedRange kAddedRanges[] = {{
{rows}
}};
const size_t kAddedRangeCount = sizeof kAddedRanges / sizeof *kAddedRanges;

}}  // namespace levanter::text::hf
"""
    root = pathlib.Path(__file__).resolve().parents[2]
    (root / "src/text/hf/unicode_additions.cpp").write_text(text)


main()
