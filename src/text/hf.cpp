// Tokenizer "hf": what a Hugging Face tokenizer.json (or its older files) describes, id for id.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "base/threads.h"
#include "text/hf/added_tokens.h"
#include "text/hf/alignment.h"
#include "text/hf/bpe.h"
#include "text/hf/config.h"
#include "text/hf/decoder.h"
#include "text/hf/normalizer.h"
#include "text/hf/post_processor.h"
#include "text/hf/pre_tokenizer.h"
#include "text/hf/source.h"
#include "text/hf/unigram.h"
#include "text/hf/words.h"
#include "text/tokenizer.h"

namespace levanter::text {
namespace {

using namespace hf;

enum class Role : uint8_t { kModel, kAdded, kSpecial };

class HfTokenizer final : public Tokenizer {
 public:
  HfTokenizer(Source source, TokenizerFile file);

  std::string_view name() const override { return "hf"; }
  int64_t vocab_size() const override { return static_cast<int64_t>(roles_.size()); }
  bool is_loose_byte(int32_t id) const override { return decoder_.is_loose_byte(token(id)); }
  std::optional<int32_t> bos_id() const override { return source_.bos_id; }
  std::optional<int32_t> eos_id() const override { return source_.eos_id; }
  std::vector<int32_t> end_ids() const override {
    return source_.end_ids.empty() ? Tokenizer::end_ids() : source_.end_ids;
  }
  std::vector<int32_t> add_special(std::vector<int32_t> ids) const override {
    return post_processor_.apply(std::move(ids));
  }
  std::optional<std::string> chat_template() const override {
    if (source_.chat_template.empty()) return std::nullopt;
    return source_.chat_template;
  }
  std::map<std::string, std::string> named_chat_templates() const override {
    return source_.named_templates;
  }
  std::map<std::string, std::string> special_tokens() const override {
    std::map<std::string, std::string> tokens = Tokenizer::special_tokens();
    for (const auto& [key, text] : source_.special_tokens) tokens[key] = text;
    return tokens;
  }
  std::shared_ptr<const Tokenizer> with_chat_template(std::string text) const override {
    Source source = source_;
    source.chat_template = std::move(text);
    source.named_templates.clear();
    return load_tokenizer(write_source(source), source_.origin);
  }
  std::string serialise() const override { return write_source(source_); }
  std::string identity() const override {
    Source source = source_;
    source.chat_template.clear();
    source.named_templates.clear();
    source.special_tokens.clear();
    source.sides.clear();
    source.sampling.clear();
    source.end_ids.clear();
    return write_source(source);
  }

  std::vector<int32_t> encode(NamedText text) const override {
    return encode_segments(text, nullptr, [](const Segment&) {});
  }
  std::vector<int32_t> encode_long(NamedText text, ThreadPool& pool) const override {
    return encode_segments(text, &pool, [](const Segment&) {});
  }
  MarkedIds encode_marked(NamedText text, std::span<const ByteSpan> spans) const override;
  std::string decode(std::span<const int32_t> ids, Special special) const override;
  int64_t byte_length(int32_t id) const override {
    check_id(id);
    const auto index = static_cast<size_t>(id);
    if (roles_[index] == Role::kSpecial) return 0;
    if (roles_[index] == Role::kAdded) return static_cast<int64_t>(token(id).size());
    return decoder_.byte_length(token(id));
  }
  int64_t first_byte_length(int32_t id) const override {
    const int64_t bytes = byte_length(id);
    const bool ours = adds_blank_ && roles_[static_cast<size_t>(id)] == Role::kModel;
    return ours && bytes > 0 ? bytes - 1 : bytes;
  }

 private:
  struct Run;
  struct Segment;

  void add_tokens(std::vector<AddedToken> added);
  void add_listed_tokens(const std::string& json, bool keep_known);
  bool finds_blank() const;
  void make_model(const TokenizerFile& file);
  void make_bpe(const TokenizerFile& file);
  std::optional<int32_t> id_of(const std::optional<std::string>& name) const;
  /// The model's id of a token, where it has one.
  std::optional<int32_t> model_id(const std::string& token) const {
    const int32_t id = token.empty() ? -1 : vocabulary_.id(token);
    return id < 0 ? std::nullopt : std::optional(id);
  }
  std::string_view token(int32_t id) const {
    if (roles_[static_cast<size_t>(id)] != Role::kModel) return added_.at(id).form;
    return vocabulary_.token(id);
  }
  void check_id(int32_t id) const {
    if (id < 0 || id >= vocab_size()) throw_unknown_id(id, vocab_size());
  }
  std::vector<ByteSpan> places_of(std::string_view text, std::span<const int32_t> ids,
                                  std::span<ByteSpan> spans) const;
  /// What the token stands for in normalized text; "" for an unknown one.
  std::string surface(int32_t id) const;
  template <class OnSegment>
  std::vector<int32_t> encode_segments(NamedText text, ThreadPool* pool,
                                       OnSegment on_segment) const;
  void encode_text(std::string_view text, bool first, Run& run) const;
  void encode_normalized(std::string_view text, bool first, Run& run) const;
  void encode_part(std::string_view text, bool first, Run& run) const;
  std::vector<std::string_view> cut(std::string_view text, size_t parts) const;
  template <KnownPattern kPattern>
  void encode_pieces(std::string_view text, Run& run) const;

  Source source_;
  Vocabulary vocabulary_;
  std::vector<Role> roles_;  ///< of every id
  struct Added {
    std::string content, form;  ///< as the file has it, as it is looked for and decoded
  };
  std::map<int32_t, Added> added_;
  AddedTokenFinder in_text_, in_normalized_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  PostProcessor post_processor_;
  Decoder decoder_;
  std::unique_ptr<Model> model_;
  const Bpe* bpe_ = nullptr;     ///< the model, where pieces are bytes
  const Bpe* spaced_ = nullptr;  ///< the model, where the text is not split into pieces
  TokenTable raw_;               ///< the bytes of every id, where the decoder only joins these
  std::string prefix_, suffix_;  ///< what the model's tokens have before or behind their text
  std::optional<int32_t> unknown_;
  bool adds_blank_ = false;  ///< it puts one before a text, which stands for no byte of it
  mutable WordCaches caches_;
};

/// What one call of encode works with.
struct HfTokenizer::Run {
  WordCache& cache;
  ThreadPool* pool = nullptr;  ///< that works on long texts
  Ids ids{};
};

/// A part of the text that was encoded apart from the others.
struct HfTokenizer::Segment {
  ByteSpan place;
  size_t ids_end;  ///< of all ids so far
  bool is_token;   ///< it is an added token
};

HfTokenizer::HfTokenizer(Source source, TokenizerFile file)
    : source_(std::move(source)),
      normalizer_(file.normalizer),
      pre_tokenizer_(file.pre_tokenizer),
      post_processor_(file.post_processor),
      decoder_(file.decoder) {
  vocabulary_ = std::move(file.vocabulary);
  make_model(file);
  roles_.assign(static_cast<size_t>(vocabulary_.size()), Role::kModel);
  add_tokens(std::move(file.added));
  add_listed_tokens(std::exchange(source_.more_added, "[]"), true);
  add_listed_tokens(source_.named_special, false);
  if (decoder_.only_bytes()) {
    std::string bytes;
    for (int32_t id = 0; id < vocab_size(); ++id) {
      bytes.clear();
      append_token_bytes(token(id), bytes);
      raw_.set(id, bytes);
    }
  }
  if (!source_.bos_id) source_.bos_id = id_of(source_.bos);
  if (!source_.eos_id) source_.eos_id = id_of(source_.eos);
  adds_blank_ = finds_blank();
}

/// Whether a text of one letter has two bytes by its ids.
bool HfTokenizer::finds_blank() const {
  int64_t bytes = 0;
  try {
    for (const int32_t id : encode({"a", "a letter"})) bytes += byte_length(id);
  } catch (const Error&) {  // a normalizer that can't: each text says so when it is encoded
    return false;
  }
  return bytes == 2;
}

/// Adds the tokens of a JSON list to those that are saved. One without an id has that of the token
/// it is already, else the next free one.
void HfTokenizer::add_listed_tokens(const std::string& json, bool keep_known) {
  Value list = parse_json(json, source_.origin);
  std::map<std::string, int32_t> known;
  for (const auto& [id, added] : added_) known.emplace(added.content, id);
  std::set<std::string> seen = {""};
  std::erase_if(list.items,
                [&](const Value& token) { return !seen.insert(token.text("content")).second; });
  for (Value& token : list.items) {
    const auto id = known.find(token.text("content"));
    if (id == known.end() || !token["id"].is_null()) continue;
    token.keys.emplace_back("id");
    token.items.emplace_back().kind = Value::Kind::kNumber;
    token.items.back().number = id->second;
  }
  const std::vector<AddedToken> added = read_added_tokens(list, vocabulary_, vocab_size());
  std::string& saved = source_.more_added;
  for (const AddedToken& token : added) {
    if (!keep_known && known.contains(token.content)) continue;
    saved.pop_back();
    saved += cat(saved == "[" ? "" : ",", "{\"id\":", token.id,
                 ",\"content\":", quote(token.content), ",\"single_word\":", token.single_word,
                 ",\"lstrip\":", token.lstrip, ",\"rstrip\":", token.rstrip,
                 ",\"normalized\":", token.normalized, ",\"special\":", token.special, "}]");
  }
  add_tokens(added);
}

void HfTokenizer::make_model(const TokenizerFile& file) {
  const Value& options = file.model;
  std::string type = options.text_or("type", "");
  if (type.empty()) {  // in files of old versions
    type = "WordPiece";
    if (!file.scores.empty()) type = "Unigram";
    if (!file.merges.empty()) type = "BPE";
  }
  if (type == "BPE") return make_bpe(file);
  if (type == "Unigram") {
    const int64_t id = options.integer("unk_id", -1);
    if (id >= vocabulary_.size()) options.throw_wrong("unk_id", "the id of a token, or null");
    if (id >= 0) unknown_ = static_cast<int32_t>(id);
    model_ = std::make_unique<Unigram>(vocabulary_, file.scores, unknown_,
                                       options.flag("byte_fallback", false));
    return;
  }
  unknown_ = model_id(options.text_or("unk_token", ""));
  if (type == "WordPiece") {
    prefix_ = options.text_or("continuing_subword_prefix", "##");
    model_ = std::make_unique<WordPiece>(
        vocabulary_, unknown_, prefix_,
        static_cast<size_t>(options.integer("max_input_chars_per_word", 100)));
  } else if (type == "WordLevel") {
    model_ = std::make_unique<WordLevel>(vocabulary_, unknown_);
  } else
    options.throw_unknown("model", "BPE, Unigram, WordLevel, WordPiece");
}

void HfTokenizer::make_bpe(const TokenizerFile& file) {
  const Value& options = file.model;
  BpeOptions bpe;
  bpe.unknown = unknown_ = model_id(options.text_or("unk_token", ""));
  bpe.fuse_unknown = options.flag("fuse_unk", false);
  bpe.byte_fallback = options.flag("byte_fallback", false);
  bpe.ignore_merges = options.flag("ignore_merges", false);
  bpe.prefix = prefix_ = options.text_or("continuing_subword_prefix", "");
  bpe.suffix = suffix_ = options.text_or("end_of_word_suffix", "");
  bpe.bytes = pre_tokenizer_.ends_in_bytes() && bpe.prefix.empty() && bpe.suffix.empty() &&
              Bpe::has_all_bytes(vocabulary_);
  if (bpe.bytes) pre_tokenizer_.keep_bytes();
  const bool bytes = bpe.bytes;
  auto model = std::make_unique<Bpe>(vocabulary_, file.merges, std::move(bpe));
  if (bytes) bpe_ = model.get();
  if (!bytes && pre_tokenizer_.empty()) spaced_ = model.get();
  model_ = std::move(model);
}

void HfTokenizer::add_tokens(std::vector<AddedToken> added) {
  for (const AddedToken& token : added) {
    const auto index = static_cast<size_t>(token.id);
    if (index >= roles_.size()) roles_.resize(index + 1, Role::kModel);
    if (vocabulary_.size() <= token.id) vocabulary_.set(token.id, "");
    std::string room;
    const std::string_view form =
        token.normalized ? normalizer_.apply(token.content, room) : token.content;
    if (!added_.emplace(token.id, Added{token.content, std::string(form)}).second) continue;
    roles_[index] = token.special ? Role::kSpecial : Role::kAdded;
    (token.normalized ? in_normalized_ : in_text_).add(token, form);
  }
}

std::optional<int32_t> HfTokenizer::id_of(const std::optional<std::string>& name) const {
  if (!name) return std::nullopt;
  for (const auto& [id, added] : added_)
    if (added.content == *name) return id;
  return model_id(*name);
}

template <class OnSegment>
std::vector<int32_t> HfTokenizer::encode_segments(NamedText text, ThreadPool* pool,
                                                  OnSegment on_segment) const {
  const std::string_view content = text.content;
  if (const size_t bad = first_invalid_utf8(content); bad < content.size())
    throw_not_utf8(text, bad);
  WordCaches::Lease cache(caches_);
  Run run{*cache, pool};
  run.ids.room(content.size() / 4 + 16);
  AddedTokenFinder::Found token;
  for (size_t at = 0; at < content.size();) {
    const size_t begin = in_text_.find(content, at, token);
    if (begin > at) {
      encode_text(content.substr(at, begin - at), at == 0, run);
      on_segment(Segment{{at, begin}, run.ids.size(), false});
    }
    at = content.size();
    if (token.id < 0) break;
    run.ids.push(token.id);
    on_segment(Segment{{begin, token.end}, run.ids.size(), true});
    at = token.end;
  }
  return run.ids.take();
}

MarkedIds HfTokenizer::encode_marked(NamedText text, std::span<const ByteSpan> spans) const {
  std::vector<Segment> segments;
  MarkedIds out;
  out.ids =
      encode_segments(text, nullptr, [&](const Segment& segment) { segments.push_back(segment); });
  out.marked.resize(out.ids.size());
  size_t ids_begin = 0;
  for (const Segment& segment : segments) {
    // Spans are in order, so those before this segment are never looked at again.
    while (!spans.empty() && spans[0].end <= segment.place.begin) spans = spans.subspan(1);
    const std::string_view part =
        text.content.substr(segment.place.begin, segment.place.end - segment.place.begin);
    std::vector<ByteSpan> inside;
    for (const ByteSpan& span : spans) {
      if (span.begin >= segment.place.end) break;
      if (span.begin == span.end) continue;
      inside.push_back({std::max(span.begin, segment.place.begin) - segment.place.begin,
                        std::min(span.end, segment.place.end) - segment.place.begin});
    }
    const std::span ids(out.ids.data() + ids_begin, segment.ids_end - ids_begin);
    if (!inside.empty()) {
      std::vector<ByteSpan> places{{0, part.size()}};
      if (!segment.is_token) places = places_of(part, ids, inside);
      for (size_t i = 0, span = 0; i < ids.size(); ++i) {
        while (span < inside.size() && inside[span].end <= places[i].begin) ++span;
        out.marked[ids_begin + i] = span < inside.size() && touches(places[i], inside[span]);
      }
    }
    ids_begin = segment.ids_end;
  }
  return out;
}

/// Where in the normalized form of a text its ids lie; spans of the text become spans of that.
std::vector<ByteSpan> HfTokenizer::places_of(std::string_view text, std::span<const int32_t> ids,
                                             std::span<ByteSpan> spans) const {
  std::string room;
  const std::string_view normalized = normalizer_.apply(text, room);
  if (normalized != text)
    for (ByteSpan& span : spans)
      span = normalized_span(text, span, normalized, [this](std::string_view beginning) {
        std::string its_room;
        return std::string(normalizer_.apply(beginning, its_room));
      });
  std::vector<std::string> surfaces;
  for (const int32_t id : ids) surfaces.push_back(surface(id));
  return align(normalized, surfaces);
}

std::string HfTokenizer::surface(int32_t id) const {
  if (id == unknown_) return "";
  std::string_view name = token(id);
  if (roles_[static_cast<size_t>(id)] != Role::kModel) return std::string(name);
  if (pre_tokenizer_.ends_in_bytes()) {
    std::string bytes;
    append_token_bytes(name, bytes);
    return bytes;
  }
  if (const int byte = fallback_byte(name); byte >= 0) return std::string(1, char(byte));
  if (!prefix_.empty() && name.starts_with(prefix_)) name.remove_prefix(prefix_.size());
  if (!suffix_.empty() && name.ends_with(suffix_)) name.remove_suffix(suffix_.size());
  return std::string(name);
}

void HfTokenizer::encode_text(std::string_view text, bool first, Run& run) const {
  std::string room;
  text = normalizer_.apply(text, room);
  if (in_normalized_.empty()) return encode_normalized(text, first, run);
  AddedTokenFinder::Found token;
  for (size_t at = 0; at < text.size();) {
    const size_t end = in_normalized_.find(text, at, token);
    if (end > at) encode_normalized(text.substr(at, end - at), first && at == 0, run);
    if (token.id >= 0) run.ids.push(token.id);
    at = token.id >= 0 ? token.end : text.size();
  }
}

template <KnownPattern kPattern>
void HfTokenizer::encode_pieces(std::string_view text, Run& run) const {
  const char *p = text.data(), *end = p + text.size();
  const PieceFinder finder(end);
  while (p < end) {
    const char* q = finder.next<kPattern>(p);
    bpe_->encode({p, static_cast<size_t>(q - p)}, end, run.cache, run.ids);
    p = q;
  }
}

/// Cuts normalized text, where that changes no ids, into about `parts` pieces.
std::vector<std::string_view> HfTokenizer::cut(std::string_view text, size_t parts) const {
  const bool known = bpe_ != nullptr && pre_tokenizer_.only_pattern() != KnownPattern::kNone;
  const auto is_cut = [&](size_t at) {
    if (spaced_ != nullptr) return spaced_->is_cut(text.data() + at, text.data() + text.size());
    // In every known pattern a piece ends where a space follows a letter.
    const auto letter = static_cast<uint8_t>((text[at - 1] | 0x20) - 'a');
    return known && text[at] == ' ' && letter < 26;
  };
  std::vector<std::string_view> out;
  size_t begin = 0;
  for (size_t i = 1; i < parts && (known || spaced_ != nullptr); ++i) {
    size_t at = std::max(begin + 1, text.size() / parts * i);
    while (at < text.size() && !is_cut(at)) ++at;
    if (at >= text.size()) break;
    out.push_back(text.substr(begin, at - begin));
    begin = at;
  }
  out.push_back(text.substr(begin));
  return out;
}

void HfTokenizer::encode_normalized(std::string_view text, bool first, Run& run) const {
  constexpr size_t kLong = size_t{1} << 18;
  if (run.pool == nullptr || text.size() < kLong) return encode_part(text, first, run);
  const auto parts = cut(text, 8 * static_cast<size_t>(run.pool->threads()));
  std::vector<std::vector<int32_t>> ids(parts.size());
  run.pool->parallel_for(static_cast<int64_t>(parts.size()), [&](int64_t index, int) {
    const auto i = static_cast<size_t>(index);
    WordCaches::Lease cache(caches_);
    Run part{*cache};
    part.ids.room(parts[i].size() / 4 + 16);
    encode_part(parts[i], first && i == 0, part);
    ids[i] = part.ids.take();
  });
  for (const std::vector<int32_t>& part : ids) {
    std::copy(part.begin(), part.end(), run.ids.room(part.size()));
    run.ids.advance(part.size());
  }
}

void HfTokenizer::encode_part(std::string_view text, bool first, Run& run) const {
  if (text.empty()) return;
  if (bpe_ != nullptr) {
    switch (pre_tokenizer_.only_pattern()) {
      case KnownPattern::kGpt2:
        return encode_pieces<KnownPattern::kGpt2>(text, run);
      case KnownPattern::kOneDigit:
        return encode_pieces<KnownPattern::kOneDigit>(text, run);
      case KnownPattern::kThreeDigits:
        return encode_pieces<KnownPattern::kThreeDigits>(text, run);
      case KnownPattern::kNone:
        break;
    }
  }
  Pieces pieces;
  pieces.list.push_back({text, first});
  pre_tokenizer_.apply(pieces);
  for (const Pieces::Piece& piece : pieces.list)
    model_->encode(piece.text, piece.text.data() + piece.text.size(), run.cache, run.ids);
}

std::string HfTokenizer::decode(std::span<const int32_t> ids, Special special) const {
  // As in Hugging Face's, a special token that the normalizer changes is not known for one.
  const auto skips = [&](int32_t id) {
    return special == Special::kSkip && roles_[static_cast<size_t>(id)] == Role::kSpecial &&
           added_.at(id).form == added_.at(id).content;
  };
  if (decoder_.only_bytes()) {
    std::string bytes;
    bytes.reserve(4 * ids.size());
    for (const int32_t id : ids) {
      check_id(id);
      if (!skips(id)) bytes += raw_.token(id);
    }
    return replace_invalid_utf8(std::move(bytes));
  }
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    check_id(id);
    if (!skips(id) && (!token(id).empty())) tokens.emplace_back(token(id));
  }
  return decoder_.decode(std::move(tokens));
}

std::unique_ptr<const Tokenizer> make_of(Source source) {
  TokenizerFile file = read_tokenizer_file(source.json, source.origin);
  return std::make_unique<HfTokenizer>(std::move(source), std::move(file));
}

std::unique_ptr<const Tokenizer> make(const TokenizerConfig& config, std::span<const NamedText>) {
  const auto& hf = static_cast<const HfTokenizerConfig&>(config);
  Source source = read_source(hf.path.resolved.empty() ? hf.path.text : hf.path.resolved);
  name_special_tokens(hf.add_tokens, source);
  return make_of(std::move(source));
}

std::unique_ptr<const Tokenizer> load(std::string_view serialised) {
  std::optional<Source> source = parse_source(serialised);
  if (!source) return nullptr;
  return make_of(std::move(*source));
}

}  // namespace

std::unique_ptr<const Tokenizer> hf::open(const std::string& path) {
  return make_of(read_source(path));
}

extern const TokenizerEntry hf_entry;
const TokenizerEntry hf_entry = {.name = "hf",
                                 .summary = "a Hugging Face tokenizer, from its files",
                                 .make_config = config::make_choice<HfTokenizerConfig>,
                                 .reads_texts = false,
                                 .make = make,
                                 .load = load};

}  // namespace levanter::text
