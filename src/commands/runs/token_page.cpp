// A page that shows documents as a model sees them.
#include "commands/runs/token_page.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "commands/loaded_model.h"
#include "data/files/json_fields.h"
#include "data/files/source.h"
#include "report/page.h"
#include "report/texts.h"
#include "text/growing_text.h"
#include "text/utf8.h"

namespace levanter::commands {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostDocuments = 16;
constexpr size_t kMostOfCharacter = 8;  // tokens that may make one character
constexpr size_t kAlternatives = 5;
constexpr double kDigits = 1e4;  // of a probability's logarithm

double rounded(double value) { return std::round(value * kDigits) / kDigits; }

/// What each token adds to the text; of tokens that make one character together the last has it.
std::vector<std::string> pieces_of(const text::Tokenizer& tokenizer, std::span<const int32_t> ids) {
  std::vector<std::string> pieces;
  for (size_t begin = 0; begin < ids.size();) {
    text::GrowingText growing(tokenizer, {},
                              begin > 0 ? std::optional(ids[begin - 1]) : std::nullopt);
    size_t end = begin;
    do {
      growing.update(ids.subspan(begin, ++end - begin));
    } while (growing.settled().size() < growing.text().size() && end < ids.size() &&
             end - begin < kMostOfCharacter);
    pieces.resize(end - 1);
    pieces.push_back(growing.text());
    begin = end;
  }
  return pieces;
}

/// One token as a list shows it.
std::string token_text(const text::Tokenizer& tokenizer, int32_t id) {
  return tokenizer.decode(std::span(&id, 1));
}

/// What the model thought of the token that came: [log-probability, entropy, rank, [[text, p]...]].
Json judged(std::span<const float> logits, int32_t id, const text::Tokenizer& tokenizer) {
  const auto vocab = std::min<size_t>(logits.size(), static_cast<size_t>(tokenizer.vocab_size()));
  double most = logits[0], sum = 0, weighted = 0;
  for (const float x : logits) most = std::max(most, static_cast<double>(x));
  for (const float x : logits) {
    const double e = std::exp(static_cast<double>(x) - most);
    sum += e;
    weighted += e * (static_cast<double>(x) - most);
  }
  const double log_sum = most + std::log(sum);
  const float own = logits[static_cast<size_t>(id)];
  const auto above = std::count_if(logits.begin(), logits.end(), [&](float x) { return x > own; });
  std::vector<int32_t> order(vocab);
  std::iota(order.begin(), order.end(), 0);
  const auto shown = static_cast<std::ptrdiff_t>(std::min(kAlternatives, vocab));
  const auto logit = [&](int32_t i) { return logits[static_cast<size_t>(i)]; };
  std::partial_sort(order.begin(), order.begin() + shown, order.end(), [&](int32_t a, int32_t b) {
    return logit(a) != logit(b) ? logit(a) > logit(b) : a < b;
  });
  Json likeliest = Json::array();
  for (const int32_t i : std::span(order).first(static_cast<size_t>(shown)))
    likeliest.push_back({token_text(tokenizer, i), rounded(std::exp(logit(i) - log_sum))});
  return {rounded(own - log_sum), rounded(std::log(sum) - weighted / sum), above + 1,
          std::move(likeliest)};
}

/// Reads a document token by token. Where the window is full its older half is forgotten.
Json read_document(LoadedModel& m, std::span<const int32_t> ids) {
  const std::vector<std::string> pieces = pieces_of(*m.tokenizer, ids);
  const auto window = static_cast<size_t>(m.model->max_seq_len());
  m.model->begin_decoding(1, static_cast<int64_t>(window));
  Json tokens = Json::array();
  std::span<const float> logits;
  size_t held = 0;  // tokens in the window
  for (size_t i = 0; i < ids.size(); ++i) {
    Json token = {pieces[i].empty() ? token_text(*m.tokenizer, ids[i]) : pieces[i]};
    if (i > 0) token.push_back(judged(logits, ids[i], *m.tokenizer));
    tokens.push_back(std::move(token));
    if (i == 0 || held == window) {
      held = i == 0 ? 1 : std::max<size_t>(window / 2, 1);
      logits = m.model->decode_text(0, ids.subspan(i + 1 - held, held));
    } else {
      logits = m.model->decode_next(ids.subspan(i, 1));
      ++held;
    }
  }
  return tokens;
}

/// The documents of a file as ids, at most kMostDocuments of them.
std::vector<std::vector<int32_t>> read_ids(const LoadedModel& m, const std::string& path) {
  std::vector<std::vector<int32_t>> documents;
  data::RecordReader reader(path);
  data::JsonFields fields;
  while (documents.size() < kMostDocuments) {
    const auto record = reader.next();
    if (!record) break;
    std::string_view text = record->content;
    if (reader.form() != data::RecordForm::kText) {
      fields.parse(*record);
      text = fields.string("text");
    }
    std::vector<int32_t> ids =
        m.tokenizer->add_special(m.tokenizer->encode({text, record->origin()}));
    require_rows(m, ids, record->origin());
    documents.push_back(std::move(ids));
  }
  return documents;
}

}  // namespace

std::string token_page(const std::string& checkpoint, const std::string& documents, int64_t most) {
  LoadedModel m = load_model(checkpoint, "", {}, {.rows = 1});
  for (const std::string& problem : m.problems) std::fprintf(stderr, "%s\n", problem.c_str());
  require_memory(m);
  std::vector<std::vector<int32_t>> texts = read_ids(m, documents);
  if (texts.empty())
    throw Error(ErrorKind::kData, "there is no document to show")
        .at(documents)
        .hint("a text, or lines {\"text\": \"...\"}");
  Json all = Json::array();
  int64_t left_out = 0;
  for (std::vector<int32_t>& ids : texts) {
    left_out += std::max<int64_t>(std::ssize(ids) - most, 0);
    ids.resize(std::min(ids.size(), static_cast<size_t>(most)));
    all.push_back(read_document(m, ids));
  }
  std::string body = cat(
      "<h1>", report::html(m.config.run_id()), "</h1>\n<p class=\"soft\">Step ",
      format_count(m.step), " of ", report::html(m.folder),
      ". Each token is coloured by how little it was expected: the stronger, the smaller its "
      "probability after the tokens before it. Point at one, or walk with the arrow keys.</p>\n");
  if (left_out > 0)
    body += cat("<div class=\"notes\"><p>", count_of(left_out, "token"),
                " left out: --tokens N shows more of each document</p></div>\n");
  if (texts.size() == kMostDocuments)
    body += cat("<div class=\"notes\"><p>Only the first ", kMostDocuments,
                " documents are shown.</p></div>\n");
  body +=
      "<p><button type=\"button\" class=\"scale\" id=\"what\" aria-pressed=\"false\">colour by "
      "entropy</button></p>\n<main id=\"documents\"></main>\n"
      "<div id=\"about\" aria-live=\"polite\"></div>\n";
  return report::whole_page(cat("tokens - ", m.config.run_id()), body,
                            all.dump(-1, ' ', false, Json::error_handler_t::replace),
                            report::tokens_script());
}

}  // namespace levanter::commands
