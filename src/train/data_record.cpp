// Writes what a run's data were into its checkpoints, and compares it later.
#include "train/data_record.h"

#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"

namespace levanter::train {
namespace {

using nlohmann::json;

/// The record, or null.
json record_in(std::string_view extra_json) {
  const json extra = json::parse(extra_json, nullptr, /*allow_exceptions=*/false);
  return extra.is_object() && extra.contains("data") ? extra["data"] : json();
}

json record_of(const data::Digest& digest) {
  return {{"documents", digest.documents}, {"tokens", digest.tokens}, {"xxh3", digest.xxh3}};
}

std::string text_of(const json& split) {
  if (!split.is_object()) return "absent";
  return cat(count_of(split.value("tokens", int64_t{0}), "token"), " in ",
             count_of(split.value("documents", int64_t{0}), "document"), " (xxh3 ",
             split.value("xxh3", ""), ")");
}

/// How the splits of the record differ from the data, "" where they do not; with `all` those too
/// that only one of the two has.
std::string differences(std::string_view extra_json, const data::TextData& data, bool all) {
  const json saved = record_in(extra_json);
  if (!saved.is_object()) return "";
  std::map<std::string, std::pair<json, json>> splits;  // was, is
  for (const auto& [name, split] : saved.items()) splits[name].first = split;
  for (const auto& [name, digest] : data.digests()) splits[name].second = record_of(digest);
  std::string list;
  for (const auto& [name, split] : splits) {
    const auto& [was, is] = split;
    if (was == is || (!all && (was.is_null() || is.is_null()))) continue;
    list += cat(list.empty() ? "" : "; ", name, " was ", text_of(was), " and is ", text_of(is));
  }
  return list;
}

}  // namespace

std::string data_record(const data::TextData& data) {
  json record = json::object();
  for (const auto& [name, digest] : data.digests()) record[name] = record_of(digest);
  return record.dump();
}

bool records_data(std::string_view extra_json) { return record_in(extra_json).is_object(); }

std::string changed_data(std::string_view extra_json, const data::TextData& data) {
  return differences(extra_json, data, /*all=*/false);
}

void require_same_data(std::string_view extra_json, const data::TextData& data,
                       const std::string& folder) {
  const std::string list = differences(extra_json, data, /*all=*/true);
  if (list.empty()) return;
  throw Error(ErrorKind::kData, cat("the data are not those that the run was trained on: ", list))
      .at(folder)
      .hint("put the former texts back, or give the new run another trainer.id");
}

}  // namespace levanter::train
