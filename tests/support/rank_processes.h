// A run whose ranks are processes that share no memory, joined by sockets.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "support/program.h"

namespace levanter::testing {

/// What differs between the ranks of a test.
struct RankStart {
  std::string config;                         ///< the config's file
  std::string input = {};                     ///< the standard input
  std::vector<std::string> environment = {};  ///< "NAME=value"
  int64_t fault_at = -1;                      ///< the exchange, from 0, that fails; -1: none
};

/// The test program, once for each rank, each of which trains by train::train and ends with the
/// exit code and the error that the program would have.
class RankProcesses final {
 public:
  explicit RankProcesses(const std::vector<RankStart>& starts);

  Program& rank(size_t r) { return *processes_[r]; }
  /// How each rank ended.
  std::vector<Ended> wait();

 private:
  std::vector<std::unique_ptr<Program>> processes_;
};

/// Whether this process is one of those.
bool is_rank_process();
/// What one of those does; returns its exit code. No thread may have been started before.
int run_as_rank();

}  // namespace levanter::testing
