// The functions of cuDNN that the backend calls, and its graph API's descriptors as objects.
#pragma once

#include <cudnn.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace levanter::cuda {

/// Functions of libcudnn, by the names of cudnn_graph.h.
struct Cudnn {
  decltype(&cudnnGetVersion) get_version = nullptr;
  decltype(&cudnnGetErrorString) get_error_string = nullptr;
  decltype(&cudnnGetLastErrorString) get_last_error_string = nullptr;
  decltype(&cudnnCreate) create = nullptr;
  decltype(&cudnnDestroy) destroy = nullptr;
  decltype(&cudnnSetStream) set_stream = nullptr;
  decltype(&cudnnBackendCreateDescriptor) descriptor_create = nullptr;
  decltype(&cudnnBackendDestroyDescriptor) descriptor_destroy = nullptr;
  decltype(&cudnnBackendFinalize) descriptor_finalize = nullptr;
  decltype(&cudnnBackendSetAttribute) attribute_set = nullptr;
  decltype(&cudnnBackendGetAttribute) attribute_get = nullptr;
  decltype(&cudnnBackendExecute) execute = nullptr;
};

/// error  kDevice with the library's words, unless `status` is success; `what` was to be done
void require(const Cudnn& cudnn, cudnnStatus_t status, std::string_view what);

/// Whether the library says that it has no way to do this, rather than that something is wrong with
/// it or with the machine.
bool is_refusal(cudnnStatus_t status);

/// A descriptor of the graph API: made, given attributes, finished; destroyed with the object.
class Descriptor final {
 public:
  /// `what` it describes, for errors.
  Descriptor(const Cudnn& cudnn, cudnnBackendDescriptorType_t type, const char* what);
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  cudnnBackendDescriptor_t get() const { return descriptor_; }

  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
           std::span<const T> values) {
    set_bytes(name, type, static_cast<int64_t>(values.size()), values.data());
  }
  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
    set_bytes(name, type, 1, &value);
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& part) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, part.descriptor_);
  }
  void set(cudnnBackendAttributeName_t name, int64_t value) { set(name, CUDNN_TYPE_INT64, value); }
  /// error  kDevice where the attributes do not go together
  void finish();
  /// What the library says to it, for descriptors that it may refuse.
  cudnnStatus_t try_to_finish();

  /// How many values there are of an attribute, at most `values.size()` of which are written.
  template <class T>
  int64_t get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
              std::span<T> values) const {
    return get_bytes(name, type, static_cast<int64_t>(values.size()), values.data());
  }
  int64_t get_integer(cudnnBackendAttributeName_t name) const;

 private:
  void set_bytes(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                 const void* values);
  int64_t get_bytes(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                    int64_t count, void* values) const;

  const Cudnn* cudnn_;
  const char* what_;
  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

}  // namespace levanter::cuda
