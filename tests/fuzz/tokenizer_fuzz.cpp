// A fuzz target: the bytes are a tokenizer.json or a SentencePiece model, opened, and texts encoded
// and decoded; only a data Error may come of it.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "text/hf/source.h"
#include "text/tokenizer.h"

using namespace levanter;

namespace levanter::text {

extern const TokenizerEntry hf_entry;

/// The kinds that this target has.
std::span<const TokenizerEntry* const> entries() {
  static constexpr const TokenizerEntry* kEntries[] = {&hf_entry};
  return kEntries;
}

}  // namespace levanter::text

namespace {

std::string scratch_folder() {
  const char* folder = std::getenv("TMPDIR");
  std::string path = std::string(folder != nullptr ? folder : P_tmpdir) + "/levanter-fuzz-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) std::abort();
  return path;
}

void open_and_use(const std::string& path) {
  try {
    const auto tokenizer = text::hf::open(path);
    for (const char* text :
         {"ab  The cat, 12 345!\n\n x", "caf\xC3\xA9 e\xCC\x81 \xE4\xB8\xAD \xF0\x9F\x98\x80"}) {
      const auto ids = tokenizer->add_special(tokenizer->encode({text, "text"}));
      tokenizer->decode(ids);
      for (const int32_t id : ids) tokenizer->byte_length(id);
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kData) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string folder = scratch_folder();
  const std::string path = folder + (size > 0 && data[0] == '{' ? "/tokenizer.json" : "/t.model");
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr || std::fwrite(data, 1, size, file) != size || std::fclose(file) != 0)
    std::abort();
  open_and_use(path);
  return 0;
}
