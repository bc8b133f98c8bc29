// A tokenizer.json read into plain structs.
#include "text/hf/tokenizer_file.h"

#include <simdjson.h>

#include <algorithm>

#include "base/file_kind.h"
#include "base/strings.h"
#include "text/hf/unicode.h"

namespace levanter::text::hf {
namespace {

namespace dom = simdjson::dom;

constexpr int64_t kMostIds = int64_t{1} << 24;

[[noreturn]] void throw_broken(const std::string& place, std::string_view what) {
  throw Error(ErrorKind::kData, std::string(what))
      .at(place)
      .hint("fetch the file again, or see docs/tokenizers.md for the files that are understood");
}

Value tree_of(dom::element element, std::string place);

/// The tree of an object without the fields of some names.
Value object_of(dom::object object, std::string place,
                std::initializer_list<std::string_view> without = {}) {
  Value value;
  value.kind = Value::Kind::kObject;
  for (const dom::key_value_pair field : object) {
    if (std::find(without.begin(), without.end(), field.key) != without.end()) continue;
    value.keys.emplace_back(field.key);
    value.items.push_back(tree_of(
        field.value, cat(place, place.ends_with(": ") ? "" : ".", std::string_view(field.key))));
  }
  value.place = std::move(place);
  return value;
}

Value tree_of(dom::element element, std::string place) {
  Value value;
  switch (element.type()) {
    case dom::element_type::OBJECT:
      return object_of(dom::object(element), std::move(place));
    case dom::element_type::ARRAY:
      value.kind = Value::Kind::kList;
      for (const dom::element item : dom::array(element))
        value.items.push_back(tree_of(item, cat(place, "[", value.items.size(), "]")));
      break;
    case dom::element_type::STRING:
      value.kind = Value::Kind::kString;
      value.string = std::string_view(element);
      break;
    case dom::element_type::BOOL:
      value.kind = Value::Kind::kBool;
      value.boolean = bool(element);
      break;
    case dom::element_type::NULL_VALUE:
      break;
    default:
      value.kind = Value::Kind::kNumber;
      value.number = double(element);
  }
  value.place = std::move(place);
  return value;
}

/// Reads the parts of a tokenizer.json one by one.
class Reader final {
 public:
  Reader(dom::element root, const std::string& origin) : origin_(origin) {
    if (root.get(root_)) throw_broken(origin, "the tokenizer file is no JSON object");
    if (root_["model"].get(model_)) throw_broken(origin, "the tokenizer file has no \"model\"");
  }

  TokenizerFile read() {
    out_.normalizer = part("normalizer");
    out_.pre_tokenizer = part("pre_tokenizer");
    out_.post_processor = part("post_processor");
    out_.decoder = part("decoder");
    out_.model = object_of(model_, place("model"), {"vocab", "merges"});
    read_vocabulary();
    read_merges();
    dom::element added;
    if (!root_["added_tokens"].get(added) && !added.is_null())
      out_.added = read_added_tokens(tree_of(added, place("added_tokens")), out_.vocabulary,
                                     out_.vocabulary.size());
    return std::move(out_);
  }

 private:
  std::string place(std::string_view what) const { return cat(origin_, ": ", what); }

  Value part(std::string_view key) const {
    dom::element element;
    if (root_[key].get(element)) return {};
    return tree_of(element, place(key));
  }

  void read_vocabulary() {
    dom::object tokens;
    dom::array pieces;
    dom::element vocabulary;
    if (model_["vocab"].get(vocabulary)) throw_broken(origin_, "the model has no \"vocab\"");
    if (!vocabulary.get(tokens)) {
      out_.vocabulary.reserve(tokens.size());
      for (const dom::key_value_pair field : tokens) {
        int64_t id = 0;
        if (field.value.get(id) || id < 0 || id >= kMostIds) throw_bad_id("model.vocab", field.key);
        out_.vocabulary.add(field.key, static_cast<int32_t>(id));
      }
    } else if (!vocabulary.get(pieces)) {
      read_pieces(pieces);
    } else {
      throw_broken(place("model.vocab"), "the vocabulary is neither an object nor a list");
    }
  }

  /// The vocabulary of Unigram: [token, score] by id.
  void read_pieces(dom::array pieces) {
    out_.vocabulary.reserve(pieces.size());
    int32_t id = 0;
    for (const dom::element piece : pieces) {
      std::string_view token;
      double score = 0;
      if (piece.at(0).get(token) || piece.at(1).get(score))
        throw_broken(place(cat("model.vocab[", id, "]")),
                     "a token is no pair of a text and a score");
      out_.vocabulary.add(token, id);
      if (out_.vocabulary.size() == id) out_.vocabulary.set(id, token);  // a text met before
      out_.scores.push_back(score);
      ++id;
    }
  }

  [[noreturn]] void throw_bad_id(std::string_view where, std::string_view token) const {
    throw Error(ErrorKind::kData, cat("the token ", quote(token), " has an impossible id"))
        .at(place(where))
        .allowed(cat("0 to ", kMostIds - 1));
  }

  void read_merges() {
    dom::array merges;
    if (model_["merges"].get(merges)) return;
    out_.merges.reserve(merges.size());
    std::string_view prefix;
    if (model_["continuing_subword_prefix"].get(prefix)) prefix = {};
    std::string joined;
    for (const dom::element merge : merges) {
      std::string_view left, right, text;
      if (!merge.get(text)) {
        const size_t space = text.find(' ');
        if (space == text.npos || text.find(' ', space + 1) != text.npos)
          throw_bad_merge("a merge is no pair of tokens");
        left = text.substr(0, space);
        right = text.substr(space + 1);
      } else if (merge.at(0).get(left) || merge.at(1).get(right)) {
        throw_bad_merge("a merge is no pair of tokens");
      }
      joined.assign(left);
      joined += right.substr(right.starts_with(prefix) ? prefix.size() : 0);
      const Merge found{out_.vocabulary.id(left), out_.vocabulary.id(right),
                        out_.vocabulary.id(joined)};
      for (const auto& [id, token] : {std::pair(found.left, left),
                                      {found.right, right},
                                      {found.result, std::string_view(joined)}})
        if (id < 0)
          throw_bad_merge(
              cat("a merge names the token ", quote(token), ", which is not in the vocabulary"));
      out_.merges.push_back(found);
    }
  }

  [[noreturn]] void throw_bad_merge(std::string_view what) const {
    throw_broken(place(cat("model.merges[", out_.merges.size(), "]")), what);
  }

  const std::string& origin_;
  dom::object root_, model_;
  TokenizerFile out_;
};

}  // namespace

TokenizerFile read_tokenizer_file(std::string_view json, const std::string& origin) {
  dom::parser parser;
  dom::element root;
  if (const simdjson::error_code error = parser.parse(json.data(), json.size(), true).get(root)) {
    refuse_stand_in(ErrorKind::kData, json, origin);
    throw_broken(origin, cat("the file is no JSON: ", error_message(error)));
  }
  return Reader(root, origin).read();
}

std::vector<AddedToken> read_added_tokens(const Value& list, const Vocabulary& vocabulary,
                                          int64_t next_id) {
  std::vector<AddedToken> tokens;
  for (const Value& token : list.items) {
    AddedToken added;
    added.content = token.text("content");
    // The model's id where it has one, else the file's, else the next free one.
    const int32_t known = vocabulary.id(added.content);
    const int64_t id = known >= 0 ? known : token.integer("id", next_id);
    if (id >= kMostIds) token.throw_wrong("id", cat("0 to ", kMostIds - 1));
    next_id = std::max(next_id, id + 1);
    added.id = static_cast<int32_t>(id);
    added.single_word = token.flag("single_word", false);
    added.lstrip = token.flag("lstrip", false);
    added.rstrip = token.flag("rstrip", false);
    added.special = token.flag("special", false);
    added.normalized = token.flag("normalized", !added.special);
    tokens.push_back(std::move(added));
  }
  return tokens;
}

size_t first_invalid_utf8(std::string_view text) {
  return simdjson::validate_utf8(text.data(), text.size()) ? text.size() : find_broken_utf8(text);
}

}  // namespace levanter::text::hf
