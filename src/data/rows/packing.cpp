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

/// Rows that documents are put into, in the order in which they were begun.
class Rows final {
 public:
  explicit Rows(const PackOptions& options) : options_(options) {}

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
    documents.push_back(document);
    room -= positions;
    if (room > 0 && static_cast<int64_t>(documents.size()) < options_.most_segments)
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

/// The rows of a plan, each as make(stream, plan, row).
template <class T>
DatasetPtr<T> packed_as(StreamPtr stream, PlanPtr plan,
                        T (*make)(const TokenStream&, const PackPlan&, int64_t)) {
  return made<T>(plan->rows(), [=](std::span<const int64_t> indices) {
    std::vector<T> out;
    out.reserve(indices.size());
    for (const int64_t row : indices) out.push_back(make(*stream, *plan, row));
    return out;
  });
}

Example packed_row(const TokenStream& stream, const PackPlan& plan, int64_t row) {
  Example e(static_cast<size_t>(plan.options().seq_len));
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
    std::fill_n(e.segment_ids.begin() + static_cast<int64_t>(at), n, segment);
    if (!plan.options().crosses) ++segment;
    count_from(at, at + n);
    at += n;
  }
  count_from(at, e.positions.size());
  return e;
}

double packed_weight(const TokenStream& stream, const PackPlan& plan, int64_t row) {
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
  const int64_t all = stream.document_start(document + 1) - begin - 1;
  const int64_t kept = std::min(all, options.seq_len);
  return {options.too_long == TooLong::kKeepTail ? begin + all - kept : begin, kept};
}

PackPlan::PackPlan(const TokenStream& stream, const PackOptions& options) : options_(options) {
  LEV_CHECK(options.seq_len >= 1 && options.most_segments >= 1, "a row holds something");
  Rows rows(options);
  LearnedCount learned(stream);
  for (int64_t d = 0; d < stream.num_documents(); ++d) {
    const int64_t tokens = stream.document_start(d + 1) - stream.document_start(d);
    if (tokens < 2) continue;
    const bool is_long = tokens - 1 > options.seq_len;
    if (is_long && options.too_long == TooLong::kRefuse)
      throw Error(ErrorKind::kData,
                  cat("document ", d + 1, " has ", count_of(tokens, "token"), ", more than the ",
                      format_count(options.seq_len + 1), " of a row (the sequence length and one)"))
          .hint("raise model.max_seq_len, or say with too_long which part to keep");
    if (is_long && options.too_long == TooLong::kDrop) {
      ++counts_.dropped;
      continue;
    }
    const Piece piece = piece_of(stream, d, options);
    const int64_t targets = learned.in(piece.begin + 1, piece.begin + 1 + piece.positions);
    counts_.unlearned += targets == 0;
    if (targets == 0) continue;
    counts_.cut += is_long;
    counts_.tokens += piece.positions + 1;
    counts_.learned += targets;
    rows.add(d, piece.positions);
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

DatasetPtr<Example> packed(StreamPtr stream, PlanPtr plan) {
  return packed_as(std::move(stream), std::move(plan), packed_row);
}

DatasetPtr<double> packed_loss_tokens(StreamPtr stream, PlanPtr plan) {
  return packed_as(std::move(stream), std::move(plan), packed_weight);
}

}  // namespace levanter::data
