// Matrices in int8, each row with a scale: how a frozen model is held that is to be small.
#pragma once

#include <cstdint>
#include <span>

namespace levanter::train {

/// Which of a matrix lie together: the inputs of an output, or the outputs of an input.
enum class MatrixOrder : uint8_t { kOutIn, kInOut };

/// Symmetric quantization of a matrix by outputs (Dettmers et al. 2022, arXiv:2208.07339):
///   scale[o] = max over i of |w[o, i]| / 127,  values[o, i] = w[o, i] / scale[o]
/// rounded to the nearest, ties to even. An output of zeros has scale 0; one with a number that is
/// not finite has scale NaN and values 1, so that no product of it is finite either.
/// w       f32, as many as values
/// scales  one for each output
void quantize(std::span<const float> w, MatrixOrder order, std::span<float> scales,
              std::span<int8_t> values);

}  // namespace levanter::train
