// The most probable tokens of a text (Kudo 2018, arXiv:1804.10959), by Viterbi's algorithm.
#include "text/hf/unigram.h"

#include <algorithm>

#include "text/hf/bpe.h"
#include "text/hf/unicode.h"
#include "text/hf/words.h"

namespace levanter::text::hf {
namespace {

constexpr double kUnknownPenalty = 10;  // below the least probable token, as SentencePiece has it

}  // namespace

Unigram::Unigram(const Vocabulary& vocabulary, std::vector<double> scores,
                 std::optional<int32_t> unknown, bool byte_fallback)
    : scores_(std::move(scores)), unknown_(unknown), edges_(size_t{1} << 12) {
  for (int32_t id = 0; id < static_cast<int32_t>(scores_.size()); ++id)
    add(vocabulary.token(id), id);
  const auto least = std::min_element(scores_.begin(), scores_.end());
  unknown_score_ = (least == scores_.end() ? 0 : *least) - kUnknownPenalty;
  if (!byte_fallback) return;
  byte_ids_.emplace();
  for (int byte = 0; byte < 256; ++byte)
    (*byte_ids_)[static_cast<size_t>(byte)] = vocabulary.id(byte_token(static_cast<uint8_t>(byte)));
}

void Unigram::add(std::string_view token, int32_t id) {
  uint32_t node = 0;
  for (const char c : token) {
    uint32_t next = follow(node, c);
    if (next == 0) {
      if (2 * ends_.size() > edges_.size()) grow();
      next = static_cast<uint32_t>(ends_.size());
      ends_.push_back(-1);
      const uint64_t key = uint64_t{node} << 8 | static_cast<uint8_t>(c);
      size_t at = start_of(key);
      while (edges_[at].key != ~uint64_t{0}) at = (at + 1) & (edges_.size() - 1);
      edges_[at] = {key, next};
    }
    node = next;
  }
  if (node != 0) ends_[node] = id;
}

void Unigram::grow() {
  std::vector<Edge> old(2 * edges_.size());
  old.swap(edges_);
  for (const Edge& edge : old) {
    if (edge.key == ~uint64_t{0}) continue;
    size_t at = start_of(edge.key);
    while (edges_[at].key != ~uint64_t{0}) at = (at + 1) & (edges_.size() - 1);
    edges_[at] = edge;
  }
}

void Unigram::encode(std::string_view piece, const char* readable, WordCache& cache,
                     Ids& out) const {
  if (piece.size() > WordCache::kLongest) return best_path(piece, out);
  const WordCache::Key key = WordCache::key_of(piece.data(), piece.size(), readable);
  if (cache.append(key, out)) return;
  const size_t before = out.size();
  best_path(piece, out);
  const size_t count = out.size() - before;
  if (count <= WordCache::kMostIds) cache.insert(key, out.room(0) - count, count);
}

void Unigram::best_path(std::string_view piece, Ids& out) const {
  constexpr uint32_t kNowhere = ~uint32_t{0};
  struct Node {
    double score = 0;  ///< of the best path that ends here
    uint32_t begin = kNowhere;
    int32_t id = -1;  ///< -1: unknown
  };
  std::vector<Node> nodes(piece.size() + 1);
  const auto offer = [&](size_t begin, size_t end, double score, int32_t id) {
    Node& node = nodes[end];
    const double total = score + nodes[begin].score;
    if (node.begin == kNowhere || total > node.score)
      node = {total, static_cast<uint32_t>(begin), id};
  };
  for (size_t begin = 0; begin < piece.size();) {
    const size_t length = length_at(piece[begin]);
    bool alone = false;  // whether the first character is a token
    uint32_t trie = 0;
    for (size_t end = begin; end < piece.size() && (trie = follow(trie, piece[end])) != 0;) {
      ++end;
      const int32_t id = ends_[trie];
      if (id < 0) continue;
      offer(begin, end, scores_[static_cast<size_t>(id)], id);
      alone = alone || end - begin == length;
    }
    if (!alone) offer(begin, begin + length, unknown_score_, -1);
    begin += length;
  }
  struct Step {
    uint32_t begin;
    size_t end;
    int32_t id;
  };
  std::vector<Step> path;  // backwards
  for (size_t end = piece.size(); end > 0; end = nodes[end].begin) {
    const Node& node = nodes[end];
    const bool unknown = node.id < 0 || node.id == unknown_;
    // Unknown characters in a row are one.
    if (unknown && !path.empty() && path.back().id < 0)
      path.back().begin = node.begin;
    else
      path.push_back({node.begin, end, unknown ? -1 : node.id});
  }
  for (auto step = path.rbegin(); step != path.rend(); ++step) {
    if (step->id >= 0)
      out.push(step->id);
    else
      append_unknown(piece.substr(step->begin, step->end - step->begin), out);
  }
}

void Unigram::append_unknown(std::string_view text, Ids& out) const {
  const auto byte_id = [&](char c) { return (*byte_ids_)[static_cast<uint8_t>(c)]; };
  if (byte_ids_ && std::all_of(text.begin(), text.end(), [&](char c) { return byte_id(c) >= 0; })) {
    for (const char c : text) out.push(byte_id(c));
    return;
  }
  if (!unknown_) throw_no_unknown(text);
  out.push(*unknown_);
}

}  // namespace levanter::text::hf
