// `levanter config check | print | describe` and the page that is made of them.
#include "commands/config_text.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "support/source_root.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

using namespace levanter;
using testing::TemporaryFolder;

TEST_CASE("docs/config.md is what the program says of its keys", "[commands]") {
  const std::string page = commands::config_page();
  const bool same =
      page == testing::expected_text(cat(testing::source_root(), "/docs/config.md"), page);
  INFO("run the test with LEVANTER_UPDATE_GOLDEN=1 to write the page anew");
  CHECK(same);
}

TEST_CASE("config check says what a config describes", "[commands]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "run.toml",
                    "[model]\nmax_seq_len = 64\n[trainer]\ntrain_batch_size = 12\n");
  const std::vector<std::string> overrides = {"--trainer.num_train_steps=2000"};
  CHECK(commands::config_check(folder / "run.toml", overrides) ==
        cat(folder / "run.toml",
            ": gpt2, 2,000 steps of 12 sequences of 64 tokens, in microbatches of 12\n"));
}

TEST_CASE("what config print shows is a config that prints the same", "[commands]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "run.toml",
                    "[data.components.letters]\ntrain = \"a.txt\"\n[optimizer]\nwarmup = 100\n");
  const std::string printed = commands::config_print(folder / "run.toml", {});
  make_directories(folder / "elsewhere");
  write_file_atomic(folder / "elsewhere/copy.toml", printed);
  CHECK(commands::config_print(folder / "elsewhere/copy.toml", {}) == printed);
  CHECK(printed.find(cat("train = [\"", folder / "a.txt", "\"]")) != std::string::npos);
}

TEST_CASE("config describe explains a key and names the nearest of an unknown one", "[commands]") {
  CHECK(commands::config_describe("optimizer.warmup").find("default 0.01") != std::string::npos);
  CHECK(commands::config_describe("optimizer.type") == commands::config_describe("optimizer"));
  CHECK(commands::config_describe("").find("trainer.seed\n") != std::string::npos);
  for (const auto& [wrong, right] :
       {std::pair("trainer.sed", "trainer.seed"), std::pair("warm_up", "optimizer.warmup")}) {
    try {
      commands::config_describe(wrong);
      FAIL("an unknown key was described");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kConfig);
      CHECK(std::string(error.what()).find(cat("the nearest key is ", right)) != std::string::npos);
    }
  }
}
