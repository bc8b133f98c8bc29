// A cuDNN that runs graphs operation by operation on the emulated card, in the place of the real
// one.
//
// It reads the descriptors as the real one does, keeps of them what a plan needs, and refuses what
// is not whole: an array described in two ways, memory that is not the card's, less alignment than
// was said. Its heuristics offer two engines, of which the first cannot be had.
#pragma once

#include <cuda.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

namespace levanter::testing {

struct GraphProgram;  // cuda/graph_program.h

/// The emulated card has it while this lives: the only one, which outlives the backends made on it.
class FakeCudnn final {
 public:
  FakeCudnn();
  ~FakeCudnn();
  FakeCudnn(const FakeCudnn&) = delete;
  FakeCudnn& operator=(const FakeCudnn&) = delete;

  /// 91900 at first.
  void set_version(size_t version) { version_ = version; }
  /// What every plan needs: 1 KiB at first.
  void set_workspace_bytes(int64_t bytes) { workspace_bytes_ = bytes; }
  /// Offers no engine.
  void set_offers_nothing() { offers_ = false; }
  /// Lets plans fail, which is no refusal.
  void set_fails() { fails_ = true; }
  /// Is not there.
  static void remove();

  int64_t plans() const { return plans_; }
  /// Plans that were enqueued.
  int64_t runs() const { return runs_; }
  /// What the last of them got, by its id.
  const std::map<int64_t, const void*>& last_places() const { return last_places_; }
  /// The strides of an array of the last plan that was run.
  std::array<int64_t, 4> last_strides(int64_t id) const;
  const void* last_workspace() const { return last_workspace_; }
  /// Handles and descriptors that were given out and not given back.
  int64_t living() const { return living_; }

  struct Calls;  // the library's functions

 private:
  std::mutex mutex_;
  size_t version_ = 91900;
  int64_t workspace_bytes_ = 1024, plans_ = 0, runs_ = 0, living_ = 0;
  bool offers_ = true, fails_ = false;
  std::map<int64_t, const void*> last_places_;
  std::shared_ptr<const GraphProgram> last_program_;
  const void* last_workspace_ = nullptr;
};

}  // namespace levanter::testing
