// The loader: batches of one rank in order, prepared ahead in a background thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "data/rows/batch_sizes.h"
#include "data/rows/example.h"

namespace levanter::data {

/// One rank's rows of a global batch.
struct Batch : Example {
  int64_t step = 0;
  /// Global index of the example in row 0; row r holds first_example + r.
  int64_t first_example = 0;
  int64_t rows = 0;
  /// Rows that hold an example; the others, all after them, are padding of weight 0.
  int64_t real_rows = 0;
  /// The sum of the loss weights over the global batch, all ranks; or its pairs, in rows of pairs.
  double loss_tokens = 0;
};

/// Consecutive rows of a batch.
struct RowRange {
  int64_t first = 0, count = 0;
};

struct LoaderOptions {
  int64_t seq_len = 0;
  /// Examples in a global batch; step s holds examples [s * batch_size, (s + 1) * batch_size).
  int64_t batch_size = 0;
  /// This rank's part of it: rows [first_row, first_row + rows).
  int64_t first_row = 0;
  int64_t rows = 0;
  /// Where batches differ in size: the largest is batch_size, and `part` are this rank's rows of
  /// one of so many, at most `rows`.
  std::optional<BatchSizes> sizes = {};
  std::function<RowRange(int64_t size)> part = {};
  int64_t first_step = 0;
  /// One past the last step; cut to num_steps where the source ends before.
  int64_t end_step = kEndless;
  /// Batches prepared ahead, at least 1.
  int64_t prefetch = 4;
  /// For loader_bytes: whether the examples will have reference_logps.
  bool references = false;
};

/// Bytes of the arrays that a Loader with these options holds.
int64_t loader_bytes(const LoaderOptions& options);

/// Steps needed to see every example of a source of `num_examples` once.
int64_t num_steps(int64_t num_examples, int64_t batch_size);

/// Gives the batches of steps first_step, first_step + 1, ... A batch is a function of the source,
/// the options and its step alone. Where a finite source ends inside a batch, or before a rank's
/// rows, the rest is padding. The arrays of prefetch + 1 batches are made once and used again and
/// again.
class Loader final {
 public:
  Loader(ExampleSource source, const LoaderOptions& options);
  /// Ends the thread, after the request to the source that it may be waiting for.
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// True when no step is left.
  bool done() const;
  /// The batch of the next step, good until the next call.
  /// error  whatever the source threw when it was asked for this batch, in this and every later
  /// call
  /// After a stop was asked for (base/stop.h) a batch may be unmade: look before it is used.
  const Batch& next();
  /// Seconds that calls of next have waited so far.
  double seconds_waited() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace levanter::data
