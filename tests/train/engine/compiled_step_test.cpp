// What a step will need, known before any memory is taken.
#include "train/engine/compiled_step.h"

#include <catch2/catch.hpp>

#include <atomic>

#include "base/integers.h"
#include "dist/gradient_sum.h"
#include "support/training.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// Another end, whose bytes to other ranks are counted.
class CountingEnd final : public dist::Communicator {
 public:
  explicit CountingEnd(dist::Communicator& end) : end_(end) {}
  int64_t rank() const override { return end_.rank(); }
  int64_t size() const override { return end_.size(); }
  void exchange(std::span<const dist::Sent> send,
                std::span<const dist::Received> receive) override {
    for (size_t r = 0; r < send.size(); ++r)
      if (static_cast<int64_t>(r) != rank()) sent_ += static_cast<int64_t>(send[r].bytes);
    end_.exchange(send, receive);
  }
  void abandon(ErrorKind kind) override { end_.abandon(kind); }
  int64_t sent() const { return sent_; }

 private:
  dist::Communicator& end_;
  int64_t sent_ = 0;
};

constexpr int64_t kCacheLine = 64;

int64_t line(const train::CompiledStep& step, const std::string& what) {
  for (const train::MemoryLine& l : step.persistent())
    if (l.what == what) return l.bytes;
  return -1;
}

/// Elements of the optimizer's state, without what pads it.
int64_t kept_by(const train::CompiledStep& step) {
  int64_t elements = 0;
  for (const auto& place : step.state.places) elements += place.array.type.elements();
  return elements;
}

}  // namespace

TEST_CASE("parameters lie one after the other, each from a multiple of 64 bytes", "[train]") {
  const AdamConfig adam;
  const Gpt2Config model = tiny_model();
  const train::CompiledStep step = compile_step(model, adam, {2, 1, 1}, *make_backend("reference"));
  const train::FlatLayout& layout = step.layout;
  REQUIRE(layout.offsets.size() == step.params.size() + 1);
  int64_t count = 0;
  for (size_t i = 0; i < step.params.size(); ++i) {
    CHECK(layout.offsets[i] * 4 % kCacheLine == 0);
    const int64_t end = layout.offsets[i] + step.params[i].type.elements();
    CHECK(end <= layout.offsets[i + 1]);
    CHECK(layout.offsets[i + 1] - end < kCacheLine / 4);
    count += step.params[i].type.elements();
  }
  CHECK(layout.offsets.back() < layout.elements);
  CHECK(layout.bytes() == 4 * layout.elements);
  CHECK(step.parameter_count() == count);
  // wte 11 x 16, wpe 8 x 16, two blocks, the last norm.
  const int64_t block = 2 * 32 + 16 * 48 + 48 + 16 * 16 + 16 + 16 * 64 + 64 + 64 * 16 + 16;
  CHECK(count == 11 * 16 + 8 * 16 + 2 * block + 32);
}

TEST_CASE("ranks have whole parameters, or rows of them of the optimizer's state", "[train]") {
  const AdamConfig adam;
  const Gpt2Config model = tiny_model();
  const auto backend = make_backend("reference");
  for (const dist::Sharding sharding : {dist::Sharding::kOptimizer, dist::Sharding::kParameters})
    for (const int64_t ranks : {2, 3, 5, 16}) {  // of the last, some have no piece
      StepPlan plan{1, 16, 16, ranks};
      plan.sharding = sharding;
      if (sharding == dist::Sharding::kParameters) plan.compute = DType::bf16;
      int64_t kept = 0, elements = 0, parameters = 0;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const train::CompiledStep step = compile_step(model, adam, plan, *backend, rank);
        CHECK(step.shards[0].begin == 0);
        CHECK(step.shards.back().end == step.layout.elements);
        CHECK(step.norm_shards().back().begin <= step.norm_reports());
        CHECK(step.norm_shards().back().end == step.norm_elements());
        kept += kept_by(step);
        for (const train::Piece& piece : step.pieces_of(rank))
          CHECK((sharding == dist::Sharding::kOptimizer || step.is_whole(piece)));
        elements += step.shards[static_cast<size_t>(rank)].size();
        parameters += line(step, "parameters");
        for (int64_t other = 0; other < ranks; ++other) {
          const train::CompiledStep there = compile_step(model, adam, plan, *backend, other);
          // Of the update and the packing, which are other functions on each.
          const int64_t constants = line(step, "constants") - line(there, "constants");
          CHECK(step.persistent_bytes_of(other) - constants == there.persistent_bytes());
          CHECK(step.save_bytes_of(other) == there.save_bytes());
        }
      }
      const train::CompiledStep whole = compile_step(model, adam, {1, 16, 16}, *backend);
      CHECK(kept == kept_by(whole));
      CHECK(elements == whole.layout.elements);
      if (sharding == dist::Sharding::kParameters)  // each once, and no room for reports
        CHECK(parameters == 4 * whole.layout.offset_of(0));
      else
        CHECK(parameters == 4 * whole.layout.all_elements * ranks);
    }
}

TEST_CASE("a rank sends in a step what the plan says, and no more than a ring where it can",
          "[train]") {
  const AdamConfig adam;
  const Gpt2Config model = tiny_model();
  const auto backend = make_backend("cpu", 1);
  for (const dist::Sharding sharding :
       {dist::Sharding::kNone, dist::Sharding::kOptimizer, dist::Sharding::kParameters})
    for (const StepPlan& plan :
         {StepPlan{1, 4, 4, 2}, StepPlan{1, 4, 4, 4}, StepPlan{1, 7, 5, 3}, StepPlan{1, 5, 5, 5}}) {
      INFO(plan.ranks << " ranks");
      std::atomic<int64_t> wrong = 0;
      dist::run_ranks(dist::entry("threads"), plan.ranks, [&](dist::Communicator& end) {
        StepPlan sharded = plan;
        sharded.sharding = sharding;
        CountingEnd counting(end);
        const auto own = make_backend("cpu", 1);
        train::Engine engine(compile_step(model, adam, sharded, *own, end.rank()), *own);
        engine.initialise(key_from_seed(1));
        train::StepExchange exchange(counting, *own, engine);
        run_step(engine, exchange, 0);
        const train::CompiledStep& step = engine.step();
        wrong += counting.sent() == step.sent_bytes_of(end.rank()).total() ? 0 : 1;
        const int64_t planned = step.persistent_bytes() - line(step, "constants") +
                                step.arena_bytes() + step.workspace_bytes() -
                                line(step, "gradient exchange");
        wrong += engine.allocated_bytes() == planned ? 0 : 1;
      });
      CHECK(wrong == 0);
      if (sharding == dist::Sharding::kNone && plan.groups == plan.ranks) {
        const train::CompiledStep step = compile_step(model, adam,
                                                      {.microbatch = 1,
                                                       .microbatches = plan.microbatches,
                                                       .groups = plan.groups,
                                                       .ranks = plan.ranks,
                                                       .sharding = sharding},
                                                      *backend);
        const int64_t ring = 2 * (plan.ranks - 1) * ceil_div(step.layout.elements, plan.ranks) * 4;
        CHECK(step.sent_bytes_of(0).total() <= ring);
        CHECK(step.sent_bytes_of(0).total() > ring - 8 * plan.ranks);
      }
    }
}

TEST_CASE("ranks that update rows send what a ring sends, but for a row", "[train]") {
  constexpr int64_t kLargestRow = 64;  // elements; of the tiny model no bias has more
  const AdamConfig adam;
  const Gpt2Config model = tiny_model();
  const auto backend = make_backend("reference");
  for (const int64_t ranks : {2, 3, 4, 5}) {
    StepPlan plan{1, ranks, ranks, ranks};
    plan.sharding = dist::Sharding::kOptimizer;
    const train::CompiledStep step = compile_step(model, adam, plan, *backend);
    const int64_t ring = 2 * (ranks - 1) * step.layout.bytes() / ranks;
    int64_t all = 0;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      INFO("rank " << rank << " of " << ranks);
      const train::SentBytes sent = step.sent_bytes_of(rank);
      CHECK(step.shards[static_cast<size_t>(rank)].size() <=
            step.layout.elements / ranks + kLargestRow);
      CHECK(sent.gradients + sent.parameters <= ring + ranks * kLargestRow * 4);
      all += sent.gradients + sent.parameters;
    }
    CHECK(all <= ring * ranks);
  }
}

TEST_CASE("the plan lists what lives from step to step", "[train]") {
  const AdamConfig adam;
  const Gpt2Config model = tiny_model();
  for (const StepPlan& plan : {StepPlan{2, 1, 1}, StepPlan{2, 6, 6}, StepPlan{1, 12, 5, 3}}) {
    const train::CompiledStep step = compile_step(model, adam, plan, *make_backend("cpu", 2));
    const int64_t flat = step.layout.bytes();
    CHECK(line(step, "parameters") == flat);
    const int64_t reports = flat - step.layout.offset_of(0) * 4;
    const int64_t own = plan.ranks == 1 ? flat : step.shards[0].size() * 4 + reports;
    CHECK(line(step, "optimizer exp_avg") == own);
    CHECK(line(step, "optimizer exp_avg_sq") == own);
    CHECK(line(step, "gradients") == flat * step.gradient_buffers());
    CHECK(line(step, "gradient exchange") ==
          (plan.ranks == 1 ? -1 : dist::GradientSum::staging_bytes(plan.groups, step.shards, 0)));
    CHECK(line(step, "inputs") == step.input_bytes());
    CHECK(line(step, "constants") >= 0);
    int64_t total = 0;
    for (const train::MemoryLine& l : step.persistent()) total += l.bytes;
    CHECK(step.persistent_bytes() == total);
    CHECK(step.state_bytes() == flat + 2 * own);
    CHECK(step.save_bytes() == step.state_bytes());
    CHECK(step.arena_bytes() >= step.gradients.arena_bytes());
    CHECK(step.arena_bytes() >= step.gradients.arena_lower_bound());
    CHECK(step.workspace_bytes() >= step.evaluation.workspace_bytes());
  }
}

TEST_CASE("one group needs one gradient array, several need a stack beside it", "[train]") {
  const AdamConfig adam;
  const Gpt2Config model = tiny_model();
  const auto backend = make_backend("reference");
  const auto compiled = [&](const StepPlan& plan, int64_t rank = 0) {
    return compile_step(model, adam, plan, *backend, rank);
  };
  CHECK(compiled({1, 5, 1}).gradient_buffers() == 1);
  CHECK(compiled({1, 5, 2}).gradient_buffers() == 2);
  CHECK(compiled({1, 8, 8}).gradient_buffers() == 4);
  // The function that adds exists only where a group of this rank has a second microbatch.
  CHECK_FALSE(compiled({1, 5, 5}).gradients_next.has_value());
  CHECK(compiled({1, 5, 1}).gradients_next.has_value());
  CHECK(compiled({1, 5, 4, 4}, 0).gradients_next.has_value());
  CHECK_FALSE(compiled({1, 5, 4, 4}, 1).gradients_next.has_value());
}

TEST_CASE("keeping less for the backward pass takes no more memory", "[train]") {
  const AdamConfig adam;
  Gpt2Config model = tiny_model();
  model.num_layers = 32;
  std::vector<int64_t> bytes;
  for (const char* policy : {"none", "save_dots", "full", "nested(6)"}) {
    model.gradient_checkpointing = policy;
    bytes.push_back(
        compile_step(model, adam, {4, 1, 1}, *make_backend("cpu", 1)).gradients.arena_bytes());
  }
  for (size_t i = 1; i < bytes.size(); ++i) CHECK(bytes[i] < bytes[i - 1]);
}

TEST_CASE("saving all names takes more than saving none, and less than everything", "[train]") {
  const AdamConfig adam;
  Gpt2Config model = tiny_model();
  model.num_layers = 12;
  const auto bytes = [&](const char* policy) {
    model.gradient_checkpointing = policy;
    return compile_step(model, adam, {4, 1, 1}, *make_backend("cpu", 1)).gradients.arena_bytes();
  };
  const int64_t named = bytes("save(qkv, attn, attn_out, mlp_up, mlp_act, mlp_down)");
  CHECK(bytes("full") < bytes("save(attn)"));
  CHECK(bytes("save(attn)") < named);
  CHECK(named < bytes("none"));
}

TEST_CASE("a token's arithmetic is six for each weight it meets, and attention's", "[train]") {
  const AdamConfig adam;
  const Gpt2Config model = tiny_model();
  const train::CompiledStep step = compile_step(model, adam, {2, 1, 1}, *make_backend("reference"));
  double met = 0;
  for (const nn::Param& param : step.params)
    if (param.path != "transformer.wpe.weight" && param.path != "wpe.weight")
      met += static_cast<double>(param.type.elements());
  CHECK(step.flops_per_token() == 6 * met + 12 * 8 * 2 * 16);
}

TEST_CASE("a save stages the whole state, up to 256 MiB", "[train]") {
  CHECK(train::staging_bytes(0) == 0);
  CHECK(train::staging_bytes(1000) == 1000);
  CHECK(train::staging_bytes(int64_t{1} << 40) == int64_t{256} << 20);
}
