#include "support/web_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strings.h"

namespace levanter::testing {

WebServer::WebServer(std::map<std::string, WebAnswer> answers) : answers_(std::move(answers)) {
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  LEV_CHECK(::bind(socket_, any, size) == 0 && ::listen(socket_, 8) == 0, "a port to listen on");
  ::getsockname(socket_, any, &size);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { serve(); });
}

WebServer::~WebServer() {
  ::shutdown(socket_, SHUT_RDWR);
  thread_.join();
  ::close(socket_);
}

std::string WebServer::url(const std::string& path) const {
  return cat("http://127.0.0.1:", port_, "/", path);
}

void WebServer::serve() {
  for (int connection; (connection = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
    answer(connection);
    ::close(connection);
  }
}

void WebServer::answer(int connection) const {
  std::string request;
  char buffer[4096];
  while (request.find("\r\n\r\n") == std::string::npos) {
    const ssize_t n = ::read(connection, buffer, sizeof buffer);
    if (n <= 0) return;
    request.append(buffer, static_cast<size_t>(n));
  }
  std::string path = request.substr(5, request.find(' ', 5) - 5);  // behind "GET /"
  path = path.substr(0, path.find('?'));
  const auto found = answers_.find(path);
  const WebAnswer answer = found == answers_.end() ? WebAnswer{404, "no such page"} : found->second;
  std::string reply =
      cat("HTTP/1.1 ", answer.code,
          " OK\r\nConnection: close\r\nContent-Length: ", answer.body.size(), "\r\n");
  if (!answer.location.empty()) reply += cat("Location: ", answer.location, "\r\n");
  reply += cat("\r\n", answer.body.substr(0, answer.body.size() - answer.cut));
  for (size_t sent = 0; sent < reply.size();) {
    const ssize_t n = ::send(connection, reply.data() + sent, reply.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return;
    sent += static_cast<size_t>(n);
  }
}

}  // namespace levanter::testing
