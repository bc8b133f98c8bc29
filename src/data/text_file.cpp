// Reading a text file whole, gzip taken off.
#include "data/text_file.h"

#include <algorithm>
#include <zlib.h>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

namespace levanter::data {
namespace {

constexpr std::string_view kGzipMagic = "\x1F\x8B";
constexpr std::string_view kZstdMagic = "\x28\xB5\x2F\xFD";
constexpr size_t kFirstOutput = size_t{1} << 20;
constexpr size_t kLargestPiece = size_t{1} << 30;  // zlib counts in 32 bits

/// An inflater that ends with its scope.
class Inflater final {
 public:
  Inflater() { LEV_CHECK(inflateInit2(&stream, 15 + 16) == Z_OK, "zlib can't start"); }
  ~Inflater() { inflateEnd(&stream); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  z_stream stream{};
};

[[noreturn]] void throw_damaged(const std::string& path, std::string_view how) {
  throw Error(ErrorKind::kData, cat("the gzip file is damaged: ", how))
      .at(path)
      .hint("fetch or compress it again; gzip -t tests a file");
}

std::string gunzip(std::string_view packed, const std::string& path) {
  Inflater inflater;
  z_stream& z = inflater.stream;
  std::string out;
  size_t taken = 0, made = 0;
  for (;;) {
    if (made == out.size()) out.resize(std::max(kFirstOutput, 2 * made));
    const size_t input = std::min(packed.size() - taken, kLargestPiece);
    const size_t room = std::min(out.size() - made, kLargestPiece);
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data() + taken));
    z.avail_in = static_cast<uInt>(input);
    z.next_out = reinterpret_cast<Bytef*>(out.data() + made);
    z.avail_out = static_cast<uInt>(room);
    const int status = inflate(&z, Z_NO_FLUSH);
    taken += input - z.avail_in;
    made += room - z.avail_out;
    if (status == Z_STREAM_END) {
      if (!packed.substr(taken).starts_with(kGzipMagic)) break;  // what follows is padding
      inflateReset(&z);
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      throw_damaged(path, z.msg != nullptr ? z.msg : "its data can't be read");
    } else if (taken == packed.size() && z.avail_out != 0) {
      throw_damaged(path, "it ends too early");
    }
  }
  out.resize(made);
  return out;
}

}  // namespace

std::string read_text_file(const std::string& path, std::string_view key) {
  const std::string elsewhere =
      cat("point ", key, " at another file, in the config or as --", key, "='[\"my.txt\"]'");
  if (!path_exists(path))
    throw Error(ErrorKind::kData, "there is no such text file").at(path).hint(elsewhere);
  if (is_directory(path))
    throw Error(ErrorKind::kData, "a folder stands where a text file should be")
        .at(path)
        .hint(elsewhere);
  std::string content = read_file(path);
  if (content.starts_with(kZstdMagic))
    throw Error(ErrorKind::kData, "the text file is compressed by zstd")
        .at(path)
        .allowed("plain text, gzip")
        .hint("decompress it first (zstd -d)");
  if (content.starts_with(kGzipMagic)) content = gunzip(content, path);
  if (content.empty())
    throw Error(ErrorKind::kData, "the text file is empty").at(path).hint(elsewhere);
  return content;
}

}  // namespace levanter::data
