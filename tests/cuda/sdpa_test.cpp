// Attention by cuDNN: what it is asked for and what it gets, on the emulated card, where graphs run
// operation by operation; on a real card with the tag [card].
#include <cmath>
#include <cstdlib>
#include <set>

#include "cuda/fake_cuda.h"
#include "cuda/fake_cudnn.h"
#include "kernels/cuda/backend.h"
#include "kernels/cuda/sdpa.h"
#include "passes/passes.h"
#include "support/cpu_agreement.h"
#include "support/training.h"

using namespace levanter;
using namespace levanter::testing;
using cuda::SdpaArray;

namespace {

constexpr double kTolerance = 1e-2;  // as of attention in bf16 by our own kernels
constexpr double kLossTolerance = 2e-2;

/// Whether the machine's own card and library are tested.
bool on_card() { return std::getenv("LEVANTER_TEST_CARD") != nullptr; }

/// The real library is not asked for less.
int64_t positions() { return on_card() ? 512 : 24; }

struct Case {
  const char* name;
  bool causal = true;
  int64_t window = 0, groups = 0;                            ///< groups 0: no such axis
  int64_t head_dim = 64, kv_heads = 2, batch = 2, keys = 0;  ///< keys 0: as many as queries
  bool segments = false;
  double soft_cap = 0, dropout = 0;
};

std::vector<OperandSpec> operands_of(const Case& c) {
  const int64_t batch = on_card() ? 1 : c.batch;  // the definition takes its time
  Axes q = {{"batch", batch}, {"position", positions()}, {"kv_head", c.kv_heads}};
  if (c.groups > 0) q.push_back({"q_group", c.groups});
  q.push_back({"head_dim", c.head_dim});
  const Axes k = {{"batch", batch},
                  {"key_position", c.keys > 0 ? c.keys : positions()},
                  {"kv_head", c.kv_heads},
                  {"head_dim", c.head_dim}};
  std::vector<OperandSpec> operands = {{q}, {k}, {k}};
  if (c.segments)
    operands.push_back({Axes{{"batch", batch}, {"position", positions()}}, Kind::kIds, 3});
  if (c.dropout > 0) operands.push_back({Axes{{"batch", batch}, key_word()}, Kind::kKeys});
  return operands;
}

/// Attention with q, k, v and the result rounded to bf16; computed in bf16, or in the inputs' type.
Build build_of(const Case& c, bool compute) {
  return [=](const std::vector<NamedArray>& in) {
    std::vector<NamedArray> x = in;
    for (size_t i = 0; i < 3; ++i) {
      x[i] = cast(in[i], DType::bf16);
      if (!compute) x[i] = cast(x[i], in[i].dtype());
    }
    const NamedArray o = attention(x[0], x[1], x[2],
                                   {.scale = 0.2,
                                    .causal = c.causal,
                                    .window = c.window,
                                    .soft_cap = c.soft_cap,
                                    .segment_ids = c.segments ? in[3] : NamedArray(),
                                    .dropout_rate = c.dropout,
                                    .dropout_keys = c.dropout > 0 ? in.back() : NamedArray()});
    return std::vector{cast(cast(o, DType::bf16), in[0].dtype())};
  };
}

std::vector<Array> arrays_of(const Case& c, Layout layout = Layout::kPlain) {
  std::vector<Array> inputs;
  for (const OperandSpec& spec : operands_of(c))
    inputs.push_back(make_array(spec, layout, static_cast<uint32_t>(inputs.size()) + 1));
  return inputs;
}

/// The library's plans that a function runs by.
std::multiset<std::string> plans_of(const Function& function, const Backend& backend) {
  std::multiset<std::string> plans;
  const Executable executable = compile(duplicate(function), backend);
  for (const auto& [node, cost] : executable.step_costs())
    if (!cost.plan.empty()) plans.insert(cost.plan);
  return plans;
}

/// What attention and its gradients run by on the card, and how far they are from the definition
/// in f64.
struct Outcome {
  size_t plans = 0;
  double error = 0;
};

Outcome outcome_of(const Build& build, const Build& definition, const std::vector<Array>& inputs) {
  const auto backend = FakeCuda::backend();
  const Function function = optimise(trace(build, inputs, DType::f32), *backend);
  Outcome outcome{plans_of(function, *backend).size()};
  const std::vector<Array> found = run(duplicate(function), inputs, *backend);
  const auto exact = evaluate(definition, inputs, *make_backend("reference"), DType::f64);
  for (size_t i = 0; i < exact.size(); ++i)
    outcome.error = std::max(outcome.error, difference(found[i], exact[i], kSmallest));
  return outcome;
}

Outcome outcome_of(const Case& c, Layout layout = Layout::kPlain) {
  const auto made = [&](bool compute) {
    return in_layout(with_gradients(build_of(c, compute)), operands_of(c), layout);
  };
  return outcome_of(made(true), made(false), arrays_of(c, layout));
}

/// By how many plans attention and its gradients run on the card.
size_t plans_of(const Case& c) {
  const auto backend = FakeCuda::backend();
  const Build build = with_gradients(build_of(c, true));
  return plans_of(optimise(trace(build, arrays_of(c), DType::f32), *backend), *backend).size();
}

/// A model of one head of 64, whose windows are one segment each.
Gpt2Config model_of_one_head() {
  Gpt2Config model = tiny_model();
  model.hidden_dim = 64;
  model.num_heads = 1;
  return model;
}

StepPlan plan_without_segments() {
  StepPlan plan;
  plan.compute = DType::bf16;
  plan.segments = models::Segments::kOne;
  plan.microbatches = plan.groups = 2;
  return plan;
}

}  // namespace

TEST_CASE("attention by cuDNN agrees with its definition, and so do its gradients",
          "[cuda][cudnn][card]") {
  FakeCuda fake;
  FakeCudnn cudnn;
  for (const Case& c :
       {Case{"causal"}, Case{"all keys", false}, Case{"window", true, 7},
        Case{"grouped queries", true, 0, 2}, Case{"grouped queries, window", true, 9, 2},
        Case{"heads of 128", true, 0, 0, 128}, Case{"one head", true, 0, 0, 64, 1},
        Case{"one row of one head", false, 0, 0, 64, 1, 1},
        Case{"a window of everything", true, positions()}}) {
    INFO(c.name);
    const Outcome outcome = outcome_of(c);
    CHECK(outcome.error <= kTolerance);
    if (!on_card()) CHECK(outcome.plans == 2);
    if (outcome.plans != 2) WARN("cuDNN has no plan here for " << c.name);
  }
  CHECK(fake.fault() == "");
  CHECK(fake.living() == "");
  CHECK(cudnn.living() == 0);
}

TEST_CASE("attention by cuDNN takes more keys than queries", "[cuda][cudnn]") {
  FakeCuda fake;
  const FakeCudnn cudnn;
  const Outcome outcome =
      outcome_of({.name = "", .causal = false, .kv_heads = 1, .keys = positions() + 8});
  CHECK(outcome.plans == 2);
  CHECK(outcome.error <= kTolerance);
}

TEST_CASE("attention by cuDNN agrees in every layout, by kernels of ours where it cannot read one",
          "[cuda][cudnn]") {
  FakeCuda fake;
  const FakeCudnn cudnn;
  for (const Layout layout : kLayouts)
    CHECK(outcome_of({"", true, 0, 2}, layout).error <= kTolerance);
  CHECK(fake.fault() == "");
}

TEST_CASE("attention by cuDNN reads the parts of one projection in place", "[cuda][cudnn]") {
  FakeCuda fake;
  const FakeCudnn cudnn;
  const Axes qkv = {{"batch", 2}, {"position", 24}, {"kv_head", 6}, {"head_dim", 64}};
  const auto build = [](bool compute) -> Build {
    return [=](const std::vector<NamedArray>& in) {
      const int64_t sizes[] = {2, 2, 2};
      NamedArray x = cast(in[0], DType::bf16);
      if (!compute) x = cast(x, in[0].dtype());
      const auto parts = partition(x, "kv_head", sizes);
      const NamedArray o = attention(parts[0], rename(parts[1], "position", "key_position"),
                                     rename(parts[2], "position", "key_position"),
                                     {.scale = 0.2, .segment_ids = {}, .dropout_keys = {}});
      return std::vector{cast(cast(o, DType::bf16), in[0].dtype())};
    };
  };
  const Outcome forward = outcome_of(build(true), build(false), {random_real(qkv, 1)});
  CHECK(forward.plans == 1);
  CHECK(forward.error <= kTolerance);
  const auto& places = cudnn.last_places();
  const auto place = [&](SdpaArray array) {
    return static_cast<const std::byte*>(places.at(cuda::id_of(array)));
  };
  CHECK(place(SdpaArray::kK) - place(SdpaArray::kQ) == 2 * 64 * 2);
  CHECK(place(SdpaArray::kV) - place(SdpaArray::kQ) == 4 * 64 * 2);
  const int64_t pitch = 6 * 64;
  CHECK(cudnn.last_strides(cuda::id_of(SdpaArray::kQ)) ==
        std::array<int64_t, 4>{24 * pitch, 64, pitch, 1});
  CHECK(cudnn.last_strides(cuda::id_of(SdpaArray::kK)) ==
        std::array<int64_t, 4>{24 * pitch, 64, 1, pitch});  // as its transpose
  CHECK(cudnn.last_strides(cuda::id_of(SdpaArray::kV)) ==
        std::array<int64_t, 4>{24 * pitch, 64, pitch, 1});
  const Outcome both =
      outcome_of(with_gradients(build(true)), with_gradients(build(false)), {random_real(qkv, 1)});
  CHECK(both.plans == 2);
  CHECK(both.error <= kTolerance);
  // The sum of do o over head_dim lies after the plan's own workspace.
  CHECK(static_cast<const std::byte*>(cudnn.last_places().at(cuda::kDeltaId)) -
            static_cast<const std::byte*>(cudnn.last_workspace()) ==
        1024);
}

TEST_CASE("what cuDNN is not asked for goes by kernels of ours", "[cuda][cudnn]") {
  FakeCuda fake;
  FakeCudnn cudnn;
  CHECK(plans_of({"causal"}) == 2);
  CHECK(plans_of({.name = "segments", .segments = true}) == 0);
  CHECK(plans_of({.name = "a cap", .soft_cap = 2}) == 0);
  CHECK(plans_of({.name = "dropout", .dropout = 0.2}) == 0);
  CHECK(plans_of({.name = "short heads", .head_dim = 32}) == 0);
  CHECK(plans_of({.name = "few keys", .causal = false, .keys = 4}) == 0);
  const Case f32 = {"f32"};
  const auto backend = FakeCuda::backend();
  const Build build = [](const std::vector<NamedArray>& in) {
    return std::vector{attention(in[0], in[1], in[2], {.segment_ids = {}, .dropout_keys = {}})};
  };
  CHECK(plans_of(optimise(trace(build, arrays_of(f32), DType::f32), *backend), *backend).empty());
  CHECK_THAT(backend->numerics_signature(), Catch::EndsWith("; cudnn 91900"));
}

TEST_CASE("without a cuDNN that has a plan, attention goes by kernels of ours", "[cuda][cudnn]") {
  FakeCuda fake;
  FakeCudnn cudnn;
  const auto signature = [] { return FakeCuda::backend()->numerics_signature(); };
  SECTION("no engine") {
    cudnn.set_offers_nothing();
    CHECK(outcome_of({"causal"}).error <= kTolerance);
    CHECK(plans_of({"causal"}) == 0);
  }
  SECTION("too much workspace") {
    cudnn.set_workspace_bytes((int64_t{4} << 30) + 1);
    CHECK(plans_of({"causal"}) == 0);
  }
  SECTION("a version that is too old, or wrong") {
    for (const size_t version : {90800, 91400}) {
      cudnn.set_version(version);
      CHECK(plans_of({"causal"}) == 0);
    }
    cudnn.set_version(91500);  // backward wants whole tiles of positions
    CHECK(plans_of({"causal"}) == 1);
  }
  SECTION("Blackwell, whose engines but one add in any order") {
    fake.set_major(10);
    cudnn.set_version(92300);
    CHECK(plans_of({"causal"}) == 1);
  }
  SECTION("not there") {
    FakeCudnn::remove();
    CHECK(plans_of({"causal"}) == 0);
    CHECK_THAT(signature(), Catch::EndsWith("; no cudnn"));
  }
  SECTION("switched off") {
    ::setenv("LEVANTER_CUDNN", "0", 1);
    CHECK(plans_of({"causal"}) == 0);
    CHECK_THAT(signature(), Catch::EndsWith("; no cudnn"));
    ::unsetenv("LEVANTER_CUDNN");
  }
  CHECK(cudnn.living() == 0);
}

TEST_CASE("a cuDNN that fails is an error that says how to do without", "[cuda][cudnn]") {
  FakeCuda fake;
  FakeCudnn cudnn;
  cudnn.set_fails();
  const std::string error = error_of([] { plans_of({"causal"}); });
  for (const char* part : {"make a plan", "cuDNN", "LEVANTER_CUDNN=0"})
    CHECK_THAT(error, Catch::Contains(part));
  CHECK(cudnn.living() == 0);
}

TEST_CASE("one plan serves all layers, and its workspace is in the memory plan, to the byte",
          "[cuda][cudnn]") {
  FakeCuda fake;
  FakeCudnn cudnn;
  cudnn.set_workspace_bytes(40 << 20);  // more than products ask for
  {
    const auto backend = FakeCuda::backend();
    const AdamConfig adam;
    const Gpt2Config model = model_of_one_head();
    train::CompiledStep step = compile_step(model, adam, plan_without_segments(), *backend);
    CHECK(cudnn.plans() == 2);
    CHECK(step.workspace_bytes() > 40 << 20);
    const int64_t planned = step.persistent_bytes() + step.arena_bytes() + step.workspace_bytes();
    const train::Engine engine(std::move(step), *backend);
    CHECK(fake.memory() == planned);
  }
  CHECK(fake.living() == "");
  CHECK(cudnn.living() == 0);
}

TEST_CASE(
    "training by cuDNN's attention is training by ours, with one hash fused or not, recorded "
    "or not, on one and two ranks",
    "[cuda][cudnn]") {
  const Gpt2Config model = model_of_one_head();
  StepPlan plan = plan_without_segments();
  const auto train = [&] {
    FakeCuda fake;
    const Trained trained = train_tiny(model, plan, "cuda", 1, 2);
    CHECK(fake.fault() == "");
    CHECK(fake.living() == "");
    return trained;
  };
  const Trained ours = train();
  FakeCudnn cudnn;
  const Trained whole = train();
  CHECK(cudnn.runs() > 0);
  CHECK_FALSE(whole == ours);
  REQUIRE(whole.losses.size() == ours.losses.size());
  for (size_t i = 0; i < ours.losses.size(); ++i)
    CHECK(std::abs(whole.losses[i] - ours.losses[i]) <= kLossTolerance);
  plan.ranks = 2;
  CHECK(train() == whole);
  plan.ranks = 1;
  plan.fuse = plan.optimise = false;
  CHECK(train() == whole);
  plan.fuse = plan.optimise = true;
  ::setenv("LEVANTER_CUDA_SYNC", "1", 1);  // nothing is recorded
  CHECK(train() == whole);
  ::unsetenv("LEVANTER_CUDA_SYNC");
  CHECK(cudnn.living() == 0);
}
