// What goes wrong with disks and people: flipped bits, cut files, the text of errors.
#pragma once

#include <string>

#include "base/error.h"
#include "base/files.h"

namespace levanter::testing {

inline void flip_bit(const std::string& path, size_t byte, int bit) {
  std::string content = read_file(path);
  content.at(byte) = static_cast<char>(content.at(byte) ^ (1 << bit));
  write_file_atomic(path, content);
}

inline void truncate_file(const std::string& path, size_t bytes) {
  write_file_atomic(path, read_file(path).substr(0, bytes));
}

/// The full text of the Error of this kind that `call` throws; "" when it throws nothing, and
/// "another kind: ..." for an Error of another kind.
template <class Call>
std::string failure_of(ErrorKind kind, Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.kind() == kind ? error.what() : std::string("another kind: ") + error.what();
  }
  return "";
}

}  // namespace levanter::testing
