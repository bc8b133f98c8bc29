// The texts of a run as tokens in memory, and the datasets for training and validation on them.
#include "data/text_data.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/strings.h"
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

std::shared_ptr<const TokenStream> stream_of(const Documents& documents, int64_t vocab_size) {
  auto stream = std::make_shared<TokenStream>(vocab_size);
  for (const std::vector<int32_t>& document : documents) stream->append(document);
  return stream;
}

/// How many tokens of the training stream train; packs are not torn.
int64_t cut_of(const TextComponent& spec, const TokenStream& stream) {
  const int64_t size = stream.size();
  const int64_t cut = spec.validation_tokens > 0
                          ? std::max<int64_t>(0, size - spec.validation_tokens)
                          : training_tokens(size, spec.validation_fraction);
  if (!spec.rows.pack) return cut;
  const std::vector<int64_t> after = stream.document_starts(cut, size);
  return after.empty() ? size : after.front();
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
  if (component.train.empty() || component.rows.pack || stream.size() > seq_len) return;
  throw_too_short("training", component, stream.size(), seq_len,
                  "give a longer text or shorten model.max_seq_len");
}

void check_validation_length(const TextComponent& component, const TokenStream& stream,
                             int64_t train_tokens, int64_t seq_len) {
  if (stream.size() > seq_len || (component.rows.pack && stream.size() > 0)) return;
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
    auto train = stream_of(encode_all(*tokenizer_, texts[c].train, spec.train), vocab_size);
    auto held =
        stream_of(encode_all(*tokenizer_, texts[c].validation, spec.validation), vocab_size);
    texts[c] = {};
    if (spec.validation.empty()) {
      const int64_t size = train->size(), cut = cut_of(spec, *train);
      held = TokenStream::part(train, cut, size);
      train = TokenStream::part(train, 0, cut);
    }
    components_.push_back({spec, {spec.name, std::move(train), std::move(held), spec.rows}});
  }
}

int64_t TextData::train_tokens() const {
  int64_t total = 0;
  for (const Component& component : components_) total += component.streams.train->size();
  return total;
}

int64_t TextData::validation_tokens() const {
  int64_t total = 0;
  for (const Component& component : components_) total += component.streams.validation->size();
  return total;
}

ExampleSource TextData::training(const TrainingOptions& options) const {
  std::vector<ComponentStreams> streams;
  for (const Component& component : components_) {
    if (component.spec.train.empty()) continue;
    check_train_length(component.spec, *component.streams.train, options.seq_len);
    streams.push_back(component.streams);
  }
  return training_rows(streams, options);
}

std::vector<std::string> TextData::validation_names() const {
  std::vector<std::string> names;
  for (const Component& component : components_)
    if (component.spec.validation_fraction > 0 || component.spec.validation_tokens > 0 ||
        !component.spec.validation.empty())
      names.push_back(component.spec.name);
  return names;
}

const TextData::Component& TextData::component(std::string_view name) const {
  const auto found = std::find_if(components_.begin(), components_.end(),
                                  [&](const Component& c) { return c.spec.name == name; });
  LEV_CHECK(found != components_.end(), "no component has that name");
  return *found;
}

const std::vector<std::string>& TextData::tags(std::string_view name) const {
  return component(name).spec.tags;
}

ExampleSource TextData::validation(std::string_view name, int64_t seq_len) const {
  const auto& [spec, streams] = component(name);
  check_validation_length(spec, *streams.validation, streams.train->size(), seq_len);
  return validation_rows(streams, seq_len);
}

void TextData::check_lengths(int64_t seq_len) const {
  for (const Component& component : components_)
    check_train_length(component.spec, *component.streams.train, seq_len);
  for (const std::string& name : validation_names()) validation(name, seq_len);
}

}  // namespace levanter::data
