// Attention and its gradients as graphs of cuDNN's operations.
#pragma once

#include "kernels/cuda/cudnn_graph.h"
#include "kernels/cuda/sdpa.h"

namespace levanter::cuda {

/// Adds the operations of a shape.
///   numbers  kScaleId, and where needed kHiddenId (-infinity), kWindowId (the window) and
///            kOneId (1)
///   memory   the arrays of the pass; backward also kDeltaId, f32 [batch, head, query], dense: the
///            sum of do o over head_dim
void add_sdpa(Graph& graph, const SdpaShape& shape);

/// The engine for a shape on a card of compute capability `major`.`minor`: on Hopper and Ampere a
/// backward graph without an accumulator of dQ is run in a fixed order by every engine; Blackwell
/// has one engine that does. Its number is -2 where there is none.
EngineChoice sdpa_engine(const SdpaShape& shape, int major, size_t version);
inline constexpr int64_t kNoEngine = -2;

/// Whether a version of the library is right for a shape on such a card.
bool sdpa_version_is_right(const SdpaShape& shape, int major, size_t version);

}  // namespace levanter::cuda
