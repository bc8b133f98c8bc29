// Changes a JSON text here and there.
#include "json/patch.h"

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "json/mend.h"

namespace levanter {

std::string patch_json(std::string_view json, std::string_view patch) {
  constexpr int kMaxDepth = 1000;
  using Json = nlohmann::ordered_json;
  const Json before = json_depth(json) > kMaxDepth ? Json() : parse_in_order_as_python(json);
  if (!before.is_object()) return std::string(json);
  Json after = before;
  after.merge_patch(Json::parse(patch));
  return after == before ? std::string(json) : after.dump();
}

}  // namespace levanter
