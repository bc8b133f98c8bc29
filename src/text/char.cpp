// Tokenizer "char": one id for each Unicode scalar that occurs in the texts, in the order of their
// codes.
#include <algorithm>
#include <array>
#include <functional>

#include "base/error.h"
#include "base/strings.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace levanter::text {
namespace {

/// Scalar to id in two steps: a page for each 256 scalars, page 0 for those without any id.
class ScalarTable final {
 public:
  explicit ScalarTable(std::span<const uint32_t> scalars) : pages_(1, empty_page()) {
    for (size_t id = 0; id < scalars.size(); ++id) {
      uint16_t& page = page_of_[scalars[id] >> 8];
      if (page == 0) {
        page = static_cast<uint16_t>(pages_.size());
        pages_.push_back(empty_page());
      }
      pages_[page][scalars[id] & 255] = static_cast<int32_t>(id);
    }
  }

  /// The id of a scalar, or -1.
  int32_t id(uint32_t scalar) const { return pages_[page_of_[scalar >> 8]][scalar & 255]; }

 private:
  using Page = std::array<int32_t, 256>;
  static Page empty_page() {
    Page page;
    page.fill(-1);
    return page;
  }

  std::array<uint16_t, kScalarLimit / 256> page_of_{};
  std::vector<Page> pages_;
};

/// Calls fn(scalar, offset) for each scalar of a text.
template <class Fn>
void each_scalar(NamedText text, Fn fn) {
  uint32_t scalar = 0;
  for (size_t offset = 0; offset < text.content.size();) {
    const int length = read_scalar(text.content, offset, scalar);
    if (length == 0) throw_not_utf8(text, offset);
    fn(scalar, offset);
    offset += static_cast<size_t>(length);
  }
}

class CharTokenizer final : public Tokenizer {
 public:
  /// `scalars` rising and unique.
  explicit CharTokenizer(std::vector<uint32_t> scalars)
      : scalars_(std::move(scalars)), table_(scalars_) {}

  std::string_view name() const override { return "char"; }
  int64_t vocab_size() const override { return static_cast<int64_t>(scalars_.size()); }

  std::vector<int32_t> encode(NamedText text) const override {
    std::vector<int32_t> ids(text.content.size());
    size_t count = 0;
    each_scalar(text, [&](uint32_t scalar, size_t offset) {
      const int32_t id = table_.id(scalar);
      if (id < 0) throw_unknown(text, offset, scalar);
      ids[count++] = id;
    });
    ids.resize(count);
    return ids;
  }

  std::string decode(std::span<const int32_t> ids, Special) const override {
    std::string out;
    out.reserve(ids.size());
    for (const int32_t id : ids) append_scalar(out, scalar(id));
    return out;
  }

  int64_t byte_length(int32_t id) const override { return scalar_length(scalar(id)); }

  std::string serialise() const override {
    std::string characters;
    for (const uint32_t scalar : scalars_) append_scalar(characters, scalar);
    return cat(R"({"type":"char","characters":)", quote(characters), "}");
  }

 private:
  uint32_t scalar(int32_t id) const {
    if (id < 0 || id >= vocab_size()) throw_unknown_id(id, vocab_size());
    return scalars_[static_cast<size_t>(id)];
  }

  [[noreturn]] void throw_unknown(NamedText text, size_t offset, uint32_t scalar) const {
    throw Error(ErrorKind::kData, cat("the character ", describe_scalar(scalar),
                                      " is not in the vocabulary of ", vocab_size(), " characters"))
        .at(place_in_text(text.content, text.origin, offset))
        .hint(
            "the vocabulary is fixed when a run begins: leave the character out, or begin a new "
            "run "
            "on a text that has it");
  }

  std::vector<uint32_t> scalars_;
  ScalarTable table_;
};

std::unique_ptr<const Tokenizer> make(const TokenizerConfig&, std::span<const NamedText> texts) {
  std::vector<bool> seen(kScalarLimit);
  for (const NamedText& text : texts)
    each_scalar(text, [&](uint32_t scalar, size_t) { seen[scalar] = true; });
  std::vector<uint32_t> scalars;
  for (uint32_t scalar = 0; scalar < kScalarLimit; ++scalar)
    if (seen[scalar]) scalars.push_back(scalar);
  return std::make_unique<CharTokenizer>(std::move(scalars));
}

std::unique_ptr<const Tokenizer> load(std::string_view serialised) {
  if (json_string(serialised, "type") != "char") return nullptr;
  const std::optional<std::string> characters = json_string(serialised, "characters");
  if (!characters) return nullptr;
  if (find_broken_utf8(*characters) < characters->size()) return nullptr;
  std::vector<uint32_t> scalars;
  each_scalar({*characters, ""}, [&](uint32_t scalar, size_t) { scalars.push_back(scalar); });
  if (std::adjacent_find(scalars.begin(), scalars.end(), std::greater_equal()) != scalars.end())
    return nullptr;
  return std::make_unique<CharTokenizer>(std::move(scalars));
}

}  // namespace

extern const TokenizerEntry char_entry;
const TokenizerEntry char_entry = {.name = "char",
                                   .summary = "one token for each character of the texts",
                                   .make_config = config::make_choice<TokenizerConfig>,
                                   .reads_texts = true,
                                   .make = make,
                                   .load = load};

}  // namespace levanter::text
