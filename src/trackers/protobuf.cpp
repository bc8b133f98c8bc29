// Protocol buffers encoded by hand.
#include "trackers/protobuf.h"

#include <bit>

namespace levanter::trackers {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

namespace {

/// The wire types that we need.
enum class Wire : uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

uint64_t key(uint32_t field, Wire wire) { return field << 3 | static_cast<uint32_t>(wire); }

}  // namespace

void Message::varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
  bytes_ += static_cast<char>(value);
}

Message& Message::number(uint32_t field, uint64_t value) {
  varint(key(field, Wire::varint));
  varint(value);
  return *this;
}

Message& Message::real(uint32_t field, double value) {
  varint(key(field, Wire::fixed64));
  bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  return *this;
}

Message& Message::single(uint32_t field, float value) {
  varint(key(field, Wire::fixed32));
  bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  return *this;
}

Message& Message::text(uint32_t field, std::string_view value) {
  varint(key(field, Wire::bytes));
  varint(value.size());
  bytes_ += value;
  return *this;
}

}  // namespace levanter::trackers
