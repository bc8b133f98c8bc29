// What the models of a run's checkpoints write, kept in the run's report_samples.jsonl.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace levanter::commands {

/// Has the model of each complete checkpoint of the run continue each prompt by `tokens` tokens, at
/// temperature 1 from seed 0, and writes {"step", "prompt", "text"} of them into
/// report_samples.jsonl; what stands there of other prompts or of other steps stays. The run's own
/// samples.jsonl is left alone, since the run may be writing it. error  kCheckpoint where the run
/// has no checkpoint; as load_model
void take_samples(const std::string& run_folder, std::span<const std::string> prompts,
                  int64_t tokens);

}  // namespace levanter::commands
