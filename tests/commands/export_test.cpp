// `levanter export`: Hugging Face folders out of runs and out of other such folders.
#include <catch2/catch.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <deque>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "compat/safetensors.h"
#include "support/fault.h"
#include "support/program.h"
#include "support/safetensors_file.h"
#include "support/shared_data.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Contains;
using nlohmann::json;

namespace {

json read_json(const std::string& path) { return json::parse(read_file(path)); }

/// Each tensor's name, type, shape and bytes, whatever files they are in.
std::map<std::string, std::string> tensors_of(const std::string& folder) {
  std::map<std::string, std::string> all;
  for (const std::string& name : list_directory(folder)) {
    if (!name.starts_with("model") || !name.ends_with(".safetensors")) continue;
    const safetensors::File file(join_path(folder, name));
    for (const safetensors::Tensor& tensor : file.tensors()) {
      std::string& text = all[tensor.name];
      CHECK(text.empty());
      text = cat(name_of(tensor.element), json(tensor.shape).dump(), ":");
      const std::vector<std::byte> bytes = safetensors::bytes_of(tensor);
      text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
  }
  return all;
}

std::map<std::string, std::string> files_of(const std::string& folder) {
  std::map<std::string, std::string> all;
  for (const std::string& name : list_directory(folder))
    all[name] = read_file(join_path(folder, name));
  return all;
}

}  // namespace

TEST_CASE("a run's checkpoint becomes a folder that reads as the same model", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train({"--model.use_bias=false"}).code == 0);
  const Ended ended = run({"export", "--checkpoint", "logs/run", "--out", "new/hf"});
  INFO(ended.err);
  REQUIRE(ended.code == 0);
  CHECK_THAT(ended.out, Contains("new/hf: ") && Contains(" in 1 file\n"));
  CHECK_THAT(ended.err, Contains("no tokenizer was written"));
  CHECK(list_directory(run / "new") == std::vector<std::string>{"hf"});
  CHECK(list_directory(run / "new/hf") ==
        std::vector<std::string>{"config.json", "model.safetensors"});
  const json config = read_json(run / "new/hf/config.json");
  CHECK(config["architectures"][0] == "GPT2LMHeadModel");
  CHECK(config["vocab_size"] == 15);
  CHECK(config["eos_token_id"].is_null());
  CHECK(config["torch_dtype"] == "float32");
  // Transformers' GPT-2 has biases always: zeros where the model has none. The head is tied.
  const safetensors::File file(run / "new/hf/model.safetensors");
  const safetensors::Tensor* bias = file.find("transformer.h.0.attn.c_attn.bias");
  REQUIRE(bias);
  CHECK(std::ranges::count(safetensors::bytes_of(*bias), std::byte{0}) == bias->bytes);
  CHECK_FALSE(file.find("lm_head.weight"));
  const safetensors::File saved(run / "logs/run/checkpoints/step-20/model.safetensors");
  for (const safetensors::Tensor& tensor : saved.tensors()) {
    INFO(tensor.name);
    REQUIRE(file.find(tensor.name));
    CHECK(safetensors::bytes_of(*file.find(tensor.name)) == safetensors::bytes_of(tensor));
  }
  // The folder evaluates as the checkpoint does.
  const Ended from_run = run({"eval", "--checkpoint", "logs/run", "--json"});
  const Ended from_hf = run({"eval", "--checkpoint", "new/hf", "--config", "run.toml",
                             "--model.vocab_size=15", "--json"});
  INFO(from_hf.err);
  REQUIRE(from_hf.code == 0);
  CHECK(json::parse(from_hf.out)["eval/loss"].get<double>() ==
        Approx(json::parse(from_run.out)["eval/loss"].get<double>()).epsilon(1e-6));
}

TEST_CASE("a folder exported again has the same bytes, in any type and any number of files",
          "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  REQUIRE(run({"export", "--checkpoint", "logs/run", "--out", "f32"}).code == 0);
  for (const std::string type : {"f32", "bf16", "f16"}) {
    INFO(type);
    if (type != "f32")
      REQUIRE(run({"export", "--checkpoint", "f32", "--out", type, "--dtype", type}).code == 0);
    REQUIRE(run({"export", "--checkpoint", type, "--out", type + "2", "--max-shard-size", "3KB"})
                .code == 0);
    const auto tensors = tensors_of(run / type);
    CHECK((tensors == tensors_of(run / (type + "2"))));
    CHECK(read_file(run / (type + "/config.json")) == read_file(run / (type + "2/config.json")));
    const json index = read_json(run / (type + "2/model.safetensors.index.json"));
    CHECK(index["weight_map"].size() == tensors.size());
    CHECK(index["metadata"]["total_size"].get<int64_t>() > 0);
    const std::string first = index["weight_map"]["transformer.wte.weight"];
    CHECK_THAT(first, Contains("model-00001-of-000"));
    REQUIRE(run({"export", "--checkpoint", type + "2", "--out", type + "2", "--overwrite"}).code ==
            0);
    CHECK((tensors == tensors_of(run / (type + "2"))));
    CHECK(path_exists(run / (type + "2/model.safetensors")));
    CHECK_FALSE(path_exists(run / (type + "2/model.safetensors.index.json")));
  }
  CHECK(read_json(run / "bf16/config.json")["torch_dtype"] == "bfloat16");
}

TEST_CASE("a folder that is in use is kept, and a failed export leaves nothing", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const std::string before = snapshot(run.path());
  const auto fails = [&](std::vector<std::string> words, const char* text) {
    words.insert(words.begin(), "export");
    const Ended ended = run(words);
    INFO(ended.err);
    CHECK(ended.code != 0);
    CHECK_THAT(ended.err, Contains(text));
    CHECK(snapshot(run.path()) == before);
  };
  fails({"--checkpoint", "logs/run", "--out", "logs"}, "the folder is not empty");
  fails({"--checkpoint", "logs/run", "--out", "logs", "--overwrite"},
        "no part of a Hugging Face folder");
  fails({"--checkpoint", "logs/run", "--out", "a.txt"}, "a file of that name");
  fails({"--checkpoint", "logs/run", "--out", "x", "--dtype", "f64"}, "f32, bf16, f16");
  fails({"--checkpoint", "logs/run", "--out", "x", "--max-shard-size", "3X"}, "no number of bytes");
  fails({"--checkpoint", "nowhere", "--out", "x"}, "no checkpoint");
  const Ended full =
      run({"export", "--checkpoint", "logs/run", "--out", "x"}, {.file_bytes = 4096});
  CHECK(full.code != 0);
  CHECK(snapshot(run.path()) == before);
}

TEST_CASE("an export replaces Hugging Face files alone, follows links and tidies up",
          "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const auto exported = [&](const char* out) {
    return run({"export", "--checkpoint", "logs/run", "--out", out, "--overwrite"});
  };
  REQUIRE(exported("hf").code == 0);
  write_file_atomic(run / "hf/notes.txt", "mine");
  const std::string before = snapshot(run.path());
  const Ended refused = exported("hf");
  CHECK(refused.code != 0);
  CHECK_THAT(refused.err, Contains("\"notes.txt\", which is no part of a Hugging Face folder"));
  CHECK(snapshot(run.path()) == before);
  REQUIRE(std::remove((run / "hf/notes.txt").c_str()) == 0);
  REQUIRE(::symlink("hf", (run / "link").c_str()) == 0);
  make_directories(run / "hf.levanter.tmp-1-1");  // what a killed export leaves
  CHECK(exported("link").code == 0);
  struct stat info {};
  REQUIRE(::lstat((run / "link").c_str(), &info) == 0);
  CHECK(S_ISLNK(info.st_mode));
  CHECK_FALSE(path_exists(run / "hf.levanter.tmp-1-1"));
  CHECK(path_exists(run / "hf/model.safetensors"));
}

TEST_CASE("a file that changed since the export is named by what reads the folder", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  REQUIRE(run({"export", "--checkpoint", "logs/run", "--out", "hf"}).code == 0);
  const std::vector<std::string> readers[] = {
      {"eval", "--checkpoint", "hf", "--config", "run.toml"},
      {"export", "--checkpoint", "hf", "--out", "again", "--overwrite"},
      {"train", "--config", "run.toml", "--start_from.kind=hf", "--start_from.path=hf",
       "--trainer.num_train_steps=1", "--trainer.id=from"}};
  for (const char* changed : {"", "hf: config.json changed since the export"}) {
    if (*changed)
      write_file_atomic(run / "hf/config.json", read_file(run / "hf/config.json") + " ");
    for (const std::vector<std::string>& words : readers) {
      INFO(words[0]);
      remove_tree(run / "logs/from");
      const Ended ended = run(words);
      CHECK(ended.code == 0);
      CHECK((ended.err.find("changed since the export") == ended.err.npos) == (*changed == '\0'));
      CHECK_THAT(ended.err, Contains(changed));
    }
  }
}

TEST_CASE("a tokenizer that changed since the export is named by what reads it alone",
          "[commands]") {
  const SmallRun run;
  REQUIRE(run({"tokenizer", "train", "a.txt", "--vocab-size", "262", "--out", "tok"}).code == 0);
  const std::string tok = "--data.tokenizer={type = \"hf\", path = \"tok\"}";
  const std::string hf = "--data.tokenizer={type = \"hf\", path = \"hf\"}";
  REQUIRE(run.train({tok}).code == 0);
  REQUIRE(run({"export", "--checkpoint", "logs/run", "--out", "hf"}).code == 0);
  const std::vector<std::string> readers[] = {
      {"tokenize", "--tokenizer", "hf"},
      {"tokenize", "--tokenizer", "hf/tokenizer.json"},
      {"config", "check", "run.toml", hf},
      {"config", "check", "run.toml", "--json", hf},
      {"train", "--config", "run.toml", hf, "--trainer.num_train_steps=1", "--trainer.id=from"}};
  for (const bool changed : {false, true}) {
    if (changed)
      write_file_atomic(run / "hf/tokenizer.json", read_file(run / "hf/tokenizer.json") + " ");
    for (const std::vector<std::string>& words : readers) {
      INFO(join(words, " "));
      remove_tree(run / "logs/from");
      const Ended ended = run(words);
      CHECK(ended.code == 0);
      const std::string told = ended.out + ended.err;
      CHECK(changed == (told.find("hf: tokenizer.json changed since the export") != told.npos));
    }
  }
}

TEST_CASE("numbers that a type cannot hold are refused by name", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  REQUIRE(run({"export", "--checkpoint", "logs/run", "--out", "hf"}).code == 0);
  const std::string path = run / "hf/model.safetensors";
  const std::string copy = run / "copy";
  {
    const safetensors::File file(path);
    std::vector<safetensors::WriteTensor> tensors;
    std::deque<std::vector<std::byte>> data;
    for (const safetensors::Tensor& tensor : file.tensors()) {
      data.push_back(safetensors::bytes_of(tensor));
      tensors.push_back({{tensor.name, tensor.element, tensor.shape}, data.back()});
    }
    safetensors::write_file(copy, tensors);
  }
  std::string bytes = read_file(copy);
  const float large = 7e4F;
  bytes.replace(bytes.size() - 4, 4, reinterpret_cast<const char*>(&large), 4);
  write_file_atomic(path, bytes);
  const Ended ended = run({"export", "--checkpoint", "hf", "--out", "half", "--dtype", "f16"});
  CHECK(ended.code == 4);
  CHECK_THAT(ended.err, Contains("numbers too large for F16") && Contains("bf16"));
  CHECK_FALSE(path_exists(run / "half"));
  CHECK(run({"export", "--checkpoint", "hf", "--out", "half", "--dtype", "bf16"}).code == 0);
}

TEST_CASE("a flipped bit in exported weights is found by whoever reads them", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  for (const char* dtype : {"f32", "bf16"})
    REQUIRE(run({"export", "--checkpoint", "logs/run", "--out", dtype, "--dtype", dtype,
                 "--max-shard-size", "3KB"})
                .code == 0);
  for (const std::string dtype : {"f32", "bf16"}) {
    const json index = read_json(run / (dtype + "/model.safetensors.index.json"));
    const std::string shard = index["weight_map"]["transformer.wte.weight"];
    const std::string path = run / cat(dtype, "/", shard);
    INFO(path);
    const std::vector<std::vector<std::string>> readers = {
        {"export", "--checkpoint", dtype, "--out", "x"},
        {"eval", "--checkpoint", dtype, "--config", "run.toml", "--model.vocab_size=15"},
        {"train", "--config", "run.toml", "--trainer.id=next", "--start_from.kind=hf",
         cat("--start_from.path=", dtype), "--start_from.what=model"}};
    for (const auto& words : readers) {
      flip_bit(path, static_cast<size_t>(file_size(path)) - 3, 6);
      const Ended damaged = run(words);
      INFO(damaged.err);
      CHECK(damaged.code == 4);
      CHECK_THAT(damaged.err, Contains("tensor \"transformer.") && Contains(shard) &&
                                  Contains("does not match the file's checksum"));
      flip_bit(path, static_cast<size_t>(file_size(path)) - 3, 6);
      const Ended good = run(words);
      INFO(good.err);
      CHECK(good.code == 0);
      remove_tree(run / "x");
      remove_tree(run / "logs/next");
    }
  }
}

TEST_CASE("a run keeps folders of its model as it goes", "[commands]") {
  const SmallRun run;
  const Ended ended = run.train({"--hf_save_path=hf", "--hf_save_steps=8", "--hf_save_dtype=bf16"});
  INFO(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(list_directory(run / "hf/run") == std::vector<std::string>{"step-16", "step-20", "step-8"});
  REQUIRE(run({"export", "--checkpoint", "logs/run", "--out", "x", "--dtype", "bf16"}).code == 0);
  CHECK((tensors_of(run / "x") == tensors_of(run / "hf/run/step-20")));
  CHECK((tensors_of(run / "x") != tensors_of(run / "hf/run/step-16")));
}

TEST_CASE("a folder of the model that cannot be written does not end the run", "[commands]") {
  const SmallRun run;
  make_directories(run / "hf/run/step-8");
  write_file_atomic(run / "hf/run/step-8/notes.txt", "mine");
  const Ended ended = run.train({"--hf_save_path=hf", "--hf_save_steps=8"});
  CHECK(ended.code == 0);
  CHECK_THAT(ended.err, Contains("\"notes.txt\", which is no part of a Hugging Face folder"));
  CHECK(read_file(run / "hf/run/step-8/notes.txt") == "mine");
  CHECK(path_exists(run / "hf/run/step-16/config.json"));
  CHECK(path_exists(run / "logs/run/checkpoints/step-20/manifest.json"));
  CHECK_THAT(ended.err, Contains("hf/run: 1 folder could not be written: step-8\n"));
}

TEST_CASE("a folder of the model that a kill or a full disk has cost is made at the next start",
          "[commands]") {
  const SmallRun run;
  const std::vector<std::string> words = {"--hf_save_path=hf", "--hf_save_steps=5"};
  REQUIRE(run.train(words).code == 0);
  const std::string whole = snapshot(run / "hf"),
                    summary = read_file(run / "logs/run/summary.json");
  REQUIRE(list_directory(run / "hf/run").size() == 4);
  // Killed after the last checkpoint: in the middle of the last folder, or after it.
  for (const bool finished : {false, true}) {
    INFO(finished);
    rename_path(run / "hf/run/step-20", temporary_name(run / "hf/run/step-20"));
    make_directories(temporary_name(run / "hf/run/step-15"));
    remove_tree(run / "hf/run/step-10");
    if (!finished) remove_tree(run / "logs/run/summary.json");
    const Ended again = run.train(words);
    INFO(again.err);
    CHECK(again.code == 0);
    CHECK(snapshot(run / "hf") == whole);
    CHECK(path_exists(run / "logs/run/summary.json"));
  }
  CHECK_THAT(run.train(words).err, Contains("nothing was changed"));
  // One whose checkpoint is not there is gone for good, and nobody asks for it.
  remove_tree(run / "hf/run/step-5");
  CHECK_THAT(run.train(words).err, Contains("nothing was changed"));

  // Where the last one can't be written the run is finished, and the folder still due.
  remove_tree(run / "hf");
  write_file_atomic(run / "hf", "");
  const Ended refused = run.train(words);
  CHECK(refused.code == 6);
  CHECK_THAT(refused.err, Contains("hf/run: 2 folders could not be written: step-10, step-20") &&
                              Contains("the model of the last step is not written") &&
                              Contains("the same command tries this again"));
  remove_tree(run / "logs");
  CHECK(run.train(words).code == 6);
  CHECK(read_json(run / "logs/run/summary.json")["params_hash"] ==
        json::parse(summary)["params_hash"]);
  remove_tree(run / "hf");
  CHECK(run.train(words).code == 0);
  CHECK(list_directory(run / "hf/run") == std::vector<std::string>{"step-10", "step-20"});
}

TEST_CASE("two runs keep the folders of their models apart", "[commands]") {
  const SmallRun run;
  for (const char* id : {"one", "two"})
    REQUIRE(run.train({"--hf_save_path=hf", cat("--trainer.id=", id)}).code == 0);
  CHECK(list_directory(run / "hf") == std::vector<std::string>{"one", "two"});
}

TEST_CASE("the stories model comes back with the bytes it had, tokenizer and all", "[commands]") {
  const std::string folder = shared_data("models/stories260K");
  if (folder.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const TemporaryFolder made;
  const auto export_to = [&](const std::string& from, const std::string& name) {
    const Ended ended = run_program({"export", "--checkpoint", from, "--out", made / name});
    INFO(ended.err);
    REQUIRE(ended.code == 0);
    CHECK(ended.err == "");
  };
  export_to(folder, "a");
  export_to(made / "a", "b");
  CHECK((tensors_of(made / "a") == tensors_of(folder)));
  CHECK((files_of(made / "a") == files_of(made / "b")));
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"})
    CHECK(read_file(made / cat("a/", name)) == read_file(join_path(folder, name)));
  const json config = read_json(made / "a/config.json");
  CHECK(config["eos_token_id"] == 2);
  CHECK(config["bos_token_id"] == 1);
}

TEST_CASE("a run with a Hugging Face tokenizer exports it with the ids that end a text",
          "[commands]") {
  const SmallRun run;
  make_directories(run / "tok");
  write_file_atomic(run / "tok/tokenizer.json", R"({"added_tokens": [
    {"id": 6, "content": "<s>", "special": true, "normalized": false},
    {"id": 7, "content": "<|end|>", "special": true, "normalized": false}],
    "model": {"type": "WordLevel", "unk_token": "x", "vocab": {"x": 0, "the": 1, "cat": 2}},
    "pre_tokenizer": {"type": "Whitespace"}})");
  write_file_atomic(run / "tok/tokenizer_config.json",
                    R"({"eos_token": "<s>", "chat_template": "{{ messages }}"})");
  write_file_atomic(run / "tok/generation_config.json", R"({"eos_token_id": [6, 7, -1, 1e99]})");
  const Ended ended = run.train({"--data.tokenizer={type=\"hf\", path=\"tok\"}",
                                 "--hf_save_path=hf", "--stop_strings=[\"User:\", \"x\"]"});
  INFO(ended.err);
  REQUIRE(ended.code == 0);
  REQUIRE(run({"export", "--checkpoint", "logs/run", "--out", "x"}).code == 0);
  CHECK((files_of(run / "x") == files_of(run / "hf/run/step-20")));
  CHECK(read_file(run / "x/tokenizer.json") == read_file(run / "tok/tokenizer.json"));
  CHECK(read_file(run / "x/chat_template.jinja") == "{{ messages }}");
  CHECK(read_json(run / "x/tokenizer_config.json")["eos_token"] == "<s>");
  CHECK(read_json(run / "x/generation_config.json")["eos_token_id"] == json({6, 7}));
  CHECK(read_json(run / "x/config.json")["eos_token_id"] == json({6, 7}));
  CHECK(read_json(run / "x/generation_config.json")["stop_strings"] == json({"User:", "x"}));
}

TEST_CASE("a stop text that is a token of the tokenizer is exported as a further end",
          "[commands]") {
  const SmallRun run;
  make_directories(run / "tok");
  write_file_atomic(run / "tok/tokenizer.json", R"({"added_tokens": [
    {"id": 6, "content": "<s>", "special": true, "normalized": false}],
    "model": {"type": "WordLevel", "unk_token": "x", "vocab": {"x": 0, "the": 1, "cat": 2}},
    "pre_tokenizer": {"type": "Whitespace"}})");
  write_file_atomic(run / "tok/tokenizer_config.json", R"({"eos_token": "<s>"})");
  const auto exported = [&](const std::string& stops) {
    REQUIRE(run.train({"--data.tokenizer={type=\"hf\", path=\"tok\", add_tokens=[\"<|im_end|>\"]}",
                       "--trainer.num_train_steps=1", "--trainer.id=" + stops.substr(0, 1),
                       "--stop_strings=[" + stops.substr(1) + "]"})
                .code == 0);
    REQUIRE(
        run({"export", "--checkpoint", "logs/" + stops.substr(0, 1), "--out", "x", "--overwrite"})
            .code == 0);
    CHECK(read_json(run / "x/generation_config.json")["eos_token_id"] ==
          read_json(run / "x/config.json")["eos_token_id"]);
    return read_json(run / "x/generation_config.json");
  };
  // Transformers heeds stop texts only where it is handed the tokenizer too; ids always.
  const json both = exported("a\"<|im_end|>\", \"the\", \"<s>\"");
  CHECK(both["eos_token_id"] == json({6, 7}));
  CHECK(both["stop_strings"] == json({"the"}));
  const json token = exported("b\"<|im_end|>\"");
  CHECK(token["eos_token_id"] == json({6, 7}));
  CHECK_FALSE(token.contains("stop_strings"));
}

TEST_CASE("an export of a run keeps what only other programs heed", "[commands]") {
  const SmallRun run;
  REQUIRE(
      run({"tokenizer", "train", "a.txt", "--vocab-size", "280", "--eos", "<end>", "--out", "tok"})
          .code == 0);
  json config = read_json(run / "tok/tokenizer_config.json");
  config["pad_token"] = "<pad>";
  config["unk_token"] = "<end>";
  config["padding_side"] = "left";
  config["chat_template"] = json::array({{{"name", "default"}, {"template", "{{ messages }}"}},
                                         {{"name", "tool_use"}, {"template", "{{ tools }}"}}});
  write_file_atomic(run / "tok/tokenizer_config.json", config.dump());
  remove_tree(run / "tok/chat_template.jinja");
  const json sampling = {
      {"do_sample", true}, {"temperature", 0.6}, {"top_k", 50}, {"repetition_penalty", 1.1}};
  write_file_atomic(run / "tok/generation_config.json", sampling.dump());
  REQUIRE(run.train({"--data.tokenizer={type = \"hf\", path = \"tok\"}"}).code == 0);
  REQUIRE(run({"export", "--checkpoint", "logs/run", "--out", "x"}).code == 0);
  const json kept = read_json(run / "x/tokenizer_config.json");
  CHECK(kept["eos_token"] == "<end>");
  CHECK(kept["pad_token"] == "<pad>");
  CHECK(kept["unk_token"] == "<end>");
  CHECK(kept["padding_side"] == "left");
  CHECK(read_file(run / "x/chat_template.jinja") == "{{ messages }}");
  CHECK(read_file(run / "x/additional_chat_templates/tool_use.jinja") == "{{ tools }}");
  const json generation = read_json(run / "x/generation_config.json");
  for (const auto& [key, value] : sampling.items()) CHECK(generation[key] == value);
  CHECK(generation["eos_token_id"] == read_json(run / "x/config.json")["eos_token_id"]);
}

TEST_CASE("templates of a folder's own go into the next one", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train({"--trainer.num_train_steps=1"}).code == 0);
  REQUIRE(run({"export", "--checkpoint", "logs/run", "--out", "a"}).code == 0);
  make_directories(run / "a/additional_chat_templates");
  write_file_atomic(run / "a/additional_chat_templates/tool_use.jinja", "{{ tools }}");
  for (int again = 0; again < 2; ++again)
    REQUIRE(run({"export", "--checkpoint", "a", "--out", "b", "--overwrite"}).code == 0);
  CHECK(read_file(run / "b/additional_chat_templates/tool_use.jinja") == "{{ tools }}");
}

TEST_CASE("norms without weights are exported as ones, and what has no form is refused",
          "[commands]") {
  const SmallRun run;
  const auto train = [&](const char* key, const char* id) {
    return run.train(
        {"--model={type=\"llama\", hidden_dim=16, num_layers=1, num_heads=2, "
         "intermediate_dim=16, max_seq_len=16}",
         key, "--trainer.num_train_steps=1", cat("--trainer.id=", id)});
  };
  REQUIRE(train("--model.use_layer_norm_weight=false", "plain").code == 0);
  REQUIRE(run({"export", "--checkpoint", "logs/plain", "--out", "hf"}).code == 0);
  const safetensors::File file(run / "hf/model.safetensors");
  std::vector<float> weight(16);
  safetensors::to_f32(*file.find("model.norm.weight"), weight);
  CHECK(weight == std::vector<float>(16, 1));
  REQUIRE(train("--model.hybrid_norm=true", "hybrid").code == 0);
  const Ended ended = run({"export", "--checkpoint", "logs/hybrid", "--out", "none"});
  CHECK(ended.code == 2);
  CHECK_THAT(ended.err, Contains("model.hybrid_norm of model.type = \"llama\" has no form"));
  CHECK_FALSE(path_exists(run / "none"));
  const Ended early =
      run.train({"--model={type=\"llama\", hybrid_norm=true}", "--hf_save_path=hf"});
  CHECK(early.code == 2);
  CHECK_THAT(early.err, Contains("model.hybrid_norm") && Contains("has no form"));
}
