// Cuts text into the pieces that a model encodes one by one.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "text/hf/json.h"
#include "text/hf/split.h"

namespace levanter::text::hf {

/// The pieces of a text in order, none of them empty.
struct Pieces {
  struct Piece {
    std::string_view text;
    bool first = false;  ///< begins where the whole text begins
  };
  std::vector<Piece> list;
  std::deque<std::string> texts;  ///< those that are not in the text itself
};

/// The steps of a pre-tokenizer.
struct SplitSteps {
  using Step = std::function<void(Pieces&)>;

  std::vector<Step> list;
  KnownPattern only_pattern = KnownPattern::kNone;  ///< that is all there is to do, ByteLevel apart
  bool ends_in_bytes = false;                       ///< the last one is ByteLevel

  /// Adds a step that is neither a known pattern nor ByteLevel's last.
  void add(Step step) {
    list.push_back(std::move(step));
    only_pattern = KnownPattern::kNone;
    ends_in_bytes = false;
  }
};

class PreTokenizer final {
 public:
  /// No step: a text is one piece.
  PreTokenizer() = default;
  /// error  kData for a component that is unknown or lacks something
  explicit PreTokenizer(const Value& value);

  /// Whether the last step is ByteLevel, so that pieces may stay bytes.
  bool ends_in_bytes() const { return steps_.ends_in_bytes; }
  /// Leaves pieces as bytes in that case; else ByteLevel writes its characters.
  void keep_bytes() { steps_.list.pop_back(); }
  /// The known pattern that is all there is to do, ByteLevel apart.
  KnownPattern only_pattern() const { return steps_.only_pattern; }
  /// Whether a text is one piece.
  bool empty() const { return steps_.list.empty(); }

  void apply(Pieces& pieces) const {
    for (const auto& step : steps_.list) step(pieces);
  }

 private:
  SplitSteps steps_;
};

}  // namespace levanter::text::hf
