// Datasets made from datasets: map, map_batches, slice, take, shuffle, concat and epochs.
#pragma once

#include <algorithm>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "data/rows/dataset.h"
#include "data/rows/shuffle.h"

namespace levanter::data {

namespace detail {

/// get_batch is fn(elements of the source); the length is the source's.
template <class T, class U, class Fn>
class MappedBatches final : public Dataset<U> {
 public:
  MappedBatches(DatasetPtr<T> source, Fn fn) : source_(std::move(source)), fn_(std::move(fn)) {}
  std::future<std::vector<U>> get_batch(std::span<const int64_t> indices) const override {
    return then(source_->get_batch(indices), fn_);
  }
  std::future<int64_t> length() const override { return source_->length(); }

 private:
  DatasetPtr<T> source_;
  Fn fn_;
};

/// Element i is element to_source(i) of the source.
template <class T, class ToSource>
class Reindexed final : public Dataset<T> {
 public:
  Reindexed(DatasetPtr<T> source, int64_t length, ToSource to_source)
      : source_(std::move(source)), length_(length), to_source_(std::move(to_source)) {}
  std::future<std::vector<T>> get_batch(std::span<const int64_t> indices) const override {
    std::vector<int64_t> inner;
    inner.reserve(indices.size());
    for (const int64_t index : indices) {
      LEV_CHECK(index >= 0 && index < length_, "an index is outside the dataset");
      inner.push_back(to_source_(index));
    }
    return source_->get_batch(inner);
  }
  std::future<int64_t> length() const override { return ready(length_); }

 private:
  DatasetPtr<T> source_;
  int64_t length_;
  ToSource to_source_;
};

template <class T, class ToSource>
DatasetPtr<T> reindexed(DatasetPtr<T> source, int64_t length, ToSource to_source) {
  return std::make_shared<Reindexed<T, ToSource>>(std::move(source), length, std::move(to_source));
}

/// An element of one of several datasets.
struct Place {
  int64_t source, index;
};

/// Element i is element place(i).index of the dataset open(place(i).source).
template <class T, class ToPlace, class Open>
class Scattered final : public Dataset<T> {
 public:
  Scattered(int64_t length, ToPlace place, Open open)
      : length_(length), place_(std::move(place)), open_(std::move(open)) {}

  std::future<std::vector<T>> get_batch(std::span<const int64_t> indices) const override {
    std::vector<Part> parts;  // few: a batch touches few sources
    for (size_t row = 0; row < indices.size(); ++row) {
      LEV_CHECK(indices[row] >= 0 && indices[row] < length_, "an index is outside the dataset");
      const Place at = place_(indices[row]);
      size_t p = 0;
      while (p < parts.size() && parts[p].source != at.source) ++p;
      if (p == parts.size()) parts.push_back({.source = at.source, .dataset = open_(at.source)});
      parts[p].indices.push_back(at.index);
      parts[p].rows.push_back(row);
    }
    for (Part& part : parts) part.values = part.dataset->get_batch(part.indices);
    return std::async(std::launch::deferred,
                      [parts = std::move(parts), count = indices.size()]() mutable {
                        std::vector<T> out(count);
                        for (Part& part : parts) {
                          std::vector<T> values = part.values.get();
                          for (size_t i = 0; i < values.size(); ++i)
                            out[part.rows[i]] = std::move(values[i]);
                        }
                        return out;
                      });
  }
  std::future<int64_t> length() const override { return ready(length_); }

 private:
  struct Part {
    int64_t source = 0;
    DatasetPtr<T> dataset = nullptr;
    std::vector<int64_t> indices = {};
    std::vector<size_t> rows = {};
    std::future<std::vector<T>> values = {};
  };

  int64_t length_;
  ToPlace place_;
  Open open_;
};

template <class T, class ToPlace, class Open>
DatasetPtr<T> scattered(int64_t length, ToPlace place, Open open) {
  return std::make_shared<Scattered<T, ToPlace, Open>>(length, std::move(place), std::move(open));
}

/// The same of datasets that are open.
template <class T, class ToPlace>
DatasetPtr<T> scattered(int64_t length, ToPlace place, std::vector<DatasetPtr<T>> sources) {
  return scattered<T>(length, std::move(place), [sources = std::move(sources)](int64_t source) {
    return sources[static_cast<size_t>(source)];
  });
}

template <class T, class Make>
class Made final : public Dataset<T> {
 public:
  Made(int64_t length, Make make) : length_(length), make_(std::move(make)) {}
  std::future<std::vector<T>> get_batch(std::span<const int64_t> indices) const override {
    return ready(make_(indices));
  }
  std::future<int64_t> length() const override { return ready(length_); }

 private:
  int64_t length_;
  Make make_;
};

}  // namespace detail

/// A dataset whose elements at some indices are make(indices), a vector. make must be pure.
template <class T, class Make>
DatasetPtr<T> made(int64_t length, Make make) {
  return std::make_shared<detail::Made<T, Make>>(length, std::move(make));
}

/// Element i is fn(element i); fn must be pure.
template <class T, class Fn>
auto map(DatasetPtr<T> source, Fn fn) {
  using U = std::invoke_result_t<Fn, T>;
  auto each = [fn = std::move(fn)](std::vector<T> values) {
    std::vector<U> out;
    out.reserve(values.size());
    for (T& value : values) out.push_back(fn(std::move(value)));
    return out;
  };
  return DatasetPtr<U>(std::make_shared<detail::MappedBatches<T, U, decltype(each)>>(
      std::move(source), std::move(each)));
}

/// fn takes a batch of elements and gives as many; which elements stand in one batch must not
/// matter.
template <class T, class Fn>
auto map_batches(DatasetPtr<T> source, Fn fn) {
  using U = typename std::invoke_result_t<Fn, std::vector<T>>::value_type;
  return DatasetPtr<U>(
      std::make_shared<detail::MappedBatches<T, U, Fn>>(std::move(source), std::move(fn)));
}

/// Elements [begin, end) of the source, which must be as long as that; waits for its length.
template <class T>
DatasetPtr<T> slice(DatasetPtr<T> source, int64_t begin, int64_t end) {
  LEV_CHECK(begin >= 0 && begin <= end && end <= source->length().get(),
            "a slice is not inside its dataset");
  return detail::reindexed(std::move(source), end - begin,
                           [begin](int64_t index) { return begin + index; });
}

/// The first `count` elements, or all where there are fewer; waits for the source's length.
template <class T>
DatasetPtr<T> take(DatasetPtr<T> source, int64_t count) {
  const int64_t length = source->length().get();
  return slice(std::move(source), 0, std::min(count, length));
}

/// The elements of a finite source in an order that `key` and its kind decide; waits for its
/// length.
template <class T>
DatasetPtr<T> shuffle(DatasetPtr<T> source, const ShuffleSpec& spec, Key key) {
  const int64_t length = source->length().get();
  LEV_CHECK(length != kEndless, "an endless dataset can't be shuffled as a whole");
  return detail::reindexed(std::move(source), length, ShuffleOrder(spec, key, length));
}
template <class T>
DatasetPtr<T> shuffle(DatasetPtr<T> source, Key key) {
  return shuffle(std::move(source), ShuffleSpec(), key);
}

/// The sources one after the other; waits for their lengths, which must be finite.
template <class T>
DatasetPtr<T> concat(std::vector<DatasetPtr<T>> sources) {
  std::vector<int64_t> ends;
  int64_t total = 0;
  for (const DatasetPtr<T>& source : sources) {
    const int64_t length = source->length().get();
    LEV_CHECK(length != kEndless, "an endless dataset can't be followed by another");
    ends.push_back(total += length);
  }
  const auto place = [ends = std::move(ends)](int64_t index) {
    const auto end = std::upper_bound(ends.begin(), ends.end(), index);
    return detail::Place{end - ends.begin(), end == ends.begin() ? index : index - end[-1]};
  };
  return detail::scattered<T>(total, place, std::move(sources));
}

/// An endless dataset of `epoch_length` elements an epoch: element g is element g mod epoch_length
/// of make_epoch(g / epoch_length), a dataset of at least that length. make_epoch must be pure and
/// quick: it is called for each batch.
template <class T, class MakeEpoch>
DatasetPtr<T> epochs(int64_t epoch_length, MakeEpoch make_epoch) {
  LEV_CHECK(epoch_length > 0, "an epoch needs at least one element");
  const auto place = [epoch_length](int64_t index) {
    return detail::Place{index / epoch_length, index % epoch_length};
  };
  return detail::scattered<T>(kEndless, place, std::move(make_epoch));
}

}  // namespace levanter::data
