// Runs from Hugging Face folders: shapes in configs, weights in training, models that say so.
#include "train/hf/start.h"

#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "compat/safetensors.h"
#include "models/decoder_config.h"
#include "models/families/gpt2_config.h"
#include "models/model.h"
#include "support/source_root.h"
#include "support/fault.h"
#include "support/program.h"
#include "support/read_all.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"
#include "train/config/train_config.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Contains;

namespace {

constexpr char kLlama[] = R"({"model_type": "llama", "vocab_size": 32, "hidden_size": 8,
  "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2,
  "num_key_value_heads": 1, "max_position_embeddings": 16, "rms_norm_eps": 1e-6,
  "tie_word_embeddings": true)";

TrainConfig load(const TemporaryFolder& folder, const std::string& more_json,
                 const std::string& more_toml = "") {
  write_file_atomic(folder / "config.json", cat(kLlama, more_json, "}"));
  return parse_train_config(cat("[model]\ntype = \"from_hf\"\npath = \".\"\n", more_toml),
                            folder / "run.toml");
}

}  // namespace

TEST_CASE("a model takes its shape from a folder, and further keys lie over it", "[train]") {
  const TemporaryFolder folder;
  const TrainConfig plain = load(folder, "");
  CHECK(plain.model.type == "llama");
  const auto& c = plain.model.as<DecoderConfig>();
  CHECK(c.hidden_dim == 8);
  CHECK(c.kv_heads() == 1);
  CHECK(c.vocab_size == 32);
  CHECK(c.tie_word_embeddings);
  const TrainConfig over =
      load(folder,
           R"(, "rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "factor": 4,
              "low_freq_factor": 1, "high_freq_factor": 4})",
           "max_seq_len = 8\ngradient_checkpointing = \"full\"\n");
  CHECK(over.model->max_seq_len == 8);
  const auto& d = over.model.as<DecoderConfig>();
  CHECK(d.gradient_checkpointing == "full");
  CHECK(d.rope.type == "llama3");
  CHECK(d.rope->theta == 5e5);
  // The resolved config needs the folder no more, and means the same.
  CHECK(parse_train_config(print_config(over), "again.toml").model.as<DecoderConfig>().rope.type ==
        "llama3");
}

TEST_CASE("a folder gives weights and tokenizer too, where the config says nothing else",
          "[train]") {
  const TemporaryFolder folder;
  const std::string data = "[data.components.a]\ntrain = [\"a.txt\"]\n";
  const auto tokenizer = [](const TrainConfig& c) {
    const std::string text = print_config(c);
    const size_t at = text.find("tokenizer = ");
    return text.substr(at, text.find('\n', at) - at);
  };
  const TrainConfig plain = load(folder, "", data);
  CHECK(plain.start_from.kind == StartKind::kHf);
  CHECK(plain.start_from.path->resolved == absolute_path(folder.path()));
  CHECK(plain.data.tokenizer.type == "hf");
  CHECK_THAT(tokenizer(plain), Contains(absolute_path(folder.path())));
  // What the config says stays, and what it leaves out of a table is filled in.
  CHECK(load(folder, "", cat(data, "[start_from]\nkind = \"none\"\n")).start_from.kind ==
        StartKind::kNone);
  CHECK(load(folder, "", cat("[data]\ntokenizer = \"char\"\n", data)).data.tokenizer.type ==
        "char");
  const TrainConfig other = load(folder, "",
                                 cat("[data]\ntokenizer = { path = \"words\" }\n", data,
                                     "[start_from]\nkind = \"checkpoint\"\npath = \"logs/a\"\n"));
  CHECK_THAT(tokenizer(other), Contains("\"hf\"") && Contains("words"));
  CHECK_THAT(other.start_from.path->resolved, Catch::EndsWith("logs/a"));
  CHECK_THAT(tokenizer(load(folder, "", cat("[data]\ntokenizer = \"hf\"\n", data))),
             Contains(absolute_path(folder.path())));
}

TEST_CASE("settings of a folder that are not implemented are refused by name", "[train]") {
  const TemporaryFolder folder;
  const auto fault = [&](const char* json) {
    return failure_of(ErrorKind::kCheckpoint, [&] { load(folder, json); });
  };
  CHECK_THAT(fault(R"(, "sliding_window": 4)"), Contains("sliding_window = 4"));
  CHECK_THAT(fault(R"(, "hidden_act": "mish")"), Contains("hidden_act") && Contains("silu"));
  CHECK_THAT(fault(R"(, "clip_qkv": 8.0)"), Contains("clip_qkv = 8.0"));
  CHECK_THAT(fault(R"(, "rope_scaling": {"type": "longrope"})"),
             Contains("rope_scaling.type = \"longrope\" is not supported") && Contains("yarn"));
  CHECK_THAT(fault(R"(, "rope_scaling": {"rope_type": "linear", "factor": 2, "mscale": 1})"),
             Contains("rope_scaling.mscale = 1"));
  CHECK_THAT(fault(R"(, "rope_scaling": {"rope_type": "llama3", "factor": 2})"),
             Contains("rope_scaling.low_freq_factor is missing"));
  CHECK_THAT(failure_of(ErrorKind::kConfig, [&] { load(folder, R"(, "head_dim": 3)"); }),
             Contains("heads are 3 wide") && Contains("config.json"));
  // What would be as long as it says is refused before it is made.
  for (const char* layers : {"1000000000000000000", "-1", "0"})
    for (const char* type : {"qwen2", "gemma3_text", "gpt2"}) {
      const char* key = std::string_view(type) == "gpt2" ? "n_layer" : "num_hidden_layers";
      write_file_atomic(folder / "config.json",
                        cat("{\"model_type\": \"", type, "\", \"", key, "\": ", layers, "}"));
      CHECK_THAT(failure_of(ErrorKind::kCheckpoint, [&] { models::read_hf_model(folder.path()); }),
                 Contains(cat(key, " = ", layers)) && Contains("from 1 to 10000"));
    }
  // What no key of ours can say is refused, not dropped.
  const auto layers = [&](const char* types) {
    write_file_atomic(folder / "config.json",
                      cat(R"({"model_type": "qwen2", "hidden_size": 8, "intermediate_size": 8,
                           "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 32,
                           "max_position_embeddings": 16, "rms_norm_eps": 1e-6,
                           "use_sliding_window": true, "sliding_window": 4,
                           "max_window_layers": 0, "layer_types": )",
                          types, "}"));
    return failure_of(ErrorKind::kCheckpoint, [&] { models::read_hf_model(folder.path()); });
  };
  CHECK_THAT(layers(R"(["sliding_attention", "full_attention"])"), Contains("max_window_layers"));
  CHECK_THAT(layers(R"(["foo", "foo"])"), Contains("sliding_attention, full_attention"));
  write_file_atomic(folder / "config.json", R"({"model_type": "mamba"})");
  CHECK_THAT(failure_of(ErrorKind::kCheckpoint,
                        [&] {
                          parse_train_config("model = { type = \"from_hf\", path = \".\" }",
                                             folder / "run.toml");
                        }),
             Contains("\"mamba\" is not supported") && Contains("gpt2, llama"));
  CHECK_THAT(
      failure_of(ErrorKind::kConfig, [] { parse_train_config("model = \"from_hf\"", "run.toml"); }),
      Contains("needs model.path"));
}

TEST_CASE("the stories model goes on greedily as its author's does", "[train]") {
  const std::string folder = shared_data("models/stories260K");
  if (folder.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const auto reference = nlohmann::json::parse(read_all(join_path(folder, "reference.json.gz")));
  std::string lines;
  for (const auto& prompt : reference["prompts"])
    lines += cat("{\"prompt\": ", prompt["prompt"].dump(), "}\n");
  for (const char* batch : {"1", "16"}) {
    const Ended ended = run_program({"generate", "--checkpoint", folder, "--temperature", "0",
                                     "--stop-id", "1", "--json", "--batch", batch},
                                    {.input = lines});
    INFO(ended.err);
    REQUIRE(ended.code == 0);
    size_t i = 0;
    for (const std::string& line : split(ended.out, '\n')) {
      if (line.empty()) continue;
      const auto answer = nlohmann::json::parse(line);
      const auto& prompt = reference["prompts"][i++];
      CHECK(answer["prompt_ids"] == prompt["ids"]);
      std::vector<int32_t> ids = answer["ids"];
      const std::vector<int32_t> expected = prompt["greedy_ids"];
      ids.resize(std::min(ids.size(), expected.size()));
      CHECK(ids == expected);
    }
    CHECK(i == reference["prompts"].size());
  }
}

TEST_CASE("a run that starts from a folder begins with its loss", "[train]") {
  const std::string folder = shared_data("models/stories260K");
  if (folder.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const SmallRun run;
  const std::string model = cat("--model={ type = \"from_hf\", path = \"", folder, "\" }");
  const std::vector<std::string> words = {
      cat("--data.tokenizer={ type = \"hf\", path = \"", folder, "\" }"),
      "--trainer.num_train_steps=1", "--optimizer.learning_rate=1e-9"};
  write_file_atomic(run / "ft.toml",
                    cat("[model]\ntype = \"from_hf\"\npath = \"", folder,
                        "\"\nmax_seq_len = 16\n[data.components.a]\ntrain = [\"a.txt\"]\n",
                        "validation_fraction = 0.2\n"));
  std::vector<std::string> train = {"train", "--config", "ft.toml",
                                    cat("--start_from.path=", folder), "--start_from.kind=hf"};
  train.insert(train.end(), words.begin(), words.end());
  const Ended trained = run(train);
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  CHECK(trained.err.find("starting from") != std::string::npos);
  const Ended direct =
      run({"eval", "--checkpoint", folder, "--config", "ft.toml", words[0], "--json"});
  INFO(direct.err);
  REQUIRE(direct.code == 0);
  const double loss = nlohmann::json::parse(direct.out)["eval/loss"];
  const auto summary = nlohmann::json::parse(read_all(run / "logs/ft/summary.json"));
  CHECK(std::abs(summary["eval/loss"].get<double>() - loss) < 1e-4);
}

TEST_CASE("tokens that a folder lacks begin as the mean of those that it has", "[train]") {
  const std::string folder = shared_data("models/stories260K");
  if (folder.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const SmallRun run;
  const auto train = [&](const char* vocab) {
    return run(
        {"train", "--config", cat(testing::source_root(), "/configs/finetune/supervised.toml"),
         cat("--model.path=", folder), cat("--model.vocab_size=", vocab),
         "--data.components.text.train=['a.jsonl']",
         "--data.components.text.validation_fraction=0.4", "--model.max_seq_len=16",
         "--trainer.num_train_steps=1", "--trainer.train_batch_size=1",
         "--optimizer.learning_rate=1e-30", "--hf_save_path=hf", cat("--trainer.id=v", vocab)});
  };
  std::string lines;
  for (int i = 0; i < 8; ++i)
    lines += R"({"title": "a cat", "text": "sat on a mat"})"
             "\n";
  write_file_atomic(run / "a.jsonl", lines);
  const Ended ended = train("515");
  INFO(ended.err);
  REQUIRE(ended.code == 0);
  const safetensors::File grown(run / "hf/v515/step-1/model.safetensors"),
      given(join_path(folder, "model.safetensors"));
  const safetensors::Tensor* embedding = grown.find("model.embed_tokens.weight");
  REQUIRE(embedding->shape == std::vector<int64_t>{515, 64});
  std::vector<float> rows(515 * 64), before(512 * 64);
  safetensors::to_f32(*embedding, rows);
  safetensors::to_f32(*given.find("model.embed_tokens.weight"), before);
  CHECK(std::equal(before.begin(), before.end(), rows.begin()));
  for (size_t column = 0; column < 64; ++column) {
    double mean = 0;
    for (size_t row = 0; row < 512; ++row) mean += before[row * 64 + column] / 512.0;
    for (size_t row = 512; row < 515; ++row)
      CHECK(rows[row * 64 + column] == Approx(mean).margin(1e-6));
  }
  CHECK_THAT(train("511").err, Contains("model.vocab_size = 511"));
}

TEST_CASE("from_hf alone names model, weights and tokenizer, in a file and as an override",
          "[train]") {
  const std::string folder = shared_data("models/stories260K");
  if (folder.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const SmallRun run;
  const std::string text = "[data.components.a]\ntrain = [\"a.txt\"]\nvalidation_fraction = 0.2\n";
  write_file_atomic(run / "data.toml", text);
  write_file_atomic(run / "alone.toml",
                    cat("[model]\ntype = \"from_hf\"\npath = \"", folder, "\"\n", text));
  const auto train = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"train", "--trainer.num_train_steps=1", "--model.max_seq_len=16",
                                 "--trainer.train_batch_size=1", "--config"});
    const Ended ended = run(words);
    INFO(ended.err);
    CHECK(ended.code == 0);
    CHECK(ended.err.find("starting from") != std::string::npos);
  };
  train({"alone.toml"});
  train({"data.toml", cat("--model={ type = \"from_hf\", path = \"", folder, "\" }"),
         "--trainer.id=b"});
  train({"data.toml", "--model.type=from_hf", cat("--model.path=", folder), "--trainer.id=c"});
  for (const char* id : {"alone", "b", "c"})
    CHECK_THAT(read_file(run / cat("logs/", id, "/config.toml")), Contains("type = \"hf\""));
}

TEST_CASE("tokens that a config adds get ids, and rows that are the mean of the others",
          "[train]") {
  const std::string folder = shared_data("models/stories260K");
  if (folder.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const SmallRun run;
  write_file_atomic(run / "data.toml", "[data.components.a]\ntrain = [\"a.txt\"]\n");
  const Ended ended =
      run({"train", "--config", "data.toml",
           cat("--model={ type = \"from_hf\", path = \"", folder, "\" }"),
           "--data.tokenizer={add_tokens = [\"<|im_start|>\", \"<|im_end|>\", \"<s>\"]}",
           "--trainer.num_train_steps=1", "--model.max_seq_len=16", "--trainer.train_batch_size=1",
           "--optimizer.learning_rate=1e-30", "--trainer.id=a"});
  INFO(ended.err);
  REQUIRE(ended.code == 0);
  REQUIRE(run({"export", "--checkpoint", "logs/a", "--out", "hf"}).code == 0);
  const safetensors::File grown(run / "hf/model.safetensors");
  CHECK(grown.find("model.embed_tokens.weight")->shape == std::vector<int64_t>{514, 64});
  for (const char* from : {"logs/a", "hf"}) {
    const Ended ids = run({"generate", "--checkpoint", from, "--json", "--max-new-tokens", "1",
                           "--prompt", "<|im_start|>a<|im_end|>"});
    INFO(ids.err);
    const auto prompt = nlohmann::json::parse(ids.out)["prompt_ids"];
    CHECK(prompt[1] == 512);
    CHECK(prompt.back() == 513);
  }
  CHECK(run({"config", "check", "logs/a/config.toml"}).code == 0);
  const Ended plan = run({"plan", "--config", "logs/a/config.toml", "--json"});
  CHECK(nlohmann::json::parse(plan.out)["parameters"] == 260160);
}

TEST_CASE("weights of fewer rows than their own config says are refused", "[train]") {
  const std::string folder = shared_data("models/stories260K");
  if (folder.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const SmallRun run;
  make_directories(run / "hf");
  for (const char* name : {"model.safetensors", "tokenizer.json", "tokenizer_config.json"})
    write_file_atomic(run / cat("hf/", name), read_file(join_path(folder, name)));
  auto config = nlohmann::json::parse(read_file(join_path(folder, "config.json")));
  config.erase("vocab_size");  // the family's is 32,000
  write_file_atomic(run / "hf/config.json", config.dump());
  const Ended ended = run({"eval", "--checkpoint", "hf", "--documents", "a.txt"});
  CHECK(ended.code == 4);
  CHECK_THAT(ended.err, Contains("[512 64], not [32000 64]"));
}

TEST_CASE("a setting that matters in training alone stops training and nothing else", "[train]") {
  const TemporaryFolder folder;
  const TrainConfig config = load(folder, R"(, "resid_pdrop": 0.1, "embd_pdrop": 0.0)",
                                  "[data.components.a]\ntrain = [\"a.txt\"]\n");
  CHECK(config.not_trained == std::vector<std::string>{"resid_pdrop = 0.1"});
}
