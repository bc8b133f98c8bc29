// TensorBoard's event files.
#include "trackers/event_file.h"

#include <array>
#include <bit>
#include <cstring>

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

/// The wire types of protocol buffers that we need.
enum class Wire : uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

template <class T>
void append_raw(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void append_key(std::string& out, uint32_t field, Wire wire) {
  append_varint(out, field << 3 | static_cast<uint32_t>(wire));
}

void append_bytes(std::string& out, uint32_t field, std::string_view bytes) {
  append_key(out, field, Wire::bytes);
  append_varint(out, bytes.size());
  out += bytes;
}

std::string event_head(double wall_time) {
  std::string event;
  append_key(event, 1, Wire::fixed64);
  append_raw(event, wall_time);
  return event;
}

void append_step(std::string& event, int64_t step) {
  append_key(event, 2, Wire::varint);
  append_varint(event, static_cast<uint64_t>(step));
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
  std::string event = event_head(wall_time);
  append_bytes(event, 3, "brain.Event:2");
  return event;
}

std::string restart_event(double wall_time, int64_t step) {
  std::string session;
  append_key(session, 1, Wire::varint);
  append_varint(session, 1);  // START
  std::string event = event_head(wall_time);
  append_step(event, step);
  append_bytes(event, 7, session);
  return event;
}

std::string scalars_event(double wall_time, int64_t step, const Metrics& metrics) {
  std::string summary;
  for (const auto& [name, number] : metrics) {
    std::string value;
    append_bytes(value, 1, name);
    append_key(value, 2, Wire::fixed32);
    append_raw(value, static_cast<float>(number));
    append_bytes(summary, 1, value);
  }
  std::string event = event_head(wall_time);
  append_step(event, step);
  append_bytes(event, 5, summary);
  return event;
}

}  // namespace levanter::trackers
