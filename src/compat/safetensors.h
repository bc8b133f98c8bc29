// Reading and writing safetensors files: named dense tensors behind a JSON header.
//
// A file is the header's length as 8 little-endian bytes, the header, and the data:
//   {"__metadata__": {"format": "pt"}, NAME: {"dtype", "shape", "data_offsets": [begin, end]}, ...}
// Offsets count from the end of the header; the tensors tile the data without gap or overlap.
// The format has no checksums. Files that we export say in "__metadata__" under "xxh3 NAME" the
// xxh3 of each tensor's bytes, which other programs pass over.
// https://github.com/huggingface/safetensors describes the format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "axes/dtype.h"
#include "base/files.h"

namespace levanter::safetensors {

/// The element types that we know, in the order that the writer sorts them by; tensors of `other`
/// types of the format are skipped unless they are asked for.
enum class Element : uint8_t { u8, f16, bf16, i32, u32, f32, f64, i64, i8, other };

/// Bytes of one element.
int64_t size_of(Element element);
/// The format's own name: "F32", "BF16", ...
std::string_view name_of(Element element);
Element element_of(DType dtype);

struct Entry {
  std::string name;
  Element element = Element::f32;
  std::vector<int64_t> shape;
};

/// Where everything in a file to be written goes.
struct Layout {
  struct Slot {
    size_t entry;   ///< which of the entries given to `layout`
    int64_t begin;  ///< first byte, counted from the start of the file
    int64_t bytes;
  };
  std::string header;  ///< the file's first bytes: length, JSON, spaces up to a multiple of 8
  std::vector<size_t> checksums;  ///< where in the header each slot's checksum stands, if any
  std::vector<Slot> slots;        ///< in the order of the file: wide elements first, then by name
  int64_t file_bytes = 0;
};

/// Plans a file; the same entries in any order give the same bytes, and without checksums they are
/// the bytes that the Python package writes. Names must be unique (LEV_CHECK).
///   checksums  whether the header has room for them, for set_checksum to fill
///   metadata   more texts for the header's "__metadata__"
Layout layout(std::span<const Entry> entries, bool checksums = false,
              const std::map<std::string, std::string>& metadata = {});

/// Puts the xxh3 of a slot's bytes into the header.
void set_checksum(Layout& layout, size_t slot, uint64_t xxh3);

/// A tensor in a file, which it keeps open.
struct Tensor {
  std::string name;
  Element element = Element::f32;
  std::vector<int64_t> shape;
  int64_t begin = 0;  ///< first byte, counted from the start of the file
  int64_t bytes = 0;
  std::string xxh3 = {};  ///< of the bytes, where the file says it, in hexadecimal
  std::shared_ptr<const InputFile> file = {};

  /// The number of elements.
  int64_t size() const;
};

/// A safetensors file, open and checked.
class File final {
 public:
  /// Reads the header. An Error of kind kCheckpoint names the file and the fault: a header that is
  /// longer than the file or 100 MB, is no JSON, or says a name twice; an unknown element type; a
  /// shape that does not fit the bytes; tensors that overlap, leave gaps or exceed the file.
  explicit File(const std::string& path);

  const std::string& path() const { return path_; }
  /// In the order of their names.
  const std::vector<Tensor>& tensors() const { return tensors_; }
  /// The texts of the header's "__metadata__".
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// The tensor of that name, or nullptr.
  const Tensor* find(std::string_view name) const;
  /// Compares a tensor of this file with its checksum, if it has one.
  /// error  kCheckpoint naming file and tensor
  void check(const Tensor& tensor) const;

 private:
  std::string path_;
  std::vector<Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

bool is_float(Element element);

/// Converts stored floats (f16, bf16, f32, f64) at any alignment to f32, f64 rounded to nearest
/// even. LEV_CHECK on the size and on an element that is no float.
void to_f32(Element element, std::span<const std::byte> stored, std::span<float> out);
/// Reads elements of a floating tensor, from the `first` on. An Error of kind kCheckpoint for an
/// element that is no float, of kind kIo where the file was cut since it was opened.
void to_f32(const Tensor& tensor, std::span<float> out, int64_t first = 0);

/// Stores numbers as f32, bf16 or f16, rounding to nearest even; what to_f32 made of a half comes
/// back as the same bits, NaNs included.
/// returns false where a finite number became infinite
bool from_f32(std::span<const float> values, Element element, std::span<std::byte> out);

}  // namespace levanter::safetensors
