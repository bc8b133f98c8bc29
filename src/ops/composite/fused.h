// Several nodes as one: what the fuse pass makes of a region.
#pragma once

#include <string>

#include "graph/graph.h"

namespace levanter {

/// The ops of a fused node's body, in order: "add+gelu".
std::string members_of(const Node& fused);

}  // namespace levanter
