// Parameters gathered where they are read: which, when, and with the bits of those that are there.
#include "passes/passes.h"

#include <catch2/catch.hpp>

#include "base/strings.h"
#include "runtime/executable.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axis kBatch{"batch", 4}, kEmbed{"embed", 64}, kHidden{"hidden", 64};
constexpr int kLayers = 6;

/// A chain of blocks, a region and two weights each, between an embedding that is the head too and
/// a norm, which are outside of regions; its loss and all gradients.
Function chain(Remat remat, uint32_t group = 0) {
  Function f("chain", DType::f32);
  const NamedArray table = f.argument("table", {DType::f32, {{"vocab", 5}, kEmbed}});
  const NamedArray norm = f.argument("norm", {DType::f32, {kEmbed}});
  std::vector<NamedArray> wrt = {table, norm};
  for (int i = 0; i < kLayers; ++i)
    for (const char* name : {"up ", "down "})
      wrt.push_back(f.argument(cat(name, i), {DType::f32, {kEmbed, kHidden}}));
  const NamedArray ids = f.argument("ids", {DType::i32, {kBatch}});
  NamedArray x = gather(table, "vocab", ids);
  for (uint32_t i = 0; i < kLayers; ++i) {
    Origin origin = f.graph.origin();
    origin.region = f.graph.add_region(
        {.name = cat("block ", i), .remat = remat, .group = group ? i / group + 1 : 0});
    const OriginScope inside(f.graph, origin, false);
    const NamedArray h = tanh(dot(x, wrt[2 + 2 * i], {kBatch, kHidden}));
    x = x + dot(h, wrt[3 + 2 * i], {kBatch, kEmbed});
  }
  const NamedArray logits = dot(x * broadcast(norm, x.axes()), table, {kBatch, {"vocab", 5}});
  const NamedArray loss = sum(logits * logits, logits.axes());
  for (const NamedArray& gradient : backprop(loss, wrt))
    f.result(cat("gradient ", f.results.size()), gradient);
  f.result("loss", loss);
  return f;
}

/// All but "ids".
std::set<std::string> parameters(const Function& f) {
  std::set<std::string> names;
  for (const Argument& argument : f.arguments)
    if (argument.name != "ids") names.insert(argument.name);
  return names;
}

Function gathered(const Function& traced, const Backend& backend) {
  return gather_parameters(optimise(traced, backend), gather_units(traced, parameters(traced)));
}

std::vector<std::string> firsts(const Executable& executable) {
  std::vector<std::string> names;
  for (const Gather& gather : executable.gathers()) names.push_back(gather.names.front());
  return names;
}

}  // namespace

TEST_CASE("each block is gathered forward and again backward, the embedding where it is read",
          "[passes]") {
  const auto backend = make_backend("cpu");
  const std::vector<std::string> expected = {"table", "up 0", "up 1",  "up 2",  "up 3", "up 4",
                                             "up 5",  "norm", "table", "table", "norm", "up 5",
                                             "up 4",  "up 3", "up 2",  "up 1",  "up 0"};
  const Executable e = compile(gathered(chain(Remat::kFull), *backend), *backend);
  CHECK(firsts(e) == expected);
  CHECK(e.gathers()[1].names == std::vector<std::string>{"up 0", "down 0"});
  CHECK(e.gathers()[1].bytes == std::vector<size_t>(2, 64 * 64 * 4));
}

TEST_CASE("gathered parameters change no bit, under any policy", "[passes]") {
  const auto backend = make_backend("cpu");
  for (const uint32_t group : {0, 2})
    for (const Remat remat : {Remat::kNone, Remat::kFull}) {
      const Function f = chain(remat, group);
      std::vector<Array> inputs;
      for (const Argument& argument : f.arguments)
        inputs.push_back(argument.type.dtype == DType::i32
                             ? random_ids(argument.type.axes, 5, 9)
                             : random_array(argument.type, static_cast<uint32_t>(inputs.size())));
      const auto expected = run(optimise(f, *backend), inputs, *backend);
      CHECK(same_bits(run(gathered(f, *backend), inputs, *backend), expected));
      GatherUnits at_once = gather_units(f, parameters(f));
      for (int& unit : at_once.of) unit = std::min(unit, 0);
      at_once.once = true;
      Function whole = gather_parameters(optimise(f, *backend), at_once);
      CHECK(count_nodes(whole, "all_gather") == 1);
      CHECK(same_bits(run(std::move(whole), inputs, *backend), expected));
    }
}

TEST_CASE("no more than two blocks' parameters are there at a time", "[passes]") {
  const auto backend = make_backend("cpu");
  const Function f = chain(Remat::kFull);
  const int64_t plain = compile(optimise(f, *backend), *backend).arena_bytes();
  const int64_t block = 2 * 64 * 64 * 4;
  const int64_t arena = compile(gathered(f, *backend), *backend).arena_bytes();
  CHECK(arena <= plain + 2 * block + 4096);
}

TEST_CASE("arguments that every rank has are not gathered", "[passes]") {
  const auto backend = make_backend("cpu");
  const Function f = chain(Remat::kNone);
  const GatherUnits units = gather_units(f, {"up 2", "down 2", "absent"});
  CHECK(std::count(units.of.begin(), units.of.end(), 0) == 2);
  CHECK(std::count(units.of.begin(), units.of.end(), -1) == std::ssize(f.arguments) - 2);
  CHECK(count_nodes(gather_parameters(optimise(f, *backend), units), "all_gather") == 2);
}
