// Plain loops for the operations of a graph of cuDNN's.
#include "cuda/graph_program.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/bf16.h"

namespace levanter::testing {

int64_t GraphArray::bytes_each() const {
  switch (type) {
    case CUDNN_DATA_BFLOAT16:
      return 2;
    case CUDNN_DATA_BOOLEAN:
      return 1;
    default:
      return 4;
  }
}

int64_t GraphArray::bytes() const {
  int64_t last = 0;
  for (size_t i = 0; i < sizes.size(); ++i) last += (sizes[i] - 1) * strides[i];
  return (last + 1) * bytes_each();
}

namespace {

/// Elements, row-major.
using Values = std::vector<float>;

template <class Fn>
void each(const Four& sizes, Fn&& fn) {
  for (int64_t a = 0; a < sizes[0]; ++a)
    for (int64_t b = 0; b < sizes[1]; ++b)
      for (int64_t c = 0; c < sizes[2]; ++c)
        for (int64_t d = 0; d < sizes[3]; ++d) fn(Four{a, b, c, d});
}

int64_t dot(const Four& a, const Four& b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
}

/// The row-major place, where an axis of size 1 has one place for all, and neighbours share where
/// an axis is shorter than `whole` by a factor.
size_t place_of(const Four& at, const Four& sizes, const Four& whole) {
  int64_t place = 0;
  for (size_t i = 0; i < sizes.size(); ++i)
    place = place * sizes[i] + at[i] / (whole[i] / sizes[i]);
  return static_cast<size_t>(place);
}

float rounded(cudnnDataType_t type, float x) {
  return type == CUDNN_DATA_BFLOAT16 ? static_cast<float>(Bf16(x)) : x;
}

float mapped(cudnnPointwiseMode_t mode, const std::array<float, 3>& x) {
  switch (mode) {
    case CUDNN_POINTWISE_ADD:
      return x[0] + x[1];
    case CUDNN_POINTWISE_SUB:
      return x[0] - x[1];
    case CUDNN_POINTWISE_MUL:
      return x[0] * x[1];
    case CUDNN_POINTWISE_DIV:
      return x[0] / x[1];
    case CUDNN_POINTWISE_EXP:
      return std::exp(x[0]);
    case CUDNN_POINTWISE_LOG:
      return std::log(x[0]);
    case CUDNN_POINTWISE_CMP_GE:
      return x[0] >= x[1] ? 1.0f : 0.0f;
    case CUDNN_POINTWISE_CMP_GT:
      return x[0] > x[1] ? 1.0f : 0.0f;
    case CUDNN_POINTWISE_BINARY_SELECT:
      return x[2] != 0 ? x[0] : x[1];
    default:
      return NAN;
  }
}

class Run final {
 public:
  Run(const GraphProgram& program, const std::map<int64_t, void*>& places)
      : program_(program), places_(places) {}

  bool all() {
    for (const GraphOperation& operation : program_.operations)
      if (!one(operation)) return false;
    return true;
  }

 private:
  const GraphArray& array(int64_t id) const { return program_.arrays.at(id); }

  /// Of an array that was made before, or lies in memory.
  const Values& values(int64_t id) {
    if (const auto made = values_.find(id); made != values_.end()) return made->second;
    Values& read = values_[id];
    const GraphArray& a = array(id);
    const void* from = places_.at(id);
    each(a.sizes, [&](const Four& at) {
      const int64_t place = dot(at, a.strides);
      read.push_back(a.type == CUDNN_DATA_BFLOAT16
                         ? static_cast<float>(static_cast<const Bf16*>(from)[place])
                         : static_cast<const float*>(from)[place]);
    });
    return read;
  }

  bool one(const GraphOperation& operation) {
    Values out(static_cast<size_t>(array(operation.out).elements()), 0.0f);
    bool done = false;
    switch (operation.kind) {
      case GraphOperation::Kind::kMap:
        done = map(operation, out);
        break;
      case GraphOperation::Kind::kIndex:
        done = index(operation, out);
        break;
      case GraphOperation::Kind::kProduct:
        done = multiply(operation, out);
        break;
      case GraphOperation::Kind::kReduction:
        done = reduce(operation, out);
        break;
      case GraphOperation::Kind::kReshape:
        done = reshape(operation, out);
        break;
    }
    if (done) keep(operation.out, std::move(out));
    return done;
  }

  void keep(int64_t id, Values out) {
    const GraphArray& a = array(id);
    for (float& x : out) x = rounded(a.type, x);
    if (!a.is_virtual) {
      void* to = places_.at(id);
      each(a.sizes, [&](const Four& at) {
        const float x = out[place_of(at, a.sizes, a.sizes)];
        const int64_t place = dot(at, a.strides);
        if (a.type == CUDNN_DATA_BFLOAT16)
          static_cast<Bf16*>(to)[place] = x;
        else
          static_cast<float*>(to)[place] = x;
      });
    }
    values_[id] = std::move(out);
  }

  /// Whether every axis is as long as the other's, or divides it.
  static bool divides(const Four& sizes, const Four& whole) {
    for (size_t i = 0; i < sizes.size(); ++i)
      if (whole[i] % sizes[i] != 0) return false;
    return true;
  }

  bool map(const GraphOperation& operation, Values& out) {
    const Four& sizes = array(operation.out).sizes;
    std::array<const Values*, 3> in{};
    for (size_t i = 0; i < operation.in.size(); ++i) {
      if (!divides(array(operation.in[i]).sizes, sizes)) return false;
      in[i] = &values(operation.in[i]);
    }
    each(sizes, [&](const Four& at) {
      std::array<float, 3> x{};
      for (size_t i = 0; i < operation.in.size(); ++i)
        x[i] = (*in[i])[place_of(at, array(operation.in[i]).sizes, sizes)];
      out[place_of(at, sizes, sizes)] = mapped(operation.map, x);
    });
    return true;
  }

  bool index(const GraphOperation& operation, Values& out) {
    const Four& sizes = array(operation.out).sizes;
    if (array(operation.in[0]).sizes != sizes) return false;
    each(sizes, [&](const Four& at) {
      out[place_of(at, sizes, sizes)] = static_cast<float>(at[static_cast<size_t>(operation.axis)]);
    });
    return true;
  }

  bool multiply(const GraphOperation& operation, Values& out) {
    const Four &a = array(operation.in[0]).sizes, &b = array(operation.in[1]).sizes,
               &c = array(operation.out).sizes;
    if (a[3] != b[2] || c[2] != a[2] || c[3] != b[3] || a[0] != c[0] || b[0] != c[0] ||
        a[1] != c[1] || c[1] % b[1] != 0)
      return false;
    const Values &left = values(operation.in[0]), &right = values(operation.in[1]);
    const Four of_heads = {c[0], c[1], b[2], b[3]};
    each(c, [&](const Four& at) {
      float sum = 0;
      for (int64_t k = 0; k < a[3]; ++k)
        sum += left[place_of({at[0], at[1], at[2], k}, a, a)] *
               right[place_of({at[0], at[1], k, at[3]}, b, of_heads)];
      out[place_of(at, c, c)] = sum;
    });
    return true;
  }

  bool reduce(const GraphOperation& operation, Values& out) {
    const Four &from = array(operation.in[0]).sizes, &to = array(operation.out).sizes;
    const bool is_max = operation.reduction == CUDNN_REDUCE_TENSOR_MAX;
    if (!divides(to, from) || (!is_max && operation.reduction != CUDNN_REDUCE_TENSOR_ADD))
      return false;
    if (is_max) std::fill(out.begin(), out.end(), -INFINITY);
    const Values& in = values(operation.in[0]);
    each(from, [&](const Four& at) {
      float& x = out[place_of(at, to, from)];
      const float y = in[place_of(at, from, from)];
      x = is_max ? std::max(x, y) : x + y;
    });
    return true;
  }

  /// The same elements by their places.
  bool reshape(const GraphOperation& operation, Values& out) {
    const GraphArray &from = array(operation.in[0]), &to = array(operation.out);
    if (from.elements() != to.elements()) return false;
    const Values& in = values(operation.in[0]);
    std::map<int64_t, float> by_place;
    each(from.sizes, [&](const Four& at) {
      by_place[dot(at, from.strides)] = in[place_of(at, from.sizes, from.sizes)];
    });
    bool whole = true;
    each(to.sizes, [&](const Four& at) {
      const auto found = by_place.find(dot(at, to.strides));
      whole = whole && found != by_place.end();
      if (whole) out[place_of(at, to.sizes, to.sizes)] = found->second;
    });
    return whole;
  }

  const GraphProgram& program_;
  const std::map<int64_t, void*>& places_;
  std::map<int64_t, Values> values_;
};

}  // namespace

bool run_graph(const GraphProgram& program, const std::map<int64_t, void*>& places) {
  return Run(program, places).all();
}

}  // namespace levanter::testing
