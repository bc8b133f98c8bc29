// A space of named axes flattened to as few loops as the operands' strides allow.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "base/integers.h"
#include "base/threads.h"
#include "graph/op.h"

namespace levanter::cpu {

/// Rows of `width` elements: operand o of row r begins at offset(r)[o] and moves by inner[o].
class Loop {
 public:
  static constexpr size_t kOperands = 4;
  using Offsets = std::array<int64_t, kOperands>;

  /// Neighbouring axes are merged where every operand's strides allow it. An operand that lacks an
  /// axis does not move along it.
  Loop(const Axes& space, std::span<const View> operands);

  int64_t rows() const { return rows_; }
  int64_t width() const { return width_; }
  const Offsets& inner() const { return inner_; }
  Offsets offsets(int64_t row) const;

  /// fn(offsets, count): spans of at most `longest` elements that cover the space, on the pool.
  template <class Fn>
  void run(ThreadPool& pool, int64_t longest, Fn&& fn) const {
    if (rows_ == 0 || width_ == 0) return;
    const int64_t pieces = ceil_div(width_, longest);
    const int64_t rows_a_task = pieces > 1 ? 1 : std::max<int64_t>(1, longest / width_);
    const int64_t tasks = ceil_div(rows_, rows_a_task);
    pool.parallel_for(tasks * pieces, [&](int64_t task, int) {
      const int64_t begin = task % pieces * longest, first = task / pieces * rows_a_task;
      const int64_t last = std::min(rows_, first + rows_a_task);
      for (int64_t row = first; row < last; ++row) {
        Offsets at = offsets(row);
        for (size_t o = 0; o < kOperands; ++o) at[o] += begin * inner_[o];
        fn(at, std::min(longest, width_ - begin));
      }
    });
  }

 private:
  struct Dim {
    int64_t size = 1;
    Offsets strides{};
  };
  std::array<Dim, Axes::kMaxAxes> outer_{};
  size_t outer_count_ = 0;
  int64_t rows_ = 1, width_ = 1;
  Offsets inner_{};
};

}  // namespace levanter::cpu
