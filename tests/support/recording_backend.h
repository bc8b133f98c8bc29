// The reference backend as one that records: what its kernels are given while it does so is noted,
// and done when the recording is replayed.
#pragma once

#include <memory>
#include <vector>

#include "support/forwarding_backend.h"

namespace levanter::testing {

class RecordingBackend final : public ForwardingBackend {
 public:
  /// How often what was called.
  struct Counts {
    int prepared = 0, recorded = 0, replayed = 0;
    int enqueued = 0;  ///< kernels that ran at once
    bool operator==(const Counts&) const = default;
  };
  const Counts& counts() const { return state_->counts; }

  std::unique_ptr<Kernel> lower(const KernelRequest& request) const override {
    return std::make_unique<NotedKernel>(ForwardingBackend::lower(request), state_);
  }
  void prepare() const override { ++state_->counts.prepared; }
  std::unique_ptr<Recording> record(const Runnable& work) const override {
    ++state_->counts.recorded;
    std::vector<Call> calls;
    state_->calls = &calls;
    work.run();
    state_->calls = nullptr;
    return std::make_unique<Replay>(std::move(calls), state_);
  }

 private:
  struct Call {
    const Kernel* kernel;
    const void* const* inputs;
    void* const* outputs;
    void* workspace;
  };
  struct State {
    Counts counts;
    std::vector<Call>* calls = nullptr;  ///< while it records
  };

  class NotedKernel final : public Kernel {
   public:
    NotedKernel(std::unique_ptr<Kernel> kernel, std::shared_ptr<State> state)
        : kernel_(std::move(kernel)), state_(std::move(state)) {}
    void run(const void* const* inputs, void* const* outputs, void* workspace) const override {
      if (state_->calls) return state_->calls->push_back({&*kernel_, inputs, outputs, workspace});
      ++state_->counts.enqueued;
      kernel_->run(inputs, outputs, workspace);
    }
    int64_t workspace_bytes() const override { return kernel_->workspace_bytes(); }
    bool in_place(size_t output, size_t input) const override {
      return kernel_->in_place(output, input);
    }

   private:
    std::unique_ptr<Kernel> kernel_;
    std::shared_ptr<State> state_;
  };

  class Replay final : public Recording {
   public:
    Replay(std::vector<Call> calls, std::shared_ptr<State> state)
        : calls_(std::move(calls)), state_(std::move(state)) {}
    void replay() const override {
      ++state_->counts.replayed;
      for (const Call& call : calls_) call.kernel->run(call.inputs, call.outputs, call.workspace);
    }

   private:
    std::vector<Call> calls_;
    std::shared_ptr<State> state_;
  };

  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace levanter::testing
