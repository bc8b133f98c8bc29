// What the backward pass of a model's blocks keeps, as a config spells it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/fields.h"
#include "config/problems.h"
#include "graph/graph.h"

namespace levanter {

struct RematPolicy {
  Remat remat = Remat::kSaveDots;
  std::vector<std::string> saved;  ///< of save(name, ...)
  int64_t group_size = 0;          ///< k of nested(k), else 0

  /// The region of block `layer`, still without a name.
  Region region(size_t layer) const;
};

/// Reads a policy; `names` are those that the model gives by checkpoint_name.
///   none             nothing is computed again
///   save_dots        all but products and attention
///   full             all, from the block's input
///   save(name, ...)  all but the values of these names
///   nested(k)        as full, with only every k-th block's input kept: the backward pass first
///                    computes the inputs of a group's other blocks, then each block
/// error  kConfig with all four parts but the place
RematPolicy parse_remat_policy(std::string_view text, std::span<const std::string_view> names);

/// The key of a policy, gradient_checkpointing.
void remat_field(config::Fields& f, std::string& policy, std::span<const std::string_view> names);
/// Reports what parse_remat_policy would throw for the value `text` of `key`.
void validate_remat_policy(config::Problems& p, std::string_view key, std::string_view text,
                           std::span<const std::string_view> names);

}  // namespace levanter
