// Format "prebuilt": token ids as they are, with a weight for each where wanted.
#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "config/problems.h"
#include "data/format.h"
#include "data/files/json_fields.h"

namespace levanter::data::formats {
namespace {

struct PrebuiltConfig final : FormatConfig {
  std::string input_ids_key = "input_ids";
  std::optional<std::string> loss_weights_key, labels_key;

  void fields(config::Fields& f) override {
    f("input_ids_key", input_ids_key, "the key of the ids");
    f("loss_weights_key", loss_weights_key,
      "the key of the weights, one for each id: how much it counts as a target; none: 1 each");
    f("labels_key", labels_key,
      "the key of labels as Transformers has them, one for each id: the id itself, or -100 for no "
      "target");
  }
  void validate(config::Problems& p) const override {
    if (loss_weights_key && labels_key)
      p.add("labels_key", cat(p.name("labels_key"), " and ", p.name("loss_weights_key"),
                              " both say what is learned"))
          .hint("leave out one of the two");
  }
  bool weighted() const override { return loss_weights_key || labels_key; }
  std::string facts(const DocumentRules&) const override {
    return cat("ids at ", input_ids_key, ", weights at ", loss_weights_key.value_or("none"),
               labels_key ? cat(", labels at ", *labels_key) : "");
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
          else if (config.labels_key)
            document.weights = weights_of(fields, *config.labels_key, ids, origin);
          else
            require_all_learned(fields, ids, origin);
          documents.push_back(std::move(document));
        });
  }

 private:
  /// The weights that labels say: 0 for -100, else 1.
  static std::vector<float> weights_of(const JsonFields& fields, const std::string& key,
                                       const std::vector<int64_t>& ids, const std::string& origin) {
    const std::vector<int64_t> labels = fields.integers(key, -100, INT32_MAX);
    std::vector<float> weights;
    for (size_t i = 0; i < labels.size() && i < ids.size(); ++i) {
      if (labels[i] != ids[i] && labels[i] != -100)
        throw Error(ErrorKind::kData,
                    cat("\"", key, "[", i, "]\" is ", labels[i], ", and the id there is ", ids[i]))
            .at(origin)
            .allowed("the id, or -100 for no target");
      weights.push_back(labels[i] == -100 ? 0.0f : 1.0f);
    }
    if (labels.size() != ids.size())
      throw Error(ErrorKind::kData, cat("there are ", count_of(std::ssize(ids), "id"), " and ",
                                        count_of(std::ssize(labels), "label")))
          .at(origin)
          .allowed("a label for each id");
    return weights;
  }
  /// Throws the error of a record that says by a name that others use for it, and that the config
  /// does not give, that some ids are no targets.
  static void require_all_learned(const JsonFields& fields, const std::vector<int64_t>& ids,
                                  const std::string& origin) {
    for (const char* key : {"labels", "attention_mask", "loss_mask", "completion_mask",
                            "assistant_masks", "loss_weights"}) {
      if (!fields.has(key) || !fields.json(key).starts_with("[")) continue;
      const bool labels = std::string_view(key) == "labels";
      const std::vector<double> said = fields.numbers(key);
      const std::vector<double> all = labels ? std::vector<double>(ids.begin(), ids.end())
                                             : std::vector<double>(ids.size(), 1.0);
      if (said == all) continue;
      throw Error(ErrorKind::kData,
                  cat("the record has ", quote(key),
                      ", by which some ids are no targets, and the config does not name it"))
          .at(origin)
          .hint(cat("set ", labels ? "labels_key" : "loss_weights_key", " = ", quote(key)));
    }
  }
  /// The weights of a record, one for each id.
  static std::vector<float> checked(const std::vector<double>& weights, size_t ids,
                                    const std::string& origin) {
    if (weights.size() != ids)
      throw Error(ErrorKind::kData, cat("there are ", count_of(static_cast<int64_t>(ids), "id"),
                                        " and ", count_of(std::ssize(weights), "weight")))
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
