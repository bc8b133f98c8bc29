// Byte-pair encoding as Hugging Face's tokenizer files describe it.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/hf/merges.h"
#include "text/hf/model.h"
#include "text/hf/vocabulary.h"

namespace levanter::text::hf {

/// The token that stands for a byte where characters have none: "<0x0A>".
std::string byte_token(uint8_t byte);

struct BpeOptions {
  std::optional<int32_t> unknown;  ///< the id of characters that have none
  bool fuse_unknown = false;       ///< one id for a row of them
  bool byte_fallback = false;      ///< "<0x0A>" for the bytes of a character that has no id
  bool ignore_merges = false;      ///< a piece that is a token is taken whole
  std::string prefix;              ///< of every character of a piece but the first
  std::string suffix;              ///< of the last
  /// Pieces are bytes: each stands for the character that byte_character gives it.
  bool bytes = false;
};

class Bpe final : public Model {
 public:
  /// `vocabulary` must live as long.
  Bpe(const Vocabulary& vocabulary, std::span<const Merge> merges, BpeOptions options);

  /// Whether every byte's character is a token, as BpeOptions::bytes needs.
  static bool has_all_bytes(const Vocabulary& vocabulary);

  /// Whether the ids of a text that ends at `end` are those of what stands before `p`, which is
  /// not its beginning, and those of the rest; false where that is not known.
  bool is_cut(const char* p, const char* end) const {
    const auto before = static_cast<uint8_t>(p[-1]), at = static_cast<uint8_t>(*p);
    if (at < 0x80)
      return before < 0x80 && safe_pairs_[size_t{before} << 7 | at] && splits_at_spaces_;
    // U+2581
    return at == 0xE2 && end - p >= 3 && p[1] == '\x96' && p[2] == '\x81' &&
           safe_before_space_[before] && splits_at_spaces_;
  }

  void encode(std::string_view piece, const char* readable, WordCache& cache,
              Ids& out) const override {
    if (piece.size() > WordCache::kLongest) return encode_long(piece, readable, cache, out);
    const WordCache::Key key = WordCache::key_of(piece.data(), piece.size(), readable);
    if (!cache.append(key, out)) encode_new(piece, key, cache, out);
  }

 private:
  void encode_new(std::string_view piece, const WordCache::Key& key, WordCache& cache,
                  Ids& out) const;
  void encode_long(std::string_view piece, const char* readable, WordCache& cache, Ids& out) const;
  /// Appends the ids of a piece without looking at the cache.
  void merge(std::string_view piece, Ids& out) const;
  /// Writes the ids of a piece's characters at `ids`, at most one for each byte; how many.
  size_t symbols(std::string_view piece, int32_t* ids) const;
  void find_safe_spaces();
  void exclude_unknown_pairs(std::span<const Merge> merges);

  const Vocabulary& vocabulary_;
  MergeTable merges_;
  BpeOptions options_;
  std::array<int32_t, 256> byte_ids_;      ///< of a byte's character, or of "<0x..>"
  std::unique_ptr<Vocabulary> raw_words_;  ///< tokens as bytes, for ignore_merges
  /// Whether no token reaches from a character that ends in this byte into a U+2581.
  std::array<bool, 256> safe_before_space_{};
  bool splits_at_spaces_ = false;
  /// Whether no token holds these two ASCII characters side by side.
  std::array<bool, size_t{1} << 14> safe_pairs_{};
};

}  // namespace levanter::text::hf
