// Configuration of the data: tokenizer, texts, and how they are cut and shuffled.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/fields.h"
#include "data/encode.h"
#include "data/format.h"
#include "data/rows/mixture.h"
#include "data/rows/packing.h"
#include "data/rows/permutation.h"
#include "text/tokenizer_config.h"

namespace levanter::data {

/// Whether rows hold whole documents, and which.
enum class Packing {
  kNo,       ///< windows over all documents
  kGreedy,   ///< PackOrder::kGreedy
  kBestFit,  ///< PackOrder::kBestFit
  kAlone,    ///< one a row
};

std::span<const config::Word<Packing>> words_of(Packing);
std::span<const config::Word<TooLong>> words_of(TooLong);
std::span<const config::Word<OnBadRecord>> words_of(OnBadRecord);
std::span<const config::Word<PermutationType>> words_of(PermutationType);
std::span<const config::Word<StopStrategy>> words_of(StopStrategy);

}  // namespace levanter::data

namespace levanter {

/// One source of text.
struct ComponentConfig {
  std::vector<config::Path> train;
  std::vector<config::Path> validation;
  std::optional<double> validation_fraction;
  config::Choice<FormatConfig> format;
  data::Packing pack = data::Packing::kNo;
  std::vector<std::string> tags;
  data::TooLong too_long = data::TooLong::kRefuse;

  void fields(config::Fields& f);
  void validate(config::Problems& p) const;
};

/// Shares from a step on.
struct WeightStageConfig {
  int64_t step = 0;
  std::map<std::string, double> weights;

  void fields(config::Fields& f);
};

/// A shuffle of whole blocks of rows that lie together.
struct BlockShuffleConfig {
  int64_t io_block_size = 256;
  int64_t window_blocks = 512;

  void fields(config::Fields& f);
};

struct DataConfig {
  config::Choice<TokenizerConfig> tokenizer;
  std::map<std::string, ComponentConfig> components;
  std::optional<config::Path> cache_dir;  ///< absent: tokens are kept in memory
  bool auto_build_caches = true;
  data::OnBadRecord on_bad_record = data::OnBadRecord::kFail;
  std::optional<bool> enforce_bos;  ///< absent: as the tokenizer itself does
  bool enforce_eos = true;
  bool block_cross_document_attention = true;
  bool reset_positions = false;
  bool shuffle = true;
  data::PermutationType permutation_type = data::PermutationType::kFeistel;
  std::optional<int64_t> era_length;
  std::optional<BlockShuffleConfig> block_shuffle;
  std::map<std::string, double> train_weights;
  std::vector<WeightStageConfig> train_weight_stages;
  data::StopStrategy stop_strategy = data::StopStrategy::kRestart;
  int64_t mixture_block_size = 2048;
  std::map<std::string, int64_t> max_train_batches;
  std::map<std::string, int64_t> num_validation_sequences;
  std::optional<double> target_budget, experiment_budget;  ///< tokens
  int64_t prefetch = 4;

  void fields(config::Fields& f);
  void validate(config::Problems& p) const;
};

}  // namespace levanter
