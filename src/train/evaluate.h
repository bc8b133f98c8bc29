// Validation losses over whole validation sets.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "data/text_data.h"
#include "dist/communicator.h"
#include "infer/trace.h"
#include "models/pair_loss.h"
#include "trackers/tracker.h"

namespace levanter::train {

/// Token losses [batch, position] of a microbatch of rows, in f32.
using TokenLosses = std::function<std::span<const float>(const infer::Rows&)>;

struct EvaluationOptions {
  int64_t batch = 1;  ///< rows that token_losses takes at a time
  int64_t seq_len = 1;
  int64_t max_rows = -1;         ///< of each component; -1: all
  ProgressReport progress = {};  ///< hears after each batch how far it is
  /// Of the ranks that evaluate together, each its share of the rows; null: this one has them all.
  dist::Communicator* communicator = nullptr;
  std::function<void()> attend = {};  ///< comes where other ranks have rows and this one has none
  int64_t vocab_size = 0;  ///< tokens that the model knows, where some may be others; 0: all
  /// Whether pairs are measured as such; false: their answers are scored as texts.
  bool measures_pairs = false;
  /// What they are measured by; null: by their log-probabilities alone.
  const models::PairLoss* pair_loss = nullptr;
};

/// Throws where a text has a token that the model has no row for, as tokens may that were added to
/// a tokenizer and not to its model. error  kData naming the first such token, at `place`
void require_rows(std::span<const int32_t> ids, int64_t vocab_size,
                  const text::Tokenizer& tokenizer, const std::string& place);

/// Throws where this rank was asked to stop, or another of these, which all do at the same call;
/// null: this one is alone. error  kSignal
void throw_if_any_stopped(dist::Communicator* ranks);

/// Bytes that a rank sends to each other one for a row that it has evaluated.
inline constexpr int64_t kRowSumsBytes = 32;

/// Rows that an evaluation goes through, of all components.
int64_t evaluation_rows(const data::TextData& data, const EvaluationOptions& options);

/// Losses of every validation component; collective where there are several ranks. Token losses of
/// a row are added in f32 in order, rows in f64 in order, so that the result depends on neither
/// threads nor ranks nor batch. Every component has its name as a tag, and those that it lists.
/// A component of pairs has the loss of the pairs as its own, and their rewards and
/// log-probabilities; what the pairs of all components have is eval/loss, eval/rewards/... then
/// (without a pair_loss eval/logps/... alone),
/// and texts count under their tags alone.
/// returns eval/loss (mean over all tokens, nats), eval/bpb (bits per byte of the targets' text);
///         with several tags eval/macro_loss and eval/macro_bpb (their means over tags),
///         eval/<tag>/loss and eval/<tag>/bpb, and for tags "a/b" eval/a/micro_loss (mean over the
///         tokens of all components below a) and eval/a/macro_loss (mean over the tags below a);
///         eval/total_time (seconds). Empty when there is no validation text.
/// error   kSignal, between two microbatches, once some rank was asked to stop; as require_rows,
///         naming the component and how the text goes on to the token
Metrics evaluate(const data::TextData& data, const TokenLosses& token_losses,
                 const EvaluationOptions& options);

}  // namespace levanter::train
