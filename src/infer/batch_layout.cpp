// The arrays of a microbatch that compiled functions read: which, where, and what fills them.
#include "infer/batch_layout.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/integers.h"

namespace levanter::infer {

namespace {

constexpr int64_t kAlignment = 64;

/// Two words for each row: the step's key folded with the index of the row's example.
void write_keys(Key step_key, int64_t first_example, int64_t rows, std::byte* to) {
  for (int64_t row = 0; row < rows; ++row) {
    const auto example = static_cast<uint64_t>(first_example + row);
    const Key key = fold_in(fold_in(step_key, static_cast<uint32_t>(example >> 32)),
                            static_cast<uint32_t>(example));
    const uint32_t words[] = {key.hi, key.lo};
    std::memcpy(to + row * static_cast<int64_t>(sizeof(words)), words, sizeof(words));
  }
}

}  // namespace

BatchLayout::BatchLayout(std::initializer_list<const Executable*> readers) {
  std::map<std::string, Type, std::less<>> read;
  for (const Executable* reader : readers)
    if (reader)
      for (const Argument& argument : reader->arguments())
        read.emplace(argument.name, argument.type);
  const auto add = [&](std::string_view name) {
    const auto found = read.find(name);
    if (found == read.end()) return;
    places_.push_back({found->first, found->second, bytes_});
    bytes_ += round_up(found->second.bytes(), kAlignment);
  };
  data::for_each_array([&](std::string_view name, auto) { add(name); });
  add(models::kDropoutKeys);
}

void BatchLayout::load(const Rows& rows, Key step_key, std::byte* image) const {
  data::for_each_array([&]<class T>(std::string_view name, std::vector<T> data::Example::*field) {
    const Place* place = find(name);
    if (!place) return;
    const int64_t count = place->type.elements();
    const int64_t begin = rows.first * (count / place->type.axes.size_of("batch"));
    const std::vector<T>& from = rows.arrays.*field;
    if (from.empty()) return;  // rows without references are not read by who asks for those
    LEV_CHECK(size_of(place->type.dtype) == sizeof(T), "arrays are sent as i32 and f32");
    LEV_CHECK(begin + count <= std::ssize(from), "rows are fewer than a microbatch");
    std::memcpy(image + place->offset, from.data() + begin, static_cast<size_t>(count) * sizeof(T));
  });
  if (const Place* keys = find(models::kDropoutKeys))
    write_keys(step_key, rows.first_example, keys->type.axes.size_of("batch"),
               image + keys->offset);
}

void BatchLayout::add_places(std::byte* memory, Addresses& addresses) const {
  for (const Place& place : places_) addresses[place.name] = memory + place.offset;
}

const BatchLayout::Place* BatchLayout::find(std::string_view name) const {
  const auto found = std::find_if(places_.begin(), places_.end(),
                                  [&](const Place& place) { return place.name == name; });
  return found == places_.end() ? nullptr : &*found;
}

}  // namespace levanter::infer
