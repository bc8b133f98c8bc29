// A template's source cut into tokens, its white space already as the marks - and + ask for.
#include "text/jinja/lexer.h"

#include <algorithm>
#include <optional>

#include "base/strings.h"
#include "text/jinja/strings.h"
#include "text/jinja/value.h"
#include "text/utf8.h"

namespace levanter::text::jinja {
namespace {

std::string normalise(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<uint8_t>(c) >= 0x80;
}

class Lexer final {
 public:
  explicit Lexer(std::string_view source) : text_(normalise(source)) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) {
      size_t mark = at_;
      while ((mark = text_.find('{', mark)) != std::string::npos) {
        const char next = mark + 1 < text_.size() ? text_[mark + 1] : '\0';
        if (next == '{' || next == '%' || next == '#') break;
        ++mark;
      }
      if (mark == std::string::npos) {
        add_data(text_.size());
        break;
      }
      open(mark);
    }
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(std::string message, std::string hint = "") const {
    throw Fault{std::move(message), "", std::move(hint), line_};
  }
  bool follows(std::string_view what) const {
    return std::string_view(text_).substr(at_).starts_with(what);
  }
  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  void move_to(size_t place) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<ptrdiff_t>(at_),
                                         text_.begin() + static_cast<ptrdiff_t>(place), '\n'));
    if (place > at_) line_starts_ = text_[place - 1] == '\n';
    at_ = place;
  }
  void add_data(size_t end) { add_data(end, end); }
  /// Adds the text up to `end` and moves to `next`.
  void add_data(size_t end, size_t next) {
    if (end > at_) add(TokenKind::kData, text_.substr(at_, end - at_));
    move_to(next);
  }

  /// Where the text before a mark ends: `sign` is what stands behind the mark's first two bytes.
  size_t end_of_data(size_t mark, char sign, bool is_print) const {
    const std::string_view data = std::string_view(text_).substr(at_, mark - at_);
    if (sign == '-') return at_ + strip(data, Side::kRight).size();
    if (sign == '+' || is_print) return mark;
    const size_t newline = data.rfind('\n');
    const size_t start = newline == std::string_view::npos ? 0 : newline + 1;
    const bool from_line_start = newline != std::string_view::npos || line_starts_;
    return from_line_start && strip(data.substr(start)).empty() ? at_ + start : mark;
  }

  /// Moves behind a closing mark of two bytes: "-" eats the blanks that follow, a block its
  /// newline.
  void close(size_t place, size_t mark_size, bool eats_blanks, bool eats_newline) {
    size_t next = place + mark_size;
    if (eats_blanks) {
      const std::string_view rest = std::string_view(text_).substr(next);
      next += rest.size() - strip(rest, Side::kLeft).size();
    } else if (eats_newline && next < text_.size() && text_[next] == '\n') {
      ++next;
    }
    move_to(next);
  }

  void open(size_t mark) {
    const char kind = text_[mark + 1];
    const char sign = mark + 2 < text_.size() ? text_[mark + 2] : '\0';
    const bool signed_mark = sign == '-' || (sign == '+' && kind != '{');
    add_data(end_of_data(mark, signed_mark ? sign : '\0', kind == '{'), mark);
    move_to(mark + 2 + (signed_mark ? 1 : 0));
    if (kind == '#') return skip_comment();
    if (kind == '%' && skip_raw()) return;
    add(kind == '{' ? TokenKind::kPrintBegin : TokenKind::kBlockBegin, "");
    lex_inside(kind == '{');
  }

  void skip_comment() {
    const size_t end = text_.find("#}", at_);
    if (end == std::string::npos) fail("a comment {# is never closed", "close it with #}");
    const char sign = end > at_ ? text_[end - 1] : '\0';
    close(end, 2, sign == '-', sign != '+');
  }

  /// Skips blanks, the word, blanks and the mark's end; nothing when something else stands there.
  std::optional<size_t> word_and_end(size_t place, std::string_view word, char& sign) const {
    const auto skip = [&] {
      const std::string_view rest = std::string_view(text_).substr(place);
      place += rest.size() - strip(rest, Side::kLeft).size();
    };
    skip();
    if (!std::string_view(text_).substr(place).starts_with(word)) return std::nullopt;
    place += word.size();
    skip();
    sign =
        place < text_.size() && (text_[place] == '-' || text_[place] == '+') ? text_[place] : '\0';
    if (sign != '\0') ++place;
    if (!std::string_view(text_).substr(place).starts_with("%}")) return std::nullopt;
    return place;
  }

  bool skip_raw() {
    char sign = '\0';
    const auto begin = word_and_end(at_, "raw", sign);
    if (!begin) return false;
    const int line = line_;
    close(*begin, 2, sign == '-', false);
    for (size_t mark = at_; (mark = text_.find("{%", mark)) != std::string::npos; ++mark) {
      char first = mark + 2 < text_.size() ? text_[mark + 2] : '\0';
      if (first != '-' && first != '+') first = '\0';
      const auto end = word_and_end(mark + 2 + (first != '\0' ? 1 : 0), "endraw", sign);
      if (!end) continue;
      add_data(end_of_data(mark, first, false), mark);
      close(*end, 2, sign == '-', sign != '+');
      return true;
    }
    line_ = line;
    fail("{% raw %} is never closed", "close it with {% endraw %}");
  }

  /// The tokens up to the closing mark.
  void lex_inside(bool is_print) {
    const std::string_view mark = is_print ? "}}" : "%}";
    const int opened = line_;
    std::string brackets;
    for (;;) {
      const std::string_view rest = std::string_view(text_).substr(at_);
      move_to(at_ + rest.size() - strip(rest, Side::kLeft).size());
      if (at_ >= text_.size()) {
        line_ = opened;
        fail(is_print ? "{{ is never closed" : "{% is never closed", cat("close it with ", mark));
      }
      const char c = text_[at_];
      if (brackets.empty()) {
        const bool sign = c == '-' || (c == '+' && !is_print);
        if (std::string_view(text_).substr(at_ + (sign ? 1 : 0)).starts_with(mark)) {
          add(is_print ? TokenKind::kPrintEnd : TokenKind::kBlockEnd, "");
          return close(at_ + (sign ? 1 : 0), 2, c == '-', !is_print && c != '+');
        }
      }
      if (c == '\'' || c == '"') {
        lex_string(c);
      } else if (is_digit(c)) {
        lex_number();
      } else if (is_name_start(c)) {
        size_t end = at_;
        while (end < text_.size() && (is_name_start(text_[end]) || is_digit(text_[end]))) ++end;
        add(TokenKind::kName, text_.substr(at_, end - at_));
        move_to(end);
      } else {
        lex_operator(brackets);
      }
    }
  }

  void lex_operator(std::string& brackets) {
    constexpr std::string_view kTwo[] = {"//", "**", "==", "!=", ">=", "<="};
    std::string op(1, text_[at_]);
    for (const std::string_view two : kTwo)
      if (follows(two)) op = two;
    if (op.size() == 1 &&
        std::string_view("+-*/%~()[]{}<>=.:|,;").find(op[0]) == std::string_view::npos)
      fail(cat(quote(std::string(characters_of(std::string_view(text_).substr(at_, 4))[0])),
               " is not part of the template language"));
    if (op == "(" || op == "[" || op == "{")
      brackets += op[0] == '(' ? ')' : op[0] == '[' ? ']' : '}';
    if (op == ")" || op == "]" || op == "}") {
      if (brackets.empty()) fail(cat(quote(op), " closes nothing"));
      if (brackets.back() != op[0])
        fail(cat(quote(op), " stands where ", quote({&brackets.back(), 1}), " should"));
      brackets.pop_back();
    }
    const size_t end = at_ + op.size();
    add(TokenKind::kOperator, std::move(op));
    move_to(end);
  }

  void lex_number() {
    size_t end = at_;
    const auto digits = [&] {
      while (end < text_.size() &&
             (is_digit(text_[end]) ||
              (text_[end] == '_' && end + 1 < text_.size() && is_digit(text_[end + 1]))))
        ++end;
    };
    const auto digit_at = [&](size_t place) {
      return place < text_.size() && is_digit(text_[place]);
    };
    digits();
    bool real = false;
    // After a dot, "x.0.1" is two subscripts.
    const bool after_dot = at_ > 0 && text_[at_ - 1] == '.';
    if (!after_dot && end < text_.size() && text_[end] == '.' && digit_at(end + 1)) {
      real = true;
      ++end;
      digits();
    }
    if (!after_dot && end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      const size_t sign =
          end + 1 < text_.size() && (text_[end + 1] == '+' || text_[end + 1] == '-');
      if (digit_at(end + 1 + sign)) {
        real = true;
        end += 1 + sign;
        digits();
      }
    }
    std::string text = text_.substr(at_, end - at_);
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    add(real ? TokenKind::kFloat : TokenKind::kInt, std::move(text));
    move_to(end);
  }

  void lex_string(char mark) {
    std::string out;
    size_t i = at_ + 1;
    while (i < text_.size() && text_[i] != mark) {
      if (text_[i] != '\\') {
        out += text_[i++];
        continue;
      }
      if (++i >= text_.size()) break;
      unescape(i, out);
    }
    if (i >= text_.size())
      fail("a string is never closed", cat("close it with ", std::string(1, mark)));
    add(TokenKind::kString, std::move(out));
    move_to(i + 1);
  }

  /// Python's escapes; `i` stands behind the backslash and moves behind the escape.
  void unescape(size_t& i, std::string& out) const {
    const char c = text_[i++];
    constexpr std::string_view kNames = "abfnrtv\\'\"", kBytes = "\a\b\f\n\r\t\v\\'\"";
    if (const size_t found = kNames.find(c); found != std::string_view::npos) {
      out += kBytes[found];
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const size_t wanted = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      uint32_t scalar = 0;
      for (size_t k = 0; k < wanted; ++k, ++i) {
        const char digit = i < text_.size() ? text_[i] : '\0';
        const size_t value =
            std::string_view("0123456789abcdef")
                .find(digit >= 'A' && digit <= 'F' ? static_cast<char>(digit + 32) : digit);
        if (value == std::string_view::npos)
          fail(cat("the escape \\", std::string(1, c), " is too short"));
        scalar = scalar << 4 | static_cast<uint32_t>(value);
      }
      if (scalar >= kScalarLimit || (scalar >= 0xD800 && scalar < 0xE000))
        fail(cat("the escape \\", std::string(1, c), " names no character"));
      append_scalar(out, scalar);
    } else if (c >= '0' && c <= '7') {
      uint32_t scalar = static_cast<uint32_t>(c - '0');
      for (int k = 0; k < 2 && i < text_.size() && text_[i] >= '0' && text_[i] <= '7'; ++k)
        scalar = scalar * 8 + static_cast<uint32_t>(text_[i++] - '0');
      append_scalar(out, scalar);
    } else if (c != '\n') {  // a backslash at the line's end joins the lines
      out += {'\\', c};
    }
  }

  std::string text_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starts_ = true;  // the byte before at_ ends a line
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace levanter::text::jinja
