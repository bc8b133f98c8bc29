// Every broken config under tests/golden/config, with the error that it must give.
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/strings.h"
#include "support/golden.h"
#include "train/config/train_config.h"

using namespace levanter;

namespace {

/// The words of the lines "# override --key value" at the top of a config.
std::vector<std::string> overrides_of(const std::string& text) {
  static constexpr std::string_view kMark = "# override ";
  std::vector<std::string> words;
  for (const std::string& line : split(text, '\n'))
    if (line.starts_with(kMark))
      for (const std::string& word : split(std::string_view(line).substr(kMark.size()), ' '))
        words.push_back(word);
  return words;
}

/// The text of the error that loading a config throws, paths shortened to file names; "" for none.
std::string error_of(const std::string& path) {
  const std::string folder = parent_path(path) + "/";
  std::string text;
  try {
    const TrainConfig config = load_train_config(path, overrides_of(read_file(path)));
    return "";
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kConfig);
    text = error.what();
  }
  for (size_t at = text.find(folder); at != std::string::npos; at = text.find(folder, at))
    text.erase(at, folder.size());
  return text + "\n";
}

std::vector<std::string> broken_configs() {
  std::vector<std::string> names;
  for (const std::string& name : list_directory(testing::golden_path("config")))
    if (name.ends_with(".toml")) names.push_back(file_stem(name));
  return names;
}

}  // namespace

TEST_CASE("each broken config is refused with the expected text", "[config]") {
  const std::vector<std::string> names = broken_configs();
  CHECK(names.size() >= 40);
  for (const std::string& name : names) {
    const std::string path = testing::golden_path(cat("config/", name));
    const std::string error = error_of(path + ".toml");
    INFO(name);
    CHECK(error == testing::expected_text(path + ".txt", error));
    CHECK_FALSE(error.empty());
  }
}

TEST_CASE("a config with ten faults is reported with all ten and their places", "[config]") {
  const std::string error = error_of(testing::golden_path("config/ten_faults.toml"));
  size_t errors = 0, places = 0;
  for (const std::string& line : split(error, '\n')) {
    errors += line.starts_with("error: ");
    places += line.starts_with("  at       ten_faults.toml:");
  }
  CHECK(errors == 10);
  CHECK(places == 10);
  CHECK(error.find("10 faults in ten_faults.toml") != std::string::npos);
}

TEST_CASE("every error names a place, and its first word is lower-case", "[config]") {
  for (const std::string& name : broken_configs()) {
    const std::vector<std::string> lines =
        split(error_of(testing::golden_path(cat("config/", name, ".toml"))), '\n');
    INFO(name);
    for (size_t i = 0; i + 1 < lines.size(); ++i) {
      static constexpr std::string_view kPrefix = "error: ";
      if (!lines[i].starts_with(kPrefix)) continue;
      CHECK(lines[i + 1].starts_with("  at       "));
      const char first = lines[i][kPrefix.size()];
      CHECK_FALSE((first >= 'A' && first <= 'Z'));
      CHECK_FALSE(lines[i].ends_with('.'));
    }
  }
}
