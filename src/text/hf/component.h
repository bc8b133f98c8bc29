// The components of a tokenizer file: objects whose "type" says which of several kinds they are.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/strings.h"
#include "text/hf/json.h"

namespace levanter::text::hf {

/// A kind of component, which `add` reads and adds to what the file describes.
template <class Whole>
struct ComponentKind {
  std::string_view type;
  void (*add)(Whole& whole, const Value& value);
};

/// Adds a component, or one after the other those that one of type "Sequence" lists.
///   what  "normalizer"
///   list  the key of a sequence's list
/// error  kData for a component that is unknown or lacks something
template <class Whole>
void add_component(Whole& whole, const Value& value,
                   std::span<const std::type_identity_t<ComponentKind<Whole>>> kinds,
                   std::string_view what, std::string_view list) {
  const std::string& type = value.type();
  std::vector<std::string> known = {"Sequence"};
  if (type == known[0]) {
    for (const Value& part : value.list(list)) add_component(whole, part, kinds, what, list);
    return;
  }
  for (const ComponentKind<Whole>& kind : kinds) {
    if (type == kind.type) return kind.add(whole, value);
    known.emplace_back(kind.type);
  }
  std::sort(known.begin(), known.end());
  value.throw_unknown(what, join(known, ", "));
}

}  // namespace levanter::text::hf
