// The passes from a traced function to one that a backend can lower, in the order of use.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ops/function.h"

namespace levanter {

class Backend;

/// Reverse-mode differentiation, graph to graph: appends the backward pass of the scalar `loss` to
/// its graph and returns the cotangent of each of `wrt`, with the type and axis order of that
/// value. A value that the loss does not depend on gets zeros. Contributions to one value are added
/// in the order in which the reversed graph makes them. The cotangent of a bf16 value is bf16, each
/// contribution rounded, but for that of a packed parameter, which is f32.
std::vector<NamedArray> backprop(NamedArray loss, std::span<const NamedArray> wrt);

/// The name of the argument that holds the packed form of the parameter `name`.
std::string packed_name(std::string_view name);
/// Every `pack` of an argument becomes a new argument, after the others in the order of first use:
/// the caller packs once an update, not once a microbatch.
Function hoist_packs(const Function& function);

/// Merges equal nodes, drops unused ones, multiplications by one and casts there and back, reduces
/// bf16 without widening it first, turns an addition of a product to an argument into `dot_add`,
/// and computes the loss once where its gradients are computed too. Never reassociates: no bit
/// changes.
Function canonicalise(const Function& function);

/// Computes again, in the backward pass, what each region's policy does not save.
Function remat(const Function& function);

/// Replaces every composite that the backend has no kernel for: one with bf16 operands by its f32
/// form between casts, and one without by its decomposition.
Function decompose(Function function, const Backend& backend);

/// A product of bf16 factors that is only rounded to bf16, or only with a bias added, becomes
/// `rounded_dot` where the backend has a kernel for that. Changes no bit where sums keep their
/// order.
Function round_products(const Function& function, const Backend& backend);

/// Makes one node, with the replaced ones as its body, of neighbours that do arithmetic over the
/// same axes: elementwise ops, layer norms, their gradients, sums over leading axes. Changes no
/// bit, and joins nothing that the backend has no kernel for.
Function fuse(const Function& function, const Backend& backend);

/// Moves every node that takes over an argument's memory to right after its last operand: gradients
/// are then added to their accumulators as soon as they are there. With a seed the order is instead
/// one of all that are possible, drawn by it: arguments first, every operand before its use.
Function schedule(const Function& function, std::optional<uint64_t> seed = std::nullopt);

/// Arguments that a rank may lack, in units that are gathered together.
struct GatherUnits {
  std::vector<int> of;  ///< by argument, its unit from 0; -1: every rank has it
  bool once = false;    ///< one gather for the whole function, whatever reads when
};
/// Those of a traced function whose arguments `parted` are held in parts: of a region's parameters
/// one unit; of those that are first read outside of regions, such as an embedding, one each.
GatherUnits gather_units(const Function& traced, const std::set<std::string>& parted);
/// Puts an `all_gather` of a unit before what reads it, forward and backward again, so that none of
/// it is kept from the one to the other. Each gather stands where the one before is first read, so
/// it may go on a unit ahead; the order of the gathers is that of their first readers. Comes last:
/// the order of the nodes is that of the function, and no bit changes.
Function gather_parameters(const Function& function, const GatherUnits& units);

/// canonicalise, remat, canonicalise, decompose, a last merge of equal nodes, which drops what is
/// unused and brings in no op that the backend has not been asked about, round_products, fuse and
/// schedule. No bit of a result depends on the options.
struct OptimiseOptions {
  bool fuse = true;
  std::optional<uint64_t> schedule_seed = {};  ///< draws the order of the nodes
};
Function optimise(const Function& function, const Backend& backend,
                  const OptimiseOptions& options = {});

}  // namespace levanter
