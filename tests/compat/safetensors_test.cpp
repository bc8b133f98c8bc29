// safetensors: what is written reads back, and every kind of damage is named.
#include "compat/safetensors.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "support/safetensors_file.h"
#include "support/temporary_folder.h"

using namespace levanter;
using Catch::Contains;
using safetensors::Element;

namespace {

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

/// A file of the given header and so many data bytes.
std::string raw_file(std::string_view header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof length);
  return cat(file, header, std::string(data_bytes, '\0'));
}

/// The text of the kCheckpoint error that reading this file gives, or "" when it reads.
std::string failure(const std::string& path, std::string_view content) {
  write_file_atomic(path, content);
  try {
    const safetensors::File file(path);
  } catch (const Error& error) {
    return error.kind() == ErrorKind::kCheckpoint ? error.what() : "another kind of error";
  }
  return "";
}

}  // namespace

TEST_CASE("tensors of every element type read back", "[compat]") {
  const testing::TemporaryFolder folder;
  const std::vector<float> f32 = {1, 2, 3, 4, 5, 6};
  const std::vector<double> f64 = {0.1, -1e300};
  const std::vector<int64_t> i64 = {-5};
  const std::vector<uint8_t> u8 = {1, 2, 3};
  const std::vector<uint16_t> half = {0x3c00, 0xc000, 0x0001, 0x7c00, 0x8000};
  const std::vector<uint16_t> brain = {0x3f80, 0xc000};
  const std::vector<float> none;
  const std::vector<safetensors::WriteTensor> tensors = {
      {{"b.f32", Element::f32, {2, 3}}, bytes_of(f32)},
      {{"f64", Element::f64, {2}}, bytes_of(f64)},
      {{"i64", Element::i64, {}}, bytes_of(i64)},
      {{"u8", Element::u8, {3}}, bytes_of(u8)},
      {{"half", Element::f16, {5}}, bytes_of(half)},
      {{"a.none", Element::f32, {0, 4}}, bytes_of(none)},
      {{"brain", Element::bf16, {2}}, bytes_of(brain)}};
  safetensors::write_file(folder / "x.safetensors", tensors);

  const safetensors::File file(folder / "x.safetensors");
  REQUIRE(file.tensors().size() == tensors.size());
  for (const auto& wanted : tensors) {
    const safetensors::Tensor* tensor = file.find(wanted.entry.name);
    REQUIRE(tensor);
    CHECK(tensor->element == wanted.entry.element);
    CHECK(tensor->shape == wanted.entry.shape);
    CHECK(std::ranges::equal(safetensors::bytes_of(*tensor), wanted.data));
    // Wide elements come first, so each tensor stands at a multiple of its element's size.
    CHECK(tensor->begin % safetensors::size_of(tensor->element) == 0);
  }
  CHECK(file.find("b.f3") == nullptr);

  std::vector<float> read(5);
  safetensors::to_f32(*file.find("half"), read);
  CHECK(read[0] == 1.0f);
  CHECK(read[1] == -2.0f);
  CHECK(read[2] == 0x1p-24f);
  CHECK(std::isinf(read[3]));
  CHECK((read[4] == 0.0f && std::signbit(read[4])));
  read.resize(2);
  safetensors::to_f32(*file.find("brain"), read);
  CHECK(read == std::vector<float>{1, -2});
  safetensors::to_f32(*file.find("f64"), read);
  CHECK(read[0] == 0.1f);
  CHECK(read[1] == -INFINITY);
  read.resize(6);
  safetensors::to_f32(*file.find("b.f32"), read);
  CHECK(read == f32);
  CHECK_THROWS_AS(safetensors::to_f32(*file.find("u8"), std::span(read).first(3)), Error);
}

TEST_CASE("the same tensors in any order give the same bytes", "[compat]") {
  const testing::TemporaryFolder folder;
  const std::vector<float> a = {1, 2}, b = {3};
  safetensors::write_file(
      folder / "1", std::vector<safetensors::WriteTensor>{{{"a", Element::f32, {2}}, bytes_of(a)},
                                                          {{"b", Element::f32, {1}}, bytes_of(b)}});
  safetensors::write_file(
      folder / "2", std::vector<safetensors::WriteTensor>{{{"b", Element::f32, {1}}, bytes_of(b)},
                                                          {{"a", Element::f32, {2}}, bytes_of(a)}});
  const std::string bytes = read_file(folder / "1");
  CHECK(bytes == read_file(folder / "2"));
  const std::string_view header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})";
  CHECK(bytes.substr(8, header.size()) == header);
  CHECK(bytes.size() % 8 == 4);  // the header is padded, the data is not
}

TEST_CASE("checksums stand as texts in the metadata, and each tensor is compared with its own",
          "[compat]") {
  const testing::TemporaryFolder folder;
  const std::vector<float> a = {1, 2}, b = {3};
  const std::vector<safetensors::Entry> entries = {{"a\"q", Element::f32, {2}},
                                                   {"b", Element::f32, {1}}};
  safetensors::Layout layout = safetensors::layout(entries, true);
  REQUIRE(layout.slots.size() == 2);
  set_checksum(layout, 0, xxh3_64(bytes_of(a)));
  set_checksum(layout, 1, xxh3_64(bytes_of(b)));
  const auto write = [&](const std::vector<float>& first) {
    AtomicFile file(folder / "x");
    file.write(layout.header);
    file.write(bytes_of(first));
    file.write(bytes_of(b));
    file.commit();
  };
  write(a);
  CHECK_THAT(read_file(folder / "x"),
             Contains(cat(R"({"__metadata__":{"format":"pt","xxh3 a\"q":")",
                          hex64(xxh3_64(bytes_of(a))), R"(","xxh3 b":")")));
  const safetensors::File good(folder / "x");
  for (const safetensors::Tensor& tensor : good.tensors()) CHECK_NOTHROW(good.check(tensor));
  CHECK(layout.header.size() % 8 == 0);
  write({1, 2.0000002f});
  const safetensors::File bad(folder / "x");
  CHECK_NOTHROW(bad.check(*bad.find("b")));
  try {
    bad.check(*bad.find("a\"q"));
    FAIL("a tensor that is not what its checksum says");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kCheckpoint);
    CHECK_THAT(error.what(), Contains(folder / "x") && Contains("a\\\"q"));
  }
}

TEST_CASE("half precision converts as its definition says", "[compat]") {
  std::vector<uint16_t> all(1 << 16);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  std::vector<float> read(all.size());
  safetensors::to_f32(Element::f16, bytes_of(all), read);
  bool same = true;
  for (size_t i = 0; i < all.size(); ++i) {
    const int exponent = static_cast<int>(i >> 10 & 31);
    const auto mantissa = static_cast<double>(i & 1023);
    double value =
        exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
    if (exponent == 31) value = mantissa == 0 ? INFINITY : NAN;
    if (i >> 15) value = -value;
    same &= std::isnan(value) ? std::isnan(read[i]) : read[i] == value;
  }
  CHECK(same);
}

TEST_CASE("every half is read and stored as the same bits", "[compat]") {
  std::vector<uint16_t> all(1 << 16), stored(1 << 16);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  std::vector<float> read(all.size());
  for (const Element element : {Element::f16, Element::bf16}) {
    safetensors::to_f32(element, bytes_of(all), read);
    CHECK(safetensors::from_f32(read, element, std::as_writable_bytes(std::span(stored))));
    CHECK((stored == all));
  }
}

TEST_CASE("a part of a tensor is read, and a file that is cut meanwhile is an error", "[compat]") {
  const testing::TemporaryFolder folder;
  std::vector<uint16_t> all(1 << 16);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  const safetensors::WriteTensor whole{{"all", Element::bf16, {1 << 16}}, bytes_of(all)};
  safetensors::write_file(folder / "x", {&whole, 1});
  const safetensors::File file(folder / "x");
  std::vector<float> part(3);
  safetensors::to_f32(*file.find("all"), part, 0x3f80);
  CHECK(part == std::vector<float>{1, 1.0078125F, 1.015625F});
  std::filesystem::resize_file(folder / "x", 1000);
  try {
    safetensors::to_f32(*file.find("all"), part, 0x3f80);
    FAIL("the end of the file is gone");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kIo);
    CHECK_THAT(error.what(), Contains(folder / "x") && Contains("too short"));
  }
}

TEST_CASE("numbers are rounded to the nearest half, ties to even", "[compat]") {
  const auto stored = [](float x, Element element) {
    uint16_t bits = 0;
    const bool kept =
        safetensors::from_f32({&x, 1}, element, std::as_writable_bytes(std::span(&bits, 1)));
    CHECK(kept ==
          !(std::isfinite(x) && (bits & 0x7fff) == (element == Element::f16 ? 0x7c00 : 0x7f80)));
    return bits;
  };
  for (uint32_t i = 0; i < 0x7c00; ++i) {  // between each finite number and the next
    std::vector<uint16_t> pair = {static_cast<uint16_t>(i), static_cast<uint16_t>(i + 1)};
    std::vector<float> ends(2);
    safetensors::to_f32(Element::f16, bytes_of(pair), ends);
    if (i + 1 == 0x7c00) ends[1] = 65536;
    const float middle = (ends[0] + ends[1]) / 2;
    const bool good = stored(middle, Element::f16) == i + (i & 1) &&
                      stored(std::nextafter(middle, 0.0F), Element::f16) == i &&
                      stored(-std::nextafter(middle, 1e9F), Element::f16) == (0x8000 | (i + 1));
    if (!good) FAIL(i);
  }
  CHECK(stored(1.00390625F, Element::bf16) == 0x3f80);
  CHECK(stored(1.01171875F, Element::bf16) == 0x3f82);
  CHECK(stored(3.4e38F, Element::bf16) == 0x7f80);
  CHECK(stored(1e30F, Element::f16) == 0x7c00);
  CHECK(stored(-1e-30F, Element::f16) == 0x8000);
  CHECK(stored(-INFINITY, Element::f16) == 0xfc00);
}

TEST_CASE("a damaged safetensors file is refused and named", "[compat]") {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "bad.safetensors";
  const auto tensor = [](std::string_view fields) { return cat(R"({"t":{)", fields, "}}"); };
  const std::string good = tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])");
  REQUIRE(failure(path, raw_file(good, 8)) == "");

  struct Case {
    std::string content, fault;
  };
  const std::vector<Case> cases = {
      {"", "the file is empty"},
      {"1234567", "shorter than 8 bytes"},
      {raw_file(good, 8).substr(0, 40), "longer than the file"},
      {std::string(8, '\xff') + good, "longer than the file"},
      {raw_file("[1, 2]", 0), "no JSON object"},
      {raw_file("{\"t\":", 0), "no JSON object"},
      {raw_file("{\"\xff\": 1}", 0), "no JSON object"},
      {raw_file(std::string(1 << 20, '['), 0), "nested too deeply"},
      {raw_file(good, 7), "outside the 7 bytes"},
      {raw_file(good, 9), "1 bytes after the last tensor"},
      {raw_file(tensor(R"("dtype":"F99","shape":[2],"data_offsets":[0,8])"), 8),
       "unknown dtype \"F99\""},
      {raw_file(tensor(R"("dtype":7,"shape":[2],"data_offsets":[0,8])"), 8), "unknown dtype 7"},
      {raw_file(tensor(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), 8),
       "has 8 bytes for shape [3]"},
      {raw_file(tensor(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), 8),
       "impossible shape"},
      {raw_file(tensor(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8])"), 8),
       "impossible shape"},
      {raw_file(tensor(R"("dtype":"F32","shape":2,"data_offsets":[0,8])"), 8), "no list as shape"},
      {raw_file(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), 8), "outside"},
      {raw_file(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0])"), 8), "outside"},
      {raw_file(tensor(R"("dtype":"F32","shape":[2])"), 8), "must have dtype"},
      {raw_file(R"({"t":3})", 0), "must have dtype"},
      {raw_file(R"({"__metadata__":[]})", 0), "__metadata__ is no object"},
      {raw_file(R"({"__metadata__":{"a":1}})", 0), "is no text"},
      {raw_file(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                12),
       "overlaps"},
      {raw_file(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
                12),
       "gap before tensor \"b\""},
      {raw_file(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                8),
       "names \"a\" twice"},
  };
  for (const Case& c : cases) {
    const std::string text = failure(path, c.content);
    CHECK_THAT(text, Contains(c.fault));
    CHECK_THAT(text, Contains(path));
  }
}

TEST_CASE("types that nobody reads here are tensors all the same", "[compat]") {
  const testing::TemporaryFolder folder;
  const auto entry = [](const char* dtype, int64_t count, int64_t bytes) {
    return cat(R"({"x":{"dtype":")", dtype, R"(","shape":[)", count, R"(],"data_offsets":[0,)",
               bytes, "]}}");
  };
  for (const auto& [dtype, bytes] : {std::pair("BOOL", 3), {"I16", 6}, {"F8_E4M3", 3}, {"F4", 2}}) {
    INFO(dtype);
    const std::string path = folder / dtype;
    CHECK(failure(path, raw_file(entry(dtype, 3, bytes), static_cast<size_t>(bytes))) == "");
    const safetensors::File file(path);
    CHECK(file.tensors()[0].element == safetensors::Element::other);
    std::vector<float> out(3);
    CHECK_THROWS_AS(safetensors::to_f32(file.tensors()[0], out), Error);
  }
  CHECK_THAT(failure(folder / "short", raw_file(entry("BOOL", 3, 2), 2)),
             Catch::Contains("2 bytes for shape [3] of BOOL"));
  CHECK_THAT(failure(folder / "huge", raw_file(entry("F4", 2305843009213693951, 2), 2)),
             Catch::Contains("2 bytes for shape"));
}
