// Products of matrices by cuBLASLt: which of its algorithms, and that what it gives is right.
//
// For each shape the first algorithm of the library's heuristic is taken that passes a check with
// ones: algorithms that part the summed axis have been seen to leave out its tail. Partial sums
// stay in f32, so a shape has the same bits on every card of a kind.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "axes/dtype.h"
#include "kernels/cuda/api.h"

namespace levanter::cuda {

class Context;
struct Product;  // one that is ready to run

/// A batch of matrices in memory: element [row, column] of the i-th is at i * batch_stride +
/// row * pitch + column, or + column * pitch + row where they are transposed.
struct Matrices {
  int64_t pitch = 1, batch_stride = 0;
  bool transposed = false;
  int alignment = 64;  ///< of every matrix' address, in bytes
  auto operator<=>(const Matrices&) const = default;
};

/// c = a b, or c += a b where it adds, or c = a b + bias, for each of a batch: a m by k and b k by
/// n, both f32 or both bf16; bias n, of their type; c m by n, f32 or the rounded sums in bf16.
struct ProductShape {
  DType factors = DType::f32, result = DType::f32;
  bool adds = false, has_bias = false;
  int64_t batch = 1, m = 1, n = 1, k = 1;
  Matrices a, b, c;  ///< c is not transposed
  auto operator<=>(const ProductShape&) const = default;
};

/// Where on the card a product is.
struct ProductPlaces {
  const void *a = nullptr, *b = nullptr, *bias = nullptr;
  void* c = nullptr;
};

/// The library on one card, opened when it is first needed. From any thread.
class Products final {
 public:
  /// What every product gets, aligned to 256 bytes as the library asks: as much as cuBLAS takes by
  /// itself on Hopper.
  static constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;

  Products(Context& context, CublasLt (*open)());
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  /// The product by the first algorithm that is right; null where there is none. The first call for
  /// a shape tries them, on operands of its own in memory of the card that it gives back.
  /// error  kDevice where the library is missing or fails
  const Product* find(const ProductShape& shape, void* workspace);
  void run(const Product& product, const ProductPlaces& places, void* workspace) const;
  /// Bytes of the card that the first find() of a shape takes for the check, and gives back.
  static int64_t check_bytes(const ProductShape& shape);
  /// How many algorithms did not pass the check.
  int64_t refused() const;
  /// "cublasLt 130100 on 132 multiprocessors": what the bits of products depend on.
  std::string signature();

 private:
  struct Library;

  Library& library();
  std::unique_ptr<Product> choose(const ProductShape& shape, void* workspace);

  Context& context_;
  CublasLt (*open_)();
  mutable std::mutex mutex_;
  std::unique_ptr<Library> library_;
  std::map<ProductShape, std::unique_ptr<Product>> products_;  ///< null: none is right
  int64_t refused_ = 0;
};

}  // namespace levanter::cuda
