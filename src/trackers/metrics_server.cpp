// Answers GET /metrics with the text that was published last.
#include "trackers/metrics_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "base/threads.h"

namespace levanter::trackers {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kWaitMilliseconds = 200;  // between two looks whether it is to end
constexpr milliseconds kClientTime{1000};
constexpr size_t kMostRequest = 4096;

/// Waits until a client can be read or written; false where it can't before the deadline.
bool is_ready(int client, short events, Clock::time_point deadline) {
  const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
  pollfd wait = {client, events, 0};
  return left > 0 && ::poll(&wait, 1, static_cast<int>(left)) > 0;
}

/// What a client asks for, as far as it comes in time.
std::string read_request(int client, Clock::time_point deadline) {
  std::string request;
  char piece[1024];
  while (request.size() < kMostRequest && request.find("\r\n\r\n") == request.npos &&
         is_ready(client, POLLIN, deadline)) {
    const ssize_t n = ::recv(client, piece, sizeof piece, MSG_DONTWAIT);
    if (n <= 0) break;
    request.append(piece, static_cast<size_t>(n));
  }
  return request;
}

std::string answer_to(std::string_view request, const std::string& metrics) {
  const bool known = request.starts_with("GET /metrics ") || request.starts_with("GET /metrics?");
  const std::string& body = known ? metrics : "levanter: /metrics\n";
  return cat("HTTP/1.1 ", known ? "200 OK" : "404 Not Found",
             "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: ",
             body.size(), "\r\nConnection: close\r\n\r\n", body);
}

void send_all(int client, std::string_view text, Clock::time_point deadline) {
  while (!text.empty() && is_ready(client, POLLOUT, deadline)) {
    const ssize_t n = ::send(client, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n <= 0) return;
    text.remove_prefix(static_cast<size_t>(n));
  }
}

}  // namespace

struct MetricsServer::Impl {
  std::string host;
  int port = 0;
  std::mutex mutex;
  std::string text;
  std::atomic<bool> ends = false;
  std::thread thread;

  std::string open() {
    Descriptor opened(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int yes = 1;
    ::setsockopt(opened.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    ::inet_pton(AF_INET, host.c_str(), &address.sin_addr);
    if (opened.get() < 0 ||
        ::bind(opened.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(opened.get(), 8) != 0)
      return cat("port ", port, " of ", host, " cannot be opened: ", system_words(errno));
    const int fd = opened.release();
    try {
      thread = start_thread([this, fd] { serve(Descriptor(fd)); });
    } catch (const Error& error) {
      ::close(fd);
      return error.message();
    }
    return "";
  }

  void serve(Descriptor listening) {
    while (!ends) {
      pollfd wait = {listening.get(), POLLIN, 0};
      if (::poll(&wait, 1, kWaitMilliseconds) <= 0) continue;
      const Descriptor client(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (client.get() < 0) continue;
      const Clock::time_point deadline = Clock::now() + kClientTime;
      const std::string request = read_request(client.get(), deadline);
      std::string metrics;
      {
        const std::scoped_lock lock(mutex);
        metrics = text;
      }
      send_all(client.get(), answer_to(request, metrics), deadline);
    }
  }
};

bool is_address(const std::string& text) {
  in_addr address{};
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1;
}

MetricsServer::MetricsServer(std::string host, int port) : impl_(std::make_unique<Impl>()) {
  impl_->host = std::move(host);
  impl_->port = port;
}

MetricsServer::~MetricsServer() {
  impl_->ends = true;
  if (impl_->thread.joinable()) impl_->thread.join();
}

std::string MetricsServer::publish(const std::string& text) {
  {
    const std::scoped_lock lock(impl_->mutex);
    impl_->text = text;
  }
  return impl_->thread.joinable() ? "" : impl_->open();
}

}  // namespace levanter::trackers
