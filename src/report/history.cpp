// What a run measured, read from its metrics.jsonl.
#include "report/history.h"

#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

namespace levanter::report {

namespace {

namespace od = simdjson::ondemand;

constexpr size_t kPieceBytes = size_t{8} << 20;

class Reader final {
 public:
  /// Takes all whole lines of `text`, behind which simdjson may read on; the bytes of them.
  size_t take_lines(const std::string& text, size_t readable) {
    size_t start = 0;
    for (size_t end; (end = text.find('\n', start)) < readable; start = end + 1)
      take_line(
          simdjson::padded_string_view(text.data() + start, end - start, text.capacity() - start));
    return start;
  }

  History finish(bool torn) {
    history_.torn = torn;
    for (Series& series : history_.series)
      if (!std::is_sorted(series.steps.begin(), series.steps.end())) sort(series);
    return std::move(history_);
  }

 private:
  void take_line(simdjson::padded_string_view line) {
    if (std::all_of(line.begin(), line.end(), [](char c) { return c == ' ' || c == '\r'; })) return;
    ++history_.lines;
    numbers_.clear();
    if (!read(line)) {
      ++history_.bad_lines;
      return;
    }
    history_.last_step = std::max(history_.last_step, step_);
    for (const auto& [index, value] : numbers_) {
      history_.series[index].steps.push_back(step_);
      history_.series[index].values.push_back(value);
    }
  }

  /// False for what is no object with a step, or no JSON to its end.
  bool read(simdjson::padded_string_view line) {
    od::document document;
    od::object object;
    if (parser_.iterate(line).get(document) || document.get_object().get(object)) return false;
    bool has_step = false;
    size_t position = 0;
    for (auto member : object) {
      std::string_view key;
      od::value value;
      if (member.unescaped_key().get(key) || member.value().get(value)) return false;
      if (key == "step") {
        has_step = !value.get_int64().get(step_);
      } else if (key == "time") {
        take_time(value);
      } else if (!take_number(key, value, position)) {
        return false;
      }
      ++position;
    }
    return has_step && document.current_location().error() == simdjson::OUT_OF_BOUNDS;
  }

  void take_time(od::value value) {
    std::string_view time;
    if (value.get_string().get(time)) return;
    if (history_.from.empty()) history_.from = time;
    history_.to = time;
  }

  bool take_number(std::string_view key, od::value value, size_t position) {
    od::json_type type;
    if (value.type().get(type)) return false;
    double number = std::numeric_limits<double>::quiet_NaN();
    if (type == od::json_type::number) {
      if (value.get_double().get(number)) return false;
    } else if (type != od::json_type::null || !value.is_null()) {
      return true;
    }
    numbers_.emplace_back(index_of(key, position), number);
    return true;
  }

  /// Lines tend to have the keys of the one before, at the same places.
  size_t index_of(std::string_view key, size_t position) {
    if (places_.size() <= position) places_.resize(position + 1);
    size_t& guess = places_[position];
    std::vector<Series>& all = history_.series;
    if (guess < all.size() && all[guess].name == key) return guess;
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const Series& s) { return s.name == key; });
    guess = static_cast<size_t>(found - all.begin());
    if (found == all.end()) all.emplace_back().name = key;
    return guess;
  }

  /// Of a step that stands twice the later value counts.
  static void sort(Series& series) {
    std::vector<size_t> order(series.steps.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return series.steps[a] < series.steps[b]; });
    Series sorted{series.name, {}, {}};
    for (const size_t i : order) {
      if (!sorted.steps.empty() && sorted.steps.back() == series.steps[i]) {
        sorted.values.back() = series.values[i];
        continue;
      }
      sorted.steps.push_back(series.steps[i]);
      sorted.values.push_back(series.values[i]);
    }
    series = std::move(sorted);
  }

  od::parser parser_;
  History history_;
  int64_t step_ = 0;
  std::vector<std::pair<size_t, double>> numbers_;  // of the line: series and value
  std::vector<size_t> places_;
};

History read_from(const std::string& path, int64_t at, bool cut) {
  if (is_stream(path))  // of which some never end, nor begin
    throw Error(ErrorKind::kIo, cat("cannot read ", path, ": it is no regular file"));
  Reader reader;
  const InputFile file(path);
  std::string text;
  while (at < file.size()) {
    const size_t before = text.size();
    const auto size = static_cast<size_t>(std::min<int64_t>(kPieceBytes, file.size() - at));
    text.reserve(before + size + simdjson::SIMDJSON_PADDING);
    text.resize(before + size);
    file.read(at, std::as_writable_bytes(std::span(text).subspan(before)));
    at += static_cast<int64_t>(size);
    if (cut) text.erase(0, std::min(text.find('\n'), text.size() - 1) + 1);
    cut = false;
    text.erase(0, reader.take_lines(text, text.size()));
  }
  return reader.finish(!text.empty());
}

}  // namespace

const Series* History::find(std::string_view name) const {
  const auto found =
      std::find_if(series.begin(), series.end(), [&](const Series& s) { return s.name == name; });
  return found == series.end() ? nullptr : &*found;
}

History read_history(const std::string& path) {
  return path_exists(path) ? read_from(path, 0, false) : History();
}

History read_tail(const std::string& path, int64_t bytes) {
  if (!path_exists(path)) return {};
  const int64_t from = file_size(path) - bytes;
  return from > 0 ? read_from(path, from, true) : read_from(path, 0, false);
}

}  // namespace levanter::report
