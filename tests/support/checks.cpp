#include "support/checks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/random.h"
#include "passes/passes.h"

namespace levanter::testing {

Array array(const Axes& axes, std::vector<double> values) {
  LEV_CHECK(axes.elements() == static_cast<int64_t>(values.size()), "values for other axes");
  return {{DType::f64, axes}, std::move(values)};
}

Array ids(const Axes& axes, std::vector<double> values) {
  Array result = array(axes, std::move(values));
  result.type.dtype = DType::i32;
  return result;
}

Array random_real(const Axes& axes, uint32_t seed) {
  return random_array({DType::f64, axes}, seed);
}

Array positive(const Axes& axes, uint32_t seed) {
  Array result = random_real(axes, seed);
  for (double& x : result.values) x = 1 + x / 2;
  return result;
}

Array random_keys(const Axes& rows, uint32_t seed) {
  Axes axes = rows;
  axes.push_back(key_word());
  Array result{{DType::u32, axes}, {}};
  const Key key = key_from_seed(seed);
  for (int64_t i = 0; i < axes.elements(); ++i)
    result.values.push_back(random_bits(key, static_cast<uint64_t>(i)));
  return result;
}

Array counting(const Axes& axes) {
  Array result{{DType::f64, axes}, {}};
  for (int64_t i = 0; i < axes.elements(); ++i) result.values.push_back(static_cast<double>(i + 1));
  return result;
}

double at(const Array& array, const std::vector<Index>& where) {
  const auto strides = row_major_strides(array.type.axes);
  int64_t offset = 0;
  size_t found = 0;
  for (const Index& index : where)
    if (const int axis = array.type.axes.find(index.axis); axis >= 0) {
      offset += index.at * strides[static_cast<size_t>(axis)];
      ++found;
    }
  LEV_CHECK(found == array.type.axes.size(), "an axis without a position");
  return array.values.at(static_cast<size_t>(offset));
}

std::vector<std::vector<Index>> indices(const Axes& axes) {
  std::vector<std::vector<Index>> all{{}};
  for (const Axis& axis : axes) {
    std::vector<std::vector<Index>> longer;
    for (const auto& where : all)
      for (int64_t i = 0; i < axis.size; ++i) longer.push_back(join(where, {{axis.name, i}}));
    all = std::move(longer);
  }
  return all;
}

std::vector<Index> join(std::vector<Index> a, const std::vector<Index>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

double rule_difference(const Build& one, const Build& other, const std::vector<Array>& inputs,
                       size_t which) {
  const auto backend = make_backend("reference");
  const auto gradient_of = [&](const Build& build) {
    const Build scalar = [&](const std::vector<NamedArray>& in) {
      return std::vector{weighted_sum(build(in))};
    };
    return gradient(scalar, inputs, which, *backend);
  };
  return difference(gradient_of(one), gradient_of(other));
}

double worst_gradient_error(const Build& build, const std::vector<Array>& inputs) {
  double worst = -1;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (is_float(inputs[i].type.dtype)) worst = std::max(worst, gradient_error(build, inputs, i));
  return worst < 0 ? INFINITY : worst;
}

bool same_bits(const std::vector<Array>& a, const std::vector<Array>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (!(a[i].type == b[i].type) || a[i].values.size() != b[i].values.size() ||
        (!a[i].values.empty() && std::memcmp(a[i].values.data(), b[i].values.data(),
                                             a[i].values.size() * sizeof(double)) != 0))
      return false;
  return true;
}

std::string trace_error(const Build& build, const std::vector<Array>& inputs) {
  return error_of([&] { trace(build, inputs); });
}

Function duplicate(const Function& function) {
  Function copy = function.empty_copy();
  for (const Node& node : function.graph.nodes()) copy.graph.append(node);
  copy.results = function.results;
  return copy;
}

size_t count_nodes(const Function& function, const std::string& name) {
  const auto& nodes = function.graph.nodes();
  return static_cast<size_t>(std::count_if(
      nodes.begin(), nodes.end(), [&](const Node& node) { return node.op->name == name; }));
}

}  // namespace levanter::testing
