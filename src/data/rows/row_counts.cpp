// Counts of what a component's texts became: for people, and for summary.json.
#include "data/rows/row_counts.h"

#include <algorithm>

#include "base/strings.h"

namespace levanter::data {
namespace {

std::string line(const ComponentCounts& c, std::string_view split, const RowCounts& n) {
  std::string text = cat(c.name, "/", split, ": ", count_of(n.documents, c.noun));
  if (n.cut > 0) text += cat(", ", format_count(n.cut), " cut");
  if (n.dropped > 0) text += cat(", ", format_count(n.dropped), " dropped");
  if (n.unlearned > 0)
    text += cat(", ", format_count(n.unlearned), " with nothing to learn left out");
  if (c.weighted && n.tokens > 0)
    text +=
        cat(", ",
            format_fixed(100.0 * static_cast<double>(n.learned) / static_cast<double>(n.tokens), 0),
            " % of ", count_of(n.tokens, "token"), " learned");
  text += cat(", ", count_of(n.rows, "row"));
  return n.empty_rows > 0 ? cat(text, ", ", format_count(n.empty_rows), " without a target") : text;
}

}  // namespace

RowCounts count_documents(const TokenStream& stream, const RowSpec& rows, int64_t seq_len) {
  RowCounts n;
  n.documents = stream.num_documents();
  if (rows.pack) {
    PackOptions pack = *rows.pack;
    pack.seq_len = seq_len;
    static_cast<PackCounts&>(n) = PackPlan(stream, pack).counts();
    return n;
  }
  LearnedCount learned(stream);
  n.tokens = stream.size();
  for (int64_t d = 0; d < n.documents; ++d) {  // the first token of all, or of each, follows none
    const bool follows = d > 0 && rows.borders.crosses;
    n.learned +=
        learned.in(stream.document_start(d) + (follows ? 0 : 1), stream.document_start(d + 1));
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
