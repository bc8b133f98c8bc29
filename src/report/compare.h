// Where two runs part: keys, what made them, the first step, the first tensor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "report/run_data.h"

namespace levanter::report {

/// A name and its texts on both sides; "-" where a side lacks it.
struct Apart {
  std::string name, a, b;
};

/// Metrics that differ at the first step at which any does. Steps that only one side has are not
/// compared.
struct FirstStep {
  int64_t step = -1;  ///< -1: none differs
  std::vector<Apart> metrics;
};

/// The first element of the first tensor that differs between checkpoints of one step.
struct FirstTensor {
  int64_t step = 0;
  std::string name;
  std::vector<int64_t> index = {};  ///< empty where shape or type differ, and for a scalar
  std::string a = {}, b = {};       ///< values; shapes where those differ
  int64_t differing = 0, elements = 0;
};

struct Comparison {
  std::vector<Apart> keys;        ///< of config.toml
  std::vector<Apart> provenance;  ///< of the last start
  FirstStep first_step;
  std::vector<std::string> notes;  ///< what could not be compared
  /// Whether one has steps, checkpoints or tensors that the other has not, or that cannot be read.
  bool is_partial = false;
  std::optional<FirstTensor> tensor;

  bool equal() const {
    return keys.empty() && provenance.empty() && first_step.step < 0 && !is_partial && !tensor;
  }
};

/// Compares two runs' folders, or two checkpoints' (step-N). Times, hosts and paths are no
/// difference, nor are metrics of speed. Of checkpoints the bytes are compared as they stand, so
/// that a damaged one is no error; that it is damaged is a note.
/// error  kData for a folder that is neither
Comparison compare(const std::string& a, const std::string& b);

}  // namespace levanter::report
