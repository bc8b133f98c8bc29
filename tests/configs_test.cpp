// Every config of the tree is parsed, traced and planned, without its data.
#include <catch2/catch.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "device/backends.h"
#include "support/golden.h"
#include "support/source_root.h"
#include "support/temporary_folder.h"
#include "text/chat_template.h"
#include "train/setup.h"

using namespace levanter;

namespace {

/// A vocabulary for the configs that take the text's.
constexpr int kSomeVocab = 100;

void collect(const std::string& folder, std::string_view ending, std::vector<std::string>& files) {
  for (const std::string& name : list_directory(folder)) {
    const std::string path = join_path(folder, name);
    if (is_directory(path)) collect(path, ending, files);
    if (path.ends_with(ending)) files.push_back(path);
  }
}

/// The files below configs/ whose names end so.
std::vector<std::string> files_of_tree(std::string_view ending) {
  std::vector<std::string> files;
  collect(cat(testing::source_root(), "/configs"), ending, files);
  return files;
}

/// A folder for the configs that take one: a shape alone, as no weights are read here.
class ModelFolder final {
 public:
  ModelFolder() {
    write_file_atomic(folder_ / "config.json",
                      R"({"model_type": "llama", "vocab_size": 100, "hidden_size": 32,
                          "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
                          "num_key_value_heads": 1, "max_position_embeddings": 16,
                          "rms_norm_eps": 1e-6, "tie_word_embeddings": true})");
  }
  TrainConfig load(const std::string& path) const {
    std::vector<std::string> overrides;
    if (read_file(path).find("\"from_hf\"") != std::string::npos)
      overrides.push_back(cat("--model.path=", folder_.path()));
    TrainConfig config = load_train_config(path, overrides);
    if (config.model->vocab_size || config.data.tokenizer->vocab_size()) return config;
    overrides.push_back(cat("--model.vocab_size=", kSomeVocab));
    return load_train_config(path, overrides);
  }

 private:
  testing::TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("every config of the tree is parsed, traced and planned without its data", "[configs]") {
  const std::vector<std::string> files = files_of_tree(".toml");
  REQUIRE(files.size() >= 4);
  const ModelFolder folder;
  const auto backend = device::make_backend("cpu", 1);
  for (const std::string& path : files) {
    INFO(path);
    const TrainConfig config = folder.load(path);
    const int64_t vocab = train::vocab_size(config, nullptr);
    const train::CompiledStep step(train::step_options(config, vocab, 0), *backend);
    CHECK(step.parameter_count() > 0);
    CHECK(step.arena_bytes() > 0);
    const train::MemoryTotal memory = train::memory_total(step, config);
    int64_t trained = 0;  // which have two moments and gradients besides
    for (const nn::Param& param : step.params) trained += param.trainable * param.type.elements();
    CHECK(memory.total() > 4 * (step.parameter_count() + 3 * trained));
    CHECK(memory.save > 0);
  }
}

TEST_CASE("a config that is printed is the same config", "[configs]") {
  const ModelFolder folder;
  for (const std::string& path : files_of_tree(".toml")) {
    INFO(path);
    const TrainConfig config = folder.load(path);
    const TrainConfig again = parse_train_config(print_config(config), path);
    CHECK(print_config(again) == print_config(config));
  }
}

TEST_CASE("every chat template of the tree is read and tells the assistant's words", "[configs]") {
  const std::vector<std::string> files = files_of_tree(".jinja");
  REQUIRE(!files.empty());
  for (const std::string& path : files) {
    INFO(path);
    CHECK(text::ChatTemplate(read_file(path), path).has_generation());
  }
}

TEST_CASE("no config of the tree names a file outside of it", "[configs]") {
  const auto collect_files = [](const std::string& path) {
    std::vector<std::string> found;
    const ModelFolder folder;
    const TrainConfig config = folder.load(path);
    for (const auto& [name, component] : config.data.components)
      for (const auto* files : {&component.train, &component.validation})
        for (const config::Path& file : *files) found.push_back(file.resolved);
    return found;
  };
  const std::string inside = cat(absolute_path(testing::source_root()), "/");
  size_t texts = 0;
  for (const std::string& path : files_of_tree(".toml")) {
    INFO(path);
    for (const std::string& file : collect_files(path)) {
      CHECK(file.starts_with(inside));
      ++texts;
    }
    CHECK(read_file(path).find("../../../") == std::string::npos);
  }
  CHECK(texts >= 20);
}
