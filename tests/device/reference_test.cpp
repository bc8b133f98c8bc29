// The reference backend, and the memory and names that every backend on the host shares.
#include <algorithm>

#include "device/backends.h"
#include "ops/rules.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("the reference backend is found by its name", "[device]") {
  const auto backend = device::make_backend("reference", 0);
  CHECK(backend->name() == "reference");
  CHECK(backend->numerics_signature() == "reference");
  CHECK(backend->threads() == 1);
}

TEST_CASE("an unknown device is a config error that lists the known ones", "[device]") {
  const std::string error = error_of([] { device::make_backend("tpu", 0); });
  CHECK_THAT(error, Catch::Contains("there is no device \"tpu\""));
  CHECK_THAT(error, Catch::Contains("reference"));
  try {
    device::make_backend("tpu", 0);
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::kConfig);
  }
}

TEST_CASE("a buffer is zero-filled, aligned to a page, and as long as asked for", "[device]") {
  const auto backend = make_backend("reference");
  for (const int64_t bytes : {int64_t{0}, int64_t{1}, int64_t{4097}, int64_t{5} << 20}) {
    const auto buffer = backend->allocate(bytes);
    CHECK(buffer->bytes() == bytes);
    CHECK(reinterpret_cast<uintptr_t>(buffer->data()) % 4096 == 0);
    CHECK(std::all_of(buffer->data(), buffer->data() + bytes,
                      [](std::byte b) { return b == std::byte{0}; }));
    std::fill_n(buffer->data(), bytes, std::byte{1});
  }
}

TEST_CASE("the reference backend decomposes composites and has every primitive", "[device]") {
  const auto backend = make_backend("reference");
  Function f("test");
  const NamedArray x = f.argument("x", {DType::f32, {{"embed", 3}}});
  const auto supported = [&](NamedArray y) {
    const Node& node = f.graph.node(y.value().node);
    return backend->supports(node, f.graph.input_types(node));
  };
  CHECK(supported(x));
  CHECK(supported(zero_like(x)));
  CHECK(supported(exp(x)));
  CHECK(supported(sum(x, x.axes())));
  CHECK_FALSE(supported(gelu(x, Gelu::kErf)));
  CHECK_FALSE(supported(softmax(x, "embed")));
}

TEST_CASE("every kernel reads its operands through strides and offsets", "[device]") {
  const Axes straight = {{"a", 2}, {"b", 3}};
  const std::vector<int64_t> cut = {1, 2};
  // The second part of a longer axis, seen in the other order: every stride and an offset.
  const auto seen = [&](NamedArray x) {
    return transpose(partition(x, "b", cut)[1], Axes{{"b", 2}, {"a", 2}});
  };
  const std::vector<std::function<NamedArray(NamedArray)>> kernels = {
      [](NamedArray x) { return exp(x); },
      [](NamedArray x) { return x * x; },
      [](NamedArray x) {
        return sum(x, {{"b", 2}});
      },
      [](NamedArray x) {
        return reduce(Reduce::kMax, x, {{"a", 2}});
      },
      [](NamedArray x) {
        return dot(x, rename(x, "a", "c"), {{"c", 2}, {"a", 2}});
      },
      [](NamedArray x) { return merge_axes(x, x.axes(), "all"); },
      [](NamedArray x) { return cast(x, DType::i32); },
      [](NamedArray x) { return copy(x); },
      [](NamedArray x) {
        const NamedArray parts[] = {x, x};
        return concat(parts, "a");
      },
      [](NamedArray x) {
        return gather(x, "a", iota(x.graph(), {"c", 3}, DType::i32));
      },
      [](NamedArray x) {
        return scatter_add(x, {{"a", 2}, {"v", 3}}, "v", iota(x.graph(), {"b", 2}, DType::i32));
      },
  };
  const Array x = counting(straight);
  for (const auto& kernel : kernels) {
    const Build strided = [&](const auto& in) { return std::vector{kernel(seen(in[0]))}; };
    const Build packed = [&](const auto& in) { return std::vector{kernel(copy(seen(in[0])))}; };
    CHECK(same_bits(evaluate(strided, {x}), evaluate(packed, {x})));
  }
}
