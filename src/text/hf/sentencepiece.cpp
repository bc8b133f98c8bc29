// A SentencePiece model file as the text of a tokenizer.json, as Hugging Face converts them.
#include <algorithm>
#include <bit>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "text/hf/normalizer.h"
#include "text/hf/source.h"
#include "text/hf/unicode.h"
#include "text/hf/vocabulary.h"

namespace levanter::text::hf {
namespace {

/// Reads the fields of a protocol buffer message one after the other.
class Message final {
 public:
  Message(std::string_view bytes, const std::string& origin) : rest_(bytes), origin_(origin) {}

  /// Goes to the next field; false at the end.
  bool next() {
    if (rest_.empty()) return false;
    const uint64_t tag = varint(), kind = tag & 7;
    number_ = static_cast<int>(tag >> 3);
    bytes_ = {};
    if (kind != 0 && kind != 1 && kind != 2 && kind != 5) throw_broken();
    if (kind == 0) value_ = varint();
    if (kind == 1) bytes_ = take(8);
    if (kind == 2) bytes_ = take(varint());
    if (kind == 5) bytes_ = take(4);
    return true;
  }
  int number() const { return number_; }
  uint64_t value() const { return value_; }
  std::string_view bytes() const { return bytes_; }
  float real() const {
    uint32_t bits = 0;
    for (size_t i = 0; i < std::min<size_t>(4, bytes_.size()); ++i)
      bits |= uint32_t{static_cast<uint8_t>(bytes_[i])} << (8 * i);
    return std::bit_cast<float>(bits);
  }

  [[noreturn]] void throw_broken() const {
    throw Error(ErrorKind::kData, "the file is no SentencePiece model")
        .at(origin_)
        .hint("fetch the file again, or use the tokenizer.json in its folder");
  }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    throw_broken();
  }
  std::string_view take(uint64_t count) {
    if (count > rest_.size()) throw_broken();
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  std::string_view rest_;
  const std::string& origin_;
  int number_ = 0;
  uint64_t value_ = 0;
  std::string_view bytes_;
};

struct Piece {
  std::string text;
  double score = 0;
  uint64_t type = 1;
};
enum PieceType : uint64_t { kUnknown = 2, kControl = 3, kUserDefined = 4, kByte = 6 };

struct SentencePiece {
  std::vector<Piece> pieces;
  uint64_t model_type = 1;  ///< 1 Unigram, 2 BPE
  bool byte_fallback = false;
  bool dummy_prefix = true;
  std::string character_map;

  SentencePiece(std::string_view bytes, const std::string& origin) {
    for (Message message(bytes, origin); message.next();) {
      if (message.number() == 1) {
        Piece piece;
        for (Message part(message.bytes(), origin); part.next();) {
          if (part.number() == 1) piece.text = part.bytes();
          if (part.number() == 2) piece.score = static_cast<double>(part.real());
          if (part.number() == 3) piece.type = part.value();
        }
        if (find_broken_utf8(piece.text) != piece.text.size()) message.throw_broken();
        pieces.push_back(std::move(piece));
      } else if (message.number() == 2) {
        for (Message part(message.bytes(), origin); part.next();) {
          if (part.number() == 3) model_type = part.value();
          if (part.number() == 35) byte_fallback = part.value() != 0;
        }
      } else if (message.number() == 3) {
        for (Message part(message.bytes(), origin); part.next();) {
          if (part.number() == 2) character_map = part.bytes();
          if (part.number() == 3) dummy_prefix = part.value() != 0;
        }
      }
    }
    if (pieces.empty()) Message(bytes, origin).throw_broken();
    if (model_type != 1 && model_type != 2)
      throw Error(ErrorKind::kData, "the SentencePiece model is of another type")
          .at(origin)
          .allowed("BPE, Unigram");
  }
};

std::string to_base64(std::string_view bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k)
      out += i + k > bytes.size() ? '=' : kBase64Digits[bits >> (18 - 6 * k) & 63];
  }
  return out;
}

void append(std::string& list, std::string_view item) {
  if (!list.empty()) list += ',';
  list += item;
}

/// The merges that give the pieces of highest score first.
std::string merges_json(const std::vector<Piece>& pieces) {
  Vocabulary vocabulary;
  vocabulary.reserve(pieces.size());
  for (size_t id = 0; id < pieces.size(); ++id)
    vocabulary.add(pieces[id].text, static_cast<int32_t>(id));
  struct Pair {
    double score;
    std::string_view left, right;
  };
  std::vector<Pair> pairs;
  for (const Piece& piece : pieces) {
    const std::string_view text = piece.text;
    for (size_t at = text.empty() ? 0 : length_at(text[0]); at < text.size();
         at += length_at(text[at]))
      if (vocabulary.id(text.substr(0, at)) >= 0 && vocabulary.id(text.substr(at)) >= 0)
        pairs.push_back({piece.score, text.substr(0, at), text.substr(at)});
  }
  const auto length = [](std::string_view text) {
    return std::count_if(text.begin(), text.end(),
                         [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; });
  };
  std::stable_sort(pairs.begin(), pairs.end(), [&](const Pair& a, const Pair& b) {
    if (a.score != b.score) return a.score > b.score;
    if (length(a.left) != length(b.left)) return length(a.left) > length(b.left);
    return length(a.right) > length(b.right);
  });
  std::string list;
  for (const Pair& pair : pairs)
    append(list, cat("[", quote(pair.left), ",", quote(pair.right), "]"));
  return list;
}

std::string bpe_json(const SentencePiece& model, std::string_view unknown) {
  std::string vocab;
  for (size_t id = 0; id < model.pieces.size(); ++id)
    append(vocab, cat(quote(model.pieces[id].text), ":", id));
  return cat(R"("normalizer":{"type":"Sequence","normalizers":[)",
             model.dummy_prefix ? R"({"type":"Prepend","prepend":"▁"},)" : "",
             R"({"type":"Replace","pattern":{"String":" "},"content":"▁"}]},)",
             R"("decoder":{"type":"Sequence","decoders":[)",
             R"({"type":"Replace","pattern":{"String":"▁"},"content":" "},)",
             R"({"type":"ByteFallback"},{"type":"Fuse"})",
             model.dummy_prefix ? R"(,{"type":"Strip","content":" ","start":1,"stop":0})" : "",
             R"(]},"model":{"type":"BPE","fuse_unk":true,"byte_fallback":)", model.byte_fallback,
             R"(,"unk_token":)", quote(unknown), R"(,"vocab":{)", vocab, R"(},"merges":[)",
             merges_json(model.pieces), "]}");
}

std::string unigram_json(const SentencePiece& model, size_t unknown) {
  std::string vocab;
  for (const Piece& piece : model.pieces)
    append(vocab, cat("[", quote(piece.text), ",", piece.score, "]"));
  const std::string map = model.character_map.empty()
                              ? ""
                              : cat(R"({"type":"Precompiled","precompiled_charsmap":")",
                                    to_base64(model.character_map), R"("},)");
  const std::string space = cat(R"({"type":"Metaspace","replacement":"▁","prepend_scheme":")",
                                model.dummy_prefix ? "always" : "never", R"("})");
  return cat(R"("normalizer":{"type":"Sequence","normalizers":[)", map,
             R"({"type":"Strip","strip_left":false,"strip_right":true},)",
             R"({"type":"Replace","pattern":{"Regex":" {2,}"},"content":"▁"}]},)",
             R"("pre_tokenizer":)", space, R"(,"decoder":)",
             model.byte_fallback
                 ? cat(R"({"type":"Sequence","decoders":[{"type":"ByteFallback"},)", space, "]}")
                 : space,
             R"(,"model":{"type":"Unigram","unk_id":)", unknown, R"(,"byte_fallback":)",
             model.byte_fallback, R"(,"vocab":[)", vocab, "]}");
}

}  // namespace

std::string sentencepiece_json(std::string_view bytes, const std::string& origin) {
  const SentencePiece model(bytes, origin);
  std::string added, begin;
  size_t unknown = 0;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    if (piece.type == kUnknown) unknown = id;
    if (piece.text == "<s>" && piece.type == kControl)
      begin = cat(R"("post_processor":{"type":"TemplateProcessing","single":[)",
                  R"({"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],)",
                  R"("special_tokens":{"<s>":{"ids":[)", id, "]}}},");
    if (piece.type == kUnknown || piece.type == kControl || piece.type == kUserDefined)
      append(added, cat(R"({"id":)", id, R"(,"content":)", quote(piece.text),
                        R"(,"normalized":false,"special":)", piece.type != kUserDefined, "}"));
  }
  return cat(R"({"added_tokens":[)", added, "],",
             model.model_type == 2 ? begin + bpe_json(model, model.pieces[unknown].text)
                                   : unigram_json(model, unknown),
             "}");
}

}  // namespace levanter::text::hf
