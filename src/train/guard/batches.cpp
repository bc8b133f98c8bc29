// The batches of a run in order, without those that its rollbacks leave out.
#include "train/guard/batches.h"

#include <utility>

namespace levanter::train {

Batches::Batches(data::ExampleSource source, const data::LoaderOptions& loading,
                 const Rollbacks& rollbacks)
    : source_(std::move(source)),
      loading_(loading),
      places_(places_of(rollbacks, loading.first_step, loading.end_step)) {
  open();
}

const data::Batch& Batches::next() {
  if (loader_->done() && at_ + 1 < places_.size()) {
    waited_ += loader_->seconds_waited();
    ++at_;
    open();
  }
  return loader_->next();
}

void Batches::open() {
  loading_.first_step = places_[at_].begin;
  loading_.end_step = places_[at_].end;
  loader_.emplace(source_, loading_);
}

}  // namespace levanter::train
