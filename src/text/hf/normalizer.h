// Rewrites text before it is split: Unicode forms, case, accents, spaces.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/hf/json.h"

namespace levanter::text::hf {

/// One step of a normalizer: a text to another text, or nothing where it is known to stay.
using NormalStep = std::function<std::optional<std::string>(std::string_view)>;

class Normalizer final {
 public:
  Normalizer() = default;
  /// error  kData for a component that is unknown or lacks something
  explicit Normalizer(const Value& value);

  /// The normalized text: a view of `text` itself or of `room`.
  /// error  kData for one that grows beyond measure
  std::string_view apply(std::string_view text, std::string& room) const;

 private:
  std::string place_;
  std::vector<NormalStep> steps_;
};

inline constexpr std::string_view kBase64Digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The step "Precompiled": a SentencePiece character map, in base64.
NormalStep make_precompiled(const Value& value);

}  // namespace levanter::text::hf
