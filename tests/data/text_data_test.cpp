// Texts as datasets: splits, vocabularies, epochs, and texts that don't serve.
#include "data/text_data.h"

#include <catch2/catch.hpp>

#include <map>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "support/fault.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::data;
using levanter::testing::failure_of;
using levanter::testing::TemporaryFolder;

namespace {

const text::TokenizerEntry& kind(std::string_view name) { return text::find_tokenizer(name); }

std::vector<Example> examples(const ExampleSource& source, int64_t begin, int64_t end) {
  std::vector<int64_t> indices(static_cast<size_t>(end - begin));
  std::iota(indices.begin(), indices.end(), begin);
  return source.examples->get_batch(indices).get();
}

/// One component of one file that holds `text`, split by `fraction`.
TextData one_text(const TemporaryFolder& folder, std::string_view text, double fraction,
                  std::string_view tokenizer = "bytes") {
  write_file_atomic(folder / "text.txt", text);
  const std::vector<TextComponent> components = {{"prose", {folder / "text.txt"}, {}, fraction}};
  return TextData(components, {.kind = &kind(tokenizer)});
}

/// Bytes that count on from `start`.
std::string counting(int start, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += static_cast<char>(start + i);
  return out;
}

}  // namespace

TEST_CASE("a fraction splits exactly as it is written", "[data]") {
  CHECK(training_tokens(1115394, 0.1) == 1003854);
  CHECK(training_tokens(10, 0.1) == 9);
  CHECK(training_tokens(10, 0.9) == 1);
  CHECK(training_tokens(100, 0.07) == 93);
  CHECK(training_tokens(1000, 0.3) == 700);
  CHECK(training_tokens(3, 0.5) == 1);
  CHECK(training_tokens(7, 0) == 7);
  CHECK(training_tokens(4'000'000'000'000'000'000, 0.25) == 3'000'000'000'000'000'000);
}

TEST_CASE("a fraction keeps characters with char and bytes with bytes", "[data]") {
  const TemporaryFolder folder;
  const std::string text =
      "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9"
      "abcdef";  // 10 characters, 14 bytes
  const TextData characters = one_text(folder, text, 0.3, "char");
  CHECK(characters.train_tokens() == 7);
  CHECK(characters.validation_tokens() == 3);
  const TextData bytes = one_text(folder, text, 0.5, "bytes");
  CHECK(bytes.train_tokens() == 7);
  CHECK(bytes.validation_tokens() == 7);
}

TEST_CASE("the vocabulary holds the characters of validation too", "[data]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "train.txt", "aaaa");
  write_file_atomic(folder / "valid.txt", "bbb");
  const std::vector<TextComponent> components = {
      {"c", {folder / "train.txt"}, {folder / "valid.txt"}, 0}};
  const TextData data(components, {.kind = &kind("char")});
  CHECK(data.tokenizer()->vocab_size() == 2);
  CHECK(data.train_tokens() == 4);
  CHECK(data.validation_tokens() == 3);
  CHECK(data.validation_names() == std::vector<std::string>{"c"});
}

TEST_CASE("an epoch has each window of each component once, differently cut and ordered",
          "[data]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "a", counting(1, 50));
  write_file_atomic(folder / "b", counting(100, 23));
  const std::vector<TextComponent> components = {{"a", {folder / "a"}, {}, 0},
                                                 {"b", {folder / "b"}, {}, 0}};
  const TextData data(components, {.kind = &kind("bytes")});
  const ExampleSource source = data.training({.seq_len = 5, .key = key_from_seed(1)});
  CHECK(source.epoch_length == 9 + 3);
  CHECK(source.one_segment);
  CHECK(source.examples->length().get() == kEndless);

  std::set<std::vector<int32_t>> orders;
  std::set<int32_t> offsets;
  for (int64_t epoch = 0; epoch < 12; ++epoch) {
    std::map<bool, std::set<int32_t>> firsts;
    std::vector<int32_t> order;
    for (const Example& e : examples(source, 12 * epoch, 12 * epoch + 12)) {
      CHECK(e.targets.back() == e.tokens.front() + 5);  // never across components
      firsts[e.tokens[0] >= 100].insert(e.tokens[0] % 100);
      order.push_back(e.tokens[0] / 5);
    }
    CHECK(firsts[false].size() == 9);
    CHECK(firsts[true].size() == 3);
    for (const auto& [component, set] : firsts)
      for (const int32_t first : set) CHECK((first - *set.begin()) % 5 == 0);
    offsets.insert(*firsts[false].begin());
    orders.insert(order);
  }
  CHECK(orders.size() == 12);
  CHECK(offsets.size() >= 3);
}

TEST_CASE("an example depends on its index, the key and nothing else", "[data]") {
  const TemporaryFolder folder;
  const TextData data = one_text(folder, counting(1, 200), 0);
  const ExampleSource one = data.training({.seq_len = 8, .key = key_from_seed(1)});
  const ExampleSource same = data.training({.seq_len = 8, .key = key_from_seed(1)});
  const ExampleSource other = data.training({.seq_len = 8, .key = key_from_seed(2)});
  const std::vector<Example> straight = examples(one, 0, 60);
  int different = 0;
  for (int64_t g = 59; g >= 0; --g) {
    const auto& expected = straight[static_cast<size_t>(g)].tokens;
    CHECK(examples(same, g, g + 1)[0].tokens == expected);
    different += examples(other, g, g + 1)[0].tokens != expected;
  }
  CHECK(different > 30);
}

TEST_CASE("without a shuffle the windows of an epoch follow the text", "[data]") {
  const TemporaryFolder folder;
  const TextData data = one_text(folder, counting(1, 100), 0);
  const ExampleSource source =
      data.training({.seq_len = 8, .key = key_from_seed(1), .shuffle = {ShuffleReach::kNone}});
  const std::vector<Example> epoch = examples(source, 0, source.epoch_length);
  for (size_t i = 1; i < epoch.size(); ++i)
    CHECK(epoch[i].tokens.front() == epoch[i - 1].targets.back());
}

TEST_CASE("the files of a component are documents of one stream", "[data]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "a", counting(1, 6));
  write_file_atomic(folder / "b", counting(100, 6));
  const std::vector<TextComponent> components = {
      {"c", {folder / "a"}, {folder / "a", folder / "b"}, 0}};
  const TextData data(components, {.kind = &kind("bytes")});
  const ExampleSource source = data.validation("c", 4);
  CHECK_FALSE(source.one_segment);
  CHECK(source.epoch_length == 3);
  const std::vector<Example> all = examples(source, 0, 3);
  CHECK(all[1].tokens == std::vector<int32_t>{5, 6, 100, 101});
  CHECK(all[1].segment_ids == std::vector<int32_t>{0, 0, 1, 1});
  CHECK(all[1].loss_weight == std::vector<float>{1, 0, 1, 1});
  const std::vector<int64_t> indices = {0, 1, 2};
  CHECK(source.loss_tokens->get_batch(indices).get() == std::vector<double>{4, 3, 3});
}

TEST_CASE("a saved tokenizer is kept, and a new character is refused with its place", "[data]") {
  const TemporaryFolder folder;
  const TextData before = one_text(folder, "abcabcabc", 0, "char");
  write_file_atomic(folder / "text.txt", "aabb");
  const std::vector<TextComponent> components = {{"prose", {folder / "text.txt"}, {}, 0}};
  CHECK(TextData(components, {.kind = &kind("char"), .saved = before.tokenizer()})
            .tokenizer()
            ->vocab_size() == 3);
  write_file_atomic(folder / "text.txt", "ab\nabd");
  CHECK(
      failure_of(
          ErrorKind::kData,
          [&] { TextData(components, {.kind = &kind("char"), .saved = before.tokenizer()}); }) ==
      cat("error: the character U+000A is not in the vocabulary of 3 characters\n"
          "  at       ",
          folder / "text.txt",
          ": byte 2 (line 1)\n"
          "  hint     the vocabulary is fixed when a run begins: leave the character out, or begin "
          "a new run on a text that has it"));
}

TEST_CASE("texts shorter than one window are refused, naming the sizes", "[data]") {
  const TemporaryFolder folder;
  const TextData data = one_text(folder, counting(1, 200), 0.05);
  CHECK(
      failure_of(ErrorKind::kData, [&] { data.validation("prose", 16); }) ==
      "error: the validation text of component \"prose\" has 10 tokens, less than one "
      "window of 17 (the sequence length and one)\n"
      "  at       data.components.prose\n"
      "  hint     raise data.components.prose.validation_fraction to 0.085, give a longer text, or "
      "shorten model.max_seq_len");
  CHECK(data.validation("prose", 9).epoch_length == 1);
  CHECK(failure_of(ErrorKind::kData, [&] { data.training({.seq_len = 190}); }) ==
        "error: the training text of component \"prose\" has 190 tokens, less than one "
        "window "
        "of 191 (the sequence length and one)\n"
        "  at       data.components.prose\n"
        "  hint     give a longer text or shorten model.max_seq_len");
  CHECK(data.training({.seq_len = 189}).epoch_length == 1);
  CHECK(failure_of(ErrorKind::kData, [&] { data.check_lengths(9); }) == "");
  CHECK_THROWS_AS(data.check_lengths(10), Error);
  CHECK_THROWS_AS(data.check_lengths(190), Error);
}

TEST_CASE("texts that would fill the memory are refused with the way out", "[data]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "text.txt", std::string(1000, 'x'));
  const std::vector<TextComponent> components = {{"prose", {folder / "text.txt"}, {}, 0.1}};
  TextDataOptions options{.kind = &kind("bytes"), .memory_bytes = 12'000};
  CHECK(TextData(components, options).train_tokens() == 900);
  options.memory_bytes = 11'996;
  CHECK_THAT(
      failure_of(ErrorKind::kDevice, [&] { TextData(components, options); }),
      Catch::Contains("more than a third of the memory") && Catch::Contains("data.cache_dir"));
}

TEST_CASE("components that contradict themselves are refused", "[data]") {
  const auto error = [](TextComponent component) {
    return failure_of(ErrorKind::kConfig,
                      [&] { TextData(std::span(&component, 1), {.kind = &kind("bytes")}); });
  };
  CHECK(error({"c", {"a"}, {"b"}, 0.1}) ==
        "error: component \"c\" has both validation files and a validation_fraction\n"
        "  hint     keep one of the two");
  CHECK(error({"c", {"a"}, {}, 1.5}) ==
        "error: data.components.c.validation_fraction = 1.5 is not a share of a text\n"
        "  allowed  from 0 to below 1");
  const TextData none({}, {.kind = &kind("bytes")});
  CHECK(failure_of(ErrorKind::kData, [&] { none.training({.seq_len = 4}); }) ==
        "error: there is no text to train on\n"
        "  hint     name files under data.components.<name>.train");
}

TEST_CASE("tiny Shakespeare has 65 characters, split as nanoGPT does", "[data]") {
  const std::string path = levanter::testing::shared_data("text/tinyshakespeare.txt.gz");
  if (path.empty()) {
    WARN("skipped: the shared data is absent");
    return;
  }
  const std::vector<TextComponent> components = {{"shakespeare", {path}, {}, 0.1}};
  const TextData data(components, {.kind = &kind("char")});
  CHECK(data.tokenizer()->vocab_size() == 65);
  CHECK(data.train_tokens() == 1003854);
  CHECK(data.validation_tokens() == 111540);
  const ExampleSource validation = data.validation("shakespeare", 64);
  CHECK(validation.epoch_length == 1743);
  double targets = 0;
  std::vector<int64_t> indices(1743);
  std::iota(indices.begin(), indices.end(), 0);
  for (const double count : validation.loss_tokens->get_batch(indices).get()) targets += count;
  CHECK(targets == 111539);
}
