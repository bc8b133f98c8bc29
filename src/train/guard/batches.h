// The batches of a run in order, without those that its rollbacks leave out.
#pragma once

#include <optional>
#include <vector>

#include "data/rows/loader.h"
#include "train/guard/rollbacks.h"

namespace levanter::train {

class Batches final {
 public:
  /// The batches of steps [loading.first_step, loading.end_step); Batch::step is a place.
  Batches(data::ExampleSource source, const data::LoaderOptions& loading,
          const Rollbacks& rollbacks);

  /// As data::Loader::next.
  const data::Batch& next();
  double seconds_waited() const { return waited_ + loader_->seconds_waited(); }

 private:
  void open();

  data::ExampleSource source_;
  data::LoaderOptions loading_;
  std::vector<PlaceRange> places_;
  size_t at_ = 0;                       ///< of places_
  std::optional<data::Loader> loader_;  ///< of these
  double waited_ = 0;                   ///< seconds, for the loaders before
};

}  // namespace levanter::train
