// Cuts text into the pieces that a model encodes one by one.
#pragma once

#include <deque>
#include <memory>
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

/// One step of a pre-tokenizer.
class SplitStep {
 public:
  virtual ~SplitStep() = default;
  virtual void apply(Pieces& pieces) const = 0;
};

class PreTokenizer final {
 public:
  /// No step: a text is one piece.
  PreTokenizer() = default;
  /// error  kData for a component that is unknown or lacks something
  explicit PreTokenizer(const Value& value);

  /// Whether the last step is ByteLevel, so that pieces may stay bytes.
  bool ends_in_bytes() const { return ends_in_bytes_; }
  /// Leaves pieces as bytes in that case; else ByteLevel writes its characters.
  void keep_bytes();
  /// The known pattern that is all there is to do, ByteLevel apart.
  KnownPattern only_pattern() const { return only_pattern_; }
  /// Whether a text is one piece.
  bool empty() const { return steps_.empty(); }

  void apply(Pieces& pieces) const {
    for (const auto& step : steps_) step->apply(pieces);
  }

 private:
  void add(const Value& value);
  void add_byte_level(const Value& value);

  std::vector<std::unique_ptr<SplitStep>> steps_;
  KnownPattern only_pattern_ = KnownPattern::kNone;
  bool ends_in_bytes_ = false;
};

}  // namespace levanter::text::hf
