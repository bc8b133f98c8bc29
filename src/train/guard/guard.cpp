// What keeps a step from being taken: loss or gradient norm that are not finite, or that jump.
#include "train/guard/guard.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/strings.h"

namespace levanter::train {

namespace {

using nlohmann::json;

/// The lower one where there are two.
float median(const std::deque<float>& window) {
  std::vector<float> values(window.begin(), window.end());
  const auto middle = values.begin() + (std::ssize(values) - 1) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void remember(std::deque<float>& window, float value, int64_t size) {
  window.push_back(value);
  while (std::ssize(window) > size) window.pop_front();
}

std::string spike_text(const char* what, float value, double times,
                       const std::deque<float>& window) {
  return cat("has ", what, " ", float_text(value), ", more than ", times, " times the median ",
             float_text(median(window)), " of ", window.size(), " steps");
}

}  // namespace

std::string float_text(float value) {
  if (std::isnan(value)) return "nan";  // of either sign
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

Guard::Guard(const GuardConfig& config, const json& saved, Rollbacks past)
    : config_(config), past_(std::move(past)) {
  if (!saved.is_object()) return;
  skipped_ = saved.value("skipped", int64_t{0});
  in_a_row_ = saved.value("skipped_in_a_row", int64_t{0});
  for (const json& value : saved.value("losses", json::array()))
    remember(losses_, value, config.window);
  for (const json& value : saved.value("norms", json::array()))
    remember(norms_, value, config.window);
}

StepLimits Guard::limits() const {
  if (!config_.on_spike || std::ssize(losses_) < (config_.window + 1) / 2) return {};
  return {static_cast<float>(config_.loss_spike * median(losses_)),
          static_cast<float>(config_.norm_spike * median(norms_))};
}

Verdict Guard::judge(const UpdateReport& report) {
  Verdict verdict;
  const StepLimits limit = limits();
  const bool finite = std::isfinite(report.loss) && std::isfinite(report.grad_norm);
  if (report.proceeded) {
    in_a_row_ = 0;
  } else if (!finite) {
    verdict = {config_.on_nan,
               cat("has loss ", float_text(report.loss), " and gradient norm ",
                   float_text(report.grad_norm)),
               "trainer.guard.on_nan",
               "run with --eager to see where it begins; trainer.guard.on_nan = \"skip\" skips the "
               "step"};
  } else {
    const bool by_loss = report.loss > limit.loss;
    verdict = {config_.on_spike,
               by_loss ? spike_text("loss", report.loss, config_.loss_spike, losses_)
                       : spike_text("gradient norm", report.grad_norm, config_.norm_spike, norms_),
               "trainer.guard.on_spike",
               "\"skip\" skips the step, \"rollback\" leaves out the batches before it too"};
  }
  if (finite && config_.on_spike) {
    remember(losses_, report.loss, config_.window);
    remember(norms_, report.grad_norm, config_.window);
  }
  if (!verdict.action) return verdict;
  ++skipped_;
  if (verdict.action == GuardAction::kSkip && in_a_row_ >= config_.max_skips)
    verdict = {
        GuardAction::kStop,
        cat(verdict.reason, ", and ", count_of(in_a_row_, "step"), " before it were skipped"),
        "trainer.guard.max_skips",
        "what ails it came before them: go on from an earlier checkpoint with another "
        "optimizer.learning_rate, or raise the key"};
  if (verdict.action == GuardAction::kRollback && std::ssize(past_) >= config_.max_rollbacks)
    verdict = {GuardAction::kStop,
               cat(verdict.reason, ", and the run has rolled back ",
                   count_of(std::ssize(past_), "time"), " before"),
               "trainer.guard.max_rollbacks",
               "it is not the batches: try another optimizer.learning_rate, or raise the key"};
  ++in_a_row_;
  return verdict;
}

Rollback Guard::back_from(int64_t step, int64_t first, const std::string& reason) const {
  const int64_t back_to = std::max(first, step - config_.rollback_steps);
  return {step + 1, back_to, place_of(past_, back_to), place_of(past_, step), reason};
}

std::string Guard::record() const {
  if (!config_.on_spike && skipped_ == 0 && past_.empty()) return "";
  return json({{"losses", losses_},
               {"norms", norms_},
               {"skipped", skipped_},
               {"skipped_in_a_row", in_a_row_},
               {"rollbacks", to_json(past_)}})
      .dump();
}

}  // namespace levanter::train
