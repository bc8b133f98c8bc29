// Files and folders of the POSIX kind: whole reads, atomic writes and path arithmetic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace levanter {

// Every function that touches the file system throws Error of kind kIo on a failure, naming the
// path, the system's own words and what to do about it.

/// The system's words for an errno, to stand inside a message.
std::string system_words(int error);

/// The whole content of a file.
std::string read_file(const std::string& path);

/// Replaces the content of `path` at once: a reader, or a machine that loses power, sees the old
/// content or the new, never a part. On failure the old content stands and nothing else is left.
void write_file_atomic(const std::string& path, std::string_view content);

/// True when a file or folder of that name is there (a dangling link is not).
bool path_exists(const std::string& path);
bool is_directory(const std::string& path);
/// A pipe, a device or a socket: what can be read only once, if at all.
bool is_stream(const std::string& path);
/// Bytes of the file.
int64_t file_size(const std::string& path);
/// Bytes that this process may still write on the disk that holds the folder `path`.
int64_t free_disk_bytes(const std::string& path);

/// Makes the folder and its missing parents; a folder that is there already is no error.
void make_directories(const std::string& path);
/// Names (not paths) in the folder, without "." and "..", sorted bytewise.
std::vector<std::string> list_directory(const std::string& path);
/// Removes a file, or a folder with all that it holds; a missing path is no error.
void remove_tree(const std::string& path);
/// Renames within one file system, replacing a file of the new name.
void rename_path(const std::string& from, const std::string& to);
/// Exchanges two folders (or files) at once where the file system can, else by three renames.
void exchange_paths(const std::string& a, const std::string& b);
/// Makes the folder's own entries durable.
void sync_directory(const std::string& path);

/// `path` below `folder`; an absolute `path` stands by itself.
std::string join_path(std::string_view folder, std::string_view path);
/// "a/b/c.txt" -> "a/b", "c.txt" -> ".", "/c" -> "/".
std::string parent_path(std::string_view path);
/// "a/b/c.txt" -> "c.txt".
std::string file_name(std::string_view path);
/// "a/b/c.tar.gz" -> "c.tar", ".profile" -> ".profile".
std::string file_stem(std::string_view path);
/// The path from the root, starting at the working directory, without ".", ".." and double slashes;
/// links are not followed.
std::string absolute_path(std::string_view path);

/// A name in the folder of `path` that no other process and no earlier call uses.
std::string temporary_name(const std::string& path);
/// True for the names that temporary_name makes: what a killed process may leave behind.
bool is_temporary_name(std::string_view name);

/// An open file of the system's, closed with the object.
class Descriptor final {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&&) = delete;

  int get() const { return fd_; }
  /// Gives the file up, to be closed by the caller.
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

/// How a file comes to the disk.
enum class Writes {
  kCached,  ///< through the system's page cache, from which it can be read soon
  kDirect,  ///< past it (O_DIRECT), which spares the processor a large file; cached where the file
            ///< system knows no such writes
};

/// A file that appears under its name only when it is complete.
class AtomicFile final {
 public:
  /// Opens a temporary file in the folder of `path`.
  explicit AtomicFile(std::string path, Writes writes = Writes::kCached);
  /// Removes the temporary file unless `commit` succeeded.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Appends; cached writes are not buffered, so give it large pieces.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Writes anew what stands at `offset`, all of it written before.
  void rewrite(int64_t offset, std::string_view text);
  /// Bytes written so far.
  int64_t size() const { return size_; }
  /// Makes the content durable, gives it its name, and makes the name durable.
  void commit();

 private:
  struct Room;  // for what is to be written directly

  void begin_direct_writes();
  void end_direct_writes();

  std::string path_, temporary_;
  Descriptor file_;
  int64_t size_ = 0;
  std::unique_ptr<Room> room_;  ///< null: writes are cached
};

/// A log that grows at its end, made if it is missing. Others may cut or remove it meanwhile: what
/// is appended follows what is there. Not durable.
class LogFile final {
 public:
  explicit LogFile(std::string path);

  const std::string& path() const { return path_; }
  int64_t size() const;
  /// Whether the path still names this file: it was neither removed nor renamed.
  bool in_place() const;
  /// Appends all of `text`; on failure what was written of it is cut off, at the latest before the
  /// next append.
  void append(std::string_view text);
  /// Makes the file `bytes` long.
  void truncate(int64_t bytes);

 private:
  std::string path_;
  Descriptor file_;
  int64_t torn_from_ = -1;  ///< where a part of a text stands that could not be cut off
};

/// A file open for reading at any offset.
class InputFile final {
 public:
  explicit InputFile(std::string path);

  int64_t size() const { return size_; }
  /// Whether the path still names this file: it was neither removed nor replaced.
  bool in_place() const;
  /// Fills `out` from `offset`; an Error when the file ends before.
  void read(int64_t offset, std::span<std::byte> out) const;

 private:
  std::string path_;
  Descriptor file_;
  int64_t size_;
};

/// A file read once from its beginning: pipes and the standard input too.
class SequentialFile final {
 public:
  /// Opens `path`; "-" is the standard input.
  explicit SequentialFile(std::string path);

  /// Fills the beginning of `out`; the number of bytes, 0 only at the end of the file.
  size_t read(std::span<char> out);
  /// What to call it in an error: the path, or "the standard input".
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  Descriptor opened_;  ///< but for the standard input
  int fd_;
};

}  // namespace levanter
