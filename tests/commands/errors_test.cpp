// What goes wrong when the program runs: each fault's exit code and text, and that it loses
// nothing.
#include <catch2/catch.hpp>

#include <algorithm>
#include <map>

#include "base/strings.h"
#include "support/fault.h"
#include "support/golden.h"
#include "support/program.h"
#include "train/run_folder.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// Texts without what differs from run to run: the folder, process numbers.
std::string steady(const SmallRun& run, std::string text) {
  text = run.shorten(std::move(text));
  static constexpr std::string_view kMark = "process ";
  for (size_t at = 0; (at = text.find(kMark, at)) != std::string::npos;) {
    at += kMark.size();
    size_t end = at;
    while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
    if (end > at) text.replace(at, end - at, "N");
  }
  return text;
}

/// The error at the end of what went to the standard error, without the progress before it.
std::string last_error(const std::string& text) {
  const size_t at = text.rfind("error: ");
  return at == std::string::npos ? text : text.substr(at);
}

/// Compares exit code and error text with tests/golden/errors/<name>.txt and checks the form.
void check_error(const SmallRun& run, const std::string& name, const Ended& ended,
                 const std::string& out = "") {
  const std::string error = steady(run, last_error(ended.err));
  const std::string text = cat("exit ", ended.code, "\n", error);
  INFO(name);
  CHECK(text == expected_text(golden_path(cat("errors/", name, ".txt")), text));
  CHECK(ended.out == out);
  REQUIRE(error.starts_with("error: "));
  const std::vector<std::string> lines = split(error, '\n');
  CHECK_FALSE((lines[0][7] >= 'A' && lines[0][7] <= 'Z'));
  CHECK(lines.back() == "");
  CHECK(lines.size() >= 3);  // the message, and where, what is allowed, or what to do
  for (size_t i = 0; i + 1 < lines.size(); ++i) {
    CHECK((!lines[i].ends_with('.') || lines[i].starts_with("  at ")));
    if (i > 0)
      CHECK((lines[i].starts_with("  at       ") || lines[i].starts_with("  allowed  ") ||
             lines[i].starts_with("  hint     ")));
  }
}

using Words = std::vector<std::string>;

/// Checks the error of `levanter train` with other words; no run must come of it.
void check_train_error(const SmallRun& run, const std::string& name, const Words& words) {
  const std::string before = path_exists(run / "logs") ? snapshot(run / "logs") : "";
  check_error(run, name, run.train(words));
  CHECK((path_exists(run / "logs") ? snapshot(run / "logs") : "") == before);
}

std::string text_override(const std::string& file) {
  return cat("--data.components.words.train=[\"", file, "\"]");
}

const std::string kParams = "checkpoints/step-20/model.safetensors";

}  // namespace

TEST_CASE("a text that cannot be trained on is refused", "[commands]") {
  const SmallRun run;
  check_train_error(run, "text_missing", {text_override("b.txt")});
  check_train_error(run, "text_is_folder", {text_override(".")});
  write_file_atomic(run / "empty.txt", "");
  check_train_error(run, "text_empty", {text_override("empty.txt")});
  write_file_atomic(run / "latin1.txt", "the cat\nis caf\xe9\n");
  check_train_error(run, "text_not_utf8", {text_override("latin1.txt")});
  write_file_atomic(run / "cut.txt.gz", std::string("\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb", 11));
  check_train_error(run, "text_gzip_cut", {text_override("cut.txt.gz")});
  write_file_atomic(run / "short.txt", "the cat sat");
  check_train_error(run, "text_too_short", {text_override("short.txt")});
  check_train_error(run, "validation_too_short",
                    {"--data.components.words.validation_fraction=0.001"});
  check_train_error(run, "vocabulary_too_small", {"--model.vocab_size=5"});
}

TEST_CASE("sizes, devices and batches that do not work are refused", "[commands]") {
  const SmallRun run;
  check_train_error(run, "heads_do_not_divide_width", {"--model.num_heads=3"});
  check_train_error(run, "microbatches_do_not_divide_batch", {"--trainer.microbatch_size=3"});
  check_train_error(run, "integer_too_long", {"--trainer.seed=99999999999999999999"});
  check_train_error(run, "unknown_device", {"--trainer.device=cpv"});
  check_error(run, "no_config", run({"train", "--config", "rum.toml"}));
  make_directories(run / "logs/run");
  check_error(run, "line_word_is_folder", run({"verify", "logs/run"}));
  make_directories(run / "hf");
  write_file_atomic(run / "hf/config.json", "{}\n");
  check_error(run, "verify_hf_folder", run({"verify", "--checkpoint", "hf"}));
  check_error(run, "config_is_folder", run({"train", "--config", "."}));
  write_file_atomic(run / "no_text.toml", "[trainer]\nnum_train_steps = 1\n");
  check_error(run, "no_text", run({"train", "--config", "no_text.toml"}));
  check_error(run, "wrong_memory", run({"plan", "--config", "run.toml", "--memory", "3X"}));
  check_error(run, "start_from_nowhere",
              run.train({"--start_from={kind=\"checkpoint\", path=\"none\"}"}));
}

TEST_CASE("a learning rate beyond reason ends the run by its guard", "[commands]") {
  const SmallRun run;
  check_error(run, "not_finite", run.train({"--optimizer.learning_rate=1e30"}));
}

TEST_CASE("a log folder that cannot be is refused", "[commands]") {
  const SmallRun run;
  check_train_error(run, "log_dir_is_file", {"--trainer.log_dir=a.txt"});
  check_train_error(run, "log_dir_unwritable", {"--trainer.log_dir=/proc/levanter"});
}

TEST_CASE("a run that has begun is refused what does not fit it, and keeps all it has",
          "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  check_train_error(run, "config_changed",
                    {"--model.num_layers=2", "--trainer.num_train_steps=30"});
  check_train_error(run, "config_changed_when_finished", {"--trainer.seed=7"});
  const std::string text = read_file(run / "a.txt");
  write_file_atomic(run / "a.txt", text + "Zebra\n");
  check_train_error(run, "character_at_resume", {"--trainer.num_train_steps=30"});
  write_file_atomic(run / "a.txt", text);
  const RunFolder busy(run / "logs/run");
  check_train_error(run, "two_processes", {"--trainer.num_train_steps=30"});
}

TEST_CASE("a checkpoint of later steps than a new run's is not started from", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  check_error(run, "start_from_past_the_end",
              run.train({"--trainer.id=next", "--trainer.num_train_steps=20",
                         "--start_from={kind=\"checkpoint\", path=\"logs/run\"}"}));
}

TEST_CASE("damage to the only checkpoint stops a run, which keeps the rest", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  remove_tree(run / "logs/run/checkpoints/step-10");
  const std::string params = join_path(run / "logs/run", kParams);
  const std::string whole = read_file(params);
  flip_bit(params, whole.size() - 1, 3);
  check_train_error(run, "checkpoint_flipped", {"--trainer.num_train_steps=30"});
  check_error(run, "checkpoint_flipped_eval", run({"eval", "--checkpoint", "logs/run"}));
  check_error(run, "checkpoint_flipped_step",
              run({"generate", "--checkpoint", "logs/run/checkpoints/step-20"}));
  write_file_atomic(params, whole.substr(0, whole.size() / 2));
  check_train_error(run, "checkpoint_truncated", {"--trainer.num_train_steps=30"});
  remove_tree(params);
  check_train_error(run, "checkpoint_file_missing", {"--trainer.num_train_steps=30"});
  write_file_atomic(params, whole);
  CHECK(run.train({"--trainer.num_train_steps=30"}).code == 0);
}

TEST_CASE("a damaged checkpoint is named and the one before it used, with the same result",
          "[commands]") {
  const SmallRun run;
  REQUIRE(run.train({"--trainer.id=whole", "--trainer.num_train_steps=30"}).code == 0);
  const std::string hash = run({"verify", "--json", "--checkpoint", "logs/whole"}).out;
  for (const std::string damage : {"flipped", "truncated"}) {
    const std::string id = cat("--trainer.id=", damage);
    REQUIRE(run.train({id, "--trainer.num_train_steps=30"}).code == 0);
    remove_tree(run / cat("logs/", damage, "/checkpoints/step-30"));
    const std::string params = join_path(run / cat("logs/", damage), kParams);
    if (damage == "flipped") flip_bit(params, static_cast<size_t>(file_size(params)) - 1, 0);
    if (damage == "truncated") truncate_file(params, 200);
    const Ended ended = run.train({id, "--trainer.num_train_steps=30"});
    CHECK(ended.code == 0);
    const std::vector<std::string> lines = split(ended.err, '\n');
    REQUIRE(lines.size() > 2);
    const std::string text = run.shorten(cat(lines[0], "\n", lines[1], "\n"));
    CHECK(text == expected_text(golden_path(cat("errors/older_used_", damage, ".txt")), text));
    CHECK(run({"verify", "--json", "--checkpoint", cat("logs/", damage, "/checkpoints/step-30")})
              .out == hash);
  }
}

TEST_CASE("a disk that is full while saving ends the run, which loses nothing", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train({"--trainer.id=whole"}).code == 0);
  REQUIRE(run.train({"--trainer.id=whole", "--trainer.num_train_steps=30"}).code == 0);
  REQUIRE(run.train().code == 0);
  const std::string before = run({"verify", "--json", "--checkpoint", "logs/run"}).out;
  // A limit on file sizes fails a write as a full disk does, without a disk to fill.
  check_error(run, "file_limit",
              run.train({"--trainer.num_train_steps=30", "--trainer.tracker=[\"console\"]"},
                        {.file_bytes = 20000}));
  CHECK(run({"verify", "--json", "--checkpoint", "logs/run"}).out == before);
  CHECK(run.train({"--trainer.num_train_steps=30"}).code == 0);
  CHECK(run({"verify", "--json", "--checkpoint", "logs/run"}).out ==
        run({"verify", "--json", "--checkpoint", "logs/whole"}).out);
}

namespace {

/// Whether a limit leaves the system room to load the program and the libraries that it is linked
/// with, and these to begin: oneDNN 3 ends the process where it has none.
bool can_begin(const SmallRun& run, int64_t address_space) {
  const Ended ended = run_shell(
      cat("ulimit -v ", address_space >> 10, "; LD_DEBUG=files levanter --version"), run.path());
  return ended.err.find("initialize program: ") != std::string::npos;
}

}  // namespace

TEST_CASE("memory that is limited is enough or ends a run by its own error", "[commands]") {
  if (!memory_can_be_limited()) return;
  const SmallRun run;
  int refused = 0, trained = 0;
  for (int64_t mib = 56; mib <= 200; mib += 6) {
    const Ended ended = run.train({cat("--trainer.id=of_", mib), "--trainer.threads=2"},
                                  {.address_space = mib << 20});
    INFO(mib << " MiB: " << ended.code << "\n" << ended.err);
    if (!can_begin(run, mib << 20) || ended.err.find("libgomp: ") != std::string::npos) continue;
    CHECK((ended.code == 0 || ended.code == 5));
    CHECK((ended.code == 0) == (ended.err.find("error: ") == std::string::npos));
    ++(ended.code == 0 ? trained : refused);
  }
  CHECK(refused > 0);
  CHECK(trained > 0);
  const Ended crowd = run.train({"--trainer.threads=200"}, {.address_space = int64_t{400} << 20});
  CHECK(crowd.code == 5);
  CHECK_THAT(crowd.err, Catch::Contains("error: cannot start another thread; "));
}

TEST_CASE("a checkpoint that is not there or of another model is refused", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  for (const std::string command : {"eval", "generate", "verify"})
    check_error(run, cat("checkpoint_nowhere_", command),
                run({command, "--checkpoint", "logs/other"}));
  check_error(run, "checkpoint_is_file", run({"eval", "--checkpoint", "a.txt"}));
  check_error(run, "checkpoint_of_no_run", run({"eval", "--checkpoint", "logs"}));
  check_error(run, "eval_other_width",
              run({"eval", "--checkpoint", "logs/run", "--model.hidden_dim=32"}));
  check_error(run, "eval_more_layers",
              run({"eval", "--checkpoint", "logs/run", "--model.num_layers=2"}));
  write_file_atomic(run / "train_only.toml",
                    "[model]\nmax_seq_len = 16\nhidden_dim = 16\nnum_layers = 1\nnum_heads = 2\n"
                    "[data.components.words]\ntrain = [\"a.txt\"]\n");
  check_error(run, "eval_without_validation",
              run({"eval", "--checkpoint", "logs/run", "--config", "train_only.toml"}));
}

TEST_CASE("numbers and texts that generate cannot use are refused", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const auto generate = [&](const std::string& name, Words words, std::string input = "",
                            const std::string& out = "") {
    words.insert(words.begin(), {"generate", "--checkpoint", "logs/run"});
    check_error(run, cat("generate_", name), run(words, {.input = std::move(input)}), out);
  };
  generate("temperature", {"--temperature", "-1"});
  generate("temperature_nan", {"--temperature", "nan"});
  generate("top_p", {"--top-p", "1.5"});
  generate("top_k", {"--top-k", "many"});
  generate("seed", {"--seed", "99999999999999999999"});
  generate("max_new_tokens", {"--max-new-tokens", "1e3"});
  generate("stop_id", {"--stop-id", "-1"});
  generate("min_p", {"--min-p", "2"});
  generate("repetition_penalty", {"--repetition-penalty", "0"});
  generate("batch", {"--batch", "17"});
  generate("samples", {"--samples", "0"});
  generate("stop_empty", {"--stop", ""});
  generate("logprobs_in_text", {"--logprobs"});
  generate("no_chat_template", {"--chat", "--prompt", "the"});
  const std::string answer =
      "{\"error\": \"a line is no object with a \\\"prompt\\\"\", \"line\": 1}\n";
  generate("messages_without_chat", {"--json"}, "{\"messages\": []}\n", answer);
  generate("character", {"--prompt", "the Zebra"});
  generate("prompt_not_utf8", {"--prompt", "the \xe9"});
  generate("json_line", {"--json"}, "{\"text\": \"the\"}\n", answer);
}

TEST_CASE("a command line that makes no sense is refused", "[commands]") {
  const SmallRun run;
  const std::map<std::string, Words> lines = {
      {"unknown_command", {"trian"}},
      {"unknown_option", {"train", "--config", "run.toml", "--eagre"}},
      {"unknown_short_option", {"train", "-c", "run.toml"}},
      {"unknown_key", {"train", "--config", "run.toml", "--trainer.sed=1"}},
      {"override_without_value", {"train", "--config", "run.toml", "--trainer.seed"}},
      {"option_missing", {"train"}},
      {"value_missing", {"train", "--config"}},
      {"value_empty", {"train", "--config", ""}},
      {"value_not_taken", {"train", "--config", "run.toml", "--eager=yes"}},
      {"option_twice", {"train", "--config", "run.toml", "--config=run.toml"}},
      {"word_not_taken", {"train", "run.toml"}},
      {"word_too_many", {"config", "check", "run.toml", "b.toml"}},
      {"overrides_not_taken", {"verify", "--checkpoint", "logs", "--trainer.seed=1"}},
      {"bench_of_what", {"bench"}},
      {"bench_gemm_override", {"bench", "gemm", "--model.num_layers=1"}},
      {"bench_step_without_config", {"bench", "step"}},
      {"bench_threads", {"bench", "gemm", "--threads", "99999999999"}},
      {"bench_device", {"bench", "gemm", "--device", "gpu"}},
      {"config_does_what", {"config", "chekc"}},
      {"config_twice", {"config", "check", "run.toml", "--config", "run.toml"}},
      {"describe_unknown", {"config", "describe", "trainer.sed"}},
  };
  for (const auto& [name, words] : lines) check_error(run, cat("line_", name), run(words));
  CHECK_FALSE(path_exists(run / "logs"));
}

TEST_CASE("a standard output that takes nothing is an error", "[commands]") {
  const SmallRun run;
  const Ended ended = run({"config", "describe"}, {.out_path = "/dev/full"});
  check_error(run, "output_full", ended);
  CHECK(run({"--help"}, {.closed_stream = 1}).code == 6);
}
