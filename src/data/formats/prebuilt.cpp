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
  std::unique_ptr<Format> make(const DocumentRules& rules) const override {
    return json_format(
        BrokenText::kReplace,
        [config = *this, largest = rules.tokenizer->vocab_size() - 1](
            const JsonFields& fields, const std::string& origin, std::vector<Document>& documents) {
          const std::vector<int64_t> ids = fields.integers(config.input_ids_key, 0, largest);
          Document document;
          document.tokens.assign(ids.begin(), ids.end());
          if (config.loss_weights_key)
            document.weights =
                checked(fields.numbers(*config.loss_weights_key), ids.size(), origin);
          documents.push_back(std::move(document));
        });
  }

 private:
  /// The weights of a record of so many ids.
  static std::vector<float> checked(const std::vector<double>& weights, size_t ids,
                                    const std::string& origin) {
    if (weights.size() != ids)
      throw Error(ErrorKind::kData, cat("there are ", ids, " ids and ", weights.size(), " weights"))
          .at(origin)
          .allowed("a weight for each id");
    for (const double weight : weights) {
      if (!(weight >= 0 && weight <= 1e6))
        throw Error(ErrorKind::kData, cat("the weight of a token is ", weight))
            .at(origin)
            .allowed("0 to 1e6");
    }
    return {weights.begin(), weights.end()};
  }
};

}  // namespace

extern const FormatEntry prebuilt_entry;
const FormatEntry prebuilt_entry = {.name = "prebuilt",
                                    .summary = "token ids, perhaps with weights",
                                    .make_config = config::make_choice<PrebuiltConfig>};

}  // namespace levanter::data::formats
