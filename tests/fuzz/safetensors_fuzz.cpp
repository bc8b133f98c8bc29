// A fuzz target: the bytes are a safetensors file, and a folder's index or config.json; only an
// Error about the checkpoint may come of it, and what is read comes back as it was.
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "compat/hf_config.h"
#include "compat/hf_folder.h"

using namespace levanter;

namespace {

std::string scratch_folder() {
  const char* folder = std::getenv("TMPDIR");
  std::string path = std::string(folder != nullptr ? folder : P_tmpdir) + "/levanter-fuzz-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) std::abort();
  return path;
}

void write(const std::string& path, const uint8_t* data, size_t size) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr || std::fwrite(data, 1, size, file) != size || std::fclose(file) != 0)
    std::abort();
}

template <class Call>
void expect_checkpoint_error(Call call) {
  try {
    call();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kCheckpoint) __builtin_trap();
  }
}

/// Halves that were read to f32 are stored as they were.
void read_and_store(const safetensors::File& file) {
  for (const safetensors::Tensor& tensor : file.tensors()) {
    if (!is_float(tensor.element)) continue;
    std::vector<float> values(static_cast<size_t>(tensor.size()));
    to_f32(tensor, values);
    if (tensor.element == safetensors::Element::f64) continue;
    std::vector<std::byte> stored(static_cast<size_t>(tensor.bytes)), read = stored;
    from_f32(values, tensor.element, stored);
    tensor.file->read(tensor.begin, read);
    if (stored != read) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string folder = scratch_folder();
  static const std::string shards = scratch_folder();
  write(folder + "/model.safetensors", data, size);
  write(folder + "/config.json", data, size);
  write(shards + "/model.safetensors.index.json", data, size);
  std::vector<float> room(64);
  const compat::HfTarget target{"a.weight", {2, 3}, room.data()};
  expect_checkpoint_error(
      [&] { read_and_store(safetensors::File(folder + "/model.safetensors")); });
  expect_checkpoint_error([&] { compat::HfWeights(folder).load({&target, 1}); });
  expect_checkpoint_error([&] { compat::HfWeights(shards).load({&target, 1}); });
  expect_checkpoint_error([&] {
    compat::HfConfig config(folder + "/config.json");
    std::optional<int64_t> layers;
    config("num_hidden_layers", layers, 2);
    config.finish();
  });
  return 0;
}
