// A library to be preloaded: counts a program's calls that change files, over all its threads, and
// kills the program at one of them or lets some fail. Told by the environment:
//
//   FAULTS_LOG    file to which fired faults and, at the end, the number of calls of each class go
//   FAULTS_CLASS  what is counted: create, write, sync, cut, rename, remove, folder; all by default
//   FAULTS_FIRST  the number of the first call that meets the fault; without it calls only count
//   FAULTS_LAST   the number of the last one; by default the first
//   FAULTS_ERROR  the errno that it fails with; by default the program is killed there
//   FAULTS_HALF   1: half of a write is done before
//
// Standard streams, pipes and sockets do not count: nothing is kept in them.
#undef _FILE_OFFSET_BITS  // with it open would mean open64, and both are defined here
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

enum Class { kCreate, kWrite, kSync, kCut, kRename, kRemove, kFolder, kClasses };
constexpr const char* kNames[kClasses] = {"create", "write",  "sync",  "cut",
                                          "rename", "remove", "folder"};

struct Plan {
  const char* log = ::getenv("FAULTS_LOG");
  const char* only = ::getenv("FAULTS_CLASS");
  int64_t first = number("FAULTS_FIRST", 0);
  int64_t last = number("FAULTS_LAST", first);
  int error = static_cast<int>(number("FAULTS_ERROR", 0));
  bool half = number("FAULTS_HALF", 0) != 0;

  static int64_t number(const char* name, int64_t otherwise) {
    const char* text = ::getenv(name);
    return text ? std::atoll(text) : otherwise;
  }
};

// Made at the first call, which may come before this library's own constructors.
const Plan& plan() {
  static const Plan made;
  return made;
}

std::atomic<int64_t> calls{0};
std::atomic<int64_t> calls_of[kClasses] = {};

/// Appends to the log by calls of the kernel alone, which are not counted.
void note(const char* text, size_t size) {
  if (!plan().log) return;
  const auto fd = static_cast<int>(
      ::syscall(SYS_openat, AT_FDCWD, plan().log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  if (fd < 0) return;
  ::syscall(SYS_write, fd, text, size);
  ::syscall(SYS_close, fd);
}

void note_fired(Class kind, int64_t call, const char* path, int fd) {
  char target[512] = "";
  if (!path) {
    char link[64];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = ::readlink(link, target, sizeof target - 1);
    target[n < 0 ? 0 : n] = 0;
    path = target;
  }
  char line[768];
  const int size = std::snprintf(line, sizeof line, "fired %s %lld %s\n", kNames[kind],
                                 static_cast<long long>(call), path);
  note(line, static_cast<size_t>(size));
}

/// What a call meets.
enum class Fate { kGoesOn, kFails, kHalf };

[[noreturn]] void die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

/// Counts a call. `half_possible`: a write of at least two bytes.
Fate meet(Class kind, const char* path, int fd, bool half_possible) {
  ++calls_of[kind];
  const Plan& p = plan();
  if (p.only && std::strcmp(p.only, kNames[kind]) != 0) return Fate::kGoesOn;
  const int64_t call = ++calls;
  if (p.first == 0 || call < p.first || call > p.last) return Fate::kGoesOn;
  note_fired(kind, call, path, fd);
  if (p.half && half_possible && call == p.first) return Fate::kHalf;
  if (p.error == 0) die();
  return Fate::kFails;
}

bool is_kept(int fd) {
  struct stat info {};
  return fd > STDERR_FILENO && ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

template <class Function>
Function real(Function, const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

/// The result of a call that names a path and gives 0 or -1.
template <class Call>
int on_path(Class kind, const char* path, Call call) {
  if (meet(kind, path, -1, false) == Fate::kGoesOn) return call();
  errno = plan().error;
  return -1;
}

template <class Call>
int on_file(Class kind, int fd, Call call) {
  if (!is_kept(fd) || meet(kind, nullptr, fd, false) == Fate::kGoesOn) return call();
  errno = plan().error;
  return -1;
}

/// A write of `size` bytes; `call(n)` writes the first n. Of a write done by half the program is
/// told the truth, and the rest, its next call, fails.
template <class Call>
ssize_t on_write(int fd, size_t size, Call call) {
  if (!is_kept(fd)) return call(size);
  switch (meet(kWrite, nullptr, fd, size >= 2)) {
    case Fate::kGoesOn:
      return call(size);
    case Fate::kHalf: {
      const ssize_t done = call(size / 2);
      if (plan().error == 0) die();
      return done;
    }
    case Fate::kFails:
      break;
  }
  errno = plan().error;
  return -1;
}

template <class Call>
int on_open(const char* path, int flags, Call call) {
  const bool changes = (flags & (O_CREAT | O_TRUNC)) != 0;
  return changes ? on_path(kCreate, path, call) : call();
}

/// The mode that stands behind the flags of open, where they ask for one; ends `rest`.
mode_t mode_of(int flags, va_list rest) {
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return mode;
}

struct CountAtEnd {
  ~CountAtEnd() {
    char line[256];
    int size = std::snprintf(line, sizeof line, "calls");
    for (int kind = 0; kind < kClasses; ++kind)
      size += std::snprintf(line + size, sizeof line - static_cast<size_t>(size), " %s %lld",
                            kNames[kind], static_cast<long long>(calls_of[kind]));
    line[size++] = '\n';
    note(line, static_cast<size_t>(size));
  }
} count_at_end;

}  // namespace

// The C library's calls.
extern "C" {

int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = mode_of(flags, rest);
  static const auto next = real(&::open, "open");
  return on_open(path, flags, [&] { return next(path, flags, mode); });
}

int openat(int folder, const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = mode_of(flags, rest);
  static const auto next = real(&::openat, "openat");
  return on_open(path, flags, [&] { return next(folder, path, flags, mode); });
}

int creat(const char* path, mode_t mode) {
  static const auto next = real(&::creat, "creat");
  return on_path(kCreate, path, [&] { return next(path, mode); });
}

ssize_t write(int fd, const void* from, size_t size) {
  static const auto next = real(&::write, "write");
  return on_write(fd, size, [&](size_t n) { return next(fd, from, n); });
}

ssize_t pwrite(int fd, const void* from, size_t size, off_t offset) {
  static const auto next = real(&::pwrite, "pwrite");
  return on_write(fd, size, [&](size_t n) { return next(fd, from, n, offset); });
}

ssize_t writev(int fd, const iovec* pieces, int count) {
  static const auto next = real(&::writev, "writev");
  return on_write(fd, 1, [&](size_t) { return next(fd, pieces, count); });
}

int fsync(int fd) {
  static const auto next = real(&::fsync, "fsync");
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISDIR(info.st_mode))
    return on_file(kSync, fd, [&] { return next(fd); });
  if (meet(kSync, nullptr, fd, false) == Fate::kGoesOn) return next(fd);
  errno = plan().error;
  return -1;
}

int fdatasync(int fd) {
  static const auto next = real(&::fdatasync, "fdatasync");
  return on_file(kSync, fd, [&] { return next(fd); });
}

int ftruncate(int fd, off_t size) noexcept {
  static const auto next = real(&::ftruncate, "ftruncate");
  return on_file(kCut, fd, [&] { return next(fd, size); });
}

int rename(const char* from, const char* to) noexcept {
  static const auto next = real(&::rename, "rename");
  return on_path(kRename, to, [&] { return next(from, to); });
}

int renameat2(int a, const char* from, int b, const char* to, unsigned flags) noexcept {
  static const auto next = real(&::renameat2, "renameat2");
  return on_path(kRename, to, [&] { return next(a, from, b, to, flags); });
}

int link(const char* from, const char* to) noexcept {
  static const auto next = real(&::link, "link");
  return on_path(kRename, to, [&] { return next(from, to); });
}

int unlink(const char* path) noexcept {
  static const auto next = real(&::unlink, "unlink");
  return on_path(kRemove, path, [&] { return next(path); });
}

int unlinkat(int folder, const char* path, int flags) noexcept {
  static const auto next = real(&::unlinkat, "unlinkat");
  return on_path(kRemove, path, [&] { return next(folder, path, flags); });
}

int rmdir(const char* path) noexcept {
  static const auto next = real(&::rmdir, "rmdir");
  return on_path(kRemove, path, [&] { return next(path); });
}

int mkdir(const char* path, mode_t mode) noexcept {
  static const auto next = real(&::mkdir, "mkdir");
  return on_path(kFolder, path, [&] { return next(path, mode); });
}

// Programs built for large files call these names.
int open64(const char*, int, ...) __attribute__((alias("open")));
int openat64(int, const char*, int, ...) __attribute__((alias("openat")));
int creat64(const char*, mode_t) __attribute__((alias("creat")));
ssize_t pwrite64(int, const void*, size_t, off_t) __attribute__((alias("pwrite")));
int ftruncate64(int, off_t) noexcept __attribute__((alias("ftruncate")));

}  // extern "C"
