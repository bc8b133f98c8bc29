// A tokenizer for tests: bytes, with an id that begins documents and one that ends them.
#pragma once

#include "text/tokenizer.h"

namespace levanter::testing {

/// Ids 0 to 255 are bytes, 256 is BOS and 257 EOS; add_special puts BOS before where asked.
class MadeTokenizer final : public text::Tokenizer {
 public:
  explicit MadeTokenizer(bool begins = false) : begins_(begins) {}
  std::string_view name() const override { return "made"; }
  int64_t vocab_size() const override { return 258; }
  std::vector<int32_t> encode(text::NamedText text) const override {
    const auto* bytes = reinterpret_cast<const uint8_t*>(text.content.data());
    return {bytes, bytes + text.content.size()};
  }
  std::string decode(std::span<const int32_t> ids, text::Special) const override {
    std::string out;
    for (const int32_t id : ids)
      if (id < 256) out += static_cast<char>(id);
    return out;
  }
  int64_t byte_length(int32_t id) const override { return id < 256 ? 1 : 0; }
  std::optional<int32_t> bos_id() const override { return 256; }
  std::optional<int32_t> eos_id() const override { return 257; }
  std::vector<int32_t> add_special(std::vector<int32_t> ids) const override {
    if (begins_) ids.insert(ids.begin(), 256);
    return ids;
  }
  std::string serialise() const override { return begins_ ? "made, begins" : "made"; }

 private:
  bool begins_;
};

}  // namespace levanter::testing
