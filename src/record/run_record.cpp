// run.json: what made a run, start by start.
#include "record/run_record.h"

#include <ctime>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file_lock.h"
#include "base/files.h"
#include "base/strings.h"
#include "record/build.h"
#include "record/surroundings.h"

namespace levanter::record {

namespace {

using Json = nlohmann::ordered_json;

constexpr int kMostDepth = 32;  // of what is read and written again

std::string time_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  char text[32] = "";
  if (::gmtime_r(&now, &parts)) std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

Json new_start() {
  Json start = Json::parse(json_of(this_build()));
  start.update(surroundings());
  start["started"] = time_now();
  start["outcome"] = kRunning;
  return start;
}

void write_record(const std::string& path, const Json& record) {
  write_file_atomic(path, record.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace

struct RunRecord::Impl {
  std::string path;
  Json record;
  bool ended = false;

  Json& start() { return record["starts"].back(); }
};

RunRecord::RunRecord(const std::string& folder, const std::string& id)
    : impl_(std::make_unique<Impl>()) {
  impl_->path = join_path(folder, kRecordFile);
  impl_->record = read_record(folder);
  if (impl_->record.is_null()) impl_->record = {{"id", id}, {"starts", Json::array()}};
  impl_->record["id"] = id;
  Json& starts = impl_->record["starts"];
  // Who begins a start holds the run's lock: what was before has ended, if without a word.
  if (!starts.empty() && starts.back().value("outcome", Json()) == kRunning)
    starts.back()["outcome"] = kKilled;
  starts.push_back(new_start());
  if (starts.size() > kMostStarts) starts.erase(1);
}

RunRecord::~RunRecord() = default;

void RunRecord::set(std::string_view name, Json value) {
  impl_->start()[std::string(name)] = std::move(value);
}

std::string RunRecord::start_json() const {
  return impl_->start().dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string RunRecord::write() const {
  try {
    write_record(impl_->path, impl_->record);
    return "";
  } catch (const Error& error) {
    return error.message();
  }
}

std::string RunRecord::end(std::string_view outcome, const std::string& error) {
  if (std::exchange(impl_->ended, true)) return "";
  set("outcome", outcome);
  set("ended", time_now());
  if (!error.empty()) set("error", error);
  return write();
}

nlohmann::ordered_json read_record(const std::string& folder) {
  const std::string path = join_path(folder, kRecordFile);
  if (!path_exists(path) || is_stream(path)) return nullptr;
  std::string text;
  try {
    text = read_file(path);
  } catch (const Error&) {
    return nullptr;
  }
  if (json_depth(text) > kMostDepth) return nullptr;
  Json record = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const bool whole = record.is_object() && record.contains("starts") &&
                     record["starts"].is_array() && !record["starts"].empty();
  if (!whole) return nullptr;
  for (const Json& start : record["starts"])
    if (!start.is_object()) return nullptr;
  return record;
}

void settle(const std::string& folder, std::string_view outcome, int64_t last_step) {
  Json record = read_record(folder);
  if (record.is_null() || record["starts"].back().value("outcome", Json()) != kRunning) return;
  record["starts"].back()["outcome"] = outcome;
  record["starts"].back()["last_step"] = last_step;
  write_record(join_path(folder, kRecordFile), record);
}

std::string state_of(const std::string& folder, const nlohmann::ordered_json& record) {
  const bool held = !lock_holder(join_path(folder, "lock")).empty();
  if (!record.is_object()) return held ? std::string(kRunning) : "";
  const auto outcome = record["starts"].back().find("outcome");
  if (outcome == record["starts"].back().end() || !outcome->is_string()) return "";
  if (*outcome != kRunning) return outcome->get<std::string>();
  return std::string(held ? kRunning : kKilled);
}

}  // namespace levanter::record
