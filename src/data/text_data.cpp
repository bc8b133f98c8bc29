// The texts of a run as tokens in memory, and the datasets for training and validation on them.
#include "data/text_data.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/strings.h"
#include "data/combinators.h"
#include "data/text_file.h"

namespace levanter::data {
namespace {

std::string key_of(const TextComponent& component, std::string_view field) {
  return cat("data.components.", component.name, ".", field);
}

struct Texts {
  std::vector<std::string> train, validation;
};

Texts read_texts(const TextComponent& component) {
  const double fraction = component.validation_fraction;
  if (!(fraction >= 0 && fraction < 1))
    throw Error(ErrorKind::kConfig, cat(key_of(component, "validation_fraction"), " = ", fraction,
                                        " is not a share of a text"))
        .allowed("from 0 to below 1");
  if (fraction > 0 && !component.validation.empty())
    throw Error(ErrorKind::kConfig, cat("component ", quote(component.name),
                                        " has both validation files and a validation_fraction"))
        .hint("keep one of the two");
  Texts texts;
  for (const std::string& path : component.train)
    texts.train.push_back(read_text_file(path, key_of(component, "train")));
  for (const std::string& path : component.validation)
    texts.validation.push_back(read_text_file(path, key_of(component, "validation")));
  return texts;
}

using Documents = std::vector<std::vector<int32_t>>;

Documents encode_all(const text::Tokenizer& tokenizer, std::span<const std::string> texts,
                     std::span<const std::string> paths) {
  Documents documents;
  for (size_t i = 0; i < texts.size(); ++i)
    documents.push_back(tokenizer.encode({texts[i], paths[i]}));
  return documents;
}

/// Tokens [begin, end) of the documents taken as one row.
std::shared_ptr<const TokenStream> make_stream(const Documents& documents, int64_t begin,
                                               int64_t end, int64_t vocab_size) {
  auto stream = std::make_shared<TokenStream>(vocab_size);
  int64_t start = 0;
  for (const std::vector<int32_t>& document : documents) {
    const auto size = static_cast<int64_t>(document.size());
    const int64_t from = std::clamp<int64_t>(begin - start, 0, size);
    const int64_t to = std::clamp<int64_t>(end - start, 0, size);
    stream->append(std::span(document).subspan(
        static_cast<size_t>(from), static_cast<size_t>(std::max<int64_t>(0, to - from))));
    start += size;
  }
  return stream;
}

int64_t total_size(const Documents& documents) {
  int64_t total = 0;
  for (const std::vector<int32_t>& document : documents)
    total += static_cast<int64_t>(document.size());
  return total;
}

[[noreturn]] void throw_too_short(std::string_view split, const TextComponent& component,
                                  int64_t tokens, int64_t seq_len, std::string hint) {
  throw Error(ErrorKind::kData,
              cat("the ", split, " text of component ", quote(component.name), " has ",
                  format_count(tokens), " tokens, less than one window of ",
                  format_count(seq_len + 1), " (the sequence length and one)"))
      .at(cat("data.components.", component.name))
      .hint(std::move(hint));
}

void check_train_length(const TextComponent& component, const TokenStream& stream,
                        int64_t seq_len) {
  if (component.train.empty() || stream.size() > seq_len) return;
  throw_too_short("training", component, stream.size(), seq_len,
                  "give a longer text or shorten model.max_seq_len");
}

void check_validation_length(const TextComponent& component, const TokenStream& stream,
                             int64_t train_tokens, int64_t seq_len) {
  if (stream.size() > seq_len) return;
  const int64_t all = train_tokens + stream.size();
  std::string hint = "give a longer text or shorten model.max_seq_len";
  if (component.validation.empty() && all > 2 * (seq_len + 1)) {
    const double enough =
        std::ceil(1000.0 * static_cast<double>(seq_len + 1) / static_cast<double>(all)) / 1000;
    hint = cat("raise ", key_of(component, "validation_fraction"), " to ", enough,
               ", give a longer text, or shorten model.max_seq_len");
  }
  throw_too_short("validation", component, stream.size(), seq_len, std::move(hint));
}

}  // namespace

int64_t training_tokens(int64_t n, double fraction) {
  constexpr int64_t kBillion = 1'000'000'000;
  const auto held = static_cast<int64_t>(fraction * static_cast<double>(kBillion) + 0.5);
  __extension__ using Wide = __int128;
  return static_cast<int64_t>(static_cast<Wide>(n) * (kBillion - held) / kBillion);
}

TextData::TextData(std::span<const TextComponent> components, const text::TokenizerEntry& kind,
                   const TokenizerConfig& tokenizer, std::shared_ptr<const text::Tokenizer> saved)
    : tokenizer_(std::move(saved)) {
  std::vector<Texts> texts;
  for (const TextComponent& component : components) texts.push_back(read_texts(component));
  if (tokenizer_ == nullptr) {
    std::vector<text::NamedText> all;
    for (size_t c = 0; c < texts.size(); ++c) {
      for (size_t i = 0; i < texts[c].train.size(); ++i)
        all.push_back({texts[c].train[i], components[c].train[i]});
      for (size_t i = 0; i < texts[c].validation.size(); ++i)
        all.push_back({texts[c].validation[i], components[c].validation[i]});
    }
    tokenizer_ = kind.make(tokenizer, all);
  }
  const int64_t vocab_size = tokenizer_->vocab_size();
  for (size_t c = 0; c < components.size(); ++c) {
    const TextComponent& spec = components[c];
    const Documents train = encode_all(*tokenizer_, texts[c].train, spec.train);
    Documents held = encode_all(*tokenizer_, texts[c].validation, spec.validation);
    texts[c] = {};
    const int64_t size = total_size(train);
    const int64_t cut = training_tokens(size, spec.validation_fraction);
    components_.push_back({spec, make_stream(train, 0, cut, vocab_size),
                           held.empty() ? make_stream(train, cut, size, vocab_size)
                                        : make_stream(held, 0, total_size(held), vocab_size)});
  }
}

int64_t TextData::train_tokens() const {
  int64_t total = 0;
  for (const Component& component : components_) total += component.train->size();
  return total;
}

int64_t TextData::validation_tokens() const {
  int64_t total = 0;
  for (const Component& component : components_) total += component.validation->size();
  return total;
}

ExampleSource TextData::training(const TrainingOptions& options) const {
  struct Stream {
    std::string name;
    std::shared_ptr<const TokenStream> tokens;
  };
  std::vector<Stream> streams;
  ExampleSource source;
  for (const Component& component : components_) {
    if (component.spec.train.empty()) continue;
    check_train_length(component.spec, *component.train, options.seq_len);
    streams.push_back({component.spec.name, component.train});
    source.epoch_length += training_plan(*component.train, options.seq_len, options.key).count;
    source.one_segment = source.one_segment && component.train->num_documents() == 1;
  }
  if (streams.empty())
    throw Error(ErrorKind::kData, "there is no text to train on")
        .hint("name files under data.components.<name>.train");

  // The same construction twice: once with the examples, once with their sums of loss weights.
  const auto endless =
      [&]<class T>(DatasetPtr<T> (*cut)(std::shared_ptr<const TokenStream>, WindowPlan)) {
        return epochs<T>(source.epoch_length, [streams, options, cut](int64_t epoch) {
          const Key key = fold_in(options.key, static_cast<uint32_t>(epoch));
          std::vector<DatasetPtr<T>> parts;
          for (const Stream& stream : streams) {
            const Key offset_key = fold_in(fold_in(key, "offset"), stream.name);
            parts.push_back(
                cut(stream.tokens, training_plan(*stream.tokens, options.seq_len, offset_key)));
          }
          DatasetPtr<T> all = concat(std::move(parts));
          return options.shuffle ? shuffle(std::move(all), fold_in(key, "shuffle")) : all;
        });
      };
  source.examples = endless(&windows);
  source.loss_tokens = endless(&window_loss_tokens);
  return source;
}

std::vector<std::string> TextData::validation_names() const {
  std::vector<std::string> names;
  for (const Component& component : components_)
    if (component.spec.validation_fraction > 0 || !component.spec.validation.empty())
      names.push_back(component.spec.name);
  return names;
}

ExampleSource TextData::validation(std::string_view name, int64_t seq_len) const {
  const auto component = std::find_if(components_.begin(), components_.end(),
                                      [&](const Component& c) { return c.spec.name == name; });
  LEV_CHECK(component != components_.end(), "no component has that name");
  const std::shared_ptr<const TokenStream>& stream = component->validation;
  check_validation_length(component->spec, *stream, component->train->size(), seq_len);
  const WindowPlan plan = evaluation_plan(*stream, seq_len);
  return {windows(stream, plan), window_loss_tokens(stream, plan), plan.count,
          stream->num_documents() == 1};
}

void TextData::check_lengths(int64_t seq_len) const {
  for (const Component& component : components_)
    check_train_length(component.spec, *component.train, seq_len);
  for (const std::string& name : validation_names()) validation(name, seq_len);
}

}  // namespace levanter::data
