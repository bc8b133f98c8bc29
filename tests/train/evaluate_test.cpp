// Losses over whole validation sets.
#include "train/evaluate.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "support/evaluate.h"
#include "support/instruction_set.h"
#include "support/tiny_run.h"
#include "train/engine/engine.h"
#include "train/setup.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr int64_t kPositions = 16;
/// f64 sums of f32 row sums, against f64 sums of all tokens.
constexpr double kSumTolerance = 1e-6;

/// The loss that the made-up model gives a token: a function of token and target alone.
float loss_of(int32_t token, int32_t target) {
  return 0.25f + static_cast<float>((token * 7 + target * 3) % 16) / 16;
}

/// The made-up model; counts the rows it was asked for.
struct Model {
  train::TokenLosses losses(int64_t batch) {
    return [this, batch](const infer::Rows& rows) -> std::span<const float> {
      memory.resize(static_cast<size_t>(batch * kPositions));
      for (size_t i = 0; i < memory.size(); ++i)
        memory[i] = loss_of(rows.arrays.tokens[i], rows.arrays.targets[i]);
      rows_seen += batch;
      return memory;
    };
  }
  std::vector<float> memory;
  int64_t rows_seen = 0;
};

/// The metrics but for the time, which is another each time.
Metrics timeless(Metrics metrics) {
  CHECK(metrics.back().first == "eval/total_time");
  CHECK(metrics.back().second >= 0);
  metrics.pop_back();
  return metrics;
}

/// Texts "a" and "b" of different sizes, with characters of one byte and of two.
struct Texts {
  Texts() {
    write_file_atomic(folder / "train.txt", "abcdefghij \xc3\xa4\xc3\xb6" + std::string(80, 'a'));
    std::string a, b;
    for (int i = 0; i < 40; ++i) {
      a += "abc\xc3\xa4 d";
      b += i % 3 ? "\xc3\xb6 gh" : "ij";
    }
    write_file_atomic(folder / "a.txt", a);
    write_file_atomic(folder / "b.txt", b);
  }
  data::TextData data(const std::vector<std::string>& names) const {
    std::vector<data::TextComponent> components;
    for (const std::string& name : names)
      components.push_back({name, {folder / "train.txt"}, {folder / (name + ".txt")}, 0});
    return data::TextData(components, {.kind = &text::find_tokenizer("char")});
  }
  /// Sums of losses, tokens and bytes over all but the first token of a text.
  std::array<double, 3> sums(const data::TextData& data, const std::string& name) const {
    const std::string path = folder / (name + ".txt"), content = read_file(path);
    const auto ids = data.tokenizer()->encode({content, path});
    std::array<double, 3> total{};
    for (size_t i = 1; i < ids.size(); ++i) {
      total[0] += loss_of(ids[i - 1], ids[i]);
      total[1] += 1;
      total[2] += static_cast<double>(data.tokenizer()->byte_length(ids[i]));
    }
    return total;
  }
  TemporaryFolder folder;
};

}  // namespace

TEST_CASE("the loss is the mean over all tokens, in nats and in bits a byte", "[train]") {
  const Texts texts;
  const data::TextData data = texts.data({"a"});
  const auto [nats, tokens, bytes] = texts.sums(data, "a");
  REQUIRE(bytes > tokens);
  Model model;
  const Metrics metrics =
      timeless(train::evaluate(data, model.losses(3), {.batch = 3, .seq_len = kPositions}));
  REQUIRE(metrics.size() == 2);
  CHECK(find_metric(metrics, "eval/loss", -1) == Approx(nats / tokens).epsilon(kSumTolerance));
  CHECK(find_metric(metrics, "eval/bpb", -1) ==
        Approx(nats / (std::log(2.0) * bytes)).epsilon(kSumTolerance));
}

TEST_CASE("ranks share the rows of an evaluation and change no bit of it", "[train]") {
  const Texts texts;
  const data::TextData data = texts.data({"a", "b"});
  for (const int64_t max_rows : {-1, 1, 7}) {
    const train::EvaluationOptions alone{.batch = 2, .seq_len = kPositions, .max_rows = max_rows};
    Model model;
    const Metrics expected = timeless(train::evaluate(data, model.losses(2), alone));
    for (const int64_t ranks : {2, 3, 9}) {
      INFO(ranks << " ranks, at most " << max_rows << " rows");
      std::vector<Metrics> metrics(static_cast<size_t>(ranks));
      dist::run_ranks(dist::entry("threads"), ranks, [&](dist::Communicator& end) {
        Model of_rank;
        train::EvaluationOptions options = alone;
        options.communicator = &end;
        metrics[static_cast<size_t>(end.rank())] =
            train::evaluate(data, of_rank.losses(2), options);
        if (max_rows < 0 && of_rank.rows_seen >= model.rows_seen)
          throw Error(ErrorKind::kInternal, "one rank has evaluated all rows");
      });
      for (const Metrics& of_rank : metrics) CHECK(timeless(of_rank) == expected);
    }
  }
}

TEST_CASE("the blank that a tokenizer puts before a text is no byte of it", "[train]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "v.jsonl",
                    "{\"text\": \"a a\"}\n{\"text\": \"\"}\n{\"text\": \"aa\"}\n");
  const std::shared_ptr<const text::Tokenizer> tokenizer = text::load_tokenizer(
      R"({"type":"hf","bos_id":3,"eos_id":4,"added":[],"tokenizer":{
          "added_tokens":[{"id":3,"content":"<s>","special":true},
                          {"id":4,"content":"</s>","special":true}],
          "normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"\u2581"},
            {"type":"Replace","pattern":{"String":" "},"content":"\u2581"}]},
          "decoder":{"type":"Sequence","decoders":[
            {"type":"Replace","pattern":{"String":"\u2581"},"content":" "},{"type":"Fuse"},
            {"type":"Strip","content":" ","start":1,"stop":0}]},
          "model":{"type":"BPE","vocab":{"a":0,"\u2581":1,"\u2581a":2},
                   "merges":[["\u2581","a"]]}}})",
      "tokenizer.json");
  data::TextComponent component{"c", {}, {folder / "v.jsonl"}};
  component.rows.pack = data::PackOptions{.alone = true};
  const std::vector<data::TextComponent> components = {component};
  const data::TextData data(components, {.saved = tokenizer, .enforce_bos = true});
  Model model;
  const Metrics metrics =
      timeless(train::evaluate(data, model.losses(2), {.batch = 2, .seq_len = kPositions}));
  // nats = loss * tokens; the texts have 3, 0 and 2 bytes, and 3 + 1 + 3 targets.
  const double nats = find_metric(metrics, "eval/loss", -1) * 7;
  CHECK(nats / (std::log(2.0) * find_metric(metrics, "eval/bpb", -1)) ==
        Approx(5).epsilon(kSumTolerance));
}

TEST_CASE("several components are given one by one, weighted by tokens, and as their mean",
          "[train]") {
  const Texts texts;
  const data::TextData data = texts.data({"a", "b"});
  const auto a = texts.sums(data, "a"), b = texts.sums(data, "b");
  Model model;
  const Metrics m =
      timeless(train::evaluate(data, model.losses(2), {.batch = 2, .seq_len = kPositions}));
  const auto near = [](double value) { return Approx(value).epsilon(kSumTolerance); };
  const double log2 = std::log(2.0);
  CHECK(find_metric(m, "eval/loss", -1) == near((a[0] + b[0]) / (a[1] + b[1])));
  CHECK(find_metric(m, "eval/bpb", -1) == near((a[0] + b[0]) / (log2 * (a[2] + b[2]))));
  CHECK(find_metric(m, "eval/macro_loss", -1) == near((a[0] / a[1] + b[0] / b[1]) / 2));
  CHECK(find_metric(m, "eval/macro_bpb", -1) == near((a[0] / a[2] + b[0] / b[2]) / (2 * log2)));
  CHECK(find_metric(m, "eval/a/loss", -1) == near(a[0] / a[1]));
  CHECK(find_metric(m, "eval/b/bpb", -1) == near(b[0] / (log2 * b[2])));
  CHECK(m.size() == 8);
}

TEST_CASE("tags gather components, and parents gather tags, weighted by tokens", "[train]") {
  const Texts texts;
  const auto component = [&](const std::string& name, std::vector<std::string> tags) {
    return data::TextComponent{.name = name,
                               .train = {texts.folder / "train.txt"},
                               .validation = {texts.folder / (name + ".txt")},
                               .tags = std::move(tags)};
  };
  const std::vector<data::TextComponent> components = {component("a", {"de/prose", "all"}),
                                                       component("b", {"de/verse", "all"})};
  const data::TextData data(components, {.kind = &text::find_tokenizer("char")});
  const auto a = texts.sums(data, "a"), b = texts.sums(data, "b");
  Model model;
  const Metrics m =
      timeless(train::evaluate(data, model.losses(2), {.batch = 2, .seq_len = kPositions}));
  const auto near = [](double value) { return Approx(value).epsilon(kSumTolerance); };
  const double both = (a[0] + b[0]) / (a[1] + b[1]), la = a[0] / a[1], lb = b[0] / b[1];
  REQUIRE(std::abs(both - (la + lb) / 2) > 1e-3);
  CHECK(find_metric(m, "eval/all/loss", -1) == near(both));
  CHECK(find_metric(m, "eval/de/prose/loss", -1) == near(la));
  CHECK(find_metric(m, "eval/de/micro_loss", -1) == near(both));
  CHECK(find_metric(m, "eval/de/macro_loss", -1) == near((la + lb) / 2));
  CHECK(find_metric(m, "eval/macro_loss", -1) == near((2 * la + 2 * lb + both) / 5));
}

TEST_CASE("the rows at a time change no bit of the result", "[train]") {
  const Texts texts;
  const data::TextData data = texts.data({"a", "b"});
  Model model;
  const auto with = [&](int64_t batch, int64_t max_rows) {
    return timeless(train::evaluate(data, model.losses(batch),
                                    {.batch = batch, .seq_len = kPositions, .max_rows = max_rows}));
  };
  for (const int64_t max_rows : {int64_t{-1}, int64_t{1}, int64_t{5}, int64_t{1000}}) {
    const Metrics expected = with(1, max_rows);
    for (const int64_t batch : {2, 3, 7, 100}) CHECK(with(batch, max_rows) == expected);
  }
  CHECK(with(2, 1000) == with(2, -1));
  CHECK(with(2, 1) != with(2, -1));
}

TEST_CASE("max_rows rows of each component are read, and no more", "[train]") {
  const Texts texts;
  const data::TextData data = texts.data({"a", "b"});
  Model model;
  train::evaluate(data, model.losses(2), {.batch = 2, .seq_len = kPositions, .max_rows = 4});
  CHECK(model.rows_seen == 2 * 4);
}

TEST_CASE("without validation text there are no metrics", "[train]") {
  const Texts texts;
  const std::vector<data::TextComponent> components = {{"a", {texts.folder / "train.txt"}, {}, 0}};
  const data::TextData data(components, {.kind = &text::find_tokenizer("char")});
  Model model;
  CHECK(train::evaluate(data, model.losses(1), {.batch = 1, .seq_len = kPositions}).empty());
  CHECK(model.rows_seen == 0);
}

TEST_CASE("a model's validation loss does not depend on threads or on the rows at a time",
          "[train]") {
  const TinyRun run;
  const TrainConfig config = run.config("a", "num_train_steps = 1\n");
  const auto data = train::load_data(config);
  const int64_t vocab = train::vocab_size(config, data->tokenizer().get());
  for (const char* device : {"reference", "cpu"}) {
    std::map<int64_t, Metrics> found;  // by rows
    for (const int threads : {1, 2, 5})
      for (const int64_t batch : {1, 2, 3, 12}) {
        if (device == std::string("reference") && threads > 1) continue;
        const auto backend = make_backend(device, threads);
        train::StepOptions options = train::step_options(config, vocab, 0);
        options.shape.batch = batch;
        train::Engine engine(train::CompiledStep(options, *backend), *backend);
        engine.initialise(key_from_seed(4));
        const Metrics m = timeless(train::evaluate(
            *data, [&](const infer::Rows& rows) { return engine.run_evaluation(rows); },
            {.batch = batch, .seq_len = kPositions}));
        INFO(device << ", " << threads << " threads, " << batch << " rows");
        CHECK(found.try_emplace(batch, m).first->second == m);
        const Metrics& other = found.at(1);
        if (device == std::string("reference") || rows_keep_their_bits())
          CHECK(m == other);
        else
          CHECK(m[0].second == Approx(other[0].second).epsilon(1e-5));
      }
  }
}

TEST_CASE("an evaluation tells how far it is", "[train]") {
  const Texts texts;
  const data::TextData data = texts.data({"a", "b"});
  for (const int64_t most : {-1, 3}) {
    Model model;
    std::vector<double> heard;
    train::EvaluationOptions options{.batch = 2, .seq_len = kPositions, .max_rows = most};
    options.progress = [&](const Progress& progress) { heard.push_back(progress.fraction()); };
    train::evaluate(data, model.losses(2), options);
    CHECK(heard.size() == static_cast<size_t>(model.rows_seen / 2));
    CHECK(std::is_sorted(heard.begin(), heard.end()));
    CHECK(heard.front() > 0);
    CHECK(heard.back() == 1);
    if (most > 0) CHECK(train::evaluation_rows(data, options) == 6);
  }
}
