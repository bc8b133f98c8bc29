// The texts of a run as tokens in memory, and the datasets for training and validation on them.
#include "data/text_data.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/strings.h"
#include "base/files.h"
#include "data/files/globs.h"
#include "data/files/source.h"
#include "text/utf8.h"

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

/// The files of a split: "train" or "validation".
std::vector<std::string> files_of(const TextComponent& component, std::string_view split) {
  std::vector<std::string> files;
  for (const std::string& pattern : split == "train" ? component.train : component.validation)
    for (std::string& file : expand_globs(pattern, key_of(component, split)))
      files.push_back(std::move(file));
  return files;
}

/// All texts of a file, as a tokenizer whose vocabulary comes from them wants them.
void read_texts(const std::string& file, const TextComponent& component,
                std::vector<std::string>& texts, std::vector<std::string>& origins) {
  RecordReader reader(file);
  while (const std::optional<Record> record = reader.next()) {
    const FormatRecord one{*record, reader.form() != RecordForm::kText};
    std::optional<std::string> text =
        (component.format ? *component.format : *default_format()).text_of(one);
    if (!text)
      throw Error(ErrorKind::kConfig,
                  cat("component ", quote(component.name),
                      " has a format that a vocabulary of characters can't be taken from"))
          .at(key_of(component, "format"))
          .hint("use format = \"text\", or a tokenizer with a vocabulary of its own");
    texts.push_back(std::move(*text));
    origins.push_back(one.origin());
  }
}

/// How many tokens of the training stream train; packs and pairs are not torn.
int64_t cut_of(const TextComponent& spec, const TokenStream& stream) {
  const int64_t size = stream.size();
  const int64_t cut = spec.validation_tokens > 0
                          ? std::max<int64_t>(0, size - spec.validation_tokens)
                          : training_tokens(size, spec.validation_fraction);
  if (!spec.rows.pack) return cut;
  int64_t document = stream.documents_begun(0, cut);
  if (spec.rows.pairs()) document += document % 2;
  return document < stream.num_documents() ? stream.document_start(document) : size;
}

[[noreturn]] void throw_too_short(std::string_view split, const TextComponent& component,
                                  int64_t tokens, int64_t seq_len, std::string hint) {
  throw Error(ErrorKind::kData,
              cat("the ", split, " text of component ", quote(component.name), " has ",
                  count_of(tokens, "token"), ", less than one window of ",
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
  if (component.rows.pack)
    throw Error(ErrorKind::kData,
                cat("component ", quote(component.name), " has no ",
                    component.rows.pairs() ? "pair" : component.noun, " to validate with"))
        .at(cat("data.components.", component.name))
        .hint(component.validation.empty()
                  ? cat("raise ", key_of(component, "validation_fraction"), " until it holds one")
                  : "give it one, or leave out the files to validate with");
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

namespace {

/// Keeps a pipe, whose text the tokenizer is made of before it is read again as tokens.
void keep_input(const std::string& file, const std::string& key, const TextDataOptions& options,
                std::unique_ptr<StandardInputCopy>* input) {
  if (input == nullptr)
    throw Error(ErrorKind::kConfig, cat("the vocabulary is that of the text at ", key,
                                        ", a pipe, which only training reads"))
        .at("model.vocab_size")
        .hint("set model.vocab_size");
  if (!is_standard_input(file))
    throw Error(ErrorKind::kData,
                cat(key,
                    " names a pipe, which can be read only once, and the tokenizer's "
                    "vocabulary is taken from the texts before they become tokens"))
        .at(file)
        .hint("write \"-\" and pipe the text into the standard input");
  require_standard_input(key,
                         "the tokenizer's vocabulary is taken from this text: pipe it in, as in "
                         "zcat text.gz | levanter train --config FILE");
  *input = std::make_unique<StandardInputCopy>(options.memory_bytes / 3);
}

}  // namespace

std::shared_ptr<const text::Tokenizer> make_tokenizer(std::span<const TextComponent> components,
                                                      const TextDataOptions& options,
                                                      std::unique_ptr<StandardInputCopy>* input) {
  if (options.saved != nullptr) return options.saved;
  std::vector<std::string> texts, origins;
  if (options.kind->reads_texts)
    for (const TextComponent& c : components)
      for (const char* split : {"train", "validation"})
        for (const std::string& file : files_of(c, split)) {
          if (is_pipe(file)) keep_input(file, key_of(c, split), options, input);
          read_texts(file, c, texts, origins);
        }
  if (input && *input) (*input)->rewind();
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

DocumentRules TextData::rules() const {
  return {tokenizer_.get(), options_.enforce_bos, options_.enforce_eos};
}

/// The tokens of some files in memory.
std::shared_ptr<const TokenStream> TextData::tokenise(const TextComponent& spec,
                                                      const std::string& split,
                                                      std::span<const std::string> files,
                                                      ThreadPool& pool) {
  auto stream = std::make_shared<TokenStream>(tokenizer_->vocab_size());
  if (files.empty()) return stream;
  const EncodeStatus status = encode_files(
      files, 0, *spec.format, rules(), pool,
      [&](std::span<const Document> documents, const RecordCounts& read) {
        read_[spec.name] += read;
        for (const Document& d : documents) {
          kept_bytes_ += static_cast<int64_t>(4 * (d.tokens.size() + d.weights.size()));
          stream->append(d.tokens, d.weights);
        }
        if (kept_bytes_ > options_.memory_bytes / 3) throw_too_large(spec);
      },
      {}, options_.on_bad_record);
  if (status.bad.count > 0)
    notes_.push_back(cat(spec.name, "/", split, ": ", status.bad.describe()));
  if (status.replaced > 0)
    notes_.push_back(cat(spec.name, "/", split, ": ", text::describe_replaced(status.replaced)));
  digests_.push_back({cat(spec.name, "/", split), stream->digest(pool)});
  return stream;
}

std::shared_ptr<const TokenStream> TextData::open(const TextComponent& spec,
                                                  const std::string& split, ThreadPool& pool) {
  const std::vector<std::string> files = files_of(spec, split);
  const bool piped = std::any_of(files.begin(), files.end(), is_standard_input);
  if (options_.cache_dir.empty() || files.empty()) {
    if (piped)
      require_standard_input(key_of(spec, split),
                             "pipe the text in, as in zcat text.gz | levanter train --config FILE; "
                             "without data.cache_dir every start needs it");
    return tokenise(spec, split, files, pool);
  }
  const CacheJob job{cat(spec.name, "/", split),
                     join_path(join_path(options_.cache_dir, spec.name), split),
                     files,
                     {options_.crew, spec.name}};
  if (piped && options_.build_caches && !has_cache(job.folder))
    require_standard_input(key_of(spec, split),
                           cat("pipe the text in from its beginning, as in zcat text.gz | levanter "
                               "train --config FILE: the cache ",
                               job.folder, " is not complete"));
  if (options_.checked_caches) {
    OpenedCache known = open_known_cache(job.folder);
    read_[spec.name] += known.read;
    digests_.push_back({job.name, std::move(known.digest)});
    return known.stream;
  }
  const CacheIdentity identity = cache_identity(job, *spec.format, rules(), pool);
  const bool made = options_.build_caches && build_cache(job, identity, *spec.format, rules(), pool,
                                                         options_.report, options_.on_bad_record);
  if (piped && !made && offers_standard_input())
    notes_.push_back(cat(job.name, " comes from its token cache, not from the standard input"));
  for (const std::string& file : files)
    if (is_pipe(file) && !is_standard_input(file) && !made)
      notes_.push_back(cat(job.name, " comes from its token cache, not from the pipe ", file));
  auto [stream, digest, read] = open_cache(job.folder, identity, pool);
  const int64_t bad = read.bad;
  read_[spec.name] += read;
  if (bad > 0 && options_.on_bad_record == OnBadRecord::kFail)
    throw Error(ErrorKind::kData, cat("the token cache was made without ", count_of(bad, "record"),
                                      " that ", bad == 1 ? "was" : "were", " bad"))
        .at(job.folder)
        .hint(
            "set data.on_bad_record = \"skip\", or mend the text, remove the folder and make the "
            "cache anew");
  if (bad > 0 && !made)
    notes_.push_back(
        cat(job.name, ": ", count_of(bad, "bad record"), " left out when the cache was made"));
  if (read.replaced > 0 && !made)
    notes_.push_back(
        cat(job.name, ": ", text::describe_replaced(read.replaced), " when the cache was made"));
  digests_.push_back({job.name, std::move(digest)});
  return stream;
}

TextData::TextData(std::span<const TextComponent> given, const TextDataOptions& options)
    : options_(options) {
  std::vector<TextComponent> components(given.begin(), given.end());
  for (TextComponent& spec : components) {
    require_split(spec);
    if (!spec.format) spec.format = default_format();
  }
  tokenizer_ = make_tokenizer(components, options_, &input_);
  ThreadPool pool(options_.threads);
  for (const TextComponent& spec : components) {
    const bool held_out = spec.validation_fraction > 0 || spec.validation_tokens > 0;
    auto train = options_.held_out_only && !held_out
                     ? std::make_shared<const TokenStream>(tokenizer_->vocab_size())
                     : open(spec, "train", pool);
    auto held = open(spec, "validation", pool);
    if (spec.validation.empty()) {
      const int64_t size = train->size(), cut = cut_of(spec, *train);
      held = TokenStream::part(train, cut, size);
      train = TokenStream::part(train, 0, cut);
    }
    components_.push_back({spec, {spec.name, std::move(train), std::move(held), spec.rows}});
  }
  input_.reset();
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
    streams.push_back(with_references(component));
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

void TextData::keep_references(std::string_view name, Split split,
                               std::shared_ptr<const TokenValues> references) const {
  const std::lock_guard lock(references_mutex_);
  references_[{std::string(name), split}] = std::move(references);
}

ComponentStreams TextData::with_references(const Component& component) const {
  ComponentStreams streams = component.streams;
  const std::lock_guard lock(references_mutex_);
  const auto of = [&](Split split) {
    const auto found = references_.find({streams.name, split});
    return found == references_.end() ? nullptr : found->second;
  };
  streams.train_references = of(Split::kTrain);
  streams.validation_references = of(Split::kValidation);
  return streams;
}

const std::vector<std::string>& TextData::tags(std::string_view name) const {
  return component(name).spec.tags;
}

ExampleSource TextData::validation(std::string_view name, int64_t seq_len) const {
  const auto& [spec, streams] = component(name);
  check_validation_length(spec, *streams.validation, streams.train->size(), seq_len);
  return validation_rows(with_references(component(name)), seq_len);
}

/// Throws the error of documents that are longer than a packed row.
void TextData::refuse_too_long(const Component& component, const std::string& split,
                               int64_t seq_len) const {
  const auto& [spec, streams] = component;
  if (!spec.rows.pack || spec.rows.pack->too_long != TooLong::kRefuse) return;
  const TokenStream& stream = split == "train" ? *streams.train : *streams.validation;
  PackOptions pack = *spec.rows.pack;
  pack.seq_len = seq_len;
  const int64_t unit = pack.pairs ? 2 : 1, most = seq_len + unit;
  const auto size = [&](int64_t d) {
    return stream.document_start(d + unit) - stream.document_start(d);
  };
  int64_t first = -1, count = 0;
  for (int64_t d = 0; d < stream.num_documents(); d += unit) {
    if (!is_too_long(stream, d, pack)) continue;
    if (count++ == 0) first = d;
  }
  if (count == 0) return;
  const std::string noun = pack.pairs ? "pair" : spec.noun;
  const bool is_end = split == "validation" && spec.validation.empty();
  ThreadPool pool(options_.threads);
  std::string place = find_document(files_of(spec, is_end ? "train" : split),
                                    first + (is_end ? streams.train->num_documents() : 0),
                                    *spec.format, rules(), pool);
  if (place.empty()) place = cat(key_of(spec, split), ", ", noun, " ", first / unit + 1);
  throw Error(
      ErrorKind::kData,
      cat(count == 1
              ? "a "
              : cat(format_count(count), " of ", format_count(stream.num_documents() / unit), " "),
          noun, count == 1 ? "" : "s", " to ", split == "train" ? "train" : "validate", " on ",
          count == 1 ? "has " : "have ", "more tokens than a row of ", format_count(most),
          pack.pairs ? " (the sequence length and one for each answer); "
                     : " (the sequence length and one); ",
          count == 1 ? "it has " : "the first has ", format_count(size(first)),
          pack.pairs ? ", both answers with their prompts" : ""))
      .at(std::move(place))
      .hint(cat("raise model.max_seq_len, or say with ", key_of(spec, "too_long"),
                " which part to keep"));
}

/// Throws the error of weighted texts of which nothing is left to learn.
void TextData::require_targets(const Component& component, const std::string& split,
                               int64_t seq_len) const {
  const auto& [spec, streams] = component;
  const TokenStream& stream = split == "train" ? *streams.train : *streams.validation;
  if (stream.size() == 0 || !stream.weighted()) return;
  const RowCounts counts = count_documents(stream, spec.rows, seq_len);
  if (counts.learned > 0) return;
  const bool keeps_tail = spec.rows.pack && spec.rows.pack->too_long == TooLong::kKeepTail;
  throw Error(ErrorKind::kData,
              cat("no token of ", spec.name, "/", split, " is a target: nothing of its ",
                  count_of(counts.documents, spec.noun), " would be ",
                  split == "train" ? "learned" : "scored"))
      .at(key_of(spec, split))
      .hint(cat("what is learned must lie within the ", format_count(seq_len + 1),
                " tokens of a row: raise model.max_seq_len",
                keeps_tail ? "" : ", or set too_long = \"keep_tail\"",
                "; levanter cache inspect shows it"));
}

void TextData::check_lengths(int64_t seq_len) const {
  for (const Component& component : components_) {
    for (const char* split : {"train", "validation"}) {
      refuse_too_long(component, split, seq_len);
      require_targets(component, split, seq_len);
    }
    if (!options_.held_out_only)
      check_train_length(component.spec, *component.streams.train, seq_len);
  }
  for (const std::string& name : validation_names()) validation(name, seq_len);
}

std::vector<ComponentCounts> TextData::counts(const TrainingOptions& options) const {
  std::vector<ComponentCounts> all;
  for (const auto& [spec, streams] : components_) {
    ComponentCounts c{spec.name, spec.noun, spec.rows.pack.has_value(), spec.format->weighted(),
                      {},        {}};
    c.train = count_documents(*streams.train, spec.rows, options.seq_len);
    c.train.rows = training_row_count(streams, options);
    c.train.empty_rows = empty_training_rows(streams, options);
    c.validation = count_documents(*streams.validation, spec.rows, options.seq_len);
    if (streams.validation->size() > 0)
      c.validation.rows = validation_rows(streams, options.seq_len).epoch_length;
    if (const auto read = read_.find(spec.name); read != read_.end()) c.read = read->second;
    all.push_back(std::move(c));
  }
  return all;
}

}  // namespace levanter::data
