// Files at web addresses, read as streams through libcurl where it is installed.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace levanter::net {

/// Whether a path is a web address: it begins with http:// or https://.
bool is_url(std::string_view path);

/// Whether libcurl was found; it is looked for when first needed, so that no start pays for it.
bool has_http();

/// The body of one GET request; redirections are followed.
class HttpStream final {
 public:
  /// error  kIo without libcurl
  explicit HttpStream(std::string url);
  ~HttpStream();
  HttpStream(const HttpStream&) = delete;
  HttpStream& operator=(const HttpStream&) = delete;

  const std::string& name() const;
  /// Fills the beginning of `out` with the next bytes; returns how many, 0 only at the end.
  /// error  kData when the server answers anything but a file, kIo for an address that can't be
  ///        reached, a transfer that is cut, or one that gives nothing for a minute
  size_t read(std::span<char> out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace levanter::net
