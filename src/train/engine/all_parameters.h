// All parameters of a run as rank 0 reads them, wherever they are.
#pragma once

#include <vector>

#include "device/tensor.h"
#include "dist/crew.h"
#include "train/engine/engine.h"

namespace levanter::train {

/// Rank 0: the memory of the ranks that have other parameters, which it calls to give what is read.
/// So they are read between two steps, while the crew follows, and in rank 0's own thread. Where
/// rank 0 has all, nobody is called.
class AllParameters final : public Memory {
 public:
  /// Both outlive this, and this the tensors.
  AllParameters(dist::Crew& crew, const Engine& engine) : crew_(crew), engine_(engine) {}

  /// Every parameter, in their order.
  std::vector<Tensor> tensors() const;

  bool is_host() const override { return false; }
  void download(std::span<std::byte> to, const std::byte* from) const override;

 private:
  dist::Crew& crew_;
  const Engine& engine_;
};

/// Another rank: gives what is read, when it is called to it. The engine outlives the crew's last
/// call.
void serve_parameters(dist::Crew& crew, Engine& engine);

}  // namespace levanter::train
