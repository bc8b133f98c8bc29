// The kernels' texts, which the build puts into the program.
#pragma once

#include <span>

namespace levanter::cuda {

/// A file of the sources.
struct Text {
  const char* name;  ///< as an #include writes it
  const char* content;
};

/// What kernels include.
std::span<const Text> headers();
/// Kernels: each is a program of its own.
std::span<const Text> programs();
/// What makes the texts of regions, which are no files.
std::span<const Text> generators();

}  // namespace levanter::cuda
