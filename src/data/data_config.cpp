#include "data/data_config.h"

#include "base/strings.h"
#include "config/problems.h"

namespace levanter {

void ComponentConfig::fields(config::Fields& f) {
  f("train", train, "text files to train on, read one after the other; .gz is unpacked").required();
  f("validation", validation, "text files to validate on");
  f("validation_fraction", validation_fraction,
    "the last part of the training text that is held out for validation instead")
      .above(0)
      .below(1);
  f.dropped("train_urls", "write train = [\"file.txt\"]");
  f.dropped("validation_urls", "write validation = [\"file.txt\"]");
  f.dropped("source", "write train = [\"file.txt\"]");
  f.dropped("splits", "write train = [...] and validation = [...]");
  f.dropped("id", "nothing is fetched; write train = [\"file.txt\"]");
  f.dropped("name", "a component's name is its table's: [data.components.NAME]");
  f.dropped("stream", "files are always read from disk");
  f.dropped("cache_dir", "text is tokenised in memory");
  f.dropped("tags", "a component's name is its only tag");
  f.dropped("format", "files are plain text");
  f.dropped("pack", "texts are one stream, cut into windows");
}

void ComponentConfig::validate(config::Problems& p) const {
  if (train.empty())
    p.add("train", cat(p.name("train"), " = [] names no file")).allowed("one path or more");
  if (validation_fraction && !validation.empty())
    p.add("validation_fraction",
          cat(p.name("validation"), " and ", p.name("validation_fraction"),
              " both say what to validate on"),
          {"validation"})
        .hint("keep one of them");
}

void DataConfig::fields(config::Fields& f) {
  f("tokenizer", tokenizer, "how text becomes tokens");
  f("components", components, "sources of text by name");
  f("shuffle", shuffle, "whether windows are visited in a random order, drawn anew each epoch");
  f("prefetch", prefetch, "batches that are prepared ahead of the step")
      .at_least(1)
      .at_most(1024)
      .unit("batches")
      .may_change();
  f.dropped("configs", "write [data.components.NAME]");
  f.dropped("train_urls", "write train = [\"file.txt\"] below [data.components.NAME]");
  f.dropped("validation_urls", "write validation = [\"file.txt\"] below [data.components.NAME]");
  f.dropped("id", "nothing is fetched; write train = [\"file.txt\"] below [data.components.NAME]");
  f.dropped("name", "write [data.components.NAME]");
  f.dropped("stream", "files are always read from disk");
  f.dropped("tags", "a component's name is its only tag");
  f.dropped("format", "files are plain text");
  f.dropped("cache_dir", "text is tokenised in memory");
  f.dropped("cache_options", "text is tokenised in memory");
  f.dropped("auto_build_caches", "text is tokenised in memory");
  f.dropped("enforce_eos", "the tokenizers bytes and char have no end of text");
  f.dropped("chat_template", "files are plain text");
  f.dropped("ignore_token_id", "what the loss counts is decided by weights, not by a token");
  f.dropped("vocab_size", "write model.vocab_size");
  f.dropped("permutation_type", "shuffles are Feistel permutations");
  f.dropped("train_weights", "components are seen in proportion to their sizes");
  f.dropped("stop_strategy", "all components start anew when they are through");
  f.dropped("mixture_block_size", "windows of all components are shuffled together");
  f.dropped("max_train_batches", "write trainer.num_train_steps");
  f.dropped("num_validation_sequences", "write validation_fraction below [data.components.NAME]");
  f.dropped("target_budget", "write trainer.num_train_steps");
  f.dropped("experiment_budget", "write trainer.num_train_steps");
  f.dropped("block_cross_document_attention", "a text file is one document");
  f.dropped("shuffle_before_trainval_split", "validation is the end of the text");
}

}  // namespace levanter
