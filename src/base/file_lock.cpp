// Exclusive ownership of a lock file among processes.
#include "base/file_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "base/error.h"
#include "base/limits.h"
#include "base/strings.h"

namespace levanter {

int (*flock_call)(int, int) = ::flock;

namespace {

constexpr int kTries = 100;

[[noreturn]] void fail(const std::string& path, int error) {
  throw Error(ErrorKind::kIo, cat("cannot lock ", path, ": ", system_words(error)))
      .hint("check the permissions of the folder, or choose one on another disk");
}

/// The whole content; "" where there is no such file.
std::string content_of(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[512];
  const ssize_t n = file.get() < 0 ? 0 : ::pread(file.get(), text, sizeof text, 0);
  return {text, static_cast<size_t>(n > 0 ? n : 0)};
}

/// When a process began, in ticks since the machine did, so that a number that is used again is not
/// taken for its former process; "0" where the system does not say.
std::string start_of(int64_t pid) {
  const std::string stat = content_of(cat("/proc/", pid, "/stat"));
  const std::vector<std::string> fields = split(stat.substr(stat.rfind(')') + 1), ' ');
  return fields.size() > 20 ? fields[20] : "0";
}

/// "PID HOST START", as lock files say it.
struct Owner {
  int64_t pid = 0;
  std::string host, start;

  static Owner self() {
    const auto pid = static_cast<int64_t>(::getpid());
    return {pid, host_name(), start_of(pid)};
  }
  static Owner parse(const std::string& text) {
    Owner owner;
    const std::vector<std::string> words = split(trim(text), ' ');
    if (words.size() != 3) return owner;
    std::from_chars(words[0].data(), words[0].data() + words[0].size(), owner.pid);
    owner.host = words[1];
    owner.start = words[2];
    return owner;
  }
  std::string text() const { return cat(pid, " ", host, " ", start, "\n"); }
  std::string words() const {
    if (pid <= 0) return "another process";
    return cat("process ", pid, host == host_name() ? "" : cat(" on ", host));
  }
  /// Of another host nothing is known but that it may.
  bool may_live() const {
    if (pid <= 0 || host != host_name()) return true;
    if (::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH) return false;
    const std::string now = start_of(pid);
    return now == "0" || start == "0" || now == start;
  }
};

/// A name in the folder of `held` for this process alone, also among hosts; no sweep of temporary
/// files knows it.
std::string own_name(const std::string& held) {
  const Owner self = Owner::self();
  return cat(held, ".", self.host, "-", self.pid, "-", self.start);
}

void write_owner(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  const std::string text = Owner::self().text();
  if (file.get() < 0 || ::write(file.get(), text.data(), text.size()) < 0) fail(path, errno);
}

/// Makes `held`, or says who has it. A link appears with its content, also on NFS.
void take_file(const std::string& held, std::string& holder) {
  if (const Owner owner = Owner::parse(content_of(held)); owner.pid > 0 && owner.may_live()) {
    holder = owner.words();
    return;
  }
  const std::string mine = own_name(held);
  bool taken = false;
  for (int i = 0; i < kTries && holder.empty() && !taken; ++i) {
    write_owner(mine);
    if (taken = ::link(mine.c_str(), held.c_str()) == 0; taken) break;
    if (const int error = errno; error != EEXIST) {
      ::unlink(mine.c_str());
      fail(held, error);
    }
    const std::string found = content_of(held);
    if (found.empty()) continue;  // it has just gone
    if (Owner::parse(found).may_live()) {
      holder = Owner::parse(found).words();
      break;
    }
    // Whoever moves the dead one's file away goes on; a new one that was caught is put back.
    const std::string aside = own_name(held) + ".aside";
    if (::rename(held.c_str(), aside.c_str()) != 0) continue;
    if (content_of(aside) != found && ::link(aside.c_str(), held.c_str()) != 0) errno = 0;
    ::unlink(aside.c_str());
  }
  ::unlink(mine.c_str());
  if (!taken && holder.empty()) holder = "another process";
}

}  // namespace

std::string lock_holder(const std::string& path) {
  for (const std::string& file : {path, path + ".held"}) {
    const Owner owner = Owner::parse(content_of(file));
    if (owner.pid > 0 && owner.may_live()) return owner.words();
  }
  return "";
}

ProcessLock::ProcessLock(Descriptor file, std::string held, std::string note)
    : file_(std::move(file)), held_(std::move(held)), note_(std::move(note)) {
  if (!held_.empty()) at_stop_ = std::make_unique<RemovedAtStop>(held_);
}

std::optional<ProcessLock> ProcessLock::try_take(const std::string& path, std::string& holder) {
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (file.get() < 0) fail(path, errno);
  const std::string held = path + ".held";
  holder.clear();
  const int error = flock_call(file.get(), LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
  const std::string other = content_of(error == 0 ? held : path);
  const bool missing = error == ENOLCK || error == ENOSYS || error == EOPNOTSUPP;
  if (error == EWOULDBLOCK) {
    holder = Owner::parse(content_of(path)).words();
  } else if (error != 0 && !missing) {
    fail(path, error);
  } else if (!other.empty() && Owner::parse(other).may_live()) {
    holder = Owner::parse(other).words();  // which holds it in the other of the two ways
  } else if (missing) {
    take_file(held, holder);
  }
  if (!holder.empty()) return std::nullopt;
  // Who holds a lock is for people only, so a failure to write it does no harm.
  const std::string self = missing ? "" : Owner::self().text();
  if (::ftruncate(file.get(), 0) != 0 || ::pwrite(file.get(), self.data(), self.size(), 0) < 0)
    errno = 0;
  if (!missing) return ProcessLock(std::move(file), "", "");
  return ProcessLock(std::move(file), held,
                     cat("the file system of ", path, " has no flock (", system_words(error),
                         "): ", held, " stands for the lock"));
}

namespace {

ProcessLock taken_or_refused(const std::string& path, std::string hint) {
  std::string holder;
  std::optional<ProcessLock> lock = ProcessLock::try_take(path, holder);
  if (lock) return std::move(*lock);
  if (const std::string held = path + ".held"; path_exists(held))
    hint += cat("; if it runs no more, remove ", held);
  throw Error(ErrorKind::kIo, cat(path, " is held by ", holder)).hint(std::move(hint));
}

}  // namespace

ProcessLock::ProcessLock(const std::string& path, std::string hint)
    : ProcessLock(taken_or_refused(path, std::move(hint))) {}

ProcessLock::~ProcessLock() {
  if (file_.get() < 0) return;
  at_stop_.reset();  // a stop from here on leaves the file, rather than remove another's
  if (held_.empty()) {
    if (::ftruncate(file_.get(), 0) != 0) errno = 0;
  } else if (content_of(held_) == Owner::self().text()) {
    ::unlink(held_.c_str());
  }
}

}  // namespace levanter
