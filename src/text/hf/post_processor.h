// Puts a tokenizer's own tokens around a text's ids.
#pragma once

#include <cstdint>
#include <vector>

#include "text/hf/json.h"
#include "text/hf/vocabulary.h"

namespace levanter::text::hf {

class PostProcessor final {
 public:
  PostProcessor() = default;
  /// error  kData for a component that is unknown or lacks something
  explicit PostProcessor(const Value& value);

  std::vector<int32_t> apply(std::vector<int32_t> ids) const;

 private:
  void add(const Value& value);
  void add_template(const Value& value);

  std::vector<int32_t> before_, behind_;
};

}  // namespace levanter::text::hf
