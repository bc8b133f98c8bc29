// Format "text": each record is a text; of a JSON record, the string at one key.
#include "base/error.h"
#include "base/strings.h"
#include "data/format.h"
#include "data/files/json_fields.h"
#include "text/utf8.h"

namespace levanter::data::formats {
namespace {

struct TextConfig final : FormatConfig {
  std::string text_key = "text";
  BrokenTextKey broken;

  void fields(config::Fields& f) override {
    f("text_key", text_key, "where a JSON record has its text; a.b is key b of the object at a");
    broken.fields(f);
  }
  std::string facts(const DocumentRules&) const override {
    return cat("text at ", text_key, ", invalid UTF-8: ", broken.invalid_utf8);
  }
  std::unique_ptr<Format> make(const DocumentRules& rules) const override;
  std::optional<std::string> text_of(const FormatRecord& record) const override {
    if (!record.is_json) return std::string(record.record.content);
    JsonFields fields(broken.policy());
    fields.parse(record.record);
    return std::string(fields.string(text_key));
  }
};

class TextFormat final : public Format {
 public:
  TextFormat(const TextConfig& config, const DocumentRules& rules)
      : config_(config),
        rules_(rules),
        raw_(rules.tokenizer->name() == "bytes"),
        fields_(config.broken.policy()) {}

  void add(const FormatRecord& record, std::vector<Document>& documents) override {
    const std::string origin = record.origin();
    std::string_view text = record.record.content;
    if (record.is_json) {
      fields_.parse(record.record);
      text = fields_.string(config_.text_key);
    } else if (!raw_) {
      text = mended(text, origin);
    }
    documents.push_back({rules_.whole({text, origin}), {}});
  }
  int64_t replaced() const override { return replaced_ + fields_.replaced(); }

 private:
  /// The text itself, or with U+FFFD for what is no UTF-8.
  std::string_view mended(std::string_view text, const std::string& origin) {
    const size_t broken = text::find_broken_utf8(text);
    if (broken == text.size()) return text;
    if (config_.broken.policy() == BrokenText::kRefuse)
      throw Error(ErrorKind::kData, "the text is not UTF-8")
          .at(text::place_in_text(text, origin, broken))
          .hint("convert it (iconv -f LATIN1 -t UTF-8), or set invalid_utf8 = \"replace\"");
    text_.clear();
    replaced_ += text::append_mended_utf8(text_, text);
    return text_;
  }

  const TextConfig config_;
  const DocumentRules rules_;
  const bool raw_;
  JsonFields fields_;
  std::string text_;
  int64_t replaced_ = 0;
};

std::unique_ptr<Format> TextConfig::make(const DocumentRules& rules) const {
  return std::make_unique<TextFormat>(*this, rules);
}

}  // namespace

extern const FormatEntry text_entry;
const FormatEntry text_entry = {.name = "text",
                                .summary = "each record is a text",
                                .make_config = config::make_choice<TextConfig>};

}  // namespace levanter::data::formats
