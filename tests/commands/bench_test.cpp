// `levanter bench`: the keys that scripts rely on, and figures that agree with each other.
#include <catch2/catch.hpp>

#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/cpu/instruction_rate.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// Rates are printed with one digit, shares of them with four.
constexpr double kPrinted = 0.02;

std::vector<std::string> keys_of(const nlohmann::json& object) {
  std::vector<std::string> keys;
  for (const auto& item : object.items()) keys.push_back(item.key());
  return keys;
}

}  // namespace

TEST_CASE("bench step refuses a step that memory does not hold", "[commands]") {
  if (!memory_can_be_limited()) return;
  const SmallRun run;
  const Ended ended =
      run({"bench", "step", "--config", "run.toml", "--model.vocab_size", "16",
           "--trainer.train_batch_size=1048576", "--trainer.microbatch_size=1048576"},
          {.address_space = int64_t{2} << 30});
  CHECK(ended.code == 5);
  CHECK_THAT(ended.err, Catch::StartsWith("error: the run needs "));
}

TEST_CASE("bench step prints the keys that scripts rely on", "[commands]") {
  const SmallRun run;
  remove_tree(run / "a.txt");  // random ids: no data is needed
  const Ended ended = run({"bench", "step", "--config", "run.toml", "--steps", "3", "--json",
                           "--model.vocab_size", "16"});
  CHECK(ended.code == 0);
  CHECK(ended.err == "");
  const auto result = nlohmann::json::parse(ended.out);
  CHECK(keys_of(result) ==
        std::vector<std::string>{"dtype", "fraction_of_peak", "gflops_per_second", "instruction",
                                 "ms_per_step", "peak_gflops_per_second", "ready_seconds",
                                 "threads", "tokens_per_second"});
  CHECK(result["dtype"] == "f32");
  CHECK(result["threads"] == 1);
  CHECK(result["tokens_per_second"] > 0);
  CHECK(result["ms_per_step"] > 0);
  const double rate = result["gflops_per_second"], peak = result["peak_gflops_per_second"];
  CHECK(result["fraction_of_peak"] > 0);
  CHECK(result["fraction_of_peak"].get<double>() == Approx(rate / peak).epsilon(kPrinted));
  if (!result["instruction"].is_null()) {
    CHECK(result["instruction"]["name"] != "");
    CHECK(result["instruction"]["gflops_per_second"] > 0);
  }
  CHECK_FALSE(path_exists(run / "logs"));
}

TEST_CASE("an instruction's numbers stay numbers", "[kernels]") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const cpu::ProductInstruction* const instruction = cpu::product_instruction(dtype);
    if (!instruction) continue;
    INFO(instruction->name);
    const float sum = instruction->run(100'000);
    CHECK(std::isfinite(sum));
    CHECK(sum != 0);
  }
}

TEST_CASE("bench step for people lists where the time goes", "[commands]") {
  const SmallRun run;
  const Ended ended = run({"bench", "step", "--config", "run.toml", "--steps", "1"});
  CHECK(ended.code == 0);
  CHECK(ended.out.find(" tokens/s, ") != std::string::npos);
  CHECK(ended.out.find(" %  dot backward\n") != std::string::npos);
}

TEST_CASE("bench kernels prints each kernel's share of what the machine can do", "[commands]") {
  const SmallRun run;
  const Ended ended = run({"bench", "kernels", "--config", "run.toml", "--json"});
  CHECK(ended.code == 0);
  const auto result = nlohmann::json::parse(ended.out);
  CHECK(result["memory_gbytes_per_second"] > 0);
  double time = 0;
  std::vector<std::string> names;
  for (const auto& kernel : result["kernels"]) {
    names.push_back(kernel["kernel"]);
    time += kernel["fraction_of_time"].get<double>();
    CHECK(kernel["calls"] > 0);
    CHECK(kernel["fraction_of_memory"] > 0);
    if (names.back().find("dot") != std::string::npos) CHECK(kernel["fraction_of_peak"] > 0);
  }
  CHECK(time > 0);
  CHECK(time < 1.01);
  for (const char* name : {"attention", "linear_xent", "adamw", "dot backward"})
    CHECK(std::find(names.begin(), names.end(), name) != names.end());
}

TEST_CASE("bench gemm adds a model's own products", "[commands]") {
  const SmallRun run;
  const Ended ended = run({"bench", "gemm", "--config", "run.toml", "--threads", "1", "--json"});
  CHECK(ended.code == 0);
  const auto result = nlohmann::json::parse(ended.out);
  // 1024^3, 2048^3; the four linear layers and the head of a block.
  CHECK(result["products"].size() == 7);
  CHECK(result["products"][2]["m"] == 4 * 16);
  for (const auto& peak : result["peaks"]) CHECK(peak["threads"] == 1);
  CHECK(run({"bench", "gemm", "--model.num_layers=1"}).code == 2);
}

TEST_CASE("bench gemm prints the best of its products as the peak", "[commands]") {
  const Ended ended = run_program({"bench", "gemm", "--threads", "1", "--json"});
  CHECK(ended.code == 0);
  const auto result = nlohmann::json::parse(ended.out);
  CHECK(result["threads"] == 1);
  double best = 0;
  for (const auto& product : result["products"])
    best = std::max(best, product["gflops_per_second"].get<double>());
  CHECK(best > 0);
  CHECK(result["peak_gflops_per_second"] == best);
}

TEST_CASE("bench refuses an option that it would not read", "[commands]") {
  const SmallRun run;
  for (const auto& [word, option] : {std::pair{"step", "--threads"},
                                     {"kernels", "--device"},
                                     {"kernels", "--steps"},
                                     {"gemm", "--steps"}}) {
    const Ended ended = run({"bench", word, "--config", "run.toml", option, "1"});
    INFO(word << " " << option);
    CHECK(ended.code == 2);
    CHECK(ended.err.find(option) != std::string::npos);
    CHECK(ended.out.empty());
  }
}
