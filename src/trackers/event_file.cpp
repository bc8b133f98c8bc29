// TensorBoard's event files.
#include "trackers/event_file.h"

#include <array>
#include <bit>
#include <charconv>
#include <cstring>

#include "trackers/protobuf.h"

namespace levanter::trackers {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

namespace {

constexpr uint32_t kCastagnoli = 0x82F63B78;  // reflected
constexpr uint32_t kMaskDelta = 0xa282ead8;

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ kCastagnoli : crc >> 1;
    table[i] = crc;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kTable = make_table();

template <class T>
void append_raw(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

/// tensorflow.Event's wall_time, and its step where there is one.
Message event_at(double wall_time, int64_t step = -1) {
  Message event;
  event.real(1, wall_time);
  if (step >= 0) event.number(2, static_cast<uint64_t>(step));
  return event;
}

void append_masked_crc(std::string& out, std::string_view bytes) {
  append_raw(out, std::rotr(crc32c(bytes), 15) + kMaskDelta);
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~uint32_t{0};
  for (const char c : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<uint8_t>(c)) & 0xff];
  return ~crc;
}

std::string tf_record(std::string_view payload) {
  std::string record;
  append_raw(record, static_cast<uint64_t>(payload.size()));
  append_masked_crc(record, std::string(record));
  record += payload;
  append_masked_crc(record, payload);
  return record;
}

std::string version_event(double wall_time) {
  return event_at(wall_time).text(3, "brain.Event:2").bytes();
}

std::string restart_event(double wall_time, int64_t step) {
  return event_at(wall_time, step).message(7, Message().number(1, 1)).bytes();  // START
}

std::string scalars_event(double wall_time, int64_t step, const Metrics& metrics) {
  Message summary;
  for (const auto& [name, number] : metrics)
    summary.message(1, Message().text(1, name).single(2, static_cast<float>(number)));
  return event_at(wall_time, step).message(5, summary).bytes();
}

std::string histograms_event(double wall_time, int64_t step, const Histograms& histograms) {
  Message summary;
  for (const auto& [name, h] : histograms) {
    Message histo;
    histo.real(1, h.min).real(2, h.max).real(3, static_cast<double>(h.count));
    histo.real(4, h.sum).real(5, h.sum_squares);
    histo.reals(6, std::span(h.limits).subspan(1)).reals(7, h.counts);
    summary.message(1, Message().text(1, name).message(5, histo));
  }
  return event_at(wall_time, step).message(5, summary).bytes();
}

std::string text_event(double wall_time, int64_t step, std::string_view tag,
                       std::string_view text) {
  const Message plugin = Message().message(1, Message().text(1, "text"));
  const Message tensor = Message()
                             .number(1, 7)  // DT_STRING
                             .message(2, Message().message(2, Message().number(1, 1)))
                             .text(8, text);
  const Message value = Message().text(1, tag).message(9, plugin).message(8, tensor);
  return event_at(wall_time, step).message(5, Message().message(1, value)).bytes();
}

namespace {

/// A summary of the plugin that shows hyperparameters; its content is in the metadata.
std::string hparams_event(double wall_time, std::string_view tag, const Message& content) {
  const Message data = Message().text(1, "hparams").message(2, content);
  const Message tensor = Message().number(1, 1).message(2, Message());  // DT_FLOAT, nothing
  const Message value =
      Message().text(1, tag).message(9, Message().message(1, data)).message(8, tensor);
  return event_at(wall_time, 0).message(5, Message().message(1, value)).bytes();
}

/// A google.protobuf.Value of what a TOML text says: a number, a boolean, else a string.
Message value_of(const std::string& toml) {
  if (toml == "true" || toml == "false") return Message().number(4, toml == "true" ? 1 : 0);
  double number = 0;
  const auto [end, problem] = std::from_chars(toml.data(), toml.data() + toml.size(), number);
  if (problem == std::errc() && end == toml.data() + toml.size()) return Message().real(2, number);
  const bool quoted = toml.size() >= 2 && toml.front() == '"';
  return Message().text(3, quoted ? toml.substr(1, toml.size() - 2) : toml);
}

}  // namespace

std::string session_start_event(double wall_time, std::string_view name, const KeyTexts& values) {
  Message info;
  for (const auto& [key, toml] : values)
    info.message(1, Message().text(1, key).message(2, value_of(toml)));
  info.text(4, name).real(5, wall_time);
  return hparams_event(wall_time, "_hparams_/session_start_info", Message().message(3, info));
}

std::string session_end_event(double wall_time, bool good) {
  const Message info = Message().number(1, good ? 1 : 2).real(2, wall_time);
  return hparams_event(wall_time, "_hparams_/session_end_info", Message().message(4, info));
}

}  // namespace levanter::trackers
