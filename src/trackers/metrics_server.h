// Answers GET /metrics with the text that was published last.
#pragma once

#include <memory>
#include <string>

namespace levanter::trackers {

/// Whether a text is an IPv4 address, "127.0.0.1".
bool is_address(const std::string& text);

/// One client at a time, each for no longer than a second, however it drips; the run waits for one
/// only at its end.
class MetricsServer final {
 public:
  MetricsServer(std::string host, int port);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  /// Takes the text, and opens the port if it is not open yet. returns why it cannot be, or ""
  std::string publish(const std::string& text);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace levanter::trackers
