// The trace of some steps of a run: trainer.profile.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "device/tracing.h"
#include "dist/communicator.h"
#include "train/config/train_config.h"

namespace levanter::train {

inline constexpr std::string_view kTraceFile = "trace.json";

/// One rank's. The first rank of a process traces all threads of it, other ranks with them.
class StepTrace final {
 public:
  /// `say` hears where the trace was written, or why not; it costs the run nothing.
  StepTrace(const TrainConfig& config, dist::Communicator& communicator,
            std::function<void(std::string_view)> say = {});
  /// Writes what there is of a trace that is under way.
  ~StepTrace();
  StepTrace(const StepTrace&) = delete;
  StepTrace& operator=(const StepTrace&) = delete;

  /// Before and after step `step`, counted from 1.
  void before(int64_t step);
  void after(int64_t step);

 private:
  void write();

  int64_t first_ = 0, last_ = -1;
  std::string process_, path_;
  std::function<void(std::string_view)> say_;
  std::optional<Tracing> tracing_;
};

}  // namespace levanter::train
