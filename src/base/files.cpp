// Files and folders of the POSIX kind.
#include "base/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <system_error>

#include "base/error.h"
#include "base/input.h"
#include "base/stop.h"
#include "base/strings.h"

namespace levanter {

namespace {

constexpr std::string_view kTemporaryMark = ".levanter.tmp-";
/// The most bytes for one call of read or write; Linux moves at most 2 GiB - 4 KiB.
constexpr size_t kMaxTransfer = size_t{1} << 30;

std::string advice(int error) {
  static constexpr struct {
    int errors[3];
    const char* words;
  } kAdvice[] = {
      {{ENOSPC, EDQUOT}, "free space on that disk, or write to another one"},
      {{EACCES, EPERM, EROFS}, "check the permissions of the path and of its folders"},
      {{ENOENT},
       "check the spelling; a relative path starts at the working directory or, inside a config "
       "file, at that file"},
      {{ENOTDIR}, "a part of the path is a file, not a folder"},
      {{EISDIR}, "the path is a folder; name a file in it"},
      {{EMFILE, ENFILE}, "raise the limit of open files (ulimit -n)"},
      {{EFBIG}, "raise the limit of file sizes (ulimit -f), or write to another disk"},
      {{EIO}, "the disk reports a fault; look at the system's log"},
  };
  for (const auto& [errors, words] : kAdvice)
    if (std::find(std::begin(errors), std::end(errors), error) != std::end(errors)) return words;
  return "";
}

[[noreturn]] void fail(std::string_view action, const std::string& path, int error) {
  Error failure(error == ENOMEM ? ErrorKind::kDevice : ErrorKind::kIo,
                cat("cannot ", action, " ", path, ": ", system_words(error)));
  throw std::move(failure).hint(advice(error));
}

/// What a call of the system's gives, made again where a signal broke it off.
template <class Call>
auto retried(std::string_view action, const std::string& path, Call call) {
  for (;;) {
    const auto result = call();
    if (result >= 0) return result;
    if (errno != EINTR) fail(action, path, errno);
  }
}

Descriptor open_or_fail(const std::string& path, int flags, std::string_view action) {
  return Descriptor(
      retried(action, path, [&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); }));
}

int64_t size_of_open(const Descriptor& file, const std::string& path) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) fail("read", path, errno);
  if (S_ISDIR(info.st_mode)) fail("read", path, EISDIR);
  return info.st_size;
}

/// Whether the path names this open file.
bool names(const std::string& path, const Descriptor& file) {
  struct stat named {
  }, held{};
  return ::stat(path.c_str(), &named) == 0 && ::fstat(file.get(), &held) == 0 &&
         named.st_dev == held.st_dev && named.st_ino == held.st_ino;
}

void write_fully(const Descriptor& file, int64_t offset, std::string_view bytes,
                 const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = retried("write", path, [&] {
      return ::pwrite(file.get(), bytes.data(), std::min(bytes.size(), kMaxTransfer), offset);
    });
    bytes.remove_prefix(static_cast<size_t>(n));
    offset += n;
  }
}

/// The kind of what is at a path; 0 where nothing is.
mode_t mode_of(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? info.st_mode : 0;
}

/// A pipe is opened without waiting for somebody to write: reading waits for that, and can be
/// broken off.
int read_flags(const std::string& path) {
  return S_ISFIFO(mode_of(path)) ? O_RDONLY | O_NONBLOCK : O_RDONLY;
}

}  // namespace

std::string system_words(int error) {
  std::string words = std::generic_category().message(error);
  if (words.size() > 1 && words[0] >= 'A' && words[0] <= 'Z' && words[1] >= 'a')
    words[0] = static_cast<char>(words[0] - 'A' + 'a');
  return words;
}

std::string read_file(const std::string& path) {
  const Descriptor file = open_or_fail(path, O_RDONLY, "read");
  struct stat info {};
  if (::fstat(file.get(), &info) == 0 && S_ISCHR(info.st_mode) && path != "/dev/null")
    throw Error(ErrorKind::kIo, cat("cannot read ", path, ": it is a device"))
        .hint("name a file");  // of which some have no end
  std::string content(static_cast<size_t>(size_of_open(file, path)), '\0');
  size_t done = 0;
  // A pipe has size 0 and a file may grow: read until the end shows itself.
  for (;;) {
    if (done == content.size()) content.resize(done + std::max<size_t>(4096, done / 2));
    const ssize_t n = retried("read", path, [&] {
      return ::read(file.get(), content.data() + done,
                    std::min(content.size() - done, kMaxTransfer));
    });
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  content.resize(done);
  return content;
}

void write_file_atomic(const std::string& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

bool path_exists(const std::string& path) { return mode_of(path) != 0; }

bool is_directory(const std::string& path) { return S_ISDIR(mode_of(path)); }

bool is_stream(const std::string& path) {
  const mode_t mode = mode_of(path);
  return mode != 0 && !S_ISDIR(mode) && !S_ISREG(mode);
}

int64_t file_size(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) fail("read", path, errno);
  return info.st_size;
}

int64_t free_disk_bytes(const std::string& path) {
  struct statvfs info {};
  if (::statvfs(path.c_str(), &info) != 0) fail("look at the disk of", path, errno);
  return static_cast<int64_t>(info.f_bavail) * static_cast<int64_t>(info.f_frsize);
}

void make_directories(const std::string& path) {
  if (path.empty() || is_directory(path)) return;
  const std::string parent = parent_path(path);
  if (parent != path) make_directories(parent);
  if (::mkdir(path.c_str(), 0777) != 0) {
    const int error = errno;
    if (error == EEXIST && is_directory(path)) return;
    fail("make the folder", path, error == EEXIST ? ENOTDIR : error);
  }
}

std::vector<std::string> list_directory(const std::string& path) {
  DIR* folder = ::opendir(path.c_str());
  if (!folder) fail("list the folder", path, errno);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(folder)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  const int error = errno;
  ::closedir(folder);
  if (error != 0) fail("list the folder", path, error);
  std::sort(names.begin(), names.end());
  return names;
}

void remove_tree(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return;
    fail("remove", path, errno);
  }
  if (!S_ISDIR(info.st_mode)) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) fail("remove", path, errno);
    return;
  }
  for (const std::string& name : list_directory(path)) remove_tree(join_path(path, name));
  if (::rmdir(path.c_str()) != 0 && errno != ENOENT) fail("remove", path, errno);
}

void rename_path(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail(cat("rename ", from, " to"), to, errno);
}

void exchange_paths(const std::string& a, const std::string& b) {
  if (::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0) return;
  if (errno != EINVAL && errno != ENOSYS) fail(cat("exchange ", a, " with"), b, errno);
  const std::string aside = temporary_name(b);
  rename_path(b, aside);
  rename_path(a, b);
  rename_path(aside, a);
}

void sync_directory(const std::string& path) {
  const Descriptor folder = open_or_fail(path, O_RDONLY | O_DIRECTORY, "open the folder");
  const int error = ::fsync(folder.get()) == 0 ? 0 : errno;
  // Some network file systems cannot sync a folder and say EINVAL: there is no more to be done.
  if (error != 0 && error != EINVAL) fail("make durable", path, error);
}

std::string join_path(std::string_view folder, std::string_view path) {
  if (folder.empty() || path.starts_with('/')) return std::string(path);
  if (path.empty()) return std::string(folder);
  return cat(folder, folder.ends_with('/') ? "" : "/", path);
}

std::string parent_path(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  path = path.substr(0, slash);
  while (path.ends_with('/')) path.remove_suffix(1);
  return path.empty() ? "/" : std::string(path);
}

std::string file_name(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return std::string(path.substr(path.rfind('/') + 1));
}

std::string file_stem(std::string_view path) {
  std::string name = file_name(path);
  const size_t dot = name.rfind('.');
  return dot == std::string::npos || dot == 0 ? name : name.substr(0, dot);
}

std::string absolute_path(std::string_view path) {
  std::string full(path);
  if (!path.starts_with('/')) {
    char* cwd = ::getcwd(nullptr, 0);
    if (!cwd) fail("find the working directory for", full, errno);
    full = cat(static_cast<const char*>(cwd), "/", path);
    std::free(cwd);
  }
  std::vector<std::string> kept;
  for (std::string& part : split(full, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      kept.push_back(std::move(part));
    } else if (!kept.empty()) {
      kept.pop_back();
    }
  }
  return "/" + join(kept, "/");
}

std::string temporary_name(const std::string& path) {
  static std::atomic<int64_t> counter{0};
  return cat(path, kTemporaryMark, static_cast<int64_t>(::getpid()), "-", ++counter);
}

bool is_temporary_name(std::string_view name) {
  const size_t mark = name.rfind(kTemporaryMark);
  if (mark == std::string_view::npos) return false;
  const std::vector<std::string> numbers = split(name.substr(mark + kTemporaryMark.size()), '-');
  return numbers.size() == 2 && std::all_of(numbers.begin(), numbers.end(), [](const auto& n) {
           return !n.empty() && n.find_first_not_of("0123456789") == std::string::npos;
         });
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

namespace {

/// A path that a file may have, or has.
std::string required_file(std::string path) {
  if (!is_stream(path)) return path;
  throw Error(ErrorKind::kIo, cat("cannot write ", path, ": it is a device, a pipe or a socket"))
      .hint("name a file, which is made or replaced as a whole");
}

}  // namespace

/// The last bytes of a file that are not yet written, where the system takes them from for direct
/// writes: aligned, and a whole number of any disk's blocks.
struct AtomicFile::Room {
  static constexpr size_t kBytes = size_t{1} << 20;
  alignas(4096) char bytes[kBytes];
  size_t held = 0;

  /// Takes as much of `text` as there is room for, off its beginning.
  void take(std::string_view& text) {
    const size_t count = std::min(text.size(), kBytes - held);
    std::memcpy(bytes + held, text.data(), count);
    held += count;
    text.remove_prefix(count);
  }
};

AtomicFile::AtomicFile(std::string path, Writes writes)
    : path_(required_file(std::move(path))),
      temporary_(temporary_name(path_)),
      file_(retried("write", path_, [&] {
        return ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      })) {
  if (writes == Writes::kDirect) begin_direct_writes();
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::begin_direct_writes() {
#ifdef O_DIRECT
  if (::fcntl(file_.get(), F_SETFL, O_DIRECT) == 0) room_ = std::make_unique_for_overwrite<Room>();
#endif
}

void AtomicFile::end_direct_writes() {
  if (!room_) return;
  ::fcntl(file_.get(), F_SETFL, 0);
  const auto held = std::exchange(room_, nullptr);
  write_fully(file_, size_ - static_cast<int64_t>(held->held), {held->bytes, held->held}, path_);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

void AtomicFile::write(std::string_view text) {
  while (room_ && !text.empty()) {
    const size_t before = text.size();
    room_->take(text);
    size_ += static_cast<int64_t>(before - text.size());
    if (room_->held < Room::kBytes) continue;
    const auto from = size_ - static_cast<int64_t>(Room::kBytes);
    const ssize_t n = ::pwrite(file_.get(), room_->bytes, Room::kBytes, from);
    if (n == static_cast<ssize_t>(Room::kBytes))
      room_->held = 0;
    else
      end_direct_writes();  // which writes it again, and says what is wrong where something is
  }
  write_fully(file_, size_, text, path_);
  size_ += static_cast<int64_t>(text.size());
}

void AtomicFile::rewrite(int64_t offset, std::string_view text) {
  LEV_CHECK(offset + static_cast<int64_t>(text.size()) <= size_, "only what is there is rewritten");
  end_direct_writes();
  write_fully(file_, offset, text, path_);
}

void AtomicFile::commit() {
  LEV_CHECK(file_.get() >= 0, "an atomic file is committed once");
  end_direct_writes();
  if (::fsync(file_.get()) != 0 || ::close(file_.release()) != 0 ||
      ::rename(temporary_.c_str(), path_.c_str()) != 0)
    fail("write", path_, errno);
  temporary_.clear();
  sync_directory(parent_path(path_));
}

// A pipe is opened without waiting for somebody to read, and then written as any file.
LogFile::LogFile(std::string path)
    : path_(std::move(path)),
      file_(open_or_fail(path_, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK, "write")) {
  ::fcntl(file_.get(), F_SETFL, O_APPEND);
}

int64_t LogFile::size() const { return size_of_open(file_, path_); }

bool LogFile::in_place() const { return names(path_, file_); }

void LogFile::append(std::string_view text) {
  if (torn_from_ >= 0 && size() > torn_from_) truncate(torn_from_);
  torn_from_ = size();
  while (!text.empty()) {
    const ssize_t n = ::write(file_.get(), text.data(), std::min(text.size(), kMaxTransfer));
    const int error = errno;
    if (n < 0 && error == EINTR) continue;
    if (n < 0) {
      if (size() > torn_from_ && ::ftruncate(file_.get(), torn_from_) == 0) torn_from_ = -1;
      fail("write", path_, error);
    }
    text.remove_prefix(static_cast<size_t>(n));
  }
  torn_from_ = -1;
}

void LogFile::truncate(int64_t bytes) {
  if (::ftruncate(file_.get(), bytes) != 0) fail("write", path_, errno);
}

InputFile::InputFile(std::string path)
    : path_(std::move(path)),
      file_(open_or_fail(path_, read_flags(path_), "read")),
      size_(size_of_open(file_, path_)) {}

bool InputFile::in_place() const { return names(path_, file_); }

void InputFile::read(int64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t n = retried("read", path_, [&] {
      return ::pread(file_.get(), out.data(), std::min(out.size(), kMaxTransfer), offset);
    });
    if (n == 0)
      throw Error(ErrorKind::kIo, cat("cannot read ", path_, ": the file is too short"))
          .hint("something has cut it since it was opened");
    out = out.subspan(static_cast<size_t>(n));
    offset += n;
  }
}

SequentialFile::SequentialFile(std::string path)
    : name_(path == "-" ? "the standard input" : path),
      opened_(path == "-" ? Descriptor() : open_or_fail(path, read_flags(path), "read")),
      fd_(path == "-" ? STDIN_FILENO : opened_.get()) {
  ::posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL);  // advice only: a pipe refuses it
}

size_t SequentialFile::read(std::span<char> out) {
  for (;;) {
    wait_for_input(fd_);
    const ssize_t n = ::read(fd_, out.data(), std::min(out.size(), kMaxTransfer));
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR && errno != EAGAIN) fail("read", name_, errno);
  }
}

void wait_for_input(int fd) {
  constexpr int kMilliseconds = 100;
  pollfd input{fd, POLLIN, 0};
  while (::poll(&input, 1, kMilliseconds) == 0) throw_if_stopped();
}

}  // namespace levanter
