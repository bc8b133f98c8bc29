// The models that look whole words up: WordPiece and WordLevel.
#pragma once

#include <optional>
#include <string>

#include "text/hf/model.h"
#include "text/hf/vocabulary.h"

namespace levanter::text::hf {

/// The error of a piece that no token expresses, where the tokenizer has none for that.
[[noreturn]] void throw_no_unknown(std::string_view piece);

/// The longest tokens from the left (Wu et al. 2016, arXiv:1609.08144).
class WordPiece final : public Model {
 public:
  ///   prefix   of every token of a word but the first, "##"
  ///   longest  characters of a word; a longer one is unknown
  WordPiece(const Vocabulary& vocabulary, std::optional<int32_t> unknown, std::string prefix,
            size_t longest)
      : vocabulary_(vocabulary), unknown_(unknown), prefix_(std::move(prefix)), longest_(longest) {}
  void encode(std::string_view piece, const char* readable, WordCache& cache,
              Ids& out) const override;

 private:
  /// Appends the ids of a word; false when a part of it has none.
  bool cut(std::string_view word, Ids& out) const;

  const Vocabulary& vocabulary_;
  std::optional<int32_t> unknown_;
  std::string prefix_;
  size_t longest_;
};

/// One id for each word.
class WordLevel final : public Model {
 public:
  WordLevel(const Vocabulary& vocabulary, std::optional<int32_t> unknown)
      : vocabulary_(vocabulary), unknown_(unknown) {}
  void encode(std::string_view piece, const char* readable, WordCache& cache,
              Ids& out) const override;

 private:
  const Vocabulary& vocabulary_;
  std::optional<int32_t> unknown_;
};

}  // namespace levanter::text::hf
