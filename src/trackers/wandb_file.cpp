// The files of Weights & Biases' offline runs.
#include "trackers/wandb_file.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>

#include "record/build.h"

namespace levanter::trackers::wandb {

namespace {

constexpr size_t kBlock = 32768, kHead = 7;
constexpr std::string_view kFileHead{":W&B\xe1\xbe\x00", 7};
/// The oldest version of the package that reads what we write.
constexpr std::string_view kReader = "0.12.0";

// Numbers of fields, by message.
constexpr uint32_t kNumber = 1, kHistory = 2, kSummary = 3, kStats = 7, kOutput = 13, kRun = 17,
                   kExit = 18, kHeader = 21, kInfo = 200;
constexpr uint32_t kKey = 1, kNestedKey = 2, kJson = 16;

enum class Piece : uint8_t { kFull = 1, kFirst = 2, kMiddle = 3, kLast = 4 };

Piece piece_of(bool first, bool last) {
  if (first) return last ? Piece::kFull : Piece::kFirst;
  return last ? Piece::kLast : Piece::kMiddle;
}

void append_little(std::string& out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

Message timestamp(double time) {
  const double whole = std::floor(time);
  return Message()
      .number(1, static_cast<uint64_t>(whole))
      .number(2, static_cast<uint64_t>((time - whole) * 1e9));
}

Message item(uint32_t key, const std::pair<std::string, std::string>& named) {
  return Message().text(key, named.first).text(kJson, named.second);
}

/// A record of one kind of content.
std::string record(int64_t number, const std::string& id, uint32_t kind, const Message& content) {
  return Message()
      .number(kNumber, static_cast<uint64_t>(number))
      .message(kind, content)
      .message(kInfo, Message().text(1, id))
      .bytes();
}

}  // namespace

std::string framed(std::string_view bytes, int64_t offset) {
  std::string out;
  if (offset == 0) out = kFileHead;
  bool first = true;
  do {
    const size_t at = (static_cast<size_t>(offset) + out.size()) % kBlock;
    if (kBlock - at < kHead) {
      out.append(kBlock - at, '\0');
      continue;
    }
    const size_t size = std::min(bytes.size(), kBlock - at - kHead);
    const std::string piece = static_cast<char>(piece_of(first, size == bytes.size())) +
                              std::string(bytes.substr(0, size));
    const auto crc =
        ::crc32(0, reinterpret_cast<const Bytef*>(piece.data()), static_cast<uInt>(piece.size()));
    append_little(out, static_cast<uint32_t>(crc), 4);
    append_little(out, static_cast<uint32_t>(size), 2);
    out += piece;
    bytes.remove_prefix(size);
    first = false;
  } while (first || !bytes.empty());
  return out;
}

std::string header_record(int64_t number, const std::string& id) {
  return record(
      number, id, kHeader,
      Message().message(
          1, Message().text(1, "levanter " + record::this_build().version).text(2, kReader)));
}

std::string run_record(int64_t number, const Run& run) {
  Message config;
  for (const auto& named : run.config) config.message(1, item(kKey, named));
  Message content;
  content.text(1, run.id).text(2, run.entity).text(3, run.project).message(4, config);
  if (!run.group.empty()) content.text(6, run.group);
  content.text(8, run.name);
  for (const std::string& tag : run.tags) content.text(10, tag);
  content.text(13, run.host);
  if (run.starting_step > 0)
    content.number(14, static_cast<uint64_t>(run.starting_step)).number(18, 1);
  content.message(17, timestamp(run.started));
  if (!run.revision.empty()) content.message(21, Message().text(2, run.revision));
  return record(number, run.id, kRun, content);
}

std::string history_record(int64_t number, const std::string& id, const Items& items,
                           int64_t step) {
  Message content;
  for (const auto& named : items) content.message(1, item(kNestedKey, named));
  content.message(2, Message().number(1, static_cast<uint64_t>(step)));
  return record(number, id, kHistory, content);
}

std::string summary_record(int64_t number, const std::string& id, const Items& items) {
  Message content;
  for (const auto& named : items) content.message(1, item(kNestedKey, named));
  return record(number, id, kSummary, content);
}

std::string stats_record(int64_t number, const std::string& id, const Items& items, double time) {
  Message content;
  content.message(2, timestamp(time));
  for (const auto& named : items) content.message(3, item(kKey, named));
  return record(number, id, kStats, content);
}

std::string output_record(int64_t number, const std::string& id, std::string_view line,
                          double time) {
  return record(number, id, kOutput,
                Message().message(2, timestamp(time)).text(3, std::string(line) + "\n"));
}

std::string exit_record(int64_t number, const std::string& id, int code, double seconds) {
  return record(number, id, kExit,
                Message()
                    .number(1, static_cast<uint64_t>(code))
                    .number(2, static_cast<uint64_t>(std::max(seconds, 0.0))));
}

}  // namespace levanter::trackers::wandb
