// Sources that can be read only once: the standard input and pipes.
#include "data/files/pipes.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/error.h"
#include "base/input.h"
#include "base/strings.h"

namespace levanter::data {
namespace {

constexpr size_t kPiece = size_t{1} << 20;

[[noreturn]] void fail(std::string_view action) {
  throw Error(ErrorKind::kIo, cat("cannot ", action, " the standard input: ", system_words(errno)))
      .hint("give the text as a file");
}

}  // namespace

bool is_standard_input(const std::string& path) {
  return path == "-" || path == "/dev/stdin" || path == "/dev/fd/0" || path == "/proc/self/fd/0";
}

std::string_view name_of_source(const std::string& path) {
  return is_standard_input(path) ? "the standard input" : std::string_view(path);
}

bool is_pipe(const std::string& path) {
  if (is_standard_input(path)) return true;
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) return S_ISFIFO(info.st_mode);
  return path.starts_with("/dev/fd/") || path.starts_with("/proc/self/fd/");
}

bool offers_standard_input() {
  struct stat info {};
  if (::fstat(STDIN_FILENO, &info) != 0) return false;
  if (S_ISREG(info.st_mode)) return ::lseek(STDIN_FILENO, 0, SEEK_CUR) < info.st_size;
  return S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode);
}

void require_standard_input(const std::string& key, const std::string& hint) {
  struct stat info {};
  const int access = ::fcntl(STDIN_FILENO, F_GETFL);
  std::string_view fault;
  if (access < 0 || (access & O_ACCMODE) == O_WRONLY || ::fstat(STDIN_FILENO, &info) != 0)
    fault = "closed";
  else if (::isatty(STDIN_FILENO) != 0)
    fault = "a terminal";
  else if (S_ISCHR(info.st_mode) || (S_ISREG(info.st_mode) && !offers_standard_input()))
    fault = "empty";
  if (fault.empty()) {
    wait_for_input(STDIN_FILENO);
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (::poll(&input, 1, 0) > 0 && (input.revents & POLLIN) == 0) fault = "empty";
  }
  if (!fault.empty())
    throw Error(ErrorKind::kData, cat(key, " is the standard input, which is ", fault)).hint(hint);
}

StandardInputCopy::StandardInputCopy(int64_t most_bytes)
    : real_(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)) {
  const Descriptor copy(::memfd_create("standard input", MFD_CLOEXEC));
  if (real_.get() < 0 || copy.get() < 0) fail("copy");
  SequentialFile input("-");
  std::vector<char> piece(kPiece);
  int64_t size = 0;
  while (const size_t n = input.read(piece)) {
    size += static_cast<int64_t>(n);
    if (size > most_bytes)
      throw Error(ErrorKind::kDevice,
                  cat("the standard input is longer than a third of the memory, ",
                      format_bytes(most_bytes)))
          .hint("the tokenizer's vocabulary is taken from the whole text; give it as a file");
    for (size_t done = 0; done < n;) {
      const ssize_t written = ::write(copy.get(), piece.data() + done, n - done);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) fail("copy");
      done += static_cast<size_t>(written);
    }
  }
  if (::dup2(copy.get(), STDIN_FILENO) < 0) fail("copy");
  rewind();
}

StandardInputCopy::~StandardInputCopy() { ::dup2(real_.get(), STDIN_FILENO); }

void StandardInputCopy::rewind() {
  if (::lseek(STDIN_FILENO, 0, SEEK_SET) != 0) fail("rewind");
}

}  // namespace levanter::data
