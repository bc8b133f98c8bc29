// A long row of token ids, in memory or in the files of a cache, and the windows cut from it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/random.h"
#include "base/threads.h"
#include "data/rows/example.h"

namespace levanter::data {

/// Documents known by their content: equal for the same tokens, weights and borders, wherever they
/// lie.
struct Digest {
  int64_t documents = 0, tokens = 0;
  std::string xxh3;

  bool operator==(const Digest&) const = default;
};

/// The digest of arrays with these checksums, block by block (data/cache/checksum.h).
Digest digest_of(int64_t documents, int64_t tokens, std::span<const std::string> ids,
                 std::span<const std::string> starts, std::span<const std::string> weights);

/// The arrays of a cache. Ids and weights stay in their files and are read when they are asked for,
/// so that a file that is cut short meanwhile is an error and no crash.
struct TokenFiles {
  InputFile ids;
  bool narrow = false;  ///< two bytes an id, else four
  std::optional<InputFile> weights = {};
  std::vector<int64_t> starts = {};
};

/// Where the tokens of a stream lie: in memory, two bytes each in `narrow` where the vocabulary has
/// at most 65,536 ids, else four in `wide`; or in files, `count` of them from number `begin` on.
struct TokenArrays {
  std::span<const uint16_t> narrow;
  std::span<const int32_t> wide;
  std::span<const float> weights;            ///< how much each counts as a target; none: 1 each
  std::span<const int64_t> document_starts;  ///< rising
  int64_t first = 0;  ///< what document_starts say of the first token; of documents that begin
                      ///< before it, only the last is named
  const TokenFiles* files = nullptr;
  int64_t begin = 0, count = 0;
};

/// Token ids of one or more documents, one after the other.
class TokenStream final {
 public:
  /// An empty stream in memory.
  explicit TokenStream(int64_t vocab_size);
  /// Arrays that lie elsewhere, for as long as `owner` is kept.
  TokenStream(const TokenArrays& arrays, std::shared_ptr<const void> owner);
  TokenStream(const TokenStream&) = delete;
  TokenStream& operator=(const TokenStream&) = delete;

  /// Adds a document to a stream in memory, in order; one without tokens leaves no trace.
  ///   weights  one for each token, or none for 1 each; all documents of a stream have them, or
  ///   none
  void append(std::span<const int32_t> document, std::span<const float> weights = {});

  int64_t size() const;
  bool weighted() const {
    return arrays_.files ? arrays_.files->weights.has_value() : !arrays_.weights.empty();
  }
  int64_t num_documents() const { return static_cast<int64_t>(arrays_.document_starts.size()); }
  /// Of a whole stream in memory.
  Digest digest(ThreadPool& pool) const;
  /// Asks the processor to fetch the ids at `begin`, so that rows far apart are waited for
  /// together.
  void prefetch(int64_t begin) const;
  /// out[i] = id at `begin + i`; all of them must be in the stream.
  /// error  kIo, naming the file, where it has become too short or can't be read
  void read(int64_t begin, std::span<int32_t> out) const;
  /// out[i] = weight at `begin + i`, 1 where the stream has none.
  void read_weights(int64_t begin, std::span<float> out) const;
  /// How many documents begin in [begin, end).
  int64_t documents_begun(int64_t begin, int64_t end) const;
  /// Where documents begin in [begin, end), rising.
  std::vector<int64_t> document_starts(int64_t begin, int64_t end) const;
  /// Where document d begins; size() for the one after the last.
  int64_t document_start(int64_t d) const;
  /// Tokens [begin, end) as a stream of their own, which keeps `stream`; a document that is cut
  /// begins with what is left of it.
  static std::shared_ptr<const TokenStream> part(std::shared_ptr<const TokenStream> stream,
                                                 int64_t begin, int64_t end);

 private:
  std::pair<int64_t, int64_t> documents_in(int64_t begin, int64_t end) const;

  bool narrow_ = false;
  std::vector<uint16_t> narrow_ids_;
  std::vector<int32_t> wide_ids_;
  std::vector<float> weights_;
  std::vector<int64_t> starts_;
  TokenArrays arrays_;
  std::shared_ptr<const void> owner_;
};

/// A number of f32 for each token of a stream, in a file.
class TokenValues final {
 public:
  ///   file  which has `tokens` numbers from byte `begin` on
  TokenValues(std::shared_ptr<const InputFile> file, int64_t begin, int64_t tokens)
      : file_(std::move(file)), begin_(begin), tokens_(tokens) {}
  /// out[i] = the number of the token at `begin + i`.
  /// error  kIo, naming the file, where it has become too short or can't be read
  void read(int64_t begin, std::span<float> out) const;

 private:
  std::shared_ptr<const InputFile> file_;
  int64_t begin_, tokens_;
};

/// What windows make of the borders between documents.
struct DocumentBorders {
  bool crosses = false;          ///< attention and targets reach across them
  bool reset_positions = false;  ///< positions count from 0 in every document
};

/// Windows of a stream: window i is ids [i * seq_len + offset, i * seq_len + offset + seq_len],
/// seq_len + 1 of them, so that each target is the next window's first token.
struct WindowPlan {
  int64_t seq_len = 0;
  int64_t offset = 0;
  int64_t count = 0;
  DocumentBorders borders = {};
};

/// The plan of training for an epoch whose key is `key`. The number of windows is the same in every
/// epoch, so that the epoch of a global index is known without history:
///   count   max(1, floor(size / seq_len) - 1)
///   offset  uniform in [0, min(seq_len, size - count * seq_len))
/// What is left over at either end, fewer than 2 * seq_len tokens, is not seen in this epoch. count
/// is 0 when the stream is shorter than one window.
WindowPlan training_plan(const TokenStream& stream, int64_t seq_len, Key key);

/// The plan of evaluation: offset 0 and as many windows as make every token but the first a target
/// exactly once; the last is padded.
WindowPlan evaluation_plan(const TokenStream& stream, int64_t seq_len);

/// The windows as examples: position t counts from 0, segment_ids[t] is the number of documents
/// that began after the window's first token, loss_weight[t] is the target's weight, but 0 where
/// the target is past the end or in another document than the token.
DatasetPtr<Example> windows(std::shared_ptr<const TokenStream> stream, WindowPlan plan);

/// The sum of each window's loss weights.
DatasetPtr<double> window_loss_tokens(std::shared_ptr<const TokenStream> stream, WindowPlan plan);

}  // namespace levanter::data
