// Exclusive ownership of a lock file among processes, with flock or, where that is missing,
// without.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/files.h"
#include "base/stop.h"

namespace levanter {

/// Held for as long as the object and the process live. Where the file system has no flock (Lustre
/// without -o flock, some NFS), a file PATH.held stands for the lock, with the process, its host
/// and its start; one that a dead process of this host left is taken over.
class ProcessLock final {
 public:
  /// Takes the lock at once or throws an Error of kind kIo that names the process holding it;
  /// `hint` is the Error's advice.
  ProcessLock(const std::string& path, std::string hint);
  ~ProcessLock();
  ProcessLock(ProcessLock&& other) noexcept = default;
  ProcessLock& operator=(ProcessLock&&) = delete;

  /// The lock; or nothing where it is held, and then `holder` says by whom: "process 12".
  static std::optional<ProcessLock> try_take(const std::string& path, std::string& holder);

  /// What people should know of a lock that had to do without flock; "" for others.
  const std::string& note() const { return note_; }

 private:
  ProcessLock(Descriptor file, std::string held, std::string note);

  Descriptor file_;
  std::string held_, note_;
  std::unique_ptr<RemovedAtStop> at_stop_;  ///< of held_, where there is one
};

/// Who holds the lock at `path` as far as its file tells, "process 12 on node3", and takes nothing;
/// "" where that process has ended. Of another host's process no more is known than its name.
std::string lock_holder(const std::string& path);

/// The system's flock; tests put a failing one in its place.
extern int (*flock_call)(int fd, int operation);

}  // namespace levanter
