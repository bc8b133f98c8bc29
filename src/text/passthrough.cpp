// Tokenizer "passthrough": the text is the ids themselves, written as numbers.
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace levanter::text {
namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

class PassthroughTokenizer final : public Tokenizer {
 public:
  explicit PassthroughTokenizer(int64_t vocab_size) : vocab_size_(vocab_size) {}

  std::string_view name() const override { return "passthrough"; }
  int64_t vocab_size() const override { return vocab_size_; }

  std::vector<int32_t> encode(NamedText text) const override {
    std::vector<int32_t> ids;
    const char *p = text.content.data(), *begin = p, *end = p + text.content.size();
    while (true) {
      while (p < end && is_space(*p)) ++p;
      if (p == end) return ids;
      int32_t id = -1;
      const auto [after, error] = std::from_chars(p, end, id);
      if (error != std::errc() || id < 0 || id >= vocab_size_ || (after < end && !is_space(*after)))
        throw_no_id(text, static_cast<size_t>(p - begin));
      ids.push_back(id);
      p = after;
    }
  }

  std::string decode(std::span<const int32_t> ids, Special) const override {
    std::string out;
    for (const int32_t id : ids) {
      if (id < 0 || id >= vocab_size_) throw_unknown_id(id, vocab_size_);
      out += cat(out.empty() ? "" : " ", id);
    }
    return out;
  }

  int64_t byte_length(int32_t id) const override {
    return static_cast<int64_t>(cat(id).size()) + 1;
  }
  std::string serialise() const override {
    return cat(R"({"type":"passthrough","vocab_size":)", vocab_size_, "}");
  }

 private:
  [[noreturn]] void throw_no_id(NamedText text, size_t at) const {
    size_t end = at;
    while (end < text.content.size() && end < at + 20 && !is_space(text.content[end])) ++end;
    throw Error(ErrorKind::kData,
                cat(quote(text.content.substr(at, end - at)), " is no id of the vocabulary"))
        .at(place_in_text(text.content, text.origin, at))
        .allowed(cat("numbers from 0 to ", vocab_size_ - 1, ", with white space between"));
  }

  int64_t vocab_size_;
};

struct PassthroughConfig final : TokenizerConfig {
  int64_t size = 0;

  void fields(config::Fields& f) override {
    f("vocab_size", size, "one more than the largest id").required().at_least(1).at_most(1 << 24);
  }
  std::optional<int64_t> vocab_size() const override { return size; }
};

std::unique_ptr<const Tokenizer> make(const TokenizerConfig& config, std::span<const NamedText>) {
  return std::make_unique<PassthroughTokenizer>(static_cast<const PassthroughConfig&>(config).size);
}

std::unique_ptr<const Tokenizer> load(std::string_view serialised) {
  if (json_string(serialised, "type") != "passthrough") return nullptr;
  const nlohmann::json object = nlohmann::json::parse(serialised);
  const auto size = object.find("vocab_size");
  if (size == object.end() || !size->is_number_integer() || *size < 1) return nullptr;
  return std::make_unique<PassthroughTokenizer>(size->get<int64_t>());
}

}  // namespace

extern const TokenizerEntry passthrough_entry;
const TokenizerEntry passthrough_entry = {.name = "passthrough",
                                          .summary = "texts that are ids already, as numbers",
                                          .make_config = config::make_choice<PassthroughConfig>,
                                          .reads_texts = false,
                                          .make = make,
                                          .load = load};

}  // namespace levanter::text
