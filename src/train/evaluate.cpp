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

/// Throws where this rank was asked to stop, or another, which all do at the same batch.
void throw_if_any_stopped(const EvaluationOptions& options) {
  if (!options.communicator) return throw_if_stopped();
  // What was told the others counts: a stop that comes after it is heeded at the next batch.
  if (!dist::any(*options.communicator, stop_requested())) return;
  throw_if_stopped();
  throw Error(ErrorKind::kSignal, "another rank was asked to stop");
}

/// The rows of all ranks, in their order.
std::vector<RowSums> all_rows(std::vector<RowSums> own, const EvaluationOptions& options) {
  if (!options.communicator) return own;
  std::vector<RowSums> rows;
  const std::string_view bytes(reinterpret_cast<const char*>(own.data()),
                               own.size() * sizeof(RowSums));
  for (const std::string& of_rank : dist::gather_texts(*options.communicator, bytes)) {
    const size_t begin = rows.size();
    rows.resize(begin + of_rank.size() / sizeof(RowSums));
    if (!of_rank.empty()) std::memcpy(rows.data() + begin, of_rank.data(), of_rank.size());
  }
  std::sort(rows.begin(), rows.end(),
            [](const RowSums& a, const RowSums& b) { return a.row < b.row; });
  return rows;
}

Sums evaluate_component(const data::TextData& data, const std::string& name,
                        const data::ExampleSource& source, const TokenLosses& token_losses,
                        const EvaluationOptions& options,
                        const std::function<void(int64_t rows)>& done) {
  const ByteLengths byte_lengths(*data.tokenizer());
  const int64_t ranks = options.communicator ? options.communicator->size() : 1;
  data::LoaderOptions loading;
  loading.seq_len = options.seq_len;
  loading.rows = options.batch;
  loading.batch_size = options.batch * ranks;
  loading.first_row = options.communicator ? options.batch * options.communicator->rank() : 0;
  if (options.max_rows >= 0) loading.end_step = ceil_div(options.max_rows, loading.batch_size);
  data::Loader loader(source, loading);
  std::vector<RowSums> rows;
  while (!loader.done()) {
    const data::Batch& batch = loader.next();
    throw_if_any_stopped(options);  // which leaves a batch unmade
    require_rows_of(batch, options, *data.tokenizer(), name);
    if (batch.real_rows > 0) {
      const std::span<const float> losses = token_losses({batch, 0, batch.first_example});
      for (int64_t row = 0; row < batch.real_rows; ++row)
        if (options.max_rows < 0 || batch.first_example + row < options.max_rows)
          rows.push_back(sums_of_row(batch, row, losses, options, byte_lengths));
    } else if (options.attend) {
      options.attend();
    }
    done(batch.real_rows * ranks);
  }
  Sums sums;
  for (const RowSums& row : all_rows(std::move(rows), options))
    sums += {row.nats, row.tokens, row.bytes};
  return sums;
}

struct Component {
  std::vector<std::string> tags;  ///< its name the first
  Sums sums;
};

/// Tags in the order of their first appearance.
std::vector<std::string> all_tags(const std::vector<Component>& components) {
  std::vector<std::string> tags;
  for (const Component& component : components)
    for (const std::string& tag : component.tags)
      if (std::find(tags.begin(), tags.end(), tag) == tags.end()) tags.push_back(tag);
  return tags;
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

Metrics evaluate(const data::TextData& data, const TokenLosses& token_losses,
                 const EvaluationOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<Component> components;
  Sums all;
  const std::vector<std::string> names = data.validation_names();
  std::vector<data::ExampleSource> sources;
  double rows = 0, rows_done = 0;
  for (const std::string& name : names) {
    sources.push_back(data.validation(name, options.seq_len));
    rows += static_cast<double>(rows_of(sources.back(), options));
  }
  const auto done = [&](int64_t more) {
    rows_done += static_cast<double>(more);
    if (options.progress) options.progress(std::min(rows_done / rows, 1.0));
  };
  for (size_t i = 0; i < names.size(); ++i) {
    std::vector<std::string> tags = {names[i]};
    for (const std::string& tag : data.tags(names[i])) tags.push_back(tag);
    components.push_back({std::move(tags), evaluate_component(data, names[i], sources[i],
                                                              token_losses, options, done)});
    all += components.back().sums;
  }
  if (components.empty()) return {};
  Metrics metrics = {{"eval/loss", all.loss()}, {"eval/bpb", all.bits_per_byte()}};
  const std::vector<std::string> tags = all_tags(components);
  if (tags.size() > 1) {
    double macro_loss = 0, macro_bits = 0;
    std::map<std::string, Sums> by_tag;
    Metrics each;
    for (const std::string& tag : tags) {
      const Sums sums = total(components, [&](const std::string& other) { return other == tag; });
      macro_loss += sums.loss() / static_cast<double>(tags.size());
      macro_bits += sums.bits_per_byte() / static_cast<double>(tags.size());
      each.emplace_back(cat("eval/", tag, "/loss"), sums.loss());
      each.emplace_back(cat("eval/", tag, "/bpb"), sums.bits_per_byte());
      by_tag[tag] = sums;
    }
    metrics.emplace_back("eval/macro_loss", macro_loss);
    metrics.emplace_back("eval/macro_bpb", macro_bits);
    metrics.insert(metrics.end(), each.begin(), each.end());
    add_parents(components, tags, by_tag, metrics);
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  metrics.emplace_back("eval/total_time", elapsed.count());
  return metrics;
}

}  // namespace levanter::train
