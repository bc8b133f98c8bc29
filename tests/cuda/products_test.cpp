// Products by cuBLASLt on the emulated card: descriptors, batches, copies, and that an algorithm
// which is wrong is not used.
#include "kernels/cuda/products.h"

#include "cuda/fake_cuda.h"
#include "kernels/cuda/backend.h"
#include "passes/passes.h"
#include "support/cpu_agreement.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr double kTolerance = 4e-6;      // relative to a result's largest element; sums in f32
constexpr double kBf16Tolerance = 8e-3;  // one rounding to 8 bits

/// The inputs as bf16.
std::vector<Array> narrowed(std::vector<Array> inputs) {
  for (Array& input : inputs) input.type.dtype = DType::bf16;
  return inputs;
}

/// What one machine gives and the reference; INFINITY where the library got nothing to do.
double error_on(FakeCuda& fake, const Build& build, const std::vector<Array>& inputs) {
  const int64_t products = fake.cublas.products();
  const std::vector<Array> found = evaluate(build, inputs, *FakeCuda::backend(), DType::f32);
  CHECK(fake.fault() == "");
  CHECK(fake.living() == "");
  if (fake.cublas.products() == products) return INFINITY;
  const std::vector<Array> exact = evaluate(build, inputs, *make_backend("reference"), DType::f32);
  double worst = 0;
  for (size_t i = 0; i < exact.size(); ++i)
    worst = std::max(worst, difference(found[i], exact[i], kSmallest));
  return worst;
}

/// The largest error over all layouts, of f32 and bf16.
double worst_error_on(FakeCuda& fake, const std::vector<OperandSpec>& operands,
                      const Build& build) {
  double worst = 0;
  for (const Layout layout : kLayouts) {
    std::vector<Array> inputs;
    for (size_t i = 0; i < operands.size(); ++i)
      inputs.push_back(make_array(operands[i], layout, static_cast<uint32_t>(i) + 1));
    const Build placed = in_layout(build, operands, layout);
    worst = std::max(worst, error_on(fake, placed, inputs));
    worst = std::max(worst, error_on(fake, placed, narrowed(inputs)));
  }
  return worst;
}

/// Room for a workspace on the card.
struct Workspace {
  explicit Workspace(cuda::Context& context) : device(context.device()) {}
  ~Workspace() { device.free(data); }
  cuda::Device& device;
  std::byte* data = device.allocate(cuda::Products::kWorkspaceBytes);
};

/// Row-major factors without gaps.
cuda::ProductShape shape_of(int64_t m, int64_t n, int64_t k) {
  cuda::ProductShape shape;
  shape.m = m;
  shape.n = n;
  shape.k = k;
  shape.a.pitch = k;
  shape.b.pitch = shape.c.pitch = n;
  return shape;
}

}  // namespace

TEST_CASE("products by cuBLASLt agree with reference, transposed or not, whatever their sizes",
          "[cuda]") {
  struct Shape {
    int64_t m, n, k;
  };
  FakeCuda fake;
  for (const Shape s : {Shape{67, 65, 33}, Shape{1, 512, 128}, Shape{257, 1, 131},
                        Shape{181, 191, 1}, Shape{3, 127, 193}}) {
    INFO(s.m << " " << s.n << " " << s.k);
    const Axis m{"m", s.m}, n{"n", s.n}, k{"k", s.k};
    const Build build = [&](const std::vector<NamedArray>& in) {
      return std::vector{dot(in[0], in[1], {m, n}), dot(in[0], in[1], {n, m}),
                         dot(in[1], in[0], {m, n})};
    };
    CHECK(worst_error_on(fake, {{{m, k}}, {{k, n}}}, build) <= kTolerance);
  }
  CHECK(fake.cublas.batches() == 0);
}

TEST_CASE("a batch is one call, and batch axes that lie apart a call for each", "[cuda]") {
  const Axis b{"b", 3}, h{"h", 2}, m{"m", 17}, n{"n", 31}, k{"k", 29};
  const Build build = [&](const std::vector<NamedArray>& in) {
    return std::vector{dot(in[0], in[1], {b, h, m, n}), dot(in[0], in[1], {n, b, m, h}),
                       dot(in[0], in[1], {h, m, b, n})};
  };
  for (const Axes& left : {Axes{b, h, m, k}, Axes{h, b, k, m}, Axes{b, m, h, k}}) {
    FakeCuda fake;
    INFO(to_string(left));
    CHECK(worst_error_on(fake, {{left}, {{b, h, k, n}}}, build) <= kTolerance);
    CHECK(fake.cublas.batches() > 0);
  }
  FakeCuda fake;
  const auto calls = [&](const Axes& left, const Axes& out) {
    const int64_t before = fake.cublas.products();
    const Build one = [&](const std::vector<NamedArray>& in) {
      return std::vector{dot(in[0], in[1], out)};
    };
    CHECK(error_on(fake, one, {random_real(left, 1), random_real({b, h, k, n}, 2)}) <= kTolerance);
    return fake.cublas.products() - before;
  };
  // The check needs two for the algorithm that is right; the other fails after two.
  constexpr int64_t kChecks = 4;
  CHECK(calls({b, h, m, k}, {b, h, m, n}) == kChecks + 1);
  CHECK(calls({h, b, m, k}, {b, h, m, n}) == kChecks + 2);
}

TEST_CASE("products over several axes, and without any, go to cuBLASLt", "[cuda]") {
  FakeCuda fake;
  const Axes left = {{"a", 13}, {"b", 7}, {"c", 19}}, right = {{"c", 19}, {"b", 7}, {"d", 23}};
  CHECK(worst_error_on(fake, {{left}, {right}}, [](const std::vector<NamedArray>& in) {
          return std::vector{dot(in[0], in[1], {{"a", 13}, {"d", 23}}),
                             dot(in[0], in[1], {{"d", 23}, {"b", 7}, {"a", 13}, {"c", 19}}),
                             dot(in[0], in[1], {{"c", 19}, {"a", 13}, {"d", 23}})};
        }) <= kTolerance);
}

TEST_CASE("dot_add adds a complete product, over what it adds to or beside it", "[cuda]") {
  const Axis m{"m", 67}, n{"n", 41}, k{"k", 77};
  for (const Axes& axes : {Axes{m, n}, Axes{n, m}}) {
    const Build build = [&](const std::vector<NamedArray>& in) {
      const NamedArray acc = cast(in[0], DType::f32);
      return std::vector{dot_add(acc, in[1], in[2]), dot_add(acc * 2.0, in[1], in[2])};
    };
    FakeCuda fake;
    CHECK(worst_error_on(fake, {{axes}, {{m, k}}, {{k, n}}}, build) <= kTolerance);
    // By the kernel of ours the same.
    fake.cublas.set_offers(0);
    const std::vector<Array> in = {random_real(axes, 1), random_real({m, k}, 2),
                                   random_real({n, k}, 3)};
    const auto found = evaluate(build, in, *FakeCuda::backend(), DType::f32);
    const auto exact = evaluate(build, in, *make_backend("reference"), DType::f32);
    for (size_t i = 0; i < exact.size(); ++i)
      CHECK(difference(found[i], exact[i], kSmallest) <= kTolerance);
  }
}

TEST_CASE("rounded products with a bias agree, in all orders of the result and of the bias",
          "[cuda]") {
  const Axis b{"b", 3}, m{"m", 29}, h{"h", 5}, n{"n", 7}, k{"k", 33};
  FakeCuda fake;
  for (const int offers : {2, 0})  // by the library, and by our kernel
    for (const Axes& bias : {Axes{h, n}, Axes{n, h}})
      for (const Axes& out : {Axes{b, m, h, n}, Axes{h, n, b, m}, Axes{n, m, h, b}}) {
        INFO(to_string(out) << " bias " << to_string(bias));
        fake.cublas.set_offers(offers);
        const Build build = [&](const std::vector<NamedArray>& in) {
          return std::vector{rounded_dot(in[0], in[1], out, in[2]), rounded_dot(in[0], in[1], out)};
        };
        const std::vector<Array> in =
            narrowed({random_real({b, m, k}, 1), random_real({k, h, n}, 2), random_real(bias, 3)});
        const auto found = evaluate(build, in, *FakeCuda::backend(), DType::f32);
        const auto exact = evaluate(build, in, *make_backend("reference"), DType::f32);
        for (size_t i = 0; i < exact.size(); ++i)
          CHECK(difference(found[i], exact[i], kSmallest) <= kBf16Tolerance);
      }
  CHECK(fake.cublas.products() > 0);
}

TEST_CASE("an algorithm that leaves out the tail of the summed axis is refused", "[cuda]") {
  FakeCuda fake;
  cuda::Context context(FakeCuda::source());
  const Workspace workspace(context);
  cuda::Products& products = context.products();
  for (const bool adds : {false, true})
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const int64_t k : {1, 63, 64, 65, 128, 1000}) {
        INFO(k << (adds ? " added" : ""));
        cuda::ProductShape shape = shape_of(9, 70, k);
        shape.factors = dtype;
        shape.adds = adds;
        if (!adds) shape.result = dtype;
        shape.has_bias = !adds;
        const int64_t before = products.refused();
        const cuda::Product* product = products.find(shape, workspace.data);
        CHECK(product != nullptr);
        CHECK(products.refused() - before == (k % 64 == 0 ? 0 : 1));
        const int64_t calls = fake.cublas.products();
        CHECK(products.find(shape, workspace.data) == product);  // it is kept
        CHECK(fake.cublas.products() == calls);
      }
  fake.cublas.set_offers(1);
  CHECK(products.find(shape_of(8, 71, 100), workspace.data) == nullptr);
  CHECK(products.find(shape_of(8, 71, 128), workspace.data) != nullptr);
}

TEST_CASE("a check takes the memory that it says, and a workspace that lies badly is refused",
          "[cuda]") {
  FakeCuda fake;
  cuda::Context context(FakeCuda::source());
  const Workspace workspace(context);
  cuda::Products& products = context.products();
  cuda::ProductShape shape = shape_of(70, 90, 200);
  shape.b.alignment = 16;
  const int64_t before = fake.memory();
  const cuda::Product* product = products.find(shape, workspace.data);
  CHECK(fake.memory() == before);
  CHECK(fake.most_memory() == before + cuda::Products::check_bytes(shape));
  CHECK_THAT(error_of([&] { products.run(*product, {}, workspace.data + 128); }),
             Catch::Contains("does not lie as cuBLASLt asks"));
}

TEST_CASE("where no algorithm of the library is right, our kernel multiplies", "[cuda]") {
  FakeCuda fake;
  fake.cublas.set_offers(1);
  const Build build = [&](const std::vector<NamedArray>& in) {
    return std::vector{dot(in[0], in[1], {{"n", 51}, {"m", 67}})};
  };
  CHECK(worst_error_on(fake, {{{{"m", 67}, {"k", 77}}}, {{{"k", 77}, {"n", 51}}}}, build) <=
        kTolerance);
  const int64_t tried = fake.cublas.products();
  fake.cublas.set_offers(0);
  CHECK(error_on(fake, build,
                 {random_real({{"m", 67}, {"k", 77}}, 1),
                  random_real({{"k", 77}, {"n", 51}}, 2)}) == INFINITY);
  CHECK(fake.cublas.products() == tried);
}

TEST_CASE("the library's workspace is part of a function's memory", "[cuda]") {
  FakeCuda fake;
  const auto backend = FakeCuda::backend();
  const auto bytes = [&](int64_t n) {
    const Function function = trace(
        [&](const std::vector<NamedArray>& in) {
          return std::vector{dot(in[0], in[1], {{"m", 8}, {"n", n}})};
        },
        {random_real({{"m", 8}, {"k", 64}}, 1), random_real({{"k", 64}, {"n", n}}, 2)}, DType::f32);
    return compile(duplicate(function), *backend, {}).workspace_bytes();
  };
  CHECK(bytes(8) == 0);  // too small to be worth it
  CHECK(bytes(64) == cuda::Products::kWorkspaceBytes);
}

TEST_CASE("any call of the driver may fail while an algorithm is chosen", "[cuda]") {
  const auto choose = [] {
    cuda::Context context(FakeCuda::source());
    const Workspace workspace(context);
    context.products().find(shape_of(9, 7, 100), workspace.data);
  };
  int64_t calls = 0;
  {
    FakeCuda fake;
    choose();
    calls = fake.calls();
  }
  for (int64_t call = 30; call <= calls; call += 2) {
    FakeCuda fake;
    fake.fail(call, CUDA_ERROR_UNKNOWN);
    const std::string error = error_of(choose);
    INFO("call " << call << ": " << error);
    CHECK((error == "" || error.find("cannot ") != std::string::npos));
    CHECK((error == "" || fake.living() == ""));
  }
}

TEST_CASE("a missing cuBLASLt is an error that names it, also of the signature", "[cuda]") {
  FakeCuda fake;
  cuda::Source source = FakeCuda::source();
  source.cublas_lt = FakeCublas::absent;
  {
    const auto backend = cuda::make_backend(source);
    const Build build = [](const std::vector<NamedArray>& in) {
      return std::vector{dot(in[0], in[0], {{"m", 64}})};
    };
    const std::vector<Array> inputs = {random_real({{"m", 64}, {"k", 512}}, 1)};
    CHECK_THAT(error_of([&] { evaluate(build, inputs, *backend, DType::f32); }),
               Catch::Contains("needs cuBLASLt"));
    CHECK_THAT(error_of([&] { backend->numerics_signature(); }), Catch::Contains("needs cuBLASLt"));
  }
  CHECK(fake.living() == "");
}
