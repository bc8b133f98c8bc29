"""Prints tests/golden/hf_cases.jsonl: small made-up tokenizers, texts, and what Hugging Face makes of them.

Usage: python make_tokenizer_cases.py > tests/golden/hf_cases.jsonl  (needs the package tokenizers)

A line is {"name", "tokenizer", "cases": [{"text", "ids", "special_ids", "decoded", "skipped"}]}.
"""

import json

from tokenizers import Tokenizer

TEXTS = [
    "", " ", "a", "ab abc  abab", "The cat, the CAT!  12 345\n\n x", "caf\u00e9 cafe\u0301 \ufb01x \u00bd\u0130",
    "<mask> a<mask>b  <mask>", "wordy word word.", "\u4e2d\u6587abc\u3042\u304b\u3099", "don't  'S I'LL \u2019s",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "a\tb\r\nc\u00a0d\u3000e\u200bf",
    "\U0001f468\u200d\U0001f469 \U0001f1e9\U0001f1ea", "\ua7cb\u1c89 \U000105c0", "x\u0000y\u0007z\ufeff\ufffd",
    "\u1df7\u05ac\uac70\u11a7\u11a8 a\u0c84\u1b7db 12345678 \u3042\u30a2\u6f22,\u3001. (a|b) \u00bdx\u0e34\u08d4\u1734 \u0600\u0890a",
]
LLAMA = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")
BYTES = [chr(c) for c in [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100), *range(0x100, 0x144)]]
MARK = "\u2581"


def vocabulary(tokens):
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def bpe(tokens, merges, **options):
    joined = [a + b.removeprefix(options.get("continuing_subword_prefix") or "") for a, b in merges]
    return {"type": "BPE", "vocab": vocabulary([*tokens, *joined]), "merges": [f"{a} {b}" for a, b in merges], **options}


def added(*tokens):
    return [{"id": 1000 + i, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True, **flags} for i, (content, flags) in enumerate(tokens)]


MERGES = [("a", "b"), ("ab", "c"), ("a", "a"), ("aa", "aa"), ("t", "h"), ("th", "e"), ("\u0120", "a")]
BYTE_BPE = bpe(BYTES, MERGES)
LETTERS = ["<unk>", *"abcdefghijklmnopqrstuvwxyz", MARK, ",", "1", "2"]
SPACED = bpe(LETTERS, [("a", "b"), (MARK, "ab"), ("a", "a"), ("aa", "aa"), (MARK, "t"), (MARK + "t", "h")],
             unk_token="<unk>", fuse_unk=True)
FALLBACK = bpe([*LETTERS, *(f"<0x{b:02X}>" for b in range(256))], [("a", "b"), (MARK, "ab"), (MARK, MARK)],
               unk_token="<unk>", byte_fallback=True, fuse_unk=True)
WORDS = {"type": "WordLevel", "unk_token": "<unk>", "vocab": vocabulary(
    ["<unk>", "the", "The", "cat", "CAT", ",", "!", "12", "1", "2", "345", "a", "ab", "abc", " ", "  ", "word", "don",
     "'", "t", "caf\u00e9", "cafe", "x", "fix", "1\u20442", ", ", "the ", " the", "ab ", " abc", "\n\n x"])}
PIECES = {"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 20,
          "vocab": vocabulary(["<unk>", "[C]", "[S]", "the", "cat", "c", "##at", "##a", "##b", "##c", "a", "word",
                               "##y", ",", "!", ".", "cafe", "\u4e2d", "\u6587", "don", "'", "t", "1", "##2"])}
GRAMS = {"type": "Unigram", "unk_id": 0, "byte_fallback": False, "vocab": [
    ["<unk>", 0.0], ["a", -2.0], ["b", -2.5], ["ab", -3.5], ["abc", -5.0], ["c", -2.0], [MARK, -1.0],
    [MARK + "a", -2.5], [MARK + "the", -4.0], ["t", -3.0], ["h", -3.0], ["e", -3.0], ["aa", -3.0], ["cat", -4.0]]}
META = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "always", "split": True}
SPLIT = {"type": "Split", "pattern": {"Regex": r"[a-c]+|\s"}, "behavior": "Isolated", "invert": False}
# Where Oniguruma's expressions, which the package reads, are not those of others.
EXPRESSIONS = {
    "class in class": r" ?[^(\s|[.,!?\u2026\u3002\uff0c\u3001])]+",
    "repeated count": r"\p{N}{1,3}+|(?:ab){2}+|\p{L}++",
    "intersection": r"[\p{L}&&[^\p{Han}a]]+|[^\p{L}&&[^,\s]]+",
    "scripts": r"\p{Han}+|\p{Hiragana}+|[\p{Katakana}]+|\P{Latin}",
    "word characters": r"\w+|\b|[[:punct:]\h]",
    "not words": r"[\W\d]+",
    "all but": r"[^\W\d_]+|[^\S\n]",
}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BYTE_END = {**BYTE_LEVEL, "use_regex": False}


def sequence(key, *steps):
    return {"type": "Sequence", key: list(steps)}


def tokenizers():
    mask = added(("<mask>", {"lstrip": True}), ("word", {"single_word": True, "normalized": True, "special": False}))
    yield "gpt2", {"model": BYTE_BPE, "pre_tokenizer": BYTE_LEVEL, "decoder": BYTE_LEVEL, "added_tokens": mask}
    llama = {"type": "Split", "pattern": {"Regex": LLAMA}, "behavior": "Isolated", "invert": False}
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "a", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens":
                {"a": {"id": "a", "ids": [64], "tokens": ["a"]}}}
    template["pair"] = [*template["single"], {"Sequence": {"id": "B", "type_id": 1}}]
    yield "llama3", {"model": {**BYTE_BPE, "ignore_merges": True}, "normalizer": {"type": "NFC"}, "decoder": BYTE_LEVEL,
                     "pre_tokenizer": sequence("pretokenizers", llama, BYTE_END),
                     "post_processor": sequence("processors", BYTE_LEVEL, template)}
    falcon = sequence("pretokenizers", {"type": "Punctuation", "behavior": "Contiguous"}, BYTE_LEVEL,
                      {"type": "Digits", "individual_digits": False},
                      {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated", "invert": False})
    yield "falcon", {"model": BYTE_BPE, "pre_tokenizer": falcon, "decoder": BYTE_LEVEL}
    roberta = {"type": "RobertaProcessing", "sep": ["b", 65], "cls": ["a", 64], "trim_offsets": True,
               "add_prefix_space": True}
    yield "roberta", {"model": BYTE_BPE, "pre_tokenizer": {**BYTE_LEVEL, "add_prefix_space": True},
                      "decoder": BYTE_LEVEL, "post_processor": roberta,
                      "added_tokens": added(("<mask>", {"rstrip": True}))}
    prepend = sequence("normalizers", {"type": "Prepend", "prepend": MARK},
                       {"type": "Replace", "pattern": {"String": " "}, "content": MARK})
    decoder = sequence("decoders", {"type": "Replace", "pattern": {"String": MARK}, "content": " "},
                       {"type": "ByteFallback"}, {"type": "Fuse"},
                       {"type": "Strip", "content": " ", "start": 1, "stop": 0})
    yield "llama2", {"model": FALLBACK, "normalizer": prepend, "decoder": decoder, "added_tokens": mask}
    yield "unknown", {"model": SPACED, "pre_tokenizer": META, "decoder": META}
    yield "unknown apart", {"model": {**SPACED, "fuse_unk": False}, "decoder": META,
                            "pre_tokenizer": {**META, "prepend_scheme": "first", "split": False}, "added_tokens": mask}
    affixed = bpe(["<unk>", *"abct", *(f"{c}</w>" for c in "abct"), "##a"], [("a", "b"), ("a", "b</w>"), ("c", "a")],
                  unk_token="<unk>", end_of_word_suffix="</w>")
    yield "suffix", {"model": affixed, "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": {"type": "BPEDecoder", "suffix": "</w>"},
                     "normalizer": {"type": "Lowercase"}}
    prefixed = bpe(["<unk>", *"abct", *(f"##{c}" for c in "abct")], [("a", "##b"), ("ab", "##c"), ("##a", "##b")],
                   unk_token="<unk>", continuing_subword_prefix="##")
    yield "prefix", {"model": prefixed, "pre_tokenizer": {"type": "Whitespace"}, "decoder":
                     {"type": "WordPiece", "prefix": "##", "cleanup": True}}
    for name, flags in (("bert", {}), ("bert cased", {"lowercase": False, "strip_accents": None}),
                        ("bert plain", {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False})):
        normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                      "strip_accents": None, "lowercase": True, **flags}
        yield name, {"model": PIECES, "normalizer": normalizer, "pre_tokenizer": {"type": "BertPreTokenizer"},
                     "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": not flags},
                     "post_processor": {"type": "BertProcessing", "sep": ["[S]", 2], "cls": ["[C]", 1]}}
    nmt = sequence("normalizers", {"type": "Nmt"}, {"type": "NFKC"},
                   {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    yield "unigram", {"model": GRAMS, "normalizer": nmt, "pre_tokenizer": META, "decoder": META}
    forms = sequence("normalizers", {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"},
                     {"type": "Strip", "strip_left": True, "strip_right": True})
    yield "words", {"model": WORDS, "normalizer": forms, "pre_tokenizer": {"type": "Whitespace"}}
    for behavior in ("Removed", "Isolated", "Contiguous", "MergedWithPrevious", "MergedWithNext"):
        for invert in (False, True):
            yield f"{behavior} {invert}", {"model": WORDS, "pre_tokenizer":
                                           {**SPLIT, "behavior": behavior, "invert": invert}}
    for name, expression in EXPRESSIONS.items():
        yield name, {"model": WORDS, "pre_tokenizer": {**SPLIT, "pattern": {"Regex": expression}}}
    yield "normalized added", {"model": WORDS, "normalizer": {"type": "Lowercase"}, "added_tokens": added(
        ("The CAT", {"normalized": True, "rstrip": True}), ("<Mask>", {}))}
    yield "nfd digits", {"model": WORDS, "normalizer": {"type": "NFD"}, "pre_tokenizer": sequence(
        "pretokenizers", {"type": "Digits", "individual_digits": True}, {"type": "CharDelimiterSplit", "delimiter": " "})}


def main():
    for name, parts in tokenizers():
        parts = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
                 "pre_tokenizer": None, "post_processor": None, "decoder": None, **parts}
        next_id = len(parts["model"]["vocab"])
        for i, token in enumerate(parts["added_tokens"]):
            token["id"] = next_id + i
        tokenizer = Tokenizer.from_str(json.dumps(parts))
        cases = []
        for text in TEXTS:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            cases.append({"text": text, "ids": ids, "special_ids": tokenizer.encode(text).ids,
                          "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                          "skipped": tokenizer.decode(ids, skip_special_tokens=True)})
        print(json.dumps({"name": name, "tokenizer": parts, "cases": cases}))


main()
