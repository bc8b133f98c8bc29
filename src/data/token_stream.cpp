// A long row of token ids, in memory or in files, and the windows that are cut from it.
#include "data/token_stream.h"

#include <algorithm>
#include <numeric>

#include "data/cache/checksum.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "data/rows/combinators.h"

namespace levanter::data {
namespace {

constexpr size_t kNarrowAtOnce = 4096;

/// out[i] = element `begin + i` of a file.
template <class T>
void read_elements(const InputFile& file, int64_t begin, std::span<T> out) {
  file.read(begin * static_cast<int64_t>(sizeof(T)), std::as_writable_bytes(out));
}

void read_ids(const TokenFiles& files, int64_t begin, std::span<int32_t> out) {
  if (!files.narrow) return read_elements(files.ids, begin, out);
  uint16_t room[kNarrowAtOnce];
  while (!out.empty()) {
    const std::span piece(room, std::min(out.size(), kNarrowAtOnce));
    read_elements(files.ids, begin, piece);
    std::copy(piece.begin(), piece.end(), out.begin());
    begin += std::ssize(piece);
    out = out.subspan(piece.size());
  }
}

}  // namespace

Digest digest_of(int64_t documents, int64_t tokens, std::span<const std::string> ids,
                 std::span<const std::string> starts, std::span<const std::string> weights) {
  const std::string all = cat(join(ids, " "), "; ", join(starts, " "), "; ", join(weights, " "));
  return {documents, tokens, hex64(xxh3_64(all))};
}

TokenStream::TokenStream(int64_t vocab_size) : narrow_(vocab_size <= 65536) {}

TokenStream::TokenStream(const TokenArrays& arrays, std::shared_ptr<const void> owner)
    : narrow_(arrays.wide.empty()), arrays_(arrays), owner_(std::move(owner)) {}

Digest TokenStream::digest(ThreadPool& pool) const {
  LEV_CHECK(owner_ == nullptr, "only a whole stream in memory is hashed");
  const auto sums = [&](auto array) { return checksums(std::as_bytes(array), pool); };
  return digest_of(num_documents(), size(), narrow_ ? sums(arrays_.narrow) : sums(arrays_.wide),
                   sums(arrays_.document_starts), sums(arrays_.weights));
}

void TokenStream::append(std::span<const int32_t> document, std::span<const float> weights) {
  LEV_CHECK(owner_ == nullptr, "only a stream in memory can grow");
  if (document.empty()) return;
  LEV_CHECK(weights.empty() || weights.size() == document.size(), "a weight for each token");
  LEV_CHECK(starts_.empty() || weights.empty() == weights_.empty(),
            "all documents have weights or none has");
  starts_.push_back(size());
  if (narrow_)
    narrow_ids_.insert(narrow_ids_.end(), document.begin(), document.end());
  else
    wide_ids_.insert(wide_ids_.end(), document.begin(), document.end());
  weights_.insert(weights_.end(), weights.begin(), weights.end());
  arrays_ = {narrow_ids_, wide_ids_, weights_, starts_};
}

int64_t TokenStream::size() const {
  if (arrays_.files) return arrays_.count;
  return static_cast<int64_t>(narrow_ ? arrays_.narrow.size() : arrays_.wide.size());
}

void TokenStream::prefetch(int64_t begin) const {
  if (arrays_.files) return;
  if (narrow_)
    __builtin_prefetch(arrays_.narrow.data() + begin);
  else
    __builtin_prefetch(arrays_.wide.data() + begin);
}

void TokenStream::read(int64_t begin, std::span<int32_t> out) const {
  const auto count = static_cast<int64_t>(out.size());
  LEV_CHECK(begin >= 0 && begin + count <= size(), "tokens are read outside their stream");
  if (arrays_.files)
    read_ids(*arrays_.files, arrays_.begin + begin, out);
  else if (narrow_)
    std::copy_n(arrays_.narrow.begin() + begin, count, out.begin());
  else
    std::copy_n(arrays_.wide.begin() + begin, count, out.begin());
}

void TokenStream::read_weights(int64_t begin, std::span<float> out) const {
  const auto count = static_cast<int64_t>(out.size());
  LEV_CHECK(begin >= 0 && begin + count <= size(), "weights are read outside their stream");
  if (arrays_.files && weighted())
    read_elements(*arrays_.files->weights, arrays_.begin + begin, out);
  else if (weighted())
    std::copy_n(arrays_.weights.begin() + begin, count, out.begin());
  else
    std::fill(out.begin(), out.end(), 1.0f);
}

std::vector<int64_t> TokenStream::document_starts(int64_t begin, int64_t end) const {
  const auto [from, to] = documents_in(begin, end);
  std::vector<int64_t> starts;
  for (int64_t d = from; d < to; ++d) starts.push_back(document_start(d));
  return starts;
}

/// The numbers of the documents that begin in [begin, end).
std::pair<int64_t, int64_t> TokenStream::documents_in(int64_t begin, int64_t end) const {
  const std::span<const int64_t> starts = arrays_.document_starts;
  const auto count = static_cast<int64_t>(starts.size());
  const auto place = [&](int64_t at, int64_t from, int64_t to) {
    if (at <= 0) return from;
    const auto first = starts.begin() + from;
    return from + (std::lower_bound(first, starts.begin() + to, at + arrays_.first) - first);
  };
  const int64_t from = place(begin, 0, count);
  // A document has a token at least.
  const int64_t most =
      std::min(count - from, std::max<int64_t>(0, end - std::max<int64_t>(0, begin)));
  return {from, place(end, from, from + most)};
}

int64_t TokenStream::document_start(int64_t d) const {
  LEV_CHECK(d >= 0 && d <= num_documents(), "a document is outside its stream");
  if (d == num_documents()) return size();
  return std::max<int64_t>(0, arrays_.document_starts[static_cast<size_t>(d)] - arrays_.first);
}

std::shared_ptr<const TokenStream> TokenStream::part(std::shared_ptr<const TokenStream> stream,
                                                     int64_t begin, int64_t end) {
  LEV_CHECK(0 <= begin && begin <= end && end <= stream->size(), "a part is outside its stream");
  const TokenArrays& all = stream->arrays_;
  const auto cut = [&](auto array) {
    return array.empty()
               ? array
               : array.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  };
  auto [from, to] = stream->documents_in(begin, end);
  if (begin < end && (from == to || stream->document_start(from) > begin)) --from;
  const TokenArrays part{
      cut(all.narrow),
      cut(all.wide),
      cut(all.weights),
      all.document_starts.subspan(static_cast<size_t>(from), static_cast<size_t>(to - from)),
      all.first + begin,
      all.files,
      all.begin + begin,
      end - begin};
  return std::make_shared<TokenStream>(part, std::move(stream));
}

int64_t TokenStream::documents_begun(int64_t begin, int64_t end) const {
  const auto [from, to] = documents_in(begin, end);
  return to - from;
}

void TokenValues::read(int64_t begin, std::span<float> out) const {
  LEV_CHECK(begin >= 0 && begin + std::ssize(out) <= tokens_, "tokens are in the stream");
  file_->read(begin_ + begin * static_cast<int64_t>(sizeof(float)), std::as_writable_bytes(out));
}

WindowPlan training_plan(const TokenStream& stream, int64_t seq_len, Key key) {
  LEV_CHECK(seq_len >= 1, "a window needs at least one position");
  if (stream.size() < seq_len + 1) return {seq_len, 0, 0};
  const int64_t count = std::max<int64_t>(1, stream.size() / seq_len - 1);
  const int64_t offsets = std::min(seq_len, stream.size() - count * seq_len);
  const auto offset = static_cast<int64_t>(random_below(key, 0, static_cast<uint64_t>(offsets)));
  return {seq_len, offset, count};
}

WindowPlan evaluation_plan(const TokenStream& stream, int64_t seq_len) {
  LEV_CHECK(seq_len >= 1, "a window needs at least one position");
  const int64_t targets = std::max<int64_t>(0, stream.size() - 1);
  return {seq_len, 0, (targets + seq_len - 1) / seq_len};
}

namespace {

using StreamPtr = std::shared_ptr<const TokenStream>;

/// The windows of a plan, each as make(stream, plan, begin, targets): `begin` is its first token,
/// which `targets` tokens follow, at least one.
template <class T>
DatasetPtr<T> windows_as(StreamPtr stream, WindowPlan plan,
                         T (*make)(const TokenStream&, const WindowPlan&, int64_t, int64_t)) {
  return made<T>(plan.count, [=](std::span<const int64_t> indices) {
    std::vector<T> out;
    out.reserve(indices.size());
    for (const int64_t index : indices) {
      LEV_CHECK(index >= 0 && index < plan.count, "a window is outside its plan");
      stream->prefetch(index * plan.seq_len + plan.offset);
    }
    for (const int64_t index : indices) {
      const int64_t begin = index * plan.seq_len + plan.offset;
      out.push_back(make(*stream, plan, begin, std::min(plan.seq_len, stream->size() - 1 - begin)));
    }
    return out;
  });
}

Example window(const TokenStream& stream, const WindowPlan& plan, int64_t begin, int64_t targets) {
  const auto length = static_cast<size_t>(plan.seq_len), real = static_cast<size_t>(targets);
  Example e(length);
  const size_t present = std::min(length, real + 1);  // the last token may have no target
  stream.read(begin, std::span(e.tokens).first(present));
  std::copy(e.tokens.begin() + 1, e.tokens.begin() + static_cast<int64_t>(present),
            e.targets.begin());
  if (real == length) stream.read(begin + targets, std::span(e.targets).last(1));
  stream.read_weights(begin + 1, std::span(e.loss_weight).first(real));
  std::fill_n(e.segment_ids.begin(), present, 0);
  for (const int64_t start : stream.document_starts(begin + 1, begin + 1 + targets)) {
    const auto t = static_cast<size_t>(start - begin);
    if (plan.borders.reset_positions)
      std::iota(e.positions.begin() + static_cast<int64_t>(t), e.positions.end(), 0);
    if (plan.borders.crosses) continue;
    e.loss_weight[t - 1] = 0;
    for (size_t later = t; later < present; ++later) ++e.segment_ids[later];
  }
  return e;
}

double window_weight(const TokenStream& stream, const WindowPlan& plan, int64_t begin,
                     int64_t targets) {
  const bool crosses = plan.borders.crosses;
  if (!stream.weighted())
    return static_cast<double>(
        targets - (crosses ? 0 : stream.documents_begun(begin + 1, begin + 1 + targets)));
  std::vector<float> weights(static_cast<size_t>(targets));
  stream.read_weights(begin + 1, weights);
  for (const int64_t start : stream.document_starts(begin + 1, begin + 1 + targets))
    if (!crosses) weights[static_cast<size_t>(start - begin - 1)] = 0;
  return std::accumulate(weights.begin(), weights.end(), 0.0);
}

}  // namespace

DatasetPtr<Example> windows(StreamPtr stream, WindowPlan plan) {
  return windows_as(std::move(stream), plan, window);
}

DatasetPtr<double> window_loss_tokens(StreamPtr stream, WindowPlan plan) {
  return windows_as(std::move(stream), plan, window_weight);
}

}  // namespace levanter::data
