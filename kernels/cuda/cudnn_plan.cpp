// The engine that runs a graph of cuDNN's, its settings and its workspace.
#include <algorithm>

#include "base/strings.h"
#include "kernels/cuda/cudnn_graph.h"

namespace levanter::cuda {

namespace {

constexpr int64_t kCandidates = 16;  // that the heuristics are asked for
constexpr int64_t kMostKnobs = 64;   // of an engine

/// The heuristics' choices, the best first.
std::vector<Descriptor> by_heuristics(const Cudnn& cudnn, const Descriptor& operations,
                                      const PlanTarget& target) {
  Descriptor heuristics(cudnn, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, "heuristics");
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, operations);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, CUDNN_HEUR_MODE_A);
  if (target.properties)
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                   target.properties);
  std::vector<Descriptor> found;
  const cudnnStatus_t status = heuristics.try_to_finish();
  if (is_refusal(status)) return found;
  require(cudnn, status, "ask for engines");
  std::vector<cudnnBackendDescriptor_t> places;
  for (int64_t i = 0; i < kCandidates; ++i) {
    found.emplace_back(cudnn, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "an engine's settings");
    places.push_back(found.back().get());
  }
  const int64_t count = heuristics.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                       std::span<cudnnBackendDescriptor_t>(places));
  while (static_cast<int64_t>(found.size()) > count) found.pop_back();
  return found;
}

/// These settings of this engine, if the library has it for the graph.
std::vector<Descriptor> by_hand(const Cudnn& cudnn, const Descriptor& operations,
                                const PlanTarget& target, const EngineChoice& choice) {
  std::vector<Descriptor> found;
  Descriptor engine(cudnn, CUDNN_BACKEND_ENGINE_DESCRIPTOR, "an engine");
  engine.set(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, operations);
  engine.set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, choice.engine);
  if (target.properties)
    engine.set(CUDNN_ATTR_ENGINE_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, target.properties);
  cudnnStatus_t status = engine.try_to_finish();
  if (is_refusal(status)) return found;
  require(cudnn, status, "describe an engine");
  std::vector<Descriptor> knobs;
  std::vector<cudnnBackendDescriptor_t> choices;
  for (const auto& [type, value] : choice.knobs) {
    knobs.emplace_back(cudnn, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, "a setting");
    knobs.back().set(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, type);
    knobs.back().set(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, value);
    knobs.back().finish();
    choices.push_back(knobs.back().get());
  }
  Descriptor settings(cudnn, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "an engine's settings");
  settings.set(CUDNN_ATTR_ENGINECFG_ENGINE, engine);
  settings.set(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
               std::span<const cudnnBackendDescriptor_t>(choices));
  status = settings.try_to_finish();
  if (is_refusal(status)) return found;
  require(cudnn, status, "describe an engine's settings");
  found.push_back(std::move(settings));
  return found;
}

/// "eng6_k2=1_k24=7"
std::string name_of(const Cudnn& cudnn, const Descriptor& settings) {
  const Descriptor engine(cudnn, CUDNN_BACKEND_ENGINE_DESCRIPTOR, "an engine");
  cudnnBackendDescriptor_t place = engine.get();
  settings.get(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, std::span(&place, 1));
  std::string name = cat("eng", engine.get_integer(CUDNN_ATTR_ENGINE_GLOBAL_INDEX));
  std::vector<Descriptor> knobs;
  std::vector<cudnnBackendDescriptor_t> places;
  for (int64_t i = 0; i < kMostKnobs; ++i) {
    knobs.emplace_back(cudnn, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, "a setting");
    places.push_back(knobs.back().get());
  }
  const int64_t count =
      settings.get(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                   std::span<cudnnBackendDescriptor_t>(places));
  for (int64_t i = 0; i < std::min(count, kMostKnobs); ++i) {
    const Descriptor& knob = knobs[static_cast<size_t>(i)];
    cudnnBackendKnobType_t type{};
    knob.get(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, std::span(&type, 1));
    name +=
        cat("_k", static_cast<int>(type), "=", knob.get_integer(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE));
  }
  return name;
}

}  // namespace

std::optional<Plan> make_plan(const Graph& graph, const PlanTarget& target,
                              const EngineChoice& choice, int64_t most_workspace_bytes) {
  const Cudnn& cudnn = graph.cudnn();
  Descriptor operations(cudnn, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "a graph");
  operations.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                 std::span<const cudnnBackendDescriptor_t>(graph.operations()));
  if (target.handle)
    operations.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, target.handle);
  cudnnStatus_t status = operations.try_to_finish();
  if (is_refusal(status)) return std::nullopt;
  require(cudnn, status, "describe a graph");
  std::vector<Descriptor> candidates = choice.engine < 0
                                           ? by_heuristics(cudnn, operations, target)
                                           : by_hand(cudnn, operations, target, choice);
  for (Descriptor& settings : candidates) {
    Descriptor plan(cudnn, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, "a plan");
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, settings);
    if (target.handle) plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, target.handle);
    if (target.properties)
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR,
               target.properties);
    status = plan.try_to_finish();
    if (is_refusal(status)) continue;
    require(cudnn, status, "make a plan");
    const int64_t bytes = plan.get_integer(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
    if (bytes > most_workspace_bytes) continue;
    std::string name = name_of(cudnn, settings);
    return Plan{std::move(settings), std::move(plan), std::move(name), bytes};
  }
  return std::nullopt;
}

}  // namespace levanter::cuda
