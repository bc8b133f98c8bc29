// TensorBoard's records, byte by byte.
#include "trackers/event_file.h"

#include <catch2/catch.hpp>

#include <cstring>

using namespace levanter;

TEST_CASE("crc32c has its published check values", "[trackers]") {
  CHECK(trackers::crc32c("") == 0);
  CHECK(trackers::crc32c("123456789") == 0xE3069283);
  CHECK(trackers::crc32c(std::string(32, '\0')) == 0x8A9136AA);
  CHECK(trackers::crc32c(std::string(32, '\xff')) == 0x62A8AB43);
}

TEST_CASE("a record frames its payload with length and checksums", "[trackers]") {
  const std::string record = trackers::tf_record("payload");
  REQUIRE(record.size() == 8 + 4 + 7 + 4);
  uint64_t length = 0;
  uint32_t length_crc = 0, payload_crc = 0;
  std::memcpy(&length, record.data(), 8);
  std::memcpy(&length_crc, record.data() + 8, 4);
  std::memcpy(&payload_crc, record.data() + 19, 4);
  const auto unmask = [](uint32_t crc) {
    const uint32_t rotated = crc - 0xa282ead8;
    return rotated >> 17 | rotated << 15;
  };
  CHECK(length == 7);
  CHECK(record.substr(12, 7) == "payload");
  CHECK(unmask(length_crc) == trackers::crc32c(record.substr(0, 8)));
  CHECK(unmask(payload_crc) == trackers::crc32c("payload"));
}

TEST_CASE("events are encoded as their protocol buffers say", "[trackers]") {
  const std::string wall("\x09\0\0\0\0\0\0\x04\x40", 9);  // field 1, fixed64: 2.5
  CHECK(trackers::version_event(2.5) == wall + "\x1a\x0d" + "brain.Event:2");
  CHECK(trackers::restart_event(2.5, 300) == wall + "\x10\xac\x02" + "\x3a\x02\x08\x01");
  // summary = 5, 10 bytes: value = 1, 8 bytes: tag = 1 "a"; simple_value = 2, fixed32: 1.0
  CHECK(trackers::scalars_event(2.5, 1, {{"a", 1.0}}) ==
        wall + "\x10\x01" + "\x2a\x0a\x0a\x08\x0a\x01" + "a" + std::string("\x15\0\0\x80\x3f", 5));
}

TEST_CASE("a histogram's buckets are doubles, each with its upper limit", "[trackers]") {
  Histogram h{3, -1, 2, 1.5, 5.25};
  h.limits = {-1, 0.5, 2};
  h.counts = {1, 2};
  const auto real = [](double value) {
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
  };
  const std::string wall("\x09\0\0\0\0\0\0\x04\x40", 9);
  // histo = 5 in a value: min max num sum sum_squares, then packed bucket_limit and bucket
  const std::string histo = "\x09" + real(-1) + "\x11" + real(2) + "\x19" + real(3) + "\x21" +
                            real(1.5) + "\x29" + real(5.25) + "\x32\x10" + real(0.5) + real(2) +
                            "\x3a\x10" + real(1) + real(2);
  const std::string value =
      std::string("\x0a\x01") + "a" + "\x2a" + static_cast<char>(histo.size()) + histo;
  const std::string summary = "\x0a" + std::string(1, static_cast<char>(value.size())) + value;
  CHECK(trackers::histograms_event(2.5, 1, {{"a", h}}) ==
        wall + "\x10\x01" + "\x2a" + static_cast<char>(summary.size()) + summary);
}
