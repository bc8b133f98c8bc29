// What people see while token caches are made.
#include "commands/cache_progress.h"

#include <unistd.h>

#include <cstdio>

#include "base/strings.h"

namespace levanter::commands {

std::string describe(const data::CacheStatus& status) {
  return cat(status.name, ": ", count_of(status.documents, "document"), ", ",
             count_of(status.tokens, "token"));
}

data::CacheReport cache_progress() {
  return [is_terminal = isatty(STDERR_FILENO) != 0](const data::CacheStatus& status) {
    if (!status.complete && !is_terminal) return;
    std::string line = describe(status);
    if (status.now.text_bytes > 0 && status.seconds > 0)
      line += cat(
          ", ", format_fixed(static_cast<double>(status.now.text_bytes) / 1e6 / status.seconds, 1),
          " MB/s");
    if (status.complete && status.now.replaced > 0)
      line += cat("; ", format_count(status.now.replaced),
                  " pieces of text were no UTF-8 and became U+FFFD");
    std::fprintf(stderr, "%s%s%s", is_terminal ? "\r\033[K" : "", line.c_str(),
                 status.complete || !is_terminal ? "\n" : "");
    std::fflush(stderr);
  };
}

}  // namespace levanter::commands
