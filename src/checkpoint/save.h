// The one way that checkpoints are written, whether the tensors are live or staged copies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "compat/safetensors.h"
#include "checkpoint/checkpoint.h"

namespace levanter {

/// A save made ready: the order of all bytes is fixed before the first is written.
struct SavePlan {
  /// A safetensors file and its tensors in the order of the file.
  struct File {
    std::string name;
    std::vector<Tensor> tensors;
    safetensors::Layout layout;
  };

  /// Bytes of one tensor, where they lie.
  struct Piece {
    const Memory* memory = nullptr;
    const std::byte* data = nullptr;
    size_t size = 0;
    /// The bytes, in `room` where the host cannot read them in place.
    std::span<const std::byte> read(std::vector<std::byte>& room) const;
  };

  explicit SavePlan(CheckpointContents contents);

  CheckpointContents contents;
  std::vector<File> files;
  /// Every tensor's bytes in the order in which they are written, cut into pieces of at most
  /// kPieceBytes; a piece belongs to one tensor.
  std::vector<Piece> pieces;
  /// Bytes of the files, the manifest and the texts not included.
  int64_t tensor_file_bytes = 0;

  static constexpr size_t kPieceBytes = size_t{1} << 20;
};

/// Hands out the pieces of a plan, in order.
class PieceSource {
 public:
  virtual ~PieceSource() = default;
  /// The content of piece `index`; it holds until `release`.
  virtual std::span<const std::byte> take(size_t index) = 0;
  virtual void release(size_t index) = 0;
  /// Whether nobody wants the save any more.
  virtual bool given_up() const { return false; }
};

/// Makes the folder that the parts of a save of this step below `folder` are written into.
std::string prepare_checkpoint(const std::string& folder, int64_t step);

/// Writes <folder>/step-N as save_checkpoint says, with the tensors' bytes from `source`; or the
/// part of it that the plan is of. The first waits for the others' parts. error  kIo too where one
/// of them fails, or takes longer than the part's patience after the one before it. The files of a
/// failed save of several parts stay, for the first's next try.
SaveReport write_checkpoint(const std::string& folder, const SavePlan& plan, PieceSource& source);

/// Of several parts the first, after its last try: removes what is there of the save.
void discard_checkpoint(const SavePlan& plan);

}  // namespace levanter
