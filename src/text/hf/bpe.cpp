// Byte-pair encoding as Hugging Face's tokenizer files describe it.
#include "text/hf/bpe.h"

#include <algorithm>

#include "base/strings.h"
#include "text/hf/unicode.h"

namespace levanter::text::hf {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

bool is_ascii(char c) { return static_cast<uint8_t>(c) < 0x80; }

/// The index of two ASCII characters in a table of 2^14.
size_t pair_of(char a, char b) {
  return static_cast<size_t>(static_cast<uint8_t>(a)) << 7 | static_cast<uint8_t>(b);
}

std::string character_of(uint8_t byte) {
  std::string character;
  append_scalar(character, byte_character(byte));
  return character;
}

}  // namespace

std::string byte_token(uint8_t byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return cat("<0x", kDigits[byte >> 4], kDigits[byte & 15], ">");
}

bool Bpe::has_all_bytes(const Vocabulary& vocabulary) {
  for (int byte = 0; byte < 256; ++byte)
    if (vocabulary.id(character_of(static_cast<uint8_t>(byte))) < 0) return false;
  return true;
}

Bpe::Bpe(const Vocabulary& vocabulary, std::span<const Merge> merges, BpeOptions options)
    : vocabulary_(vocabulary), merges_(merges), options_(std::move(options)) {
  for (int value = 0; value < 256; ++value) {
    const auto byte = static_cast<uint8_t>(value);
    byte_ids_[byte] = vocabulary.id(options_.bytes ? character_of(byte) : byte_token(byte));
  }
  if (options_.bytes && options_.ignore_merges) {
    raw_words_ = std::make_unique<Vocabulary>();
    raw_words_->reserve(vocabulary.count());
    for (int32_t id = 0; id < vocabulary.size(); ++id)
      if (std::string raw; append_bytes(vocabulary.token(id), raw) && !raw.empty())
        raw_words_->add(raw, id);
  }
  if (options_.bytes || !options_.prefix.empty() || !options_.suffix.empty()) return;
  find_safe_spaces();
  exclude_unknown_pairs(merges);
}

void Bpe::exclude_unknown_pairs(std::span<const Merge> merges) {
  const bool all_bytes = options_.byte_fallback && std::all_of(byte_ids_.begin(), byte_ids_.end(),
                                                               [](int32_t id) { return id >= 0; });
  // A character without a token is bytes, which could merge; one that is unknown could be fused.
  for (int value = 0; value < 128; ++value) {
    const char c = static_cast<char>(value);
    if (vocabulary_.id({&c, 1}) >= 0) continue;
    const int32_t id = byte_ids_[static_cast<uint8_t>(c)];
    const auto merged = [id](const Merge& m) { return m.left == id || m.right == id; };
    if (c == '\n' && all_bytes && std::none_of(merges.begin(), merges.end(), merged)) continue;
    for (int other = 0; other < 128; ++other)
      safe_pairs_[pair_of(c, static_cast<char>(other))] =
          safe_pairs_[pair_of(static_cast<char>(other), c)] = false;
  }
}

void Bpe::find_safe_spaces() {
  if (vocabulary_.id(kSpaceMark) < 0) return;
  splits_at_spaces_ = !options_.ignore_merges;
  safe_before_space_.fill(true);
  safe_pairs_.fill(true);
  safe_before_space_[static_cast<uint8_t>(kSpaceMark.back())] = false;
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    const std::string_view token = vocabulary_.token(id);
    for (size_t at = 1; at < token.size(); ++at)
      if (is_ascii(token[at - 1]) && is_ascii(token[at]))
        safe_pairs_[pair_of(token[at - 1], token[at])] = false;
    for (size_t at = 1; (at = token.find(kSpaceMark, at)) != token.npos; at += kSpaceMark.size())
      safe_before_space_[static_cast<uint8_t>(token[at - 1])] = false;
  }
}

size_t Bpe::symbols(std::string_view piece, int32_t* ids) const {
  size_t count = 0;
  if (options_.bytes) {
    for (const char c : piece) ids[count++] = byte_ids_[static_cast<uint8_t>(c)];
    return count;
  }
  bool pending = false;  // an unknown id that is yet to be written, as more may join it
  const auto flush = [&] {
    if (pending) ids[count++] = *options_.unknown;
    pending = false;
  };
  std::string affixed;
  for (size_t at = 0; at < piece.size();) {
    const size_t length = length_at(piece[at]);
    std::string_view character = piece.substr(at, length);
    const bool first = at == 0, last = at + length == piece.size();
    at += length;
    if ((!first && !options_.prefix.empty()) || (last && !options_.suffix.empty())) {
      affixed = cat(first ? "" : options_.prefix, character, last ? options_.suffix : "");
      character = affixed;
    }
    if (const int32_t id = vocabulary_.id(character); id >= 0) {
      flush();
      ids[count++] = id;
      continue;
    }
    const auto known = [&](char c) { return byte_ids_[static_cast<uint8_t>(c)] >= 0; };
    if (options_.byte_fallback && std::all_of(character.begin(), character.end(), known)) {
      for (const char c : character) ids[count++] = byte_ids_[static_cast<uint8_t>(c)];
    } else if (options_.unknown) {
      if (!options_.fuse_unknown) flush();
      pending = true;
    }
  }
  flush();
  return count;
}

void Bpe::merge(std::string_view piece, Ids& out) const {
  if (options_.ignore_merges) {
    const int32_t id = raw_words_ ? raw_words_->id(piece) : vocabulary_.id(piece);
    if (id >= 0) return out.push(id);
  }
  const size_t affixes = options_.prefix.empty() && options_.suffix.empty()
                             ? 0
                             : piece.size() * options_.prefix.size() + options_.suffix.size();
  int32_t* ids = out.room(piece.size() + affixes);
  out.advance(merges_.apply({ids, symbols(piece, ids)}));
}

void Bpe::encode_new(std::string_view piece, const WordCache::Key& key, WordCache& cache,
                     Ids& out) const {
  const size_t before = out.size();
  merge(piece, out);
  const size_t count = out.size() - before;
  if (count <= WordCache::kMostIds) cache.insert(key, out.room(0) - count, count);
}

void Bpe::encode_long(std::string_view piece, const char* readable, WordCache& cache,
                      Ids& out) const {
  if (!splits_at_spaces_) return merge(piece, out);
  const char *p = piece.data(), *begin = p, *end = p + piece.size();
  const auto emit = [&](const char* until) {
    const std::string_view part(begin, static_cast<size_t>(until - begin));
    begin = until;
    if (part.size() > WordCache::kLongest) return merge(part, out);
    encode(part, readable, cache, out);
  };
  while (++p < end)
    if (is_cut(p, end)) emit(p);
  emit(end);
}

}  // namespace levanter::text::hf
