// A device whose memory the host cannot reach gives the cpu's bits in all that is done with a
// model.
#include <catch2/catch.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "checkpoint/folder.h"
#include "infer/generation.h"
#include "infer/small_model.h"
#include "support/distant_backend.h"
#include "support/fault.h"
#include "support/program.h"
#include "support/tiny_run.h"
#include "train/run.h"

using namespace levanter;
using namespace levanter::testing;
using train::Outcome;

namespace {

constexpr const char* kSteps = "num_train_steps = 12\n";
constexpr const char* kDropout = "embed_pdrop = 0.1\nattn_pdrop = 0.2\nresid_pdrop = 0.3\n";

std::string params_hash(const TinyRun& run, const std::string& id) {
  return nlohmann::json::parse(
      read_file(run.folder / cat("runs/", id, "/summary.json")))["params_hash"];
}

std::string trained(const TrainConfig& config, const TinyRun& run) {
  REQUIRE(train::train(config, {}) == Outcome::kFinished);
  return params_hash(run, config.run_id());
}

std::string trained_far_away(const TrainConfig& config, const TinyRun& run) {
  REQUIRE(train::train(config, {.make_backend = DistantBackend::make}) == Outcome::kFinished);
  return params_hash(run, config.run_id());
}

}  // namespace

TEST_CASE("the host cannot touch a distant device's memory, but by its calls", "[device]") {
  const DistantBackend backend(1);
  const auto buffer = backend.allocate(100);
  const std::byte value{42};
  std::byte back[2];
  backend.upload(buffer->data(), {&value, 1});
  backend.copy(buffer->data() + 1, buffer->data(), 1);
  backend.download(back, buffer->data());
  CHECK(back[0] == value);
  CHECK(back[1] == value);
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGSEGV, SIG_DFL);
    ::_exit(static_cast<int>(*buffer->data()));
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFSIGNALED(status) || WEXITSTATUS(status) != 42));  // a sanitizer ends it by its own code
}

TEST_CASE("a run on a distant device has the cpu's bits, evaluations and files", "[device]") {
  const TinyRun run;
  const std::string files = cat(kSteps, "checkpointer = { keep = [{ every = 6 }] }\n");
  const std::vector<std::string> hf = {cat("--hf_save_path=", run.folder / "hf")};
  const std::string here = trained(run.config("here", files, kDropout), run);
  CHECK(trained_far_away(run.config("far", files, kDropout), run) == here);
  for (const char* file : {"model.safetensors", "optimizer.safetensors"})
    CHECK(read_file(run.folder / cat("runs/far/checkpoints/step-6/", file)) ==
          read_file(run.folder / cat("runs/here/checkpoints/step-6/", file)));
  for (const int ranks : {2, 3})
    CHECK(trained_far_away(
              run.config(cat("ranks-", ranks),
                         cat(files, "communicator = \"threads\"\nranks = ", ranks, "\n"), kDropout),
              run) == here);
  const auto loss = [&](const char* id) {
    return nlohmann::json::parse(
        read_file(run.folder / cat("runs/", id, "/summary.json")))["eval/loss"];
  };
  CHECK(loss("far") == loss("here"));
}

TEST_CASE("a run on a distant device goes on from the cpu's checkpoint, and the other way round",
          "[device]") {
  const TinyRun run;
  const auto config = [&](const char* id, int steps) {  // whose rates do not depend on its length
    return run.config(id, cat("num_train_steps = ", steps, "\n"), "",
                      {"--optimizer.lr_schedule=constant"});
  };
  const std::string straight = trained(config("straight", 12), run);
  trained(config("there", 7), run);
  CHECK(trained_far_away(config("there", 12), run) == straight);
  trained_far_away(config("back", 7), run);
  CHECK(trained(config("back", 12), run) == straight);
}

TEST_CASE("a run on a distant device that is killed goes on", "[device]") {
  const TinyRun run;
  const std::string keys = "num_train_steps = 60\ncheckpointer = { keep = [{ every = 5 }] }\n";
  const std::string straight = trained(run.config("straight", keys), run);
  const TrainConfig config = run.config("killed", keys);
  const pid_t child = ::fork();
  if (child == 0) {
    train::train(config, {.make_backend = DistantBackend::make});
    ::_exit(0);
  }
  const std::string checkpoints = run.folder / "runs/killed/checkpoints";
  for (int i = 0; i < 3000 && (!path_exists(checkpoints) || list_checkpoints(checkpoints).empty());
       ++i)
    ::usleep(10'000);
  ::kill(child, SIGKILL);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(trained_far_away(config, run) == straight);
}

TEST_CASE("a distant device scores and continues texts with the cpu's bits", "[device]") {
  const Gpt2Config config = small_config();
  const infer::ModelSpec spec{models::entry("gpt2"), config};
  const auto cpu = device::make_backend("cpu", 2);
  const DistantBackend distant(2);
  infer::InferenceModel here(spec, kSmallVocab, 2, *cpu), far(spec, kSmallVocab, 2, distant);
  draw_parameters(here);
  draw_parameters(far);
  const auto same = [](std::span<const float> a, std::span<const float> b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  };
  data::Example rows(16);
  for (int32_t i = 0; i < 16; ++i) {
    const auto at = static_cast<size_t>(i);
    rows.tokens[at] = i * 7 % kSmallVocab;
    rows.targets[at] = i * 3 % kSmallVocab;
    rows.segment_ids[at] = 0;
    rows.positions[at] = i % 8;
  }
  CHECK(same(here.token_losses({rows}), far.token_losses({rows})));
  const std::span<const int32_t> text(rows.tokens.data(), 5);
  CHECK(same(here.next_logits(text), far.next_logits(text)));
  for (infer::InferenceModel* model : {&here, &far}) model->begin_decoding(2, 8);
  for (const int64_t row : {0, 1})
    CHECK(same(here.decode_text(row, text), far.decode_text(row, text)));
  const int32_t next[] = {3, 4};
  CHECK(same(here.decode_next(next), far.decode_next(next)));
}

TEST_CASE("what a distant run exports is what the cpu's run does", "[device]") {
  const TinyRun run;
  const auto folder = [&](const char* id) {
    return cat("hf_save_path = ", quote(run.folder / "hf"), "\nhf_save_steps = 6\n",
               read_file(run.config_file(id, kSteps)));
  };
  for (const char* id : {"here", "far"}) {
    const std::string text = folder(id);
    write_file_atomic(run.folder / cat(id, ".toml"), text);
    const TrainConfig config = load_train_config(run.folder / cat(id, ".toml"));
    const bool is_far = id == std::string_view("far");
    CHECK(train::train(config,
                       {.make_backend = is_far ? DistantBackend::make : device::make_backend}) ==
          Outcome::kFinished);
  }
  CHECK(read_file(run.folder / "hf/far/step-6/model.safetensors") ==
        read_file(run.folder / "hf/here/step-6/model.safetensors"));
}

TEST_CASE("debug mode is refused where the host cannot read the device's memory", "[device]") {
  const TinyRun run;
  const TrainConfig config = run.config("debug", cat(kSteps, "debug = true\n"));
  CHECK_THAT(failure_of(ErrorKind::kConfig,
                        [&] { train::train(config, {.make_backend = DistantBackend::make}); }),
             Catch::Contains("trainer.debug"));
}
