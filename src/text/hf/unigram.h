// The most probable tokens of a text (Kudo 2018, arXiv:1804.10959), by Viterbi's algorithm.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "text/hf/model.h"
#include "text/hf/vocabulary.h"

namespace levanter::text::hf {

class Unigram final : public Model {
 public:
  /// `scores` are log probabilities by id.
  Unigram(const Vocabulary& vocabulary, std::vector<double> scores, std::optional<int32_t> unknown,
          bool byte_fallback);
  void encode(std::string_view piece, const char* readable, WordCache& cache,
              Ids& out) const override;

 private:
  /// A trie of the tokens' bytes: edges in a flat hash table, the id that ends at each node.
  struct Edge {
    uint64_t key = ~uint64_t{0};  ///< node and byte
    uint32_t node = 0;
  };
  void add(std::string_view token, int32_t id);
  void grow();
  /// The node behind an edge, 0 when there is none.
  uint32_t follow(uint32_t node, char byte) const {
    const uint64_t key = uint64_t{node} << 8 | static_cast<uint8_t>(byte);
    for (size_t at = start_of(key);; at = (at + 1) & (edges_.size() - 1)) {
      if (edges_[at].key == key) return edges_[at].node;
      if (edges_[at].key == ~uint64_t{0}) return 0;
    }
  }
  size_t start_of(uint64_t key) const {
    return static_cast<size_t>(key * 0x9E3779B97F4A7C15u >> 20) & (edges_.size() - 1);
  }
  void best_path(std::string_view piece, Ids& out) const;
  void append_unknown(std::string_view text, Ids& out) const;

  std::vector<double> scores_;
  std::optional<int32_t> unknown_;
  double unknown_score_ = 0;
  std::optional<std::array<int32_t, 256>> byte_ids_;
  std::vector<Edge> edges_;
  std::vector<int32_t> ends_ = {-1};  ///< by node; node 0 is the root
};

}  // namespace levanter::text::hf
