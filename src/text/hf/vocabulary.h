// The tokens of a tokenizer: id to text in an arena, and text to id by a flat hash table.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace levanter::text::hf {

/// Tokens by id. Ids may have gaps; a gap has the empty text.
class TokenTable {
 public:
  /// Adds or replaces a token; the id's text must be set once at most.
  void set(int32_t id, std::string_view token);
  /// One more than the largest id.
  int64_t size() const { return static_cast<int64_t>(places_.size()); }
  /// The text of an id in [0, size()).
  std::string_view token(int32_t id) const {
    const Place& place = places_[static_cast<size_t>(id)];
    return {arena_.data() + place.offset, place.length};
  }

 private:
  struct Place {
    uint32_t offset = 0, length = 0;
  };
  std::string arena_;
  std::vector<Place> places_;
};

/// Tokens by id and by text.
class Vocabulary final : public TokenTable {
 public:
  void reserve(size_t tokens);
  /// Adds a token; one that is there already keeps its first id.
  void add(std::string_view token, int32_t id);
  /// The id of a text, or -1.
  int32_t id(std::string_view token) const;
  /// How many texts have an id.
  size_t count() const { return count_; }

 private:
  struct Slot {
    uint32_t tag = 0;
    int32_t id = -1;
  };
  void grow(size_t slots);

  std::vector<Slot> slots_;
  size_t count_ = 0;
};

}  // namespace levanter::text::hf
