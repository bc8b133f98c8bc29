// Which device each rank takes, where they have memory of their own: one a rank.
#include "train/ranks/devices.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/strings.h"

namespace levanter::train {

namespace {

/// The ranks of a machine, and the devices that they see together.
struct Machine {
  int64_t ranks = 0;
  std::set<std::string> devices;
};

Error too_few_devices(std::span<const dist::Place> places,
                      std::span<const std::vector<std::string>> devices) {
  std::map<std::string, Machine> machines;
  for (size_t r = 0; r < places.size(); ++r) {
    Machine& machine = machines[places[r].host];
    ++machine.ranks;
    machine.devices.insert(devices[r].begin(), devices[r].end());
  }
  std::vector<std::string> counts;
  for (const auto& [host, machine] : machines)
    counts.push_back(cat(host, " has ", count_of(machine.ranks, "rank"), " and ",
                         count_of(std::ssize(machine.devices), "device")));
  return Error(ErrorKind::kDevice,
               cat("there is not a device for every rank: ", join(counts, ", ")))
      .at("trainer.ranks, and CUDA_VISIBLE_DEVICES, which says what a process sees")
      .allowed("as many ranks on a machine as it has devices")
      .hint(
          "start fewer ranks there (mpirun --map-by ppr:N:node, srun --ntasks-per-node, or "
          "trainer.ranks), or let their processes see more devices");
}

}  // namespace

std::vector<size_t> assign_devices(std::span<const dist::Place> places,
                                   std::span<const std::vector<std::string>> devices) {
  std::set<std::pair<std::string, std::string>> taken;  // machines and devices
  std::vector<size_t> chosen;
  for (size_t r = 0; r < places.size(); ++r) {
    size_t place = 0;
    while (place < devices[r].size() && taken.contains({places[r].host, devices[r][place]}))
      ++place;
    chosen.push_back(place);
    if (devices[r].empty()) continue;
    if (place == devices[r].size()) throw too_few_devices(places, devices);
    taken.emplace(places[r].host, devices[r][place]);
  }
  return chosen;
}

size_t own_device(const TrainConfig& config, const RunOptions& options,
                  dist::Communicator& communicator, std::span<const dist::Place> places) {
  const std::string& kind = config.trainer.device;
  const bool is_processor = options.eager || device::entry(kind).models.empty();
  if (communicator.size() == 1 || is_processor) return 0;
  const std::vector<std::string> own =
      dist::together(communicator, [&] { return options.make_backend(kind, 1)->devices(); });
  std::vector<std::vector<std::string>> all;
  for (const std::string& names : dist::gather_texts(communicator, join(own, "\n")))
    all.push_back(names.empty() ? std::vector<std::string>() : split(names, '\n'));
  const std::vector<size_t> chosen =
      dist::together(communicator, [&] { return assign_devices(places, all); });
  return chosen[static_cast<size_t>(communicator.rank())];
}

}  // namespace levanter::train
