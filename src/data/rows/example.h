// What a model learns from in a row of a batch: the one list of the arrays of examples.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "data/rows/dataset.h"

namespace levanter::data {

/// The segment of positions that hold no token.
inline constexpr int32_t kPaddingSegment = -1;
/// Segments of a row at most, counted from 0. Where rows hold pairs of answers, segments 2k and
/// 2k + 1 are the chosen and the rejected one of a pair, each behind its prompt.
inline constexpr int64_t kMostSegments = 64;

/// One row, every field [position]; or several, one after the other, every field [row, position].
/// The model never shifts: targets[t] is what it is to say after tokens[0..t].
struct Example {
  Example() = default;
  /// `length` positions of padding, counted from 0.
  explicit Example(size_t length)
      : tokens(length),
        targets(length),
        loss_weight(length),
        segment_ids(length, kPaddingSegment),
        positions(length) {
    std::iota(positions.begin(), positions.end(), 0);
  }

  std::vector<int32_t> tokens;
  std::vector<int32_t> targets;
  std::vector<float> loss_weight;  ///< how much targets[t] counts; 0 where there is none
  std::vector<int32_t>
      segment_ids;  ///< attention stays among equal ones; kPaddingSegment in padding
  std::vector<int32_t> positions;
  /// Of each target of weight in a pair, the logarithm of its probability under the reference
  /// model, else 0; empty where no reference is known.
  std::vector<float> reference_logps;
};

/// Pairs of answers of a row that holds such, by its segments.
inline int64_t pairs_of(std::span<const int32_t> segment_ids) {
  const auto last = std::max_element(segment_ids.begin(), segment_ids.end());
  return last == segment_ids.end() ? 0 : (*last + 1) / 2;
}

/// Calls f(name, field) with each field, by its name among the arguments of traced functions; there
/// it is i32, or of the graph's real type, [batch, position]. Loader, tracing and the memory of a
/// step go by this list: a new array is a field above, a line here, and who fills and who asks for
/// it.
template <class F>
void for_each_array(F f) {
  f("tokens", &Example::tokens);
  f("targets", &Example::targets);
  f("loss_weight", &Example::loss_weight);
  f("segment_ids", &Example::segment_ids);
  f("positions", &Example::positions);
  f("reference_logps", &Example::reference_logps);
}

/// Examples, and for each the sum of its loss weights, or its pairs where rows hold pairs: what
/// counts in the mean that the loss is, known without making the example.
struct ExampleSource {
  DatasetPtr<Example> examples;
  DatasetPtr<double> loss_tokens;
  /// Examples in all, or in one epoch where `examples` is endless.
  int64_t epoch_length = 0;
  /// True when every position of every example that isn't padding is in segment 0.
  bool one_segment = true;
  bool pairs = false;           ///< whether rows hold pairs
  bool has_references = false;  ///< whether examples have reference_logps
};

}  // namespace levanter::data
