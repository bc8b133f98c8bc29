// What the ranks of a run do together between its steps.
#include "dist/crew.h"

#include <algorithm>
#include <cstdint>

#include "base/strings.h"
#include "dist/watch.h"

namespace levanter::dist {

namespace {

/// "", or the name of a service, a line's end and the text for it.
std::string tell(Communicator& communicator, const std::string& call) {
  uint64_t length = call.size();
  broadcast(communicator, std::as_writable_bytes(std::span(&length, 1)));
  std::string told = call;
  told.resize(length);
  if (length > 0) broadcast(communicator, std::as_writable_bytes(std::span(told)));
  return told;
}

}  // namespace

void Crew::call(std::string_view name, std::string_view text) {
  if (is_alone()) return;
  tell(communicator_, cat(name, "\n", text));
  if (Watch* const watch = communicator_.watch()) watch->enter_service(name);
}

void Crew::release() {
  if (!is_alone()) tell(communicator_, "");
}

void Crew::follow() {
  for (;;) {
    const std::string call = tell(communicator_, "");
    if (call.empty()) return;
    const size_t end = call.find('\n');
    const std::string name = call.substr(0, end);
    const auto found = std::find_if(services_.begin(), services_.end(),
                                    [&](const auto& service) { return service.first == name; });
    LEV_CHECK(found != services_.end(), cat("no rank but the first knows ", quote(name)));
    if (Watch* const watch = communicator_.watch()) watch->enter_service(name);
    found->second(call.substr(end + 1));
  }
}

}  // namespace levanter::dist
