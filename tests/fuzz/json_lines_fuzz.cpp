// A fuzz target: the bytes are a data file in every form, plain or compressed; only a data Error
// may come of it.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "data/files/json_fields.h"
#include "data/files/source.h"
#include "text/utf8.h"

using namespace levanter;
using namespace levanter::data;

namespace {

/// A file of this process, rewritten for each input.
int scratch_file(std::string& path) {
  const char* folder = std::getenv("TMPDIR");
  path = std::string(folder != nullptr ? folder : P_tmpdir) + "/levanter-fuzz-XXXXXX";
  const int file = ::mkstemp(path.data());
  if (file < 0) std::abort();
  return file;
}

template <class Call>
void expect_data_error(Call call) {
  try {
    call();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kData) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static std::string path;
  static const int file = scratch_file(path);
  if (::ftruncate(file, 0) != 0 || ::pwrite(file, data, size, 0) != static_cast<ssize_t>(size))
    std::abort();
  for (const RecordForm form :
       {RecordForm::kJsonLines, RecordForm::kJson, RecordForm::kText, RecordForm::kTextLines}) {
    expect_data_error([&] {
      RecordReader reader(path, {.form = form, .max_record_bytes = 1 << 20});
      JsonFields fields;
      while (const auto record = reader.next()) {
        std::string mended;
        text::append_mended_utf8(mended, record->content);
        if (text::find_broken_utf8(mended) != mended.size()) __builtin_trap();
        expect_data_error([&] { fields.parse(*record), fields.string("text"); });
        expect_data_error([&] { fields.parse(*record), fields.messages("messages"); });
        expect_data_error([&] { fields.parse(*record), fields.integers("a.ids", 0, 9); });
      }
    });
  }
  return 0;
}
