// A document as people look at it: its text, and what of it is learned, not learned, or cut off.
#include "commands/shown_document.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "base/strings.h"
#include "commands/command.h"

namespace levanter::commands {
namespace {

/// What stands before and behind a piece of that fate.
struct Mark {
  std::string_view before, behind;
};

Mark mark_of(Fate fate, Marks marks) {
  if (marks == Marks::kColour) {
    if (fate == Fate::kLearned) return {"\033[32m", "\033[0m"};
    if (fate == Fate::kNotLearned) return {"\033[2m", "\033[0m"};
    return {"\033[9;31m", "\033[0m"};
  }
  if (marks == Marks::kNone || fate == Fate::kLearned) return {};
  if (fate == Fate::kNotLearned) return {"\u27e6", "\u27e7"};
  return {"\u2702\u27e6", "\u27e7"};
}

/// How many bytes both texts begin with, whole characters only.
size_t common_bytes(std::string_view a, std::string_view b) {
  const auto [end, other] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  auto count = static_cast<size_t>(end - a.begin());
  while (count > 0 && count < b.size() && (static_cast<uint8_t>(b[count]) & 0xC0) == 0x80) --count;
  return count;
}

/// Two pieces that follow each other: ids [before, begin) and [begin, end).
struct Pieces {
  size_t before, begin, end;
};

/// Where the text of ids [0, end) ends in the text of all, of which [0, begin) have `done` bytes.
size_t end_of_piece(const text::Tokenizer& tokenizer, std::span<const int32_t> ids, Pieces at,
                    std::string_view whole, size_t done) {
  // The piece's own text is what it adds to that of the piece before it: time in proportion to
  // both.
  const auto text_until = [&](size_t end) {
    return tokenizer.decode(ids.subspan(at.before, end - at.before));
  };
  const std::string both = text_until(at.end);
  const std::string_view added =
      std::string_view(both).substr(common_bytes(text_until(at.begin), both));
  const size_t same = common_bytes(added, whole.substr(done));
  constexpr size_t kUnfinished = 9;  // bytes of what stands for a character that is not complete
  if (added.size() - same <= kUnfinished) return done + same;
  return std::max(done, common_bytes(tokenizer.decode(ids.first(at.end)), whole));
}

}  // namespace

ShownDocument read_document(const data::TokenStream& stream, int64_t document,
                            const data::RowSpec& rows, int64_t seq_len) {
  const int64_t begin = stream.document_start(document);
  const auto size = static_cast<size_t>(stream.document_start(document + 1) - begin);
  ShownDocument shown{std::vector<int32_t>(size), std::vector<float>(size),
                      std::vector<Fate>(size, Fate::kLearned)};
  stream.read(begin, shown.ids);
  stream.read_weights(begin, shown.weights);
  size_t kept_begin = 0, kept_end = size;
  if (rows.pack) {
    data::PackOptions pack = *rows.pack;
    pack.seq_len = seq_len;
    const data::Piece piece = data::piece_of(stream, document, pack);
    kept_begin = static_cast<size_t>(piece.begin - begin);
    kept_end = kept_begin + static_cast<size_t>(piece.positions) + 1;
    const int64_t first = pack.pairs ? document - document % 2 : document;
    if (pack.too_long == data::TooLong::kDrop && data::is_too_long(stream, first, pack))
      kept_end = kept_begin;
  }
  for (size_t i = 0; i < size; ++i) {
    if (shown.weights[i] == 0) shown.fates[i] = Fate::kNotLearned;
    if (i < kept_begin || i >= kept_end) shown.fates[i] = Fate::kCut;
  }
  return shown;
}

Marks marks_of_output() {
  const char* const terminal = std::getenv("TERM");
  const bool has_colours = terminal != nullptr && std::string_view(terminal) != "dumb" &&
                           std::getenv("NO_COLOR") == nullptr;
  return isatty(STDOUT_FILENO) != 0 && has_colours ? Marks::kColour : Marks::kPlain;
}

std::string legend(Marks marks) {
  std::string text;
  for (const auto& [fate, words] : {std::pair{Fate::kLearned, "learned"},
                                    {Fate::kNotLearned, "not learned"},
                                    {Fate::kCut, "cut off"}}) {
    const Mark mark = mark_of(fate, marks);
    text += cat(text.empty() ? "" : ", ", mark.before, words, mark.behind);
  }
  return marks == Marks::kNone ? "" : text;
}

std::string marked_text(const ShownDocument& document, const text::Tokenizer& tokenizer,
                        Marks marks) {
  const std::span<const int32_t> ids(document.ids);
  const std::string whole = tokenizer.decode(ids);
  std::string text;
  size_t done = 0, before = 0;
  // A token's text depends on those before it, so that pieces are cut from the text of all.
  for (size_t begin = 0, end = 0; begin < ids.size(); before = begin, begin = end) {
    const Fate fate = document.fates[begin];
    while (end < ids.size() && document.fates[end] == fate) ++end;
    const size_t until = end == ids.size()
                             ? whole.size()
                             : end_of_piece(tokenizer, ids, {before, begin, end}, whole, done);
    if (until > done) {
      const Mark mark = mark_of(fate, marks);
      text += cat(mark.before, std::string_view(whole).substr(done, until - done), mark.behind);
    }
    done = until;
  }
  return text;
}

std::string tokens_text(const ShownDocument& document, const text::Tokenizer& tokenizer) {
  std::string text;
  for (size_t i = 0; i < document.ids.size(); ++i) {
    std::string token =
        cat(document.ids[i], " ", text_json(tokenizer.decode(std::span(&document.ids[i], 1))));
    if (document.fates[i] == Fate::kNotLearned) token = cat("[", token, "]");
    if (document.fates[i] == Fate::kCut) token = cat("{", token, "}");
    text += cat(i == 0 ? "" : "  ", token);
  }
  return text;
}

}  // namespace levanter::commands
