// NCCL as what joins the cards of ranks, where the program was built with its headers.
#pragma once

#include <memory>

#include "device/network.h"
#include "kernels/cuda/api.h"

namespace levanter::cuda {

class Context;

/// Of the context's card; opens library and card when it is first asked.
std::unique_ptr<DeviceNetwork> make_network(Context& context, Nccl (*open)());
/// The machine's library; null in a program that was built without its headers.
extern Nccl (*const kOpenNccl)();

}  // namespace levanter::cuda
