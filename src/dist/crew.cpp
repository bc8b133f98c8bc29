// What the ranks of a run do together between its steps.
#include "dist/crew.h"

#include <algorithm>

#include "base/strings.h"
#include "dist/watch.h"

namespace levanter::dist {

void Crew::call(std::string_view name, std::string_view text) {
  if (is_alone()) return;
  broadcast_text(communicator_, cat(name, "\n", text));
  if (Watch* const watch = communicator_.watch()) watch->enter_service(name);
}

void Crew::release() {
  if (!is_alone()) broadcast_text(communicator_, "");
}

void Crew::follow() {
  for (;;) {
    // "", or the name of a service, a line's end and the text for it.
    const std::string call = broadcast_text(communicator_, "");
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
