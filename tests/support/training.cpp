#include "support/training.h"

#include <array>
#include <exception>
#include <thread>

#include "base/error.h"
#include "base/random.h"

namespace levanter::testing {

namespace {

constexpr int64_t kPositions = 8;

AdamConfig tiny_adam() {
  AdamConfig adam;
  adam.decay_roles = {"weight", "embedding"};
  return adam;
}

}  // namespace

Gpt2Config tiny_model() {
  Gpt2Config config;
  config.max_seq_len = kPositions;
  config.hidden_dim = 16;
  config.num_layers = 2;
  config.num_heads = 2;
  config.initializer_range = 0.3;
  return config;
}

Gpt2Config tiny_model_with_dropout() {
  Gpt2Config config = tiny_model();
  config.embed_pdrop = 0.1;
  config.attn_pdrop = 0.2;
  config.resid_pdrop = 0.3;
  return config;
}

train::CompiledStep compile_step(const Gpt2Config& model, const AdamConfig& adam,
                                 const StepPlan& plan, const Backend& backend, int64_t rank) {
  return train::CompiledStep({.model = {models::entry("gpt2"), model},
                              .shape = {plan.microbatch, model.max_seq_len, kVocab, DType::f32,
                                        plan.compute, plan.segments},
                              .optimizer = optim::entry("adam"),
                              .optimizer_config = adam,
                              .microbatches = plan.microbatches,
                              .groups = plan.groups,
                              .ranks = plan.ranks,
                              .rank = rank,
                              .optimise = plan.optimise,
                              .fuse = plan.fuse,
                              .debug = plan.debug,
                              .schedule_seed = plan.schedule_seed},
                             backend);
}

MadeUpRows::MadeUpRows(int64_t step, int64_t first, int64_t count) : first_example(first) {
  const Key of_step = fold_in(key_from_seed(7), static_cast<uint32_t>(step));
  for (int64_t row = first; row < first + count; ++row) {
    const Key key = fold_in(of_step, static_cast<uint32_t>(row));
    for (int64_t t = 0; t < kPositions; ++t) {
      const auto at = static_cast<uint64_t>(t);
      tokens.push_back(static_cast<int32_t>(random_below(key, at, kVocab)));
      targets.push_back((tokens.back() * 3 + 1) % static_cast<int32_t>(kVocab));
      loss_weight.push_back(
          random_below(key, 100 + at, 4) <= static_cast<uint64_t>(row % 4) ? 1.0f : 0.0f);
      segment_ids.push_back(t < row % 5 ? 0 : 1);
      positions.push_back(static_cast<int32_t>(t));
    }
  }
}

train::Rows MadeUpRows::from(int64_t row) const { return {*this, row, first_example + row}; }

double MadeUpRows::loss_tokens() const {
  double total = 0;
  for (const float weight : loss_weight) total += weight;
  return total;
}

train::UpdateReport run_step(train::Engine& engine, dist::GradientSum& sum, int64_t step,
                             double lr) {
  const train::StepOptions& o = engine.step().options;
  const int64_t batch = o.shape.batch * o.microbatches;
  const double loss_tokens = MadeUpRows(step, 0, batch).loss_tokens();
  engine.begin_step(loss_tokens, fold_in(key_from_seed(9), static_cast<uint32_t>(step)));
  for (int64_t group = engine.step().groups.begin; group < engine.step().groups.end; ++group) {
    const auto members = dist::microbatches_of_group(o.microbatches, o.groups, group);
    for (int64_t m = members.begin; m < members.end; ++m)
      engine.run_microbatch(MadeUpRows(step, m * o.shape.batch, o.shape.batch).from(0));
  }
  sum.run(engine.subtree_sums(), engine.total());
  std::array<double, 2> scalars;
  o.optimizer.scalars(o.optimizer_config, step, scalars);
  return engine.run_update(lr, scalars);
}

Trained train_tiny(const Gpt2Config& model, const StepPlan& plan, const std::string& device,
                   int threads, int64_t steps) {
  const AdamConfig adam = tiny_adam();
  auto ends = dist::entry(plan.ranks == 1 ? "single" : "threads").make(plan.ranks);
  std::vector<Trained> results(ends.size());
  std::vector<std::exception_ptr> errors(ends.size());
  const auto body = [&](size_t r) {
    try {
      const auto backend = make_backend(device, threads);
      train::Engine engine(compile_step(model, adam, plan, *backend, static_cast<int64_t>(r)),
                           *backend);
      dist::GradientSum sum(*ends[r], *backend, plan.groups, engine.step().layout.elements);
      engine.initialise(key_from_seed(1));
      for (int64_t step = 0; step < steps; ++step) {
        const train::UpdateReport report = run_step(engine, sum, step);
        results[r].losses.push_back(report.loss);
        results[r].norms.push_back(report.grad_norm);
      }
      results[r].params_hash = params_hash(engine.model_tensors());
      results[r].state_hash = params_hash(engine.optimizer_tensors());
    } catch (...) {
      errors[r] = std::current_exception();
      ends[r]->abandon();
    }
  };
  {
    std::vector<std::jthread> others;
    for (size_t r = 1; r < ends.size(); ++r) others.emplace_back(body, r);
    body(0);
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  for (const Trained& result : results)
    LEV_CHECK(result == results[0], "ranks end with different states");
  return results[0];
}

}  // namespace levanter::testing
