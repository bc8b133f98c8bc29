// levanter tokenizer train: learns a byte-level BPE vocabulary from text files.
#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "commands/command.h"
#include "commands/json_records.h"
#include "data/files/json_fields.h"
#include "data/files/source.h"
#include "text/hf/tokenizer_file.h"
#include "text/tokenizer.h"
#include "text/train_bpe.h"
#include "text/utf8.h"

namespace levanter::commands {

namespace {

constexpr int kMostFiles = 1 << 20;

constexpr Option kOptions[] = {
    {"vocab-size", "N", "how many tokens, the 256 bytes and the special ones included", true},
    {"out", "DIR", "the folder to write tokenizer.json, vocab.json and merges.txt to", true},
    {"min-frequency", "N", "a pair met less often is not merged; default 2"},
    {"eos", "TOKEN", "the token that ends a document, such as <|endoftext|>; its id is 0"},
};

/// Adds the text of a file, or the texts of its records, read as those of a run are.
/// returns how many pieces that are no UTF-8 became U+FFFD
int64_t read_texts(const std::string& file, std::vector<std::string>& texts) {
  data::RecordReader reader(file);
  data::JsonFields fields;
  int64_t replaced = 0;
  while (const std::optional<data::Record> record = reader.next()) {
    if (reader.form() != data::RecordForm::kText) {
      fields.parse(*record);
      texts.emplace_back(fields.string("text"));
      continue;
    }
    replaced += text::append_mended_utf8(texts.emplace_back(), record->content);
  }
  return replaced + fields.replaced();
}

int train(const Arguments& a) {
  if (a.words.size() < 2)
    throw Error(ErrorKind::kConfig, "there is no text to learn from")
        .allowed("levanter tokenizer train FILE... --vocab-size N --out DIR");
  text::TrainOptions options;
  options.vocab_size = a.integer("vocab-size", 0, 256 + 1, 1 << 24);
  options.min_frequency = a.integer("min-frequency", 2, 1, int64_t{1} << 40);
  if (a.values.contains("eos")) options.specials.push_back(a.text("eos"));
  std::vector<std::string> texts;
  int64_t replaced = 0;
  for (size_t i = 1; i < a.words.size(); ++i) replaced += read_texts(a.words[i], texts);
  note_replaced(replaced);
  const text::TrainedBpe trained = text::train_bpe(texts, options);
  const std::string out = a.text("out");
  make_directories(out);
  write_file_atomic(join_path(out, "vocab.json"), trained.vocab_json());
  write_file_atomic(join_path(out, "merges.txt"), trained.merges_txt());
  if (!options.specials.empty())
    write_file_atomic(join_path(out, "tokenizer_config.json"),
                      cat("{\"bos_token\": null, \"eos_token\": ", quote(options.specials[0]),
                          ", \"tokenizer_class\": \"PreTrainedTokenizerFast\"}\n"));
  write_file_atomic(join_path(out, "tokenizer.json"),
                    trained.tokenizer_json(options.specials.size()));
  print(cat(count_of(std::ssize(trained.tokens), "token"), ", ",
            count_of(std::ssize(trained.merges), "merge"), " -> ", out, "\n"));
  return 0;
}

constexpr CommandEntry kCommands[] = {
    {"train", "learn a vocabulary from text files", "FILE...", kMostFiles, kOptions, false, train}};

}  // namespace

extern const CommandEntry tokenizer_entry;
const CommandEntry tokenizer_entry = {"tokenizer",
                                      "learns a byte-level BPE vocabulary from text",
                                      "train FILE...",
                                      0,
                                      {},
                                      false,
                                      nullptr,
                                      kCommands};

}  // namespace levanter::commands
