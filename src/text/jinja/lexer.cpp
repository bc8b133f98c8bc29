// A template's source cut into tokens, its white space already as the marks - and + ask for.
#include <algorithm>
#include <charconv>
#include <optional>

#include "text/jinja/strings.h"
#include "text/jinja/syntax.h"

namespace levanter::text::jinja {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<uint8_t>(c) >= 0x80;
}

class Lexer final {
 public:
  explicit Lexer(std::string_view source)
      : text_(replace(replace(source, "\r\n", "\n", -1), "\r", "\n", -1)) {
    if (text_.ends_with('\n')) text_.pop_back();
  }

  std::vector<Token> run() {
    for (size_t mark = 0; (mark = text_.find('{', std::max(mark, at_))) != text_.npos; ++mark)
      if (at(mark + 1) == '{' || at(mark + 1) == '%' || at(mark + 1) == '#') open(mark);
    add_data(text_.size(), text_.size());
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(std::string message, std::string hint = "") const {
    throw Fault{std::move(message), "", std::move(hint), line_};
  }
  /// The byte there, 0 behind the end.
  char at(size_t place) const { return place < text_.size() ? text_[place] : '\0'; }
  std::string_view from(size_t place) const { return std::string_view(text_).substr(place); }
  size_t skip_blanks(size_t place) const {
    return text_.size() - strip(from(place), Side::kLeft).size();
  }
  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  void move_to(size_t place) {
    const std::string_view passed = from(at_).substr(0, place - at_);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    if (!passed.empty()) line_starts_ = passed.back() == '\n';
    at_ = place;
  }
  /// Adds what stands up to `end` and moves there.
  void add_up_to(TokenKind kind, size_t end) {
    add(kind, text_.substr(at_, end - at_));
    move_to(end);
  }
  /// Adds the text up to `end` and moves to `next`.
  void add_data(size_t end, size_t next) {
    if (end > at_) add_up_to(TokenKind::kData, end);
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
  void close(size_t place, bool eats_blanks, bool eats_newline) {
    place += 2;
    move_to(eats_blanks ? skip_blanks(place) : place + (eats_newline && at(place) == '\n'));
  }

  void open(size_t mark) {
    const char kind = text_[mark + 1], sign = at(mark + 2);
    const bool is_signed = sign == '-' || (sign == '+' && kind != '{');
    add_data(end_of_data(mark, is_signed ? sign : '\0', kind == '{'), mark);
    move_to(mark + 2 + is_signed);
    if (kind == '#') return skip_comment();
    if (kind == '%' && skip_raw()) return;
    add(TokenKind::kOperator, {'{', kind});
    lex_inside(kind == '{');
  }

  void skip_comment() {
    const size_t end = text_.find("#}", at_);
    if (end == std::string::npos) fail("a comment {# is never closed", "close it with #}");
    const char sign = end > at_ ? text_[end - 1] : '\0';
    close(end, sign == '-', sign != '+');
  }

  /// Skips blanks, the word, blanks and the mark's end; nothing when something else stands there.
  std::optional<size_t> word_and_end(size_t place, std::string_view word, char& sign) const {
    place = skip_blanks(place);
    if (!from(place).starts_with(word)) return std::nullopt;
    place = skip_blanks(place + word.size());
    sign = at(place) == '-' || at(place) == '+' ? text_[place++] : '\0';
    return from(place).starts_with("%}") ? std::optional(place) : std::nullopt;
  }

  bool skip_raw() {
    char sign = '\0';
    const auto begin = word_and_end(at_, "raw", sign);
    if (!begin) return false;
    const int line = line_;
    close(*begin, sign == '-', false);
    for (size_t mark = at_; (mark = text_.find("{%", mark)) != std::string::npos; ++mark) {
      char first = at(mark + 2);
      if (first != '-' && first != '+') first = '\0';
      const auto end = word_and_end(mark + 2 + (first != '\0' ? 1 : 0), "endraw", sign);
      if (!end) continue;
      add_data(end_of_data(mark, first, false), mark);
      close(*end, sign == '-', sign != '+');
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
      move_to(skip_blanks(at_));
      if (at_ >= text_.size()) {
        line_ = opened;
        fail(cat(is_print ? "{{" : "{%", " is never closed"), cat("close it with ", mark));
      }
      const char c = text_[at_];
      const bool sign = c == '-' || (c == '+' && !is_print);
      if (brackets.empty() && from(at_ + sign).starts_with(mark)) {
        add(TokenKind::kOperator, std::string(mark));
        return close(at_ + sign, c == '-', !is_print && c != '+');
      }
      if (c == '\'' || c == '"') {
        lex_string(c);
      } else if (is_digit(c)) {
        lex_number();
      } else if (is_name_start(c)) {
        size_t end = at_;
        while (is_name_start(at(end)) || is_digit(at(end))) ++end;
        add_up_to(TokenKind::kName, end);
      } else {
        lex_operator(brackets);
      }
    }
  }

  void lex_operator(std::string& brackets) {
    constexpr std::string_view kTwo[] = {"//", "**", "==", "!=", ">=", "<="};
    std::string op(1, text_[at_]);
    for (const std::string_view two : kTwo)
      if (from(at_).starts_with(two)) op = two;
    if (op.size() == 1 &&
        std::string_view("+-*/%~()[]{}<>=.:|,;").find(op[0]) == std::string_view::npos)
      fail(cat(quote(std::string(characters_of(from(at_).substr(0, 4))[0])),
               " is not part of the template language"));
    if (op == "(") brackets += ')';
    if (op == "[") brackets += ']';
    if (op == "{") brackets += '}';
    if (op == ")" || op == "]" || op == "}") {
      if (brackets.empty()) fail(cat(quote(op), " closes nothing"));
      if (brackets.back() != op[0])
        fail(cat(quote(op), " stands where ", quote({&brackets.back(), 1}), " should"));
      brackets.pop_back();
    }
    add_up_to(TokenKind::kOperator, at_ + op.size());
  }

  void lex_number() {
    size_t end = at_;
    const auto digits = [&] {
      while (is_digit(at(end)) || (at(end) == '_' && is_digit(at(end + 1)))) ++end;
    };
    digits();
    const size_t whole = end;
    if (at_ == 0 || text_[at_ - 1] != '.') {  // after a dot, "x.0.1" is two subscripts
      if (at(end) == '.' && is_digit(at(end + 1))) {
        ++end;
        digits();
      }
      const size_t sign = at(end + 1) == '+' || at(end + 1) == '-';
      if ((at(end) == 'e' || at(end) == 'E') && is_digit(at(end + 1 + sign))) {
        end += 1 + sign;
        digits();
      }
    }
    std::string text = text_.substr(at_, end - at_);
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    add(end > whole ? TokenKind::kFloat : TokenKind::kInt, std::move(text));
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
    uint32_t scalar = 0;
    const auto read = [&](size_t most, int base) {
      const std::string_view digits = from(i).substr(0, most);
      const char* end = digits.data() + digits.size();
      const auto read = std::from_chars(digits.data(), end, scalar, base).ptr - digits.data();
      i += static_cast<size_t>(read);
      return static_cast<size_t>(read);
    };
    if (const size_t found = kNames.find(c); found != std::string_view::npos) {
      out += kBytes[found];
    } else if (c == 'x' || c == 'u' || c == 'U') {
      size_t wanted = 2;
      if (c == 'u') wanted = 4;
      if (c == 'U') wanted = 8;
      if (read(wanted, 16) < wanted) fail(cat("the escape \\", c, " is too short"));
      if (scalar >= kScalarLimit || (scalar >= 0xD800 && scalar < 0xE000))
        fail(cat("the escape \\", c, " names no character"));
      append_scalar(out, scalar);
    } else if (c >= '0' && c <= '7') {
      --i;
      read(3, 8);
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
