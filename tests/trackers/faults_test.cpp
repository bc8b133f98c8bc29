// Trackers under faults, two hundred in all: none is thrown at the run, and what can be written
// again is.
#include <catch2/catch.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "support/temporary_folder.h"
#include "train/config/train_config.h"
#include "trackers/tracker.h"

using namespace levanter;

namespace {

constexpr int kRounds = 40;  // of each of the five kinds
constexpr int64_t kSteps = 4;

/// A port of this machine that somebody else has.
class TakenPort final {
 public:
  TakenPort() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const raw = reinterpret_cast<sockaddr*>(&address);
    REQUIRE(::bind(socket_, raw, sizeof address) == 0);
    REQUIRE(::listen(socket_, 1) == 0);
    socklen_t size = sizeof address;
    REQUIRE(::getsockname(socket_, raw, &size) == 0);
    port_ = ntohs(address.sin_port);
  }
  ~TakenPort() { ::close(socket_); }
  TakenPort(const TakenPort&) = delete;
  TakenPort& operator=(const TakenPort&) = delete;
  int port() const { return port_; }

 private:
  int socket_, port_ = 0;
};

/// A pipe that nobody reads.
class ClosedPipe final {
 public:
  ClosedPipe() {
    int ends[2] = {-1, -1};
    REQUIRE(::pipe(ends) == 0);
    ::close(ends[0]);
    write_ = ends[1];
  }
  ~ClosedPipe() { ::close(write_); }
  ClosedPipe(const ClosedPipe&) = delete;
  ClosedPipe& operator=(const ClosedPipe&) = delete;
  int fd() const { return write_; }

 private:
  int write_ = -1;
};

/// No file grows beyond so many bytes, as on a full disk; any for -1.
void limit_files(int64_t bytes) {
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
  limit.rlim_cur = bytes < 0 ? limit.rlim_max : static_cast<rlim_t>(bytes);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

std::unique_ptr<Tracker> all_trackers(const std::string& folder, int console_fd, int port) {
  const std::string prometheus =
      port > 0 ? cat("{ type = \"prometheus\", port = ", port, " }") : "\"prometheus\"";
  const TrainConfig config =
      parse_train_config(cat("trainer.tracker = [\"console\", \"jsonl\", \"tensorboard\", \"csv\", "
                             "\"log\", \"wandb\", ",
                             prometheus, "]\n"),
                         "run.toml");
  TrackerContext context;
  context.run_folder = folder;
  context.run_id = "run";
  context.console_fd = console_fd;
  context.config = {{"trainer.seed", "3"}};
  return make_trackers(config.trainer.tracker, context);
}

/// A short run: the fault comes after two steps and is gone for the last ones, if it can go.
void run_under(const std::string& folder, int console_fd, int port,
               const std::function<void()>& fault, const std::function<void()>& mended) {
  const auto tracker = all_trackers(folder, console_fd, port);
  const Histogram histogram{
      3, 0, 1, 1, 1, std::vector<double>(32, 0.5), std::vector<int64_t>(31, 1)};
  for (int64_t step = 1; step <= kSteps; ++step) {
    if (step == 2) {
      tracker->flush();
      fault();
    }
    tracker->log({{"train/loss", 1.0 / static_cast<double>(step)}}, step);
    tracker->log_histograms({{"watch/grad_histogram/a", histogram}}, step);
    tracker->log_samples(std::vector<SampleText>{{"a", "b"}}, step);
    tracker->message("said");
    tracker->flush();
    if (step == 3) mended();
  }
  tracker->ended("finished");
  tracker->finish();
}

/// The steps of metrics.jsonl.
std::vector<int64_t> steps_in(const std::string& folder) {
  std::vector<int64_t> steps;
  for (const std::string& line : split(read_file(join_path(folder, "metrics.jsonl")), '\n'))
    if (!line.empty()) steps.push_back(nlohmann::json::parse(line)["step"]);
  return steps;
}

const std::vector<int64_t> kAll = {1, 2, 3, 4};

}  // namespace

TEST_CASE("two hundred faults of trackers end no run, and what is mended is complete",
          "[trackers]") {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  const testing::TemporaryFolder root;
  const auto nothing = [] {};
  const int quiet = ::open("/dev/null", O_WRONLY);
  for (int round = 0; round < kRounds; ++round) {
    INFO("round " << round);
    const auto folder = [&](const char* kind) {
      std::string path = root / cat(kind, round);
      make_directories(path);
      return path;
    };
    const std::string full = folder("full");
    run_under(
        full, quiet, 0, [&] { limit_files(1 + round); }, [] { limit_files(-1); });
    CHECK(steps_in(full) == kAll);

    const std::string blocked = folder("blocked");  // a folder stands where each file is to be
    run_under(
        blocked, quiet, 0,
        [&] {
          for (const char* file : {"metrics.jsonl", "metrics.csv", "run.log", "metrics.prom"}) {
            remove_tree(join_path(blocked, file));
            make_directories(join_path(join_path(blocked, file), "mine"));
          }
        },
        [&] {
          for (const char* file : {"metrics.jsonl", "metrics.csv", "run.log", "metrics.prom"})
            remove_tree(join_path(blocked, file));
        });
    CHECK(steps_in(blocked) == std::vector<int64_t>{2, 3, 4});

    const std::string gone = folder("gone");  // the run's folder is a file meanwhile
    run_under(
        gone, quiet, 0,
        [&] {
          rename_path(gone, gone + ".away");
          write_file_atomic(gone, "");
        },
        [&] {
          remove_tree(gone);
          rename_path(gone + ".away", gone);
        });
    CHECK(steps_in(gone) == kAll);

    const std::string piped = folder("piped");
    const ClosedPipe pipe;
    run_under(piped, pipe.fd(), 0, nothing, nothing);
    CHECK(steps_in(piped) == kAll);

    const std::string taken = folder("taken");
    const TakenPort port;
    run_under(taken, quiet, port.port(), nothing, nothing);
    CHECK(steps_in(taken) == kAll);
    CHECK_THAT(read_file(join_path(taken, "run.log")), Catch::Contains("the run goes on"));
  }
  ::close(quiet);
}
