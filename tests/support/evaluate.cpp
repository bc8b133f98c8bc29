#include "support/evaluate.h"

#include "base/bf16.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "device/backends.h"
#include "ops/rules.h"
#include "passes/passes.h"
#include "runtime/executable.h"

namespace levanter::testing {

namespace {

std::vector<std::byte> pack(const Array& array, DType dtype) {
  std::vector<std::byte> bytes(array.values.size() * static_cast<size_t>(size_of(dtype)));
  for (size_t i = 0; i < array.values.size(); ++i) {
    const double x = array.values[i];
    switch (dtype) {
      case DType::f32:
        reinterpret_cast<float*>(bytes.data())[i] = static_cast<float>(x);
        break;
      case DType::f64:
        reinterpret_cast<double*>(bytes.data())[i] = x;
        break;
      case DType::i32:
        reinterpret_cast<int32_t*>(bytes.data())[i] = static_cast<int32_t>(x);
        break;
      case DType::u32:
        reinterpret_cast<uint32_t*>(bytes.data())[i] = static_cast<uint32_t>(x);
        break;
      case DType::bf16:
        reinterpret_cast<Bf16*>(bytes.data())[i] = static_cast<float>(x);
        break;
      case DType::i8:
        reinterpret_cast<int8_t*>(bytes.data())[i] = static_cast<int8_t>(x);
        break;
    }
  }
  return bytes;
}

Array unpack(const std::vector<std::byte>& bytes, const Type& type) {
  Array array{type, std::vector<double>(static_cast<size_t>(type.elements()))};
  for (size_t i = 0; i < array.values.size(); ++i) switch (type.dtype) {
      case DType::f32:
        array.values[i] = reinterpret_cast<const float*>(bytes.data())[i];
        break;
      case DType::f64:
        array.values[i] = reinterpret_cast<const double*>(bytes.data())[i];
        break;
      case DType::i32:
        array.values[i] = reinterpret_cast<const int32_t*>(bytes.data())[i];
        break;
      case DType::u32:
        array.values[i] = reinterpret_cast<const uint32_t*>(bytes.data())[i];
        break;
      case DType::bf16:
        array.values[i] = reinterpret_cast<const Bf16*>(bytes.data())[i];
        break;
      case DType::i8:
        array.values[i] = reinterpret_cast<const int8_t*>(bytes.data())[i];
        break;
    }
  return array;
}

/// Arrays of the host's in a backend's memory: in place where that is the host's.
class Placed {
 public:
  Placed(const Backend& backend, std::vector<std::vector<std::byte>>& arrays)
      : backend_(backend), arrays_(arrays) {
    for (std::vector<std::byte>& bytes : arrays_) {
      addresses_.push_back(bytes.data());
      if (backend_.is_host()) continue;
      buffers_.push_back(backend_.allocate(static_cast<int64_t>(bytes.size())));
      addresses_.back() = buffers_.back()->data();
      backend_.upload(addresses_.back(), bytes);
    }
  }
  const std::vector<std::byte*>& addresses() const { return addresses_; }
  /// What kernels have written, back in the arrays.
  void fetch() {
    for (size_t i = 0; i < buffers_.size(); ++i) backend_.download(arrays_[i], addresses_[i]);
  }

 private:
  const Backend& backend_;
  std::vector<std::vector<std::byte>>& arrays_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<std::byte*> addresses_;
};

}  // namespace

Function trace(const Build& build, const std::vector<Array>& inputs, DType real) {
  Function function("test", real);
  std::vector<NamedArray> arguments;
  for (const Array& input : inputs) {
    Type type = input.type;
    if (is_float(type.dtype) && type.dtype != DType::bf16) type.dtype = real;
    arguments.push_back(function.argument("x", type));
  }
  for (const NamedArray& out : build(arguments)) function.result("y", out);
  return function;
}

std::vector<Array> run(Function function, const std::vector<Array>& inputs, const Backend& backend,
                       const CompileOptions& options) {
  Executable executable = compile(std::move(function), backend, options);
  std::vector<std::vector<std::byte>> in, out;
  for (size_t i = 0; i < inputs.size(); ++i)
    in.push_back(pack(inputs[i], executable.arguments()[i].type.dtype));
  std::vector<Type> types;
  for (const Result& result : executable.results()) types.push_back(executable.type(result));
  // Poisoned, so that an element that nothing writes is seen.
  for (const Type& type : types)
    out.emplace_back(static_cast<size_t>(std::max<int64_t>(type.bytes(), 1)), std::byte{0xff});
  Placed placed_in(backend, in), placed_out(backend, out);
  const auto memory = backend.allocate(executable.arena_bytes() + 64);
  const auto workspace = backend.allocate(executable.workspace_bytes() + 64);
  backend.fill(memory->data(), memory->bytes(), std::byte{0xff});
  backend.fill(workspace->data(), workspace->bytes(), std::byte{0xff});
  executable.bind(memory->data(), workspace->data(), placed_in.addresses(), placed_out.addresses());
  executable.run();
  placed_in.fetch();
  placed_out.fetch();
  std::vector<Array> results;
  for (size_t i = 0; i < out.size(); ++i) {
    const int donated = executable.results()[i].donated;
    results.push_back(unpack(donated < 0 ? out[i] : in[static_cast<size_t>(donated)], types[i]));
  }
  return results;
}

NamedArray weighted_sum(const std::vector<NamedArray>& outputs) {
  NamedArray total;
  uint32_t seed = 17;
  for (const NamedArray& y : outputs) {
    if (!is_float(y.dtype())) continue;
    NamedArray weighted = y;
    for (const Axis& axis : y.axes()) {
      const NamedArray index = iota(y.graph(), axis, y.dtype());
      weighted = weighted * map(Map::kCos, index * 0.7 + (0.3 + 0.1 * seed++));
    }
    const NamedArray s = y.axes().empty() ? weighted : sum(weighted, y.axes());
    total = total ? total + s : s;
  }
  return total;
}

Array random_array(const Type& type, uint32_t seed, double margin) {
  Array array{type, {}};
  const Key key = key_from_seed(seed);
  for (int64_t i = 0; i < type.elements(); ++i) {
    const double u = uniform(key, static_cast<uint64_t>(i), -1, 1);
    array.values.push_back(u + (u < 0 ? -margin : margin));
  }
  return array;
}

Array random_ids(const Axes& axes, int64_t bound, uint32_t seed) {
  Array array{{DType::i32, axes}, {}};
  const Key key = key_from_seed(seed);
  for (int64_t i = 0; i < axes.elements(); ++i)
    array.values.push_back(static_cast<double>(random_bits(key, static_cast<uint64_t>(i)) %
                                               static_cast<uint64_t>(bound)));
  return array;
}

std::unique_ptr<Backend> make_backend(const std::string& name, int threads) {
  return device::make_backend(name, threads);
}

std::vector<Array> evaluate(const Build& build, const std::vector<Array>& inputs,
                            const Backend& backend, DType real) {
  return run(optimise(trace(build, inputs, real), backend), inputs, backend);
}

std::vector<Array> evaluate(const Build& build, const std::vector<Array>& inputs, DType real) {
  return evaluate(build, inputs, *make_backend("reference"), real);
}

Array gradient(const Build& build, const std::vector<Array>& inputs, size_t which,
               const Backend& backend, DType real) {
  const Build differentiated = [&](const std::vector<NamedArray>& in) {
    const NamedArray wrt[] = {in[which]};
    return backprop(build(in)[0], wrt);
  };
  return evaluate(differentiated, inputs, backend, real)[0];
}

double gradient_error(const Build& build, const std::vector<Array>& inputs, size_t which) {
  constexpr double kStep = 1e-5;
  const auto reference = make_backend("reference");
  const Build scalar = [&](const std::vector<NamedArray>& in) {
    return std::vector{weighted_sum(build(in))};
  };
  const Array exact = gradient(scalar, inputs, which, *reference);
  double largest = 1, error = 0;
  for (const double g : exact.values) largest = std::max(largest, std::abs(g));
  for (size_t i = 0; i < exact.values.size(); ++i) {
    double at[2];
    for (int side = 0; side < 2; ++side) {
      std::vector<Array> moved = inputs;
      moved[which].values[i] += side ? kStep : -kStep;
      at[side] = evaluate(scalar, moved, *reference)[0].values[0];
    }
    const double estimate = (at[1] - at[0]) / (2 * kStep);
    if (!std::isfinite(estimate) || !std::isfinite(exact.values[i])) return INFINITY;
    error = std::max(error, std::abs(exact.values[i] - estimate));
  }
  return error / largest;
}

double difference(const Array& a, const Array& b, double floor) {
  if (!(a.type.axes == b.type.axes)) return INFINITY;
  double largest = floor, worst = 0;
  for (const double x : b.values) largest = std::max(largest, std::abs(x));
  for (size_t i = 0; i < a.values.size(); ++i) {
    if (std::isnan(a.values[i]) || std::isnan(b.values[i])) return INFINITY;
    worst = std::max(worst, std::abs(a.values[i] - b.values[i]));
  }
  return worst / largest;
}

double decomposition_error(const Build& build, const std::vector<Array>& inputs,
                           const Backend& backend, DType real) {
  const auto fused = evaluate(build, inputs, backend, real);
  const auto plain = evaluate(build, inputs, *make_backend("reference"), DType::f64);
  double worst = 0;
  for (size_t i = 0; i < fused.size(); ++i) worst = std::max(worst, difference(fused[i], plain[i]));
  return worst;
}

}  // namespace levanter::testing
