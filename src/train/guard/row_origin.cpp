// Where a row of the training data comes from.
#include "train/guard/row_origin.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "data/rows/mixture.h"
#include "data/rows/shuffle.h"
#include "train/setup.h"

namespace levanter::train {

struct RowOrigins::Impl {
  data::TrainingOptions options;
  std::vector<std::string> names;  ///< of the components that are trained on
  std::vector<int64_t> rows;       ///< of each in an epoch
  int64_t all_rows = 0;
  std::optional<data::MixturePlan> mixture;

  void plan_mixture() {
    std::vector<data::MixtureStage> stages;
    for (const data::WeightStage& stage : options.mixture->stages) {
      data::MixtureStage& made = stages.emplace_back();
      made.first_index = stage.first_row;
      for (const std::string& name : names) {
        const auto weight = stage.weights.find(name);
        made.weights.push_back(weight == stage.weights.end() ? 0 : weight->second);
      }
    }
    mixture.emplace(std::move(stages), std::ssize(names), options.mixture->block_size,
                    fold_in(options.key, "mixture"));
  }

  /// What element `index` of the epochs of `count` rows under `key` is.
  RowOrigin shuffled(Key key, int64_t index, int64_t count) const {
    const int64_t epoch = index / count;
    const Key own = fold_in(key, static_cast<uint32_t>(epoch));
    const data::ShuffleOrder order(options.shuffle, fold_in(own, "shuffle"), count);
    return {"", epoch, order(index % count)};
  }
};

RowOrigins::RowOrigins(const TrainConfig& config, const data::TextData& data)
    : impl_(std::make_unique<Impl>()) {
  const Key root = key_from_seed(static_cast<uint64_t>(config.trainer.seed));
  impl_->options = training_options(config, fold_in(root, "data"));
  for (const data::ComponentStreams* component : data.components()) {
    if (!component->train || component->train->size() == 0) continue;
    impl_->names.push_back(component->name);
    impl_->rows.push_back(training_row_count(*component, impl_->options));
    impl_->all_rows += impl_->rows.back();
  }
  if (impl_->options.mixture) impl_->plan_mixture();
}

RowOrigins::~RowOrigins() = default;

RowOrigin RowOrigins::of(int64_t example) const {
  const Impl& m = *impl_;
  if (m.mixture) {
    const data::MixturePlan::Place place = m.mixture->place(example);
    const auto source = static_cast<size_t>(place.source);
    const Key own = fold_in(fold_in(m.options.key, "component"), m.names[source]);
    RowOrigin origin = m.shuffled(own, place.index, m.rows[source]);
    origin.component = m.names[source];
    return origin;
  }
  RowOrigin origin = m.shuffled(m.options.key, example, m.all_rows);
  size_t component = 0;
  while (origin.row >= m.rows[component]) origin.row -= m.rows[component++];
  origin.component = m.names[component];
  return origin;
}

}  // namespace levanter::train
