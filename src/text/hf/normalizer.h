// Rewrites text before it is split: Unicode forms, case, accents, spaces.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/hf/json.h"

namespace levanter::text::hf {

/// One step of a normalizer: a text to another text.
class NormalStep {
 public:
  virtual ~NormalStep() = default;
  virtual std::string apply(std::string_view text) const = 0;
  /// Whether the text would come back as it is; false when that is not known.
  virtual bool keeps(std::string_view) const { return false; }
};

class Normalizer final {
 public:
  Normalizer() = default;
  /// error  kData for a component that is unknown or lacks something
  explicit Normalizer(const Value& value);

  /// The normalized text: a view of `text` itself or of `room`.
  std::string_view apply(std::string_view text, std::string& room) const;

 private:
  void add(const Value& value);

  std::vector<std::unique_ptr<NormalStep>> steps_;
};

/// The step "Precompiled": a SentencePiece character map, in base64.
std::unique_ptr<NormalStep> make_precompiled(const Value& value);

}  // namespace levanter::text::hf
