// run.json: what made a run, start by start, and how each start ended.
//
//   {"id": "char", "starts": [
//     {"version": ..., "revision": ..., ..., "started": "2026-11-29T17:20:35Z", "first_step": 0,
//      "outcome": "finished", "ended": ..., "last_step": 2000}, ...]}
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace levanter::record {

inline constexpr std::string_view kRecordFile = "run.json";
/// Starts that the file keeps: the first and the latest.
inline constexpr size_t kMostStarts = 100;

/// What a start says of its end until that comes; where the process is killed, the next start
/// writes the second word in its place.
inline constexpr std::string_view kRunning = "running", kKilled = "killed";

/// The record of the start that is under way; what cannot be written costs the record alone.
class RunRecord final {
 public:
  /// Takes up the file of the run's folder, where there is one that can be read, and adds a start
  /// to it: this build, these surroundings, the time.
  RunRecord(const std::string& folder, const std::string& id);
  ~RunRecord();
  RunRecord(const RunRecord&) = delete;
  RunRecord& operator=(const RunRecord&) = delete;

  /// Adds a member to the start.
  void set(std::string_view name, nlohmann::ordered_json value);
  /// This start as one JSON object.
  std::string start_json() const;
  /// Writes the file. returns why it could not be, or ""
  std::string write() const;
  /// Writes how the start has ended: "finished", "stopped", "failed" with the error's message,
  /// "rolled back". Only the first call counts.
  std::string end(std::string_view outcome, const std::string& error = "");

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Where the last start of the folder's record has no end, gives it this one, at this step. Who
/// calls holds the run's lock and knows it.
void settle(const std::string& folder, std::string_view outcome, int64_t last_step);

/// The content of a run folder's run.json; null where there is none, or what is no such record.
nlohmann::ordered_json read_record(const std::string& folder);

/// What a run is at: the outcome of its last start; "running" where a process trains in the folder,
/// "killed" where it began and has ended without a word; "" without a record.
std::string state_of(const std::string& folder, const nlohmann::ordered_json& record);

}  // namespace levanter::record
