// Brings parameters from the ranks that own them to all, while those go on computing.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "dist/communicator.h"
#include "runtime/gather.h"

namespace levanter::dist {

/// The rank that has an array, by its name.
using Owners = std::map<std::string, int64_t, std::less<>>;

/// One rank's end. Exchanges in a thread of its own, one gather after the other: nobody else may
/// call the communicator between a start and its finish. Arrays go straight from one rank's memory
/// into the others', those of different owners at the same time.
class ParameterGather final : public GatherSource {
 public:
  /// `owners`: of every array that is gathered. The communicator outlives this.
  ParameterGather(Communicator& communicator, Owners owners);
  /// What has been started is first done.
  ~ParameterGather() override;
  ParameterGather(const ParameterGather&) = delete;
  ParameterGather& operator=(const ParameterGather&) = delete;

  void start(const Gather& gather, const void* const* held, void* const* whole) override;
  void finish() override;

 private:
  struct Job {
    const Gather* gather;
    const void* const* held;
    void* const* whole;
  };
  void work();
  void exchange(const Job& job);

  Communicator& communicator_;
  const Owners owners_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;  ///< not yet done
  int64_t done_ = 0;      ///< and not yet finished
  std::exception_ptr failure_;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace levanter::dist
