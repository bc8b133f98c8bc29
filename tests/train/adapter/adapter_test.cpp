// Runs of adapters from start to end, and the files that they leave.
#include <catch2/catch.hpp>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "compat/safetensors.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Contains;

namespace {

/// A merged model multiplies by W + s B A and not by each: f32 rounds elsewhere.
constexpr double kMergedTolerance = 2e-6;

/// What rounding a base to int8 may change of a loss, of itself: the bound that the docs state.
constexpr double kInt8Tolerance = 0.01;

constexpr const char* kAdapter = "--adapter={type = \"lora\", r = 4, alpha = 8.0}";

nlohmann::json json_at(const std::string& path) { return nlohmann::json::parse(read_file(path)); }

class AdapterRun {
 public:
  /// A base that has learned something, and its Hugging Face folder.
  AdapterRun() {
    good(train({"--trainer.id=base", "--trainer.num_train_steps=6"}));
    good((*this)({"export", "--checkpoint", "logs/base", "--out", "hf"}));
  }

  Ended operator()(std::vector<std::string> words, Surroundings surroundings = {}) const {
    return run_(std::move(words), std::move(surroundings));
  }
  Ended train(std::vector<std::string> words) const { return run_.train(std::move(words)); }
  std::string operator/(std::string_view name) const { return run_ / name; }

  static Ended good(Ended ended) {
    INFO(ended.err << ended.out);
    REQUIRE(ended.code == 0);
    return ended;
  }

  Ended adapt(const std::string& id, std::vector<std::string> words = {}) const {
    std::vector<std::string> all = {kAdapter, cat("--trainer.id=", id),
                                    "--start_from={kind = \"checkpoint\", path = \"logs/base\"}",
                                    "--optimizer.learning_rate=0.01"};
    all.insert(all.end(), words.begin(), words.end());
    return train(all);
  }

  nlohmann::json summary(const std::string& id) const {
    return json_at(*this / cat("logs/", id, "/summary.json"));
  }
  std::string hash(const std::string& id) const { return summary(id)["params_hash"]; }

  double loss(std::vector<std::string> words) const {
    words.insert(words.begin(), {"eval", "--json", "--config", "run.toml"});
    return nlohmann::json::parse(good((*this)(words)).out)["eval/loss"];
  }
  std::string text(std::vector<std::string> words) const {
    words.insert(words.begin(), {"generate", "--prompt", "the cat", "--temperature", "0",
                                 "--max-new-tokens", "12"});
    return good((*this)(words)).out;
  }

 private:
  SmallRun run_;
};

}  // namespace

TEST_CASE("an adapter learns on a frozen base, and both are one model afterwards", "[train]") {
  const AdapterRun run;
  AdapterRun::good(run.adapt("lora", {"--hf_save_path=out"}));
  const double base = run.loss({"--checkpoint", "logs/base"});
  const double adapted = run.loss({"--checkpoint", "logs/lora"});
  CHECK(adapted < base - 0.01);
  CHECK(adapted == run.summary("lora")["eval/loss"]);

  SECTION("in a PEFT folder") {
    AdapterRun::good(run({"export", "--checkpoint", "logs/lora", "--adapter", "--out", "peft"}));
    CHECK(run.loss({"--checkpoint", "logs/base", "--adapter", "peft"}) == adapted);
    CHECK(run.loss({"--checkpoint", "hf", "--adapter", "peft"}) == adapted);
    CHECK(run.text({"--checkpoint", "logs/base", "--adapter", "peft"}) ==
          run.text({"--checkpoint", "logs/lora"}));
    CHECK(read_file(run / "peft/adapter_model.safetensors") ==
          read_file(run / "out/lora/step-20/adapter_model.safetensors"));
    const nlohmann::json config = json_at(run / "peft/adapter_config.json");
    CHECK(config["peft_type"] == "LORA");
    CHECK(config["r"] == 4);
    CHECK(config["target_modules"] == nlohmann::json({"c_attn", "c_fc", "c_proj"}));
    CHECK(config["fan_in_fan_out"] == true);
    const safetensors::File file(run / "peft/adapter_model.safetensors");
    CHECK(file.tensors().size() == 8);
    CHECK(file.find("base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"));
  }
  SECTION("merged") {
    AdapterRun::good(run({"export", "--checkpoint", "logs/lora", "--merge", "--out", "merged"}));
    CHECK(std::abs(run.loss({"--checkpoint", "merged"}) - adapted) < kMergedTolerance);
  }
  SECTION("and only the adapter is in the checkpoint") {
    for (const auto& [name, tensor] :
         json_at(run / "logs/lora/checkpoints/step-20/manifest.json")["tensors"].items())
      CHECK(name.find(".lora_") != name.npos);
  }
  SECTION("which has to be said of an export") {
    CHECK_THAT(run({"export", "--checkpoint", "logs/lora", "--out", "x"}).err,
               Contains("holds an adapter and no model") && Contains("--merge"));
    CHECK_THAT(run({"export", "--checkpoint", "logs/base", "--merge", "--out", "x"}).err,
               Contains("holds a whole model and no adapter"));
  }
}

TEST_CASE("an adapter has the same bits on any number of threads and ranks", "[train]") {
  const AdapterRun run;
  const auto hash = [&](const char* id, std::vector<std::string> words) {
    words.insert(words.begin(), {"--trainer.microbatch_size=1", "--trainer.gradient_groups=4",
                                 "--adapter.dropout=0.2", "--trainer.num_train_steps=6"});
    AdapterRun::good(run.adapt(id, words));
    return run.hash(id);
  };
  const std::string one = hash("one", {});
  CHECK(hash("threads", {"--trainer.threads=3"}) == one);
  CHECK(hash("fused", {"--trainer.schedule_seed=3"}) == one);
  for (const char* shard : {"none", "optimizer", "parameters"})
    for (const int ranks : {2, 3})
      CHECK(hash(cat(shard, ranks).c_str(),
                 {"--trainer.communicator=threads", cat("--trainer.ranks=", ranks),
                  cat("--trainer.shard=", shard)}) == one);
  CHECK(hash("dora", {"--adapter.dora=true"}) != one);
  CHECK(hash("dora2", {"--adapter.dora=true", "--trainer.communicator=threads", "--trainer.ranks=2",
                       "--trainer.shard=parameters"}) == run.hash("dora"));
}

TEST_CASE("matrices that are held in bf16 change no bit of what is learned", "[train]") {
  const AdapterRun run;
  const auto learned = [&](const std::string& id, const std::string& frozen, int ranks,
                           const std::string& kind = "--adapter.dora=false") {
    AdapterRun::good(
        run.adapt(id, {kind, "--trainer.device=reference", "--trainer.mp=p=f32,c=bf16",
                       "--trainer.microbatch_size=1", "--trainer.gradient_groups=4",
                       "--trainer.communicator=threads", "--trainer.num_train_steps=4",
                       cat("--trainer.frozen=", frozen), cat("--trainer.ranks=", ranks)}));
    AdapterRun::good(run({"export", "--checkpoint", cat("logs/", id), "--adapter", "--out", id}));
    return read_file(run / cat(id, "/adapter_model.safetensors"));
  };
  const std::string wide = learned("wide", "f32", 1);
  CHECK(learned("narrow", "bf16", 1) == wide);
  CHECK(learned("ranks", "bf16", 2) == wide);
  CHECK(learned("dora", "bf16", 1, "--adapter.dora=true") ==
        learned("dora_wide", "f32", 2, "--adapter.dora=true"));
  CHECK(run.loss({"--checkpoint", "logs/narrow"}) == run.loss({"--checkpoint", "logs/wide"}));
  CHECK(run.text({"--checkpoint", "logs/narrow"}) == run.text({"--checkpoint", "logs/wide"}));
  AdapterRun::good(run({"export", "--checkpoint", "logs/narrow", "--merge", "--out", "merged"}));
  AdapterRun::good(run({"export", "--checkpoint", "logs/wide", "--merge", "--out", "merged2"}));
  CHECK(read_file(run / "merged/model.safetensors") ==
        read_file(run / "merged2/model.safetensors"));
  CHECK(run.loss({"--checkpoint", "logs/narrow", "--trainer.mp=f32"}) ==
        run.loss({"--checkpoint", "logs/wide", "--trainer.mp=f32"}));
  CHECK(run.text({"--checkpoint", "logs/base", "--adapter", "narrow", "--trainer.device=reference",
                  "--trainer.mp=p=f32,c=bf16", "--trainer.frozen=bf16"}) ==
        run.text({"--checkpoint", "logs/narrow"}));
  CHECK_THAT(run.train({"--trainer.frozen=bf16"}).err, Contains("trainer.frozen"));
  CHECK_THAT(run.adapt("x", {"--trainer.frozen=bf16"}).err, Contains("trainer.mp"));
}

TEST_CASE("an adapter goes on with the same bits, on its own base alone", "[train]") {
  const AdapterRun run;
  AdapterRun::good(run.adapt("straight"));
  AdapterRun::good(
      run.adapt("resumed", {"--trainer.num_train_steps=10", "--optimizer.lr_schedule=constant"}));
  AdapterRun::good(run.adapt("whole", {"--optimizer.lr_schedule=constant"}));
  AdapterRun::good(run.adapt("resumed", {"--optimizer.lr_schedule=constant"}));
  CHECK(run.hash("resumed") == run.hash("whole"));

  AdapterRun::good(run.train({"--trainer.id=other", "--trainer.num_train_steps=3"}));
  rename_path(run / "logs/base", run / "logs/base.moved");
  const auto fault =
      run.adapt("resumed", {"--optimizer.lr_schedule=constant", "--trainer.num_train_steps=30",
                            "--start_from.path=logs/other"});
  CHECK(fault.code == 4);
  CHECK_THAT(fault.err,
             Contains("the adapter was trained on another model") && Contains("logs/other"));
  rename_path(run / "logs/base.moved", run / "logs/base");
  AdapterRun::good(run({"export", "--checkpoint", "logs/straight", "--adapter", "--out", "peft"}));
  CHECK_THAT(run({"eval", "--json", "--checkpoint", "logs/other", "--adapter", "peft"}).err,
             Contains("the adapter was trained on another model"));
  CHECK_THAT(run.train({"--start_from={kind = \"checkpoint\", path = \"logs/straight\"}"}).err,
             Contains("holds an adapter and no model"));
  CHECK_THAT(run.adapt("twice", {"--start_from.path=logs/straight"}).err,
             Contains("holds an adapter and no model"));
}

TEST_CASE("an adapter begins with a PEFT folder, or on a base that is drawn", "[train]") {
  const AdapterRun run;
  AdapterRun::good(run.adapt("first"));
  AdapterRun::good(run({"export", "--checkpoint", "logs/first", "--adapter", "--out", "peft"}));
  AdapterRun::good(run.adapt("second", {"--adapter.path=peft", "--optimizer.learning_rate=0"}));
  CHECK(run.summary("second")["eval/loss"] == run.summary("first")["eval/loss"]);
  CHECK_THAT(run.adapt("third", {"--adapter.path=peft", "--adapter.alpha=4"}).err,
             Contains("adapter.alpha is 4 and there 8"));
  const auto resumed = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"--optimizer.learning_rate=0"});
    return run.adapt("second", words);
  };
  rename_path(run / "peft", run / "elsewhere");
  AdapterRun::good(resumed({"--adapter.path=elsewhere"}));
  AdapterRun::good(resumed({"--adapter.path=peft"}));
  AdapterRun::good(resumed({}));
  CHECK_THAT(resumed({"--adapter.alpha=16"}).err, Contains("adapter.alpha was 8.0 and is 16.0"));
  CHECK_THAT(run.adapt("fourth", {"--adapter.target_modules=[\"c_attn\", \"c_fd\"]"}).err,
             Contains("names \"c_fd\"") && Contains("c_fc"));
  AdapterRun::good(run.train({kAdapter, "--trainer.id=drawn", "--optimizer.learning_rate=0.01"}));
  CHECK(run.loss({"--checkpoint", "logs/drawn"}) == run.summary("drawn")["eval/loss"]);
  AdapterRun::good(run.train({"--adapter={r = 2, dora = true}", "--trainer.id=dora",
                              "--start_from={kind = \"hf\", path = \"hf\"}"}));
  CHECK(run.loss({"--checkpoint", "logs/dora"}) == run.summary("dora")["eval/loss"]);
  AdapterRun::good(run({"export", "--checkpoint", "logs/dora", "--merge", "--out", "merged"}));
  CHECK(std::abs(run.loss({"--checkpoint", "merged"}) - double(run.summary("dora")["eval/loss"])) <
        kMergedTolerance);
}

TEST_CASE("settings of PEFT that are not implemented are refused by their names", "[train]") {
  const AdapterRun run;
  AdapterRun::good(run.adapt("lora", {"--trainer.num_train_steps=1"}));
  AdapterRun::good(run({"export", "--checkpoint", "logs/lora", "--adapter", "--out", "peft"}));
  const nlohmann::json sound = json_at(run / "peft/adapter_config.json");
  const auto fault = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json changed = sound;
    changed[key] = value;
    write_file_atomic(run / "peft/adapter_config.json", changed.dump());
    return run({"eval", "--json", "--config", "run.toml", "--checkpoint", "hf", "--adapter",
                "peft"})
        .err;
  };
  CHECK_THAT(fault("modules_to_save", {"lm_head"}), Contains("modules_to_save"));
  CHECK_THAT(fault("layers_to_transform", {0}), Contains("layers_to_transform"));
  CHECK_THAT(fault("bias", "all"), Contains("bias"));
  CHECK_THAT(fault("rank_pattern", {{"c_fc", 2}}), Contains("rank_pattern"));
  CHECK_THAT(fault("peft_type", "IA3"), Contains("peft_type") && Contains("LORA"));
  CHECK_THAT(fault("init_lora_weights", "pissa"), Contains("init_lora_weights"));
  CHECK_THAT(fault("alora_invocation_tokens", {1}), Contains("alora_invocation_tokens"));
  CHECK_THAT(fault("r", -4), Contains("adapter.r = -4") && Contains("adapter_config.json"));
  CHECK_THAT(fault("r", 0), Contains("adapter.r = 0"));
  CHECK_THAT(fault("lora_dropout", 2), Contains("adapter.dropout"));
  CHECK_THAT(fault("lora_alpha", -1), Contains("adapter.alpha"));
  CHECK_THAT(fault("target_modules", "("),
             Contains("target_modules") && Contains("adapter_config.json"));
  CHECK_THAT(fault("r", 3), Contains("does not fit the model") && Contains("lora_A"));
  CHECK(fault("modules_to_save", nullptr).empty());
  CHECK_THAT(run({"eval", "--config", "run.toml", "--checkpoint", "peft"}).err,
             Contains("holds an adapter and no model") && Contains("--adapter"));
  remove_tree(run / "peft/adapter_model.safetensors");
  CHECK_THAT(fault("modules_to_save", nullptr), Contains("adapter_model.safetensors"));
}

TEST_CASE("a merged model is of the running means where they are asked for", "[train]") {
  const AdapterRun run;
  AdapterRun::good(run.adapt("means", {"--optimizer.ema={decay = 0.9}"}));
  const auto exported = [&](const std::string& how, std::vector<std::string> words = {}) {
    words.insert(words.begin(), {"export", "--checkpoint", "logs/means", cat("--", how), "--out",
                                 cat(how, words.size())});
    AdapterRun::good(run(words));
  };
  exported("adapter", {"--ema"});
  exported("merge", {"--ema"});
  exported("merge");
  const double means = run.loss({"--checkpoint", "logs/base", "--adapter", "adapter1"});
  CHECK(std::abs(run.loss({"--checkpoint", "merge1"}) - means) < kMergedTolerance);
  CHECK(std::abs(run.loss({"--checkpoint", "merge0"}) - means) > 100 * kMergedTolerance);
}

TEST_CASE("an adapter goes on though its base has gone on, has moved or was replaced", "[train]") {
  const AdapterRun run;
  const auto part = [&](const std::string& id, const std::string& steps,
                        const std::string& base = "logs/base") {
    return run.adapt(id, {"--optimizer.lr_schedule=constant", "--start_from.path=" + base,
                          "--trainer.num_train_steps=" + steps});
  };
  for (const char* id : {"whole", "late", "moved", "replaced"})
    AdapterRun::good(part(id, id == std::string("whole") ? "20" : "10"));
  AdapterRun::good(run.train({"--trainer.id=base", "--trainer.num_train_steps=8",
                              "--trainer.checkpointer.keep=[{every = 2}]"}));
  AdapterRun::good(part("late", "20"));
  CHECK(run.hash("late") == run.hash("whole"));
  rename_path(run / "logs/base", run / "there");
  CHECK_THAT(run({"export", "--checkpoint", "logs/late", "--merge", "--out", "x"}).err,
             Contains("the frozen model under the adapter is gone") && Contains("--adapter"));
  CHECK_THAT(run({"export", "--checkpoint", "logs/late", "--merge", "--adapter", "--out", "x"}).err,
             Contains("two forms"));
  AdapterRun::good(part("moved", "20", "there/checkpoints/step-6"));
  CHECK(run.hash("moved") == run.hash("whole"));
  AdapterRun::good(
      run.train({"--trainer.id=base", "--trainer.num_train_steps=6", "--trainer.seed=7"}));
  AdapterRun::good(part("replaced", "20", "there/checkpoints/step-6"));
  CHECK(run.hash("replaced") == run.hash("whole"));
}

TEST_CASE("a damaged checkpoint of a base is told of, where another is taken", "[train]") {
  const AdapterRun run;
  AdapterRun::good(run.train({"--trainer.id=base", "--trainer.num_train_steps=20"}));
  for (const std::string& name : list_directory(run / "logs/base/checkpoints/step-20"))
    if (name.ends_with(".bin") || name.ends_with(".safetensors"))
      write_file_atomic(cat(run / "logs/base/checkpoints/step-20/", name), "x");
  const Ended ended = AdapterRun::good(run.adapt("lora"));
  CHECK_THAT(ended.out + ended.err, Contains("step-20"));
}

TEST_CASE("an adapter of a folder with fewer tokens than the model fits that folder", "[train]") {
  const AdapterRun run;
  AdapterRun::good(run.train({kAdapter, "--trainer.id=wide", "--model.vocab_size=20",
                              "--start_from={kind = \"hf\", path = \"hf\"}"}));
  AdapterRun::good(run({"export", "--checkpoint", "logs/wide", "--adapter", "--out", "peft"}));
  AdapterRun::good(
      run({"eval", "--json", "--config", "run.toml", "--checkpoint", "hf", "--adapter", "peft"}));
  CHECK(run.loss({"--checkpoint", "logs/wide"}) == run.summary("wide")["eval/loss"]);
}

TEST_CASE("an adapter learns on a base in int8 what it learns on one in f32", "[train]") {
  const AdapterRun run;
  const auto hash = [&](const std::string& id, std::vector<std::string> words) {
    words.insert(words.begin(),
                 {"--trainer.frozen=int8", "--trainer.microbatch_size=1",
                  "--trainer.gradient_groups=4", "--optimizer.lr_schedule=constant"});
    AdapterRun::good(run.adapt(id, words));
    return run.hash(id);
  };
  const std::string one = hash("one", {});
  AdapterRun::good(
      run.adapt("wide", {"--optimizer.lr_schedule=constant", "--trainer.microbatch_size=1",
                         "--trainer.gradient_groups=4"}));
  const double loss = run.summary("one")["eval/loss"], wide = run.summary("wide")["eval/loss"];
  CHECK(run.hash("wide") != one);
  CHECK(std::abs(loss - wide) < kInt8Tolerance * wide);
  CHECK(loss < run.loss({"--checkpoint", "logs/base"}) - 0.01);

  SECTION("with the same bits on any number of threads and ranks, and when it goes on") {
    CHECK(hash("threads", {"--trainer.threads=3"}) == one);
    CHECK(hash("ranks", {"--trainer.communicator=threads", "--trainer.ranks=2",
                         "--trainer.shard=parameters"}) == one);
    hash("resumed", {"--trainer.num_train_steps=10"});
    CHECK_THAT(run.adapt("resumed", {"--trainer.frozen=f32"}).err,
               Contains("trainer.frozen was \"int8\" and is \"f32\""));
    CHECK(hash("resumed", {}) == one);
  }
  SECTION("and is evaluated and continued on that base") {
    CHECK(run.loss({"--checkpoint", "logs/one"}) == loss);
    CHECK(run.loss({"--checkpoint", "logs/one", "--trainer.frozen=int8"}) == loss);
    AdapterRun::good(run({"export", "--checkpoint", "logs/one", "--adapter", "--out", "peft"}));
    const std::vector<std::string> beside = {"--checkpoint", "logs/base", "--adapter", "peft",
                                             "--trainer.frozen=int8"};
    CHECK(run.loss(beside) == loss);
    CHECK(run.text(beside) == run.text({"--checkpoint", "logs/one"}));
    CHECK(run.loss({"--checkpoint", "hf", "--adapter", "peft", "--trainer.frozen=int8"}) == loss);
  }
  SECTION("and is merged into the base as it was before") {
    AdapterRun::good(run({"export", "--checkpoint", "logs/one", "--adapter", "--out", "peft"}));
    AdapterRun::good(run({"export", "--checkpoint", "logs/one", "--merge", "--out", "merged"}));
    const double unrounded = run.loss({"--checkpoint", "logs/base", "--adapter", "peft"});
    CHECK(unrounded != loss);
    CHECK(std::abs(run.loss({"--checkpoint", "merged"}) - unrounded) < kMergedTolerance);
  }
  SECTION("in every form of an adapter and of numbers") {
    const std::vector<std::string> bf16 = {
        "--trainer.device=reference", "--trainer.mp=p=f32,c=bf16", "--trainer.num_train_steps=4"};
    hash("bf16", bf16);
    CHECK(run.loss({"--checkpoint", "logs/bf16", "--trainer.mp=p=f32,c=bf16",
                    "--trainer.device=reference"}) == run.summary("bf16")["eval/loss"]);
    hash("dora", {"--adapter.dora=true"});
    CHECK(run.loss({"--checkpoint", "logs/dora"}) == run.summary("dora")["eval/loss"]);
  }
  CHECK_THAT(run.train({"--trainer.frozen=int8"}).err, Contains("trainer.frozen"));
  CHECK_THAT(run.adapt("x", {"--trainer.frozen=int4"}).err, Contains("f32, bf16, int8"));
}

TEST_CASE("prompts of one batch go each through its own adapter, as if they were alone",
          "[train]") {
  const AdapterRun run;
  AdapterRun::good(run.adapt("first"));
  AdapterRun::good(run.adapt("second", {"--adapter.r=2", "--adapter.dora=true", "--trainer.seed=4",
                                        "--adapter.target_modules=[\"c_attn\"]"}));
  for (const char* id : {"first", "second"})
    AdapterRun::good(run({"export", "--checkpoint", cat("logs/", id), "--adapter", "--out", id}));
  const std::string prompts =
      "{\"prompt\": \"the cat\", \"adapter\": \"a\"}\n{\"prompt\": \"a mat\"}\n"
      "{\"prompt\": \"the\", \"adapter\": \"b\"}\n{\"prompt\": \"see more\", \"adapter\": \"a\"}\n"
      "{\"prompt\": \"the\", \"adapter\": \"c\"}\n{\"prompt\": \"to see\", \"adapter\": \"b\"}\n";
  const auto generated = [&](std::vector<std::string> words, const std::string& input) {
    words.insert(words.begin(), {"generate", "--checkpoint", "logs/base", "--json", "--logprobs",
                                 "--max-new-tokens", "24", "--temperature", "0.8"});
    const Ended ended = run(words, {.input = input});
    INFO(ended.err);
    std::vector<nlohmann::json> lines;
    for (const std::string& line : split(ended.out, '\n'))
      if (!line.empty()) lines.push_back(nlohmann::json::parse(line));
    return lines;
  };
  const auto together =
      generated({"--adapter", "a=first", "--adapter", "b=second", "--batch", "4"}, prompts);
  REQUIRE(together.size() == 6);
  const auto alone = [&](size_t line, std::vector<std::string> words) {
    auto prompt = nlohmann::json::parse(split(prompts, '\n')[line]);
    prompt.erase("adapter");
    const nlohmann::json answer = generated(std::move(words), prompt.dump() + "\n").at(0);
    CHECK(answer["ids"] == together[line]["ids"]);
    CHECK(answer["logprobs"] == together[line]["logprobs"]);
  };
  alone(0, {"--adapter", "first"});
  alone(1, {});
  alone(2, {"--adapter", "second"});
  alone(3, {"--adapter", "first"});
  alone(5, {"--adapter", "second"});
  CHECK(together[0]["adapter"] == "a");
  CHECK_THAT(together[4]["error"].get<std::string>(), Contains("there is no adapter \"c\""));
  CHECK_THAT(generated({"--adapter", "first"}, prompts).at(0)["error"].get<std::string>(),
             Contains("for the adapter \"a\", and none has a name"));

  const auto fault = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"generate", "--checkpoint", "logs/base"});
    return run(words, {.input = prompts}).err;
  };
  CHECK_THAT(fault({"--json", "--adapter", "a=first", "--adapter", "second"}),
             Contains("\"second\" has no name"));
  CHECK_THAT(fault({"--json", "--adapter", "a=first", "--adapter", "a=second"}),
             Contains("two are called \"a\""));
  CHECK_THAT(fault({"--json", "--adapter", "a="}), Contains("names no folder"));
  CHECK_THAT(fault({"--json", "--adapter", "none/lr=1/x"}), Contains("names no folder"));

  // One that does not fit is told of by its folder.
  auto config = nlohmann::json::parse(read_file(run / "second/adapter_config.json"));
  config["r"] = 640;
  write_file_atomic(run / "second/adapter_config.json", config.dump());
  CHECK_THAT(fault({"--json", "--adapter", "a=first", "--adapter", "b=second"}),
             Contains("adapter.r = 640") && Contains("second/adapter_config.json"));
  CHECK_THAT(fault({"--json", "--adapter", "second"}),
             Contains("adapter.r = 640") && Contains("second/adapter_config.json"));
  CHECK_THAT(fault({"--adapter", "a=first", "--prompt", "x"}), Contains("--json"));
}
