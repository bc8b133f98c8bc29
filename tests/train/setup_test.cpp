// From a config to what a run is made of.
#include "train/setup.h"

#include <unistd.h>

#include <catch2/catch.hpp>

#include "data/rows/loader.h"
#include "support/example_bytes.h"
#include "support/evaluate.h"
#include "support/fault.h"
#include "support/tiny_run.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("the data are those that the config names", "[train]") {
  const TinyRun run;
  const TrainConfig config = run.config("a", "num_train_steps = 1\n");
  const auto data = train::load_data(config);
  const auto bytes = static_cast<int64_t>(made_up_text(700, 5).size());
  CHECK(data->train_tokens() + data->validation_tokens() == bytes);
  CHECK(data->train_tokens() == data::training_tokens(bytes, 0.1));
  CHECK(data->validation_names() == std::vector<std::string>{"made_up"});
  CHECK(data->tokenizer()->name() == "char");
}

TEST_CASE("a text that is missing, or shorter than a window, is an error of the data", "[train]") {
  const TinyRun run;
  const TrainConfig config = run.config("a", "num_train_steps = 1\n");
  write_file_atomic(run.folder / "text.txt", "too short");
  CHECK_THAT(failure_of(ErrorKind::kData, [&] { train::load_data(config); }),
             Catch::Contains("text.txt") || Catch::Contains("made_up"));
  remove_tree(run.folder / "text.txt");
  CHECK_THAT(failure_of(ErrorKind::kData, [&] { train::load_data(config); }),
             Catch::Contains("text.txt"));
}

TEST_CASE("a run without any text to train on is refused", "[train]") {
  const TrainConfig config = load_train_config("");
  CHECK_THAT(failure_of(ErrorKind::kConfig, [&] { train::load_data(config); }),
             Catch::Contains("the config names no text to train on"));
}

TEST_CASE("the vocabulary is the config's, else the tokenizer's", "[train]") {
  const TinyRun run;
  const TrainConfig open = run.config("a", "num_train_steps = 1\n");
  const auto data = train::load_data(open);
  const int64_t characters = data->tokenizer()->vocab_size();
  CHECK(train::vocab_size(open, data->tokenizer().get()) == characters);
  CHECK_THAT(failure_of(ErrorKind::kConfig, [&] { train::vocab_size(open, nullptr); }),
             Catch::Contains("not known without the data"));
  const TrainConfig padded = run.config("b", "num_train_steps = 1\n", "vocab_size = 64\n");
  CHECK(train::vocab_size(padded, data->tokenizer().get()) == 64);
  CHECK(train::vocab_size(padded, nullptr) == 64);
  const TrainConfig small = run.config("c", "num_train_steps = 1\n", "vocab_size = 5\n");
  const std::string error =
      failure_of(ErrorKind::kConfig, [&] { train::vocab_size(small, data->tokenizer().get()); });
  CHECK_THAT(error, Catch::Contains("model.vocab_size = 5 is less than"));
  CHECK_THAT(error, Catch::Contains(cat("at least ", characters)));
  CHECK_THAT(error, Catch::Contains("c.toml:"));
}

TEST_CASE("a rank's step is what the config cuts out for it", "[train]") {
  const TinyRun run;
  const TrainConfig config =
      run.config("a", "num_train_steps = 1\ncommunicator = \"threads\"\nranks = 3\n");
  const train::StepOptions options = train::step_options(config, 31, 2);
  CHECK(options.shape.batch == 2);
  CHECK(options.shape.position == 16);
  CHECK(options.shape.vocab_size == 31);
  CHECK(options.microbatches == 6);
  CHECK(options.groups == 6);
  CHECK(options.ranks == 3);
  CHECK(options.rank == 2);
  CHECK(options.optimise);
  nn::Param weight;
  weight.path = "h.weight";
  CHECK(std::string(options.optimizer->rule_of(weight).optimizer->name) == "adam");
}

TEST_CASE("windows whose documents are not kept apart have no segments, packs always", "[train]") {
  const TinyRun run;
  const auto segments = [&](const std::vector<std::string>& overrides) {
    const TrainConfig config = run.config("a", "num_train_steps = 1\n", "", overrides);
    return train::step_options(config, 31, 0).shape.segments;
  };
  const std::string crossing = "--data.block_cross_document_attention=false";
  CHECK(segments({}) == models::Segments::kSeveral);
  CHECK(segments({crossing}) == models::Segments::kOne);
  CHECK(segments({crossing, "--data.components.made_up.pack=best_fit"}) ==
        models::Segments::kSeveral);
}

TEST_CASE("a run needs its ranks' memory, its loaders' and a save's copies", "[train]") {
  const TinyRun run;
  const auto backend = make_backend("cpu", 1);
  const TrainConfig one = run.config("a", "num_train_steps = 1\n"),
                    three = run.config(
                        "b", "num_train_steps = 1\ncommunicator = \"threads\"\nranks = 3\n");
  for (const TrainConfig* config : {&one, &three}) {
    const train::CompiledStep step(train::step_options(*config, 31, 0), *backend);
    const train::MemoryTotal total = train::memory_total(step, *config);
    const int64_t ranks = config->trainer.ranks;
    int64_t persistent = 0, save = 0;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      persistent += step.persistent_bytes_of(rank);
      save += step.save_bytes_of(rank);
    }
    CHECK(total.persistent == persistent);
    CHECK(total.arena == step.arena_bytes() * ranks);
    CHECK(total.workspace == step.workspace_bytes() * ranks);
    // Five batches of 12 / ranks rows of 16 positions.
    CHECK(total.loader == 5 * 12 * 16 * bytes_of_position());
    CHECK(total.save == save);
    CHECK(total.total() == total.persistent + total.arena + total.workspace + total.loader);
    CHECK(total.needed() == total.total() + total.save);
  }
}

TEST_CASE("the memory that may be used is some, and no more than the machine has", "[train]") {
  CHECK(train::memory_limit() > 0);
  CHECK(train::memory_limit() <=
        static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE));
}
