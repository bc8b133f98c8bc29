// Counts of what a component's texts became: for people, and for summary.json.
#include "data/row_counts.h"

#include <algorithm>

#include "base/strings.h"

namespace levanter::data {
namespace {

std::string line(const ComponentCounts& c, std::string_view split, const RowCounts& n) {
  std::string text = cat(c.name, "/", split, ": ", count_of(n.documents, c.noun));
  if (n.cut > 0) text += cat(", ", format_count(n.cut), " cut");
  if (n.dropped > 0) text += cat(", ", format_count(n.dropped), " dropped");
  if (n.unlearned > 0) text += cat(", ", format_count(n.unlearned), " without a target left out");
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
    n.learned = learned.in(std::min<int64_t>(1, n.tokens), n.tokens);  // the first follows none
    return n;
  }
  PackOptions pack = *rows.pack;
  pack.seq_len = seq_len;
  for (int64_t d = 0; d < n.documents; ++d) {
    const int64_t tokens = stream.document_start(d + 1) - stream.document_start(d);
    const bool is_long = tokens - 1 > seq_len, dropped = is_long && pack.too_long == TooLong::kDrop;
    n.dropped += dropped;
    if (dropped || tokens < 2) continue;
    const Piece piece = piece_of(stream, d, pack);
    const int64_t targets = learned.in(piece.begin + 1, piece.begin + 1 + piece.positions);
    n.unlearned += targets == 0;
    if (targets == 0) continue;
    n.cut += is_long;
    n.tokens += piece.positions + 1;
    n.learned += targets;
  }
  return n;
}

std::vector<std::string> describe(const ComponentCounts& c) {
  std::vector<std::string> lines;
  if (c.packed || c.weighted) lines.push_back(line(c, "train", c.train));
  if (c.validation.cut + c.validation.dropped + c.validation.unlearned > 0)
    lines.push_back(line(c, "validation", c.validation));
  return lines;
}

}  // namespace levanter::data
