#include "support/training.h"

#include <array>
#include <map>
#include <memory>
#include <mutex>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/strings.h"
#include "device/transfer.h"
#include "support/devices.h"
#include "support/temporary_folder.h"
#include "train/rank.h"
#include "train/setup.h"

namespace levanter::testing {

namespace {

constexpr int64_t kPositions = 8;

/// Documents of 2 to 10 tokens, each a function of the one before; about a third weigh nothing.
std::string made_up_documents() {
  std::string lines;
  for (uint32_t d = 0; d < 60; ++d) {
    const Key key = fold_in(key_from_seed(7), d);
    std::string ids, weights;
    uint64_t id = random_below(key, 0, kVocab);
    const uint64_t length = 2 + random_below(key, 1, 9);
    for (uint64_t t = 0; t < length; ++t) {
      const char* const comma = t == 0 ? "" : ", ";
      ids += cat(comma, id);
      weights += cat(comma, random_below(key, 100 + t, 3) == 0 ? 0 : 1);
      id = (id * 3 + 1) % kVocab;
    }
    lines += cat("{\"input_ids\": [", ids, "], \"loss_weights\": [", weights, "]}\n");
  }
  return lines;
}

/// The run that a plan stands for, of `model`, on the documents in `folder`.
TrainConfig tiny_config(const Gpt2Config& model, const StepPlan& plan, const std::string& device,
                        int64_t steps, const TemporaryFolder& folder) {
  write_file_atomic(folder / "documents.jsonl", made_up_documents());
  TrainConfig config = parse_train_config(
      cat("[model]\ntype = \"gpt2\"\nmax_seq_len = ", kPositions,
          "\n[data]\ntokenizer = { type = \"passthrough\", vocab_size = ", kVocab,
          " }\n[data.components.made_up]\ntrain = [\"documents.jsonl\"]\n"
          "format = { type = \"prebuilt\", loss_weights_key = \"loss_weights\" }\n"
          "[optimizer]\nlearning_rate = 1e-2\nlr_schedule = \"constant\"\nwarmup = 0\n"
          "decay_roles = [\"weight\", \"embedding\"]\n"
          "[trainer]\nnum_train_steps = ",
          steps, "\ntrain_batch_size = ", plan.microbatch * plan.microbatches,
          "\nmicrobatch_size = ", plan.microbatch, "\ngradient_groups = ", plan.groups,
          "\nranks = ", plan.ranks, "\ncommunicator = \"threads\"\ndevice = ", quote(device),
          "\nmp = ", quote(plan.compute == DType::bf16 ? "p=f32,c=bf16" : "f32"), "\n"),
      folder / "tiny.toml");
  config.trainer.debug = plan.debug;
  config.trainer.shard = plan.sharding;
  config.data.block_cross_document_attention = plan.segments == models::Segments::kSeveral;
  if (plan.schedule_seed) config.trainer.schedule_seed = static_cast<int64_t>(*plan.schedule_seed);
  auto& chosen = config.model.as<Gpt2Config>();
  const auto copy = chosen.copy;
  chosen = model;
  chosen.copy = copy;
  return config;
}

/// Writes down what every step reports.
class Recorder final : public train::Hook {
 public:
  explicit Recorder(Trained& trained) : trained_(trained) {}
  const char* name() const override { return "recorder"; }
  void after_step(const train::StepInfo& info) override {
    trained_.losses.push_back(info.report.loss);
    trained_.norms.push_back(info.report.grad_norm);
  }

 private:
  Trained& trained_;
};

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
  return train::CompiledStep(
      {.model = {models::entry("gpt2"), model},
       .shape = {plan.microbatch, model.max_seq_len, kVocab, DType::f32, plan.compute,
                 plan.segments},
       .optimizer = std::make_shared<optim::Assignment>(optim::entry("adam"), adam),
       .microbatches = plan.microbatches,
       .groups = plan.groups,
       .ranks = plan.ranks,
       .rank = rank,
       .sharding = plan.sharding,
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

train::UpdateReport run_step(train::Engine& engine, train::StepExchange& exchange, int64_t step,
                             double lr) {
  const train::StepOptions& o = engine.step().options;
  const int64_t batch = o.shape.batch * o.microbatches;
  const double loss_tokens = MadeUpRows(step, 0, batch).loss_tokens();
  engine.begin_step(loss_tokens, fold_in(key_from_seed(9), static_cast<uint32_t>(step)));
  const dist::GroupRange groups = engine.step().groups;
  int64_t m = dist::microbatches_of_group(o.microbatches, o.groups, groups.begin).begin;
  const int64_t end = dist::microbatches_of_group(o.microbatches, o.groups, groups.end - 1).end;
  for (int64_t round = 0; round < engine.step().rounds(); ++round) {
    if (m >= end) {
      engine.attend_microbatch();
      continue;
    }
    const MadeUpRows rows(step, m * o.shape.batch, o.shape.batch);
    ++m;
    if (m == end && exchange.overlaps())
      engine.run_last_microbatch(rows.from(0), exchange.begin_sum());
    else
      engine.run_microbatch(rows.from(0));
  }
  exchange.sum_gradients();
  const train::UpdateReport report = engine.run_update(step, lr);
  exchange.share_parameters();
  return report;
}

Trained train_tiny(const Gpt2Config& model, const StepPlan& plan, const std::string& device,
                   int threads, int64_t steps) {
  const TemporaryFolder folder;
  const TrainConfig config = tiny_config(model, plan, device, steps, folder);
  const train::RunOptions options;
  const std::shared_ptr<const data::TextData> data = train::load_data(config);
  std::vector<Trained> results(static_cast<size_t>(plan.ranks));
  std::mutex mutex;
  using Tensors = std::map<std::string, std::string>;  // bytes by path
  Tensors parameters, states;
  dist::run_ranks(dist::entry("threads"), plan.ranks, [&](dist::Communicator& communicator) {
    train::Run run{.given = config,
                   .options = options,
                   .rank = communicator.rank(),
                   .places = dist::gather_places(communicator)};
    run.backend = make_device(device, threads);
    if (const size_t devices = run.backend->devices().size(); devices > 0)
      run.backend->take_device(static_cast<size_t>(run.rank) % devices);
    run.opened.data = data;
    train::StepOptions step = train::step_options(run.config, kVocab, run.rank, plan.optimise);
    step.fuse = plan.fuse;
    run.step.emplace(step, *run.backend);
    train::Rank rank(run, communicator);
    Trained& result = results[static_cast<size_t>(run.rank)];
    std::vector<std::unique_ptr<train::Hook>> hooks;
    hooks.push_back(std::make_unique<Recorder>(result));
    train::StepTrace trace(run.config, communicator);
    rank.run(hooks, trace);
    const std::lock_guard lock(mutex);
    const auto note = [](const std::vector<Tensor>& tensors, Tensors& all) {
      for (const Tensor& tensor : tensors) {
        std::vector<std::byte> room;
        const auto size = static_cast<size_t>(tensor.bytes());
        const auto bytes = read_bytes(*tensor.memory, tensor.data, size, room);
        const std::string_view own(reinterpret_cast<const char*>(bytes.data()), size);
        std::string& whole = all[tensor.path];
        if (tensor.all_rows > 0) {  // of which other ranks have the others
          const size_t row = size / static_cast<size_t>(tensor.shape[0]);
          whole.resize(row * static_cast<size_t>(tensor.all_rows));
          whole.replace(row * static_cast<size_t>(tensor.first_row), size, own);
        } else {
          if (whole.empty()) whole = own;
          LEV_CHECK(whole == own, "ranks end with different states");
        }
      }
    };
    note(rank.engine().model_tensors(), parameters);
    note(rank.engine().optimizer_tensors(), states);
  });
  for (Trained& result : results) {
    for (const auto& [path, bytes] : parameters) result.params_hash += hex64(xxh3_64(bytes));
    for (const auto& [path, bytes] : states) result.state_hash += hex64(xxh3_64(bytes));
    LEV_CHECK(result == results[0], "ranks end with different states");
  }
  return results[0];
}

}  // namespace levanter::testing
