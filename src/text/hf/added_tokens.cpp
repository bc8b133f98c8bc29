// Tokens that are recognised in the text itself, such as "<|endoftext|>", and the text between.
#include "text/hf/added_tokens.h"

#include <algorithm>
#include <cstring>

#include "text/hf/unicode.h"

namespace levanter::text::hf {
namespace {

uint8_t classes_before(std::string_view text, size_t at) {
  if (at == 0) return 0;
  do --at;
  while ((static_cast<uint8_t>(text[at]) & 0xC0) == 0x80);
  const char* p = text.data() + at;
  return CharClasses::get().of(next_scalar(p));
}

uint8_t classes_behind(std::string_view text, size_t at) {
  if (at == text.size()) return 0;
  const char* p = text.data() + at;
  return CharClasses::get().of(next_scalar(p));
}

size_t space_before(std::string_view text, size_t begin, size_t at) {
  while (at > begin && (classes_before(text, at) & kSpace) != 0) do
      --at;
    while ((static_cast<uint8_t>(text[at]) & 0xC0) == 0x80);
  return at;
}

size_t space_behind(std::string_view text, size_t at) {
  while (at < text.size() && (classes_behind(text, at) & kSpace) != 0) at += length_at(text[at]);
  return at;
}

}  // namespace

void AddedTokenFinder::add(const AddedToken& token, std::string_view form) {
  if (form.empty()) return;
  uint32_t node = 0;
  for (const char c : form) {
    const uint64_t edge = uint64_t{node} << 8 | static_cast<uint8_t>(c);
    const auto [found, made] = edges_.try_emplace(edge, static_cast<uint32_t>(nodes_.size()));
    if (made) nodes_.emplace_back();
    node = found->second;
  }
  if (nodes_[node].token >= 0) return;  // of equal forms the first counts
  const auto first = static_cast<uint8_t>(form.front());
  only_first_ = tokens_.empty() || only_first_ == first ? first : -1;
  begins_[first] = true;
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
}

int AddedTokenFinder::longest(std::string_view text, size_t at, size_t& end) const {
  int found = -1;
  uint32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto edge = edges_.find(uint64_t{node} << 8 | static_cast<uint8_t>(text[i]));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (nodes_[node].token < 0) continue;
    found = nodes_[node].token;
    end = i + 1;
  }
  return found;
}

size_t AddedTokenFinder::find(std::string_view text, size_t begin, Found& token) const {
  token.id = -1;
  if (tokens_.empty()) return text.size();
  for (size_t at = begin; at < text.size();) {
    if (only_first_ >= 0) {
      const void* next = std::memchr(text.data() + at, only_first_, text.size() - at);
      if (next == nullptr) break;
      at = static_cast<size_t>(static_cast<const char*>(next) - text.data());
    } else if (!begins_[static_cast<uint8_t>(text[at])]) {
      ++at;
      continue;
    }
    size_t end = 0;
    const int index = longest(text, at, end);
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& found = tokens_[static_cast<size_t>(index)];
    if (found.single_word &&
        (((classes_before(text, at) | classes_behind(text, end)) & kWord) != 0)) {
      at = end;
      continue;
    }
    token.end = found.rstrip ? space_behind(text, end) : end;
    token.id = found.id;
    return found.lstrip ? space_before(text, begin, at) : at;
  }
  return text.size();
}

}  // namespace levanter::text::hf
