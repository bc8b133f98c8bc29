// Validation losses by component and tag, summed in an order that is always the same.
#include "train/evaluate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/integers.h"
#include "base/stop.h"
#include "base/strings.h"
#include "data/rows/loader.h"

namespace levanter::train {

namespace {

struct Sums {
  double nats = 0, tokens = 0, bytes = 0;
  Sums& operator+=(const Sums& other) {
    nats += other.nats;
    tokens += other.tokens;
    bytes += other.bytes;
    return *this;
  }
  double loss() const { return nats / tokens; }
  double bits_per_byte() const { return nats / (std::log(2.0) * bytes); }
};

/// Rows of one component that count.
int64_t rows_of(const data::ExampleSource& source, const EvaluationOptions& options) {
  const int64_t length = source.examples->length().get();
  return options.max_rows >= 0 ? std::min(length, options.max_rows) : length;
}

/// Bytes of text that targets stand for, in rows of which each token is known with the one before.
class ByteLengths final {
 public:
  explicit ByteLengths(const text::Tokenizer& tokenizer)
      : bos_(tokenizer.bos_id()), eos_(tokenizer.eos_id()) {
    for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
      inside_.push_back(tokenizer.byte_length(id));
      first_.push_back(tokenizer.first_byte_length(id));
    }
  }
  double of(int32_t before, int32_t target) const {
    const bool begins = before == bos_ || before == eos_;
    return static_cast<double>((begins ? first_ : inside_)[static_cast<size_t>(target)]);
  }

 private:
  std::optional<int32_t> bos_, eos_;
  std::vector<int64_t> inside_, first_;
};

/// require_rows of the rows that count; the place says where the text's token stands.
void require_rows_of(const data::Batch& batch, const EvaluationOptions& options,
                     const text::Tokenizer& tokenizer, const std::string& component) {
  if (options.vocab_size == 0 || tokenizer.vocab_size() <= options.vocab_size) return;
  const auto n = static_cast<size_t>(options.seq_len);
  for (size_t begin = 0; begin < static_cast<size_t>(batch.real_rows) * n; begin += n) {
    const std::span<const int32_t> ids = std::span(batch.targets).subspan(begin, n);
    const auto bad =
        std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return id >= options.vocab_size; });
    if (bad == ids.end() && batch.tokens[begin] < options.vocab_size) continue;
    const auto before = static_cast<size_t>(bad - ids.begin());
    const auto shown = std::min<size_t>(before, 20);
    require_rows(std::span(&batch.tokens[begin], 1), options.vocab_size, tokenizer, component);
    require_rows(
        ids, options.vocab_size, tokenizer,
        cat(component, ", behind ", quote(tokenizer.decode(ids.subspan(before - shown, shown)))));
  }
}

/// What a row adds to the sums of its component.
struct RowSums {
  int64_t row = 0;
  float nats = 0;
  double tokens = 0, bytes = 0;
};

static_assert(sizeof(RowSums) == kRowSumsBytes);

/// A pair of a row.
struct PairSums {
  int64_t row = 0;
  models::AnswerPair<double> pair = {};
};

RowSums sums_of_row(const data::Batch& batch, int64_t row, std::span<const float> losses,
                    const EvaluationOptions& options, const ByteLengths& byte_lengths) {
  RowSums sums{.row = batch.first_example + row};
  for (int64_t t = 0; t < options.seq_len; ++t) {
    const auto at = static_cast<size_t>(row * options.seq_len + t);
    const float weight = batch.loss_weight[at];
    if (weight == 0) continue;
    sums.nats += losses[at] * weight;
    sums.tokens += weight;
    sums.bytes += weight * byte_lengths.of(batch.tokens[at], batch.targets[at]);
  }
  return sums;
}

/// Adds the pairs of a row, in their order; references count as 1 where none are known.
void add_pairs(const data::Batch& batch, int64_t row, std::span<const float> losses,
               const EvaluationOptions& options, std::vector<PairSums>& pairs) {
  const auto positions = static_cast<size_t>(options.seq_len);
  const size_t begin = static_cast<size_t>(row) * positions;
  const std::span<const int32_t> segments = std::span(batch.segment_ids).subspan(begin, positions);
  const size_t first = pairs.size();
  pairs.resize(first + static_cast<size_t>(data::pairs_of(segments)),
               {.row = batch.first_example + row});
  for (size_t t = 0; t < positions; ++t) {
    const double weight = batch.loss_weight[begin + t];
    if (weight == 0) continue;
    const double logp = -static_cast<double>(losses[begin + t]);
    const double reference =
        batch.reference_logps.empty() ? 0 : static_cast<double>(batch.reference_logps[begin + t]);
    const auto segment = static_cast<size_t>(segments[t]);
    models::AnswerPair<double>& pair = pairs[first + segment / 2].pair;
    const bool chosen = segment % 2 == 0;
    (chosen ? pair.chosen_logp : pair.rejected_logp) += weight * logp;
    (chosen ? pair.chosen_ratio : pair.rejected_ratio) += weight * (logp - reference);
    (chosen ? pair.chosen_tokens : pair.rejected_tokens) += weight;
  }
}

/// What the rows of all ranks have, in their order.
template <class OfRow>
std::vector<OfRow> all_rows(std::vector<OfRow> own, const EvaluationOptions& options) {
  if (!options.communicator) return own;
  std::vector<OfRow> rows;
  const std::string_view bytes(reinterpret_cast<const char*>(own.data()),
                               own.size() * sizeof(OfRow));
  for (const std::string& of_rank : dist::gather_texts(*options.communicator, bytes)) {
    const size_t begin = rows.size();
    rows.resize(begin + of_rank.size() / sizeof(OfRow));
    if (!of_rank.empty()) std::memcpy(rows.data() + begin, of_rank.data(), of_rank.size());
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const OfRow& a, const OfRow& b) { return a.row < b.row; });
  return rows;
}

/// Calls take(batch, row, losses) with each row of this rank that counts.
template <class Take>
void for_each_row(const data::TextData& data, const std::string& name,
                  const data::ExampleSource& source, const TokenLosses& token_losses,
                  const EvaluationOptions& options, const std::function<void(int64_t rows)>& done,
                  Take take) {
  const int64_t ranks = options.communicator ? options.communicator->size() : 1;
  data::LoaderOptions loading;
  loading.seq_len = options.seq_len;
  loading.rows = options.batch;
  loading.batch_size = options.batch * ranks;
  loading.first_row = options.communicator ? options.batch * options.communicator->rank() : 0;
  if (options.max_rows >= 0) loading.end_step = ceil_div(options.max_rows, loading.batch_size);
  data::Loader loader(source, loading);
  while (!loader.done()) {
    const data::Batch& batch = loader.next();
    throw_if_any_stopped(options.communicator);  // which leaves a batch unmade
    require_rows_of(batch, options, *data.tokenizer(), name);
    if (batch.real_rows > 0) {
      const std::span<const float> losses = token_losses({batch, 0, batch.first_example});
      for (int64_t row = 0; row < batch.real_rows; ++row)
        if (options.max_rows < 0 || batch.first_example + row < options.max_rows)
          take(batch, row, losses);
    } else if (options.attend) {
      options.attend();
    }
    done(batch.real_rows * ranks);
  }
}

struct Component {
  std::vector<std::string> tags;  ///< its name the first
  Sums sums = {};
  std::vector<models::AnswerPair<double>> pairs = {};
  bool has_pairs = false;  ///< that are measured as such, and no sums
};

void evaluate_component(const data::TextData& data, const data::ExampleSource& source,
                        const TokenLosses& token_losses, const EvaluationOptions& options,
                        const std::function<void(int64_t rows)>& done, Component& component) {
  using Losses = std::span<const float>;
  const std::string& name = component.tags.front();
  if (source.pairs && options.measures_pairs) {
    std::vector<PairSums> pairs;
    for_each_row(data, name, source, token_losses, options, done,
                 [&](const data::Batch& batch, int64_t row, Losses losses) {
                   add_pairs(batch, row, losses, options, pairs);
                 });
    for (const PairSums& pair : all_rows(std::move(pairs), options))
      component.pairs.push_back(pair.pair);
    component.has_pairs = true;
    return;
  }
  const ByteLengths byte_lengths(*data.tokenizer());
  std::vector<RowSums> rows;
  for_each_row(data, name, source, token_losses, options, done,
               [&](const data::Batch& batch, int64_t row, Losses losses) {
                 rows.push_back(sums_of_row(batch, row, losses, options, byte_lengths));
               });
  for (const RowSums& row : all_rows(std::move(rows), options))
    component.sums += {row.nats, row.tokens, row.bytes};
}

/// Tags in the order of their first appearance.
std::vector<std::string> all_tags(const std::vector<Component>& components) {
  std::vector<std::string> tags;
  for (const Component& component : components)
    for (const std::string& tag : component.tags)
      if (std::find(tags.begin(), tags.end(), tag) == tags.end()) tags.push_back(tag);
  return tags;
}

/// The metrics of the pairs of some components, under `prefix`.
void add_pair_metrics(const std::vector<Component>& components, const std::string& prefix,
                      const EvaluationOptions& options, Metrics& metrics,
                      const std::function<bool(const Component&)>& counts) {
  std::vector<models::AnswerPair<double>> pairs;
  for (const Component& component : components)
    if (counts(component))
      pairs.insert(pairs.end(), component.pairs.begin(), component.pairs.end());
  for (const auto& [name, value] : models::pair_metrics(options.pair_loss, std::move(pairs)))
    metrics.emplace_back(cat(prefix, name), value);
}

/// The metrics of components of pairs: of all, and by tag where there are `several` tags.
void add_pair_metrics(const std::vector<Component>& components, bool several,
                      const EvaluationOptions& options, Metrics& metrics) {
  add_pair_metrics(components, "eval/", options, metrics, [](const Component&) { return true; });
  if (!several) return;
  for (const std::string& tag : all_tags(components))
    add_pair_metrics(components, cat("eval/", tag, "/"), options, metrics,
                     [&](const Component& component) {
                       return std::find(component.tags.begin(), component.tags.end(), tag) !=
                              component.tags.end();
                     });
}

/// The total of the components of which some tag is what is asked for.
template <class Wanted>
Sums total(const std::vector<Component>& components, Wanted wanted) {
  Sums sums;
  for (const Component& component : components)
    if (std::any_of(component.tags.begin(), component.tags.end(), wanted)) sums += component.sums;
  return sums;
}

/// What the tags "a/b" and "a/c" have in common: "a" and its means.
void add_parents(const std::vector<Component>& components, const std::vector<std::string>& tags,
                 const std::map<std::string, Sums>& by_tag, Metrics& metrics) {
  std::vector<std::string> parents;
  for (const std::string& tag : tags)
    for (size_t slash = tag.find('/'); slash != std::string::npos; slash = tag.find('/', slash + 1))
      if (std::find(parents.begin(), parents.end(), tag.substr(0, slash)) == parents.end())
        parents.push_back(tag.substr(0, slash));
  for (const std::string& parent : parents) {
    const auto below = [&](const std::string& tag) { return tag.starts_with(parent + "/"); };
    double macro = 0, count = 0;
    for (const auto& [tag, sums] : by_tag)
      if (below(tag)) {
        macro += sums.loss();
        ++count;
      }
    metrics.emplace_back(cat("eval/", parent, "/micro_loss"), total(components, below).loss());
    metrics.emplace_back(cat("eval/", parent, "/macro_loss"), macro / count);
  }
}

}  // namespace

void throw_if_any_stopped(dist::Communicator* ranks) {
  if (!ranks) return throw_if_stopped();
  // What was told the others counts: a stop that comes after it is heeded at the next call.
  if (!dist::any(*ranks, stop_requested())) return;
  throw_if_stopped();
  throw Error(ErrorKind::kSignal, "another rank was asked to stop");
}

void require_rows(std::span<const int32_t> ids, int64_t vocab_size,
                  const text::Tokenizer& tokenizer, const std::string& place) {
  const auto bad =
      std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return id >= vocab_size; });
  if (bad == ids.end()) return;
  throw Error(ErrorKind::kData,
              cat("the text has token ", *bad, ", ", quote(tokenizer.decode(std::span(&*bad, 1))),
                  ", and the model knows ", format_count(vocab_size), " tokens"))
      .at(place)
      .allowed(cat("ids from 0 to ", vocab_size - 1))
      .hint(
          "the token was added to the tokenizer, and the model never resized for it: leave it out "
          "of the text, or resize the model and train it");
}

int64_t evaluation_rows(const data::TextData& data, const EvaluationOptions& options) {
  int64_t rows = 0;
  for (const std::string& name : data.validation_names())
    rows += rows_of(data.validation(name, options.seq_len), options);
  return rows;
}

namespace {

/// The metrics of texts by tag: of each, and of what several have in common.
void add_tags(const std::vector<Component>& texts, Metrics& metrics) {
  const std::vector<std::string> tags = all_tags(texts);
  double macro_loss = 0, macro_bits = 0;
  std::map<std::string, Sums> by_tag;
  Metrics each;
  for (const std::string& tag : tags) {
    const Sums sums = total(texts, [&](const std::string& other) { return other == tag; });
    macro_loss += sums.loss() / static_cast<double>(tags.size());
    macro_bits += sums.bits_per_byte() / static_cast<double>(tags.size());
    each.emplace_back(cat("eval/", tag, "/loss"), sums.loss());
    each.emplace_back(cat("eval/", tag, "/bpb"), sums.bits_per_byte());
    by_tag[tag] = sums;
  }
  if (tags.size() > 1) {
    metrics.emplace_back("eval/macro_loss", macro_loss);
    metrics.emplace_back("eval/macro_bpb", macro_bits);
  }
  metrics.insert(metrics.end(), each.begin(), each.end());
  add_parents(texts, tags, by_tag, metrics);
}

/// The metrics of all components that have been gone through.
Metrics metrics_of(std::vector<Component> components, const EvaluationOptions& options) {
  const bool several = all_tags(components).size() > 1;
  const auto first_text =
      std::stable_partition(components.begin(), components.end(),
                            [](const Component& component) { return component.has_pairs; });
  const std::vector<Component> pairs(components.begin(), first_text),
      texts(first_text, components.end());
  Metrics metrics;
  if (!pairs.empty()) {
    add_pair_metrics(pairs, several, options, metrics);
  } else {
    Sums all;
    for (const Component& text : texts) all += text.sums;
    metrics = {{"eval/loss", all.loss()}, {"eval/bpb", all.bits_per_byte()}};
  }
  if (several && !texts.empty()) add_tags(texts, metrics);
  return metrics;
}

}  // namespace

Metrics evaluate(const data::TextData& data, const TokenLosses& token_losses,
                 const EvaluationOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<Component> components;
  const std::vector<std::string> names = data.validation_names();
  std::vector<data::ExampleSource> sources;
  double rows = 0, rows_done = 0;
  for (const std::string& name : names) {
    sources.push_back(data.validation(name, options.seq_len));
    rows += static_cast<double>(rows_of(sources.back(), options));
  }
  const auto done = [&](int64_t more) {
    rows_done += static_cast<double>(more);
    const auto tokens = static_cast<double>(options.seq_len);
    if (options.progress)
      options.progress({"evaluating", std::min(rows_done, rows) * tokens, rows * tokens, "token"});
  };
  for (size_t i = 0; i < names.size(); ++i) {
    components.push_back({{names[i]}});
    for (const std::string& tag : data.tags(names[i])) components.back().tags.push_back(tag);
    evaluate_component(data, sources[i], token_losses, options, done, components.back());
  }
  if (components.empty()) return {};
  Metrics metrics = metrics_of(std::move(components), options);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  metrics.emplace_back("eval/total_time", elapsed.count());
  return metrics;
}

}  // namespace levanter::train
