// Datasets and their combinators, on a source whose answers come late.
#include "data/rows/combinators.h"

#include <catch2/catch.hpp>

#include <chrono>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

using namespace levanter;
using namespace levanter::data;

namespace {

/// Element i is start + i, made in another thread after a moment; element `bad` throws.
class LateNumbers final : public Dataset<int64_t> {
 public:
  LateNumbers(int64_t start, int64_t length, int64_t bad = -1)
      : start_(start), length_(length), bad_(bad) {}

  std::future<std::vector<int64_t>> get_batch(std::span<const int64_t> indices) const override {
    return std::async(std::launch::async,
                      [this, wanted = std::vector(indices.begin(), indices.end())] {
                        std::this_thread::sleep_for(std::chrono::milliseconds(1));
                        std::vector<int64_t> out;
                        for (const int64_t index : wanted) {
                          if (index == bad_) throw std::runtime_error("element is bad");
                          out.push_back(start_ + index);
                        }
                        return out;
                      });
  }
  std::future<int64_t> length() const override {
    return std::async(std::launch::async, [this] { return length_; });
  }

 private:
  int64_t start_, length_, bad_;
};

DatasetPtr<int64_t> numbers(int64_t start, int64_t length, int64_t bad = -1) {
  return std::make_shared<LateNumbers>(start, length, bad);
}

template <class T>
std::vector<T> all(const DatasetPtr<T>& source) {
  std::vector<int64_t> indices(static_cast<size_t>(source->length().get()));
  std::iota(indices.begin(), indices.end(), 0);
  return source->get_batch(indices).get();
}

using Numbers = std::vector<int64_t>;

}  // namespace

TEST_CASE("the synchronous face gives elements, batches and the size", "[data]") {
  const SyncDataset<int64_t> source(numbers(100, 5));
  CHECK(source.size() == 5);
  CHECK(source[3] == 103);
  CHECK(source.get_batch(Numbers{4, 0, 4}) == Numbers{104, 100, 104});
}

TEST_CASE("map and map_batches apply a function, also to another type", "[data]") {
  CHECK(all(map(numbers(1, 3), [](int64_t x) { return std::to_string(x); })) ==
        std::vector<std::string>{"1", "2", "3"});
  CHECK(all(map_batches(numbers(1, 3), [](Numbers batch) {
          for (int64_t& x : batch) x *= 10;
          return batch;
        })) == Numbers{10, 20, 30});
}

TEST_CASE("slice and take keep their part and refuse what is outside", "[data]") {
  CHECK(all(slice(numbers(0, 10), 3, 6)) == Numbers{3, 4, 5});
  CHECK(all(take(numbers(0, 10), 2)) == Numbers{0, 1});
  CHECK(all(take(numbers(0, 3), 5)) == Numbers{0, 1, 2});
  CHECK(all(slice(numbers(0, 3), 3, 3)).empty());
  CHECK_THROWS_AS(slice(numbers(0, 10), 3, 11), Error);
  const auto part = slice(numbers(0, 10), 3, 6);
  CHECK_THROWS_AS(part->get_batch(Numbers{3}), Error);
  CHECK_THROWS_AS(part->get_batch(Numbers{-1}), Error);
}

TEST_CASE("shuffle gives every element once, in an order that the key decides", "[data]") {
  const Numbers one = all(shuffle(numbers(0, 100), key_from_seed(1)));
  CHECK(one == all(shuffle(numbers(0, 100), key_from_seed(1))));
  CHECK(one != all(shuffle(numbers(0, 100), key_from_seed(2))));
  CHECK(std::set<int64_t>(one.begin(), one.end()).size() == 100);
}

TEST_CASE("concat gives one source after the other, in any order of asking", "[data]") {
  const auto joined = concat<int64_t>({numbers(0, 2), numbers(50, 0), numbers(10, 3)});
  CHECK(all(joined) == Numbers{0, 1, 10, 11, 12});
  CHECK(joined->get_batch(Numbers{4, 0, 2, 1, 4}).get() == Numbers{12, 0, 10, 1, 12});
}

TEST_CASE("epochs never end, and each is made from its own number", "[data]") {
  const auto endless = epochs<int64_t>(
      4, [](int64_t epoch) { return shuffle(numbers(0, 4), fold_in(key_from_seed(3), epoch)); });
  CHECK(endless->length().get() == kEndless);
  std::set<Numbers> orders;
  for (int64_t epoch = 0; epoch < 20; ++epoch) {
    const Numbers order =
        endless->get_batch(Numbers{4 * epoch, 4 * epoch + 1, 4 * epoch + 2, 4 * epoch + 3}).get();
    CHECK(std::set<int64_t>(order.begin(), order.end()).size() == 4);
    orders.insert(order);
  }
  CHECK(orders.size() > 5);
  // A batch that spans epochs is the same elements.
  const Numbers two = endless->get_batch(Numbers{2, 3, 4, 5}).get();
  CHECK(two == Numbers{SyncDataset(endless)[2], SyncDataset(endless)[3], SyncDataset(endless)[4],
                       SyncDataset(endless)[5]});
  CHECK_THROWS_AS(shuffle(endless, key_from_seed(0)), Error);
}

TEST_CASE("an error of the source comes out of every combinator's future", "[data]") {
  const auto bad = numbers(0, 4, 2);
  const auto same = [](int64_t x) { return x; };
  for (const auto& source :
       {map(bad, same), take(bad, 4), shuffle(bad, key_from_seed(1)), concat<int64_t>({bad}),
        epochs<int64_t>(4, [bad](int64_t) { return bad; }), slice(bad, 0, 4)}) {
    auto future = source->get_batch(Numbers{0, 1, 2, 3});
    CHECK_THROWS_WITH(future.get(), "element is bad");
  }
}
