// All parameters of a run as rank 0 reads them, wherever they are.
#include "train/engine/all_parameters.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace levanter::train {

namespace {

constexpr std::string_view kService = "parameters";

/// A stretch of the flat array of all parameters, in bytes; it is one rank's.
struct Stretch {
  int64_t begin = 0, bytes = 0;
};

/// Addresses are places in the flat array, from here on, so that none is null.
constexpr int64_t kFirstAddress = 64;

std::byte* address_of(int64_t place) { return reinterpret_cast<std::byte*>(place + kFirstAddress); }
int64_t place_of(const std::byte* address) {
  return reinterpret_cast<int64_t>(address) - kFirstAddress;
}

size_t owner_of(const CompiledStep& step, const Stretch& stretch) {
  const auto holds = [&](const dist::Shard& shard) { return stretch.begin / 4 < shard.end; };
  return static_cast<size_t>(std::find_if(step.shards.begin(), step.shards.end(), holds) -
                             step.shards.begin());
}

/// Every rank's part of the giving of a stretch to rank 0.
void give(dist::Communicator& communicator, const Stretch& stretch, size_t owner,
          const std::byte* from, std::byte* to) {
  const auto ranks = static_cast<size_t>(communicator.size());
  std::vector<dist::Sent> send(ranks);
  std::vector<dist::Received> receive(ranks);
  const auto bytes = static_cast<size_t>(stretch.bytes);
  if (communicator.rank() == 0) receive[owner] = {to, bytes};
  if (communicator.rank() == static_cast<int64_t>(owner)) send[0] = {from, bytes};
  communicator.exchange(send, receive);
}

}  // namespace

std::vector<Tensor> AllParameters::tensors() const {
  std::vector<Tensor> here = engine_.model_tensors();
  const CompiledStep& step = engine_.step();
  std::vector<Tensor> all;
  for (size_t i = 0; i < step.params.size(); ++i) {
    const nn::Param& param = step.params[i];
    const auto own = std::find_if(here.begin(), here.end(),
                                  [&](const Tensor& tensor) { return tensor.path == param.path; });
    if (own != here.end())
      all.push_back(std::move(*own));
    else
      all.push_back(
          {param.path, DType::f32, param.shape, address_of(step.layout.offsets[i] * 4), this});
  }
  return all;
}

void AllParameters::download(std::span<std::byte> to, const std::byte* from) const {
  if (to.empty()) return;
  const Stretch stretch{place_of(from), std::ssize(to)};
  crew_.call(kService, nlohmann::json{stretch.begin, stretch.bytes}.dump());
  give(crew_.communicator(), stretch, owner_of(engine_.step(), stretch), nullptr, to.data());
}

void serve_parameters(dist::Crew& crew, Engine& engine) {
  crew.serve(std::string(kService), [&](const std::string& text) {
    const auto call = nlohmann::json::parse(text);
    const Stretch stretch{call.at(0), call.at(1)};
    const CompiledStep& step = engine.step();
    const size_t owner = owner_of(step, stretch);
    const auto* const own = reinterpret_cast<const std::byte*>(engine.parameters());
    const int64_t begin = step.shards[static_cast<size_t>(step.options.rank)].begin * 4;
    give(crew.communicator(), stretch, owner, own + (stretch.begin - begin), nullptr);
  });
}

}  // namespace levanter::train
