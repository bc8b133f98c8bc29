// Every config of the tree is parsed, traced and planned, without its data.
#include <catch2/catch.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "device/backends.h"
#include "support/source_root.h"
#include "support/golden.h"
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

TrainConfig load(const std::string& path) {
  TrainConfig config = load_train_config(path);
  if (config.model->vocab_size || config.data.tokenizer->vocab_size()) return config;
  const std::vector<std::string> overrides = {cat("--model.vocab_size=", kSomeVocab)};
  return load_train_config(path, overrides);
}

}  // namespace

TEST_CASE("every config of the tree is parsed, traced and planned without its data", "[configs]") {
  const std::vector<std::string> files = files_of_tree(".toml");
  REQUIRE(files.size() >= 4);
  const auto backend = device::make_backend("cpu", 1);
  for (const std::string& path : files) {
    INFO(path);
    const TrainConfig config = load(path);
    const int64_t vocab = train::vocab_size(config, nullptr);
    const train::CompiledStep step(train::step_options(config, vocab, 0), *backend);
    CHECK(step.parameter_count() > 0);
    CHECK(step.arena_bytes() > 0);
    const train::MemoryTotal memory = train::memory_total(step, config);
    CHECK(memory.total() > 4 * 4 * step.parameter_count());  // parameters, moments, gradients
    CHECK(memory.save > 0);
  }
}

TEST_CASE("a config that is printed is the same config", "[configs]") {
  for (const std::string& path : files_of_tree(".toml")) {
    INFO(path);
    const TrainConfig config = load(path);
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
