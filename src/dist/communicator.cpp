// Finds a communicator by its name, and asks all ranks whether any says yes.
#include "dist/communicator.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace levanter::dist {

const CommunicatorEntry& entry(std::string_view name) {
  for (const CommunicatorEntry* candidate : entries())
    if (candidate->name == name) return *candidate;
  throw Error(ErrorKind::kInternal, cat("there is no communicator ", quote(name)));
}

bool any(Communicator& communicator, bool mine) {
  const auto ranks = static_cast<size_t>(communicator.size());
  if (ranks == 1) return mine;
  const std::byte own{mine};
  std::vector<std::byte> answers(ranks);
  std::vector<Received> receive;
  for (std::byte& answer : answers) receive.push_back({&answer, 1});
  communicator.exchange(std::vector<Sent>(ranks, Sent{&own, 1}), receive);
  return std::find(answers.begin(), answers.end(), std::byte{1}) != answers.end();
}

}  // namespace levanter::dist
