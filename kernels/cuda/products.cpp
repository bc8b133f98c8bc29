// Products of matrices by cuBLASLt: which of its algorithms, and that what it gives is right.
#include "kernels/cuda/products.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "base/bf16.h"
#include "base/error.h"
#include "base/integers.h"
#include "base/strings.h"
#include "kernels/cuda/cublas_lt.h"
#include "kernels/cuda/kernel.h"

namespace levanter::cuda {

namespace {

/// Algorithms that the heuristic is asked for.
constexpr int kCandidates = 8;
/// Columns of ones at the end of the summed axis that the check looks for.
constexpr int64_t kTail = 64;
/// Sums of more ones are not exact in f32.
constexpr int64_t kMostSummed = int64_t{1} << 24;
constexpr int64_t kMostBlocks = 65535;
constexpr int64_t kScratchAlignment = 256;

void require(const CublasLt& lt, cublasStatus_t status, std::string_view what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(ErrorKind::kDevice,
              cat("cannot ", what, ": cuBLASLt says \"", lt.get_status_string(status), "\""))
      .hint("LEVANTER_CUDA_SYNC=1 names the kernel that a fault is in");
}

/// Something of the library's, given back with the object.
template <class T>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, cublasStatus_t (*)(T)>;

/// Sets one attribute of a descriptor: `set` is one of the library's functions.
template <class Set, class Descriptor, class Name, class Value>
void set_attribute(const CublasLt& lt, Set set, Descriptor* descriptor, Name name, Value value) {
  require(lt, set(descriptor, name, &value, sizeof value), "describe a product");
}

cudaDataType_t type_of(DType dtype) { return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

/// Column-major, as the library has it: a row-major matrix is its own transpose.
Owned<cublasLtMatrixLayout_t> layout(const CublasLt& lt, DType dtype, int64_t rows, int64_t columns,
                                     const Matrices& matrices, int64_t batch) {
  const auto [inner, outer] =
      matrices.transposed ? std::pair(rows, columns) : std::pair(columns, rows);
  cublasLtMatrixLayout_t made = nullptr;
  require(lt,
          lt.layout_create(&made, type_of(dtype), static_cast<uint64_t>(inner),
                           static_cast<uint64_t>(outer), matrices.pitch),
          "describe a matrix");
  Owned<cublasLtMatrixLayout_t> owned(made, lt.layout_destroy);
  set_attribute(lt, lt.layout_set, made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                static_cast<int32_t>(batch));
  set_attribute(lt, lt.layout_set, made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                matrices.batch_stride);
  return owned;
}

/// Elements from the first to the last of a batch of matrices.
int64_t extent(const Matrices& matrices, int64_t rows, int64_t columns, int64_t batch) {
  const auto [inner, outer] =
      matrices.transposed ? std::pair(rows, columns) : std::pair(columns, rows);
  return (batch - 1) * matrices.batch_stride + (outer - 1) * matrices.pitch + inner;
}

}  // namespace

/// Row-major c = a b is the library's c' = b' a'.
struct Product {
  Product(const CublasLt& lt, const ProductShape& s)
      : shape(s),
        operation(nullptr, lt.product_destroy),
        a(layout(lt, s.factors, s.m, s.k, s.a, s.batch)),
        b(layout(lt, s.factors, s.k, s.n, s.b, s.batch)),
        c(layout(lt, s.result, s.m, s.n, s.c, s.batch)) {
    cublasLtMatmulDesc_t made = nullptr;
    require(lt, lt.product_create(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describe a product");
    operation.reset(made);
    set_attribute(lt, lt.product_set, made, CUBLASLT_MATMUL_DESC_TRANSA,
                  s.b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set_attribute(lt, lt.product_set, made, CUBLASLT_MATMUL_DESC_TRANSB,
                  s.a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (!s.has_bias) return;
    set_attribute(lt, lt.product_set, made, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set_attribute(lt, lt.product_set, made, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
                  type_of(s.factors));
  }

  ProductShape shape;
  Owned<cublasLtMatmulDesc_t> operation;
  Owned<cublasLtMatrixLayout_t> a, b, c;
  cublasLtMatmulAlgo_t algorithm{};
};

/// The open library.
struct Products::Library {
  explicit Library(const CublasLt& functions) : lt(functions), handle(nullptr, lt.destroy) {}

  /// What the heuristic offers, the quickest first.
  std::vector<cublasLtMatmulAlgo_t> candidates(const Product& product) const {
    cublasLtMatmulPreference_t made = nullptr;
    require(lt, lt.preference_create(&made), "ask for algorithms");
    const Owned<cublasLtMatmulPreference_t> preference(made, lt.preference_destroy);
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t name, auto value) {
      set_attribute(lt, lt.preference_set, made, name, value);
    };
    const ProductShape& s = product.shape;
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kWorkspaceBytes));
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
           uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE} |
               uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(s.b.alignment));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(s.a.alignment));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(s.c.alignment));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(s.c.alignment));
    cublasLtMatmulHeuristicResult_t found[kCandidates] = {};
    int count = 0;
    const cublasStatus_t status = lt.get_heuristic(
        handle.get(), product.operation.get(), product.b.get(), product.a.get(), product.c.get(),
        product.c.get(), preference.get(), kCandidates, found, &count);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) return {};
    require(lt, status, "ask for algorithms");
    std::vector<cublasLtMatmulAlgo_t> algorithms;
    for (int i = 0; i < count; ++i)
      if (found[i].state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(found[i].algo);
    return algorithms;
  }

  /// The place of the bias is part of a product's description: one thread at a time.
  void set_bias(const Product& product, const void* bias) const {
    if (product.shape.has_bias)
      set_attribute(lt, lt.product_set, product.operation.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                    bias);
  }

  cublasStatus_t multiply(const Device& device, const Product& product, const ProductPlaces& at,
                          void* workspace) const {
    LEV_CHECK(reinterpret_cast<uintptr_t>(workspace) % kScratchAlignment == 0,
              "the workspace of a product does not lie as cuBLASLt asks");
    const float alpha = 1.0f, beta = product.shape.adds ? 1.0f : 0.0f;
    set_bias(product, at.bias);
    return lt.multiply(handle.get(), product.operation.get(), &alpha, at.b, product.b.get(), at.a,
                       product.a.get(), &beta, at.c, product.c.get(), at.c, product.c.get(),
                       &product.algorithm, workspace, static_cast<size_t>(kWorkspaceBytes),
                       device.stream());
  }

  CublasLt lt;
  Owned<cublasLtHandle_t> handle;
};

namespace {

/// Where the operands of a check lie in memory of their own, in bytes; a word before them tells
/// what is wrong.
struct TrialPlaces {
  explicit TrialPlaces(const ProductShape& s) : bytes(kScratchAlignment) {
    const int64_t size = size_of(s.factors);
    c_bytes = extent(s.c, s.m, s.n, s.batch) * size_of(s.result);
    a = place(s.a, extent(s.a, s.m, s.k, s.batch) * size);
    b = place(s.b, extent(s.b, s.k, s.n, s.batch) * size);
    c = place(s.c, c_bytes);
    bias = place(Matrices{}, s.has_bias ? s.n * size : 0);
  }
  int64_t place(const Matrices& matrices, int64_t of_matrices) {
    const int64_t at = bytes + matrices.alignment;  // aligned to this, and to no more
    bytes = round_up(at + of_matrices, kScratchAlignment);
    return at;
  }
  int64_t bytes, c_bytes = 0, a = 0, b = 0, c = 0, bias = 0;
};

/// Operands of a product that lie as the real ones do.
class Trial final {
 public:
  Trial(Context& context, const ProductShape& shape)
      : device_(context.device()),
        shape_(shape),
        factors_(element_of(shape.factors)),
        ones_(context, "dot", "product_ones"),
        expect_(context, "dot", "product_expect") {
    const TrialPlaces places(shape);
    c_bytes_ = places.c_bytes;
    memory_ = device_.allocate(places.bytes);
    a_ = memory_ + places.a;
    b_ = memory_ + places.b;
    c_ = memory_ + places.c;
    bias_ = memory_ + places.bias;
  }
  ~Trial() { device_.free(memory_); }
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  /// multiply(places) is to give the number of ones that a row of `a` has: all of them, and those
  /// of the last columns alone. A bias is one more.
  template <class Multiply>
  bool passes(const Multiply& multiply) const {
    fill(b_, shape_.b, shape_.k, shape_.n, 0);
    if (shape_.has_bias)
      ones_.launch({}, OnesArguments{make_space(Axes{}, std::span<const View* const>{}), bias_,
                                     shape_.n, 1, 0, factors_});
    device_.fill(memory_, sizeof(int), std::byte{0});
    for (const int64_t first : {int64_t{0}, std::max<int64_t>(shape_.k - kTail, 0)}) {
      fill(a_, shape_.a, shape_.m, shape_.k, first);
      device_.fill(c_, c_bytes_, shape_.adds ? std::byte{0} : std::byte{0xff});  // 0, or NaN
      if (!multiply(ProductPlaces{a_, b_, bias_, c_})) return false;
      expect(static_cast<float>(shape_.k - first + (shape_.has_bias ? 1 : 0)));
    }
    int wrong = 0;
    device_.download(std::as_writable_bytes(std::span(&wrong, 1)), memory_);
    return wrong == 0;
  }

 private:
  Space rows_of(const Matrices& matrices, int64_t rows) const {
    View view{{{"batch", shape_.batch}, {"row", rows}}, {}, 0};
    view.strides[0] = matrices.batch_stride;
    view.strides[1] = matrices.transposed ? 1 : matrices.pitch;
    return make_space(view.axes, {&view});
  }
  static Grid a_block_each(const Space& rows) {
    return {{std::min<int64_t>(rows.count, kMostBlocks), 1, 1}};
  }
  void fill(std::byte* to, const Matrices& matrices, int64_t rows, int64_t columns,
            int64_t first) const {
    const Space space = rows_of(matrices, rows);
    const int64_t stride = matrices.transposed ? matrices.pitch : 1;
    ones_.launch(a_block_each(space), OnesArguments{space, to, columns, stride, first, factors_});
  }
  void expect(float expected) const {
    const Space space = rows_of(shape_.c, shape_.m);
    auto* const wrong = reinterpret_cast<int*>(memory_);
    if (shape_.result == DType::bf16) expected = Bf16(expected);
    expect_.launch(a_block_each(space), ExpectArguments{space, c_, wrong, shape_.n, expected,
                                                        element_of(shape_.result)});
  }

  const Device& device_;
  ProductShape shape_;
  Element factors_;
  Function ones_, expect_;
  int64_t c_bytes_ = 0;
  std::byte *memory_ = nullptr, *a_ = nullptr, *b_ = nullptr, *c_ = nullptr, *bias_ = nullptr;
};

}  // namespace

Products::Products(Context& context, CublasLt (*open)()) : context_(context), open_(open) {}

Products::~Products() {
  if (!library_ || !library_->handle) return;
  const Device& device = context_.device();
  device.driver().context_set_current(device.context());
  products_.clear();
  library_.reset();
}

Products::Library& Products::library() {
  if (!library_) library_ = std::make_unique<Library>(open_());
  return *library_;
}

std::unique_ptr<Product> Products::choose(const ProductShape& shape, void* workspace) {
  if (shape.k >= kMostSummed || shape.batch > INT32_MAX) return nullptr;
  Library& library = this->library();
  const Device& device = context_.device();
  device.enter();
  if (!library.handle) {
    cublasLtHandle_t made = nullptr;
    require(library.lt, library.lt.create(&made), "start cuBLASLt");
    library.handle.reset(made);
  }
  auto product = std::make_unique<Product>(library.lt, shape);
  library.set_bias(*product, workspace);  // some place, which the heuristic may ask for
  const std::vector<cublasLtMatmulAlgo_t> candidates = library.candidates(*product);
  if (candidates.empty()) return nullptr;
  const Trial trial(context_, shape);
  for (const cublasLtMatmulAlgo_t& candidate : candidates) {
    product->algorithm = candidate;
    const bool right = trial.passes([&](const ProductPlaces& places) {
      return library.multiply(device, *product, places, workspace) == CUBLAS_STATUS_SUCCESS;
    });
    if (right) return product;
    ++refused_;
  }
  return nullptr;
}

const Product* Products::find(const ProductShape& shape, void* workspace) {
  const std::lock_guard lock(mutex_);
  auto found = products_.find(shape);
  if (found == products_.end()) found = products_.emplace(shape, choose(shape, workspace)).first;
  return found->second.get();
}

void Products::run(const Product& product, const ProductPlaces& places, void* workspace) const {
  const Device& device = context_.device();
  device.enter();
  const std::lock_guard lock(mutex_);
  require(library_->lt, library_->multiply(device, product, places, workspace), "multiply");
  device.launched("a product of cuBLASLt");
}

int64_t Products::check_bytes(const ProductShape& shape) { return TrialPlaces(shape).bytes; }

int64_t Products::refused() const {
  const std::lock_guard lock(mutex_);
  return refused_;
}

std::string Products::signature() {
  const std::lock_guard lock(mutex_);
  return cat("cublasLt ", library().lt.get_version(), " on ", context_.device().multiprocessors(),
             " multiprocessors");
}

}  // namespace levanter::cuda
