// The real program, run as a person runs it.
#include "support/program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>

#include "base/random.h"
#include "base/strings.h"

/// Of the address sanitizer's library, where that is linked.
extern "C" [[gnu::weak]] void __asan_init();

namespace levanter::testing {

namespace {

/// build/levanter, which stands above the folder of the test program.
std::string program_path() {
  char path[4096];
  const ssize_t size = ::readlink("/proc/self/exe", path, sizeof path);
  LEV_CHECK(size > 0, "the test program knows its own path");
  const std::string tests = parent_path(std::string_view(path, static_cast<size_t>(size)));
  std::string program = join_path(parent_path(tests), "levanter");
  LEV_CHECK(path_exists(program), cat("the tests run ", program, ", which is not built"));
  return program;
}

void redirect(const std::string& path, int flags, int fd) {
  const int file = ::open(path.c_str(), flags, 0600);
  if (file < 0 || ::dup2(file, fd) < 0) ::_exit(126);
  ::close(file);
}

/// In the child, up to the program itself.
[[noreturn]] void become(const Surroundings& s, const std::string& streams,
                         std::vector<char*>& words, std::vector<char*>& environment) {
  redirect(join_path(streams, "in"), O_RDONLY, STDIN_FILENO);
  redirect(s.out_path.empty() ? join_path(streams, "out") : s.out_path, O_WRONLY | O_CREAT,
           STDOUT_FILENO);
  redirect(join_path(streams, "err"), O_WRONLY | O_CREAT, STDERR_FILENO);
  if (s.closed_stream >= 0) ::close(s.closed_stream);
  if (!s.folder.empty() && ::chdir(s.folder.c_str()) != 0) ::_exit(126);
  if (s.file_bytes >= 0) {
    const rlimit limit{static_cast<rlim_t>(s.file_bytes), RLIM_INFINITY};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(126);
  }
  if (s.address_space >= 0) {
    const rlimit limit{static_cast<rlim_t>(s.address_space), RLIM_INFINITY};
    if (::setrlimit(RLIMIT_AS, &limit) != 0) ::_exit(126);
  }
  for (const int descriptor : s.descriptors)
    if (::fcntl(descriptor, F_SETFD, 0) != 0) ::_exit(126);
  ::execve(words[0], words.data(), environment.data());
  ::_exit(127);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

std::string read_if_there(const std::string& path) {
  return path_exists(path) ? read_file(path) : "";
}

}  // namespace

bool address_is_sanitized() { return __asan_init != nullptr; }

bool memory_can_be_limited() {
  if (address_is_sanitized()) WARN("skipped: the address sanitizer maps more than any limit");
  return !address_is_sanitized();
}

Program::Program(std::vector<std::string> words, const Surroundings& surroundings) {
  words.insert(words.begin(), surroundings.program.empty() ? program_path() : surroundings.program);
  std::vector<std::string> environment = surroundings.environment;
  for (char** name = environ; *name; ++name) environment.emplace_back(*name);
  write_file_atomic(streams_ / "in", surroundings.input);
  std::vector<char*> word_pointers = pointers(words), environment_pointers = pointers(environment);
  pid_ = ::fork();
  LEV_CHECK(pid_ >= 0, "a test could not start a process");
  if (pid_ == 0) become(surroundings, streams_.path(), word_pointers, environment_pointers);
}

Program::~Program() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Program::signal(int number) const { ::kill(pid_, number); }

void Program::limit_file_bytes(int64_t bytes) const {
  const rlimit limit{bytes < 0 ? RLIM_INFINITY : static_cast<rlim_t>(bytes), RLIM_INFINITY};
  LEV_CHECK(::prlimit(pid_, RLIMIT_FSIZE, &limit, nullptr) == 0, "a limit can be set");
}

Ended Program::wait() {
  int status = 0;
  LEV_CHECK(::waitpid(pid_, &status, 0) == pid_, "the program can be waited for");
  pid_ = -1;
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          read_if_there(streams_ / "out"), read_if_there(streams_ / "err")};
}

Ended run_program(std::vector<std::string> words, const Surroundings& surroundings) {
  return Program(std::move(words), surroundings).wait();
}

Ended run_shell(const std::string& line, const std::string& folder) {
  const TemporaryFolder streams;
  const int status = std::system(cat("cd '", folder, "' && PATH='", parent_path(program_path()),
                                     "':\"$PATH\" && { ", line, "; } >'", streams / "out", "' 2>'",
                                     streams / "err", "' </dev/null")
                                     .c_str());
  return {WEXITSTATUS(status), read_if_there(streams / "out"), read_if_there(streams / "err")};
}

SmallRun::SmallRun() {
  static constexpr std::string_view kWords[] = {"the ", "cat ", "sat ",  "on ", "a ",   "mat\n",
                                                "and ", "ran ", "away ", "to ", "see ", "more\n"};
  std::string text;
  for (uint64_t i = 0; i < 1500; ++i) text += kWords[random_below(key_from_seed(1), i, 12)];
  write_file_atomic(folder_ / "a.txt", text);
  write_file_atomic(folder_ / "run.toml", R"([model]
max_seq_len = 16
hidden_dim = 16
num_layers = 1
num_heads = 2

[data]
tokenizer = { type = "char" }

[data.components.words]
train = ["a.txt"]
validation_fraction = 0.1

[trainer]
num_train_steps = 20
train_batch_size = 4
steps_per_eval = 10
log_dir = "logs"
threads = 1
checkpointer = { save_interval = "1h", keep = [{ every = 10 }] }
)");
}

Ended SmallRun::operator()(std::vector<std::string> words, Surroundings surroundings) const {
  surroundings.folder = path();
  return run_program(std::move(words), surroundings);
}

Ended SmallRun::train(std::vector<std::string> words, Surroundings surroundings) const {
  words.insert(words.begin(), {"train", "--config", "run.toml"});
  return (*this)(std::move(words), std::move(surroundings));
}

std::string SmallRun::shorten(std::string text) const {
  for (size_t at = 0; (at = text.find(path(), at)) != std::string::npos;)
    text.replace(at, path().size(), "<folder>");
  return text;
}

bool wait_for_growth(const std::string& path, int64_t bytes) {
  constexpr timespec kPause{0, 5'000'000};
  constexpr int kPauses = 6000;  // half a minute
  for (int i = 0; i < kPauses; ++i) {
    if (path_exists(path) && file_size(path) > bytes) return true;
    ::nanosleep(&kPause, nullptr);
  }
  return false;
}

std::string snapshot(const std::string& folder) {
  std::string text;
  for (const std::string& name : list_directory(folder)) {
    const std::string path = join_path(folder, name);
    if (name == "lock") continue;
    text += is_directory(path) ? snapshot(path) : cat(path, "\n", read_file(path), "\n");
  }
  return text;
}

}  // namespace levanter::testing
