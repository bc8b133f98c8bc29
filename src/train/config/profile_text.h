// The steps of trainer.profile, for people.
#pragma once

#include <string>

#include "train/config/train_config.h"

namespace levanter {

/// "[10, 12]"
std::string steps_text(const ProfileConfig& profile);

}  // namespace levanter
