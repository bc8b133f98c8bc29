// The loader: batches of one rank in order, prepared ahead in a background thread.
#include "data/rows/loader.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>

#include "base/error.h"
#include "base/stop.h"
#include "base/threads.h"
#include "device/ranges.h"
#include "device/tracing.h"

namespace levanter::data {

namespace {

constexpr int64_t kRowsAtOnce = 1024;  // that are made between two looks for a stop

void set_example(Batch& batch, int64_t row, int64_t seq_len, const Example& example) {
  for_each_array([&](const char*, auto field) {
    const auto& from = example.*field;
    auto& to = batch.*field;
    if (to.empty()) return;  // an array that these examples lack
    if (from.empty()) {
      std::fill_n(to.begin() + row * seq_len, seq_len, 0);
      return;
    }
    LEV_CHECK(std::ssize(from) == seq_len, "an example is not as long as the sequence");
    std::copy(from.begin(), from.end(), to.begin() + row * seq_len);
  });
}

}  // namespace

int64_t loader_bytes(const LoaderOptions& options) {
  int64_t each = 0;  // bytes of a position
  const Example one(1);
  for_each_array([&]<class T>(const char*, std::vector<T> Example::*field) {
    each += static_cast<int64_t>((one.*field).size() * sizeof(T));
  });
  if (options.references) each += sizeof(float);
  return (options.prefetch + 1) * options.rows * options.seq_len * each;
}

int64_t num_steps(int64_t num_examples, int64_t batch_size) {
  return num_examples == kEndless ? kEndless : (num_examples + batch_size - 1) / batch_size;
}

struct Loader::Impl {
  Impl(ExampleSource source, const LoaderOptions& given)
      : source(std::move(source)),
        options(given),
        padding(static_cast<size_t>(std::max<int64_t>(given.seq_len, 0))) {
    LEV_CHECK(options.seq_len >= 1 && options.batch_size >= 1 && options.prefetch >= 1,
              "the loader's sizes are at least 1");
    LEV_CHECK(options.first_row >= 0 && options.rows >= 0 &&
                  options.first_row + options.rows <= options.batch_size,
              "a rank's rows are inside the global batch");
    num_examples = this->source.examples->length().get();
    options.end_step = std::min(options.end_step, steps_of(num_examples));
    next_step = made_until = options.first_step;
    const auto size = static_cast<size_t>(options.rows * options.seq_len);
    Example empty(size);
    if (this->source.has_references) empty.reference_logps.resize(size);
    slots.assign(static_cast<size_t>(options.prefetch + 1), {empty});
    thread = start_thread([this] { produce(); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    changed.notify_all();
    thread.join();
  }

  /// Steps needed to see so many examples once.
  int64_t steps_of(int64_t examples) const {
    if (!options.sizes || examples == kEndless) return num_steps(examples, options.batch_size);
    const int64_t whole = options.sizes->filled_by(examples);
    return whole + (options.sizes->before(whole) < examples);
  }

  Batch& slot(int64_t step) { return slots[static_cast<size_t>(step) % slots.size()]; }

  /// The loop of the background thread. The slot of the batch last handed out is never written:
  /// that of step s is free again when step s + 1 has been asked for.
  void produce() {
    name_thread("loader");
    for (int64_t step = options.first_step; step < options.end_step; ++step) {
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return stopping || step < next_step + options.prefetch; });
        if (stopping) return;
      }
      std::exception_ptr thrown;
      try {
        const Range range("make a batch");
        fill(slot(step), step);
      } catch (...) {
        thrown = std::current_exception();
      }
      {
        const std::lock_guard lock(mutex);
        error = thrown;
        if (thrown == nullptr) made_until = step + 1;
      }
      changed.notify_all();
      if (thrown != nullptr) return;
    }
  }

  /// What a row adds to the batch's loss_tokens.
  double counted(const Example& example) const {
    if (source.pairs) return static_cast<double>(pairs_of(example.segment_ids));
    return std::accumulate(example.loss_weight.begin(), example.loss_weight.end(), 0.0);
  }

  /// Adds the loss weights of other ranks' rows, which aren't made here, row by row: any division
  /// into ranks gives the same bits.
  double add_others(double loss_tokens, std::span<const int64_t> others) const {
    if (others.empty()) return loss_tokens;
    const std::vector<double> weights = source.loss_tokens->get_batch(others).get();
    return std::accumulate(weights.begin(), weights.end(), loss_tokens);
  }

  /// Makes a batch; one that nobody will train on, for a stop was asked for, is left as it is.
  void fill(Batch& batch, int64_t step) {
    const int64_t size = options.sizes ? options.sizes->of(step) : options.batch_size;
    const int64_t begin = options.sizes ? options.sizes->before(step) : step * options.batch_size;
    const RowRange own =
        options.part ? options.part(size) : RowRange{options.first_row, options.rows};
    const int64_t end = std::min(begin + size, num_examples);
    indices.resize(static_cast<size_t>(end - begin));
    std::iota(indices.begin(), indices.end(), begin);
    const int64_t mine = std::clamp<int64_t>(end - begin - own.first, 0, own.count);
    const int64_t first = std::min(own.first, end - begin);
    double loss_tokens = add_others(0, std::span(indices).first(static_cast<size_t>(first)));
    for (int64_t row = 0; row < mine && !stopping && !stop_requested(); row += kRowsAtOnce) {
      const int64_t count = std::min(kRowsAtOnce, mine - row);
      const std::vector<Example> rows =
          source.examples
              ->get_batch(std::span(indices).subspan(static_cast<size_t>(first + row),
                                                     static_cast<size_t>(count)))
              .get();
      for (int64_t i = 0; i < count; ++i) {
        const Example& example = rows[static_cast<size_t>(i)];
        loss_tokens += counted(example);
        set_example(batch, row + i, options.seq_len, example);
      }
    }
    for (int64_t row = mine; row < options.rows; ++row)
      set_example(batch, row, options.seq_len, padding);
    batch.step = step;
    batch.first_example = begin + own.first;
    batch.rows = own.count;
    batch.real_rows = mine;
    batch.loss_tokens =
        add_others(loss_tokens, std::span(indices).subspan(static_cast<size_t>(first + mine)));
  }

  const Batch& take() {
    std::unique_lock lock(mutex);
    LEV_CHECK(next_step < options.end_step, "the loader has no step left");
    const auto there = [&] { return made_until > next_step || error != nullptr; };
    if (!there()) {
      const auto begin = std::chrono::steady_clock::now();
      changed.wait(lock, there);
      waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }
    if (made_until <= next_step) std::rethrow_exception(error);
    Batch& batch = slot(next_step++);
    lock.unlock();
    changed.notify_all();
    return batch;
  }

  ExampleSource source;
  LoaderOptions options;
  const Example padding;
  int64_t num_examples = 0;
  std::vector<Batch> slots;
  std::vector<int64_t> indices;  // of the thread alone

  std::mutex mutex;
  std::condition_variable changed;
  int64_t next_step = 0;   // the step that `take` gives next
  int64_t made_until = 0;  // steps before this one are in their slots
  std::exception_ptr error;
  std::atomic<bool> stopping = false;
  double waited = 0;
  std::thread thread;
};

Loader::Loader(ExampleSource source, const LoaderOptions& options)
    : impl_(std::make_unique<Impl>(std::move(source), options)) {}

Loader::~Loader() = default;

bool Loader::done() const { return impl_->next_step >= impl_->options.end_step; }

const Batch& Loader::next() { return impl_->take(); }

double Loader::seconds_waited() const { return impl_->waited; }

}  // namespace levanter::data
