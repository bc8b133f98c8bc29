// Where a run has gone back to and which batches it leaves out since: its file rollbacks.json.
#include "train/guard/rollbacks.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "checkpoint/folder.h"
#include "checkpoint/manifest.h"

namespace levanter::train {

namespace {

using nlohmann::json;

constexpr std::string_view kFile = "rollbacks.json";

/// How often the run of a checkpoint had rolled back then.
size_t known_to(const std::string& step_folder) {
  const std::string path = join_path(step_folder, kManifestFile);
  const json extra = json::parse(Manifest::parse(read_file(path), path).extra_json, nullptr, false);
  if (!extra.is_object() || !extra.contains("guard")) return 0;
  return extra["guard"].value("rollbacks", json::array()).size();
}

}  // namespace

std::vector<PlaceRange> left_out(const Rollbacks& rollbacks) {
  std::vector<PlaceRange> all, joined;
  for (const Rollback& r : rollbacks) all.push_back({r.first, r.last + 1});
  std::sort(all.begin(), all.end(),
            [](const PlaceRange& a, const PlaceRange& b) { return a.begin < b.begin; });
  for (const PlaceRange& range : all) {
    if (joined.empty() || joined.back().end < range.begin)
      joined.push_back(range);
    else
      joined.back().end = std::max(joined.back().end, range.end);
  }
  return joined;
}

int64_t place_of(const Rollbacks& rollbacks, int64_t step) {
  int64_t place = step;
  for (const PlaceRange& range : left_out(rollbacks))
    if (range.begin <= place) place += range.end - range.begin;
  return place;
}

std::vector<PlaceRange> places_of(const Rollbacks& rollbacks, int64_t first, int64_t end) {
  int64_t at = place_of(rollbacks, first);
  if (first >= end) return {{at, at}};
  const int64_t last = place_of(rollbacks, end - 1);
  std::vector<PlaceRange> places;
  for (const PlaceRange& gap : left_out(rollbacks)) {
    if (gap.end <= at || gap.begin > last) continue;
    places.push_back({at, gap.begin});
    at = gap.end;
  }
  places.push_back({at, last + 1});
  return places;
}

bool is_abandoned(const Rollbacks& rollbacks, int64_t step, size_t known) {
  for (size_t i = known; i < rollbacks.size(); ++i)
    if (step > rollbacks[i].back_to) return true;
  return false;
}

json to_json(const Rollbacks& rollbacks) {
  json list = json::array();
  for (const Rollback& r : rollbacks)
    list.push_back({{"step", r.step},
                    {"back_to", r.back_to},
                    {"first_batch", r.first},
                    {"last_batch", r.last},
                    {"reason", r.reason}});
  return list;
}

Rollbacks rollbacks_of(const json& list) {
  Rollbacks rollbacks;
  for (const json& one : list) {
    Rollback& r = rollbacks.emplace_back();
    one.at("step").get_to(r.step);
    one.at("back_to").get_to(r.back_to);
    one.at("first_batch").get_to(r.first);
    one.at("last_batch").get_to(r.last);
    one.at("reason").get_to(r.reason);
  }
  return rollbacks;
}

std::optional<Rollbacks> read_rollbacks(const std::string& run_folder) {
  const std::string path = join_path(run_folder, kFile);
  if (!path_exists(path)) return std::nullopt;
  const std::string text = read_file(path);
  try {
    return rollbacks_of(json::parse(text));
  } catch (const json::exception&) {
    throw Error(ErrorKind::kCheckpoint, "the list of the run's rollbacks is damaged")
        .at(path)
        .hint("put a copy of it back; without it the run goes by what its checkpoints say");
  }
}

void write_rollbacks(const std::string& run_folder, const Rollbacks& rollbacks) {
  write_file_atomic(join_path(run_folder, kFile), to_json(rollbacks).dump(2) + "\n");
}

std::vector<std::string> remove_abandoned(const std::string& checkpoints,
                                          const Rollbacks& rollbacks) {
  std::vector<std::string> lines;
  for (const int64_t step : list_checkpoints(checkpoints)) {
    const std::string folder = step_folder(checkpoints, step);
    try {
      if (!is_abandoned(rollbacks, step, known_to(folder))) continue;
    } catch (const Error&) {
      continue;  // a damaged one is no beginning either, and is told of as such
    }
    remove_checkpoint(folder);
    lines.push_back(cat("removed ", folder, ", which has learned from batches that are left out"));
  }
  return lines;
}

}  // namespace levanter::train
