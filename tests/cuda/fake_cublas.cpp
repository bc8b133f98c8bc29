// A cuBLASLt that multiplies by plain loops on the emulated card.
#include "cuda/fake_cublas.h"

#include <array>
#include <cstring>
#include <map>

#include "base/bf16.h"
#include "base/error.h"
#include "kernels/cuda/cublas_lt.h"

namespace levanter::testing {

namespace {

/// In the order of the library's arguments.
enum Operand { kA, kB, kC, kD, kOperands };

struct Operation {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  cudaDataType bias_type = CUDA_R_32F;
};
struct Layout {
  cudaDataType type;
  int64_t rows, columns, pitch;
  int32_t batch = 1;
  int64_t batch_stride = 0;
};
struct Preference {
  uint64_t workspace_bytes = 0;
  uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_MASK;
  std::array<uint32_t, kOperands> alignments{256, 256, 256, 256};
};
/// What a cublasLtMatmulAlgo_t holds here.
struct Algorithm {
  bool drops_tail;
  std::array<uint32_t, kOperands> alignments;
  uint32_t workspace_bytes;
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

/// What the algorithm that drops the tail sums at a time, and the workspace it asks for.
constexpr int64_t kBlock = 64;
constexpr uint32_t kWorkspaceBytes = 1 << 20;
constexpr size_t kWorkspaceAlignment = 256;

FakeCublas* library = nullptr;
char the_handle = 0;  // its address is the handle

int64_t size_of(cudaDataType type) { return type == CUDA_R_16BF ? 2 : 4; }

float load(cudaDataType type, const void* from, int64_t at) {
  if (type == CUDA_R_16BF) return static_cast<const Bf16*>(from)[at];
  return static_cast<const float*>(from)[at];
}

void store(cudaDataType type, void* to, int64_t at, float x) {
  if (type == CUDA_R_16BF)
    static_cast<Bf16*>(to)[at] = x;
  else
    static_cast<float*>(to)[at] = x;
}

/// Sets `to` where the value has the size of it.
template <class T>
cublasStatus_t take(T& to, const void* value, size_t bytes) {
  if (!value || bytes != sizeof to) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

/// A product, as its descriptors say.
struct Problem {
  Problem(cublasLtMatmulDesc_t op, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
          cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d)
      : operation(*reinterpret_cast<const Operation*>(op)),
        layouts{*reinterpret_cast<const Layout*>(a), *reinterpret_cast<const Layout*>(b),
                *reinterpret_cast<const Layout*>(c), *reinterpret_cast<const Layout*>(d)} {
    const Layout& first = layouts[kA];
    m = layouts[kD].rows;
    n = layouts[kD].columns;
    k = operation.a == CUBLAS_OP_N ? first.columns : first.rows;
  }

  bool is_sound() const {
    const auto has = [](const Layout& layout, cublasOperation_t op, int64_t rows, int64_t columns) {
      return op == CUBLAS_OP_N ? layout.rows == rows && layout.columns == columns
                               : layout.rows == columns && layout.columns == rows;
    };
    for (const Layout& layout : layouts)
      if (layout.pitch < layout.rows || layout.batch != layouts[kD].batch || layout.rows == 0 ||
          layout.columns == 0)
        return false;
    return has(layouts[kA], operation.a, m, k) && has(layouts[kB], operation.b, k, n) &&
           has(layouts[kC], CUBLAS_OP_N, m, n);
  }
  /// f32 and bf16 with sums in f32, which is what the backend promises.
  bool is_supported() const {
    const cudaDataType type = layouts[kA].type;
    return operation.compute == CUBLAS_COMPUTE_32F && operation.scale == CUDA_R_32F &&
           (type == CUDA_R_32F || type == CUDA_R_16BF) && layouts[kB].type == type &&
           (layouts[kD].type == CUDA_R_32F || layouts[kD].type == type) &&
           layouts[kC].type == layouts[kD].type && has_supported_epilogue();
  }
  bool has_bias() const { return operation.epilogue == CUBLASLT_EPILOGUE_BIAS; }
  /// A bias is of the result's type.
  bool has_supported_epilogue() const {
    return operation.epilogue == CUBLASLT_EPILOGUE_DEFAULT ||
           (has_bias() && operation.bias && operation.bias_type == layouts[kD].type);
  }
  size_t bias_bytes() const { return static_cast<size_t>(m * size_of(operation.bias_type)); }
  /// Bytes from the operand's first element to its last.
  size_t bytes(int operand) const {
    const Layout& l = layouts[operand];
    const int64_t elements = (l.batch - 1) * l.batch_stride + (l.columns - 1) * l.pitch + l.rows;
    return static_cast<size_t>(elements * size_of(l.type));
  }
  int64_t place(int operand, cublasOperation_t op, int64_t row, int64_t column) const {
    const int64_t pitch = layouts[operand].pitch;
    return op == CUBLAS_OP_N ? column * pitch + row : row * pitch + column;
  }

  void multiply(const void* a, const void* b, const void* c, void* d, float alpha, float beta,
                int64_t summed) const {
    for (int64_t i = 0; i < layouts[kD].batch; ++i)
      for (int64_t column = 0; column < n; ++column)
        for (int64_t row = 0; row < m; ++row) {
          float sum = 0;
          for (int64_t at = 0; at < summed; ++at)
            sum += load(layouts[kA].type, a,
                        i * layouts[kA].batch_stride + place(kA, operation.a, row, at)) *
                   load(layouts[kB].type, b,
                        i * layouts[kB].batch_stride + place(kB, operation.b, at, column));
          const int64_t from = i * layouts[kC].batch_stride + place(kC, CUBLAS_OP_N, row, column);
          const int64_t to = i * layouts[kD].batch_stride + place(kD, CUBLAS_OP_N, row, column);
          sum *= alpha;
          if (beta != 0) sum += beta * load(layouts[kC].type, c, from);
          if (has_bias()) sum += load(operation.bias_type, operation.bias, row);
          store(layouts[kD].type, d, to, sum);
        }
  }

  Operation operation;
  std::array<Layout, kOperands> layouts;
  int64_t m, n, k;
};

}  // namespace

struct FakeCublas::Calls {
  template <class T, class Handle>
  static cublasStatus_t create(Handle* handle, const T& value) {
    const std::lock_guard lock(library->mutex_);
    ++library->living_;
    *handle = reinterpret_cast<Handle>(new T(value));
    return CUBLAS_STATUS_SUCCESS;
  }
  template <class T, class Handle>
  static cublasStatus_t destroy(Handle handle) {
    const std::lock_guard lock(library->mutex_);
    --library->living_;
    delete reinterpret_cast<T*>(handle);
    return CUBLAS_STATUS_SUCCESS;
  }

  static cublasStatus_t set_operation(cublasLtMatmulDesc_t handle,
                                      cublasLtMatmulDescAttributes_t name, const void* value,
                                      size_t bytes) {
    auto& operation = *reinterpret_cast<Operation*>(handle);
    if (name == CUBLASLT_MATMUL_DESC_TRANSA) return take(operation.a, value, bytes);
    if (name == CUBLASLT_MATMUL_DESC_TRANSB) return take(operation.b, value, bytes);
    if (name == CUBLASLT_MATMUL_DESC_EPILOGUE) return take(operation.epilogue, value, bytes);
    if (name == CUBLASLT_MATMUL_DESC_BIAS_POINTER) return take(operation.bias, value, bytes);
    if (name == CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE) return take(operation.bias_type, value, bytes);
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  static cublasStatus_t set_layout(cublasLtMatrixLayout_t handle,
                                   cublasLtMatrixLayoutAttribute_t name, const void* value,
                                   size_t bytes) {
    auto& layout = *reinterpret_cast<Layout*>(handle);
    if (name == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT) return take(layout.batch, value, bytes);
    if (name == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET)
      return take(layout.batch_stride, value, bytes);
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  static cublasStatus_t set_preference(cublasLtMatmulPreference_t handle,
                                       cublasLtMatmulPreferenceAttributes_t name, const void* value,
                                       size_t bytes) {
    auto& preference = *reinterpret_cast<Preference*>(handle);
    if (name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
      return take(preference.workspace_bytes, value, bytes);
    if (name == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
      return take(preference.schemes, value, bytes);
    if (name == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES)
      return take(preference.alignments[kA], value, bytes);
    if (name == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES)
      return take(preference.alignments[kB], value, bytes);
    if (name == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES)
      return take(preference.alignments[kC], value, bytes);
    if (name == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES)
      return take(preference.alignments[kD], value, bytes);
    return CUBLAS_STATUS_INVALID_VALUE;
  }

  static cublasStatus_t get_heuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                      cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                      cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                      cublasLtMatmulPreference_t preferred, int most,
                                      cublasLtMatmulHeuristicResult_t* results, int* count) {
    const Problem problem(operation, a, b, c, d);
    const auto& preference = *reinterpret_cast<const Preference*>(preferred);
    if (handle != reinterpret_cast<cublasLtHandle_t>(&the_handle) || !problem.is_sound())
      return CUBLAS_STATUS_INVALID_VALUE;
    // Sums in bf16 would be offered too where they are not excluded.
    if (!problem.is_supported() || preference.schemes != CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE)
      return CUBLAS_STATUS_NOT_SUPPORTED;
    for (int i = 0; i < kOperands; ++i)
      if (preference.alignments[i] < size_of(problem.layouts[i].type))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    *count = 0;
    for (const bool drops_tail : {true, false}) {
      const uint32_t bytes = drops_tail ? kWorkspaceBytes : 0;
      if (*count == std::min(most, library->offers_) || bytes > preference.workspace_bytes)
        continue;
      cublasLtMatmulHeuristicResult_t& result = results[(*count)++];
      const Algorithm algorithm{drops_tail, preference.alignments, bytes};
      std::memcpy(&result.algo, &algorithm, sizeof algorithm);
      result.state = CUBLAS_STATUS_SUCCESS;
      result.workspaceSize = bytes;
    }
    return CUBLAS_STATUS_SUCCESS;
  }

  static cublasStatus_t multiply(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                 const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                                 const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                                 const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                                 cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                                 void* workspace, size_t workspace_bytes, cudaStream_t stream) {
    const Problem problem(operation, a_layout, b_layout, c_layout, d_layout);
    Algorithm algorithm{};
    std::memcpy(&algorithm, algo, sizeof algorithm);
    if (handle != reinterpret_cast<cublasLtHandle_t>(&the_handle) || !problem.is_sound() ||
        !problem.is_supported() || workspace_bytes < algorithm.workspace_bytes ||
        reinterpret_cast<size_t>(workspace) % kWorkspaceAlignment != 0 ||
        !is_card_memory(workspace, workspace_bytes))
      return CUBLAS_STATUS_INVALID_VALUE;
    if (problem.has_bias() && !is_card_memory(problem.operation.bias, problem.bias_bytes()))
      return CUBLAS_STATUS_INVALID_VALUE;
    const std::array<const void*, kOperands> data{a, b, c, d};
    for (int i = 0; i < kOperands; ++i)
      if (reinterpret_cast<size_t>(data[i]) % algorithm.alignments[i] != 0 ||
          !is_card_memory(data[i], problem.bytes(i)))
        return CUBLAS_STATUS_INVALID_VALUE;
    {
      const std::lock_guard lock(library->mutex_);
      ++library->products_;
      library->batches_ += problem.layouts[kD].batch > 1;
      library->rounded_ += problem.layouts[kD].type == CUDA_R_16BF;
    }
    const int64_t summed = algorithm.drops_tail ? problem.k - problem.k % kBlock : problem.k;
    const float scale = *static_cast<const float*>(alpha), old = *static_cast<const float*>(beta);
    const CUresult result = enqueue_on(stream, [=] {
      if (algorithm.workspace_bytes > 0) std::memset(workspace, 0xff, algorithm.workspace_bytes);
      problem.multiply(a, b, c, d, scale, old, summed);
      return CUDA_SUCCESS;
    });
    return result == CUDA_SUCCESS ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
  }
};

FakeCublas::FakeCublas() { library = this; }
FakeCublas::~FakeCublas() { library = nullptr; }

cuda::CublasLt FakeCublas::functions() {
  cuda::CublasLt l;
  l.get_version = [] { return size_t{130100}; };
  l.get_status_string = [](cublasStatus_t) { return "as the fake was told"; };
  l.create = [](cublasLtHandle_t* handle) {
    *handle = reinterpret_cast<cublasLtHandle_t>(&the_handle);
    const std::lock_guard lock(library->mutex_);
    ++library->living_;
    return CUBLAS_STATUS_SUCCESS;
  };
  l.destroy = [](cublasLtHandle_t) {
    const std::lock_guard lock(library->mutex_);
    --library->living_;
    return CUBLAS_STATUS_SUCCESS;
  };
  l.product_create = [](cublasLtMatmulDesc_t* handle, cublasComputeType_t compute,
                        cudaDataType_t scale) {
    return Calls::create(handle, Operation{compute, scale});
  };
  l.product_destroy = Calls::destroy<Operation, cublasLtMatmulDesc_t>;
  l.product_set = Calls::set_operation;
  l.layout_create = [](cublasLtMatrixLayout_t* handle, cudaDataType type, uint64_t rows,
                       uint64_t columns, int64_t pitch) {
    return Calls::create(
        handle, Layout{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), pitch});
  };
  l.layout_destroy = Calls::destroy<Layout, cublasLtMatrixLayout_t>;
  l.layout_set = Calls::set_layout;
  l.preference_create = [](cublasLtMatmulPreference_t* handle) {
    return Calls::create(handle, Preference{});
  };
  l.preference_destroy = Calls::destroy<Preference, cublasLtMatmulPreference_t>;
  l.preference_set = Calls::set_preference;
  l.get_heuristic = Calls::get_heuristic;
  l.multiply = Calls::multiply;
  return l;
}

cuda::CublasLt FakeCublas::absent() {
  throw Error(ErrorKind::kDevice, "device cuda needs cuBLASLt: the library is not there");
}

}  // namespace levanter::testing
