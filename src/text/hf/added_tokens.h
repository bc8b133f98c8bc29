// Tokens that are recognised in the text itself, such as "<|endoftext|>", and the text between.
#pragma once

#include <array>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/hf/tokenizer_file.h"

namespace levanter::text::hf {

/// Finds a set of added tokens: the leftmost, the longest of those that begin at one place.
class AddedTokenFinder final {
 public:
  /// What to look for, with the form that it has in the text.
  void add(const AddedToken& token, std::string_view form);
  bool empty() const { return tokens_.empty(); }

  struct Found {
    size_t end = 0;
    int32_t id = -1;
  };
  /// The next token from `begin` on.
  ///   token  its id, -1 when there is none, and where it ends
  /// returns where it begins, the white space that it takes included; the text's end without one
  size_t find(std::string_view text, size_t begin, Found& token) const;

 private:
  struct Node {
    int32_t token = -1;  ///< index of the token that ends here
  };
  /// The longest token that begins at `at`, as an index, or -1.
  int longest(std::string_view text, size_t at, size_t& end) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_ = {Node{}};
  std::unordered_map<uint64_t, uint32_t> edges_;  ///< node and byte to node
  std::array<bool, 256> begins_{};
  int only_first_ = -1;  ///< the byte that all begin with, or -1
};

}  // namespace levanter::text::hf
