// Counts of what a component's texts became: for people, and for summary.json.
#include "data/row_counts.h"

#include <algorithm>
#include <iterator>

#include "base/strings.h"

namespace levanter::data {
namespace {

/// Counts the tokens of a stream that weigh something as targets, in ranges that rise; reads long
/// pieces.
class LearnedCount final {
 public:
  explicit LearnedCount(const TokenStream& stream) : stream_(stream) {}

  int64_t in(int64_t begin, int64_t end) {
    if (!stream_.weighted()) return end - begin;
    int64_t learned = 0;
    for (; begin < end; ++begin) {
      if (begin >= begin_ + std::ssize(weights_)) read_from(begin);
      learned += weights_[static_cast<size_t>(begin - begin_)] > 0;
    }
    return learned;
  }

 private:
  void read_from(int64_t begin) {
    constexpr int64_t kPiece = 1 << 16;
    begin_ = begin;
    weights_.resize(static_cast<size_t>(std::min(kPiece, stream_.size() - begin)));
    stream_.read_weights(begin, weights_);
  }

  const TokenStream& stream_;
  int64_t begin_ = 0;
  std::vector<float> weights_;
};

std::string line(const ComponentCounts& c, std::string_view split, const RowCounts& n) {
  std::string text = cat(c.name, "/", split, ": ", count_of(n.documents, c.noun));
  if (n.cut > 0) text += cat(", ", format_count(n.cut), " cut");
  if (n.dropped > 0) text += cat(", ", format_count(n.dropped), " dropped");
  if (c.weighted && n.tokens > 0)
    text +=
        cat(", ",
            format_fixed(100.0 * static_cast<double>(n.learned) / static_cast<double>(n.tokens), 0),
            " % of ", count_of(n.tokens, "token"), " learned");
  return cat(text, ", ", count_of(n.rows, "row"));
}

}  // namespace

RowCounts count_documents(const TokenStream& stream, const RowSpec& rows, int64_t seq_len) {
  RowCounts n;
  LearnedCount learned(stream);
  n.documents = stream.num_documents();
  if (!rows.pack) {
    n.tokens = stream.size();
    n.learned = learned.in(0, n.tokens);
    return n;
  }
  PackOptions pack = *rows.pack;
  pack.seq_len = seq_len;
  for (int64_t d = 0; d < n.documents; ++d) {
    const int64_t tokens = stream.document_start(d + 1) - stream.document_start(d);
    const bool is_long = tokens - 1 > seq_len, dropped = is_long && pack.too_long == TooLong::kDrop;
    n.cut += is_long && !dropped;
    n.dropped += dropped;
    if (dropped || tokens < 2) continue;
    const Piece piece = piece_of(stream, d, pack);
    n.tokens += piece.positions + 1;
    n.learned += learned.in(piece.begin + 1, piece.begin + 1 + piece.positions);
  }
  return n;
}

std::vector<std::string> describe(const ComponentCounts& c) {
  std::vector<std::string> lines;
  if (c.packed || c.weighted) lines.push_back(line(c, "train", c.train));
  if (c.validation.cut + c.validation.dropped > 0)
    lines.push_back(line(c, "validation", c.validation));
  return lines;
}

}  // namespace levanter::data
