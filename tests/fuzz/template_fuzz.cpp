// A fuzz target: the bytes are a chat template, parsed and rendered; only an Error may come of it.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr std::string_view kVariables =
      R"({"messages": [{"role": "user", "content": " h\u00e9 "}, {"role": "assistant",
          "content": "b", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1.5}}}]}],
          "tools": [{"name": "f"}], "n": 7, "x": -2.5, "l": [3, 1, 2], "add_generation_prompt": true})";
  try {
    const levanter::text::ChatTemplate made({reinterpret_cast<const char*>(data), size}, "fuzz");
    made.render(kVariables, 0);
  } catch (const levanter::Error& error) {
    if (error.kind() != levanter::ErrorKind::kData) __builtin_trap();
  }
  return 0;
}
