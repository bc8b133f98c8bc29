// Says which steps were not taken and why, and keeps what it takes to run them again.
#include "base/strings.h"
#include "train/guard/bundle.h"
#include "train/hooks.h"
#include "train/introduction.h"

namespace levanter::train {

namespace {

class GuardHook final : public Hook {
 public:
  explicit GuardHook(const HookContext& c) : c_(c) {}

  const char* name() const override { return "guard"; }
  void refused(const StepInfo& info) override {
    // The steps skipped after another one begin with the same state.
    const bool kept = info.verdict.action != GuardAction::kSkip || c_.guard.skipped_in_a_row() == 1;
    c_.tracker.message(cat("step ", info.step, " ", info.verdict.reason, "; it was not taken",
                           kept ? keep(info) : ""));
  }

  void after_step(const StepInfo& info) override {
    const auto skipped = static_cast<double>(c_.guard.skipped());
    const auto rollbacks = static_cast<double>(c_.guard.rollbacks().size());
    if (skipped + rollbacks == 0) return;
    const Metrics counts = {{"guard/skipped_steps", skipped}, {"guard/rollbacks", rollbacks}};
    c_.tracker.log(counts, info.step);
    c_.summary.log(counts, info.step);
  }

 private:
  /// Writes a bundle; what there is to say of it. A run ends for no fault of its bundles.
  std::string keep(const StepInfo& info) {
    try {
      const std::string folder = write_bundle(c_, info);
      if (folder.empty()) return "";
      return cat("; levanter train --replay ", typed_path(folder), " runs it again");
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kInternal) throw;
      return cat("; its bundle could not be written: ", error.message());
    }
  }

  HookContext c_;
};

}  // namespace

std::unique_ptr<Hook> make_guard_hook(const HookContext& context) {
  return std::make_unique<GuardHook>(context);
}

}  // namespace levanter::train
