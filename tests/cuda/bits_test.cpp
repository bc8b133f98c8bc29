// The bits of kernels of ours, which use IEEE operations only: the emulated card and every real one
// give those of the golden file.
#include "base/hash.h"
#include "base/random.h"
#include "cuda/fake_cuda.h"
#include "passes/passes.h"
#include "support/checks.h"
#include "support/golden.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// Of what a function gives, as f32.
std::string bits_of(const Build& build, const std::vector<Array>& inputs, const Backend& backend) {
  Function function = trace(build, inputs, DType::f32);
  const std::vector<Array> results = run(optimise(std::move(function), backend), inputs, backend);
  Hasher hasher(Hasher::Width::k64);
  for (const Array& result : results)
    for (const double value : result.values) {
      const auto narrow = static_cast<float>(value);
      hasher.update(std::as_bytes(std::span(&narrow, 1)));
    }
  return hasher.hex();
}

using Inputs = std::vector<NamedArray>;

struct Case {
  const char* name;
  std::vector<Array> inputs;
  Build build;
};

std::vector<Case> cases() {
  const Axis rows{"rows", 67}, wide{"wide", 3072}, narrow{"narrow", 100}, vocab{"vocab", 31};
  const Array x = random_real({rows, wide}, 1), y = random_real({rows, narrow}, 2);
  const Array weight = random_real({wide}, 3), small = random_real({narrow}, 4);
  const Array ids = random_ids({rows}, 31, 5), table = random_real({vocab, narrow}, 6);
  return {
      {"functions",
       {y},
       [](const Inputs& in) {
         std::vector<NamedArray> out;
         for (const Map opcode : {Map::kExp, Map::kTanh, Map::kSigmoid, Map::kErf, Map::kSin})
           out.push_back(map(opcode, in[0] * 3.0));
         for (const Map opcode : {Map::kLog, Map::kLog1p, Map::kSqrt, Map::kRsqrt})
           out.push_back(map(opcode, in[0] * in[0] + 0.1));
         return out;
       }},
      {"a norm of long rows, its gradient, sums over rows",
       {x, weight},
       [](const Inputs& in) {
         const NamedArray normed = gelu(layer_norm(in[0], in[1], in[1], 1e-5), Gelu::kErf);
         const NamedArray wrt[] = {in[0], in[1]};
         std::vector<NamedArray> out = backprop(sum(normed * normed, normed.axes()), wrt);
         out.push_back(normed);
         return out;
       }},
      {"a norm of short rows, its gradient, sums over rows",
       {y, small},
       [](const Inputs& in) {
         const NamedArray normed = gelu(rms_norm(in[0], in[1], 1e-5), Gelu::kTanh);
         const NamedArray wrt[] = {in[0], in[1]};
         return backprop(sum(normed * normed, normed.axes()), wrt);
       }},
      {"softmax, largest and smallest",
       {x},
       [](const Inputs& in) {
         return std::vector{softmax(in[0], "wide"), reduce(Reduce::kMax, in[0], {in[0].axes()[0]}),
                            reduce(Reduce::kMin, in[0], in[0].axes())};
       }},
      {"rows by an index and back",
       {table, ids},
       [](const Inputs& in) {
         const NamedArray picked = gather(in[0], "vocab", in[1]);
         const NamedArray wrt[] = {in[0]};
         std::vector<NamedArray> out = backprop(sum(picked * picked, picked.axes()), wrt);
         out.push_back(picked);
         return out;
       }},
      {"random bits and dropout",
       {y, random_ids({{"rows", 67}, key_word()}, 1000, 7)},
       [](const Inputs& in) {
         const NamedArray keys = fold_in(cast(in[1], DType::u32), 3);
         return std::vector{dropout(in[0], keys, 0.3),
                            uniform(random_bits(keys, in[0].axes()), DType::f32)};
       }},
  };
}

}  // namespace

TEST_CASE("the bits of kernels are those of every card", "[cuda][card]") {
  FakeCuda fake;
  const auto backend = FakeCuda::backend();
  std::string report;
  for (const Case& c : cases())
    report += cat(bits_of(c.build, c.inputs, *backend), "  ", c.name, "\n");
  CHECK(report == expected_text(golden_path("cuda/bits.txt"), report));
}
