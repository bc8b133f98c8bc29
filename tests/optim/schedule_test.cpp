// Learning rates against their formulas, written out once more.
#include "optim/schedule.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "base/strings.h"
#include "optim/adam_config.h"
#include "train/config/train_config.h"

using namespace levanter;

namespace {

constexpr double kLr = 0.5, kRatio = 0.1, kWarmup = 10, kSteps = 100;  // of check_decay's run
constexpr double kTolerance = 1e-12;  // relative; the formulas are evaluated in double

/// The schedule of `[optimizer] learning_rate = 0.5, min_lr_ratio = 0.1` and `keys`.
TrainConfig config_of(const std::string& keys, int64_t steps) {
  return parse_train_config(cat("[optimizer]\nlearning_rate = 0.5\nmin_lr_ratio = 0.1\n", keys,
                                "\n[model]\nmax_seq_len = 8\n[trainer]\ntrain_batch_size = 4\n"
                                "num_train_steps = ",
                                steps, "\n"),
                            "run.toml");
}

std::vector<int64_t> points(const std::string& keys, int64_t steps) {
  const TrainConfig config = config_of(keys, steps);
  const Schedule schedule = config.schedule();
  return {schedule.cycle_points().begin(), schedule.cycle_points().end()};
}

template <class Formula>
void check_decay(const std::string& lr_schedule, Formula formula) {
  const TrainConfig config =
      config_of(cat("warmup = ", kWarmup, "\nlr_schedule = ", lr_schedule), 110);
  const Schedule schedule = config.schedule();
  INFO(lr_schedule);
  for (int64_t t = 0; t < 10; ++t)
    CHECK(schedule.at(t) == Approx(kLr * static_cast<double>(t) / kWarmup).epsilon(kTolerance));
  for (int64_t t = 0; t <= 100; ++t)
    CHECK(schedule.at(10 + t) ==
          Approx(formula(static_cast<double>(t))).epsilon(kTolerance).margin(1e-300));
}

using Points = std::vector<int64_t>;

}  // namespace

TEST_CASE("each shape of decay follows its formula", "[optim]") {
  check_decay("\"constant\"", [](double) { return kLr; });
  check_decay("\"cosine\"", [](double t) {
    return kLr * ((1 - kRatio) * (1 + std::cos(std::numbers::pi * t / kSteps)) / 2 + kRatio);
  });
  check_decay("{ type = \"cosine\", exponent = 2.5 }", [](double t) {
    return kLr * ((1 - kRatio) * std::pow((1 + std::cos(std::numbers::pi * t / kSteps)) / 2, 2.5) +
                  kRatio);
  });
  check_decay("\"linear\"", [](double t) { return kLr + (kRatio * kLr - kLr) * t / kSteps; });
  check_decay("{ type = \"inv_sqrt\", timescale = 30 }", [](double t) {
    return std::max(kLr * std::min(1.0, 1 / std::sqrt(std::max(t + kWarmup, 1.0) / 30)),
                    kRatio * kLr);
  });
  check_decay("\"inv\"", [](double t) {
    return std::max(kLr * std::min(1.0, 1 / ((1 / kRatio - 1) * std::max(t, 1.0) / kSteps + 1)),
                    kRatio * kLr);
  });
  check_decay("{ type = \"power\", A = 0.3, b = -0.25 }",
              [](double t) { return std::min(kLr, 4 * 0.3 * std::pow(t * 4 * 8, -0.25)); });
  check_decay("\"polynomial\"", [](double t) {
    return (kLr - kRatio * kLr) * std::pow(1 - t / kSteps, 2) + kRatio * kLr;
  });
  check_decay("\"inv_sqrt_decay\"", [](double t) {
    return std::max(kRatio * kLr, kLr / std::sqrt(1 + 28.6 * t / kSteps));
  });
}

TEST_CASE("the shapes start at the peak and end where they say", "[optim]") {
  for (const char* name : {"cosine", "linear", "polynomial"}) {
    const TrainConfig config = config_of(cat("warmup = 0\nlr_schedule = \"", name, "\""), 50);
    const Schedule schedule = config.schedule();
    INFO(name);
    CHECK(schedule.at(0) == Approx(0.5).epsilon(kTolerance));
    CHECK(schedule.at(50) == Approx(0.05).epsilon(kTolerance));
    CHECK(schedule.at(1000) == schedule.at(50));
    for (int64_t step = 1; step <= 50; ++step) CHECK(schedule.at(step) <= schedule.at(step - 1));
  }
}

TEST_CASE("lengths up to 1 are fractions, cut to whole steps, and above 1 steps", "[optim]") {
  // 0.05 of 90 steps are 4; then 86 - 45 = 41 stay at the peak, and half of the run decays.
  const TrainConfig config = config_of("warmup = 0.05\ndecay = 0.5\nlr_schedule = \"linear\"", 90);
  const Schedule schedule = config.schedule();
  CHECK(schedule.at(2) == Approx(0.25).epsilon(kTolerance));
  for (int64_t step = 4; step <= 45; ++step) CHECK(schedule.at(step) == 0.5);
  CHECK(schedule.at(46) == Approx(0.5 - 0.45 / 45).epsilon(kTolerance));
  // 1 is all of the cycle.
  const TrainConfig all = config_of("warmup = 1", 90);
  CHECK(all.schedule().at(45) == Approx(0.25).epsilon(kTolerance));
  CHECK(all.schedule().at(90) == 0.5);
}

TEST_CASE("a warm-up and a decay that do not fit are cut to the cycle", "[optim]") {
  const TrainConfig warmup = config_of("warmup = 100", 20);
  CHECK(warmup.schedule().at(10) == Approx(0.25).epsilon(kTolerance));
  const TrainConfig decay = config_of("warmup = 5\ndecay = 100\nlr_schedule = \"linear\"", 20);
  CHECK(decay.schedule().at(5) == 0.5);
  CHECK(decay.schedule().at(20) == Approx(0.05).epsilon(kTolerance));
  CHECK(config_of("warmup = 0.5", 1).schedule().at(0) == 0.5);
}

TEST_CASE("cycles end where the config says", "[optim]") {
  CHECK(points("", 100) == Points{0, 100});
  CHECK(points("cycles = 3", 100) == Points{0, 33, 66, 100});
  CHECK(points("cycles = 1", 100) == Points{0, 100});
  CHECK(points("cycles = 1000", 3) == Points{0, 1, 2, 3});
  CHECK(points("cycles = [30, 50]", 100) == Points{0, 30, 50, 100});
  CHECK(points("cycles = [30, 100, 200]", 100) == Points{0, 30, 100});
  CHECK(points("cycle_length = 25", 100) == Points{0, 25, 50, 75, 100});
  CHECK(points("cycle_length = 30", 100) == Points{0, 30, 60, 100});  // the last one is longer
  CHECK(points("cycle_length = 0.5", 101) == Points{0, 50, 101});
  CHECK(points("cycle_length = 1e-9", 3) == Points{0, 1, 2, 3});
  CHECK(points("cycle_length = 1000", 100) == Points{0, 100});
  CHECK(points("cycle_length = [10, 20, 0.25]", 100) == Points{0, 10, 30, 55, 100});
  CHECK(points("cycles = []\ncycle_length = 50", 100) == Points{0, 50, 100});
}

TEST_CASE("later cycles rise again from where the one before ended", "[optim]") {
  const TrainConfig config = config_of(
      "cycles = 2\nwarmup = 10\nrewarmup = 20\ndecay = 30\nlr_schedule = \"linear\"", 100);
  const Schedule schedule = config.schedule();
  CHECK(schedule.at(0) == 0);
  for (int64_t step = 10; step <= 20; ++step) CHECK(schedule.at(step) == 0.5);
  CHECK(schedule.at(35) == Approx((0.5 + 0.05) / 2).epsilon(kTolerance));
  CHECK(schedule.at(50) == Approx(0.05).epsilon(kTolerance));  // the end of the first cycle
  CHECK(schedule.at(60) == Approx((0.5 + 0.05) / 2).epsilon(kTolerance));
  CHECK(schedule.at(70) == 0.5);
  CHECK(schedule.at(85) == Approx((0.5 + 0.05) / 2).epsilon(kTolerance));
}

TEST_CASE("without a re-warm-up a cycle begins at the peak", "[optim]") {
  const TrainConfig config = config_of("cycle_length = 50\nwarmup = 5\n", 100);
  CHECK(config.schedule().at(49) < 0.1);
  CHECK(config.schedule().at(50) == Approx(0.5).epsilon(kTolerance));
}

TEST_CASE("every step of any schedule is finite and within the peak", "[optim]") {
  for (const config::ChoiceEntry& shape : LrSchedule::choices())
    for (const int64_t steps : {1, 2, 3, 7, 100})
      for (const char* lengths : {"", "warmup = 0", "warmup = 1", "decay = 0", "decay = 1",
                                  "cycles = 3", "rewarmup = 0.3", "cycle_length = 2",
                                  "min_lr_ratio = 0", "cycles = [1, 2]\ndecay = 1"}) {
        std::string keys = cat("lr_schedule = \"", shape.name, "\"\n", lengths);
        const bool twice = keys.find("min_lr_ratio") != std::string::npos;
        TrainConfig config =
            config_of(twice ? cat("lr_schedule = \"", shape.name, "\"") : keys, steps);
        if (twice) config.optimizer->min_lr_ratio = 0;
        const Schedule schedule = config.schedule();
        INFO(keys << " over " << steps);
        for (int64_t step = 0; step <= steps + 2; ++step) {
          CHECK(std::isfinite(schedule.at(step)));
          CHECK(schedule.at(step) >= 0);
          CHECK(schedule.at(step) <= 0.5 * (1 + kTolerance));
        }
      }
}
