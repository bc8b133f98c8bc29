// The loader: the same batches from any start, by any rank, ahead of any consumer.
#include "data/rows/loader.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <chrono>
#include <cmath>
#include <numeric>
#include <thread>

#include "base/error.h"
#include "base/strings.h"
#include "data/rows/combinators.h"
#include "data/token_stream.h"
#include "support/example_bytes.h"

using namespace levanter;
using namespace levanter::data;

namespace {

constexpr int64_t kSeqLen = 4;

/// Windows of a stream of `size` counting ids, of documents of 10 tokens each; endless when
/// `endless`.
ExampleSource source(int32_t size, bool endless) {
  auto stream = std::make_shared<TokenStream>(100000);
  std::vector<int32_t> ids(static_cast<size_t>(size));
  std::iota(ids.begin(), ids.end(), 0);
  for (int32_t i = 0; i < size; i += 10)
    stream->append(std::span(ids).subspan(static_cast<size_t>(i),
                                          static_cast<size_t>(std::min(10, size - i))));
  const WindowPlan plan = evaluation_plan(*stream, kSeqLen);
  ExampleSource out{windows(stream, plan), window_loss_tokens(stream, plan), plan.count, false};
  if (!endless) return out;
  const auto repeat = [&]<class T>(DatasetPtr<T> once) {
    return epochs<T>(plan.count, [once](int64_t epoch) {
      return shuffle(once, fold_in(key_from_seed(1), static_cast<uint32_t>(epoch)));
    });
  };
  return {repeat(out.examples), repeat(out.loss_tokens), plan.count, false};
}

double sum(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

bool same(const Batch& a, const Batch& b) {
  return a.step == b.step && a.first_example == b.first_example && a.rows == b.rows &&
         a.real_rows == b.real_rows && a.loss_tokens == b.loss_tokens && a.tokens == b.tokens &&
         a.targets == b.targets && a.loss_weight == b.loss_weight &&
         a.segment_ids == b.segment_ids && a.positions == b.positions;
}

/// Throws at the first index from `bad` on.
class Failing final : public Dataset<Example> {
 public:
  Failing(DatasetPtr<Example> source, int64_t bad) : source_(std::move(source)), bad_(bad) {}
  std::future<std::vector<Example>> get_batch(std::span<const int64_t> indices) const override {
    for (const int64_t index : indices)
      if (index >= bad_) throw Error(ErrorKind::kIo, "the disk is gone");
    return source_->get_batch(indices);
  }
  std::future<int64_t> length() const override { return source_->length(); }

 private:
  DatasetPtr<Example> source_;
  int64_t bad_;
};

/// Counts the batches asked for.
class Counted final : public Dataset<Example> {
 public:
  explicit Counted(DatasetPtr<Example> source) : source_(std::move(source)) {}
  std::future<std::vector<Example>> get_batch(std::span<const int64_t> indices) const override {
    ++count;
    return source_->get_batch(indices);
  }
  std::future<int64_t> length() const override { return source_->length(); }

  mutable std::atomic<int> count = 0;

 private:
  DatasetPtr<Example> source_;
};

}  // namespace

TEST_CASE("batches hold the examples of their steps in order", "[data]") {
  const ExampleSource endless = source(95, true);
  Loader loader(endless, {.seq_len = kSeqLen, .batch_size = 5, .rows = 5});
  for (int64_t step = 0; step < 30; ++step) {
    const Batch& batch = loader.next();
    CHECK(batch.step == step);
    CHECK(batch.first_example == 5 * step);
    CHECK(batch.rows == 5);
    CHECK(batch.real_rows == 5);
    CHECK(batch.loss_tokens == sum(batch.loss_weight));
    for (int64_t row = 0; row < 5; ++row) {
      const Example e = SyncDataset(endless.examples)[5 * step + row];
      const auto begin = static_cast<ptrdiff_t>(row * kSeqLen);
      CHECK(std::equal(e.tokens.begin(), e.tokens.end(), batch.tokens.begin() + begin));
      CHECK(std::equal(e.targets.begin(), e.targets.end(), batch.targets.begin() + begin));
      CHECK(std::equal(e.loss_weight.begin(), e.loss_weight.end(),
                       batch.loss_weight.begin() + begin));
      CHECK(std::equal(e.segment_ids.begin(), e.segment_ids.end(),
                       batch.segment_ids.begin() + begin));
      CHECK(std::equal(e.positions.begin(), e.positions.end(), batch.positions.begin() + begin));
    }
  }
  CHECK_FALSE(loader.done());
}

TEST_CASE("a loader started at a step goes on as one that came there", "[data]") {
  const ExampleSource endless = source(95, true);
  for (const int64_t prefetch : {1, 2, 7}) {
    Loader whole(endless, {.seq_len = kSeqLen, .batch_size = 6, .rows = 6, .prefetch = 3});
    for (int64_t step = 0; step < 9; ++step) whole.next();
    Loader resumed(
        endless,
        {.seq_len = kSeqLen, .batch_size = 6, .rows = 6, .first_step = 9, .prefetch = prefetch});
    for (int64_t step = 9; step < 25; ++step) CHECK(same(whole.next(), resumed.next()));
  }
}

TEST_CASE("the ranks' rows together are the global batch", "[data]") {
  const ExampleSource finite = source(110, false);  // 28 windows
  const LoaderOptions all = {.seq_len = kSeqLen, .batch_size = 8, .rows = 8};
  LoaderOptions first = all, second = all;
  first.rows = 5;
  second.first_row = 5;
  second.rows = 3;
  Loader whole(finite, all), one(finite, first), two(finite, second);
  while (!whole.done()) {
    const Batch& batch = whole.next();
    const Batch& left = one.next();
    const Batch& right = two.next();
    std::vector<int32_t> targets = left.targets;
    targets.insert(targets.end(), right.targets.begin(), right.targets.end());
    CHECK(targets == batch.targets);
    CHECK(left.real_rows + right.real_rows == batch.real_rows);
    CHECK(right.first_example == batch.first_example + 5);
    CHECK(left.loss_tokens == batch.loss_tokens);
    CHECK(right.loss_tokens == batch.loss_tokens);
    CHECK(sum(left.loss_weight) + sum(right.loss_weight) == batch.loss_tokens);
  }
  CHECK(one.done());
  CHECK(two.done());
}

TEST_CASE("a finite source is given once, the last batch padded without weight", "[data]") {
  const ExampleSource finite = source(42, false);  // 11 windows
  REQUIRE(finite.epoch_length == 11);
  CHECK(num_steps(11, 4) == 3);
  CHECK(num_steps(12, 4) == 3);
  CHECK(num_steps(kEndless, 4) == kEndless);
  Loader loader(finite, {.seq_len = kSeqLen, .batch_size = 4, .rows = 4});
  int64_t rows = 0;
  double loss_tokens = 0;
  while (!loader.done()) {
    const Batch& batch = loader.next();
    rows += batch.real_rows;
    loss_tokens += batch.loss_tokens;
    CHECK(batch.loss_tokens == sum(batch.loss_weight));
    if (batch.step < 2) continue;
    CHECK(batch.real_rows == 3);
    for (size_t i = 12; i < 16; ++i) {
      CHECK(batch.tokens[i] == 0);
      CHECK(batch.targets[i] == 0);
      CHECK(batch.loss_weight[i] == 0);
      CHECK(batch.segment_ids[i] == kPaddingSegment);
      CHECK(batch.positions[i] == static_cast<int32_t>(i - 12));
    }
  }
  CHECK(rows == 11);
  CHECK(loss_tokens == 41 - 4);  // 4 documents begin after the first
  CHECK_THROWS_AS(loader.next(), Error);

  Loader cut(finite, {.seq_len = kSeqLen, .batch_size = 4, .rows = 4, .end_step = 1});
  CHECK_FALSE(cut.done());
  CHECK(cut.next().step == 0);
  CHECK(cut.done());
}

TEST_CASE("an error of the source comes with the batch that it spoils", "[data]") {
  ExampleSource failing = source(95, true);
  failing.examples = std::make_shared<Failing>(failing.examples, 13);
  Loader loader(failing, {.seq_len = kSeqLen, .batch_size = 5, .rows = 5});
  CHECK(loader.next().step == 0);
  CHECK(loader.next().step == 1);
  for (int again = 0; again < 2; ++again) {
    try {
      loader.next();
      FAIL("no error");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kIo);
      CHECK(error.message() == "the disk is gone");
    }
  }
}

TEST_CASE("a loader prepares as many batches as asked for, and ends at any moment", "[data]") {
  ExampleSource counted = source(95, true);
  const auto counter = std::make_shared<Counted>(counted.examples);
  counted.examples = counter;
  const LoaderOptions options = {.seq_len = kSeqLen, .batch_size = 5, .rows = 5, .prefetch = 3};
  {
    Loader loader(counted, options);
    loader.next();
    const auto begin = std::chrono::steady_clock::now();
    while (counter->count < 4 &&
           std::chrono::steady_clock::now() - begin < std::chrono::seconds(10))
      std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    CHECK(counter->count == 4);  // the one given and three ahead
  }
  for (int i = 0; i < 20; ++i) Loader never_asked(counted, options);
  CHECK(loader_bytes(options) == 4 * 5 * kSeqLen * testing::bytes_of_position());
}
