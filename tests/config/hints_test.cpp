// What a config is told to write instead of a key that is not ours can be written.
#include <catch2/catch.hpp>

#include <cctype>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/strings.h"
#include "config/describe.h"
#include "support/fault.h"
#include "train/config/train_config.h"

using namespace levanter;
using levanter::testing::failure_of;

namespace {

using See = std::function<void(const std::string& owner, const config::DroppedKey& dropped)>;

void see_fields(const config::Fields& fields, const std::string& owner, const See& see);

/// Calls `see` for each key that is refused with a hint in a type and the types below it.
void walk(const config::Type& type, void* object, const std::string& owner, const See& see) {
  if (type.kind == config::Kind::kStruct) {
    config::Fields fields;
    type.fields(object, fields);
    see_fields(fields, owner, see);
  } else if (type.kind == config::Kind::kChoice) {
    for (const config::ChoiceEntry& entry : type.choices()) {
      const auto chosen = entry.make();
      config::Fields fields;
      chosen->fields(fields);
      see_fields(fields, cat(owner, "<", entry.name, ">"), see);
    }
  } else if (type.element) {
    const auto element = type.element().make();
    walk(type.element(), element.get(), owner, see);
  }
}

void see_fields(const config::Fields& fields, const std::string& owner, const See& see) {
  for (const config::DroppedKey& dropped : fields.dropped_keys()) see(owner, dropped);
  for (const config::Field& field : fields.list())
    walk(*field.type, field.value, owner.empty() ? field.key : cat(owner, ".", field.key), see);
}

void for_each_hint(const See& see) {
  TrainConfig config;
  walk(config::type_of<TrainConfig>(), &config, "", see);
}

/// The words of a hint that look like keys: with a dot or an underscore inside.
std::vector<std::string> keys_in(const std::string& hint) {
  std::vector<std::string> keys;
  std::string word;
  for (const char c : hint + " ") {
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.') {
      word += c;
      continue;
    }
    while (word.ends_with('.')) word.pop_back();
    if (word.find_first_of("._") != std::string::npos && std::isalpha(word[0]) && c != '(')
      keys.push_back(word);
    word.clear();
  }
  return keys;
}

}  // namespace

TEST_CASE("every key that a hint names exists", "[config]") {
  std::set<std::string> known, parts;
  for (const config::Described& d : config::describe(config::type_of<TrainConfig>())) {
    known.insert(d.key);
    for (const std::string& part : split(d.key, '.')) parts.insert(part);
    for (const auto& choice : d.choices) parts.insert(choice.name);
    for (const std::string& word : split(d.allowed, ',')) parts.emplace(trim(word));
  }
  parts.insert({"from_hf", "file.txt", "config.json", "tokenizer.json", "data.components.NAME",
                "model.type"});
  int seen = 0;
  for_each_hint([&](const std::string& owner, const config::DroppedKey& dropped) {
    ++seen;
    INFO(owner << ": " << dropped.key << ": " << dropped.hint);
    CHECK(std::string(dropped.hint).size() >= 10);
    CHECK_FALSE(std::string(dropped.hint).ends_with('.'));
    for (const std::string& key : keys_in(dropped.hint)) {
      INFO(key);
      CHECK((known.contains(key) || parts.contains(key)));
    }
  });
  CHECK(seen > 150);
}

TEST_CASE("no key is both ours and refused, and none is refused twice", "[config]") {
  std::set<std::string> known;
  for (const config::Described& d : config::describe(config::type_of<TrainConfig>()))
    if (!d.key.starts_with("adapter."))  // whose dropout is not that of other programs' models
      known.insert(d.key.substr(d.key.rfind('.') + 1));
  std::set<std::string> refused;
  for_each_hint([&](const std::string& owner, const config::DroppedKey& dropped) {
    INFO(owner << ": " << dropped.key);
    if (dropped.anywhere) CHECK_FALSE(known.contains(dropped.key));
    CHECK(refused.insert(cat(owner, ":", dropped.anywhere, ":", dropped.key)).second);
  });
}

TEST_CASE("a hint never says that a meaning is kept which is not", "[config]") {
  const auto hint = [](const std::string& text) {
    return failure_of(ErrorKind::kConfig, [&] { parse_train_config(text, "run.toml"); });
  };
  const auto contains = [](const std::string& text, const std::string& part) {
    INFO(text);
    CHECK(text.find(part) != std::string::npos);
  };
  contains(hint("[model]\ntype = \"llama\"\ninput_embedding_norm = true\n"),
           "no model here has it");
  contains(hint("[model]\ntype = \"olmo2\"\nhybrid_norm = true\n"), "always norms");
  contains(hint("[data]\nchat_template = \"x\"\n"), "[data.components.NAME]");
  contains(hint("data_seed = 3\n"), "no seed of its own");
}

TEST_CASE("names of Hugging Face and nanoGPT are explained wherever they stand", "[config]") {
  const auto hint = [](const std::string& text) {
    return failure_of(ErrorKind::kConfig, [&] { parse_train_config(text, "run.toml"); });
  };
  const auto explains = [&](const std::string& text, const std::string& key) {
    const std::string said = hint(text);
    INFO(said);
    CHECK(said.find(cat("write ", key)) != std::string::npos);
  };
  for (const char* table : {"", "[model]\n", "[trainer]\n", "[optimizer]\n", "[data]\n"}) {
    explains(cat(table, "hidden_size = 64\n"), "model.hidden_dim");
    explains(cat(table, "num_hidden_layers = 2\n"), "model.num_layers");
    explains(cat(table, "warmup_ratio = 0.1\n"), "optimizer.warmup");
    explains(cat(table, "lr_scheduler_type = \"cosine\"\n"), "optimizer.lr_schedule");
    explains(cat(table, "gradient_accumulation_steps = 4\n"), "trainer.microbatch_size");
    explains(cat(table, "bf16 = true\n"), "trainer.mp = \"p=f32,c=bf16\"");
    explains(cat(table, "save_steps = 5\n"), "trainer.checkpointer.keep");
    explains(cat(table, "n_layer = 6\n"), "model.num_layers");
    explains(cat(table, "block_size = 256\n"), "model.max_seq_len");
    explains(cat(table, "max_iters = 5000\n"), "trainer.num_train_steps");
    explains(cat(table, "eval_interval = 250\n"), "trainer.steps_per_eval");
    explains(cat(table, "lr_decay_iters = 5000\n"), "optimizer.decay");
  }
  explains("batch_size = 12\n", "trainer.train_batch_size");
  explains("[optimizer]\nlr_schedule = \"wsd\"\n", "\"linear\" with optimizer.warmup");
  explains("[data]\ntokenizer = \"/models/llama\"\n",
           "{ type = \"hf\", path = \"/models/llama\" }");
  explains("[data]\ntokenizer = \"gpt2\"\n", "{ type = \"hf\", path = \"DIR\" }");
}

TEST_CASE("paths of other machines are refused by name", "[config]") {
  const auto refused = [](const std::string& text, const std::string& part) {
    const std::string said =
        failure_of(ErrorKind::kConfig, [&] { parse_train_config(text, "run.toml"); });
    INFO(said);
    CHECK(said.find("is not on this machine") != std::string::npos);
    CHECK(said.find(part) != std::string::npos);
  };
  refused("[data.components.a]\ntrain = \"s3://b/a.jsonl\"\n", "aws s3 cp s3://b/a.jsonl");
  refused("[data.components.a]\ntrain = [\"gs://b/a.jsonl\"]\n", "gcloud storage cp");
  refused("model = { type = \"from_hf\", path = \"hf://gpt2\" }\n", "hf download");
  refused("[data]\ntokenizer = { type = \"hf\", path = \"https://x/t.json\" }\n", "curl");
  refused("[trainer]\nlog_dir = \"s3://b/logs\"\n", "aws s3 cp");
  refused("[trainer]\nlog_dir = \"abfs://b/logs\"\n", "abfs:// is not read");
}
