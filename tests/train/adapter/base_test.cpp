// The frozen model under an adapter: read a few rows at a time, with the bits of whole matrices.
#include "train/adapter/base.h"

#include <catch2/catch.hpp>

#include <map>

#include "base/bf16.h"
#include "base/hash.h"
#include "infer/parameter_store.h"
#include "models/families/gpt2_config.h"
#include "models/model.h"
#include "support/allocations.h"
#include "support/checkpoint_state.h"
#include "support/temporary_folder.h"
#include "train/adapter/quantize.h"

using namespace levanter;
using namespace levanter::testing;
using namespace levanter::train;

namespace {

/// Room that each thread may take for what it reads, beside the matrix.
constexpr int64_t kRoom = 3 << 20;

/// A model's parameters, and memory for them.
class Held {
 public:
  void add(const std::string& path, const Axes& axes, DType dtype, nn::Init init = {},
           const Axes& in = {}) {
    nn::Param param;
    param.path = path;
    param.type = {dtype, axes};
    for (const Axis& axis : axes) param.shape.push_back(axis.size);
    param.init = init;
    param.in = in;
    if (path.ends_with("_scale")) param.role = nn::Role::kScale;
    memory_.emplace_back(static_cast<size_t>(param.type.bytes()));
    tensors_.push_back({path, dtype, param.shape, memory_.back().data()});
    params_.push_back(param);
  }

  std::string load(const BaseModel& base, Key key = {}) {
    const Gpt2Config unused;  // by what a Hugging Face folder alone is read
    return load_base(base, {models::entry("gpt2"), unused}, 0, key, params_, tensors_, 2, {});
  }

  template <class T>
  std::vector<T> values(const std::string& path) const {
    for (const Tensor& tensor : tensors_)
      if (tensor.path == path) {
        const auto* const first = reinterpret_cast<const T*>(tensor.data);
        return {first, first + tensor.elements()};
      }
    return {};
  }

 private:
  std::vector<nn::Param> params_;
  std::vector<Tensor> tensors_;
  std::vector<std::vector<std::byte>> memory_;
};

std::vector<Bf16> rounded(std::span<const float> values) { return {values.begin(), values.end()}; }

bool same(const std::vector<Bf16>& a, const std::vector<Bf16>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](Bf16 x, Bf16 y) { return static_cast<float>(x) == static_cast<float>(y); });
}

}  // namespace

TEST_CASE("a base that is drawn is never held in f32 beside what is made of it", "[train]") {
  const nn::Init init = nn::Init::normal(0.5);
  const Key key(7);
  const Axes out_in = {{"out", 3001}, {"in", 1024}}, in_out = {{"in", 700}, {"out", 500}};
  Held held;
  held.add("b.wide", out_in, DType::bf16, init);
  held.add("c.rows", out_in, DType::i8, init, {{"in", 1024}});
  held.add("c.rows_scale", {{"out", 3001}}, DType::f32);
  held.add("d.columns", in_out, DType::i8, init, {{"in", 700}});
  held.add("d.columns_scale", {{"out", 500}}, DType::f32);
  held.add("a.whole", out_in, DType::f32, init);
  held.add("e.bias", {{"out", 5}}, DType::f32, nn::Init::ones());
  largest_allocation();
  const std::string hash = held.load({}, key);
  CHECK(largest_allocation() < kRoom);

  Hasher hasher(Hasher::Width::k128);
  std::map<std::string, std::vector<float>> drawn;
  const auto draw = [&](const std::string& path, size_t count, const nn::Init& of) {
    std::vector<float>& values = drawn[path];
    values.resize(count);
    infer::draw(of, fold_in(key, path), 0, values);
    hasher.update(std::as_bytes(std::span(values)));
  };
  for (const char* path : {"a.whole", "b.wide", "c.rows"}) draw(path, 3001 * 1024, init);
  draw("d.columns", 700 * 500, init);
  draw("e.bias", 5, nn::Init::ones());
  CHECK(hash == hasher.hex());
  CHECK(held.values<float>("a.whole") == drawn["a.whole"]);
  CHECK(held.values<float>("e.bias") == drawn["e.bias"]);
  CHECK(same(held.values<Bf16>("b.wide"), rounded(drawn["b.wide"])));
  const auto quantized = [&](const std::string& path, size_t outs, MatrixOrder order) {
    std::vector<float> scales(outs);
    std::vector<int8_t> values(drawn[path].size());
    quantize(drawn[path], order, scales, values);
    CHECK(held.values<float>(path + "_scale") == scales);
    CHECK(held.values<int8_t>(path) == values);
  };
  quantized("c.rows", 3001, MatrixOrder::kOutIn);
  quantized("d.columns", 500, MatrixOrder::kInOut);
}

TEST_CASE("a base in a checkpoint is read a few rows at a time", "[train]") {
  const TemporaryFolder folder;
  const CheckpointState state(20000);
  save_checkpoint(folder.path(), state.contents(3));
  const BaseModel base = open_base(StartKind::kCheckpoint, folder.path());
  Held held;
  held.add("wte.weight", {{"vocab", 100000}, {"embed", 12}}, DType::bf16);
  held.add("ln_f.weight", {{"embed", 12}}, DType::f32);
  largest_allocation();
  const std::string hash = held.load(base);
  CHECK(largest_allocation() < kRoom);
  const auto stored = [&](size_t i) {
    const Tensor& tensor = state.model()[i];
    return std::span(reinterpret_cast<const float*>(tensor.data),
                     static_cast<size_t>(tensor.elements()));
  };
  CHECK(same(held.values<Bf16>("wte.weight"), rounded(stored(0))));
  const std::vector<float> norm = held.values<float>("ln_f.weight");
  CHECK(std::equal(norm.begin(), norm.end(), stored(1).begin(), stored(1).end()));
  const Tensor both[] = {state.model()[1], state.model()[0]};
  CHECK(hash == params_hash(both));
}
