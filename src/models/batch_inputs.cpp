// The arrays of a microbatch as arguments of a function being traced.
#include "models/batch_inputs.h"

#include <optional>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "data/rows/example.h"

namespace levanter::models {

NamedArray BatchInputs::operator()(std::string_view name) {
  if (const auto made = made_.find(name); made != made_.end()) return made->second;
  const NamedArray array = function_->argument(std::string(name), type_of(name));
  made_.emplace(name, array);
  return array;
}

Type BatchInputs::type_of(std::string_view name) const {
  const DType real = function_->graph.real();
  if (name == kDropoutKeys) return {DType::u32, {batch_, key_word()}};
  if (name == kInverseTokens) return {real, {}};
  std::optional<DType> dtype;
  data::for_each_array([&]<class T>(const char* array, std::vector<T> data::Example::*) {
    if (name == array) dtype = std::is_same_v<T, float> ? real : DType::i32;
  });
  LEV_CHECK(dtype, cat("there is no array ", quote(name), " of a microbatch"));
  return {*dtype, {batch_, position_}};
}

}  // namespace levanter::models
