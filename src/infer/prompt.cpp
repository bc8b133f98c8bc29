// The tokens of prompts.
#include "infer/prompt.h"

namespace levanter::infer {

std::vector<int32_t> prompt_ids(const text::Tokenizer& tokenizer, const std::string& prompt,
                                const std::string& name) {
  std::vector<int32_t> ids = tokenizer.add_special(tokenizer.encode({prompt, name}));
  if (ids.empty()) ids = {tokenizer.bos_id().value_or(tokenizer.eos_id().value_or(0))};
  return ids;
}

}  // namespace levanter::infer
