// The arrays of a microbatch as arguments of a function being traced.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ops/function.h"
#include "ops/ops.h"

namespace levanter::models {

/// What the host computes for a microbatch besides the arrays of its examples, by the names of the
/// arguments: a key for each row, u32 [batch, key_word], the step's folded with the index of the
/// row's example; and 1 over the loss tokens of the global batch, or its pairs, a scalar.
inline constexpr std::string_view kDropoutKeys = "dropout_keys";
inline constexpr std::string_view kInverseTokens = "inverse_tokens";

/// Whether rows may hold several segments that attention keeps apart. With kOne all that are not
/// padding are of one, padding is at the end, and no function asks for segments.
enum class Segments : uint8_t { kSeveral, kOne };

struct AttentionMeasure;

/// Makes an argument of each array that is asked for, when it first is: what nobody asks for is
/// neither sent to the device nor held there.
class BatchInputs final {
 public:
  /// The function outlives this.
  BatchInputs(Function& function, Axis batch, Axis position, Segments segments = Segments::kSeveral)
      : function_(&function), batch_(batch), position_(position), segments_(segments) {}

  /// The array called `name`: of an example (data/rows/example.h), kDropoutKeys or kInverseTokens.
  NamedArray operator()(std::string_view name);
  /// The segments, or an empty handle where there is one only.
  NamedArray segment_ids() {
    return segments_ == Segments::kSeveral ? (*this)("segment_ids") : NamedArray();
  }

  /// Where the model's attention appends what it is like; null: it is not wanted.
  std::vector<AttentionMeasure>* attention = nullptr;

 private:
  Type type_of(std::string_view name) const;

  Function* function_;
  Axis batch_, position_;
  Segments segments_;
  std::map<std::string, NamedArray, std::less<>> made_;
};

}  // namespace levanter::models
