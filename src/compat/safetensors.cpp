// Reading and writing safetensors files.
#include "compat/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <numeric>
#include <set>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/hash.h"
#include "base/strings.h"

namespace levanter::safetensors {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

namespace {

using nlohmann::json;

constexpr int64_t kMaxHeaderBytes = 100'000'000;
constexpr int64_t kLengthBytes = 8;
constexpr int kMaxDepth = 8;
constexpr int64_t kReadBytes = int64_t{1} << 20;
constexpr std::string_view kChecksumKey = "xxh3 ";
constexpr std::array<std::string_view, 10> kNames = {"U8",  "F16", "BF16", "I32", "U32",
                                                     "F32", "F64", "I64",  "I8",  "other"};
constexpr std::array<int64_t, 10> kSizes = {1, 2, 2, 4, 4, 4, 8, 8, 1, 0};
/// Other types of the format, and their bits.
constexpr std::pair<std::string_view, int64_t> kOthers[] = {
    {"BOOL", 8},    {"I16", 16},    {"U16", 16}, {"U64", 64}, {"F8_E4M3", 8},
    {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"C64", 64}, {"F4", 4}};

/// The product of the sizes, or -1 when it leaves 63 bits.
int64_t product(std::span<const int64_t> shape) {
  int64_t count = 1;
  for (const int64_t n : shape)
    if (n < 0 || __builtin_mul_overflow(count, n, &count)) return -1;
  return count;
}

[[noreturn]] void damaged(const std::string& path, std::string fault) {
  throw Error(ErrorKind::kCheckpoint, cat("bad safetensors file: ", fault))
      .at(path)
      .hint("the file is damaged, incomplete, or of another format");
}

/// Refuses a file whose beginning is that of another kind, where its own makes no sense.
void refuse_other_kinds(const std::string& path, const InputFile& file) {
  std::string text(static_cast<size_t>(std::min<int64_t>(file.size(), 512)), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  refuse_stand_in(ErrorKind::kCheckpoint, text, path);
  if (text.starts_with("PK\x03\x04"))
    throw Error(ErrorKind::kCheckpoint, "the file is a zip archive, as PyTorch saves weights")
        .at(path)
        .hint("load it in Python and write it with safetensors.torch.save_file");
}

/// Looks for a name that stands twice on the upper level of JSON. The library's parse with a
/// callback could, in a time that grows with the square of the names.
struct TwiceNamed final : nlohmann::json_sax<json> {
  int depth = 0;
  std::set<std::string> seen;
  std::string twice;

  bool key(std::string& name) override {
    if (depth == 1 && !seen.insert(name).second) twice = name;
    return true;
  }
  bool start_object(size_t) override { return ++depth; }
  bool end_object() override { return depth--; }
  bool start_array(size_t) override { return ++depth; }
  bool end_array() override { return depth--; }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(int64_t) override { return true; }
  bool number_unsigned(uint64_t) override { return true; }
  bool number_float(double, const std::string&) override { return true; }
  bool string(std::string&) override { return true; }
  bool binary(json::binary_t&) override { return true; }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }
};

/// The header's JSON; names said twice on the upper level are refused, which a plain parse is not.
json parse_header(const std::string& path, std::string_view text) {
  if (json_depth(text) > kMaxDepth) damaged(path, "its header is nested too deeply");
  json header = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (header.is_discarded() || !header.is_object()) damaged(path, "its header is no JSON object");
  TwiceNamed names;
  json::sax_parse(text, &names);
  if (!names.twice.empty()) damaged(path, cat("it names ", quote(names.twice), " twice"));
  return header;
}

int64_t natural(const json& value) {
  if (!value.is_number_unsigned()) return -1;
  const auto n = value.get<uint64_t>();
  return n > static_cast<uint64_t>(INT64_MAX) ? -1 : static_cast<int64_t>(n);
}

/// A tensor by its record; its bytes are counted from the start of the data.
Tensor parse_tensor(const std::string& path, const std::string& name, const json& record,
                    int64_t data_bytes) {
  const auto wrong = [&](std::string fault) {
    damaged(path, cat("tensor ", quote(name), " ", fault));
  };
  Tensor tensor;
  tensor.name = name;
  if (!record.is_object() || record.size() != 3 || !record.contains("dtype") ||
      !record.contains("shape") || !record.contains("data_offsets"))
    wrong("must have dtype, shape and data_offsets");
  const json& dtype = record["dtype"];
  const auto known = std::find(kNames.begin(), kNames.end(),
                               dtype.is_string() ? dtype.get_ref<const std::string&>() : "");
  const auto other = std::find_if(std::begin(kOthers), std::end(kOthers),
                                  [&](const auto& o) { return dtype == o.first; });
  if (known >= kNames.end() - 1 && other == std::end(kOthers))
    wrong(cat("has the unknown dtype ", dtype.dump()));
  tensor.element =
      other == std::end(kOthers) ? static_cast<Element>(known - kNames.begin()) : Element::other;
  const int64_t bits = other == std::end(kOthers) ? 8 * size_of(tensor.element) : other->second;

  if (!record["shape"].is_array()) wrong("has no list as shape");
  for (const json& n : record["shape"]) tensor.shape.push_back(natural(n));
  const int64_t count = product(tensor.shape);
  if (count < 0) wrong(cat("has the impossible shape ", record["shape"].dump()));

  const json& offsets = record["data_offsets"];
  const bool pair = offsets.is_array() && offsets.size() == 2;
  const int64_t begin = pair ? natural(offsets[0]) : -1;
  const int64_t end = pair ? natural(offsets[1]) : -1;
  if (begin < 0 || end < begin || end > data_bytes)
    wrong(cat("has offsets ", offsets.dump(), " outside the ", data_bytes, " bytes of data"));
  int64_t bytes = 0;
  if (__builtin_mul_overflow(count, bits, &bytes) || bytes / 8 + (bytes % 8 != 0) != end - begin)
    wrong(cat("has ", count_of(end - begin, "byte"), " for shape ", record["shape"].dump(), " of ",
              dtype.get<std::string>()));
  tensor.begin = begin;
  tensor.bytes = end - begin;
  return tensor;
}

/// Tensors must tile the data: each byte belongs to one tensor.
void check_tiling(const std::string& path, std::span<const Tensor> tensors, int64_t data_bytes) {
  std::vector<const Tensor*> order;
  for (const Tensor& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const Tensor* a, const Tensor* b) {
    return std::pair(a->begin, a->bytes) < std::pair(b->begin, b->bytes);
  });
  int64_t at = 0;
  for (const Tensor* tensor : order) {
    if (tensor->begin < at) damaged(path, cat("tensor ", quote(tensor->name), " overlaps another"));
    if (tensor->begin > at)
      damaged(path, cat("there is a gap before tensor ", quote(tensor->name)));
    at += tensor->bytes;
  }
  if (at != data_bytes) damaged(path, cat(data_bytes - at, " bytes after the last tensor"));
}

// The conversions choose by masks, so that compilers make vector loops of them.

float f16_to_f32(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t x = static_cast<uint32_t>(half & 0x7fff) << 13;
  // Subnormals and zero stand behind the point of 2^-14, which is taken off again, exactly.
  const float tiny = std::bit_cast<float>(x + 0x38800000) - 0x1p-14f;
  const uint32_t is_tiny = -static_cast<uint32_t>(x < 0x00800000);
  const uint32_t is_infinite = -static_cast<uint32_t>(x >= 0x0f800000);
  const uint32_t normal = x + 0x38000000 + (is_infinite & 0x38000000);
  return std::bit_cast<float>(sign | (is_tiny & std::bit_cast<uint32_t>(tiny)) |
                              (~is_tiny & normal));
}

float bf16_to_f32(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

// To nearest, ties to even; a NaN keeps what of its payload there is room for, and stays one.

uint16_t f32_to_bf16(float value) {
  const auto x = std::bit_cast<uint32_t>(value);
  const uint32_t nan = x >> 16 | ((x & 0x7f0000) == 0 ? 0x40 : 0);
  const uint32_t rounded = (x + 0x7fff + (x >> 16 & 1)) >> 16;
  return static_cast<uint16_t>((x & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

uint16_t f32_to_f16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t x = bits & 0x7fffffff;
  const uint32_t nan = 0x7c00 | (x >> 13 & 0x3ff) | ((x & 0x7fe000) == 0 ? 0x200 : 0);
  const uint32_t normal = (x - 0x38000000 + 0xfff + (x >> 13 & 1)) >> 13;
  // A sum with 1/2 rounds to multiples of 2^-24, the step of subnormals.
  const uint32_t tiny = std::bit_cast<uint32_t>(std::bit_cast<float>(x) + 0.5f) - 0x3f000000;
  const uint32_t finite = x < 0x38800000 ? tiny : std::min<uint32_t>(normal, 0x7c00);
  return static_cast<uint16_t>((bits >> 16 & 0x8000) | (x > 0x7f800000 ? nan : finite));
}

template <class Stored, class Convert>
void convert(std::span<const std::byte> data, std::span<float> out, Convert to_float) {
  for (size_t i = 0; i < out.size(); ++i) {
    Stored value;
    std::memcpy(&value, data.data() + i * sizeof value, sizeof value);
    out[i] = to_float(value);
  }
}

template <class Convert>
void narrow(std::span<const float> values, std::byte* out, Convert to_half) {
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = to_half(values[i]);
    std::memcpy(out + i * sizeof half, &half, sizeof half);
  }
}

}  // namespace

int64_t size_of(Element element) { return kSizes[static_cast<size_t>(element)]; }

std::string_view name_of(Element element) { return kNames[static_cast<size_t>(element)]; }

Element element_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return Element::f32;
    case DType::f64:
      return Element::f64;
    case DType::i32:
      return Element::i32;
    case DType::u32:
      return Element::u32;
    case DType::bf16:
      return Element::bf16;
    case DType::i8:
      return Element::i8;
  }
  LEV_CHECK(false, "an element type without a stored form");
}

Layout layout(std::span<const Entry> entries, bool checksums,
              const std::map<std::string, std::string>& metadata) {
  std::vector<size_t> order(entries.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::pair(entries[b].element, std::string_view(entries[a].name)) <
           std::pair(entries[a].element, std::string_view(entries[b].name));
  });
  Layout plan;
  std::string text = R"({"__metadata__":{"format":"pt")";
  for (const auto& [key, value] : metadata)
    text += cat(",", json(key).dump(), ":", json(value).dump());
  for (const size_t i : checksums ? order : std::vector<size_t>()) {
    text += cat(",", json(cat(kChecksumKey, entries[i].name)).dump(), ":\"");
    plan.checksums.push_back(kLengthBytes + text.size());
    text += hex64(0) + "\"";
  }
  text += "}";
  std::set<std::string_view> names;
  int64_t offset = 0;
  for (const size_t i : order) {
    const Entry& entry = entries[i];
    LEV_CHECK(names.insert(entry.name).second, cat("tensor ", entry.name, " is written twice"));
    const int64_t count = product(entry.shape);
    LEV_CHECK(count >= 0, cat("tensor ", entry.name, " is too large"));
    const int64_t bytes = count * size_of(entry.element);
    text +=
        cat(",", json(entry.name).dump(), R"(:{"dtype":")", name_of(entry.element), R"(","shape":)",
            json(entry.shape).dump(), R"(,"data_offsets":[)", offset, ",", offset + bytes, "]}");
    plan.slots.push_back({i, offset, bytes});
    offset += bytes;
  }
  text += "}";
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  plan.header.assign(reinterpret_cast<const char*>(&length), sizeof length);
  plan.header += text;
  const auto start = static_cast<int64_t>(plan.header.size());
  for (Layout::Slot& slot : plan.slots) slot.begin += start;
  plan.file_bytes = start + offset;
  return plan;
}

void set_checksum(Layout& layout, size_t slot, uint64_t xxh3) {
  const std::string digits = hex64(xxh3);
  layout.header.replace(layout.checksums.at(slot), digits.size(), digits);
}

int64_t Tensor::size() const { return product(shape); }

File::File(const std::string& path) : path_(path) {
  const auto file = std::make_shared<const InputFile>(path);
  uint64_t length = 0;
  if (file->size() >= kLengthBytes) file->read(0, std::as_writable_bytes(std::span(&length, 1)));
  if (length > static_cast<uint64_t>(std::max<int64_t>(file->size() - kLengthBytes, 0)) ||
      file->size() < kLengthBytes)
    refuse_other_kinds(path, *file);
  if (file->size() < kLengthBytes) damaged(path, "it is shorter than 8 bytes");
  if (length > static_cast<uint64_t>(file->size() - kLengthBytes))
    damaged(path, cat("its header of ", length, " bytes is longer than the file"));
  if (length > kMaxHeaderBytes)
    damaged(path, cat("its header of ", length, " bytes is longer than ", kMaxHeaderBytes));
  std::string text(length, '\0');
  file->read(kLengthBytes, std::as_writable_bytes(std::span(text)));
  const json header = parse_header(path, text);

  const json metadata = header.value("__metadata__", json::object());
  if (!metadata.is_object()) damaged(path, "its __metadata__ is no object");
  for (const auto& [key, value] : metadata.items())
    if (!value.is_string()) damaged(path, cat("its __metadata__ ", quote(key), " is no text"));
  metadata_ = metadata.get<std::map<std::string, std::string>>();
  const int64_t start = kLengthBytes + static_cast<int64_t>(length);
  for (const auto& [name, record] : header.items()) {
    if (name == "__metadata__") continue;
    tensors_.push_back(parse_tensor(path, name, record, file->size() - start));
    tensors_.back().xxh3 = metadata.value(cat(kChecksumKey, name), "");
  }
  check_tiling(path, tensors_, file->size() - start);
  for (Tensor& tensor : tensors_) {
    tensor.begin += start;
    tensor.file = file;
  }
}

const Tensor* File::find(std::string_view name) const {
  const auto at = std::lower_bound(
      tensors_.begin(), tensors_.end(), name,
      [](const Tensor& tensor, std::string_view wanted) { return tensor.name < wanted; });
  return at != tensors_.end() && at->name == name ? &*at : nullptr;
}

void File::check(const Tensor& tensor) const {
  if (tensor.xxh3.empty()) return;
  Hasher hasher(Hasher::Width::k64);
  std::vector<std::byte> piece;
  for (int64_t done = 0; done < tensor.bytes; done += static_cast<int64_t>(piece.size())) {
    piece.resize(static_cast<size_t>(std::min(kReadBytes, tensor.bytes - done)));
    tensor.file->read(tensor.begin + done, piece);
    hasher.update(piece);
  }
  if (tensor.xxh3 == hex64(hasher.value64())) return;
  throw Error(ErrorKind::kCheckpoint,
              cat("tensor ", quote(tensor.name), " does not match the file's checksum"))
      .at(path_)
      .hint(cat("the file is damaged; fetch or export it again (or, where it was changed on "
                "purpose, write it without the \"",
                kChecksumKey, "...\" in its __metadata__)"));
}

bool is_float(Element element) {
  return element == Element::f16 || element == Element::bf16 || element == Element::f32 ||
         element == Element::f64;
}

void to_f32(Element element, std::span<const std::byte> stored, std::span<float> out) {
  LEV_CHECK(
      is_float(element) && stored.size() == out.size() * static_cast<size_t>(size_of(element)),
      "floats are read into another size");
  switch (element) {
    case Element::f64:
      return convert<double>(stored, out, [](double x) { return static_cast<float>(x); });
    case Element::f16:
      return convert<uint16_t>(stored, out, f16_to_f32);
    case Element::bf16:
      return convert<uint16_t>(stored, out, bf16_to_f32);
    default:
      if (!out.empty()) std::memcpy(out.data(), stored.data(), out.size_bytes());
  }
}

void to_f32(const Tensor& tensor, std::span<float> out, int64_t first) {
  LEV_CHECK(first >= 0 && first + static_cast<int64_t>(out.size()) <= tensor.size(),
            cat("tensor ", tensor.name, " is read into another size"));
  if (!is_float(tensor.element))
    throw Error(ErrorKind::kCheckpoint, cat("tensor ", quote(tensor.name), " holds ",
                                            name_of(tensor.element), ", not numbers with a point"))
        .allowed("F16, BF16, F32, F64");
  const int64_t size = size_of(tensor.element);
  std::vector<std::byte> stored;
  while (!out.empty()) {
    const std::span piece = out.first(std::min(out.size(), static_cast<size_t>(kReadBytes / size)));
    stored.resize(piece.size() * static_cast<size_t>(size));
    tensor.file->read(tensor.begin + first * size, stored);
    to_f32(tensor.element, stored, piece);
    out = out.subspan(piece.size());
    first += static_cast<int64_t>(piece.size());
  }
}

bool from_f32(std::span<const float> values, Element element, std::span<std::byte> out) {
  LEV_CHECK(
      static_cast<int64_t>(out.size()) == static_cast<int64_t>(values.size()) * size_of(element),
      "numbers are stored in a place of another size");
  // The least magnitude that rounds to infinity.
  uint32_t limit = 0x7f800000;
  if (element == Element::f16) {
    limit = 0x477ff000;
    narrow(values, out.data(), f32_to_f16);
  } else if (element == Element::bf16) {
    limit = 0x7f7f8000;
    narrow(values, out.data(), f32_to_bf16);
  } else {
    LEV_CHECK(element == Element::f32, cat("numbers are not stored as ", name_of(element)));
    if (!values.empty()) std::memcpy(out.data(), values.data(), out.size());
  }
  uint32_t lost = 0;
  for (const float value : values) {
    const uint32_t x = std::bit_cast<uint32_t>(value) & 0x7fffffff;
    lost |= static_cast<uint32_t>(x >= limit) & static_cast<uint32_t>(x < 0x7f800000);
  }
  return lost == 0;
}

}  // namespace levanter::safetensors
