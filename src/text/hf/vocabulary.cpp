// The tokens of a tokenizer: id to text in an arena, and text to id by a flat hash table.
#include "text/hf/vocabulary.h"

#include <bit>

#include "base/hash.h"

namespace levanter::text::hf {

void TokenTable::set(int32_t id, std::string_view token) {
  const auto index = static_cast<size_t>(id);
  if (index >= places_.size()) {
    if (index >= places_.capacity()) places_.reserve(std::max(index + 1, 2 * places_.capacity()));
    places_.resize(index + 1);
  }
  places_[index] = {static_cast<uint32_t>(arena_.size()), static_cast<uint32_t>(token.size())};
  arena_ += token;
}

void Vocabulary::reserve(size_t tokens) { grow(std::bit_ceil(2 * tokens + 16)); }

void Vocabulary::grow(size_t slots) {
  std::vector<Slot> old = std::move(slots_);
  slots_.assign(slots, {});
  const size_t mask = slots - 1;
  for (const Slot& slot : old) {
    if (slot.id < 0) continue;
    size_t at = xxh3_64(token(slot.id)) & mask;
    while (slots_[at].id >= 0) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

void Vocabulary::add(std::string_view token, int32_t id) {
  if (2 * (count_ + 1) > slots_.size()) grow(std::bit_ceil(4 * count_ + 64));
  const uint64_t hash = xxh3_64(token);
  const auto tag = static_cast<uint32_t>(hash >> 32);
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  for (; slots_[at].id >= 0; at = (at + 1) & mask)
    if (slots_[at].tag == tag && this->token(slots_[at].id) == token) return;
  set(id, token);
  slots_[at] = {tag, id};
  ++count_;
}

int32_t Vocabulary::id(std::string_view token) const {
  if (slots_.empty()) return -1;
  const uint64_t hash = xxh3_64(token);
  const auto tag = static_cast<uint32_t>(hash >> 32);
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash & mask; slots_[at].id >= 0; at = (at + 1) & mask)
    if (slots_[at].tag == tag && this->token(slots_[at].id) == token) return slots_[at].id;
  return -1;
}

}  // namespace levanter::text::hf
