// Makes text of tokens.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "text/hf/json.h"

namespace levanter::text::hf {

/// The steps of a decoder, each of which turns a list of token texts into another list.
struct DecodeSteps {
  std::vector<std::function<void(std::vector<std::string>& tokens)>> list;
  bool byte_level = false, byte_fallback = false;  ///< whether one of these kinds is among them
};

class Decoder final {
 public:
  /// Tokens joined by spaces.
  Decoder() = default;
  /// error  kData for a component that is unknown or lacks something
  explicit Decoder(const Value& value);

  /// The text of the tokens, which is UTF-8.
  std::string decode(std::vector<std::string> tokens) const;
  /// Bytes of text that a token stands for inside a text.
  int64_t byte_length(std::string_view token) const;
  /// Whether the token is a byte such as "<0x0A>" that decodes with its neighbours.
  bool is_loose_byte(std::string_view token) const;
  /// Whether all there is to do is to turn the tokens' characters into bytes.
  bool only_bytes() const { return steps_.byte_level && steps_.list.size() == 1; }

 private:
  DecodeSteps steps_;
  bool joins_by_space_ = true;
};

/// The byte of a token such as "<0x0A>", or -1.
int fallback_byte(std::string_view token);
/// Appends the bytes that a byte-level token stands for: its own where a character is no byte's.
void append_token_bytes(std::string_view token, std::string& out);
/// The text with U+FFFD in place of each longest stretch that begins like a character and is not
/// one.
std::string replace_invalid_utf8(std::string bytes);

}  // namespace levanter::text::hf
