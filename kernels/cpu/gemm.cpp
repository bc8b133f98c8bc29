// Matrix products by tiles.
// Plain twin: kernels/reference/dot.cpp.
#include "kernels/cpu/gemm.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/integers.h"
#include "kernels/cpu/product_parts.h"
#include "kernels/cpu/vector.h"

namespace levanter::cpu {
namespace {

constexpr int64_t kLinesAtOnce = 16384;  ///< elements that a thread widens at a time
constexpr int64_t kTurnedColumns = 64;   ///< of B, that a thread turns at a time
constexpr size_t kHeaderBytes = 64;      ///< of what a worker has packed of B

constexpr char kWholeAlone[] = "a product in parts has no tiles";

size_t aligned(size_t bytes) { return round_up(bytes, 64); }

}  // namespace

Gemm::Gemm(Products& products, const ProductShape& given, bool small_m)
    : shape_(widens_at_once(given, small_m) ? widened(given) : given),
      given_(given),
      grid_(tile_grid(shape_, small_m, products.tile_kernel(), products.makes_pairs(shape_))) {
  const ProductShape& shape = shape_;
  LEV_CHECK(shape.k >= 1, "a product needs k >= 1");
  if (tiles() == 0) return;
  dense_ = (grid_.tiles_n == 1 && shape.c_row == shape.n) || shape.m == 1;
  tile_bytes_ = aligned(sizeof(float) * static_cast<size_t>(grid_.tile_m * grid_.tile_n));
  if (grid_.small_m) {
    if (shape.factors == DType::bf16)  // A as f32
      packed_a_bytes_ = aligned(sizeof(float) * static_cast<size_t>(shape.m * shape.k));
    if (grid_.part_k > 0)
      packed_b_bytes_ = aligned(sizeof(float) * static_cast<size_t>(shape.m * shape.n) *
                                static_cast<size_t>(ceil_div(shape.k, grid_.part_k)));
    return;
  }
  if (grid_.tile_kernel != nullptr) {
    parts_ = cuts(shape.k, product_limits(DType::bf16, Bf16Way::kTiles)->k);
    packed_a_bytes_ = sizeof(uint16_t) * static_cast<size_t>(panel_elements(shape.m, shape.k));
    packed_b_bytes_ = sizeof(uint16_t) * static_cast<size_t>(panel_elements(shape.n, shape.k));
    product_bytes_ = kTileScratchBytes;
    gaps_ = true;
    return;
  }
  if (grid_.packed_part > 0) {
    ProductShape part = shape;
    part.k = grid_.packed_part;
    part_ = std::make_unique<Gemm>(products, part);
    part.k = shape.k % grid_.packed_part;
    if (part.k > 0) last_part_ = std::make_unique<Gemm>(products, part);
    return;
  }
  gaps_ = true;
  for (size_t kind = 0; kind < products_.size(); ++kind) {
    ProductShape tile = shape;
    tile.m = (kind & 1) ? shape.m - (grid_.tiles_m - 1) * grid_.tile_m : grid_.tile_m;
    tile.n = (kind & 2) ? shape.n - (grid_.tiles_n - 1) * grid_.tile_n : grid_.tile_n;
    tile.c_row = tile.n;
    tile.packed_b = grid_.packs_b || grid_.owns_b;
    if (grid_.packs_a) {
      tile.a_row = shape.k;
      tile.a_col = 1;
    }
    if (grid_.turns_b) {
      tile.b_row = shape.n;
      tile.b_col = 1;
    }
    products_[kind] = &products.get(tile);
    gaps_ = gaps_ && products_[kind]->takes_any_c_row();
    product_bytes_ = std::max(product_bytes_, products_[kind]->scratch_bytes());
  }
  if (shape.factors != given.factors)
    widened_bytes_ = aligned(sizeof(float) * static_cast<size_t>(shape.m * shape.k)) +
                     aligned(sizeof(float) * static_cast<size_t>(shape.k * shape.n));
  if (grid_.packs_a)
    packed_a_bytes_ = aligned(static_cast<size_t>(shape.m * shape.k * size_of(shape.factors)));
  if (grid_.turns_b)
    packed_b_bytes_ = aligned(sizeof(float) * static_cast<size_t>(shape.k * shape.n));
  if (grid_.owns_b) own_bytes_ = products_[0]->packed_bytes() + kHeaderBytes;
  if (grid_.packs_b) {
    column_bytes_ = products_[0]->packed_bytes();
    packed_b_bytes_ =
        column_bytes_ * static_cast<size_t>(grid_.tiles_n - 1) + products_[2]->packed_bytes();
  }
}

/// Both factors as f32, without gaps.
Factors Gemm::widen(ThreadPool& pool, const Factors& factors, void* to) const {
  const ProductShape& s = given_;
  const auto widen = [&](const Lines& all, const void* from, char* at) {
    const int64_t size = size_of(s.factors), some = ceil_div(kLinesAtOnce, all.length);
    pool.parallel_for(ceil_div(all.count, some), [&](int64_t index, int) {
      const int64_t first = index * some;
      copy_lines(at + first * all.length * size_of(DType::f32),
                 static_cast<const char*>(from) + first * all.stride * size,
                 {std::min(some, all.count - first), all.length, all.stride}, s.factors, true);
    });
    return at + aligned(static_cast<size_t>(all.count * all.length * size_of(DType::f32)));
  };
  auto* const a = static_cast<char*>(to);
  char* const b = widen(lines(s.m, s.k, s.a_row, s.a_col), factors.a, a);
  widen(lines(s.k, s.n, s.b_row, s.b_col), factors.b, b);
  return {a, b};
}

Factors Gemm::pack(ThreadPool& pool, const Factors& given, void* room) const {
  LEV_CHECK(!in_parts(), kWholeAlone);
  const Factors factors = widened_bytes_ > 0 ? widen(pool, given, room) : given;
  char* const packed = static_cast<char*>(room) + widened_bytes_;
  Factors ready = factors;
  const int64_t size = size_of(shape_.factors);
  if (grid_.small_m) return pack_few(pool, factors, packed);
  if (grid_.owns_b) {
    for (int worker = 0; worker < pool.threads(); ++worker)
      *own_column(packed + static_cast<size_t>(worker) * scratch_bytes_per_worker()) = -1;
    return ready;
  }
  if (grid_.pairs && grid_.packs_b) {
    pack_panels(pool, shape_, nullptr, nullptr, factors.b, packed);
    return {factors.a, packed};
  }
  if (grid_.tile_kernel != nullptr) {
    char* const b = packed + packed_a_bytes_;
    pack_panels(pool, shape_, factors.a, packed, factors.b, b);
    return {packed, b};
  }
  if (grid_.turns_b) {
    ready.b = packed;
    pool.parallel_for(ceil_div(shape_.n, kTurnedColumns), [&](int64_t index, int) {
      const int64_t column = index * kTurnedColumns;
      vector_kernels().transpose_4(reinterpret_cast<uint32_t*>(packed) + column, shape_.n,
                                   static_cast<const uint32_t*>(factors.b) + column * shape_.b_col,
                                   shape_.b_col, std::min(kTurnedColumns, shape_.n - column),
                                   shape_.k);
    });
  }
  if (grid_.packs_a) {
    ready.a = packed;
    pool.parallel_for(grid_.tiles_m, [&](int64_t index, int) {
      const int64_t row = index * grid_.tile_m, rows = std::min(grid_.tile_m, shape_.m - row);
      const char* const from = static_cast<const char*>(factors.a) + row * shape_.a_row * size;
      char* const to = packed + row * shape_.k * size;
      transpose_a(to, from, rows);
    });
  }
  if (grid_.packs_b) {
    char* const b = packed + packed_a_bytes_;
    ready.b = b;
    pool.parallel_for(grid_.tiles_n, [&](int64_t index, int worker) {
      const int64_t from = index * grid_.tile_n * shape_.b_col * size;
      products_[index == grid_.tiles_n - 1 ? 2 : 0]->pack(
          worker, static_cast<const char*>(factors.b) + from,
          b + static_cast<size_t>(index) * column_bytes_,
          static_cast<char*>(room) + packed_bytes() +
              static_cast<size_t>(worker) * scratch_bytes_per_worker() + tile_bytes_);
    });
  }
  return ready;
}

/// At the end of a worker's scratch: the column of tiles of which it has packed B.
int64_t* Gemm::own_column(void* scratch) const {
  char* const end = static_cast<char*>(scratch) + scratch_bytes_per_worker();
  return reinterpret_cast<int64_t*>(end - kHeaderBytes);
}

/// `rows` rows of A, which lie as columns a_col apart, as rows.
void Gemm::transpose_a(void* to, const void* from, int64_t rows) const {
  const VectorKernels& kernels = vector_kernels();
  if (shape_.factors == DType::bf16) {
    kernels.transpose_2(static_cast<uint16_t*>(to), shape_.k, static_cast<const uint16_t*>(from),
                        shape_.a_col, shape_.k, rows);
  } else {
    kernels.transpose_4(static_cast<uint32_t*>(to), shape_.k, static_cast<const uint32_t*>(from),
                        shape_.a_col, shape_.k, rows);
  }
}

/// The whole product of few rows, of factors that pack_few began.
SmallMProduct Gemm::small_m(const Factors& factors) const {
  return {.rows = shape_.m,
          .columns = shape_.n,
          .k = shape_.k,
          .x = static_cast<const float*>(factors.a),
          .x_row = shape_.factors == DType::bf16 ? shape_.k : shape_.a_row,
          .w = factors.b,
          .w_stride = has_dense_columns(shape_) ? shape_.b_col : shape_.b_row};
}

void Gemm::run_few(const SmallMProduct& product) const {
  const VectorKernels& kernels = vector_kernels();
  const auto order = has_dense_columns(shape_) ? MatrixOrder::kColumns : MatrixOrder::kRows;
  (shape_.factors == DType::bf16 ? kernels.small_m_bf16
                                 : kernels.small_m)[static_cast<size_t>(order)](product);
}

/// A widened, and B replaced by the parts of the product where there are some.
Factors Gemm::pack_few(ThreadPool& pool, const Factors& factors, void* packed) const {
  Factors ready = factors;
  if (shape_.factors == DType::bf16) {
    ready.a = packed;
    for (int64_t row = 0; row < shape_.m; ++row)
      vector_kernels().widen(static_cast<float*>(packed) + row * shape_.k,
                             static_cast<const uint16_t*>(factors.a) + row * shape_.a_row,
                             shape_.k);
  }
  if (grid_.part_k == 0) return ready;
  auto* parts = reinterpret_cast<float*>(static_cast<char*>(packed) + packed_a_bytes_);
  pool.parallel_for(ceil_div(shape_.k, grid_.part_k), [&](int64_t part, int) {
    const int64_t begin = part * grid_.part_k;
    SmallMProduct product = small_m(ready);
    product.k = std::min(grid_.part_k, shape_.k - begin);
    product.x += begin;
    product.w =
        static_cast<const char*>(product.w) + begin * product.w_stride * size_of(shape_.factors);
    product.y = parts + part * shape_.m * shape_.n;
    product.y_row = shape_.n;
    run_few(product);
  });
  ready.b = parts;
  return ready;
}

void Gemm::multiply_few(const Factors& factors, const Tile& tile) const {
  if (grid_.part_k > 0) {
    const float* parts = static_cast<const float*>(factors.b) + tile.column;
    for (int64_t row = 0; row < tile.rows; ++row)
      vector_kernels().sum_rows(tile.values + row * tile.columns, parts + row * shape_.n,
                                shape_.m * shape_.n, ceil_div(shape_.k, grid_.part_k),
                                tile.columns);
    return;
  }
  SmallMProduct product = small_m(factors);
  product.columns = tile.columns;
  product.w =
      static_cast<const char*>(product.w) + tile.column * shape_.b_col * size_of(shape_.factors);
  product.y = tile.values;
  product.y_row = tile.columns;
  run_few(product);
}

Tile Gemm::multiply(int64_t index, int worker, const Factors& factors, void* scratch,
                    float* c) const {
  return compute(index, worker, factors, scratch, dense_ ? c : nullptr);
}

/// With `c` the tile lies in C itself.
Tile Gemm::compute(int64_t index, int worker, const Factors& factors, void* scratch, float* c,
                   Store store) const {
  LEV_CHECK(!in_parts(), kWholeAlone);
  const int64_t row = index % grid_.tiles_m, column = index / grid_.tiles_m;
  const bool last_row = row == grid_.tiles_m - 1, last_column = column == grid_.tiles_n - 1;
  Tile tile;
  tile.row = row * grid_.tile_m;
  tile.column = column * grid_.tile_n;
  tile.rows = last_row ? shape_.m - tile.row : grid_.tile_m;
  tile.columns = last_column ? shape_.n - tile.column : grid_.tile_n;
  tile.values =
      c != nullptr ? c + tile.row * shape_.c_row + tile.column : static_cast<float*>(scratch);
  if (grid_.small_m) {
    multiply_few(factors, tile);
    return tile;
  }
  if (grid_.tile_kernel != nullptr) {
    const auto panels = [&](const void* packed, int64_t at) {
      return static_cast<const uint16_t*>(packed) + panel_elements(at, shape_.k);
    };
    grid_.tile_kernel({.rows = tile.rows,
                       .columns = tile.columns,
                       .parts = parts_,
                       .a = panels(factors.a, tile.row),
                       .b = panels(factors.b, tile.column),
                       .c = tile.values,
                       .c_row = c != nullptr ? shape_.c_row : tile.columns},
                      reinterpret_cast<float*>(static_cast<char*>(scratch) + tile_bytes_));
    return tile;
  }
  const int64_t size = size_of(shape_.factors);
  const auto a_at = tile.row * (grid_.packs_a ? shape_.k : shape_.a_row) * size;
  const auto b_at = grid_.packs_b ? column * static_cast<int64_t>(column_bytes_)
                                  : tile.column * (grid_.turns_b ? 1 : shape_.b_col) * size;
  const Product& product = *products_[(last_row ? 1 : 0) + (last_column ? 2 : 0)];
  const char* b = static_cast<const char*>(factors.b) + b_at;
  if (grid_.owns_b) {
    char* const own = static_cast<char*>(scratch) + tile_bytes_ + product_bytes_;
    int64_t* const packed = own_column(scratch);
    if (*packed != column) product.pack(worker, b, own, nullptr);
    *packed = column;
    b = own;
  }
  product.run(worker, static_cast<const char*>(factors.a) + a_at, b, tile.values,
              c != nullptr && gaps_ ? shape_.c_row : tile.columns,
              static_cast<char*>(scratch) + tile_bytes_, store == Store::kContinue);
  return tile;
}

void Gemm::run_tile(int64_t index, int worker, const Factors& factors, float* c, Store store,
                    void* scratch) const {
  const bool overwrite = store != Store::kAdd;
  LEV_CHECK(store != Store::kContinue || grid_.pairs, "only chains of pairs go on");
  const bool in_place = overwrite && (dense_ || gaps_);
  const Tile tile = compute(index, worker, factors, scratch, in_place ? c : nullptr, store);
  if (in_place) return;
  for (int64_t r = 0; r < tile.rows; ++r) {
    float* const to = c + (tile.row + r) * shape_.c_row + tile.column;
    const float* const from = tile.values + r * tile.columns;
    if (overwrite) {
      std::memcpy(to, from, sizeof(float) * static_cast<size_t>(tile.columns));
    } else {
      vector_kernels().add_to(to, from, tile.columns);
    }
  }
}

void Gemm::run_tiles(ThreadPool& pool, const Factors& factors, float* c, Store store,
                     void* scratch) const {
  char* const base = static_cast<char*>(scratch);
  pool.parallel_for(tiles(), [&](int64_t index, int worker) {
    run_tile(index, worker, factors, c, store,
             base + static_cast<size_t>(worker) * scratch_bytes_per_worker());
  });
}

/// Of C where it is made apart, with C's gaps.
size_t Gemm::sums_bytes() const {
  return aligned(sizeof(float) * static_cast<size_t>((shape_.m - 1) * shape_.c_row + shape_.n));
}

size_t Gemm::run_scratch_bytes(int workers) const {
  if (part_ == nullptr)
    return packed_bytes() + static_cast<size_t>(workers) * scratch_bytes_per_worker();
  const size_t last = last_part_ ? last_part_->run_scratch_bytes(workers) : 0;
  return sums_bytes() + std::max(part_->run_scratch_bytes(workers), last);
}

void Gemm::run_parts(ThreadPool& pool, const Factors& factors, float* c, void* scratch) const {
  const int64_t size = size_of(shape_.factors);
  for (int64_t k = 0; k < shape_.k; k += grid_.packed_part) {
    const Gemm& part = k + grid_.packed_part <= shape_.k ? *part_ : *last_part_;
    part.run(pool,
             {static_cast<const char*>(factors.a) + k * shape_.a_col * size,
              static_cast<const char*>(factors.b) + k * shape_.b_row * size},
             c, k == 0 ? Store::kOverwrite : Store::kContinue, scratch);
  }
}

void Gemm::run(ThreadPool& pool, const Factors& factors, float* c, Store store,
               void* scratch) const {
  auto* const room = static_cast<char*>(scratch);
  if (part_ == nullptr)
    return run_tiles(pool, pack(pool, factors, scratch), c, store, room + packed_bytes());
  LEV_CHECK(store != Store::kContinue, "parts are not cut again");
  auto* const sums = static_cast<float*>(scratch);
  run_parts(pool, factors, store == Store::kAdd ? sums : c, room + sums_bytes());
  if (store == Store::kOverwrite) return;
  pool.parallel_for(shape_.m, [&](int64_t row, int) {
    vector_kernels().add_to(c + row * shape_.c_row, sums + row * shape_.c_row, shape_.n);
  });
}

void Gemm::run_rounded(ThreadPool& pool, const Factors& factors, uint16_t* c, void* scratch) const {
  auto* const room = static_cast<char*>(scratch);
  const auto round = [&](const float* row, int64_t at, int64_t column, int64_t columns) {
    vector_kernels().narrow(c + at * shape_.c_row + column, row, columns);
  };
  if (part_ != nullptr) {
    auto* const sums = static_cast<float*>(scratch);
    run_parts(pool, factors, sums, room + sums_bytes());
    return pool.parallel_for(
        shape_.m, [&](int64_t row, int) { round(sums + row * shape_.c_row, row, 0, shape_.n); });
  }
  const Factors ready = pack(pool, factors, scratch);
  pool.parallel_for(tiles(), [&](int64_t index, int worker) {
    char* const own =
        room + packed_bytes() + static_cast<size_t>(worker) * scratch_bytes_per_worker();
    const Tile tile = multiply(index, worker, ready, own);
    for (int64_t r = 0; r < tile.rows; ++r)
      round(tile.values + r * tile.columns, tile.row + r, tile.column, tile.columns);
  });
}

}  // namespace levanter::cpu
