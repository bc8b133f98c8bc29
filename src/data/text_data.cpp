// The texts of a run as tokens in memory, and the datasets for training and validation on them.
#include "data/text_data.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/strings.h"
#include "base/files.h"
#include "data/globs.h"
#include "data/source.h"

namespace levanter::data {
namespace {

std::string key_of(const TextComponent& component, std::string_view field) {
  return cat("data.components.", component.name, ".", field);
}

void require_split(const TextComponent& component) {
  const double fraction = component.validation_fraction;
  if (!(fraction >= 0 && fraction < 1))
    throw Error(ErrorKind::kConfig, cat(key_of(component, "validation_fraction"), " = ", fraction,
                                        " is not a share of a text"))
        .allowed("from 0 to below 1");
  if (fraction > 0 && !component.validation.empty())
    throw Error(ErrorKind::kConfig, cat("component ", quote(component.name),
                                        " has both validation files and a validation_fraction"))
        .hint("keep one of the two");
}

std::vector<std::string> files_of(std::span<const std::string> patterns, const std::string& key) {
  std::vector<std::string> files;
  for (const std::string& pattern : patterns)
    for (std::string& file : expand_globs(pattern, key)) files.push_back(std::move(file));
  return files;
}

/// All texts of some files, as a tokenizer whose vocabulary comes from them wants them.
void read_texts(std::span<const std::string> files, const FormatConfig& format,
                const std::string& component, std::vector<std::string>& texts,
                std::vector<std::string>& origins) {
  for (const std::string& file : files) {
    RecordReader reader(file);
    while (const std::optional<Record> record = reader.next()) {
      const FormatRecord one{*record, reader.form() != RecordForm::kText};
      std::optional<std::string> text = format.text_of(one);
      if (!text)
        throw Error(ErrorKind::kConfig,
                    cat("component ", quote(component),
                        " has a format that a vocabulary of characters can't be taken from"))
            .at(cat("data.components.", component, ".format"))
            .hint("use format = \"text\", or a tokenizer with a vocabulary of its own");
      texts.push_back(std::move(*text));
      origins.push_back(one.origin());
    }
  }
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

std::shared_ptr<const text::Tokenizer> make_tokenizer(std::span<const TextComponent> components,
                                                      const TextDataOptions& options) {
  if (options.saved != nullptr) return options.saved;
  std::vector<std::string> texts, origins;
  if (options.kind->reads_texts)
    for (const TextComponent& c : components)
      for (const auto* patterns : {&c.train, &c.validation})
        read_texts(files_of(*patterns, key_of(c, patterns == &c.train ? "train" : "validation")),
                   c.format ? *c.format : *default_format(), c.name, texts, origins);
  std::vector<text::NamedText> named;
  for (size_t i = 0; i < texts.size(); ++i) named.push_back({texts[i], origins[i]});
  const TokenizerConfig defaults;
  return options.kind->make(options.tokenizer ? *options.tokenizer : defaults, named);
}

void TextData::throw_too_large(const TextComponent& spec) const {
  throw Error(ErrorKind::kDevice, cat("the texts take more than a third of the memory as tokens: ",
                                      format_bytes(kept_bytes_), " of ",
                                      format_bytes(options_.memory_bytes), " so far"))
      .at(cat("data.components.", spec.name))
      .hint("set data.cache_dir: tokens then lie on disk");
}

std::shared_ptr<const TokenStream> TextData::open(const TextComponent& spec,
                                                  const std::string& split,
                                                  std::span<const std::string> files,
                                                  ThreadPool& pool) {
  const DocumentRules rules{tokenizer_.get(), options_.enforce_bos, options_.enforce_eos};
  const std::string name = cat(spec.name, "/", split);
  if (options_.cache_dir.empty() || files.empty()) {
    auto stream = std::make_shared<TokenStream>(tokenizer_->vocab_size());
    if (files.empty()) return stream;
    encode_files(files, 0, *spec.format, rules, pool,
                 [&](std::span<const Document> documents, int64_t) {
                   for (const Document& d : documents) {
                     kept_bytes_ += static_cast<int64_t>(4 * (d.tokens.size() + d.weights.size()));
                     stream->append(d.tokens, d.weights);
                   }
                   if (kept_bytes_ > options_.memory_bytes / 3) throw_too_large(spec);
                 });
    digests_.push_back({name, stream->digest(pool)});
    return stream;
  }
  const CacheJob job{name,
                     join_path(join_path(options_.cache_dir, spec.name), split),
                     {files.begin(), files.end()}};
  const CacheIdentity identity = cache_identity(job, *spec.format, rules, pool);
  if (options_.build_caches) build_cache(job, identity, *spec.format, rules, pool, options_.report);
  auto [stream, digest] = open_cache(job.folder, identity, pool);
  digests_.push_back({name, std::move(digest)});
  return stream;
}

TextData::TextData(std::span<const TextComponent> given, const TextDataOptions& options)
    : options_(options) {
  std::vector<TextComponent> components(given.begin(), given.end());
  for (TextComponent& spec : components) {
    require_split(spec);
    if (!spec.format) spec.format = default_format();
  }
  tokenizer_ = make_tokenizer(components, options_);
  ThreadPool pool(options_.threads);
  for (const TextComponent& spec : components) {
    auto train = open(spec, "train", files_of(spec.train, key_of(spec, "train")), pool);
    auto held =
        open(spec, "validation", files_of(spec.validation, key_of(spec, "validation")), pool);
    if (spec.validation.empty()) {
      const int64_t size = train->size(), cut = cut_of(spec, *train);
      held = TokenStream::part(train, cut, size);
      train = TokenStream::part(train, 0, cut);
    }
    components_.push_back({spec, {spec.name, std::move(train), std::move(held), spec.rows}});
  }
  keep_chat_template();
}

/// What the model learns to speak by goes with the tokenizer, wherever that is saved.
void TextData::keep_chat_template() {
  for (const Component& component : components_) {
    const auto named = component.spec.format->chat_template();
    if (!named) continue;
    if (auto told = tokenizer_->with_chat_template(*named)) tokenizer_ = std::move(told);
    return;
  }
}

std::vector<const ComponentStreams*> TextData::components() const {
  std::vector<const ComponentStreams*> all;
  for (const Component& component : components_) all.push_back(&component.streams);
  return all;
}

int64_t TextData::total(std::shared_ptr<const TokenStream> ComponentStreams::*split) const {
  int64_t tokens = 0;
  for (const Component& component : components_) tokens += (component.streams.*split)->size();
  return tokens;
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
