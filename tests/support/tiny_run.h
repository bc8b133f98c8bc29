// A whole run of a very small model on text that is made for it.
#pragma once

#include <string>
#include <vector>

#include "base/files.h"
#include "base/random.h"
#include "base/strings.h"
#include "support/temporary_folder.h"
#include "train/config/train_config.h"

namespace levanter::testing {

/// Sentences of a small grammar: easy to learn, never the same for long.
inline std::string made_up_text(int64_t words, uint32_t seed) {
  static constexpr const char* kWords[] = {"the", "cat", "sees", "a", "dog", "and", "it", "runs"};
  std::string text;
  const Key key = key_from_seed(seed);
  for (int64_t i = 0; i < words; ++i) {
    text += kWords[random_below(key, static_cast<uint64_t>(i), 4) + (i % 2 ? 4 : 0)];
    text += i % 7 == 6 ? ".\n" : " ";
  }
  return text;
}

/// A folder with a text, a config and the runs' folders.
struct TinyRun {
  TinyRun() { write_file_atomic(folder / "text.txt", made_up_text(700, 5)); }

  /// The config with these lines below [trainer] and [model], as a file of its own.
  std::string config_file(const std::string& name, const std::string& trainer,
                          const std::string& model = "") const {
    const std::string path = folder / cat(name, ".toml");
    write_file_atomic(path, cat("[model]\ntype = \"gpt2\"\nmax_seq_len = 16\nhidden_dim = 16\n"
                                "num_layers = 2\nnum_heads = 2\n",
                                model,
                                "\n[data]\ntokenizer = { type = \"char\" }\n"
                                "[data.components.made_up]\ntrain = [\"text.txt\"]\n"
                                "validation_fraction = 0.1\n"
                                "[optimizer]\nlearning_rate = 1e-2\nwarmup = 3\n"
                                "[trainer]\nlog_dir = \"runs\"\ntracker = [\"jsonl\"]\n"
                                "train_batch_size = 12\nmicrobatch_size = 2\n"
                                "gradient_groups = 6\nsteps_per_eval = 10\nmax_eval_batches = 2\n",
                                trainer));
    return path;
  }
  TrainConfig config(const std::string& name, const std::string& trainer,
                     const std::string& model = "",
                     const std::vector<std::string>& overrides = {}) const {
    return load_train_config(config_file(name, trainer, model), overrides);
  }

  TemporaryFolder folder;
};

}  // namespace levanter::testing
