// prometheus: the text that its servers read, in a file and on a port.
#include <catch2/catch.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "support/temporary_folder.h"
#include "train/config/train_config.h"
#include "trackers/tracker.h"

namespace levanter::trackers {
extern const TrackerEntry prometheus_entry;
}

using namespace levanter;

namespace {

/// A port that is free now.
int free_port() {
  const Descriptor probe(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(::bind(probe.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::getsockname(probe.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return ntohs(address.sin_port);
}

/// A client of the port, closed where nobody listens.
Descriptor connect_to(int port) {
  Descriptor client(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return Descriptor();
  return client;
}

std::string ask(int port, const std::string& request) {
  const Descriptor client = connect_to(port);
  if (client.get() < 0) return "no connection";
  if (::send(client.get(), request.data(), request.size(), 0) < 0) return "nothing sent";
  std::string answer;
  char piece[1024];
  for (ssize_t n; (n = ::recv(client.get(), piece, sizeof piece, 0)) > 0;)
    answer.append(piece, static_cast<size_t>(n));
  return answer;
}

std::unique_ptr<Tracker> open(const testing::TemporaryFolder& folder, const std::string& keys) {
  const auto config = parse_train_config(
      cat("trainer.tracker = [{ type = \"prometheus\"", keys, " }]\n"), "run.toml");
  TrackerContext context;
  context.run_folder = folder.path();
  context.run_id = "a \"b\"";
  context.total_steps = 9;
  return trackers::prometheus_entry.make(*config.trainer.tracker[0], context);
}

}  // namespace

TEST_CASE("the last values are a textfile, and an answer where a port is named", "[trackers]") {
  const testing::TemporaryFolder folder;
  const int port = free_port();
  const auto tracker = open(folder, cat(", port = ", port));
  tracker->log({{"train/loss", 2.5}, {"grad/norm/total", INFINITY}}, 3);
  tracker->flush();
  const std::string run = "{run=\"a \\\"b\\\"\"} ";
  const std::string text = read_file(folder / "metrics.prom");
  CHECK_THAT(text, Catch::Contains("# TYPE levanter_train_loss gauge\nlevanter_train_loss" + run +
                                   "2.5\n"));
  CHECK_THAT(text, Catch::Contains("levanter_grad_norm_total" + run + "+Inf\n"));
  CHECK_THAT(text, Catch::Contains("state=\"running\"} 1\n"));
  const std::string answer = ask(port, "GET /metrics HTTP/1.1\r\n\r\n");
  CHECK_THAT(answer, Catch::StartsWith("HTTP/1.1 200 OK\r\n"));
  CHECK(answer.ends_with(text));
  CHECK_THAT(ask(port, "GET / HTTP/1.1\r\n\r\n"), Catch::StartsWith("HTTP/1.1 404 "));
  const auto second = open(folder, cat(", port = ", port));  // of another run on the machine
  CHECK_THAT(second->news(), Catch::Contains("cannot be opened"));
  tracker->ended("failed: x");
  tracker->finish();
  CHECK_THAT(read_file(folder / "metrics.prom"), Catch::Contains("state=\"failed\"} 1\n"));
}

TEST_CASE("a client that sends its request byte by byte is not waited for", "[trackers]") {
  const testing::TemporaryFolder folder;
  const int port = free_port();
  const auto tracker = open(folder, cat(", port = ", port));
  tracker->log({{"train/loss", 2.5}}, 3);
  tracker->flush();
  const Descriptor client = connect_to(port);
  REQUIRE(client.get() >= 0);
  constexpr int kMostBytes = 1000;  // of the 4,096 that a request may have
  int sent = 0;
  for (char answer; sent < kMostBytes && ::send(client.get(), "a", 1, MSG_NOSIGNAL) == 1; ++sent) {
    if (::recv(client.get(), &answer, 1, MSG_DONTWAIT) >= 0) break;  // told, or closed
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  CHECK(sent < kMostBytes);
  CHECK_THAT(ask(port, "GET /metrics HTTP/1.1\r\n\r\n"), Catch::StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_CASE("what Prometheus would not collect is refused", "[trackers]") {
  const testing::TemporaryFolder folder;
  CHECK_THROWS_WITH(open(folder, ", textfile = \"a.txt\""),
                    Catch::Contains("does not end in .prom"));
  CHECK_THROWS_WITH(open(folder, ", host = \"nohost\""), Catch::Contains("is no IPv4 address"));
  CHECK_THROWS_WITH(open(folder, ", port = 0"), Catch::Contains("at least 1"));
}
