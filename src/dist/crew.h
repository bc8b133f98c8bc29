// What the ranks of a run do together between its steps, as rank 0 finds it due.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dist/communicator.h"

namespace levanter::dist {

/// Rank 0 calls the others to their services, any number of times, and releases them; the others
/// follow until they are released. On one rank nothing happens.
class Crew final {
 public:
  using Service = std::function<void(const std::string& text)>;

  /// The communicator outlives it.
  explicit Crew(Communicator& communicator) : communicator_(communicator) {}

  /// Another rank than 0: what it does when it is called to `name`. Rank 0 does its own part, if
  /// there is one, after its call.
  void serve(std::string name, Service service) {
    services_.emplace_back(std::move(name), std::move(service));
  }

  /// Rank 0: all others do this service, with this text. They begin at once and rank 0 does not
  /// wait for them.
  void call(std::string_view name, std::string_view text = "");
  /// Rank 0: the others go on.
  void release();
  /// Another rank: serves until released.
  void follow();

  Communicator& communicator() { return communicator_; }
  bool is_alone() const { return communicator_.size() == 1; }

 private:
  Communicator& communicator_;
  std::vector<std::pair<std::string, Service>> services_;
};

}  // namespace levanter::dist
