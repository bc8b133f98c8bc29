// When to save, and for how long.
#pragma once

#include <cstdint>

namespace levanter {

struct CheckpointerConfig;

enum class SaveKind : uint8_t { none, temporary, permanent };

/// Whether to save after step `step` of `last_step`: the last step is permanent; a step that the
/// first `keep` rule reaching it asks for is permanent; else, once `save_interval` has passed since
/// the last save (or the start), temporary. Step 0 never saves.
SaveKind decide_save(const CheckpointerConfig& config, int64_t step, int64_t last_step,
                     double seconds_since_last_save);

}  // namespace levanter
