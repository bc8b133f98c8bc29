// Files and folders of the POSIX kind.
#include "base/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/strings.h"

namespace levanter {

namespace {

constexpr std::string_view kTemporaryMark = ".tmp-";
/// The most bytes for one call of read or write; Linux moves at most 2 GiB - 4 KiB.
constexpr size_t kMaxTransfer = size_t{1} << 30;

std::string advice(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "free space on that disk, or write to another one";
    case EACCES:
    case EPERM:
    case EROFS:
      return "check the permissions of the path and of its folders";
    case ENOENT:
      return "check the spelling; a relative path starts at the working directory or, inside a "
             "config file, at that file";
    case ENOTDIR:
      return "a part of the path is a file, not a folder";
    case EISDIR:
      return "the path is a folder; name a file in it";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (ulimit -n)";
    case EFBIG:
      return "raise the limit of file sizes (ulimit -f), or write to another disk";
    case EIO:
      return "the disk reports a fault; look at the system's log";
    default:
      return "";
  }
}

[[noreturn]] void fail(std::string_view action, const std::string& path, int error) {
  Error failure(ErrorKind::kIo, cat("cannot ", action, " ", path, ": ", system_words(error)));
  throw std::move(failure).hint(advice(error));
}

int open_or_fail(const std::string& path, int flags, std::string_view action) {
  int fd = -1;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) fail(action, path, errno);
  return fd;
}

void close_quietly(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

int64_t size_of_open(int fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) fail("read", path, errno);
  if (S_ISDIR(info.st_mode)) fail("read", path, EISDIR);
  return info.st_size;
}

void write_fully(int fd, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), std::min(bytes.size(), kMaxTransfer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("write", path, errno);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

}  // namespace

std::string system_words(int error) {
  std::string words = std::generic_category().message(error);
  if (words.size() > 1 && words[0] >= 'A' && words[0] <= 'Z' && words[1] >= 'a')
    words[0] = static_cast<char>(words[0] - 'A' + 'a');
  return words;
}

std::string read_file(const std::string& path) {
  int fd = open_or_fail(path, O_RDONLY, "read");
  std::string content;
  try {
    content.resize(static_cast<size_t>(size_of_open(fd, path)));
    size_t done = 0;
    // A pipe has size 0 and a file may grow: read until the end shows itself.
    for (;;) {
      if (done == content.size()) content.resize(done + std::max<size_t>(4096, done / 2));
      const ssize_t n =
          ::read(fd, content.data() + done, std::min(content.size() - done, kMaxTransfer));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("read", path, errno);
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    content.resize(done);
  } catch (...) {
    close_quietly(fd);
    throw;
  }
  close_quietly(fd);
  return content;
}

void write_file_atomic(const std::string& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

bool path_exists(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

bool is_directory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

bool is_stream(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && !S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode);
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
  int fd = open_or_fail(path, O_RDONLY | O_DIRECTORY, "open the folder");
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  close_quietly(fd);
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
  return mark != std::string_view::npos &&
         name.find_first_not_of("0123456789-", mark + kTemporaryMark.size()) ==
             std::string_view::npos;
}

AtomicFile::AtomicFile(std::string path)
    : path_(std::move(path)), temporary_(temporary_name(path_)) {
  fd_ = open_or_fail(temporary_, O_WRONLY | O_CREAT | O_EXCL, "write");
}

AtomicFile::~AtomicFile() {
  close_quietly(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write_fully(fd_, bytes, path_);
  size_ += static_cast<int64_t>(bytes.size());
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void AtomicFile::commit() {
  LEV_CHECK(fd_ >= 0, "an atomic file is committed once");
  if (::fsync(fd_) != 0) fail("write", path_, errno);
  const int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0) fail("write", path_, errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("write", path_, errno);
  temporary_.clear();
  sync_directory(parent_path(path_));
}

LogFile::LogFile(std::string path) : path_(std::move(path)) {
  fd_ = open_or_fail(path_, O_WRONLY | O_CREAT, "write");
}

LogFile::~LogFile() { close_quietly(fd_); }

void LogFile::write(int64_t offset, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::pwrite(fd_, text.data(), std::min(text.size(), kMaxTransfer), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("write", path_, errno);
    text.remove_prefix(static_cast<size_t>(n));
    offset += n;
  }
}

void LogFile::truncate(int64_t bytes) {
  if (::ftruncate(fd_, bytes) != 0) fail("write", path_, errno);
}

InputFile::InputFile(std::string path) : path_(std::move(path)) {
  fd_ = open_or_fail(path_, O_RDONLY, "read");
  try {
    size_ = size_of_open(fd_, path_);
  } catch (...) {
    close_quietly(fd_);
    throw;
  }
}

InputFile::~InputFile() { close_quietly(fd_); }

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

void InputFile::read(int64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t n = ::pread(fd_, out.data(), std::min(out.size(), kMaxTransfer), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("read", path_, errno);
    if (n == 0) throw Error(ErrorKind::kIo, cat("cannot read ", path_, ": the file is too short"));
    out = out.subspan(static_cast<size_t>(n));
    offset += n;
  }
}

SequentialFile::SequentialFile(std::string path) : name_(std::move(path)), owned_(name_ != "-") {
  fd_ = owned_ ? open_or_fail(name_, O_RDONLY, "read") : STDIN_FILENO;
  if (!owned_) name_ = "the standard input";
  ::posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL);  // advice only: a pipe refuses it
}

SequentialFile::~SequentialFile() {
  if (owned_) close_quietly(fd_);
}

size_t SequentialFile::read(std::span<char> out) {
  for (;;) {
    const ssize_t n = ::read(fd_, out.data(), std::min(out.size(), kMaxTransfer));
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) fail("read", name_, errno);
  }
}

MappedFile::MappedFile(const std::string& path) {
  int fd = open_or_fail(path, O_RDONLY, "read");
  void* address = nullptr;
  int error = 0;
  size_t size = 0;
  try {
    size = static_cast<size_t>(size_of_open(fd, path));
    if (size > 0) address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    error = address == MAP_FAILED ? errno : 0;
  } catch (...) {
    close_quietly(fd);
    throw;
  }
  close_quietly(fd);
  if (error != 0) fail("map", path, error);
  bytes_ = {static_cast<const std::byte*>(address), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

FileLock::FileLock(std::string path, std::string hint) {
  fd_ = open_or_fail(path, O_RDWR | O_CREAT, "lock");
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    char owner[32] = {};
    const ssize_t n = ::pread(fd_, owner, sizeof owner - 1, 0);
    close_quietly(fd_);
    if (error != EWOULDBLOCK) fail("lock", path, error);
    const std::string pid(trim({owner, static_cast<size_t>(std::max<ssize_t>(n, 0))}));
    throw Error(ErrorKind::kIo,
                cat(path, " is held by ", pid.empty() ? "another process" : cat("process ", pid)))
        .hint(std::move(hint));
  }
  // The number is for people only, so a failure to write it does no harm.
  const std::string pid = cat(static_cast<int64_t>(::getpid()), "\n");
  if (::ftruncate(fd_, 0) == 0 && ::pwrite(fd_, pid.data(), pid.size(), 0) < 0) errno = 0;
}

FileLock::~FileLock() { close_quietly(fd_); }

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

}  // namespace levanter
