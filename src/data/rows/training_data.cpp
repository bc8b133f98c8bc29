// Training examples of several components: windows or packed rows, shuffled, and mixed by weight.
#include "data/rows/training_data.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/strings.h"
#include "data/rows/combinators.h"

namespace levanter::data {
namespace {

Key epoch_key(Key key, int64_t epoch) { return fold_in(key, static_cast<uint32_t>(epoch)); }

/// An error names the component.
std::shared_ptr<const PackPlan> plan_packs(const ComponentStreams& component,
                                           const TokenStream& stream, int64_t seq_len) {
  PackOptions pack = *component.rows.pack;
  pack.seq_len = seq_len;
  try {
    return std::make_shared<PackPlan>(stream, pack);
  } catch (Error& error) {
    throw std::move(error).at(cat("data.components.", component.name));
  }
}

/// The rows of one component, as many in every epoch.
class Rows final {
 public:
  Rows(const ComponentStreams& component, const TrainingOptions& options)
      : name_(component.name),
        stream_(component.train),
        references_(component.train_references),
        borders_(component.rows.borders),
        seq_len_(options.seq_len) {
    if (component.rows.pack) {
      packs_ = plan_packs(component, *stream_, seq_len_);
      count_ = packs_->rows();
    } else {
      count_ = training_plan(*stream_, seq_len_, options.key).count;
    }
    const auto share = static_cast<int64_t>(static_cast<double>(count_) * options.share_of_rows);
    if (count_ > 0) count_ = std::clamp<int64_t>(share, 1, count_);
    if (const auto most = options.most_rows.find(name_); most != options.most_rows.end())
      count_ = std::min(count_, most->second);
  }

  int64_t count() const { return count_; }
  bool one_segment() const {
    return borders_.crosses || (packs_ == nullptr && stream_->num_documents() <= 1);
  }
  /// The rows of an epoch in the order of the stream; `key` is the epoch's.
  template <class T>
  DatasetPtr<T> in_order(Key key) const {
    WindowPlan plan;
    if (packs_ == nullptr)
      plan = training_plan(*stream_, seq_len_, fold_in(fold_in(key, "offset"), name_));
    plan.borders = borders_;
    if constexpr (std::is_same_v<T, Example>)
      return take(packs_ ? packed(stream_, packs_, references_) : windows(stream_, plan), count_);
    else
      return take(packs_ ? packed_loss_tokens(stream_, packs_) : window_loss_tokens(stream_, plan),
                  count_);
  }
  /// The key of its epochs in a mixture.
  Key own_key(const TrainingOptions& options) const {
    return fold_in(fold_in(options.key, "component"), name_);
  }
  /// All epochs of this component alone, shuffled.
  template <class T>
  DatasetPtr<T> endless(const TrainingOptions& options) const {
    return epochs<T>(count_,
                     [rows = *this, spec = options.shuffle, own = own_key(options)](int64_t epoch) {
                       const Key key = epoch_key(own, epoch);
                       return shuffle(rows.in_order<T>(key), spec, fold_in(key, "shuffle"));
                     });
  }

 private:
  std::string name_;
  std::shared_ptr<const TokenStream> stream_;
  std::shared_ptr<const TokenValues> references_;
  DocumentBorders borders_;
  int64_t seq_len_;
  std::shared_ptr<const PackPlan> packs_;
  int64_t count_ = 0;
};

/// Every row of every component once an epoch.
template <class T>
DatasetPtr<T> together(const std::vector<Rows>& components, int64_t epoch_length,
                       const TrainingOptions& options) {
  return epochs<T>(epoch_length, [components, options](int64_t epoch) {
    const Key key = epoch_key(options.key, epoch);
    std::vector<DatasetPtr<T>> parts;
    for (const Rows& rows : components) parts.push_back(rows.in_order<T>(key));
    return shuffle(concat(std::move(parts)), options.shuffle, fold_in(key, "shuffle"));
  });
}

std::string names_of(std::span<const ComponentStreams> components) {
  std::vector<std::string> names;
  for (const ComponentStreams& component : components) names.push_back(component.name);
  return join(names, ", ");
}

/// The stages with a weight for each of the components that have any rows.
std::vector<MixtureStage> stages_of(const MixtureSpec& spec,
                                    std::span<const ComponentStreams> components) {
  std::vector<MixtureStage> stages;
  for (const WeightStage& stage : spec.stages) {
    MixtureStage made{stage.first_row, std::vector<double>(components.size())};
    for (const auto& [name, weight] : stage.weights) {
      const auto component =
          std::find_if(components.begin(), components.end(),
                       [&name = name](const ComponentStreams& c) { return c.name == name; });
      if (component == components.end())
        throw Error(ErrorKind::kConfig, cat("train_weights names ", quote(name),
                                            ", which is no component with training text"))
            .allowed(names_of(components));
      made.weights[static_cast<size_t>(component - components.begin())] = weight;
    }
    stages.push_back(std::move(made));
  }
  return stages;
}

}  // namespace

ExampleSource training_rows(std::span<const ComponentStreams> components,
                            const TrainingOptions& options) {
  std::vector<Rows> rows;
  ExampleSource source;
  const auto all = [&](auto holds) {
    return !components.empty() && std::all_of(components.begin(), components.end(), holds);
  };
  source.pairs = all([](const ComponentStreams& c) { return c.rows.pairs(); });
  source.has_references =
      all([](const ComponentStreams& c) { return c.train_references != nullptr; });
  for (const ComponentStreams& component : components) {
    LEV_CHECK(component.rows.pairs() == source.pairs, "all train on pairs, or none");
    rows.emplace_back(component, options);
    source.epoch_length += rows.back().count();
    source.one_segment = source.one_segment && rows.back().one_segment();
    if (rows.back().count() == 0)
      throw Error(ErrorKind::kData,
                  cat("component ", quote(component.name), " gives no row to train on"))
          .at(cat("data.components.", component.name))
          .hint("give it longer documents or a higher cap, or leave it out");
  }
  if (rows.empty())
    throw Error(ErrorKind::kData, "there is no text to train on")
        .hint("name files under data.components.<name>.train");
  if (!options.mixture) {
    source.examples = together<Example>(rows, source.epoch_length, options);
    source.loss_tokens = together<double>(rows, source.epoch_length, options);
    return source;
  }
  const auto plan = std::make_shared<MixturePlan>(
      stages_of(*options.mixture, components), static_cast<int64_t>(components.size()),
      options.mixture->block_size, fold_in(options.key, "mixture"));
  std::vector<int64_t> counts;
  std::vector<DatasetPtr<Example>> examples;
  std::vector<DatasetPtr<double>> loss_tokens;
  for (const Rows& component : rows) {
    counts.push_back(component.count());
    examples.push_back(component.endless<Example>(options));
    loss_tokens.push_back(component.endless<double>(options));
  }
  const int64_t length = plan->length(options.mixture->stop, counts);
  source.examples = mixture(std::move(examples), plan, length);
  source.loss_tokens = mixture(std::move(loss_tokens), plan, length);
  return source;
}

int64_t training_row_count(const ComponentStreams& component, const TrainingOptions& options) {
  return Rows(component, options).count();
}

int64_t empty_training_rows(const ComponentStreams& component, const TrainingOptions& options) {
  if (component.rows.pack || !component.train->weighted()) return 0;
  const Rows rows(component, options);
  const Key own = options.mixture ? rows.own_key(options) : options.key;
  const SyncDataset<double> loss_tokens(rows.in_order<double>(epoch_key(own, 0)));
  int64_t empty = 0;
  for (int64_t row = 0; row < rows.count(); ++row) empty += loss_tokens[row] == 0;
  return empty;
}

ExampleSource validation_rows(const ComponentStreams& component, int64_t seq_len) {
  const std::shared_ptr<const TokenStream>& stream = component.validation;
  if (component.rows.pack) {
    const auto plan = plan_packs(component, *stream, seq_len);
    const auto& references = component.validation_references;
    return {.examples = packed(stream, plan, references),
            .loss_tokens = packed_loss_tokens(stream, plan),
            .epoch_length = plan->rows(),
            .one_segment = component.rows.borders.crosses,
            .pairs = component.rows.pairs(),
            .has_references = references != nullptr};
  }
  WindowPlan plan = evaluation_plan(*stream, seq_len);
  plan.borders = component.rows.borders;
  return {.examples = windows(stream, plan),
          .loss_tokens = window_loss_tokens(stream, plan),
          .epoch_length = plan.count,
          .one_segment = stream->num_documents() <= 1 || plan.borders.crosses};
}

}  // namespace levanter::data
