// The keys of [data] and of its components, with their bounds and what does not go together.
#include "data/data_config.h"

#include "base/strings.h"
#include "config/problems.h"
#include "data/files/pipes.h"

namespace levanter::data {

std::span<const config::Word<Packing>> words_of(Packing) {
  static constexpr config::Word<Packing> kWords[] = {{Packing::kNo, "no"},
                                                     {Packing::kGreedy, "greedy"},
                                                     {Packing::kBestFit, "best_fit"},
                                                     {Packing::kAlone, "alone"}};
  return kWords;
}

std::span<const config::Word<TooLong>> words_of(TooLong) {
  static constexpr config::Word<TooLong> kWords[] = {{TooLong::kRefuse, "refuse"},
                                                     {TooLong::kKeepHead, "keep_head"},
                                                     {TooLong::kKeepTail, "keep_tail"},
                                                     {TooLong::kDrop, "drop"}};
  return kWords;
}

std::span<const config::Word<OnBadRecord>> words_of(OnBadRecord) {
  static constexpr config::Word<OnBadRecord> kWords[] = {{OnBadRecord::kFail, "fail"},
                                                         {OnBadRecord::kSkip, "skip"}};
  return kWords;
}

std::span<const config::Word<PermutationType>> words_of(PermutationType) {
  static constexpr config::Word<PermutationType> kWords[] = {{PermutationType::kFeistel, "feistel"},
                                                             {PermutationType::kLinear, "linear"}};
  return kWords;
}

std::span<const config::Word<StopStrategy>> words_of(StopStrategy) {
  static constexpr config::Word<StopStrategy> kWords[] = {
      {StopStrategy::kRestart, "restart"},
      {StopStrategy::kFirstExhausted, "first_exhausted"},
      {StopStrategy::kAllExhausted, "all_exhausted"}};
  return kWords;
}

}  // namespace levanter::data

namespace levanter {

void ComponentConfig::fields(config::Fields& f) {
  f("train", train,
    "files to train on, read one after the other; * ? [a-z] ** {a,b} {00..12} name several; .jsonl "
    "and .json hold records, a file with another suffix is a text, one without a suffix what it "
    "begins with; \"-\" is the standard input; gzip and zstd are unpacked; web addresses are read "
    "where libcurl is installed")
      .required_unless("validation")
      .web();
  f("validation", validation, "files to validate on").web();
  f("validation_fraction", validation_fraction,
    "the last part of the training text that is held out for validation instead")
      .above(0)
      .below(1);
  f("tags", tags,
    "further names under which its validation losses are gathered; \"a/b\" belongs to \"a\"")
      .may_change();
  f("format", format, "what a record means");
  f("pack", pack,
    "whole documents together in a row: in their order, each where it leaves the least room, or "
    "one a row; no: windows over all documents");
  f("too_long", too_long, "what becomes of a document that is longer than a packed row");
  f.dropped({"train_urls", "source"}, "write train = [\"file.txt\"]");
  f.dropped("validation_urls", "write validation = [\"file.txt\"]");
  f.dropped("splits", "write train = [...] and validation = [...]");
  f.dropped("id", "nothing is fetched; write train = [\"file.txt\"]");
  f.dropped("name", "a component's name is its table's: [data.components.NAME]");
  f.dropped("stream", "remove it: files are read as they are needed");
  f.dropped("cache_dir", "write data.cache_dir, one folder for all components");
}

void ComponentConfig::validate(config::Problems& p) const {
  if (train.empty() && validation.empty())
    p.add("train", cat(p.name("train"), " = [] names no file")).allowed("one path or more");
  else if (train.empty() && validation_fraction)
    p.add("validation_fraction",
          cat(p.name("validation_fraction"), " is part of a text to train on, and there is none"))
        .hint("keep validation alone, or add train");
  if (validation_fraction && !validation.empty())
    p.add("validation_fraction",
          cat(p.name("validation"), " and ", p.name("validation_fraction"),
              " both say what to validate on"),
          {"validation"})
        .hint("keep one of them");
}

void WeightStageConfig::fields(config::Fields& f) {
  f("step", step, "the step from which these weights hold").at_least(0).unit("steps").required();
  f("weights", weights, "share of each component; those not named are left out").at_least(0);
}

void BlockShuffleConfig::fields(config::Fields& f) {
  f("io_block_size", io_block_size, "rows that lie together").at_least(1).unit("rows");
  f("window_blocks", window_blocks, "blocks whose rows are mixed").at_least(1).unit("blocks");
}

void DataConfig::fields(config::Fields& f) {
  f("tokenizer", tokenizer, "how text becomes tokens");
  f("components", components, "sources of text by name");
  f("cache_dir", cache_dir,
    "the folder of the token caches, one below it for each component; without it tokens are kept "
    "in memory")
      .may_change();
  f("auto_build_caches", auto_build_caches, "whether a missing token cache is made, or an error")
      .may_change();
  f("on_bad_record", on_bad_record,
    "what becomes of a record that is cut, lacks a key or is otherwise none of its format's: an "
    "error, or it is left out, counted, and the first twenty are named");
  f("enforce_bos", enforce_bos,
    "whether every document begins with the tokenizer's BOS; by default as the tokenizer itself "
    "does");
  f("enforce_eos", enforce_eos,
    "whether every document ends with the tokenizer's EOS, where it has one");
  f("block_cross_document_attention", block_cross_document_attention,
    "whether the documents of a row are apart: no attention across a border, and in a window no "
    "target");
  f("reset_positions", reset_positions, "whether positions count from 0 in every document");
  f("shuffle", shuffle, "whether rows are visited in a random order, drawn anew each epoch");
  f("permutation_type", permutation_type, "how a random order is drawn; linear is weak");
  f("era_length", era_length, "shuffle only within stretches of this many rows")
      .at_least(1)
      .unit("rows");
  f("block_shuffle", block_shuffle, "shuffle whole blocks of rows, then the rows of a few blocks");
  f("train_weights", train_weights,
    "share of each component in every batch; without it rows of all components are shuffled "
    "together and each is seen once an epoch")
      .at_least(0);
  f("train_weight_stages", train_weight_stages, "the same, changing with the step");
  f("stop_strategy", stop_strategy,
    "what happens when a weighted component is through: it begins anew, or the data end then, or "
    "when all are through");
  f("mixture_block_size", mixture_block_size, "rows in which the shares hold exactly")
      .at_least(1)
      .at_most(1e6)
      .unit("rows");
  f("max_train_batches", max_train_batches, "use only the first batches of a component, this many")
      .at_least(1)
      .unit("batches");
  f("num_validation_sequences", num_validation_sequences,
    "hold out this many sequences at the end of a component's training text")
      .at_least(1)
      .unit("sequences");
  f("target_budget", target_budget,
    "tokens of a longer run whose repetition of the data this run imitates")
      .above(0)
      .unit("tokens");
  f("experiment_budget", experiment_budget, "tokens of this run, for target_budget")
      .above(0)
      .unit("tokens");
  f("prefetch", prefetch, "batches that are prepared ahead of the step")
      .at_least(1)
      .at_most(1024)
      .unit("batches")
      .may_change();
  f.dropped({"configs", "name"}, "write [data.components.NAME]");
  f.dropped("train_urls", "write train = [\"file.txt\"] below [data.components.NAME]");
  f.dropped("validation_urls", "write validation = [\"file.txt\"] below [data.components.NAME]");
  f.dropped("id", "nothing is fetched; write train = [\"file.txt\"] below [data.components.NAME]");
  f.dropped("stream", "remove it: files are read as they are needed");
  f.dropped("tags", "write tags below [data.components.NAME]");
  f.dropped("format", "write format below [data.components.NAME]");
  f.dropped("chat_template",
            "write format = { type = \"chat\", chat_template = ... } below "
            "[data.components.NAME]");
  f.dropped("cache_options", "remove it: caches find their own sizes; data.cache_dir is where");
  f.dropped("ignore_token_id", "what the loss counts is decided by weights, not by a token");
  f.dropped("vocab_size", "write model.vocab_size");
  f.dropped("shuffle_before_trainval_split",
            "validation_fraction takes the end of a component's text, never a random part");
}

void DataConfig::validate(config::Problems& p) const {
  const auto only_one = [&](bool both, const char* a, const char* b) {
    if (both)
      p.add(b, cat(p.name(a), " and ", p.name(b), " say the same thing in two ways"), {a})
          .hint("keep one of them");
  };
  only_one(era_length && block_shuffle, "era_length", "block_shuffle");
  only_one(!train_weights.empty() && !train_weight_stages.empty(), "train_weights",
           "train_weight_stages");
  if (!shuffle && (era_length || block_shuffle))
    p.add("shuffle", cat(p.name("shuffle"), " = false, but a kind of shuffle is named"))
        .allowed("true");
  if (target_budget.has_value() != experiment_budget.has_value())
    p.add(target_budget ? "target_budget" : "experiment_budget",
          cat(p.name("target_budget"), " and ", p.name("experiment_budget"),
              " mean something only together"))
        .hint("give both, or neither");
  else if (target_budget && *experiment_budget > *target_budget)
    p.add("experiment_budget",
          cat(p.name("experiment_budget"), " = ", *experiment_budget, " is more than ",
              p.name("target_budget"), " = ", *target_budget))
        .allowed(cat("at most ", *target_budget));
  std::string names;
  for (const auto& [component, source] : components)
    if (names.size() < 1000) names += cat(names.empty() ? "" : ", ", component);
  const auto known = [&](const char* key, const std::string& name) {
    if (components.contains(name)) return;
    p.add(cat(key, ".", name), cat(p.name(key), " names ", quote(name), ", which is no component"))
        .allowed(names);
  };
  std::vector<std::string> piped;
  for (const auto& [name, component] : components)
    for (const auto& [split, paths] :
         {std::pair{"train", &component.train}, {"validation", &component.validation}})
      for (const config::Path& path : *paths)
        if (data::is_standard_input(path.resolved))
          piped.push_back(cat("components.", name, ".", split));
  if (piped.size() > 1)
    p.add(piped[1],
          cat(p.name(piped[0]), " and ", p.name(piped[1]),
              " both name the standard input, which can be read only once"),
          {piped[0]})
        .hint("give one of them as a file");
  for (const auto& [name, component] : components)
    if (name == "." || name == ".." || name.find('/') != std::string::npos)
      p.add("components",
            cat(quote(name), " can't name a component: caches lie in a folder of that name"))
          .hint("tags may have slashes: tags = [\"en/web\"]");
  const auto trained = [&](const char* key, const std::string& name) {
    known(key, name);
    const auto component = components.find(name);
    if (component != components.end() && component->second.train.empty())
      p.add(cat(key, ".", name),
            cat(p.name(key), " names ", quote(name), ", which has no text to train on"),
            {cat("components.", name, ".train")})
          .hint("components with validation alone need no weight");
  };
  for (const auto& [name, weight] : train_weights) trained("train_weights", name);
  for (const auto& [name, count] : max_train_batches) trained("max_train_batches", name);
  for (const auto& [name, count] : num_validation_sequences) {
    known("num_validation_sequences", name);
    const auto component = components.find(name);
    if (component != components.end() &&
        (component->second.validation_fraction || !component->second.validation.empty()))
      p.add(cat("num_validation_sequences.", name),
            cat(p.name("num_validation_sequences"), ".", name,
                " and the component itself both say what to validate on"))
          .hint("keep one of them");
  }
  for (size_t i = 0; i < train_weight_stages.size(); ++i) {
    const std::string key = cat("train_weight_stages[", i, "]");
    const int64_t step = train_weight_stages[i].step;
    if (i == 0 ? step != 0 : step <= train_weight_stages[i - 1].step)
      p.add(cat(key, ".step"),
            cat(p.name(key), ".step = ", step,
                i == 0 ? " is not the first step" : " does not come after the one before"))
          .allowed(i == 0 ? std::string("0") : cat("above ", train_weight_stages[i - 1].step));
    for (const auto& [name, weight] : train_weight_stages[i].weights)
      trained(cat(key, ".weights").c_str(), name);
  }
}

}  // namespace levanter
