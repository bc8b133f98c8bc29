// Single-threaded oneDNN matrix products behind one small face, for versions 2 and 3 of its C API.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "axes/dtype.h"

namespace levanter::cpu {

/// Layout of C[m, n] = sum over k of A[m, k] B[k, n]: A and B of type `factors`, f32 or bf16, C and
/// all sums f32. Strides are in elements; A and B each have one stride of 1, and C's columns are
/// adjacent.
struct ProductShape {
  int64_t m = 0, n = 0, k = 0;
  int64_t a_row = 0, a_col = 1;
  int64_t b_row = 0, b_col = 1;
  int64_t c_row = 0;
  DType factors = DType::f32;
  bool packed_b = false;  ///< B comes in the layout that Product::pack writes

  auto operator<=>(const ProductShape&) const = default;
};

/// The largest extents of a product that goes to oneDNN in one call.
struct ProductLimits {
  int64_t m = 0, n = 0, k = 0;
};

/// One compiled product, or several that make one up (product_parts.h), which may be of f32 where
/// it is of bf16, or one by a kernel of our own. Runs inline on the calling thread, whatever OpenMP
/// is told elsewhere. oneDNN itself allocates up to 7 times a call (a map of arguments; for strided
/// factors a packing buffer of 70 to 220 KB) and frees it before it returns; nothing else is
/// allocated.
class Product final {
 public:
  ~Product();
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  /// Bytes of scratch, aligned to 64, that each call in flight needs.
  size_t scratch_bytes() const;
  /// Of B packed, a multiple of 64; 0 for a product that takes B as it lies.
  size_t packed_bytes() const;

  /// Lays B out in the order in which the product reads it: 2 to 16 % quicker to multiply by.
  /// All products of one n, k and type share a layout. oneDNN's A is dense then. `scratch` as for
  /// run.
  void pack(int worker, const void* b, void* packed, void* scratch) const;

  /// Computes C from A and B. `worker` is below the owner's number of workers; two calls at a time
  /// never share one.
  void run(int worker, const void* a, const void* b, float* c, void* scratch) const;
  /// Whether C's rows may be further apart than the shape says.
  bool takes_any_c_row() const;
  /// The same with C's rows c_row apart, for such a product. If it `continues`, chains of a pair
  /// product begin with what C holds.
  void run(int worker, const void* a, const void* b, float* c, int64_t c_row, void* scratch,
           bool continues = false) const;

 private:
  friend class Products;
  struct Impl;
  explicit Product(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Multiplies in place of oneDNN (tile_product.h).
using TileKernel = void (*)(const struct TileProduct& product, float* scratch);

/// Compiles products and shares those of one shape. get() is for one thread at a time; the products
/// live as long as this.
class Products final {
 public:
  /// `limits`: those of every type, `tiles`: what tile_kernel() says, in place of this machine's;
  /// with either, nothing goes by pairs.
  explicit Products(int workers, std::optional<ProductLimits> limits = {},
                    std::optional<TileKernel> tiles = {});
  ~Products();

  /// error  kDevice for memory that ran out
  /// The product of this shape; m, n, k >= 1. Takes about 0.3 ms for a new shape.
  const Product& get(const ProductShape& shape);

  /// By what large products of bf16 go instead, if there is something: usable_tiles().
  TileKernel tile_kernel() const;
  /// Whether a product is one by pairs, whatever its extents.
  bool makes_pairs(const ProductShape& shape) const;

 private:
  void compile_shared_code();

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Whether a product goes by VectorKernels::chain_product: of f32, no factor transposed, with a B
/// that stays in the second-level cache, where oneDNN makes one chain of each sum too, packed or
/// not: with AVX-512. So no bit depends on which of the two it is.
bool is_chain_product(const ProductShape& shape);

/// How products of bf16 are multiplied here: by what the processor has, and oneDNN and the vector
/// kernels may use.
enum class Bf16Way {
  kPairs,    ///< by VectorKernels::pair_product: pairs by an instruction quicker than those of f32
  kTiles,    ///< by oneDNN with AMX, in parts, and large ones by a TileKernel
  kWidened,  ///< as products of f32, where nothing is quicker
  kLibrary,  ///< by oneDNN
};
Bf16Way bf16_way();

/// Name and version of the library in use, such as "oneDNN 2.6.3", for the numerics signature.
std::string onednn_version();
/// The instruction set that oneDNN uses, as its own number for it in hexadecimal: a product's bits
/// depend on it.
std::string onednn_isa();

}  // namespace levanter::cpu
