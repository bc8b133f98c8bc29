// Protocol buffers encoded by hand: the few wire types that logs of other programs need.
// https://protobuf.dev/programming-guides/encoding describes them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace levanter::trackers {

/// A message that grows field by field.
class Message final {
 public:
  /// int32, int64, bool and enums that are not negative.
  Message& number(uint32_t field, uint64_t value);
  Message& real(uint32_t field, double value);
  Message& single(uint32_t field, float value);
  /// Strings and bytes.
  Message& text(uint32_t field, std::string_view value);
  Message& message(uint32_t field, const Message& value) { return text(field, value.bytes_); }
  /// repeated double, packed.
  template <class Values>
  Message& reals(uint32_t field, const Values& values) {
    std::string packed;
    for (const auto number : values) {
      const auto value = static_cast<double>(number);
      packed.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    return text(field, packed);
  }

  const std::string& bytes() const { return bytes_; }

 private:
  void varint(uint64_t value);

  std::string bytes_;
};

}  // namespace levanter::trackers
