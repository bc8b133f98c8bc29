// Learns a byte-level BPE vocabulary from text (Sennrich et al. 2016, arXiv:1508.07909).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace levanter::text {

struct TrainOptions {
  int64_t vocab_size = 32000;         ///< the most tokens, special ones included
  int64_t min_frequency = 2;          ///< a pair met less often is not merged
  std::vector<std::string> specials;  ///< tokens that get the first ids
};

/// A learnt vocabulary: the special tokens, the 256 bytes in the order of their characters, and one
/// token for each merge.
struct TrainedBpe {
  std::vector<std::string> tokens;                          ///< by id, in byte characters
  std::vector<std::pair<std::string, std::string>> merges;  ///< in order

  /// The files of a Hugging Face folder.
  std::string tokenizer_json(size_t specials) const;
  std::string vocab_json() const;
  std::string merges_txt() const;
};

/// Learns from texts that are UTF-8, each of their lines split as GPT-2 does. The most frequent
/// pair is merged first, of equals the one of the smallest ids, so equal texts give equal files.
TrainedBpe train_bpe(std::span<const std::string> texts, const TrainOptions& options);

}  // namespace levanter::text
