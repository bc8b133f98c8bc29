// The tokens of prompts.
#include "infer/prompt.h"

#include "base/error.h"

namespace levanter::infer {

std::vector<int32_t> beginning_ids(const text::Tokenizer& tokenizer, const std::string& name) {
  if (const auto bos = tokenizer.bos_id()) return {*bos};
  if (const auto eos = tokenizer.eos_id()) return {*eos};
  std::vector<int32_t> line;
  try {
    line = tokenizer.encode({"\n", name});
  } catch (const Error&) {
    // a vocabulary without a new line
  }
  if (!line.empty()) return line;
  throw Error(ErrorKind::kData,
              "nothing says how a text begins: the prompt is empty, and the "
              "tokenizer has no BOS, no EOS and no new line")
      .at(name)
      .allowed("a prompt of one token or more")
      .hint("give the model some text to continue");
}

std::vector<int32_t> prompt_ids(const text::Tokenizer& tokenizer, const std::string& prompt,
                                const std::string& name) {
  std::vector<int32_t> ids = tokenizer.add_special(tokenizer.encode({prompt, name}));
  return ids.empty() ? beginning_ids(tokenizer, name) : ids;
}

}  // namespace levanter::infer
