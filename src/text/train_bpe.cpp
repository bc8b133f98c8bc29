// Learns a byte-level BPE vocabulary from text (Sennrich et al. 2016, arXiv:1508.07909).
#include "text/train_bpe.h"

#include <algorithm>
#include <queue>
#include <unordered_map>

#include "base/strings.h"
#include "text/hf/split.h"
#include "text/hf/unicode.h"

namespace levanter::text {
namespace {

struct Word {
  std::vector<int32_t> ids;
  int64_t count = 0;
};

uint64_t pair_of(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

using Counts = std::unordered_map<std::string_view, int64_t>;

void count_line(std::string_view line, Counts& counts) {
  const char *p = line.data(), *end = p + line.size();
  const hf::PieceFinder finder(end);
  while (p < end) {
    const char* q = finder.next<hf::KnownPattern::kGpt2>(p);
    ++counts[{p, static_cast<size_t>(q - p)}];
    p = q;
  }
}

/// How often each word of the texts occurs, line by line.
Counts count_words(std::span<const std::string> texts) {
  Counts counts;
  for (const std::string& text : texts) {
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.size(), text.find('\n', begin)) + 1;
      count_line(std::string_view(text).substr(begin, end - begin), counts);
      begin = end;
    }
  }
  return counts;
}

/// Merges pairs of tokens in the words until there are tokens enough.
class Trainer final {
 public:
  Trainer(std::span<const std::string> texts, const TrainOptions& options) : options_(options) {
    for (const std::string& token : options.specials) add_token(token);
    std::vector<std::pair<uint32_t, uint8_t>> alphabet;
    for (int byte = 0; byte < 256; ++byte)
      alphabet.emplace_back(hf::byte_character(static_cast<uint8_t>(byte)), byte);
    std::sort(alphabet.begin(), alphabet.end());
    int32_t byte_ids[256];
    for (const auto& [scalar, byte] : alphabet) {
      std::string token;
      append_scalar(token, scalar);
      byte_ids[byte] = add_token(token);
    }
    for (const auto& [text, count] : count_words(texts)) {
      Word& word = words_.emplace_back();
      word.count = count;
      for (const char c : text) word.ids.push_back(byte_ids[static_cast<uint8_t>(c)]);
    }
    for (size_t i = 0; i < words_.size(); ++i)
      for (size_t k = 0; k + 1 < words_[i].ids.size(); ++k)
        change(pair_of(words_[i].ids[k], words_[i].ids[k + 1]), words_[i].count, i);
    for (const auto& [pair, counted] : pairs_) queue_.push({counted.count, pair});
    changed_.clear();
  }

  TrainedBpe train() {
    while (static_cast<int64_t>(out_.tokens.size()) < options_.vocab_size && !queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      const int64_t count = pairs_[best.pair].count;
      if (best.count != count) {
        if (count > 0) queue_.push({count, best.pair});
        continue;
      }
      if (count < std::max<int64_t>(1, options_.min_frequency)) break;
      merge(best.pair);
    }
    return std::move(out_);
  }

 private:
  struct Counted {
    int64_t count = 0;
    std::vector<size_t> words;  ///< where it occurs or has occurred
  };
  struct Candidate {
    int64_t count;
    uint64_t pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  int32_t add_token(const std::string& token) {
    const auto [found, made] = ids_.try_emplace(token, static_cast<int32_t>(out_.tokens.size()));
    if (made) out_.tokens.push_back(token);
    return found->second;
  }

  void change(uint64_t pair, int64_t by, size_t word) {
    Counted& counted = pairs_[pair];
    counted.count += by;
    if (by < 0) return;
    if (counted.words.empty() || counted.words.back() != word) counted.words.push_back(word);
    changed_.push_back(pair);
  }

  void merge(uint64_t pair) {
    const auto left = static_cast<int32_t>(pair >> 32);
    const auto right = static_cast<int32_t>(pair & 0xFFFFFFFF);
    const std::string a = out_.tokens[static_cast<size_t>(left)];
    const std::string b = out_.tokens[static_cast<size_t>(right)];
    out_.merges.emplace_back(a, b);
    const int32_t made = add_token(a + b);
    std::vector<size_t> words = std::move(pairs_[pair].words);
    pairs_[pair] = {};
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    for (const size_t index : words) merge_in(index, left, right, made);
    std::sort(changed_.begin(), changed_.end());
    changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
    for (const uint64_t changed : changed_)
      if (const int64_t count = pairs_[changed].count; count > 0) queue_.push({count, changed});
    changed_.clear();
  }

  void merge_in(size_t index, int32_t left, int32_t right, int32_t made) {
    Word& word = words_[index];
    std::vector<int32_t>& ids = word.ids;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      if (ids[i] != left || ids[i + 1] != right) continue;
      if (i > 0) {
        change(pair_of(ids[i - 1], left), -word.count, index);
        change(pair_of(ids[i - 1], made), word.count, index);
      }
      if (i + 2 < ids.size()) {
        change(pair_of(right, ids[i + 2]), -word.count, index);
        change(pair_of(made, ids[i + 2]), word.count, index);
      }
      ids[i] = made;
      ids.erase(ids.begin() + static_cast<ptrdiff_t>(i) + 1);
    }
  }

  const TrainOptions& options_;
  TrainedBpe out_;
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<Word> words_;
  std::unordered_map<uint64_t, Counted> pairs_;
  std::priority_queue<Candidate> queue_;
  std::vector<uint64_t> changed_;  ///< pairs that have become more frequent
};

}  // namespace

TrainedBpe train_bpe(std::span<const std::string> texts, const TrainOptions& options) {
  return Trainer(texts, options).train();
}

std::string TrainedBpe::vocab_json() const {
  std::string out = "{";
  for (size_t id = 0; id < tokens.size(); ++id)
    out += cat(id == 0 ? "" : ",", quote(tokens[id]), ":", id);
  return out + "}";
}

std::string TrainedBpe::merges_txt() const {
  std::string out = "#version: 0.2\n";
  for (const auto& [left, right] : merges) out += cat(left, " ", right, "\n");
  return out;
}

std::string TrainedBpe::tokenizer_json(size_t specials) const {
  std::string added, list;
  for (size_t id = 0; id < specials; ++id)
    added += cat(id == 0 ? "" : ",", R"({"id":)", id, R"(,"content":)", quote(tokens[id]),
                 R"(,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,)",
                 R"("special":true})");
  for (const auto& [left, right] : merges)
    list += cat(list.empty() ? "" : ",", "[", quote(left), ",", quote(right), "]");
  return cat(R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[)", added,
             R"(],"normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,)",
             R"("trim_offsets":true,"use_regex":true},"post_processor":{"type":"ByteLevel",)",
             R"("add_prefix_space":true,"trim_offsets":false,"use_regex":true},"decoder":{"type":)",
             R"("ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},)",
             R"("model":{"type":"BPE","dropout":null,"unk_token":null,)",
             R"("continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,)",
             R"("byte_fallback":false,"ignore_merges":false,"vocab":)", vocab_json(),
             R"(,"merges":[)", list, "]}}\n");
}

}  // namespace levanter::text
