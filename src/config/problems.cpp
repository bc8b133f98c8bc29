// Collects the faults of a configuration, each with its place, and throws them as one error.
#include "config/problems.h"

#include <algorithm>
#include <span>
#include <tuple>
#include <utility>

#include "base/strings.h"

namespace levanter::config {

std::string Source::text() const { return line > 0 ? cat(file, ":", line, ":", column) : file; }

const Source& Sources::find(std::string_view key) const {
  static const Source kNowhere;
  for (;;) {
    if (const auto found = places_.find(key); found != places_.end()) return found->second;
    if (key.empty()) return kNowhere;
    const size_t end = key.find_last_of(".[");
    key = end == std::string_view::npos ? std::string_view() : key.substr(0, end);
  }
}

std::string Sources::where(std::string_view key) const {
  const std::string place = find(key).text();
  if (has(key) || place.empty()) return place;
  return place + " (default)";
}

Error Fault::error() const {
  return Error(ErrorKind::kConfig, message_).at(place_).allowed(allowed_).hint(hint_);
}

std::string Problems::enter(std::string scope) { return std::exchange(scope_, std::move(scope)); }

std::string Problems::name(std::string_view key) const {
  return scope_.empty() || key.empty() ? cat(scope_, key) : cat(scope_, ".", key);
}

bool Problems::refused(const std::string& name) const {
  if (refused_.contains(name)) return true;
  const auto inside = refused_.lower_bound(name + ".");  // something within the key was refused
  if (inside != refused_.end() && inside->starts_with(name + ".")) return true;
  const auto element = refused_.lower_bound(name + "[");
  if (element != refused_.end() && element->starts_with(name + "[")) return true;
  for (size_t end = name.find_last_of(".["); end != std::string::npos && end > 0;
       end = name.find_last_of(".[", end - 1))
    if (refused_.contains(name.substr(0, end))) return true;
  return false;
}

Fault& Problems::put(std::string message, Source at, std::string place) {
  if (full()) {
    ++left_out_;
    return ignored_;
  }
  faults_.push_back(std::make_unique<Fault>());
  Fault& fault = *faults_.back();
  if (message.size() > kLongestMessage)
    message = cat(std::string_view(message).substr(0, kLongestMessage), "...");
  fault.message_ = std::move(message);
  fault.at_ = std::move(at);
  fault.place_ = std::move(place);
  return fault;
}

Fault& Problems::add(std::string_view key, std::string message,
                     std::initializer_list<std::string_view> also) {
  bool consequence = refused(name(key));
  for (const std::string_view other : also) consequence = consequence || refused(name(other));
  if (consequence) return ignored_;
  return put(std::move(message), sources_->find(name(key)), sources_->where(name(key)));
}

Fault& Problems::refuse(std::string key, const Source& at, std::string message) {
  refused_.insert(std::move(key));
  return put(std::move(message), at, at.text());
}

std::vector<const Fault*> Problems::sorted() const {
  std::vector<const Fault*> sorted;
  for (const auto& fault : faults_) sorted.push_back(fault.get());
  std::stable_sort(sorted.begin(), sorted.end(), [](const Fault* a, const Fault* b) {
    // Files first, then overrides in the order given.
    const auto rank = [](const Fault& f) {
      return f.at_.line > 0 ? std::tuple(0, f.at_.file, f.at_.line, f.at_.column)
                            : std::tuple(1, std::string(), 0, 0);
    };
    return rank(*a) < rank(*b);
  });
  return sorted;
}

void Problems::raise(std::string_view subject) const {
  if (faults_.empty()) return;
  if (faults_.size() == 1) throw faults_[0]->error();
  const std::vector<const Fault*> sorted = this->sorted();
  static constexpr std::string_view kPrefix = "error: ";
  std::string text;
  for (const Fault* fault : std::span(sorted).first(std::min(sorted.size(), kMostShown)))
    text += cat(fault->error().what(), "\n");
  text += cat(count(), " faults in ", subject);
  if (count() > kMostShown) text += cat(", of which ", kMostShown, " are shown");
  throw Error(ErrorKind::kConfig, text.substr(kPrefix.size()));
}

}  // namespace levanter::config
