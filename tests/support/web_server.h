// A web server for tests: a thread that answers GET requests on this machine alone.
#pragma once

#include <map>
#include <string>
#include <thread>

namespace levanter::testing {

/// What the server says to a path.
struct WebAnswer {
  int code = 200;
  std::string body;
  std::string location = {};  ///< of a redirection
  size_t cut = 0;             ///< bytes at the end that are promised and not sent
};

/// Serves until it goes out of scope.
class WebServer final {
 public:
  explicit WebServer(std::map<std::string, WebAnswer> answers);
  ~WebServer();
  WebServer(const WebServer&) = delete;
  WebServer& operator=(const WebServer&) = delete;

  /// "http://127.0.0.1:PORT/" and the path.
  std::string url(const std::string& path) const;

 private:
  void serve();
  void answer(int connection) const;

  std::map<std::string, WebAnswer> answers_;
  int socket_ = -1, port_ = 0;
  std::thread thread_;
};

}  // namespace levanter::testing
