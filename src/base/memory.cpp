// How much memory this process may still map, by its limits, and errors that say so.
#include "base/memory.h"

#include <execinfo.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/strings.h"

namespace levanter {

namespace {

int64_t limit_of(int resource) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) return -1;
  return limit.rlim_cur > static_cast<rlim_t>(INT64_MAX) ? -1
                                                         : static_cast<int64_t>(limit.rlim_cur);
}

}  // namespace

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
