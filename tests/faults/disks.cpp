// Disks that are too small, of bytes or of files, and enlarged afterwards; disks that fill while
// the program trains and have room again. A tmpfs in a mount namespace of our own.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "faults/world.h"

namespace levanter::faults {

namespace {

/// A tmpfs at a folder, gone with the object.
class Disk final {
 public:
  Disk(std::string folder, const std::string& options) : folder_(std::move(folder)) {
    make_directories(folder_);
    if (::mount("faults", folder_.c_str(), "tmpfs", 0, options.c_str()) != 0)
      throw Skipped{cat("no small disk can be mounted: ", system_words(errno))};
  }
  ~Disk() { ::umount2(folder_.c_str(), MNT_DETACH); }
  Disk(const Disk&) = delete;

  void resize(const std::string& options) const {
    LEV_CHECK(::mount("faults", folder_.c_str(), "tmpfs", MS_REMOUNT, options.c_str()) == 0,
              "a tmpfs is enlarged");
  }
  std::string operator/(std::string_view name) const { return join_path(folder_, name); }

 private:
  std::string folder_;
};

void write_or_skip(const char* path, const std::string& text) {
  const Descriptor file(::open(path, O_WRONLY | O_CLOEXEC));
  if (file.get() < 0 || ::write(file.get(), text.data(), text.size()) < 0)
    throw Skipped{"no user namespace can be made here"};
}

/// Mounts of this process concern no other one from here on.
void leave_mounts() {
  const uid_t user = ::getuid();
  const gid_t group = ::getgid();
  if (::unshare(CLONE_NEWNS) != 0) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
      throw Skipped{cat("mounting takes root or user namespaces: ", system_words(errno))};
    write_or_skip("/proc/self/setgroups", "deny");
    write_or_skip("/proc/self/uid_map", cat("0 ", user, " 1"));
    write_or_skip("/proc/self/gid_map", cat("0 ", group, " 1"));
  }
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    throw Skipped{cat("mounts can not be made private: ", system_words(errno))};
}

/// Fills a disk to its last byte.
void fill(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  const std::string block(4096, 'x');
  while (file.get() >= 0 && ::write(file.get(), block.data(), block.size()) > 0) {
  }
}

class Disks final : public Trials {
 public:
  explicit Disks(const Lab& lab) : world_(lab, {.name = "disks", .best_is_sure = false}) {
    leave_mounts();
    make_directories(lab.trial());
    const Disk one(join_path(lab.trial(), "out"), "size=64k");  // or the kind is skipped
  }

  Verdict run(int64_t, Chance& chance) override {
    world_.make();
    const int64_t form = chance.below(5);
    if (form >= 3) return recovering(chance);
    const bool by_files = form == 2;
    const std::string small = by_files ? cat("size=64m,nr_inodes=", 5 + chance.below(60))
                                       : cat("size=", 40 << chance.below(7), "k");
    const Disk disk(join_path(world_.lab().trial(), "out"), small);
    const Ended ended = world_.train().wait();
    if (const auto crashed = crash(ended)) return *crashed;
    if (ended.code != 0 && ended.code != static_cast<int>(ErrorKind::kIo))
      return {Outcome::kLost, cat("on a disk of ", small, ": ", ended.words())};
    ++(ended.code == 0 ? went_on_ : ended_);
    disk.resize("size=64m,nr_inodes=10000");
    return said(world_.finish(), small);
  }

  std::string notes() override {
    return cat(went_on_, " runs went on to their end, ", ended_, " ended with exit 6");
  }

 private:
  Verdict recovering(Chance& chance) {
    const Disk disk(join_path(world_.lab().trial(), "out"), "size=6m");
    Process process = world_.train();
    sleep_for(world_.seconds() * chance.between(0, 0.9));
    fill(disk / "filler");
    const double held = chance.between(0.05, 0.6);
    sleep_for(held);
    remove_tree(disk / "filler");
    const Ended ended = process.wait();
    if (const auto crashed = crash(ended)) return *crashed;
    if (ended.code != 0 && ended.code != static_cast<int>(ErrorKind::kIo))
      return {Outcome::kLost, cat("on a disk that was full: ", ended.words())};
    ++(ended.code == 0 ? went_on_ : ended_);
    return said(world_.finish(), cat("full for ", format_fixed(held, 2), " s, ", ended.words()));
  }

  /// What was judged is kept for people to see: the disk itself goes.
  Verdict said(Verdict verdict, const std::string& disk) const {
    if (verdict.good()) return verdict;
    const std::string trial = world_.lab().trial();
    std::filesystem::copy(join_path(trial, "out"), join_path(trial, "disk"),
                          std::filesystem::copy_options::recursive);
    return {verdict.outcome, cat("after a disk of ", disk, ": ", verdict.words)};
  }

  World world_;
  int64_t went_on_ = 0, ended_ = 0;
};

}  // namespace

std::unique_ptr<Trials> make_disks(const Lab& lab) { return std::make_unique<Disks>(lab); }

}  // namespace levanter::faults
