// Products by the C API of oneDNN 2.
// Plain twin: kernels/reference/dot.cpp.
#include "kernels/cpu/onednn.h"

#include <dnnl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/integers.h"
#include "base/limits.h"
#include "base/processor.h"
#include "base/strings.h"
#include "kernels/cpu/product_parts.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/cpu/vector.h"

extern "C" void omp_set_num_threads(int threads);

namespace levanter::cpu {
namespace {

void check(dnnl_status_t status, const char* what) {
  if (status == dnnl_out_of_memory) throw out_of_memory();
  LEV_CHECK(status == dnnl_success, cat("oneDNN: ", what, " failed with status ", int{status}));
}

/// Room for the code that oneDNN compiles: without it the library writes through null pointers.
constexpr int64_t kCodeBytes = int64_t{24} << 20;

/// oneDNN asks OpenMP for the calling thread's number of threads, when it compiles and when it
/// runs.
void use_one_thread() {
  thread_local bool done = false;
  if (done) return;
  omp_set_num_threads(1);
  done = true;
}

template <class Handle, dnnl_status_t (*destroy)(Handle)>
class Owned {
 public:
  Owned() = default;
  explicit Owned(Handle handle) : handle_(handle) {}
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Owned& operator=(Owned&&) = delete;
  ~Owned() {
    if (handle_ != nullptr) destroy(handle_);
  }
  Handle get() const { return handle_; }
  Handle* out() { return &handle_; }

 private:
  Handle handle_ = nullptr;
};

using Engine = Owned<dnnl_engine_t, dnnl_engine_destroy>;
using Stream = Owned<dnnl_stream_t, dnnl_stream_destroy>;
using Memory = Owned<dnnl_memory_t, dnnl_memory_destroy>;
using Primitive = Owned<dnnl_primitive_t, dnnl_primitive_destroy>;
using PrimitiveDesc = Owned<dnnl_primitive_desc_t, dnnl_primitive_desc_destroy>;
using Attributes = Owned<dnnl_primitive_attr_t, dnnl_primitive_attr_destroy>;

dnnl_data_type_t data_type(DType type) {
  LEV_CHECK(type == DType::f32 || type == DType::bf16, "products are of f32 or bf16");
  return type == DType::bf16 ? dnnl_bf16 : dnnl_f32;
}

/// How a matrix lies in memory, in the form that either version of the library has for it.
class Desc {
 public:
  static Desc strided(DType type, int64_t rows, int64_t cols, int64_t row_stride,
                      int64_t col_stride) {
    const dnnl_dims_t dims = {rows, cols}, strides = {row_stride, col_stride};
#if DNNL_VERSION_MAJOR >= 3
    dnnl_memory_desc_t desc = nullptr;
    check(dnnl_memory_desc_create_with_strides(&desc, 2, dims, data_type(type), strides), kMaking);
#else
    dnnl_memory_desc_t desc{};
    check(dnnl_memory_desc_init_by_strides(&desc, 2, dims, data_type(type), strides), kMaking);
#endif
    return Desc(desc);
  }
  /// As a product likes it best.
  static Desc any(DType type, int64_t rows, int64_t cols) {
    const dnnl_dims_t dims = {rows, cols};
#if DNNL_VERSION_MAJOR >= 3
    dnnl_memory_desc_t desc = nullptr;
    check(dnnl_memory_desc_create_with_tag(&desc, 2, dims, data_type(type), dnnl_format_tag_any),
          kMaking);
#else
    dnnl_memory_desc_t desc{};
    check(dnnl_memory_desc_init_by_tag(&desc, 2, dims, data_type(type), dnnl_format_tag_any),
          kMaking);
#endif
    return Desc(desc);
  }
  static Desc of(const PrimitiveDesc& product, dnnl_query_t which) {
    const auto theirs = dnnl_primitive_desc_query_md(product.get(), which, 0);
#if DNNL_VERSION_MAJOR >= 3
    dnnl_memory_desc_t desc = nullptr;
    check(dnnl_memory_desc_clone(&desc, theirs), kMaking);
    return Desc(desc);
#else
    return Desc(*theirs);
#endif
  }

  size_t bytes() const { return dnnl_memory_desc_get_size(get()); }
#if DNNL_VERSION_MAJOR >= 3
  const_dnnl_memory_desc_t get() const { return desc_.get(); }
#else
  const dnnl_memory_desc_t* get() const { return &desc_; }
#endif

 private:
  static constexpr char kMaking[] = "describing a matrix";
#if DNNL_VERSION_MAJOR >= 3
  explicit Desc(dnnl_memory_desc_t desc) : desc_(desc, dnnl_memory_desc_destroy) {}
  std::shared_ptr<dnnl_memory_desc> desc_;
#else
  explicit Desc(const dnnl_memory_desc_t& desc) : desc_(desc) {}
  dnnl_memory_desc_t desc_;
#endif
};

PrimitiveDesc describe_product(const Desc& a, const Desc& b, const Desc& c,
                               const Attributes& attributes, dnnl_engine_t engine) {
  PrimitiveDesc out;
#if DNNL_VERSION_MAJOR >= 3
  check(dnnl_matmul_primitive_desc_create(out.out(), engine, a.get(), b.get(), nullptr, c.get(),
                                          attributes.get()),
        "choosing a product");
#else
  dnnl_matmul_desc_t product;
  check(dnnl_matmul_desc_init(&product, a.get(), b.get(), nullptr, c.get()),
        "describing a product");
  check(dnnl_primitive_desc_create(out.out(), &product, attributes.get(), engine, nullptr),
        "choosing a product");
#endif
  return out;
}

Attributes product_attributes() {
  Attributes attributes;
  check(dnnl_primitive_attr_create(attributes.out()), "making attributes");
  check(dnnl_primitive_attr_set_scratchpad_mode(attributes.get(), dnnl_scratchpad_mode_user),
        "choosing the scratchpad");
  return attributes;
}

/// A dimension of extent 1 is given the stride that makes its matrix dense, which oneDNN likes
/// best.
Desc input_desc(DType type, int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride) {
  LEV_CHECK(row_stride == 1 || col_stride == 1 || rows == 1 || cols == 1,
            "a factor of a product needs one stride of 1");
  if (rows == 1 && cols == 1) return Desc::strided(type, 1, 1, 1, 1);
  if (rows == 1 && col_stride == 1) return Desc::strided(type, 1, cols, cols, 1);
  if (rows == 1) return Desc::strided(type, 1, cols, 1, col_stride);
  if (cols == 1 && row_stride == 1) return Desc::strided(type, rows, 1, 1, rows);
  if (cols == 1) return Desc::strided(type, rows, 1, row_stride, 1);
  return Desc::strided(type, rows, cols, row_stride, col_stride);
}

/// Rows for which the packed layout is chosen: as many as make every tile's layout the same.
constexpr int64_t kLayoutRows = 64;

/// The layout in which products read a packed B[k, n].
Desc packed_desc(const ProductShape& shape, const Attributes& attributes, dnnl_engine_t engine) {
  const Desc a = Desc::strided(shape.factors, kLayoutRows, shape.k, shape.k, 1);
  const Desc c = Desc::strided(DType::f32, kLayoutRows, shape.n, shape.n, 1);
  const Desc any = Desc::any(shape.factors, shape.k, shape.n);
  return Desc::of(describe_product(a, any, c, attributes, engine), dnnl_query_weights_md);
}

/// Whether oneDNN fell back to its reference: a thousand times slower than any other.
bool is_plain_loop(const PrimitiveDesc& desc) {
  const char* name = "";
  check(dnnl_primitive_desc_query(desc.get(), dnnl_query_impl_info_str, 0, &name),
        "naming a product");
  return std::string_view(name).starts_with("ref");
}

/// Memory objects of one worker, whose handles are set again for each call.
struct Context {
  Stream stream;
  Memory a, b, c, scratch, plain_b;
  std::vector<dnnl_exec_arg_t> arguments, pack_arguments;
};

Memory make_memory(const Desc& desc, dnnl_engine_t engine) {
  Memory memory;
  check(dnnl_memory_create(memory.out(), desc.get(), engine, DNNL_MEMORY_NONE),
        "making a memory object");
  return memory;
}

size_t aligned(size_t bytes) { return round_up(bytes, 64); }

/// A part of a product that is cut: where its factors and its result stand in the whole's.
struct Part {
  const Product* product;
  ProductShape shape;
  int64_t a = 0, b = 0, packed = 0;  ///< bytes
  int64_t c = 0;                     ///< elements
  bool packs = false;                ///< the first that reads its piece of B
  bool adds = false;
};

/// Who multiplies: oneDNN, it in parts, or a vector kernel of our own.
enum class Way { kLibrary, kParts, kChains, kPairs };

}  // namespace

struct Product::Impl {
  Way way = Way::kLibrary;
  Primitive primitive, reorder;
  size_t scratch_bytes = 0, packed_bytes = 0;
  std::vector<Context> contexts;
  ProductShape whole;
  // Of a product that is cut; its scratch holds a part of A, one of B if they are widened, a part
  // of C, and what a part needs. By pairs it holds A's rows, if A is transposed, and B packed.
  std::vector<Part> parts;
  size_t a_bytes = 0, b_bytes = 0, c_bytes = 0;

  Impl(const ProductShape& shape, std::vector<Part> its_parts)
      : way(Way::kParts), whole(shape), parts(std::move(its_parts)) {
    size_t inner = 0;
    for (Part& part : parts) {
      const ProductShape& s = part.shape;
      const auto size = static_cast<size_t>(size_of(s.factors));
      inner = std::max(inner, part.product->scratch_bytes());
      c_bytes = std::max(c_bytes, aligned(sizeof(float) * count(s.m, s.n)));
      if (copies(part)) a_bytes = std::max(a_bytes, aligned(count(s.m, s.k) * size));
      if (widens(part)) b_bytes = std::max(b_bytes, aligned(count(s.k, s.n) * size));
      if (!shape.packed_b) continue;
      if (part.packs) packed_bytes += part.product->packed_bytes();
      part.packed = static_cast<int64_t>(packed_bytes - part.product->packed_bytes());
    }
    scratch_bytes = a_bytes + b_bytes + c_bytes + inner;
  }

  Impl(const ProductShape& shape, Way way) : way(way), whole(shape) {
    if (way != Way::kPairs) return;
    const auto size = static_cast<size_t>(size_of(shape.factors));
    const size_t panels = static_cast<size_t>(panel_elements(shape.n, shape.k)) * size;
    if (shape.a_col != 1) a_bytes = static_cast<size_t>(panel_elements(shape.m, shape.k)) * size;
    (shape.packed_b ? packed_bytes : b_bytes) = panels;
    scratch_bytes = a_bytes + b_bytes;
  }
  void run_chains(const float* a, const float* b, float* c, int64_t c_row) const;
  void run_pairs(const uint16_t* a, const uint16_t* b, float* c, int64_t c_row, char* scratch,
                 bool continues) const;
  void pack_pairs(FactorSide side, const void* from, void* packed) const;

  bool widens(const Part& part) const { return part.shape.factors != whole.factors; }
  bool copies(const Part& part) const {
    return widens(part) || (whole.a_col == 1 && whole.a_row != part.shape.a_row);
  }
  static size_t count(int64_t rows, int64_t columns) { return static_cast<size_t>(rows * columns); }

  void run_parts(int worker, const char* a, const char* b, float* c, char* scratch) const;
  const char* widened_b(const Part& part, const char* b, char* scratch) const;

  /// Whether A is one row whose elements are apart. Version 3 of the library reads such a row as if
  /// they were not: it is made dense first, in the scratch.
  bool gathers() const { return DNNL_VERSION_MAJOR >= 3 && whole.m == 1 && whole.a_col != 1; }
  const void* gather(const void* a, void* to) const;

  Impl(const ProductShape& shape, int workers, dnnl_engine_t engine) : whole(shape) {
    const DType type = shape.factors;
    const Attributes attributes = product_attributes();
    const Desc a = gathers() ? input_desc(type, 1, shape.k, shape.k, 1)
                             : input_desc(type, shape.m, shape.k, shape.a_row, shape.a_col);
    if (gathers()) a_bytes = aligned(count(1, shape.k) * static_cast<size_t>(size_of(type)));
    const Desc plain_b = input_desc(type, shape.k, shape.n, shape.b_row, shape.b_col);
    const Desc b = shape.packed_b ? packed_desc(shape, attributes, engine) : plain_b;
    const Desc c = Desc::strided(DType::f32, shape.m, shape.n, shape.c_row, 1);
    const PrimitiveDesc desc = describe_product(a, b, c, attributes, engine);
    check(dnnl_primitive_create(primitive.out(), desc.get()), "compiling a product");
    LEV_CHECK(!shape.packed_b || !is_plain_loop(desc), "no quick product takes this packed factor");
    const Desc scratch = Desc::of(desc, dnnl_query_scratchpad_md);
    scratch_bytes = a_bytes + aligned(scratch.bytes());
    if (shape.packed_b) {
      packed_bytes = aligned(b.bytes());
      PrimitiveDesc order;
      check(dnnl_reorder_primitive_desc_create(order.out(), plain_b.get(), engine, b.get(), engine,
                                               nullptr),
            "choosing a packing");
      check(dnnl_primitive_create(reorder.out(), order.get()), "compiling a packing");
    }
    for (int worker = 0; worker < workers; ++worker) {
      Context context;
      check(dnnl_stream_create(context.stream.out(), engine, dnnl_stream_default_flags),
            "making a stream");
      contexts.push_back(Context{std::move(context.stream),
                                 make_memory(a, engine),
                                 make_memory(b, engine),
                                 make_memory(c, engine),
                                 make_memory(scratch, engine),
                                 make_memory(plain_b, engine),
                                 {},
                                 {}});
      Context& made = contexts.back();
      made.arguments = {{DNNL_ARG_SRC, made.a.get()},
                        {DNNL_ARG_WEIGHTS, made.b.get()},
                        {DNNL_ARG_DST, made.c.get()},
                        {DNNL_ARG_SCRATCHPAD, made.scratch.get()}};
      made.pack_arguments = {{DNNL_ARG_FROM, made.plain_b.get()}, {DNNL_ARG_TO, made.b.get()}};
    }
  }
};

Product::Product(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Product::~Product() = default;

size_t Product::scratch_bytes() const { return impl_->scratch_bytes; }
size_t Product::packed_bytes() const { return impl_->packed_bytes; }

namespace {

void execute(const Primitive& primitive, const Context& context,
             const std::vector<dnnl_exec_arg_t>& arguments) {
  check(dnnl_primitive_execute(primitive.get(), context.stream.get(),
                               static_cast<int>(arguments.size()), arguments.data()),
        "running a product");
}

}  // namespace

const char* Product::Impl::widened_b(const Part& part, const char* b, char* scratch) const {
  const ProductShape& s = part.shape;
  copy_lines(scratch + a_bytes, b + part.b, lines(s.k, s.n, whole.b_row, whole.b_col),
             whole.factors, true);
  return scratch + a_bytes;
}

void Product::pack(int worker, const void* b, void* packed, void* scratch) const {
  if (impl_->way == Way::kPairs) return impl_->pack_pairs(FactorSide::kB, b, packed);
  const auto* const from = static_cast<const char*>(b);
  auto* const room = static_cast<char*>(scratch);
  for (const Part& part : impl_->parts)
    if (part.packs)
      part.product->pack(
          worker, impl_->widens(part) ? impl_->widened_b(part, from, room) : from + part.b,
          static_cast<char*>(packed) + part.packed, room + impl_->a_bytes + impl_->b_bytes);
  if (!impl_->parts.empty()) return;
  LEV_CHECK(impl_->packed_bytes > 0, "this product takes B as it lies");
  use_one_thread();
  const Context& context = impl_->contexts[static_cast<size_t>(worker)];
  dnnl_memory_set_data_handle(context.plain_b.get(), const_cast<void*>(b));
  dnnl_memory_set_data_handle(context.b.get(), packed);
  execute(impl_->reorder, context, context.pack_arguments);
}

void Product::Impl::run_parts(int worker, const char* a, const char* b, float* c,
                              char* scratch) const {
  char* const behind = scratch + a_bytes + b_bytes;
  auto* const values = reinterpret_cast<float*>(behind);
  for (const Part& part : parts) {
    const char *left = a + part.a, *right = b + (whole.packed_b ? part.packed : part.b);
    if (copies(part)) {
      copy_lines(scratch, left, lines(part.shape.m, part.shape.k, whole.a_row, whole.a_col),
                 whole.factors, widens(part));
      left = scratch;
    }
    if (widens(part) && !whole.packed_b) right = widened_b(part, b, scratch);
    const bool in_place = !part.adds && part.shape.n == whole.c_row;
    part.product->run(worker, left, right, in_place ? c + part.c : values, behind + c_bytes);
    if (in_place) continue;
    for (int64_t row = 0; row < part.shape.m; ++row) {
      float* const to = c + part.c + row * whole.c_row;
      const float* const from = values + row * part.shape.n;
      if (part.adds)
        vector_kernels().add_to(to, from, part.shape.n);
      else
        std::memcpy(to, from, sizeof(float) * count(1, part.shape.n));
    }
  }
}

void Product::Impl::run_chains(const float* a, const float* b, float* c, int64_t c_row) const {
  vector_kernels().chain_product({.rows = whole.m,
                                  .columns = whole.n,
                                  .k = whole.k,
                                  .a = a,
                                  .a_row = whole.a_row,
                                  .b = b,
                                  .b_row = whole.b_row,
                                  .c = c,
                                  .c_row = c_row});
}

/// A or B as panels.
void Product::Impl::pack_pairs(FactorSide side, const void* from, void* packed) const {
  const bool is_a = side == FactorSide::kA;
  const int64_t along = is_a ? whole.a_col : whole.b_row, across = is_a ? whole.a_row : whole.b_col;
  const int64_t extent = is_a ? whole.m : whole.n;
  const bool k_adjacent = along == 1;
  vector_kernels().pack_panels[k_adjacent]({side, extent, whole.k, from,
                                            k_adjacent ? across : along, packed, 0,
                                            ceil_div(extent, kPanel)});
}

void Product::Impl::run_pairs(const uint16_t* a, const uint16_t* b, float* c, int64_t c_row,
                              char* scratch, bool continues) const {
  PairProduct product{.rows = whole.m,
                      .columns = whole.n,
                      .k = whole.k,
                      .a = a,
                      .a_row = whole.a_row,
                      .b = b,
                      .c = c,
                      .c_row = c_row,
                      .continues = continues};
  if (a_bytes > 0) {
    pack_pairs(FactorSide::kA, a, scratch);
    product.a = reinterpret_cast<const uint16_t*>(scratch);
    product.a_row = 0;
  }
  if (b_bytes > 0) {
    pack_pairs(FactorSide::kB, b, scratch + a_bytes);
    product.b = reinterpret_cast<const uint16_t*>(scratch + a_bytes);
  }
  vector_kernels().pair_product(product);
}

const void* Product::Impl::gather(const void* a, void* to) const {
  const auto size = static_cast<size_t>(size_of(whole.factors));
  const size_t step = static_cast<size_t>(whole.a_col) * size;
  for (size_t k = 0; k < static_cast<size_t>(whole.k); ++k)
    std::memcpy(static_cast<char*>(to) + k * size, static_cast<const char*>(a) + k * step, size);
  return to;
}

bool Product::takes_any_c_row() const {
  return impl_->way == Way::kChains || impl_->way == Way::kPairs;
}

void Product::run(int worker, const void* a, const void* b, float* c, void* scratch) const {
  run(worker, a, b, c, impl_->whole.c_row, scratch);
}

void Product::run(int worker, const void* a, const void* b, float* c, int64_t c_row, void* scratch,
                  bool continues) const {
  if (impl_->way == Way::kChains)
    return impl_->run_chains(static_cast<const float*>(a), static_cast<const float*>(b), c, c_row);
  if (impl_->way == Way::kPairs)
    return impl_->run_pairs(static_cast<const uint16_t*>(a), static_cast<const uint16_t*>(b), c,
                            c_row, static_cast<char*>(scratch), continues);
  LEV_CHECK(c_row == impl_->whole.c_row, "this product's rows of C lie as its shape says");
  if (impl_->way == Way::kParts) {
    impl_->run_parts(worker, static_cast<const char*>(a), static_cast<const char*>(b), c,
                     static_cast<char*>(scratch));
    return;
  }
  use_one_thread();
  const Context& context = impl_->contexts[static_cast<size_t>(worker)];
  if (impl_->gathers()) a = impl_->gather(a, scratch);
  dnnl_memory_set_data_handle(context.a.get(), const_cast<void*>(a));
  dnnl_memory_set_data_handle(context.b.get(), const_cast<void*>(b));
  dnnl_memory_set_data_handle(context.c.get(), c);
  dnnl_memory_set_data_handle(context.scratch.get(), static_cast<char*>(scratch) + impl_->a_bytes);
  execute(impl_->primitive, context, context.arguments);
}

struct Products::Impl {
  int workers;
  std::optional<ProductLimits> limits;
  std::optional<TileKernel> tiles;
  Engine engine;
  std::map<ProductShape, std::unique_ptr<Product>> made;
};

Products::Products(int workers, std::optional<ProductLimits> limits,
                   std::optional<TileKernel> tiles)
    : impl_(std::make_unique<Impl>()) {
  impl_->limits = limits;
  impl_->tiles = tiles;
  LEV_CHECK(workers >= 1, "products need at least one worker");
  impl_->workers = workers;
  require_mappable(kCodeBytes);
  check(dnnl_engine_create(impl_->engine.out(), dnnl_cpu, 0), "making an engine");
  if (mappable_bytes() >= 0) compile_shared_code();
}
Products::~Products() = default;

TileKernel Products::tile_kernel() const { return impl_->tiles ? *impl_->tiles : usable_tiles(); }

bool Products::makes_pairs(const ProductShape& shape) const {
  return shape.factors == DType::bf16 && bf16_way() == Bf16Way::kPairs && !impl_->limits &&
         !impl_->tiles;
}

/// Products of this kind share code that oneDNN compiles when the first one runs. Where memory may
/// end in between, that is now.
void Products::compile_shared_code() {
  constexpr int64_t kSize = 16;
  for (const DType type : {DType::f32, DType::bf16}) {
    const Product& product = get({kSize, kSize, kSize, 1, kSize, 1, kSize, kSize, type});
    const std::vector<float> factor(kSize * kSize);
    std::vector<float> result(kSize * kSize);
    std::vector<std::byte> scratch(product.scratch_bytes() + 64);
    product.run(0, factor.data(), factor.data(), result.data(),
                scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) % 64);
  }
}

const Product& Products::get(const ProductShape& shape) {
  LEV_CHECK(shape.m >= 1 && shape.n >= 1 && shape.k >= 1, "a product needs extents of at least 1");
  std::unique_ptr<Product>& product = impl_->made[shape];
  if (product) return *product;
  if (!impl_->limits && is_chain_product(shape)) {
    product.reset(new Product(std::make_unique<Product::Impl>(shape, Way::kChains)));
    return *product;
  }
  if (makes_pairs(shape)) {
    product.reset(new Product(std::make_unique<Product::Impl>(shape, Way::kPairs)));
    return *product;
  }
  const Bf16Way way = bf16_way();
  const bool widens = shape.factors == DType::bf16 && way == Bf16Way::kWidened;
  const auto limits = impl_->limits ? impl_->limits : product_limits(shape.factors, way);
  const std::vector<ProductPart> cut =
      limits ? product_parts(shape, *limits) : std::vector<ProductPart>();
  if (cut.size() > 1 || widens) {
    std::vector<Part> parts;
    const auto size = size_of(shape.factors);
    for (const ProductPart& part : cut) {
      ProductShape its = widens ? widened(part.shape) : part.shape;
      its.c_row = its.n;
      parts.push_back({.product = &get(its),
                       .shape = its,
                       .a = (part.row * shape.a_row + part.begin * shape.a_col) * size,
                       .b = (part.begin * shape.b_row + part.column * shape.b_col) * size,
                       .c = part.row * shape.c_row + part.column,
                       .packs = shape.packed_b && part.row == 0,
                       .adds = part.begin > 0});
    }
    product.reset(new Product(std::make_unique<Product::Impl>(shape, std::move(parts))));
    return *product;
  }
  require_mappable(kCodeBytes);
  use_one_thread();
  product.reset(
      new Product(std::make_unique<Product::Impl>(shape, impl_->workers, impl_->engine.get())));
  return *product;
}

namespace {
/// Whether oneDNN may use an instruction set: it can be held below what the processor has.
bool may_use(dnnl_cpu_isa_t isa) { return (dnnl_get_effective_cpu_isa() & isa) == isa; }
}  // namespace

bool is_chain_product(const ProductShape& shape) {
  constexpr int64_t kElements = int64_t{1} << 19;  // of B: 2 MiB
  constexpr int64_t kLongest = 512;  // beyond, oneDNN's own sums are no longer one chain
  return shape.factors == DType::f32 && !shape.packed_b && shape.a_col == 1 &&
         (shape.b_col == 1 || shape.n == 1) && shape.k <= kLongest &&
         shape.k * shape.n <= kElements && vector_kernels().chain_product != nullptr &&
         may_use(dnnl_cpu_isa_avx512_core);
}

Bf16Way bf16_way() {
  if (processor().amx_bf16 && may_use(dnnl_cpu_isa_avx512_core_amx)) return Bf16Way::kTiles;
  if (!processor().quick_bf16 || !may_use(dnnl_cpu_isa_avx512_core_bf16)) return Bf16Way::kWidened;
  return vector_kernels().pair_product != nullptr ? Bf16Way::kPairs : Bf16Way::kLibrary;
}

std::string onednn_isa() {
  char text[16];
  std::snprintf(text, sizeof text, "0x%x", static_cast<unsigned>(dnnl_get_effective_cpu_isa()));
  return text;
}

std::string onednn_version() {
  const dnnl_version_t* version = dnnl_version();
  return cat("oneDNN ", version->major, ".", version->minor, ".", version->patch);
}

}  // namespace levanter::cpu
