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
  /// `say` hears where the trace was written, or why not; it costs the run nothing. `most`: spans.
  StepTrace(const TrainConfig& config, dist::Communicator& communicator,
            std::function<void(std::string_view)> say = {}, size_t most = Tracing::kMostEvents);
  ~StepTrace();
  StepTrace(const StepTrace&) = delete;
  StepTrace& operator=(const StepTrace&) = delete;

  /// Before and after step `step`, counted from 1.
  void before(int64_t step);
  void after(int64_t step);
  /// Writes what there is of a trace that is under way, as the object's end does. An earlier one,
  /// of a start before this, stays under another name.
  void end();

 private:
  void write();

  int64_t first_ = 0, last_ = -1;        ///< as the config has them
  int64_t first_begun_ = 0, begun_ = 0;  ///< steps in the trace
  bool of_process_ = false;              ///< whether this rank keeps the trace
  size_t most_;
  std::string process_, path_;
  std::function<void(std::string_view)> say_;
  std::optional<Tracing> tracing_;
};

}  // namespace levanter::train
