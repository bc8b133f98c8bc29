// manifest.json, written and read.
#include "checkpoint/manifest.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"

namespace levanter {

namespace {

using nlohmann::json;

constexpr std::string_view kSealStart = "\"xxh3\": \"";
constexpr std::string_view kSealEnd = "\"\n}\n";
constexpr size_t kHashDigits = 16;

/// The product of the sizes, or -1 when one is negative or it leaves 63 bits.
int64_t product(const std::vector<int64_t>& sizes) {
  int64_t count = 1;
  for (const int64_t n : sizes)
    if (n < 0 || __builtin_mul_overflow(count, n, &count)) return -1;
  return count;
}

/// Reads values out of JSON, with one kind of complaint.
class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path) {}

  [[noreturn]] void bad(std::string fault) const {
    throw Error(ErrorKind::kCheckpoint, cat("bad manifest: ", fault))
        .at(path_)
        .hint("the checkpoint is damaged; resume from an earlier one");
  }

  const json& member(const json& object, const char* key) const {
    if (!object.is_object() || !object.contains(key)) bad(cat(quote(key), " is missing"));
    return object[key];
  }

  int64_t natural(const json& object, const char* key) const {
    return natural(member(object, key), std::string_view(key));
  }

  std::string text(const json& object, const char* key) const {
    const json& value = member(object, key);
    if (!value.is_string()) bad(cat(quote(key), " is no text"));
    return value.get<std::string>();
  }

  uint64_t hash(const json& object, const char* key) const {
    const std::string digits = text(object, key);
    uint64_t value = 0;
    const char* end = digits.data() + digits.size();
    const auto read = std::from_chars(digits.data(), end, value, 16);
    if (digits.size() != kHashDigits || read.ec != std::errc() || read.ptr != end)
      bad(cat(quote(key), " is no checksum"));
    return value;
  }

  std::vector<int64_t> naturals(const json& object, const char* key) const {
    const json& list = member(object, key);
    if (!list.is_array()) bad(cat(quote(key), " is no list"));
    std::vector<int64_t> values;
    for (const json& value : list) values.push_back(natural(value, std::string_view(key)));
    return values;
  }

  void only(const json& object, std::initializer_list<std::string_view> known) const {
    for (const auto& [key, value] : object.items())
      if (std::find(known.begin(), known.end(), key) == known.end())
        bad(cat("unknown key ", quote(key)));
  }

 private:
  int64_t natural(const json& value, std::string_view key) const {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t{INT64_MAX})
      bad(cat(quote(key), " is no natural number"));
    return value.get<int64_t>();
  }

  const std::string& path_;
};

bool boxes_meet(const SliceRecord& a, const SliceRecord& b) {
  for (size_t i = 0; i < a.start.size(); ++i) {
    if (a.start[i] + a.extent[i] <= b.start[i] || b.start[i] + b.extent[i] <= a.start[i])
      return false;
    if (a.extent[i] == 0 || b.extent[i] == 0) return false;
  }
  return true;
}

/// Disjoint boxes inside the shape whose volumes add up to the whole tile it.
void check_tiling(const Reader& read, const std::string& path, const TensorRecord& tensor,
                  Manifest::Of of) {
  int64_t covered = 0;
  for (const SliceRecord& slice : tensor.slices) {
    bool fits =
        slice.start.size() == tensor.shape.size() && slice.extent.size() == tensor.shape.size();
    for (size_t i = 0; fits && i < tensor.shape.size(); ++i)
      fits =
          slice.start[i] <= tensor.shape[i] && slice.extent[i] <= tensor.shape[i] - slice.start[i];
    if (!fits) read.bad(cat("a slice of ", quote(path), " leaves its shape"));
    const int64_t volume = product(slice.extent);
    if (slice.bytes != volume * size_of(tensor.dtype))
      read.bad(cat("a slice of ", quote(path), " has bytes for another extent"));
    covered += volume;
  }
  for (size_t i = 0; i < tensor.slices.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (boxes_meet(tensor.slices[i], tensor.slices[j]))
        read.bad(cat("slices of ", quote(path), " overlap"));
  if (of == Manifest::Of::kCheckpoint && covered != tensor.elements())
    read.bad(cat("slices of ", quote(path), " leave gaps"));
}

TensorRecord parse_tensor(const Reader& read, const std::string& path, const json& object,
                          Manifest::Of of) {
  TensorRecord tensor;
  read.only(object, {"dtype", "shape", "slices"});
  const std::string dtype = read.text(object, "dtype");
  const auto known = dtype_from_name(dtype);
  if (!known) read.bad(cat("unknown dtype ", quote(dtype)));
  tensor.dtype = *known;
  tensor.shape = read.naturals(object, "shape");
  const int64_t count = product(tensor.shape);
  if (count < 0 || count > INT64_MAX / size_of(tensor.dtype))
    read.bad(cat("the shape of ", quote(path), " is too large"));
  const json& slices = read.member(object, "slices");
  if (!slices.is_array()) read.bad("\"slices\" is no list");
  for (const json& item : slices) {
    SliceRecord slice;
    read.only(item, {"file", "offset", "bytes", "start", "extent", "xxh3"});
    slice.file = read.text(item, "file");
    if (slice.file.empty() || slice.file[0] == '.' || slice.file.find('/') != std::string::npos)
      read.bad(cat(quote(slice.file), " is no plain file name"));
    slice.offset = read.natural(item, "offset");
    slice.bytes = read.natural(item, "bytes");
    slice.start = read.naturals(item, "start");
    slice.extent = read.naturals(item, "extent");
    slice.xxh3 = read.hash(item, "xxh3");
    tensor.slices.push_back(std::move(slice));
  }
  check_tiling(read, path, tensor, of);
  return tensor;
}

FileRecord parse_file(const Reader& read, const std::string& name, const json& object) {
  read.only(object, {"bytes", "hashed", "xxh3"});
  if (name.empty() || name[0] == '.' || name.find('/') != std::string::npos)
    read.bad(cat(quote(name), " is no plain file name"));
  FileRecord file{read.natural(object, "bytes"), read.natural(object, "hashed"),
                  read.hash(object, "xxh3")};
  if (file.hashed > file.bytes) read.bad(cat("the checksum of ", quote(name), " exceeds it"));
  return file;
}

void check_seal(const Reader& read, std::string_view text, const std::string& seal) {
  const size_t length = kSealStart.size() + kHashDigits + kSealEnd.size();
  const bool placed = text.size() > length && text.ends_with(kSealEnd) &&
                      text.substr(text.size() - length).starts_with(kSealStart);
  if (!placed || hex64(xxh3_64(text.substr(0, text.size() - length))) != seal)
    read.bad("its checksum does not match its text");
}

}  // namespace

std::string file_of_part(std::string_view whole, int64_t index, int64_t count) {
  if (count == 1) return std::string(whole);
  std::array<char, 64> numbers{};
  std::snprintf(numbers.data(), numbers.size(), "-%05d-of-%05d", static_cast<int>(index) + 1,
                static_cast<int>(count));
  const size_t dot = whole.find('.');
  return cat(whole.substr(0, dot), numbers.data(), whole.substr(dot));
}

std::string part_file(int64_t index) { return cat("part-", index, ".json"); }

bool is_part_name(std::string_view name) {
  // The names above, with letters for their numbers.
  std::string form;
  for (const char c : name) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit || form.empty() || form.back() != 'N') form += digit ? 'N' : c;
  }
  return form == "optimizer-N-of-N.safetensors" || form == "model-N-of-N.safetensors" ||
         form == "part-N.json";
}

int64_t TensorRecord::elements() const { return product(shape); }

bool TensorRecord::in_model() const {
  return !slices.empty() && slices.front().file.starts_with("model");
}

std::string Manifest::text() const {
  std::string out = cat("{\n\"format\": ", kFormat, ",\n\"step\": ", step,
                        ",\n\"kind\": ", quote(permanent ? "permanent" : "temporary"),
                        ",\n\"config_hash\": ", json(config_hash).dump(),
                        ",\n\"numerics\": ", json(numerics).dump(), ",\n\"extra\": ", extra_json,
                        ",\n\"files\": {");
  const char* comma = "\n";
  for (const auto& [name, file] : files) {
    out += cat(comma, json(name).dump(), ": {\"bytes\": ", file.bytes,
               ", \"hashed\": ", file.hashed, ", \"xxh3\": ", quote(hex64(file.xxh3)), "}");
    comma = ",\n";
  }
  out += "\n},\n\"tensors\": {";
  comma = "\n";
  for (const auto& [path, tensor] : tensors) {
    out += cat(comma, json(path).dump(), ": {\"dtype\": ", quote(name_of(tensor.dtype)),
               ", \"shape\": ", json(tensor.shape).dump(), ", \"slices\": [");
    comma = "";
    for (const SliceRecord& slice : tensor.slices) {
      out += cat(comma, "{\"file\": ", json(slice.file).dump(), ", \"offset\": ", slice.offset,
                 ", \"bytes\": ", slice.bytes, ", \"start\": ", json(slice.start).dump(),
                 ", \"extent\": ", json(slice.extent).dump(),
                 ", \"xxh3\": ", quote(hex64(slice.xxh3)), "}");
      comma = ", ";
    }
    out += "]}";
    comma = ",\n";
  }
  out += "\n},\n";
  return cat(out, kSealStart, hex64(xxh3_64(out)), kSealEnd);
}

Manifest Manifest::parse(std::string_view text, const std::string& path, Of of) {
  const Reader read(path);
  const json object = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) read.bad("it is no JSON object");
  if (read.natural(object, "format") != kFormat)
    throw Error(ErrorKind::kCheckpoint, cat("checkpoint format ", object["format"].dump(),
                                            " is not one that this program reads"))
        .at(path)
        .allowed(cat(kFormat))
        .hint("a newer levanter wrote it");
  read.only(object, {"format", "step", "kind", "config_hash", "numerics", "extra", "files",
                     "tensors", "xxh3"});
  if (object.contains("xxh3")) check_seal(read, text, read.text(object, "xxh3"));

  Manifest manifest;
  manifest.step = read.natural(object, "step");
  const std::string kind = read.text(object, "kind");
  if (kind != "permanent" && kind != "temporary") read.bad(cat("unknown kind ", quote(kind)));
  manifest.permanent = kind == "permanent";
  manifest.config_hash = read.text(object, "config_hash");
  manifest.numerics = read.text(object, "numerics");
  manifest.extra_json = read.member(object, "extra").dump();
  if (object.contains("files"))
    for (const auto& [name, file] : object["files"].items())
      manifest.files.emplace(name, parse_file(read, name, file));
  for (const auto& [name, tensor] : read.member(object, "tensors").items())
    manifest.tensors.emplace(name, parse_tensor(read, name, tensor, of));
  return manifest;
}

}  // namespace levanter
