// What other programs call our keys.
#pragma once

#include "config/fields.h"

namespace levanter {

/// Declares them with what to write instead; for the root's `fields`.
void foreign_keys(config::Fields& f);

}  // namespace levanter
