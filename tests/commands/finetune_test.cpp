// The configs of configs/finetune, end to end: masks, training, the exported folder, answers.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "support/source_root.h"
#include "support/program.h"
#include "support/shared_data.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

struct Finetuning {
  std::string stories = shared_data("models/stories260K"), chats = shared_data("chat"),
              texts = shared_data("text");
  SmallRun run;

  std::string config(const char* name) const {
    return cat(testing::source_root(), "/configs/finetune/", name, ".toml");
  }
  /// `levanter COMMAND` with a config of the tree and the folder and texts that are here.
  Ended with(std::vector<std::string> words, const char* name, const std::string& train) const {
    words.insert(words.end(),
                 {"--config", config(name), cat("--model.path=", stories), "--data.cache_dir=cache",
                  cat("--data.components.text.train=['", train, "']")});
    return run(words);
  }
  Ended train(const char* name, const std::string& data) const {
    const Ended ended =
        with({"train", "--hf_save_path=hf", "--data.cache_dir=", "--trainer.num_train_steps=3",
              "--trainer.train_batch_size=2", "--trainer.id=tuned"},
             name, data);
    INFO(ended.err);
    CHECK(ended.code == 0);
    return ended;
  }
};

}  // namespace

TEST_CASE("a Hugging Face folder is fine-tuned on chats with one config", "[commands]") {
  const Finetuning tuning;
  if (tuning.stories.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const std::string data = join_path(tuning.chats, "chat-200.jsonl.gz");
  const Ended shown = tuning.with({"cache", "inspect", "--documents", "5", "--json"}, "chat", data);
  for (const std::string& line : split(shown.out, '\n')) {
    if (line.empty()) continue;
    const auto weights = nlohmann::json::parse(line)["loss_weights"].get<std::vector<double>>();
    CHECK(weights.front() == 0);  // the template's head
    CHECK(std::count(weights.begin(), weights.end(), 1.0) > 0);
  }
  const Ended trained = tuning.train("chat", data);
  CHECK_THAT(trained.out + trained.err,
             Catch::Contains(cat("starting from ", absolute_path(tuning.stories))));
  const auto answer = [&](const char* checkpoint) {
    const Ended ended = tuning.run({"generate", "--checkpoint", checkpoint, "--chat", "--prompt",
                                    "Hello", "--temperature", "0", "--max-new-tokens", "20"});
    INFO(ended.err);
    CHECK(ended.code == 0);
    return ended.out;
  };
  const std::string words = answer("logs/tuned");
  CHECK_FALSE(words.empty());
  CHECK(answer("hf/tuned/step-3") == words);  // the template went along
}

TEST_CASE("a Hugging Face folder is fine-tuned on prompts and answers with one config",
          "[commands]") {
  const Finetuning tuning;
  if (tuning.stories.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const std::string data = join_path(tuning.texts, "novels-valid.jsonl.gz");
  const Ended shown =
      tuning.with({"cache", "inspect", "--documents", "1", "--json"}, "supervised", data);
  const auto weights = nlohmann::json::parse(shown.out)["loss_weights"].get<std::vector<double>>();
  const auto learned = std::find(weights.begin(), weights.end(), 1.0);
  CHECK(learned != weights.begin());
  CHECK(std::all_of(learned, weights.end(), [](double w) { return w == 1; }));
  tuning.train("supervised", data);
  CHECK(path_exists(tuning.run / "hf/tuned/step-3/tokenizer.json"));
}
