// Packing: several whole documents in one row, told apart by segments.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/rows/example.h"
#include "data/token_stream.h"

namespace levanter::data {

/// Which documents share a row.
enum class PackOrder {
  kGreedy,   ///< in the order of the documents: a row ends where the next one does not fit
  kBestFit,  ///< each into the open row that it leaves the least room in
};

/// What becomes of a document that is longer than a row.
enum class TooLong {
  kKeepHead,  ///< its first seq_len + 1 tokens
  kKeepTail,  ///< its last seq_len + 1 tokens
  kRefuse,    ///< an error
  kDrop,      ///< left out, and counted
};

struct PackOptions {
  int64_t seq_len = 0;
  PackOrder order = PackOrder::kGreedy;
  TooLong too_long = TooLong::kRefuse;
  int64_t most_segments = kMostSegments;  ///< documents of a row
  bool alone = false;                     ///< one document a row, or one pair
  /// Documents 2k and 2k + 1 are the answers of a pair and stand together in a row. The pair as a
  /// whole is too long or not; of a part, the longer answer is cut to what the other leaves, but
  /// not below half a row.
  bool pairs = false;
  bool crosses = false;         ///< attention goes from document to document of a row
  bool reset_positions = true;  ///< positions count from 0 in every document, not in every row
};

/// The part of a document that its row holds: tokens [begin, begin + positions], one more than
/// positions.
struct Piece {
  int64_t begin = 0, positions = 0;
};
Piece piece_of(const TokenStream& stream, int64_t document, const PackOptions& options);

/// Whether a document does not fit a row; of pairs the one that begins with document `document`.
bool is_too_long(const TokenStream& stream, int64_t document, const PackOptions& options);

/// Counts the tokens of a stream that weigh something as targets, in ranges that rise; reads long
/// pieces.
class LearnedCount final {
 public:
  explicit LearnedCount(const TokenStream& stream) : stream_(stream) {}
  int64_t in(int64_t begin, int64_t end);

 private:
  void read_from(int64_t begin);

  const TokenStream& stream_;
  int64_t begin_ = 0;
  std::vector<float> weights_;
};

/// What rows hold of the documents of a stream.
struct PackCounts {
  int64_t cut = 0;      ///< longer than a packed row: a part was kept
  int64_t dropped = 0;  ///< longer than a packed row: left out
  /// Left out: no target is in what is kept of them or of one of a pair, or both keep the same.
  int64_t unlearned = 0;
  int64_t tokens = 0;   ///< in rows; with windows those of all documents
  int64_t learned = 0;  ///< of these, that weigh something as targets
};

/// The rows of a stream. A document of n tokens takes n - 1 positions: token t is where token t + 1
/// is the target; one of a single token takes none and is in no row, nor is one of
/// which no target is left that weighs something, nor is the other answer of such a one's pair.
class PackPlan final {
 public:
  /// error  kData for a document that is too long under kRefuse, naming its number and length
  PackPlan(const TokenStream& stream, const PackOptions& options);

  int64_t rows() const { return static_cast<int64_t>(ends_.size()); }
  const PackCounts& counts() const { return counts_; }
  /// The documents of a row, in their order in it.
  std::span<const int64_t> documents(int64_t row) const;
  const PackOptions& options() const { return options_; }

 private:
  PackOptions options_;
  PackCounts counts_;
  std::vector<int64_t> documents_;  ///< of all rows, one row after the other
  std::vector<int64_t> ends_;       ///< of each row in `documents_`
};

/// The rows as examples: segment s is the row's s-th document (all are 0 where attention crosses),
/// padding has kPaddingSegment and
/// weight 0; a document's weights are its targets'.
///   references  what the stream's tokens have under the reference model; null: not known
DatasetPtr<Example> packed(std::shared_ptr<const TokenStream> stream,
                           std::shared_ptr<const PackPlan> plan,
                           std::shared_ptr<const TokenValues> references = nullptr);

/// The sum of each row's loss weights; its pairs where it holds pairs.
DatasetPtr<double> packed_loss_tokens(std::shared_ptr<const TokenStream> stream,
                                      std::shared_ptr<const PackPlan> plan);

}  // namespace levanter::data
