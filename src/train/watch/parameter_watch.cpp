// What is measured of the parameters at some steps: norms by the update itself, histograms beside
// it.
#include "train/watch/parameter_watch.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/strings.h"
#include "device/ranges.h"
#include "device/transfer.h"
#include "train/hooks.h"
#include "train/watch/histogram.h"

namespace levanter::train {

namespace {

constexpr std::string_view kService = "watch";

/// What all ranks have, in their order, which is that of the parameters.
template <class T>
std::vector<T> gathered(dist::Communicator& communicator, const std::vector<T>& own) {
  const std::string_view bytes(reinterpret_cast<const char*>(own.data()), own.size() * sizeof(T));
  std::vector<T> all;
  for (const std::string& of_rank : dist::gather_texts(communicator, bytes)) {
    const size_t begin = all.size();
    all.resize(begin + of_rank.size() / sizeof(T));
    if (!of_rank.empty()) std::memcpy(all.data() + begin, of_rank.data(), of_rank.size());
  }
  return all;
}

std::span<const float> floats_of(const Tensor& tensor, std::vector<std::byte>& room) {
  const auto count = static_cast<size_t>(tensor.elements());
  const auto bytes = read_bytes(*tensor.memory, tensor.data, count * sizeof(float), room);
  return {reinterpret_cast<const float*>(bytes.data()), count};
}

}  // namespace

void ParameterWatch::look() {
  const Range range("watch");
  values_ = engine_.watched();
  if (reads_gradients()) measure_spreads();
}

void ParameterWatch::measure_spreads() {
  ThreadPool pool(backend_.threads());
  std::vector<std::byte> room;
  const auto measure = [&](const Tensor& tensor) {
    const Histogram h = histogram_of(floats_of(tensor, room), pool);
    Spread spread{h.count, h.min, h.max, h.sum, h.sum_squares, {}};
    std::copy(h.counts.begin(), h.counts.end(), spread.counts.begin());
    spreads_.push_back(spread);
  };
  spreads_.clear();
  const std::vector<Tensor> params = engine_.model_tensors();
  const std::vector<Tensor> gradients = engine_.gradients();  // of what is trained, in its order
  const CompiledStep& step = engine_.step();
  for (const Piece& piece : step.pieces_of(step.options.rank)) {
    const std::string& path = step.params[piece.param].path;
    if (piece.begin > 0 || !step.options.watch.covers(path)) continue;
    for (const std::vector<Tensor>* of : {&gradients, &params}) {
      const auto found = std::find_if(of->begin(), of->end(),
                                      [&](const Tensor& tensor) { return tensor.path == path; });
      LEV_CHECK(found != of->end(), "a rank has not what it updates");
      measure(*found);
    }
  }
}

std::vector<std::string> ParameterWatch::histogram_names() const {
  std::vector<std::string> names;
  for (const nn::Param& param : engine_.step().params) {
    if (!param.trainable || !engine_.step().options.watch.covers(param.path)) continue;
    names.push_back(cat("watch/grad_histogram/", param.path));
    names.push_back(cat("watch/param_histogram/", param.path));
  }
  return names;
}

ParameterWatch::Seen ParameterWatch::gather(dist::Communicator& communicator) const {
  const std::vector<float> values = is_shared() ? gathered(communicator, values_) : values_;
  const std::vector<Spread> spreads = is_shared() ? gathered(communicator, spreads_) : spreads_;
  Seen seen;
  if (communicator.rank() > 0) return seen;
  for (auto& [name, value] : engine_.step().watched_metrics(values))
    if (std::isfinite(value)) seen.metrics.emplace_back(std::move(name), value);
  if (spreads.empty()) return seen;
  const std::vector<std::string> of_spreads = histogram_names();
  LEV_CHECK(spreads.size() == of_spreads.size(), "histograms without names");
  for (size_t i = 0; i < spreads.size(); ++i) {
    const Spread& s = spreads[i];
    if (s.count == 0) continue;  // nothing of it is finite
    seen.histograms.emplace_back(of_spreads[i], Histogram{s.count,
                                                          s.min,
                                                          s.max,
                                                          s.sum,
                                                          s.sum_squares,
                                                          histogram_limits(s.min, s.max),
                                                          {s.counts.begin(), s.counts.end()}});
  }
  return seen;
}

void serve_watch(dist::Crew& crew, const ParameterWatch& watch) {
  crew.serve(std::string(kService), [&](const std::string&) { watch.gather(crew.communicator()); });
}

namespace {

class WatchHook final : public Hook {
 public:
  explicit WatchHook(const HookContext& c) : c_(c) {}

  const char* name() const override { return "watch"; }
  void after_step(const StepInfo& info) override {
    if (!c_.watch.due(info.step)) return;
    if (c_.watch.is_shared()) c_.crew.call(kService);
    const ParameterWatch::Seen seen = c_.watch.gather(c_.crew.communicator());
    if (!seen.metrics.empty()) c_.tracker.log(seen.metrics, info.step);
    if (!seen.histograms.empty()) c_.tracker.log_histograms(seen.histograms, info.step);
  }

 private:
  HookContext c_;
};

}  // namespace

std::unique_ptr<Hook> make_watch_hook(const HookContext& context) {
  return std::make_unique<WatchHook>(context);
}

}  // namespace levanter::train
