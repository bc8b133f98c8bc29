// What turns one piece of prepared text into ids: BPE, Unigram, WordPiece, WordLevel.
#pragma once

#include <string_view>

#include "text/hf/word_cache.h"

namespace levanter::text::hf {

class Model {
 public:
  virtual ~Model() = default;
  /// Appends the ids of a piece, which is UTF-8 and not empty.
  ///   readable  the end of the memory that holds the piece
  virtual void encode(std::string_view piece, const char* readable, WordCache& cache,
                      Ids& out) const = 0;
};

}  // namespace levanter::text::hf
