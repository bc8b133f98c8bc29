// When to save, and for how long.
#include "train/checkpoint_policy.h"

#include "train/config/train_config.h"

namespace levanter {

SaveKind decide_save(const CheckpointerConfig& config, int64_t step, int64_t last_step,
                     double seconds_since_last_save) {
  if (step <= 0) return SaveKind::none;
  if (step >= last_step) return SaveKind::permanent;
  for (const KeepRule& rule : config.keep) {
    if (rule.until && *rule.until < step) continue;
    if (step % rule.every == 0) return SaveKind::permanent;
    break;
  }
  if (config.save_interval && seconds_since_last_save >= config.save_interval->seconds)
    return SaveKind::temporary;
  return SaveKind::none;
}

}  // namespace levanter
