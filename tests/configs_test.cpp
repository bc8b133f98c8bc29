// Every config of the tree is parsed, traced and planned, without its data.
#include <catch2/catch.hpp>

#include "base/strings.h"
#include "device/backends.h"
#include "support/golden.h"
#include "train/setup.h"

using namespace levanter;

namespace {

/// A vocabulary for the configs that take the text's.
constexpr int kSomeVocab = 100;

void collect(const std::string& folder, std::vector<std::string>& files) {
  for (const std::string& name : list_directory(folder)) {
    const std::string path = join_path(folder, name);
    if (is_directory(path))
      collect(path, files);
    else
      files.push_back(path);
  }
}

TrainConfig load(const std::string& path) {
  TrainConfig config = load_train_config(path);
  if (config.model->vocab_size || config.data.tokenizer->vocab_size()) return config;
  const std::vector<std::string> overrides = {cat("--model.vocab_size=", kSomeVocab)};
  return load_train_config(path, overrides);
}

}  // namespace

TEST_CASE("every config of the tree is parsed, traced and planned without its data", "[configs]") {
  std::vector<std::string> files;
  collect(cat(LEVANTER_SOURCE_ROOT, "/configs"), files);
  REQUIRE(files.size() >= 4);
  const auto backend = device::make_backend("cpu", 1);
  for (const std::string& path : files) {
    INFO(path);
    REQUIRE(path.ends_with(".toml"));
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
  std::vector<std::string> files;
  collect(cat(LEVANTER_SOURCE_ROOT, "/configs"), files);
  for (const std::string& path : files) {
    INFO(path);
    const TrainConfig config = load(path);
    const TrainConfig again = parse_train_config(print_config(config), path);
    CHECK(print_config(again) == print_config(config));
  }
}
