// The devices that trainer.device can name, as far as this machine can have them: where a device is
// emulated, the emulated one stands for it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "device/backend.h"

namespace levanter::testing {

/// Calls fn(name, backend) for each. The backend is made with one thread.
void for_each_device(const std::function<void(const std::string&, const Backend&)>& fn);

/// For train::RunOptions::make_backend, while for_each_device is at this device.
std::unique_ptr<Backend> make_device(std::string_view name, int threads);

}  // namespace levanter::testing
