// Attention by cuDNN, where the library is there and has a plan for it; else it goes by kernels of
// ours. The plan is made when a function is compiled, so its workspace is part of what is planned.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "kernels/cuda/api.h"

namespace levanter::cuda {

class Context;

/// The arrays of attention and of its gradients.
enum class SdpaArray : uint8_t { kQ, kK, kV, kO, kLse, kDO, kDQ, kDK, kDV };
inline constexpr size_t kSdpaArrays = 9;

/// What a plan gets when it runs, by the names that its graph has for them: 1 + SdpaArray for
/// arrays, then these.
enum SdpaId : int64_t { kFirstArrayId = 1, kScaleId = 20, kHiddenId, kWindowId, kOneId, kDeltaId };

inline int64_t id_of(SdpaArray array) { return kFirstArrayId + static_cast<int64_t>(array); }

/// Where an array over batch, head, position and head_dim lies; strides in elements, head_dim's is
/// 1. lse has no head_dim.
struct SdpaStrides {
  int64_t batch = 0, head = 0, position = 0;
  auto operator<=>(const SdpaStrides&) const = default;
};

/// Attention of bf16 as kernels/shared/attention_shape.h defines it, without dropout and soft cap;
/// its lse is f32, the natural logarithm of the sum of the exponentials of the scaled scores.
struct SdpaShape {
  bool backward = false;
  int64_t batch = 0, heads = 0, kv_heads = 0;
  int64_t queries = 0, keys = 0;
  int64_t head_dim = 0;
  bool causal = false;
  int64_t window = 0;  ///< 0 for none; else causal
  std::array<SdpaStrides, kSdpaArrays> strides{};
  auto operator<=>(const SdpaShape&) const = default;

  const SdpaStrides& strides_of(SdpaArray array) const {
    return strides[static_cast<size_t>(array)];
  }
};

/// What cuDNN is asked for.
struct SdpaLimits {
  int64_t positions = 512;  ///< queries and keys, at least: what is shorter is quick anyhow
  int64_t workspace_bytes = int64_t{4} << 30;  ///< at most
};

/// A plan that is ready to run; its bits are the same from run to run on cards of one kind with one
/// version of the library.
class SdpaPlan {
 public:
  virtual ~SdpaPlan() = default;
  /// "cudnn eng6_k24=7"
  virtual std::string name() const = 0;
  virtual int64_t workspace_bytes() const = 0;
  /// Enqueues it. `arrays` by SdpaArray, those of the pass; `workspace` is aligned to 256 bytes.
  virtual void run(const std::array<const void*, kSdpaArrays>& arrays, float scale,
                   void* workspace) const = 0;
};

/// The library on one card, opened when it is first of use. From any thread.
class Sdpa {
 public:
  virtual ~Sdpa() = default;
  /// The plan for a shape; null where attention is to go by kernels of ours: without the library,
  /// without a card, with LEVANTER_CUDNN=0, or where the library has no plan within the limits.
  /// error  kDevice where the library fails
  virtual const SdpaPlan* find(const SdpaShape& shape) = 0;
  /// "cudnn 91900", or "no cudnn".
  virtual std::string signature() = 0;
};

/// open  null, or throws kDevice, where the library is not there
std::unique_ptr<Sdpa> make_sdpa(Context& context, Cudnn (*open)(), const SdpaLimits& limits);
/// The machine's library; null in a program that was built without its headers.
extern Cudnn (*const kOpenCudnn)();

}  // namespace levanter::cuda
