// Reading a text file whole, gzip or zstd taken off.
#include "data/text_file.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "data/decompress.h"

namespace levanter::data {

std::string read_text_file(const std::string& path, std::string_view key) {
  const std::string elsewhere =
      cat("point ", key, " at another file, in the config or as --", key, "='[\"my.txt\"]'");
  if (!path_exists(path))
    throw Error(ErrorKind::kData, "there is no such text file").at(path).hint(elsewhere);
  if (is_directory(path))
    throw Error(ErrorKind::kData, "a folder stands where a text file should be")
        .at(path)
        .hint(elsewhere);
  const std::unique_ptr<ByteReader> reader = open_decompressed(path);
  std::string content(static_cast<size_t>(file_size(path)) + 1, '\0');
  size_t size = 0;
  while (const size_t n = reader->read(std::span(content).subspan(size))) {
    size += n;
    if (size == content.size()) content.resize(2 * size);
  }
  content.resize(size);
  if (content.empty())
    throw Error(ErrorKind::kData, "the text file is empty").at(path).hint(elsewhere);
  return content;
}

}  // namespace levanter::data
