// Changes a JSON text here and there.
#include "json/patch.h"

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "json/members.h"
#include "json/mend.h"

namespace levanter {

std::string patch_json(std::string_view json, std::string_view patch) {
  constexpr int kMaxDepth = 1000;
  using Json = nlohmann::ordered_json;
  if (!trim(json).starts_with('{') || json_depth(json) > kMaxDepth) return std::string(json);
  Json left = Json::parse(patch);
  std::string out;
  size_t kept = 0;  // of the text, so far
  for (const auto& [key, value] : members_of(json)) {
    const auto name = Json::parse(key, nullptr, false);
    if (!name.is_string() || !left.contains(name)) continue;
    const Json before = parse_in_order_as_python(value);
    Json after = before;
    after.merge_patch(left[name.get<std::string>()]);
    left.erase(name.get<std::string>());
    if (after == before) continue;
    const auto at = static_cast<size_t>(value.data() - json.data());
    out += cat(json.substr(kept, at - kept), after.dump());
    kept = at + value.size();
  }
  out += json.substr(kept);
  for (const auto& [name, value] : left.items()) {
    if (value.is_null()) continue;
    const size_t end = out.rfind('}');
    const bool first = members_of(out).empty();
    out.insert(end, cat(first ? "" : ", ", quote(name), ": ", value.dump()));
  }
  return out;
}

}  // namespace levanter
