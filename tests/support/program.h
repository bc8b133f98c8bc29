// The real program, run as a person runs it: words, folder and input in; exit code and texts out.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "support/temporary_folder.h"

namespace levanter::testing {

/// How a program ended. `code` is 128 + the signal when a signal ended it.
struct Ended {
  int code = -1;
  std::string out, err;
};

/// What the program finds when it starts.
struct Surroundings {
  std::string folder = {};                    ///< the working directory; "": this process's
  std::string input = {};                     ///< the standard input, a file
  std::vector<std::string> environment = {};  ///< "NAME=value", added to this process's
  int64_t file_bytes = -1;                    ///< the longest file that it may write; -1: any
  int64_t address_space = -1;                 ///< bytes that it may map; -1: any
  int closed_stream = -1;                     ///< a standard stream that is closed: 0, 1 or 2
  std::string out_path = {};                  ///< where the standard output goes; "": to Ended::out
  std::string program = {};                   ///< its path; "": build/levanter
  std::vector<int> descriptors = {};  ///< of this process, which it keeps under their numbers
};

/// Whether the program runs under the address sanitizer; the tests themselves are never compiled
/// for it.
bool address_is_sanitized();

/// Whether Surroundings::address_space works. The address sanitizer maps more than any limit; then
/// it says that the test is skipped, which is for the caller to do.
bool memory_can_be_limited();

/// A process of build/levanter, or of another program.
class Program final {
 public:
  explicit Program(std::vector<std::string> words, const Surroundings& surroundings = {});
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  int64_t pid() const { return pid_; }
  void signal(int number) const;
  /// The longest file that it may write from here on, as a disk that is full; -1: any.
  void limit_file_bytes(int64_t bytes) const;
  Ended wait();

 private:
  TemporaryFolder streams_;
  pid_t pid_ = -1;
};

/// The program from start to end.
Ended run_program(std::vector<std::string> words, const Surroundings& surroundings = {});

/// A line for the shell, which finds the program as `levanter`.
Ended run_shell(const std::string& line, const std::string& folder);

/// A folder with a text, a.txt of 15 different characters, and run.toml, which trains a very small
/// model on it for 20 steps in well under a second.
class SmallRun final {
 public:
  SmallRun();

  /// `levanter words...` in the folder.
  Ended operator()(std::vector<std::string> words, Surroundings surroundings = {}) const;
  /// `levanter train --config run.toml words...`
  Ended train(std::vector<std::string> words = {}, Surroundings surroundings = {}) const;
  const std::string& path() const { return folder_.path(); }
  std::string operator/(std::string_view name) const { return folder_ / name; }
  /// The text with the folder's path shortened to "<folder>".
  std::string shorten(std::string text) const;

 private:
  TemporaryFolder folder_;
};

/// Waits until a file is longer than `bytes`; false when it is not within half a minute.
bool wait_for_growth(const std::string& path, int64_t bytes);

/// Path and content of every file below a folder, but for lock files, in one text: equal texts are
/// equal folders.
std::string snapshot(const std::string& folder);

}  // namespace levanter::testing
