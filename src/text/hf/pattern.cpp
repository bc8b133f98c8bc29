// What a tokenizer file splits and replaces by: a text or a regular expression, by PCRE2.
#include "text/hf/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "base/strings.h"
#include "text/hf/expression.h"

namespace levanter::text::hf {
namespace {

/// Owns what one of the library's functions frees.
template <class T, auto kFree>
struct Freer {
  void operator()(T* made) const { kFree(made); }
};
template <class T, auto kFree>
using Owned = std::unique_ptr<T, Freer<T, kFree>>;

}  // namespace

struct Pattern::Regex {
  Owned<pcre2_code, pcre2_code_free> code;
  std::string expression, place;

  Regex(std::string_view written, const std::string& where) : expression(written), place(where) {
    const std::string ours = to_pcre2(written);
    int error = 0;
    size_t offset = 0;
    code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(ours.data()), ours.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &offset, nullptr));
    if (!code) {
      char message[256] = "";
      pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
      throw Error(ErrorKind::kData,
                  cat("the regular expression ", quote(written), " can't be read: ", message))
          .at(place);
    }
    pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  }

  /// Matches with the library's limits first, and then, as one piece may be megabytes long, with
  /// room for these.
  int match(std::string_view text, size_t from, pcre2_match_data* data) const {
    const auto run = [&](pcre2_match_context* context) {
      return pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                         PCRE2_NO_UTF_CHECK, data, context);
    };
    const int status = run(nullptr);
    if (status != PCRE2_ERROR_JIT_STACKLIMIT && status != PCRE2_ERROR_MATCHLIMIT) return status;
    constexpr size_t kSmallStack = size_t{1} << 16, kLargestStack = size_t{1} << 30;
    constexpr uint64_t kSteps = uint64_t{1} << 26, kStepsOfByte = 64, kMostSteps = 1 << 30;
    const uint64_t steps = std::min(kSteps + kStepsOfByte * text.size(), kMostSteps);
    const Owned<pcre2_match_context, pcre2_match_context_free> context(
        pcre2_match_context_create(nullptr));
    const Owned<pcre2_jit_stack, pcre2_jit_stack_free> stack(
        pcre2_jit_stack_create(kSmallStack, kLargestStack, nullptr));
    pcre2_set_match_limit(context.get(), static_cast<uint32_t>(steps));
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
    return run(context.get());
  }

  void cut(std::string_view text, std::vector<Range>& out) const {
    const Owned<pcre2_match_data, pcre2_match_data_free> data(
        pcre2_match_data_create_from_pattern(code.get(), nullptr));
    size_t done = 0;
    for (size_t from = 0; from <= text.size();) {
      const int status = match(text, from, data.get());
      if (status == PCRE2_ERROR_NOMATCH) break;
      if (status < 0)
        throw Error(ErrorKind::kData, cat("the regular expression ", quote(expression),
                                          " takes too many steps on a text"))
            .at(place)
            .hint("cut the text into shorter documents");
      const size_t* found = pcre2_get_ovector_pointer(data.get());
      done = std::max(done, push_match(out, done, found[0], found[1]));
      from = found[1];
      if (found[1] == found[0]) from += from < text.size() ? length_at(text[from]) : 1;
    }
    push_match(out, done, text.size(), text.size());
  }
};

Pattern::Pattern(const Value& value) {
  if (value.kind == Value::Kind::kString) {
    literal_ = value.string;
  } else if (value.kind == Value::Kind::kObject && !value["String"].is_null()) {
    literal_ = value.text("String");
  } else if (value.kind == Value::Kind::kObject) {
    *this = Pattern(value.text("Regex"), value.place);
  } else {
    value.throw_wrong("pattern", "{\"String\": ...} or {\"Regex\": ...}");
  }
}

Pattern::Pattern(std::string_view expression, const std::string& place)
    : known_(known_pattern(expression)) {
  if (known_ == KnownPattern::kNone) regex_ = std::make_shared<const Regex>(expression, place);
}

Pattern Pattern::of_text(std::string text) {
  Pattern pattern;
  pattern.literal_ = std::move(text);
  return pattern;
}

template <KnownPattern kPattern>
void Pattern::cut_known(std::string_view text, std::vector<Range>& out) {
  const PieceFinder finder(text.data() + text.size());
  for (size_t at = 0; at < text.size();) {
    const char* end = finder.next<kPattern>(text.data() + at);
    at = push_match(out, at, at, static_cast<size_t>(end - text.data()));
  }
}

void Pattern::cut(std::string_view text, std::vector<Range>& out) const {
  if (text.empty()) return;
  if (regex_) return regex_->cut(text, out);
  switch (known_) {
    case KnownPattern::kGpt2:
      return cut_known<KnownPattern::kGpt2>(text, out);
    case KnownPattern::kOneDigit:
      return cut_known<KnownPattern::kOneDigit>(text, out);
    case KnownPattern::kThreeDigits:
      return cut_known<KnownPattern::kThreeDigits>(text, out);
    case KnownPattern::kNone:
      break;
  }
  size_t done = 0;
  for (size_t at = 0; !literal_.empty() && (at = text.find(literal_, done)) != text.npos;)
    done = push_match(out, done, at, at + literal_.size());
  push_match(out, done, text.size(), text.size());
}

std::string Pattern::replace(std::string_view text, std::string_view content, size_t most) const {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  if (literal_.size() == 1) {
    size_t done = 0;
    for (size_t at; (at = text.find(literal_[0], done)) != text.npos && out.size() <= most;
         done = at + 1) {
      out.append(text, done, at - done);
      out += content;
    }
    return out += text.substr(done);
  }
  std::vector<Range> ranges;
  cut(text, ranges);
  for (const Range& range : ranges) {
    if (out.size() > most) break;
    out += range.match ? content : text.substr(range.begin, range.end - range.begin);
  }
  return out;
}

}  // namespace levanter::text::hf
