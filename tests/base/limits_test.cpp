// Where a process runs and what limits it: the control groups that it is in.
#include <catch2/catch.hpp>
#include <sched.h>

#include <string>

#include "base/files.h"
#include "base/limits.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// A folder like /sys/fs/cgroup.
class FakeGroups {
 public:
  const std::string& path() const { return folder_.path(); }
  void write(const std::string& group, const std::string& file, const std::string& text) const {
    make_directories(folder_ / group);
    write_file_atomic(join_path(folder_ / group, file), text);
  }

 private:
  TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("the least quota of a control group and those around it counts, rounded up", "[base]") {
  const FakeGroups groups;
  const auto limit = [&](const char* text) { return cgroup_thread_limit(text, groups.path()); };
  groups.write(".", "cpu.max", "max 100000\n");
  groups.write("a", "cpu.max", "250000 100000\n");
  groups.write("a/b", "cpu.max", "max 100000\n");
  groups.write("c", "cpu.max", "50000 100000\n");
  CHECK_FALSE(limit("0::/\n"));
  CHECK(limit("0::/a/b\n") == 3);
  CHECK(limit("0::/c\n") == 1);
  CHECK_FALSE(limit("0::/absent\n"));
  CHECK_FALSE(limit(""));
}

TEST_CASE("quotas of control groups of the first version count too", "[base]") {
  const FakeGroups groups;
  const auto limit = [&](const char* text) { return cgroup_thread_limit(text, groups.path()); };
  groups.write("cpu", "cpu.cfs_quota_us", "-1\n");
  groups.write("cpu", "cpu.cfs_period_us", "100000\n");
  groups.write("cpu/job", "cpu.cfs_quota_us", "400000\n");
  groups.write("cpu/job", "cpu.cfs_period_us", "100000\n");
  CHECK(limit("5:memory:/job\n3:cpu,cpuacct:/job\n") == 4);
  CHECK_FALSE(limit("3:cpu,cpuacct:/\n"));
  CHECK_FALSE(limit("3:cpuset:/job\n"));
}

TEST_CASE("the memory of a process is limited by its control group and those around it", "[base]") {
  const FakeGroups groups;
  const auto limit = [&](const char* text) { return cgroup_memory_limit(text, groups.path()); };
  groups.write("a", "memory.max", "5000\n");
  groups.write("a/b", "memory.max", "max\n");
  groups.write("a/b/c", "memory.max", "700\n");
  groups.write("a/b/d:1", "memory.max", "900\n");
  groups.write("memory/job", "memory.limit_in_bytes", "300\n");
  CHECK(limit("0::/a/b\n") == 5000);
  CHECK(limit("0::/a/b/c\n") == 700);
  CHECK(limit("0::/a/b/d:1\n") == 900);  // names may have colons
  CHECK(limit("5:cpu,memory:/job\n") == 300);
  CHECK_FALSE(limit("5:cpu:/job\n0::/other\n"));
  CHECK_FALSE(limit(""));
  groups.write(".", "memory.max", "600\n");
  CHECK(limit("0::/a/b/c\n") == 600);
}

TEST_CASE("a process knows its own file and its machine's name", "[base]") {
  CHECK(file_name(executable_path()) == "levanter_tests");
  CHECK_FALSE(host_name().empty());
}

TEST_CASE("the processors that a process may use are ranges", "[base]") {
  cpu_set_t before, one;
  REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
  int last = CPU_SETSIZE - 1;
  while (!CPU_ISSET(static_cast<size_t>(last), &before)) --last;
  CPU_ZERO(&one);
  CPU_SET(static_cast<size_t>(last), &one);
  REQUIRE(::sched_setaffinity(0, sizeof one, &one) == 0);
  CHECK(usable_processors() == std::to_string(last));
  REQUIRE(::sched_setaffinity(0, sizeof before, &before) == 0);
}
