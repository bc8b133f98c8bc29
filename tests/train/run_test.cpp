// Whole runs: the same bits however they are shared out, stopped, killed and resumed.
#include "train/run.h"

#include <catch2/catch.hpp>
#include <signal.h>
#include <time.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/random.h"
#include "support/fault.h"
#include "support/forwarding_backend.h"
#include "support/program.h"
#include "support/tiny_run.h"
#include "text/tokenizer.h"
#include "checkpoint/folder.h"
#include "checkpoint/load.h"
#include "train/run_folder.h"

using namespace levanter;
using namespace levanter::testing;
using nlohmann::json;
using train::Outcome;

namespace {

/// Fewer than the steps after which a run measures the machine.
constexpr const char* kShort = "num_train_steps = 18\n";
constexpr const char* kDropout = "embed_pdrop = 0.1\nattn_pdrop = 0.2\nresid_pdrop = 0.3\n";

json summary_of(const TinyRun& run, const std::string& id) {
  return json::parse(read_file(run.folder / cat("runs/", id, "/summary.json")));
}

/// The lines of metrics.jsonl without what depends on the clock.
std::vector<json> metrics_of(const TinyRun& run, const std::string& id) {
  std::vector<json> lines;
  for (const std::string& line :
       split(read_file(run.folder / cat("runs/", id, "/metrics.jsonl")), '\n')) {
    if (line.empty()) continue;
    json object = json::parse(line);
    for (const char* name :
         {"time", "throughput/duration", "throughput/examples_per_second",
          "throughput/tokens_per_second", "throughput/gflops_per_second", "throughput/loading_time",
          "throughput/hook_time", "throughput/mfu", "throughput/slowest_rank",
          "throughput/straggler_share", "eval/total_time"})
      object.erase(name);
    lines.push_back(std::move(object));
  }
  return lines;
}

/// What a run that is trained here ends with.
std::string trained(const TrainConfig& config, const TinyRun& run) {
  REQUIRE(train::train(config, {}) == Outcome::kFinished);
  return summary_of(run, config.run_id())["params_hash"];
}

/// The seconds that the steps of a run took, without its longest pause.
double steps_time(const TinyRun& run, const std::string& id) {
  double total = 0, longest = 0;
  for (const std::string& line :
       split(read_file(run.folder / cat("runs/", id, "/metrics.jsonl")), '\n')) {
    if (line.empty()) continue;
    const json object = json::parse(line);
    const double pause = object["throughput/hook_time"];
    total += object["throughput/duration"].get<double>() + pause;
    longest = std::max(longest, pause);
  }
  return total - longest;
}

/// The program on a config of this folder, with a cache of its own.
Program start(const TinyRun& run, const std::string& file) {
  Surroundings surroundings;
  surroundings.environment = {cat("XDG_CACHE_HOME=", run.folder / "cache")};
  return Program({"train", "--config", file}, surroundings);
}

void sleep_seconds(double seconds) {
  const auto nanoseconds = static_cast<int64_t>(seconds * 1e9);
  const timespec pause{nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
  ::nanosleep(&pause, nullptr);
}

/// A run of so many steps that saves all the time, on two threads.
std::string saving_run(int64_t steps) {
  return cat("num_train_steps = ", steps, "\nthreads = 2\n",
             "checkpointer = { save_interval = \"50ms\", keep = [{ every = 7 }] }\n");
}

/// Kills a run at `kills` random moments, lets it finish, and compares it with one never killed.
void kill_and_compare(int kills, int64_t steps) {
  const TinyRun run;
  const std::string straight = run.config_file("straight", saving_run(steps), kDropout),
                    killed = run.config_file("killed", saving_run(steps), kDropout);
  REQUIRE(start(run, straight).wait().code == 0);
  // Shorter than an even share of the run, so that it is not done before the last kill.
  const double longest = steps_time(run, "straight") * 1.2 / kills;
  int hits = 0;
  for (int i = 0; i < kills; ++i) {
    Program process = start(run, killed);
    sleep_seconds(0.03 + longest * uniform(key_from_seed(11), static_cast<uint64_t>(i), 0, 1));
    process.signal(SIGKILL);
    const Ended ended = process.wait();
    INFO(ended.err);
    REQUIRE((ended.code == 0 || ended.code == 128 + SIGKILL));
    hits += ended.code == 0 ? 0 : 1;
  }
  CHECK(hits >= kills / 2);
  const Ended last = start(run, killed).wait();
  INFO(last.err);
  REQUIRE(last.code == 0);
  CHECK(summary_of(run, "killed")["params_hash"] == summary_of(run, "straight")["params_hash"]);
  CHECK(metrics_of(run, "killed") == metrics_of(run, "straight"));
  CHECK(list_directory(run.folder / "runs/killed/checkpoints") ==
        list_directory(run.folder / "runs/straight/checkpoints"));
  CHECK(verify_checkpoint(run.folder / "runs/killed").ok);
}

}  // namespace

TEST_CASE("the loss of a GPT-2 falls on generated text", "[train]") {
  const TinyRun run;
  const TrainConfig config = run.config("a", kShort);
  trained(config, run);
  const std::vector<json> lines = metrics_of(run, "a");
  REQUIRE(lines.size() == 18);
  const double first = lines.front()["train/loss"], last = lines.back()["train/loss"];
  const auto data = text::find_tokenizer("char").make(
      {}, std::vector<text::NamedText>{{made_up_text(700, 5), "text"}});
  CHECK(std::abs(first - std::log(static_cast<double>(data->vocab_size()))) < 0.3);
  CHECK(last < 0.85 * first);
  CHECK(lines.back()["eval/loss"] < lines[9]["eval/loss"]);
}

TEST_CASE("threads, ranks and rematerialisation leave the run's bits", "[train]") {
  const TinyRun run;
  for (const char* dropout : {"", kDropout}) {
    const std::string name = *dropout ? "dropout" : "plain";
    const std::string expected =
        trained(run.config(name + "1", cat(kShort, "threads = 1\n"), dropout), run);
    const std::vector<json> lines = metrics_of(run, name + "1");
    const auto same = [&](const std::string& id, const std::string& keys) {
      CHECK(trained(run.config(id, cat(kShort, keys), dropout), run) == expected);
      CHECK(metrics_of(run, id) == lines);
    };
    for (const int threads : {2, 5})
      same(cat(name, "-threads-", threads), cat("threads = ", threads, "\n"));
    for (const int ranks : {1, 2, 3})
      same(cat(name, "-ranks-", ranks), cat("communicator = \"threads\"\nranks = ", ranks, "\n"));
    for (const char* policy : {"none", "full", "save(qkv, mlp_act)", "nested(2)"})
      CHECK(trained(run.config(cat(name, "-", policy), kShort,
                               cat(dropout, "gradient_checkpointing = \"", policy, "\"\n")),
                    run) == expected);
  }
}

TEST_CASE("uneven groups give the same bits on any number of ranks", "[train]") {
  const TinyRun run;
  const std::vector<std::string> cut = {"--trainer.microbatch_size=1",
                                        "--trainer.gradient_groups=5"};
  const std::string one = trained(run.config("one", kShort, kDropout, cut), run);
  for (const int ranks : {2, 3, 5})
    CHECK(trained(run.config(cat("ranks-", ranks),
                             cat(kShort, "communicator = \"threads\"\nranks = ", ranks, "\n"),
                             kDropout, cut),
                  run) == one);
}

TEST_CASE("node by node on the reference backend is the reference backend's run", "[train]") {
  const TinyRun run;
  const std::string steps = "num_train_steps = 3\n";
  const std::string compiled =
      trained(run.config("compiled", cat(steps, "device = \"reference\"\n"), kDropout), run);
  const TrainConfig eager = run.config("eager", steps, kDropout);
  CHECK(train::train(eager, {.eager = true}) == Outcome::kFinished);
  CHECK(summary_of(run, "eager")["params_hash"] == compiled);
}

TEST_CASE("a finished run is left alone", "[train]") {
  const TinyRun run;
  const TrainConfig config = run.config("a", kShort);
  trained(config, run);
  const std::string before = snapshot(run.folder / "runs");
  CHECK(train::train(config, {}) == Outcome::kAlreadyFinished);
  CHECK(snapshot(run.folder / "runs") == before);
}

TEST_CASE("a finished run loses the temporary checkpoint that a kill has left beside its last",
          "[train]") {
  const TinyRun run;
  const TrainConfig config = run.config("a", kShort);
  trained(config, run);
  const std::string before = snapshot(run.folder / "runs");
  const std::string checkpoints = run.folder / "runs/a/checkpoints";
  const std::string last = step_folder(checkpoints, config.trainer.num_train_steps);
  for (const char* left : {"step-3", "step-5"})
    std::filesystem::copy(last, join_path(checkpoints, left));
  const std::string manifest = join_path(checkpoints, "step-3/manifest.json");
  std::string text = read_file(manifest);
  text.resize(text.rfind(",\n\"xxh3\""));
  text.replace(text.find("permanent"), 9, "temporary");
  write_file_atomic(manifest, text + "}");
  remove_tree(join_path(checkpoints, "step-5/manifest.json"));
  CHECK(train::train(config, {}) == Outcome::kAlreadyFinished);
  CHECK(snapshot(run.folder / "runs") == before);
}

TEST_CASE("a finished run gets back the end of its record and the page that a kill has cost",
          "[train]") {
  const TinyRun run;
  const TrainConfig config = run.config("a", kShort);
  trained(config, run);
  const std::string record = run.folder / "runs/a/run.json",
                    page = run.folder / "runs/a/report.html";
  std::string text = read_file(record);
  const std::string_view word = "\"outcome\": \"finished\"";
  text.replace(text.rfind(word), word.size(), "\"outcome\": \"running\"");
  write_file_atomic(record, text);
  remove_tree(page);
  write_file_atomic(page + ".levanter.tmp-1-2", "<htm");
  CHECK(train::train(config, {}) == Outcome::kAlreadyFinished);
  CHECK(nlohmann::json::parse(read_file(record))["starts"].back()["outcome"] == "finished");
  CHECK_THAT(read_file(page), Catch::EndsWith("</html>\n"));
  CHECK(!path_exists(page + ".levanter.tmp-1-2"));
}

TEST_CASE("a run begun with a checkpoint of another ends with the other's bits", "[train]") {
  const TinyRun run;
  const TrainConfig first =
      run.config("first", cat(kShort, "checkpointer = { keep = [{ every = 7 }] }\n"), kDropout);
  const std::string expected = trained(first, run);
  const std::string path = run.folder / "runs/first/checkpoints/step-7";
  const auto from = [&](const std::string& id, const std::string& what) {
    return run.config(id, kShort, kDropout,
                      {"--start_from.kind=checkpoint", cat("--start_from.path=", path),
                       cat("--start_from.what=", what)});
  };
  CHECK(trained(from("all", "all"), run) == expected);
  CHECK(metrics_of(run, "all").front()["global_step"] == 8);
  CHECK(trained(from("model", "model"), run) != expected);
  CHECK(metrics_of(run, "model").front()["global_step"] == 1);
}

TEST_CASE("a run that does not fit its checkpoint is refused with the differences", "[train]") {
  const TinyRun run;
  trained(run.config("a", kShort), run);
  const TrainConfig longer = run.config("a", "num_train_steps = 19\nseed = 4\n");
  const std::string error = failure_of(ErrorKind::kConfig, [&] { train::train(longer, {}); });
  CHECK_THAT(error, Catch::Contains("trainer.seed was 0 and is 4"));
  CHECK_THAT(error, !Catch::Contains("num_train_steps"));
}

TEST_CASE("a step whose loss is not finite ends the run, the state as it was", "[train]") {
  const TinyRun run;
  const std::vector<std::string> explode = {"--optimizer.learning_rate=1e30",
                                            "--optimizer.warmup=0"};
  const TrainConfig config =
      run.config("a", cat(kShort, "checkpointer = { keep = [{ every = 1 }] }\n"), "", explode);
  const std::string error = failure_of(ErrorKind::kGuard, [&] { train::train(config, {}); });
  CHECK_THAT(error, Catch::Contains("the step was not taken"));
  CHECK_THAT(error, Catch::Contains("--eager"));

  // Skipping instead: the same state to the end, and the metrics say so.
  const TrainConfig skipping = run.config(
      "b", cat(kShort, "crash_on_nan = false\ncheckpointer = { keep = [{ every = 1 }] }\n"), "",
      explode);
  const std::string last = trained(skipping, run);
  const std::vector<json> lines = metrics_of(run, "b");
  REQUIRE(lines.size() == 18);
  CHECK(lines.front()["optim/skipped_step"] == 0);
  size_t skipped = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i]["optim/skipped_step"] == 0) continue;
    ++skipped;
    const auto hash = [&](size_t step) {
      return verify_checkpoint(run.folder / cat("runs/b/checkpoints/step-", step)).params_hash;
    };
    CHECK(hash(i + 1) == hash(i));
  }
  CHECK(skipped > 0);
}

TEST_CASE("an eager run names the op, the module and the line of the first NaN", "[train]") {
  const TinyRun run;
  const TrainConfig config =
      run.config("a", kShort, "", {"--optimizer.learning_rate=1e30", "--optimizer.warmup=0"});
  const std::string error =
      failure_of(ErrorKind::kGuard, [&] { train::train(config, {.eager = true}); });
  CHECK_THAT(error, Catch::Contains("the first NaN comes from"));
  CHECK_THAT(error, Catch::Contains("in the forward pass"));
  CHECK_THAT(error, Catch::Contains("transformer.") || Catch::Contains("h.0"));
  CHECK_THAT(error, Catch::Contains(".cpp:"));
}

TEST_CASE("two processes may not train one run", "[train]") {
  const TinyRun run;
  const TrainConfig config = run.config("a", kShort);
  const RunFolder holder(config.run_folder());
  CHECK_THAT(failure_of(ErrorKind::kIo, [&] { train::train(config, {}); }),
             Catch::Contains("two processes may not train one run"));
}

TEST_CASE("stopped by a signal and resumed, a run ends with the bits of one never stopped",
          "[train]") {
  const TinyRun run;
  const int64_t steps = 600;
  const std::string plain = cat("num_train_steps = ", steps, "\nthreads = 2\n");
  const std::string straight = run.config_file("straight", plain, kDropout),
                    stopped = run.config_file("stopped", plain, kDropout);
  REQUIRE(start(run, straight).wait().code == 0);
  const std::string metrics = run.folder / "runs/stopped/metrics.jsonl";
  int stops = 0;
  Ended ended;
  for (int i = 0; i < 3; ++i) {
    const int64_t before = path_exists(metrics) ? file_size(metrics) : 0;
    Program process = start(run, stopped);
    REQUIRE(wait_for_growth(metrics, before));  // it trains
    process.signal(SIGTERM);
    ended = process.wait();
    if (ended.code != 75) break;  // it was done
    ++stops;
    CHECK(find_latest(run.folder / "runs/stopped/checkpoints").checkpoint->step() < steps);
  }
  INFO(ended.err);
  CHECK(stops > 0);
  REQUIRE(start(run, stopped).wait().code == 0);
  CHECK(summary_of(run, "stopped")["params_hash"] == summary_of(run, "straight")["params_hash"]);
  CHECK(metrics_of(run, "stopped") == metrics_of(run, "straight"));
}

TEST_CASE("a stop in an evaluation ends it, and the next start makes up for it", "[train]") {
  const TinyRun run;
  // One evaluation in the middle that takes far longer than the steps before it.
  write_file_atomic(run.folder / "text.txt", made_up_text(40'000, 5));
  const std::vector<std::string> long_evaluation = {
      "--data.components.made_up.validation_fraction=0.9", "--trainer.max_eval_batches=400",
      "--trainer.checkpointer.keep=[{every = 10}]"};
  const auto file = [&](const std::string& id) {
    const std::string path = run.folder / cat(id, ".toml");
    write_file_atomic(
        path, print_config(run.config(id, "num_train_steps = 14\n", kDropout, long_evaluation)));
    return path;
  };
  REQUIRE(start(run, file("straight")).wait().code == 0);
  const std::string stopped = file("stopped");
  Program process = start(run, stopped);
  REQUIRE(wait_for_growth(run.folder / "runs/stopped/metrics.jsonl", 0));
  sleep_seconds(0.05);  // the steps up to the evaluation take less
  process.signal(SIGTERM);
  REQUIRE(process.wait().code == 75);
  CHECK(find_latest(run.folder / "runs/stopped/checkpoints").checkpoint->step() <= 10);
  REQUIRE(start(run, stopped).wait().code == 0);
  CHECK(metrics_of(run, "stopped") == metrics_of(run, "straight"));
  CHECK(summary_of(run, "stopped")["params_hash"] == summary_of(run, "straight")["params_hash"]);
  const auto known_at_10 = [&](const char* id) {
    return read_checkpoint(run.folder / cat("runs/", id, "/checkpoints/step-10"))
        .manifest()
        .extra_json;
  };
  CHECK(known_at_10("stopped") == known_at_10("straight"));
}

TEST_CASE("whichever signal asks and whenever it comes, a run stops with 75", "[train]") {
  const TinyRun run;
  const int64_t steps = 400;
  const std::string plain = cat("num_train_steps = ", steps, "\nthreads = 1\n");
  const std::string straight = run.config_file("straight", plain),
                    stopped = run.config_file("stopped", plain);
  REQUIRE(start(run, straight).wait().code == 0);
  const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU};
  int stops = 0;
  for (int i = 0; i < 18; ++i) {
    Program process = start(run, stopped);
    // From the first moments of the process to the middle of its steps; saves go on in between.
    sleep_seconds(0.002 + 0.06 * uniform(key_from_seed(12), static_cast<uint64_t>(i), 0, 1));
    process.signal(signals[i % 6]);
    const Ended ended = process.wait();
    INFO(ended.err);
    REQUIRE((ended.code == 75 || ended.code == 0 || ended.code == 128 + signals[i % 6]));
    if (ended.code == 128 + signals[i % 6]) CHECK(ended.err.empty());  // before main
    if (ended.code == 0) break;
    ++stops;
  }
  CHECK(stops > 0);
  REQUIRE(start(run, stopped).wait().code == 0);
  CHECK(summary_of(run, "stopped")["params_hash"] == summary_of(run, "straight")["params_hash"]);
  CHECK(metrics_of(run, "stopped") == metrics_of(run, "straight"));
}

TEST_CASE("a run makes one backend for each rank, and asks it before anything is written",
          "[train]") {
  static std::atomic<int> made;
  static std::atomic<bool> apart;
  class Device final : public ForwardingBackend {
   public:
    bool is_host() const override { return !apart; }
  };
  const train::RunOptions options{
      .make_backend = [](std::string_view, int) -> std::unique_ptr<Backend> {
        ++made;
        return std::make_unique<Device>();
      }};
  const TinyRun run;
  for (const int ranks : {1, 3}) {
    made = 0;
    const TrainConfig config =
        run.config(cat("ranks-", ranks),
                   cat("num_train_steps = 2\ncommunicator = \"threads\"\nranks = ", ranks, "\n"));
    REQUIRE(train::train(config, options) == Outcome::kFinished);
    CHECK(made == ranks);
  }
  apart = true;
  const TrainConfig gathers =
      run.config("gathers", "communicator = \"threads\"\nranks = 2\nshard = \"parameters\"\n");
  CHECK_THAT(failure_of(ErrorKind::kConfig, [&] { train::train(gathers, options); }),
             Catch::Contains("gathers parameters in the host's memory"));
  CHECK_FALSE(path_exists(gathers.run_folder()));
}

TEST_CASE("ranks agree on the step that a stop leaves undone", "[train]") {
  const TinyRun run;
  const std::string keys = "num_train_steps = 400\ncommunicator = \"threads\"\nranks = 3\n";
  const std::string straight = run.config_file("straight", keys),
                    stopped = run.config_file("stopped", keys);
  REQUIRE(start(run, straight).wait().code == 0);
  Program process = start(run, stopped);
  REQUIRE(wait_for_growth(run.folder / "runs/stopped/metrics.jsonl", 0));
  process.signal(SIGUSR1);
  REQUIRE(process.wait().code == 75);
  REQUIRE(start(run, stopped).wait().code == 0);
  CHECK(summary_of(run, "stopped")["params_hash"] == summary_of(run, "straight")["params_hash"]);
  CHECK(metrics_of(run, "stopped") == metrics_of(run, "straight"));
}

TEST_CASE("killed at three random moments a run ends with the bits of one never killed",
          "[train]") {
  kill_and_compare(3, 200);
}

TEST_CASE("killed at twenty random moments a run ends with the bits of one never killed",
          "[.slow][train]") {
  kill_and_compare(20, 3000);
}

TEST_CASE("a run that is refused once its record has begun has failed by it", "[train]") {
  const TinyRun run;
  for (const char* ranks : {"", "communicator = \"threads\"\nranks = 2\n"}) {
    const TrainConfig config =
        run.config("a", cat(kShort, ranks), "", {"--optimizer.groups=[{match = \"nothing\"}]"});
    CHECK_THAT(failure_of(ErrorKind::kConfig, [&] { train::train(config, {}); }),
               Catch::Contains("is found in no parameter"));
    const json record = json::parse(read_file(run.folder / "runs/a/run.json"));
    CHECK(record["starts"].back()["outcome"] == "failed");
    CHECK_THAT(record["starts"].back()["error"].get<std::string>(),
               Catch::Contains("is found in no parameter"));
  }
}
