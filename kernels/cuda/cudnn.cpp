// Opens cuDNN and finds its functions; its graph API's descriptors as objects.
#include "kernels/cuda/cudnn.h"

#include <utility>

#include "base/strings.h"
#include "kernels/cuda/api.h"
#include "kernels/cuda/library.h"

namespace levanter::cuda {

namespace {

constexpr const char* kHint =
    "install cuDNN 9 and add its folder to LD_LIBRARY_PATH; without it attention goes by kernels "
    "of the program's own";

}  // namespace

Cudnn open_cudnn() {
  static constexpr const char* kFiles[] = {"libcudnn.so.9", "libcudnn_graph.so.9",
                                           "/usr/local/cuda/lib64/libcudnn.so"};
  const Library library{"cuDNN, a library of attention", kFiles, kHint};
  const Functions functions(library);
  Cudnn c;
  functions.find(c.get_version, "cudnnGetVersion");
  functions.find(c.get_error_string, "cudnnGetErrorString");
  functions.find(c.get_last_error_string, "cudnnGetLastErrorString");
  functions.find(c.create, "cudnnCreate");
  functions.find(c.destroy, "cudnnDestroy");
  functions.find(c.set_stream, "cudnnSetStream");
  functions.find(c.descriptor_create, "cudnnBackendCreateDescriptor");
  functions.find(c.descriptor_destroy, "cudnnBackendDestroyDescriptor");
  functions.find(c.descriptor_finalize, "cudnnBackendFinalize");
  functions.find(c.attribute_set, "cudnnBackendSetAttribute");
  functions.find(c.attribute_get, "cudnnBackendGetAttribute");
  functions.find(c.execute, "cudnnBackendExecute");
  return c;
}

void require(const Cudnn& cudnn, cudnnStatus_t status, std::string_view what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char words[512] = {};
  cudnn.get_last_error_string(words, sizeof words - 1);
  throw Error(ErrorKind::kDevice,
              cat("cannot ", what, ": cuDNN says \"", cudnn.get_error_string(status), "\"",
                  *words ? ", " : "", words))
      .hint("LEVANTER_CUDNN=0 does without cuDNN, by kernels of the program's own");
}

bool is_refusal(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_NOT_SUPPORTED:
    case CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN:
    case CUDNN_STATUS_NOT_SUPPORTED_SHAPE:
    case CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE:
    case CUDNN_STATUS_NOT_SUPPORTED_LAYOUT:
    case CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH:
    case CUDNN_STATUS_NOT_SUPPORTED_SHARED_MEMORY_INSUFFICIENT:
    case CUDNN_STATUS_NOT_SUPPORTED_PADDING:
      return true;
    default:
      return false;
  }
}

Descriptor::Descriptor(const Cudnn& cudnn, cudnnBackendDescriptorType_t type, const char* what)
    : cudnn_(&cudnn), what_(what) {
  require(cudnn, cudnn.descriptor_create(type, &descriptor_), cat("describe ", what));
}

Descriptor::~Descriptor() {
  if (descriptor_) cudnn_->descriptor_destroy(descriptor_);
}

Descriptor::Descriptor(Descriptor&& other) noexcept
    : cudnn_(other.cudnn_),
      what_(other.what_),
      descriptor_(std::exchange(other.descriptor_, nullptr)) {}

void Descriptor::finish() { require(*cudnn_, try_to_finish(), cat("describe ", what_)); }

cudnnStatus_t Descriptor::try_to_finish() { return cudnn_->descriptor_finalize(descriptor_); }

void Descriptor::set_bytes(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                           int64_t count, const void* values) {
  require(*cudnn_, cudnn_->attribute_set(descriptor_, name, type, count, values),
          cat("set attribute ", static_cast<int>(name), " of ", what_));
}

int64_t Descriptor::get_bytes(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                              int64_t count, void* values) const {
  int64_t found = 0;
  require(*cudnn_, cudnn_->attribute_get(descriptor_, name, type, count, &found, values),
          cat("get attribute ", static_cast<int>(name), " of ", what_));
  return found;
}

int64_t Descriptor::get_integer(cudnnBackendAttributeName_t name) const {
  int64_t value = 0;
  get_bytes(name, CUDNN_TYPE_INT64, 1, &value);
  return value;
}

}  // namespace levanter::cuda
