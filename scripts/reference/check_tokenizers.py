#!/usr/bin/env python3
"""Compares `levanter tokenize` with Transformers over strings that are made here, by rule.

usage: check_tokenizers.py LEVANTER FOLDER...

FOLDER is a tokenizer's folder of the Hugging Face form. Each is given 3,000 distinct strings, always
the same ones but for its own special tokens in them: encoded without and with the tokens that it puts
around a text, and decoded with and without special tokens, as are ids drawn at random. Every
difference is printed, and the exit code is 1 where there is one.
needs transformers and tokenizers
"""
import json
import os
import random
import subprocess
import sys

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import tokenizers
import transformers

STRINGS = 3000
ID_LISTS = 500
SHOWN = 20  # differences that are printed in full, of each comparison

BLANKS = [" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\n\n", " \n", "\n ", "\t\t", "\v", "\f", "\u0085",
          "\u00a0", "\u1680", "\u2000", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f",
          "\u3000", "\u200b", "\u2060", "\ufeff", "\u180e", "    ", " \u00a0 ", "\n\t \n"]
WORDS = ["the", "The", "THE", "hello", "World", "naïve", "café", "Straße", "ﬁne", "İstanbul", "ß", "ẞ",
         "Ǆ", "ſ", "K", "½", "x²", "H₂O", "①", "Ⅷ", "IX", "co-op", "re_used", "snake_case_name",
         "CamelCaseWord", "iPhone", "e.g.", "U.S.A.", "Mr.", "...", "…", "—", "–", "“so”", "‘it’", "«là»"]
CONTRACTIONS = ["I'm", "you're", "it's", "we've", "he'd", "she'll", "don't", "I'M", "YOU'RE", "IT'S",
                "WE'VE", "HE'D", "SHE'LL", "DON'T", "o'clock", "y'all'd've", "'s", "'S", "'t", "'re", "'ſ",
                "it’s", "don’t", "''ll", "'l", "'ve'", "rock'n'roll", "' s", "s'", "'"]
SCRIPTS = ["中文分词", "日本語のテスト", "ひらがな", "カタカナ", "ｶﾀｶﾅ", "ｆｕｌｌ", "한국어", "한글", "繁體字", "𠜎𠜱", "𪚥",
           "русский", "Ёлка", "ελληνικά", "Σίσυφος", "ὈΔΥΣΣΕΎΣ", "עברית", "שָׁלוֹם", "العربية", "مَرْحَبًا", "لا",
           "۱۲۳", "١٢٣", "हिन्दी", "क्षत्रिय", "தமிழ்", "ภาษาไทย", "ພາສາລາວ", "မြန်မာ", "ខ្មែរ", "ქართული",
           "ᲥᲐᲠᲗᲣᲚᲘ", "հայերեն", "አማርኛ", "ᠮᠣᠩᠭᠣᠯ", "བོད་ཡིག", "ᏣᎳᎩ", "𝔘𝔫𝔦", "𝒳", "ᚠᚢᚦ", "𐍈", "Việt Nam", "Tiếng Việt"]
MARKS = ["e\u0301", "é", "a\u0308\u0301", "o\u0328\u0304", "A\u030a", "Å", "\u212b", "q\u0307\u0323", "q\u0323\u0307",
         "\u0301", "\u0301\u0301", "n\u0303" * 3, "\u1100\u1161\u11a8", "각", "\u0958", "क\u093c", "\u0b47\u0b56",
         "Z\u0351\u036b\u0343\u036a\u0302", "\u20dd", "a\u20dd", "\u0345", "\u0344", "\u034f", "ﷺ", "ﬀ", "ŀ", "Ω"]
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇩🇪🇫🇷", "🇦", "❤️", "❤", "☎︎", "1️⃣", "#️⃣", "🧑🏿‍🚀", "👁️‍🗨️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🫠",
         "🪿", "‍", "️", "👩‍", "‍👩", "🤷🏻‍♀️", "🀄", "©️", "™"]
NUMBERS = ["0", "7", "42", "007", "123", "1234", "12345", "1234567890", "3.14159", "1,000,000", "1_000", "1e-5",
           "-7", "+3", "0x1F", "0b101", "50%", "$9.99", "€5", "10²", "1/2", "12:30", "2024-02-29", "v1.2.3",
           "192.168.0.1", "+49 30 123456", "9" * 21, "٣٤", "१२", "１２３", "1st", "3D", "x1y2z3"]
CODE = ["for (int i = 0; i < n; ++i) {\n  a[i] += b[i];\n}", "def f(x):\n    return x ** 2\n", "\tif x:\n\t\tpass",
        "a->b::c<d>&e", "!=", "==", "=>", "//", "/* */", "#include <x>", "<div class=\"a\">b</div>", "{\"a\": [1, null]}",
        "SELECT * FROM t WHERE a='b';", "$HOME/.bashrc", "\\n\\t\\\\", "`ls -la | grep x`", "λx.x", "x = y  # z",
        "std::vector<std::pair<int,int>>", "@app.route('/')", "\"\"\"doc\"\"\"", "${a:-b}", "%s%d", "^[a-z]+$", "&amp;"]
PLACES = ["https://example.org/a/b?c=d&e=%20f#g", "http://x.y:8080/", "www.example.org", "me+you@example.org",
          "file:///etc/x", "C:\\Users\\x\\y.txt", "../a/./b", "doi:10.1000/182", "data:;base64,AAAA==", "#tag", "@name"]
CONTROLS = ["\0", "\x01", "\x07", "\x08", "\x1b[31m", "\x1f", "\x7f", "\x80", "\x9f", "\u00ad", "\u200c", "\u200d",
            "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069", "\ufff9", "\ufffc", "\ufffd", "\ufffe", "\uffff",
            "\U000e0001", "\U000f0000", "\U0010ffff", "\ue000", "\0\0", "a\0b"]
RUNS = [" ", "\n", "\t", "a", "aB", "ab ", "=", "-", "!", "?!", "#", "0", "12", "中", "é", "e\u0301", "😀", "'", "'s", "\r\n",
        "\u00a0", "\u3000", ". ", "▁", " ▁", "_", "the ", "ا", "한", "\0", "x\n", "\u200b", "Ġ", "\u0301"]
LOOKALIKES = ["<s>", "</s>", "<unk>", "<0x0A>", "<0xFF>", "<0xZZ>", "▁", "▁the", "Ġthe", "Ċ", "##ing", "[CLS]", "[MASK]",
              "<|endoftext|", "|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "< s>", "<S>", "<pad>", "<|", "|>"]


def special_pieces(specials):
    """The tokenizer's own special tokens in the places where they are read in several ways."""
    pieces = []
    for token in specials:
        pieces += [token, token * 2, " " + token, token + " ", f" {token} ", f"a{token}b", f"{token}\n",
                   f"\n{token}", token[:-1], token[1:], token.upper(), token.lower(), f"{token}\u0301",
                   f"é{token}é", f"<{token}>", f"  {token}  {token}  ", token[:2] + "\u200b" + token[2:]]
    return pieces


def made_strings(specials):
    """STRINGS distinct strings: each piece alone and between others, runs, and mixtures."""
    draw = random.Random(20240229)
    groups = [BLANKS, WORDS, CONTRACTIONS, SCRIPTS, MARKS, EMOJI, NUMBERS, CODE, PLACES, CONTROLS, LOOKALIKES]
    texts = [""]
    for group in groups:
        for piece in group:
            texts += [piece, " " + piece, piece + " ", f"a{piece}b", f"{piece}{piece}"]
    texts += [unit * length for unit in RUNS for length in (2, 3, 5, 17, 64, 300)]
    texts += special_pieces(specials)
    groups.append(special_pieces(specials) or WORDS)
    seen = list(dict.fromkeys(texts))
    draw.shuffle(seen)
    seen = seen[:STRINGS * 2 // 3]  # the rest are mixtures, whatever the number of special tokens
    known = set(seen)
    while len(seen) < STRINGS:
        pieces = []
        for _ in range(draw.randint(2, 14)):
            kind = draw.random()
            if kind < 0.75:
                pieces.append(draw.choice(draw.choice(groups)))
            elif kind < 0.9:
                pieces.append(draw.choice(BLANKS[:6]))
            else:
                pieces.append(drawn_characters(draw))
        text = draw.choice(["", " "]).join(pieces)
        if text not in known:
            known.add(text)
            seen.append(text)
    return seen


def drawn_characters(draw):
    """A few characters of one block, assigned or not."""
    first = draw.choice([0x20, 0xA0, 0x300, 0x370, 0x590, 0x900, 0xE00, 0x1100, 0x1E00, 0x2000, 0x2190, 0x2E80, 0x3040,
                         0x4E00, 0xA000, 0xAC00, 0xF900, 0xFB00, 0xFE00, 0x10000, 0x1D400, 0x1F300, 0x20000, 0xE0000])
    return "".join(chr(first + draw.randrange(256)) for _ in range(draw.randint(1, 5)))


def answers(levanter, folder, records, *options):
    """What `levanter tokenize` answers to one JSON line a record."""
    lines = "".join(json.dumps(record) + "\n" for record in records)
    run = subprocess.run([levanter, "tokenize", "--tokenizer", folder, *options], input=lines.encode(),
                         capture_output=True)
    if run.returncode != 0:
        sys.exit(f"{folder}: levanter tokenize ended with {run.returncode}\n{run.stderr.decode()}")
    # Not splitlines: a text may hold characters that it takes for the end of a line.
    found = [json.loads(line) for line in run.stdout.decode().split("\n") if line]
    if len(found) != len(records):
        sys.exit(f"{folder}: {len(found)} answers to {len(records)} lines")
    return found


def differences(what, inputs, ours, theirs):
    """Prints what differs and returns how many."""
    wrong = [i for i, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]]
    for i in wrong[:SHOWN]:
        print(f"  {what}: {ascii(inputs[i])}\n    levanter      {ascii(ours[i])}\n"
              f"    transformers  {ascii(theirs[i])}")
    if len(wrong) > SHOWN:
        print(f"  {what}: and {len(wrong) - SHOWN} more")
    return len(wrong)


def drawn_ids(size):
    draw = random.Random(20240301)
    return [[draw.randrange(size) for _ in range(draw.randint(1, 12))] for _ in range(ID_LISTS)]


def give_parts_of_file(tokenizer, folder):
    """Sets what tokenizer.json says and the class does not; returns the names of those parts."""
    path = os.path.join(folder, "tokenizer.json")
    if not os.path.exists(path):
        return []
    said = tokenizers.Tokenizer.from_file(path)
    stated, used = (json.loads(t.to_str()) for t in (said, tokenizer.backend_tokenizer))
    parts = [part for part in ("normalizer", "pre_tokenizer", "decoder")
             if without_offsets(stated[part]) != without_offsets(used[part])]
    for part in parts:
        setattr(tokenizer.backend_tokenizer, part, getattr(said, part))
    return parts


def without_offsets(part):
    """The part without what moves offsets alone, and no id."""
    if isinstance(part, dict):
        return {key: without_offsets(value) for key, value in part.items() if key != "trim_offsets"}
    return [without_offsets(one) for one in part] if isinstance(part, list) else part


def check(levanter, folder):
    """Compares one folder; returns the numbers of strings and of differences."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    specials = [token.content for token in tokenizer.added_tokens_decoder.values()]
    texts = made_strings(specials)
    own = tokenizer(texts, add_special_tokens=False)["input_ids"]
    parts = give_parts_of_file(tokenizer, folder)
    wrong = 0
    records = [{"text": text} for text in texts]
    for around, options in ((False, ()), (True, ("--add-special-tokens",))):
        ours = [a["ids"] for a in answers(levanter, folder, records, *options)]
        theirs = tokenizer(texts, add_special_tokens=around)["input_ids"]
        wrong += differences(f"encode{' with special tokens' if around else ''}", texts, ours, theirs)
        if parts and not around:
            otherwise = sum(a != b for a, b in zip(own, theirs, strict=True))
            print(f"{folder}: {type(tokenizer).__name__} has {', '.join(parts)} of its own: {otherwise} strings "
                  "have other ids there")

    ids = [*tokenizer(texts, add_special_tokens=True)["input_ids"], *drawn_ids(len(tokenizer))]
    records = [{"ids": i} for i in ids]
    for skip, options in ((False, ()), (True, ("--skip-special-tokens",))):
        ours = [a["text"] for a in answers(levanter, folder, records, "--decode", *options)]
        theirs = [tokenizer.decode(i, skip_special_tokens=skip, clean_up_tokenization_spaces=False) for i in ids]
        wrong += differences(f"decode{' without special tokens' if skip else ''}", ids, ours, theirs)
    print(f"{folder}: {len(texts)} strings encoded in 2 ways, {len(ids)} lists of ids decoded in 2 ways, "
          f"{wrong} differences", flush=True)
    return len(texts), wrong


def main(levanter, folders):
    transformers.logging.set_verbosity_error()
    strings = wrong = 0
    for folder in folders:
        counts = check(levanter, folder)
        strings += counts[0]
        wrong += counts[1]
    print(f"transformers {transformers.__version__}: {len(folders)} tokenizers, {strings} strings, {wrong} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(os.path.abspath(sys.argv[1]), sys.argv[2:]))
