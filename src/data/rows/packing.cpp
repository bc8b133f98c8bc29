// Packing: several whole documents in one row, told apart by segments.
#include "data/rows/packing.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "base/error.h"
#include "base/strings.h"
#include "data/rows/combinators.h"

namespace levanter::data {
namespace {

/// Documents that stand together in a row: one, or the two of a pair.
int64_t unit_of(const PackOptions& options) { return options.pairs ? 2 : 1; }

/// Rows that documents are put into, in the order in which they were begun.
class Rows final {
 public:
  explicit Rows(const PackOptions& options) : options_(options) {}

  /// Of the documents from number `document` on as many as stand together.
  void add(int64_t document, int64_t positions) {
    // The open row with the least room that is enough.
    const auto open = options_.alone ? open_.end() : open_.lower_bound(positions);
    int64_t row = 0, room = options_.seq_len;
    if (open == open_.end()) {
      if (options_.order == PackOrder::kGreedy) open_.clear();
      row = static_cast<int64_t>(rows_.size());
      rows_.emplace_back();
    } else {
      std::tie(room, row) = *open;
      open_.erase(open);
    }
    std::vector<int64_t>& documents = rows_[static_cast<size_t>(row)];
    for (int64_t i = 0; i < unit_of(options_); ++i) documents.push_back(document + i);
    room -= positions;
    if (room > 0 && std::ssize(documents) + unit_of(options_) <= options_.most_segments)
      open_.emplace(room, row);
  }
  const std::vector<std::vector<int64_t>>& rows() const { return rows_; }

 private:
  const PackOptions& options_;
  std::multimap<int64_t, int64_t> open_;  ///< room to row; the oldest first
  std::vector<std::vector<int64_t>> rows_;
};

using StreamPtr = std::shared_ptr<const TokenStream>;
using PlanPtr = std::shared_ptr<const PackPlan>;

/// The rows of a plan, each as make(row).
template <class T, class Make>
DatasetPtr<T> packed_as(const PlanPtr& plan, Make make) {
  return made<T>(plan->rows(), [make = std::move(make)](std::span<const int64_t> indices) {
    std::vector<T> out;
    out.reserve(indices.size());
    for (const int64_t row : indices) out.push_back(make(row));
    return out;
  });
}

Example packed_row(const TokenStream& stream, const TokenValues* references, const PackPlan& plan,
                   int64_t row) {
  Example e(static_cast<size_t>(plan.options().seq_len));
  if (references) e.reference_logps.resize(e.tokens.size());
  size_t at = 0;
  int32_t segment = 0;
  const auto count_from = [&](size_t begin, size_t end) {
    std::iota(e.positions.begin() + static_cast<int64_t>(begin),
              e.positions.begin() + static_cast<int64_t>(end),
              plan.options().reset_positions ? 0 : static_cast<int32_t>(begin));
  };
  for (const int64_t document : plan.documents(row)) {
    const Piece piece = piece_of(stream, document, plan.options());
    const auto n = static_cast<size_t>(piece.positions);
    stream.read(piece.begin, std::span(e.tokens).subspan(at, n));
    stream.read(piece.begin + 1, std::span(e.targets).subspan(at, n));
    stream.read_weights(piece.begin + 1, std::span(e.loss_weight).subspan(at, n));
    if (references) references->read(piece.begin + 1, std::span(e.reference_logps).subspan(at, n));
    std::fill_n(e.segment_ids.begin() + static_cast<int64_t>(at), n, segment);
    if (!plan.options().crosses) ++segment;
    count_from(at, at + n);
    at += n;
  }
  count_from(at, e.positions.size());
  return e;
}

double packed_weight(const TokenStream& stream, const PackPlan& plan, int64_t row) {
  if (plan.options().pairs) return static_cast<double>(plan.documents(row).size() / 2);
  double total = 0;
  std::vector<float> weights;
  for (const int64_t document : plan.documents(row)) {
    const Piece piece = piece_of(stream, document, plan.options());
    weights.resize(static_cast<size_t>(piece.positions));
    stream.read_weights(piece.begin + 1, weights);
    total = std::accumulate(weights.begin(), weights.end(), total);
  }
  return total;
}

/// Positions that a document takes as a whole.
int64_t positions_of(const TokenStream& stream, int64_t document) {
  return stream.document_start(document + 1) - stream.document_start(document) - 1;
}

[[noreturn]] void refuse(const TokenStream& stream, int64_t document, const PackOptions& options) {
  const int64_t tokens = positions_of(stream, document) + 1;
  if (!options.pairs)
    throw Error(ErrorKind::kData, cat("document ", document + 1, " has ", count_of(tokens, "token"),
                                      ", more than the ", format_count(options.seq_len + 1),
                                      " of a row (the sequence length and one)"))
        .hint("raise model.max_seq_len, or say with too_long which part to keep");
  throw Error(ErrorKind::kData,
              cat("the answers of pair ", document / 2 + 1, " have ", count_of(tokens, "token"),
                  " and ", format_count(positions_of(stream, document + 1) + 1),
                  " with their prompts, more than the ", format_count(options.seq_len + 2),
                  " of a row that holds both (the sequence length and one for each)"))
      .hint("raise model.max_seq_len, or say with too_long which part to keep");
}

}  // namespace

int64_t LearnedCount::in(int64_t begin, int64_t end) {
  if (!stream_.weighted()) return end - begin;
  int64_t learned = 0;
  for (; begin < end; ++begin) {
    if (begin < begin_ || begin >= begin_ + std::ssize(weights_)) read_from(begin);
    learned += weights_[static_cast<size_t>(begin - begin_)] > 0;
  }
  return learned;
}

void LearnedCount::read_from(int64_t begin) {
  constexpr int64_t kPiece = 1 << 16;
  begin_ = begin;
  weights_.resize(static_cast<size_t>(std::min(kPiece, stream_.size() - begin)));
  stream_.read_weights(begin, weights_);
}

Piece piece_of(const TokenStream& stream, int64_t document, const PackOptions& options) {
  const int64_t begin = stream.document_start(document);
  const int64_t all = positions_of(stream, document);
  int64_t room = options.seq_len;
  if (options.pairs) room = std::max(room / 2, room - positions_of(stream, document ^ 1));
  const int64_t kept = std::min(all, room);
  return {options.too_long == TooLong::kKeepTail ? begin + all - kept : begin, kept};
}

bool is_too_long(const TokenStream& stream, int64_t document, const PackOptions& options) {
  int64_t positions = positions_of(stream, document);
  if (options.pairs) positions += positions_of(stream, document + 1);
  return positions > options.seq_len;
}

namespace {

/// Whether the same is kept of both answers of the pair that begins with document `document`.
bool keeps_equal(const TokenStream& stream, int64_t document, const PackOptions& options) {
  const Piece chosen = piece_of(stream, document, options);
  const Piece rejected = piece_of(stream, document + 1, options);
  if (chosen.positions != rejected.positions) return false;
  std::vector<int32_t> ids(static_cast<size_t>(chosen.positions + 1)), others(ids.size());
  stream.read(chosen.begin, ids);
  stream.read(rejected.begin, others);
  return ids == others;
}

}  // namespace

PackPlan::PackPlan(const TokenStream& stream, const PackOptions& options) : options_(options) {
  LEV_CHECK(options.seq_len >= 1 && options.most_segments >= 1, "a row holds something");
  const int64_t unit = unit_of(options), documents = stream.num_documents();
  LEV_CHECK(documents % unit == 0, "a pair is two documents");
  Rows rows(options);
  LearnedCount learned(stream);
  for (int64_t d = 0; d < documents; d += unit) {
    if (!options.pairs && positions_of(stream, d) < 1) continue;
    const bool is_long = is_too_long(stream, d, options);
    if (is_long && options.too_long == TooLong::kRefuse) refuse(stream, d, options);
    if (is_long && options.too_long == TooLong::kDrop) {
      counts_.dropped += unit;
      continue;
    }
    int64_t positions = 0, targets = 0, cut = 0;
    bool is_learned = true;
    for (int64_t i = d; i < d + unit; ++i) {
      const Piece piece = piece_of(stream, i, options);
      const int64_t more = learned.in(piece.begin + 1, piece.begin + 1 + piece.positions);
      is_learned = is_learned && more > 0;
      targets += more;
      positions += piece.positions;
      cut += piece.positions < positions_of(stream, i) ? 1 : 0;
    }
    if (options.pairs && is_long) is_learned = is_learned && !keeps_equal(stream, d, options);
    if (!is_learned) {
      counts_.unlearned += unit;
      continue;
    }
    counts_.cut += cut;
    counts_.tokens += positions + unit;
    counts_.learned += targets;
    rows.add(d, positions);
  }
  for (const std::vector<int64_t>& row : rows.rows()) {
    documents_.insert(documents_.end(), row.begin(), row.end());
    ends_.push_back(static_cast<int64_t>(documents_.size()));
  }
}

std::span<const int64_t> PackPlan::documents(int64_t row) const {
  LEV_CHECK(row >= 0 && row < rows(), "a row is outside the packing");
  const auto r = static_cast<size_t>(row);
  const int64_t begin = r == 0 ? 0 : ends_[r - 1];
  return std::span(documents_)
      .subspan(static_cast<size_t>(begin), static_cast<size_t>(ends_[r] - begin));
}

DatasetPtr<Example> packed(StreamPtr stream, PlanPtr plan,
                           std::shared_ptr<const TokenValues> references) {
  return packed_as<Example>(
      plan, [=](int64_t row) { return packed_row(*stream, references.get(), *plan, row); });
}

DatasetPtr<double> packed_loss_tokens(StreamPtr stream, PlanPtr plan) {
  return packed_as<double>(plan, [=](int64_t row) { return packed_weight(*stream, *plan, row); });
}

}  // namespace levanter::data
