// What a backend that computes on the host's processor says of it.
#include "device/backend.h"

#include "base/files.h"
#include "base/strings.h"

namespace levanter {

std::string Backend::device_name() const {
  if (!path_exists("/proc/cpuinfo")) return "processor";
  const std::string text = read_file("/proc/cpuinfo");
  const size_t at = text.find("model name");
  if (at == std::string::npos) return "processor";
  const size_t colon = text.find(':', at), end = text.find('\n', at);
  return std::string(trim(std::string_view(text).substr(colon + 1, end - colon - 1)));
}

}  // namespace levanter
