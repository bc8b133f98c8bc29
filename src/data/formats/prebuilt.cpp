// Format "prebuilt": token ids as they are, with a weight for each where wanted.
#include "base/error.h"
#include "base/strings.h"
#include "data/format.h"
#include "data/json_fields.h"

namespace levanter::data::formats {
namespace {

struct PrebuiltConfig final : FormatConfig {
  std::string input_ids_key = "input_ids";
  std::optional<std::string> loss_weights_key;

  void fields(config::Fields& f) override {
    f("input_ids_key", input_ids_key, "the key of the ids");
    f("loss_weights_key", loss_weights_key,
      "the key of the weights, one for each id: how much it counts as a target; none: 1 each");
  }
  bool weighted() const override { return loss_weights_key.has_value(); }
  std::string facts(const DocumentRules&) const override {
    return cat("ids at ", input_ids_key, ", weights at ", loss_weights_key.value_or("none"));
  }
  std::unique_ptr<Format> make(const DocumentRules& rules) const override;
};

class PrebuiltFormat final : public Format {
 public:
  PrebuiltFormat(const PrebuiltConfig& config, const DocumentRules& rules)
      : config_(config), largest_(rules.tokenizer->vocab_size() - 1) {}

  void add(const FormatRecord& record, std::vector<Document>& documents) override {
    fields_.parse(record.record);
    const std::vector<int64_t> ids = fields_.integers(config_.input_ids_key, 0, largest_);
    Document document;
    document.tokens.assign(ids.begin(), ids.end());
    if (config_.loss_weights_key) document.weights = weights(record, ids.size());
    documents.push_back(std::move(document));
  }

 private:
  /// The record's weights for so many ids.
  std::vector<float> weights(const FormatRecord& record, size_t size) {
    const std::vector<double> weights = fields_.numbers(*config_.loss_weights_key);
    if (weights.size() != size)
      throw Error(ErrorKind::kData,
                  cat("there are ", size, " ids and ", weights.size(), " weights"))
          .at(record.origin())
          .allowed("a weight for each id");
    for (const double weight : weights) {
      if (!(weight >= 0 && weight <= 1e6))
        throw Error(ErrorKind::kData, cat("the weight of a token is ", weight))
            .at(record.origin())
            .allowed("0 to 1e6");
    }
    return {weights.begin(), weights.end()};
  }

  const PrebuiltConfig config_;
  const int64_t largest_;
  JsonFields fields_;
};

std::unique_ptr<Format> PrebuiltConfig::make(const DocumentRules& rules) const {
  return std::make_unique<PrebuiltFormat>(*this, rules);
}

}  // namespace

extern const FormatEntry prebuilt_entry;
const FormatEntry prebuilt_entry = {.name = "prebuilt",
                                    .summary = "token ids, perhaps with weights",
                                    .make_config = config::make_choice<PrebuiltConfig>};

}  // namespace levanter::data::formats
