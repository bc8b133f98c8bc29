// A template's source cut into tokens, its white space already as the marks - and + ask for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace levanter::text::jinja {

enum class TokenKind : uint8_t {
  kData,        ///< text outside of any mark
  kPrintBegin,  ///< {{
  kPrintEnd,
  kBlockBegin,  ///< {%
  kBlockEnd,
  kName,
  kString,  ///< its text, escapes resolved
  kInt,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind;
  std::string text;
  int line;
};

/// The tokens of a template, the last of them kEnd. Line ends become \n, one at the very end is
/// dropped; trim_blocks and lstrip_blocks are on, as chat templates assume.
/// error  Fault for what is no token, or for a mark that is never closed
std::vector<Token> tokenize(std::string_view source);

}  // namespace levanter::text::jinja
