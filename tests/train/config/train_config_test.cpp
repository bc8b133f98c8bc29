// The root of a config: defaults, derived sizes, and what may differ when a run continues.
#include "train/config/train_config.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/strings.h"
#include "models/families/gpt2_config.h"
#include "optim/adam_config.h"
#include "support/fault.h"

using namespace levanter;

namespace {

TrainConfig parse(const std::string& text) { return parse_train_config(text, "dir/nano.toml"); }

/// The keys of the differences.
std::vector<std::string> keys(const std::vector<Difference>& differences) {
  std::vector<std::string> out;
  for (const Difference& difference : differences) out.push_back(difference.key);
  return out;
}

using Keys = std::vector<std::string>;

}  // namespace

TEST_CASE("defaults are Levanter's", "[train]") {
  const TrainConfig config = load_train_config("");
  const Gpt2Config& model = config.model.as<Gpt2Config>();
  CHECK(model.max_seq_len == 1024);
  CHECK(model.hidden_dim == 768);
  CHECK(model.num_layers == 12);
  CHECK(model.num_heads == 12);
  CHECK(model.mlp_dim() == 3072);
  CHECK(model.head_dim() == 64);
  CHECK(model.activation_function == "gelu_new");
  CHECK(model.layer_norm_epsilon == 1e-5);
  CHECK(model.initializer_range == 0.02);
  CHECK_FALSE(model.vocab_size.has_value());
  const AdamConfig& adam = config.optimizer.as<AdamConfig>();
  CHECK(adam.learning_rate == 6e-4);
  CHECK(adam.weight_decay == 0.1);
  CHECK(adam.min_lr_ratio == 0.1);
  CHECK(adam.warmup == 0.01);
  CHECK(adam.lr_schedule.type == "cosine");
  CHECK(adam.beta1 == 0.9);
  CHECK(adam.beta2 == 0.95);
  CHECK(adam.epsilon == 1e-8);
  CHECK(adam.max_grad_norm == 1.0);
  CHECK(adam.decay_roles == Keys{"weight"});
  CHECK(config.trainer.num_train_steps == 400000);
  CHECK(config.trainer.train_batch_size == 512);
  CHECK(config.trainer.steps_per_eval == 1000);
  CHECK(config.trainer.checkpointer.save_interval->seconds == 900);
  REQUIRE(config.trainer.checkpointer.keep.size() == 1);
  CHECK(config.trainer.checkpointer.keep[0].every == 10000);
  CHECK(config.data.tokenizer.type == "bytes");
}

TEST_CASE("the microbatch is the largest divisor of the batch with at most 8192 tokens",
          "[train]") {
  struct Case {
    int64_t batch, seq, microbatch, groups;
  };
  for (const Case& c :
       {Case{12, 64, 12, 1}, Case{512, 1024, 8, 8}, Case{64, 256, 32, 2}, Case{7, 4096, 1, 7},
        Case{12, 10000, 1, 8}, Case{9, 2048, 3, 3}, Case{1, 1, 1, 1}}) {
    const TrainConfig config = parse(
        cat("[model]\nmax_seq_len = ", c.seq, "\n[trainer]\ntrain_batch_size = ", c.batch, "\n"));
    INFO(c.batch << " sequences of " << c.seq);
    CHECK(config.microbatch_size() == c.microbatch);
    CHECK(config.num_microbatches() == c.batch / c.microbatch);
    CHECK(config.gradient_groups() == c.groups);
  }
  const TrainConfig set =
      parse("[trainer]\ntrain_batch_size = 12\nmicrobatch_size = 2\ngradient_groups = 3\n");
  CHECK(set.microbatch_size() == 2);
  CHECK(set.num_microbatches() == 6);
  CHECK(set.gradient_groups() == 3);
}

TEST_CASE("a run is named by its id, else by its file", "[train]") {
  CHECK(parse("").run_id() == "nano");
  CHECK(parse("[trainer]\nid = \"first.try-2\"\n").run_id() == "first.try-2");
  CHECK(load_train_config("").run_id() == "run");
  CHECK(parse("[trainer]\nlog_dir = \"out\"\n").run_folder() == absolute_path("dir/out/nano"));
}

TEST_CASE("later layers can place an error at a key", "[train]") {
  const TrainConfig config = parse("[trainer]\ntrain_batch_size = 12\n");
  const Error error = config.error(ErrorKind::kData, "trainer.train_batch_size", "too few windows");
  CHECK(std::string(error.what()) == "error: too few windows\n  at       dir/nano.toml:2:20");
  CHECK(error.kind() == ErrorKind::kData);
}

TEST_CASE("training needs a text, and other commands do not", "[train]") {
  const TrainConfig without = parse("[data]\ntokenizer = \"char\"\n");
  CHECK_THROWS_AS(require_data(without), Error);
  CHECK_NOTHROW(require_data(parse("[data.components.letters]\ntrain = \"a.txt\"\n")));
}

TEST_CASE("a component is named as a folder could be, and a URL stands where a path may",
          "[train]") {
  const TrainConfig config =
      parse("[data.components.a]\ntrain = [\"https://host/a.jsonl\", \"b.jsonl\"]\n");
  const auto& train = config.data.components.at("a").train;
  CHECK(train[0].resolved == "https://host/a.jsonl");
  CHECK(train[1].resolved == absolute_path("dir/b.jsonl"));
  for (const char* name : {"..", "../a", "a/b"})
    CHECK_THROWS_AS(parse(cat("[data.components.\"", name, "\"]\ntrain = \"a.txt\"\n")), Error);
}

TEST_CASE("a warm-up longer than the run is accepted and cut", "[train]") {
  const TrainConfig config =
      parse("[optimizer]\nwarmup = 100\nlearning_rate = 1\n[trainer]\nnum_train_steps = 10\n");
  CHECK(config.schedule().at(5) == 0.5);
}

TEST_CASE("precision policies come out as f32, or as f32 parameters and bf16 arithmetic",
          "[train]") {
  const auto precision = [](const char* mp) {
    const TrainerConfig trainer = parse(cat("[trainer]\nmp = \"", mp, "\"\n")).trainer;
    CHECK((trainer.compute() == DType::bf16) == (trainer.precision() == "p=f32,c=bf16"));
    return trainer.precision();
  };
  for (const char* mp : {"f32", "float32", "p=f32,c=f32", "params=float32,compute=f32,output=f32"})
    CHECK(precision(mp) == "f32");
  for (const char* mp : {"p=f32,c=bf16", "c=bfloat16", "compute=bf16, params=float32",
                         "p=f32,c=bfloat16,o=f32", "params=full,compute=bfloat16"})
    CHECK(precision(mp) == "p=f32,c=bf16");
  for (const char* mp : {"bf16", "p=bf16,c=bf16", "p=f32,c=bf16,o=bf16", "f16", "p=f32,c=f16",
                         "p=f32,p=f32", "p=", "", "c", "p=f32,"})
    CHECK_THROWS_AS(parse(cat("[trainer]\nmp = \"", mp, "\"\n")), Error);
}

TEST_CASE("differences list every key that differs", "[train]") {
  const TrainConfig a = parse("[trainer]\nseed = 1\n[optimizer]\nwarmup = 10\n");
  const TrainConfig b = parse(
      "[trainer]\nseed = 2\nthreads = 3\n[optimizer]\nwarmup = 10\nlr_schedule = \"linear\"\n");
  CHECK(differences(a, a).empty());
  const std::vector<Difference> found = differences(a, b);
  CHECK(keys(found) == Keys{"optimizer.lr_schedule.type", "optimizer.lr_schedule.exponent",
                            "trainer.seed", "trainer.threads"});
  CHECK(found[1].now == "none");
  CHECK(found[2].saved == "1");
  CHECK(found[2].now == "2");
  CHECK(found[3].saved == "\"none\"");
}

TEST_CASE("a resumed run may change what does not bear on its bits", "[train]") {
  const std::string base = "[model]\nmax_seq_len = 64\n[trainer]\ntrain_batch_size = 12\n";
  const auto resume = [&](const std::string& more) {
    return keys(resume_differences(parse(base), parse(base + more)));
  };
  CHECK(resume("threads = 3\nlog_dir = \"x\"\nid = \"y\"\nsteps_per_eval = 5\ndevice = "
               "\"reference\"\nnum_train_steps = 9\ntracker = []\nmax_eval_batches = 1\n"
               "checkpointer = { save_interval = 1 }\n[start_from]\nkind = \"checkpoint\"\npath = "
               "\"z\"\n[data]\nprefetch = 2\n")
            .empty());
  CHECK(resume("microbatch_size = 12\ngradient_groups = 1\n").empty());  // what they are anyway
  CHECK(resume("microbatch_size = 6\n") ==
        Keys{"trainer.microbatch_size", "trainer.gradient_groups"});
  CHECK(resume("mp = \"float32\"\n").empty());
  CHECK(resume("mp = \"p=f32,c=bf16\"\n") == Keys{"trainer.mp"});
  CHECK(resume("seed = 5\n") == Keys{"trainer.seed"});
  CHECK(resume("[optimizer]\nbeta2 = 0.99\n") == Keys{"optimizer.beta2"});
  CHECK(resume("[data]\nshuffle = false\n") == Keys{"data.shuffle"});
  CHECK(resume("[data.components.a]\ntrain = \"t\"\n").size() == 8);
  const TrainConfig wider = parse(
      "[model]\nmax_seq_len = 64\nhidden_dim = 96\ngradient_checkpointing "
      "= \"full\"\n[trainer]\ntrain_batch_size = 12\n");
  CHECK(keys(resume_differences(parse(base), wider)) == Keys{"model.hidden_dim"});
}

TEST_CASE("crash_on_nan is guard.on_nan in Levanter's words", "[train]") {
  CHECK(parse("").trainer.guard.on_nan == GuardAction::kStop);
  const TrainConfig skips = parse("[trainer]\ncrash_on_nan = false\n");
  CHECK(skips.trainer.guard.on_nan == GuardAction::kSkip);
  CHECK(differences(skips, parse("[trainer]\nguard = { on_nan = \"skip\" }\n")).empty());
  CHECK(parse(print_config(skips)).trainer.guard.on_nan == GuardAction::kSkip);
  CHECK(differences(parse("[trainer]\ncrash_on_nan = true\n"), parse("")).empty());
  const std::string error = testing::failure_of(ErrorKind::kConfig, [] {
    parse("[trainer]\ncrash_on_nan = true\nguard = { on_nan = \"skip\" }\n");
  });
  CHECK_THAT(error, Catch::Contains("both say what a run does at a NaN"));
  CHECK(resume_differences(parse(""), skips).empty());
  const std::vector<std::string> override = {"--trainer.crash_on_nan=false"};
  CHECK(parse_train_config("[trainer]\nguard = { on_nan = \"rollback\" }\n", "run.toml", override)
            .trainer.guard.on_nan == GuardAction::kSkip);
  const std::vector<std::string> ours = {"--trainer.guard.on_nan=rollback"};
  CHECK(parse_train_config("[trainer]\ncrash_on_nan = false\n", "run.toml", ours)
            .trainer.guard.on_nan == GuardAction::kRollback);
}

TEST_CASE("the watchdog's deadlines are durations, or none", "[train]") {
  const WatchdogConfig standard = load_train_config("").trainer.watchdog;
  CHECK(standard.start->seconds == 6 * 3600);
  CHECK(standard.step->seconds == 600);
  CHECK(standard.save->seconds == 1800);
  const std::vector<std::string> overrides = {
      "--trainer.watchdog={start=\"none\", step=\"90s\", save=\"1h30m\"}"};
  const WatchdogConfig given = load_train_config("", overrides).trainer.watchdog;
  CHECK_FALSE(given.start);
  CHECK(given.step->seconds == 90);
  CHECK(given.save->seconds == 5400);
}
