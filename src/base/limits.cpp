// Where this process runs and what limits it: its control groups, the memory it may still map.
#include "base/limits.h"

#include <execinfo.h>
#include <malloc.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

#include "base/files.h"
#include "base/integers.h"
#include "base/strings.h"

namespace levanter {

namespace {

int64_t limit_of(int resource) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) return -1;
  return limit.rlim_cur > static_cast<rlim_t>(INT64_MAX) ? -1
                                                         : static_cast<int64_t>(limit.rlim_cur);
}

constexpr const char* kMount = "/sys/fs/cgroup";

/// The content of a file; "" where it can't be read.
std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A control group, as the folder of its files.
struct Group {
  std::string folder;
  bool unified;  ///< version 2: one tree for all controllers
};

/// The groups of a process that limit what `controller` counts, and those around them. The roots of
/// both versions are among them: a container may see its own group there, whatever it is called.
std::vector<Group> groups_of(std::string_view proc_cgroup, const std::string& mount,
                             std::string_view controller) {
  const std::string version_1 = cat(mount, "/", controller);
  std::vector<Group> groups = {{mount, true}, {version_1, false}};
  for (const std::string& line : split(proc_cgroup, '\n')) {  // "5:cpu,memory:/a/b", "0::/a/b"
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::vector<std::string> names = split(controllers, ',');
    const bool unified = controllers.empty();
    if (!unified && std::find(names.begin(), names.end(), controller) == names.end()) continue;
    for (std::string path = line.substr(second + 1); path.size() > 1 && path.starts_with('/');
         path.resize(path.rfind('/')))
      groups.push_back({(unified ? mount : version_1) + path, unified});
  }
  return groups;
}

/// The processor quota of one group, rounded up.
std::optional<int64_t> quota_of(const Group& group) {
  std::istringstream text(group.unified ? text_of(group.folder + "/cpu.max")
                                        : cat(text_of(group.folder + "/cpu.cfs_quota_us"), " ",
                                              text_of(group.folder + "/cpu.cfs_period_us")));
  int64_t quota = 0, period = 0;
  if (!(text >> quota >> period) || quota <= 0 || period <= 0) return std::nullopt;
  return ceil_div(quota, period);
}

std::optional<int64_t> memory_of(const Group& group) {
  std::istringstream text(
      text_of(group.folder + (group.unified ? "/memory.max" : "/memory.limit_in_bytes")));
  int64_t bytes = 0;
  if (!(text >> bytes) || bytes <= 0) return std::nullopt;
  return bytes;
}

/// The lower of two limits.
std::optional<int64_t> lower_of(std::optional<int64_t> a, std::optional<int64_t> b) {
  if (!a) return b;
  if (!b) return a;
  return std::min(*a, *b);
}

}  // namespace

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 && name[0] ? name.data() : "localhost";
}

std::string executable_path() {
  std::string path(4096, '\0');
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  if (size < 0)
    throw Error(ErrorKind::kIo, cat("cannot find the program's own file: ", system_words(errno)));
  path.resize(static_cast<size_t>(size));
  return path;
}

std::string usable_processors() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return "";
  const auto usable = [&](int processor) {
    return processor < CPU_SETSIZE && CPU_ISSET(static_cast<size_t>(processor), &set);
  };
  std::string ranges;
  for (int first = 0; first < CPU_SETSIZE; ++first) {
    if (!usable(first)) continue;
    int last = first;
    while (usable(last + 1)) ++last;
    ranges += cat(ranges.empty() ? "" : ",", first);
    if (last > first) ranges += cat("-", last);
    first = last;
  }
  return ranges;
}

std::optional<int64_t> cgroup_thread_limit(std::string_view proc_cgroup, const std::string& mount) {
  std::optional<int64_t> limit;
  for (const Group& group : groups_of(proc_cgroup, mount, "cpu"))
    limit = lower_of(limit, quota_of(group));
  return limit;
}

std::optional<int64_t> cgroup_memory_limit(std::string_view proc_cgroup, const std::string& mount) {
  std::optional<int64_t> limit;
  for (const Group& group : groups_of(proc_cgroup, mount, "memory"))
    limit = lower_of(limit, memory_of(group));
  return limit;
}

std::optional<int64_t> cgroup_thread_limit() {
  return cgroup_thread_limit(text_of("/proc/self/cgroup"), kMount);
}

std::optional<int64_t> cgroup_memory_limit() {
  return cgroup_memory_limit(text_of("/proc/self/cgroup"), kMount);
}

int64_t resident_bytes() {
  int64_t resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  const int read = std::fscanf(file, "%*d %ld", &resident);
  std::fclose(file);
  return read == 1 ? resident * ::sysconf(_SC_PAGESIZE) : 0;
}

int64_t mappable_bytes() {
  const int64_t space = limit_of(RLIMIT_AS), data = limit_of(RLIMIT_DATA);
  if (space < 0 && data < 0) return -1;
  int64_t pages = 0, in_data = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;  // there is no memory for it, or none to be known of
  const int read = std::fscanf(file, "%ld %*d %*d %*d %*d %ld", &pages, &in_data);
  std::fclose(file);
  if (read != 2) return -1;
  int64_t left = INT64_MAX;
  if (space >= 0) left = std::min(left, space - pages * ::sysconf(_SC_PAGESIZE));
  if (data >= 0) left = std::min(left, data - in_data * ::sysconf(_SC_PAGESIZE));
  return std::max<int64_t>(left, 0);
}

void prepare_for_memory_limits() {
  if (mappable_bytes() < 0) return;
  ::mallopt(M_ARENA_MAX, 1);
  void* frame = nullptr;
  ::backtrace(&frame, 1);
}

Error out_of_memory() {
  const int64_t left = mappable_bytes();
  return Error(ErrorKind::kDevice, "memory ran out")
      .hint(left < 0 ? "" : cat("`ulimit -v` or `-d` leaves ", format_bytes(left)));
}

void require_mappable(int64_t bytes) {
  if (const int64_t left = mappable_bytes(); left >= 0 && left < bytes) throw out_of_memory();
}

}  // namespace levanter
