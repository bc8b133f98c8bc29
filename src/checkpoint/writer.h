// Saving while training goes on: a thread streams out the state, the update copies what is left.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/progress.h"
#include "checkpoint/checkpoint.h"

namespace levanter {

/// The state changes only in the update, so a save reads it in place during the next microbatches:
///
///   writer.begin(contents);          // returns at once
///   ... microbatches ...
///   writer.before_update();          // now the state may change
///   ... update ...
///
/// One save is under way at a time. A save that failed is reported, once, as an Error by the next
/// call of begin, before_update or wait; its partial folder is gone by then, the former checkpoints
/// are untouched, and the writer is ready for another save.
///
/// A permanent save whose state the staging holds whole is first tried again, in the background and
/// with the same state: at once, then with growing pauses, and for one more second once begin or
/// wait is called. Of several parts each is tried again by its writer, the first until its patience
/// with the others has ended, the others until the folder is gone.
class CheckpointWriter final {
 public:
  /// Saves below `folder`. `staging_bytes` of memory are taken now, for copies: with as much as the
  /// state holds an update never waits, with 0 it waits for the whole save.
  CheckpointWriter(std::string folder, int64_t staging_bytes);
  /// Waits for the save under way, and two seconds for other writers' parts; an Error that nobody
  /// asked for is lost.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  int64_t staging_bytes() const;

  /// Starts a save, after the one under way if there is one, which gets its last tries. The
  /// tensors' memory must stay valid, and unchanged until before_update or wait has returned.
  /// The first of several parts, whose folder is still empty, makes it.
  ///   returns the part, for the other writers
  SavePart begin(CheckpointContents contents);
  /// Returns once no more live memory is read: what is not yet written was copied, after waiting
  /// until it fitted. Call it before each change of the state; it costs nothing between saves.
  void before_update();
  /// Returns when the save under way has committed; one that failed gets its last tries.
  void wait(const ProgressReport& progress = {});
  /// Whether the save under way has failed and is tried again, and, once, why.
  bool retrying() const;
  std::string take_problem();
  /// The save that committed last, once; nothing while one is under way.
  std::optional<SaveReport> take_report();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace levanter
