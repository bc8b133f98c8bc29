#include "faults/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

namespace levanter::faults {

namespace {

constexpr double kPause = 0.0005;
constexpr size_t kLastWords = 600;

void redirect(const std::string& path, int flags, int fd) {
  const int file = ::open(path.c_str(), flags, 0600);
  if (file < 0 || ::dup2(file, fd) < 0) ::_exit(126);
  ::close(file);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

/// The bits of a line such as "SigBlk:\t0000000000000001" in the system's text about a process.
uint64_t mask_of(const std::string& status, const char* name) {
  const size_t at = status.find(name);
  return at == std::string::npos
             ? 0
             : std::strtoull(status.c_str() + at + std::strlen(name), nullptr, 16);
}

}  // namespace

bool Ended::crashed() const {
  return hung || code == static_cast<int>(ErrorKind::kInternal) ||
         (signal != 0 && signal != SIGKILL);
}

std::string Ended::words() const {
  const std::string_view last(trim(output));
  std::string how = cat("exit ", code);
  if (signal) how = cat("ended by signal ", signal);
  if (hung) how = "hangs";
  return cat(how, ": ", last.size() > kLastWords ? last.substr(last.size() - kLastWords) : last);
}

Process::Process(const Lab& lab, const std::string& folder, std::vector<std::string> words,
                 std::vector<std::string> environment, const std::string& input)
    : started_(std::chrono::steady_clock::now()) {
  static int64_t count = 0;
  output_path_ = join_path(lab.folder, cat("output-", ++count));
  words.insert(words.begin(), lab.program);
  const char* path = std::getenv("PATH");
  environment.push_back(cat("PATH=", path ? path : ""));
  environment.push_back(cat("HOME=", lab.folder, "/home"));
  std::vector<char*> word_pointers = pointers(words), environment_pointers = pointers(environment);
  pid_ = ::fork();
  LEV_CHECK(pid_ >= 0, "a trial could not start a process");
  if (pid_ != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::signal(SIGHUP, SIG_DFL);  // under nohup the program would have to ignore it
  redirect(input, O_RDONLY, STDIN_FILENO);
  redirect(output_path_, O_WRONLY | O_CREAT | O_APPEND, STDOUT_FILENO);
  if (::dup2(STDOUT_FILENO, STDERR_FILENO) < 0 || ::chdir(folder.c_str()) != 0) ::_exit(126);
  ::execve(word_pointers[0], word_pointers.data(), environment_pointers.data());
  ::_exit(127);
}

Process::~Process() {
  if (pid_ < 0) return;
  if (!ended_) wait(0);
  ::unlink(output_path_.c_str());
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      started_(other.started_),
      output_path_(std::move(other.output_path_)),
      ended_(std::move(other.ended_)) {}

double Process::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
}

bool Process::running() {
  if (ended_) return false;
  int status = 0;
  rusage used{};
  if (::wait4(pid_, &status, WNOHANG, &used) != pid_) return true;
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  Ended end;
  end.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  end.code = end.signal ? 128 + end.signal : WEXITSTATUS(status);
  end.processor_seconds = seconds(used.ru_utime) + seconds(used.ru_stime);
  end.peak_bytes = int64_t{used.ru_maxrss} << 10;
  if (path_exists(output_path_)) end.output = read_file(output_path_);
  ended_ = std::move(end);
  return false;
}

void Process::signal(int number) const {
  if (!ended_) ::kill(pid_, number);
}

bool Process::expects(int number) const {
  const std::string path = cat("/proc/", pid_, "/status");
  if (ended_ || !path_exists(path)) return false;
  const std::string status = read_file(path);
  const uint64_t expected =
      mask_of(status, "SigBlk:") | mask_of(status, "SigCgt:") | mask_of(status, "SigIgn:");
  return (expected >> (number - 1) & 1) != 0;
}

Ended Process::wait(double limit) {
  const double end = seconds() + limit;
  while (running()) {
    if (seconds() < end) {
      sleep_for(kPause);
      continue;
    }
    ::kill(pid_, SIGKILL);
    while (running()) sleep_for(kPause);
    ended_->hung = true;
  }
  return *ended_;
}

Ended run(const Lab& lab, const std::string& folder, std::vector<std::string> words,
          std::vector<std::string> environment) {
  return Process(lab, folder, std::move(words), std::move(environment)).wait();
}

void sleep_for(double seconds) {
  if (seconds <= 0) return;
  const auto whole = static_cast<time_t>(seconds);
  const timespec pause{whole, static_cast<long>((seconds - static_cast<double>(whole)) * 1e9)};
  ::nanosleep(&pause, nullptr);
}

}  // namespace levanter::faults
