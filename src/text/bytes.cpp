// Tokenizer "bytes": 256 ids, one for each value of a byte; takes any text in any encoding.
#include "text/tokenizer.h"

namespace levanter::text {
namespace {

constexpr int64_t kVocabSize = 256;

class BytesTokenizer final : public Tokenizer {
 public:
  std::string_view name() const override { return "bytes"; }
  int64_t vocab_size() const override { return kVocabSize; }

  std::vector<int32_t> encode(NamedText text) const override {
    const auto* bytes = reinterpret_cast<const uint8_t*>(text.content.data());
    return {bytes, bytes + text.content.size()};
  }

  std::string decode(std::span<const int32_t> ids, Special) const override {
    std::string out;
    out.reserve(ids.size());
    for (const int32_t id : ids) {
      if (id < 0 || id >= kVocabSize) throw_unknown_id(id, kVocabSize);
      out += static_cast<char>(id);
    }
    return out;
  }

  int64_t byte_length(int32_t) const override { return 1; }
  std::string serialise() const override { return R"({"type":"bytes"})"; }
};

struct BytesConfig final : TokenizerConfig {
  std::optional<int64_t> vocab_size() const override { return kVocabSize; }
};

std::unique_ptr<const Tokenizer> make(const TokenizerConfig&, std::span<const NamedText>) {
  return std::make_unique<BytesTokenizer>();
}

std::unique_ptr<const Tokenizer> load(std::string_view serialised) {
  if (json_string(serialised, "type") != "bytes") return nullptr;
  return std::make_unique<BytesTokenizer>();
}

}  // namespace

extern const TokenizerEntry bytes_entry;
const TokenizerEntry bytes_entry = {.name = "bytes",
                                    .summary = "one token a byte, 256 in all",
                                    .make_config = config::make_choice<BytesConfig>,
                                    .reads_texts = false,
                                    .make = make,
                                    .load = load};

}  // namespace levanter::text
