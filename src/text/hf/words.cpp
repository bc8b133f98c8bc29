// The models that look whole words up: WordPiece and WordLevel.
#include "text/hf/words.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace levanter::text::hf {
namespace {

bool is_continuation(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

}  // namespace

void throw_no_unknown(std::string_view piece) {
  throw Error(ErrorKind::kData,
              "a word is not in the vocabulary, and the tokenizer has no token for unknown ones")
      .at(quote(piece.substr(0, 80)))
      .hint("name one of its tokens as unk_token (unk_id for Unigram) in tokenizer.json");
}

bool WordPiece::cut(std::string_view word, Ids& out) const {
  std::string part;
  for (size_t begin = 0; begin < word.size();) {
    size_t end = word.size();
    int32_t id = -1;
    for (; end > begin; --end) {
      if (end < word.size() && is_continuation(word[end])) continue;
      part = cat(begin == 0 ? "" : prefix_, word.substr(begin, end - begin));
      if ((id = vocabulary_.id(part)) >= 0) break;
    }
    if (id < 0) return false;
    out.push(id);
    begin = end;
  }
  return true;
}

void WordPiece::encode(std::string_view piece, const char* readable, WordCache& cache,
                       Ids& out) const {
  const bool brief = piece.size() <= WordCache::kLongest;
  WordCache::Key key{};
  if (brief) {
    key = WordCache::key_of(piece.data(), piece.size(), readable);
    if (cache.append(key, out)) return;
  }
  const auto characters = static_cast<size_t>(
      std::count_if(piece.begin(), piece.end(), [](char c) { return !is_continuation(c); }));
  const size_t before = out.size();
  if (characters > longest_ || !cut(piece, out)) {
    if (!unknown_) throw_no_unknown(piece);
    out.cut(before);
    out.push(*unknown_);
  }
  const size_t count = out.size() - before;
  if (brief && count <= WordCache::kMostIds) cache.insert(key, out.room(0) - count, count);
}

void WordLevel::encode(std::string_view piece, const char*, WordCache&, Ids& out) const {
  const int32_t id = vocabulary_.id(piece);
  if (id < 0 && !unknown_) throw_no_unknown(piece);
  out.push(id < 0 ? *unknown_ : id);
}

}  // namespace levanter::text::hf
