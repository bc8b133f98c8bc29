// What a run says of itself.
#include "train/introduction.h"

#include <catch2/catch.hpp>

#include "base/files.h"
#include "base/strings.h"

using namespace levanter;
using Catch::Contains;
using train::typed_path;

namespace {

TrainConfig config_of(const std::string& steps, const std::string& more = "") {
  return parse_train_config(cat("[model]\nmax_seq_len = 128\n[optimizer]\nlearning_rate = 6e-4\n"
                                "warmup = 0\n",
                                more, "[trainer]\nid = \"char\"\ntrain_batch_size = 16\n",
                                "num_train_steps = ", steps, "\n"),
                            "char.toml");
}

}  // namespace

TEST_CASE("a run introduces itself in two lines", "[train]") {
  const TrainConfig config = config_of("2000");
  CHECK(train::introduction(config, {804096, 76, 3900000, 433000, 30468}) ==
        std::vector<std::string>{
            "gpt2: 804,096 parameters, a vocabulary of 76, in logs/char",
            "data: 3,900,000 tokens, 433,000 to validate with; 2,048 a step, 1,905 steps an "
            "epoch, 1.1 epochs in all"});
  CHECK_THAT(train::introduction(config, {1, 76, 3900000, 0, 8}).back(),
             Contains("data: 3,900,000 tokens; 2,048 a step, 1 step an epoch"));
}

TEST_CASE("another number of steps is said with what becomes of the learning rate", "[train]") {
  const TrainConfig saved = config_of("300"), longer = config_of("400");
  CHECK(train::schedule_change(saved, saved, 200) == "");
  CHECK(train::schedule_change(saved, longer, 300) ==
        "the learning rate of step 301 goes from 6.00e-05 to 1.39e-04, since the schedule is "
        "stretched from 300 to 400 steps");
  CHECK_THAT(train::schedule_change(longer, saved, 100), Contains("shortened from 400 to 300"));
  const std::string constant = "lr_schedule = \"constant\"\n";
  CHECK(train::schedule_change(config_of("300", constant), config_of("400", constant), 300) == "");
}

TEST_CASE("a finished run says how to have text of it, and of its best weights", "[train]") {
  const TrainConfig config = config_of("300");
  CHECK(train::farewell(config, {}) == "finished: levanter generate --checkpoint logs/char");
  CHECK(train::farewell(config, {300, 1.5}) == train::farewell(config, {}));
  CHECK(train::farewell(config, {250, 1.5}) ==
        "finished: levanter generate --checkpoint logs/char; the lowest eval/loss, 1.5000, was "
        "that of step 250: levanter generate --checkpoint logs/char/best");
}

TEST_CASE("paths are shown as one would type them", "[train]") {
  CHECK(typed_path(absolute_path("logs/a")) == "logs/a");
  CHECK(typed_path("/tmp/x-1.5") == "/tmp/x-1.5");
  CHECK(typed_path("/tmp/my räume/it's") == "'/tmp/my räume/it'\\''s'");
  CHECK(typed_path(absolute_path(".")) == absolute_path("."));
}

TEST_CASE("ranks say where they are", "[train]") {
  const std::vector<dist::Place> places = {{"b", "0-3"}, {"a", "0"}, {"a", "1"}, {"b", "0-3"}};
  CHECK(train::count_hosts(places) == 2);
  CHECK(train::describe_places(places, 2) ==
        "4 ranks, 2 threads each: a has 2 on processors 0, 1; b has 2 on processors 0-3");
}
