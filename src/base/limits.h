// Where this process runs and what limits it: its control groups, the memory it may still map.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace levanter {

/// The machine's name; "localhost" where it has none.
std::string host_name();
/// The file that this process runs.
std::string executable_path();
/// The processors that this process may use, as ranges: "0-3,8"; "" where the system does not tell.
std::string usable_processors();

/// The lowest limits of the control groups named in `proc_cgroup` (the text of /proc/self/cgroup)
/// and of the groups around them, version 1 or 2; nothing where none is limited.
///   mount  where control groups are mounted, such as /sys/fs/cgroup
/// Threads: the processor quota, rounded up. Memory: in bytes.
std::optional<int64_t> cgroup_thread_limit(std::string_view proc_cgroup, const std::string& mount);
std::optional<int64_t> cgroup_memory_limit(std::string_view proc_cgroup, const std::string& mount);
/// The same of this process.
std::optional<int64_t> cgroup_thread_limit();
std::optional<int64_t> cgroup_memory_limit();

/// Bytes that this process holds of the machine's memory; 0 where that is not known.
int64_t resident_bytes();

/// Bytes that may still be mapped under the limits of address space and of data (`ulimit -v` and
/// `-d`); -1 where there is neither.
int64_t mappable_bytes();

/// For a program that begins under such a limit: threads share one heap, each one's own would
/// reserve 64 MiB, and what exceptions need to pass through the system's libraries is loaded.
void prepare_for_memory_limits();

/// Memory ran out: kDevice, with what may still be mapped where that is limited.
Error out_of_memory();

/// error  out_of_memory() unless `bytes` more may be mapped
void require_mappable(int64_t bytes);

}  // namespace levanter
