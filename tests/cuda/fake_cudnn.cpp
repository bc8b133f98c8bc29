// A cuDNN that runs graphs operation by operation on the emulated card.
#include "cuda/fake_cudnn.h"

#include <cstring>
#include <vector>

#include "base/error.h"
#include "cuda/fake_cublas.h"
#include "cuda/graph_program.h"
#include "kernels/cuda/cudnn.h"

namespace levanter::testing {

namespace {

constexpr int64_t kRefusedEngine = 1, kEngine = 2;
constexpr size_t kWorkspaceAlignment = 256;

FakeCudnn* library = nullptr;

/// What a cudnnHandle_t points to.
struct Handle {
  CUstream stream = nullptr;
};

/// Values as they were given.
struct Attribute {
  cudnnBackendAttributeType_t type{};
  int64_t count = 0;
  std::vector<std::byte> bytes;
};

/// A descriptor. A graph's, its engines' and its plans' hold what the graph was when it was
/// finished: descriptors of its parts may be gone when the plan runs.
struct Made {
  cudnnBackendDescriptorType_t type{};
  bool finished = false;
  std::map<cudnnBackendAttributeName_t, Attribute> attributes;
  std::shared_ptr<const GraphProgram> program;
  int64_t engine = kEngine;

  bool has(cudnnBackendAttributeName_t name) const { return attributes.contains(name); }
  template <class T>
  std::vector<T> all(cudnnBackendAttributeName_t name) const {
    const auto found = attributes.find(name);
    if (found == attributes.end()) return {};
    std::vector<T> values(found->second.bytes.size() / sizeof(T));
    std::memcpy(values.data(), found->second.bytes.data(), values.size() * sizeof(T));
    return values;
  }
  template <class T>
  T one(cudnnBackendAttributeName_t name) const {
    T value{};
    const auto found = attributes.find(name);
    if (found != attributes.end() && found->second.bytes.size() == sizeof value)
      std::memcpy(&value, found->second.bytes.data(), sizeof value);
    return value;
  }
  Made* part(cudnnBackendAttributeName_t name) const {
    return static_cast<Made*>(one<cudnnBackendDescriptor_t>(name));
  }
};

size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
      return 1;
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
      return 8;
    default:
      return 4;
  }
}

template <class T>
void set(Made& made, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
         const T& value) {
  Attribute& attribute = made.attributes[name];
  attribute = {type, 1, std::vector<std::byte>(sizeof value)};
  std::memcpy(attribute.bytes.data(), &value, sizeof value);
}

/// Reads an operation graph.
class Reader final {
 public:
  /// Null where something is missing, or an array is described in two ways.
  std::shared_ptr<const GraphProgram> read(const Made& graph) {
    for (const auto descriptor : graph.all<cudnnBackendDescriptor_t>(CUDNN_ATTR_OPERATIONGRAPH_OPS))
      add(*static_cast<const Made*>(descriptor));
    return sound_ && !program_.operations.empty() ? std::make_shared<GraphProgram>(program_)
                                                  : nullptr;
  }

 private:
  void add(const Made& made) {
    sound_ = sound_ && made.finished;
    GraphOperation& o = program_.operations.emplace_back();
    if (made.type == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR) {
      o.kind = GraphOperation::Kind::kProduct;
      o.in = {array(made, CUDNN_ATTR_OPERATION_MATMUL_ADESC),
              array(made, CUDNN_ATTR_OPERATION_MATMUL_BDESC)};
      o.out = array(made, CUDNN_ATTR_OPERATION_MATMUL_CDESC);
    } else if (made.type == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR) {
      o.kind = GraphOperation::Kind::kReduction;
      const Made& how = *made.part(CUDNN_ATTR_OPERATION_REDUCTION_DESC);
      o.reduction = how.one<cudnnReduceTensorOp_t>(CUDNN_ATTR_REDUCTION_OPERATOR);
      o.in = {array(made, CUDNN_ATTR_OPERATION_REDUCTION_XDESC)};
      o.out = array(made, CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
    } else if (made.type == CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR) {
      o.kind = GraphOperation::Kind::kReshape;
      o.in = {array(made, CUDNN_ATTR_OPERATION_RESHAPE_XDESC)};
      o.out = array(made, CUDNN_ATTR_OPERATION_RESHAPE_YDESC);
    } else {
      add_map(made, o);
    }
  }

  void add_map(const Made& made, GraphOperation& o) {
    const Made& how = *made.part(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    o.map = how.one<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
    o.kind = o.map == CUDNN_POINTWISE_GEN_INDEX ? GraphOperation::Kind::kIndex
                                                : GraphOperation::Kind::kMap;
    o.axis = how.one<int64_t>(CUDNN_ATTR_POINTWISE_AXIS);
    for (const auto name :
         {CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
          CUDNN_ATTR_OPERATION_POINTWISE_TDESC})
      if (made.has(name)) o.in.push_back(array(made, name));
    o.out = array(made, CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
  }

  int64_t array(const Made& operation, cudnnBackendAttributeName_t name) {
    const Made& made = *operation.part(name);
    GraphArray a;
    a.type = made.one<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE);
    const auto sizes = made.all<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
    const auto strides = made.all<int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
    sound_ = sound_ && sizes.size() == a.sizes.size() && strides.size() == a.strides.size();
    if (!sound_) return 0;
    std::copy(sizes.begin(), sizes.end(), a.sizes.begin());
    std::copy(strides.begin(), strides.end(), a.strides.begin());
    a.is_virtual = made.one<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL);
    a.is_number = made.one<bool>(CUDNN_ATTR_TENSOR_IS_BY_VALUE);
    a.alignment = made.one<int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
    const auto id = made.one<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID);
    const auto [known, fresh] = program_.arrays.try_emplace(id, a);
    sound_ = sound_ && made.finished && (fresh || known->second == a);
    return id;
  }

  GraphProgram program_;
  bool sound_ = true;
};

}  // namespace

using Calls = FakeCudnn::Calls;

struct FakeCudnn::Calls {
  static size_t get_version() { return library->version_; }
  static cudnnStatus_t open(cudnnHandle_t* handle) {
    const std::lock_guard lock(library->mutex_);
    ++library->living_;
    *handle = reinterpret_cast<cudnnHandle_t>(new Handle);
    return CUDNN_STATUS_SUCCESS;
  }
  static cudnnStatus_t close(cudnnHandle_t handle) {
    const std::lock_guard lock(library->mutex_);
    --library->living_;
    delete reinterpret_cast<Handle*>(handle);
    return CUDNN_STATUS_SUCCESS;
  }
  static cudnnStatus_t set_stream(cudnnHandle_t handle, cudaStream_t stream) {
    reinterpret_cast<Handle*>(handle)->stream = stream;
    return CUDNN_STATUS_SUCCESS;
  }
  static cudnnStatus_t create(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* made) {
    const std::lock_guard lock(library->mutex_);
    ++library->living_;
    *made = new Made{.type = type, .attributes = {}, .program = {}};
    return CUDNN_STATUS_SUCCESS;
  }
  static cudnnStatus_t destroy(cudnnBackendDescriptor_t made) {
    const std::lock_guard lock(library->mutex_);
    --library->living_;
    delete static_cast<Made*>(made);
    return CUDNN_STATUS_SUCCESS;
  }
  static cudnnStatus_t set_attribute(cudnnBackendDescriptor_t descriptor,
                                     cudnnBackendAttributeName_t name,
                                     cudnnBackendAttributeType_t type, int64_t count,
                                     const void* values) {
    auto& made = *static_cast<Made*>(descriptor);
    if (made.finished || count < 1) return CUDNN_STATUS_BAD_PARAM;
    Attribute& attribute = made.attributes[name];
    attribute = {type, count, std::vector<std::byte>(static_cast<size_t>(count) * size_of(type))};
    std::memcpy(attribute.bytes.data(), values, attribute.bytes.size());
    return CUDNN_STATUS_SUCCESS;
  }

  static cudnnStatus_t finalize(cudnnBackendDescriptor_t descriptor) {
    auto& made = *static_cast<Made*>(descriptor);
    if (made.finished) return CUDNN_STATUS_BAD_PARAM;
    made.finished = true;
    switch (made.type) {
      case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
        if (!made.one<cudnnHandle_t>(CUDNN_ATTR_OPERATIONGRAPH_HANDLE))
          return CUDNN_STATUS_BAD_PARAM;
        made.program = Reader().read(made);
        return made.program ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
      case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
        made.program = made.part(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH)->program;
        return library->offers_ ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN;
      case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
        return finalize_plan(made);
      default:
        return CUDNN_STATUS_SUCCESS;
    }
  }
  static cudnnStatus_t finalize_plan(Made& plan) {
    const Made& settings = *plan.part(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
    if (library->fails_) return CUDNN_STATUS_INTERNAL_ERROR_COMPILATION_FAILED;
    if (settings.engine == kRefusedEngine) return CUDNN_STATUS_NOT_SUPPORTED_SHAPE;
    plan.program = settings.program;
    ++library->plans_;
    return CUDNN_STATUS_SUCCESS;
  }

  static cudnnStatus_t get_attribute(cudnnBackendDescriptor_t const descriptor,
                                     cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t,
                                     int64_t most, int64_t* count, void* values) {
    auto& made = *static_cast<Made*>(descriptor);
    auto** const parts = static_cast<Made**>(values);
    *count = 1;
    switch (name) {
      case CUDNN_ATTR_ENGINEHEUR_RESULTS:
        if (most < 2) return CUDNN_STATUS_BAD_PARAM;
        *count = 2;
        for (const int64_t engine : {kRefusedEngine, kEngine}) {
          Made& settings = *parts[engine - kRefusedEngine];
          settings.program = made.program;
          settings.engine = engine;
          settings.finished = true;
        }
        return CUDNN_STATUS_SUCCESS;
      case CUDNN_ATTR_ENGINECFG_ENGINE:
        set(*parts[0], CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, made.engine);
        return CUDNN_STATUS_SUCCESS;
      case CUDNN_ATTR_ENGINECFG_KNOB_CHOICES:
        set(*parts[0], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE,
            CUDNN_KNOB_TYPE_KERNEL_CFG);
        set(*parts[0], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, int64_t{7});
        return CUDNN_STATUS_SUCCESS;
      case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
        std::memcpy(values, &library->workspace_bytes_, sizeof(int64_t));
        return CUDNN_STATUS_SUCCESS;
      default:
        return get_given(made, name, most, count, values);
    }
  }
  static cudnnStatus_t get_given(const Made& made, cudnnBackendAttributeName_t name, int64_t most,
                                 int64_t* count, void* values) {
    const auto found = made.attributes.find(name);
    if (found == made.attributes.end() || found->second.count > most) return CUDNN_STATUS_BAD_PARAM;
    *count = found->second.count;
    std::memcpy(values, found->second.bytes.data(), found->second.bytes.size());
    return CUDNN_STATUS_SUCCESS;
  }

  /// Whether the place is what the graph says of it.
  static bool is_right(const GraphArray& array, const void* place) {
    return array.is_number ||
           (reinterpret_cast<size_t>(place) % static_cast<size_t>(array.alignment) == 0 &&
            is_card_memory(place, static_cast<size_t>(array.bytes())));
  }

  static cudnnStatus_t execute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan_descriptor,
                               cudnnBackendDescriptor_t pack_descriptor) {
    const auto& plan = *static_cast<const Made*>(plan_descriptor);
    const auto& pack = *static_cast<const Made*>(pack_descriptor);
    const auto ids = pack.all<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    const auto given = pack.all<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    auto* const workspace = pack.one<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    const auto bytes = static_cast<size_t>(library->workspace_bytes_);
    if (ids.size() != given.size() ||
        reinterpret_cast<size_t>(workspace) % kWorkspaceAlignment != 0 ||
        !is_card_memory(workspace, bytes))
      return CUDNN_STATUS_BAD_PARAM;
    std::map<int64_t, void*> places;
    auto numbers = std::make_shared<std::map<int64_t, float>>();  // those of the caller may go
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto array = plan.program->arrays.find(ids[i]);
      if (array == plan.program->arrays.end() || !is_right(array->second, given[i]))
        return CUDNN_STATUS_BAD_PARAM;
      places[ids[i]] = given[i];
      if (!array->second.is_number) continue;
      (*numbers)[ids[i]] = *static_cast<const float*>(given[i]);
      places[ids[i]] = &numbers->at(ids[i]);
    }
    for (const auto& [id, array] : plan.program->arrays)
      if (!array.is_virtual && !places.contains(id)) return CUDNN_STATUS_BAD_PARAM;
    {
      const std::lock_guard lock(library->mutex_);
      ++library->runs_;
      library->last_places_ = {places.begin(), places.end()};
      library->last_program_ = plan.program;
      library->last_workspace_ = workspace;
    }
    const CUresult result =
        enqueue_on(reinterpret_cast<const Handle*>(handle)->stream,
                   [program = plan.program, places, numbers, workspace, bytes] {
                     std::memset(workspace, 0xff, bytes);
                     return run_graph(*program, places) ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED;
                   });
    return result == CUDA_SUCCESS ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
  }
};

std::array<int64_t, 4> FakeCudnn::last_strides(int64_t id) const {
  return last_program_->arrays.at(id).strides;
}

namespace {

cuda::Cudnn absent() {
  throw Error(ErrorKind::kDevice, "device cuda needs cuDNN: the library is not there");
}

cuda::Cudnn functions() {
  cuda::Cudnn c;
  c.get_version = Calls::get_version;
  c.get_error_string = [](cudnnStatus_t) { return "as the fake was told"; };
  c.get_last_error_string = [](char* text, size_t) { *text = 0; };
  c.create = Calls::open;
  c.destroy = Calls::close;
  c.set_stream = Calls::set_stream;
  c.descriptor_create = Calls::create;
  c.descriptor_destroy = Calls::destroy;
  c.descriptor_finalize = Calls::finalize;
  c.attribute_set = Calls::set_attribute;
  c.attribute_get = Calls::get_attribute;
  c.execute = Calls::execute;
  return c;
}

}  // namespace

FakeCudnn::FakeCudnn() {
  library = this;
  attach_cudnn(functions);
}
FakeCudnn::~FakeCudnn() {
  attach_cudnn(nullptr);
  library = nullptr;
}
void FakeCudnn::remove() { attach_cudnn(absent); }

}  // namespace levanter::testing
