// A SentencePiece model file as the text of a tokenizer.json.
#include "base/strings.h"
#include "text/hf/source.h"

namespace levanter::text::hf {

std::string sentencepiece_json(std::string_view, const std::string& origin) {
  throw Error(ErrorKind::kData, "SentencePiece models are not read yet").at(origin);
}

}  // namespace levanter::text::hf
