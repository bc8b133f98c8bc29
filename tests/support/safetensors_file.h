// Whole safetensors files from memory.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "compat/safetensors.h"

namespace levanter::safetensors {

struct WriteTensor {
  Entry entry;
  std::span<const std::byte> data;
};

/// Writes the file atomically; errors as AtomicFile.
inline void write_file(const std::string& path, std::span<const WriteTensor> tensors) {
  std::vector<Entry> entries;
  for (const WriteTensor& tensor : tensors) entries.push_back(tensor.entry);
  const Layout plan = layout(entries);
  AtomicFile file(path);
  file.write(plan.header);
  for (const Layout::Slot& slot : plan.slots) {
    const WriteTensor& tensor = tensors[slot.entry];
    LEV_CHECK(static_cast<int64_t>(tensor.data.size()) == slot.bytes,
              cat("tensor ", tensor.entry.name, " has data of another size"));
    file.write(tensor.data);
  }
  file.commit();
}

/// All bytes of a tensor.
inline std::vector<std::byte> bytes_of(const Tensor& tensor) {
  std::vector<std::byte> bytes(static_cast<size_t>(tensor.bytes));
  tensor.file->read(tensor.begin, bytes);
  return bytes;
}

}  // namespace levanter::safetensors
