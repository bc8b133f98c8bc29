// What the model in training writes after some steps.
#include "train/watch/samples.h"

#include <algorithm>

#include "base/stop.h"
#include "base/strings.h"
#include "device/ranges.h"
#include "device/transfer.h"
#include "infer/prompt.h"
#include "text/growing_text.h"
#include "train/evaluate.h"
#include "train/hooks.h"
#include "train/setup.h"

namespace levanter::train {

namespace {

constexpr int64_t kMostRows = 16;  // texts at a time that no bit of another one depends on
/// Tokens that tokenizers put around a prompt, at most: it has no more of its own than bytes.
constexpr int64_t kAround = 8;

constexpr const char* kKey = "trainer.sample";

/// The texts are written by a model of its own, which lives as long as they take: its parameters
/// are copies, wherever those of the run are.
class SampleHook final : public Hook {
 public:
  explicit SampleHook(const HookContext& c) : c_(c), config_(c.config.trainer.sample) {}

  const char* name() const override { return "samples"; }
  void after_step(const StepInfo& info) override {
    if (info.step % *config_.every != 0 && !info.last) return;
    std::vector<SampleText> samples;
    const auto write = [&] { samples = written(); };
    try {
      with_averages(c_, c_.engine.keeps(Average::kInstead) ? Average::kInstead : Average::kNo,
                    write);
    } catch (const Error& error) {  // such as of parameters that are not finite
      if (error.kind() != ErrorKind::kGuard) throw;
      c_.tracker.message(cat("step ", info.step, " writes no samples: ", error.message()));
      return c_.summary.set_sampled(info.step);
    }
    if (stop_requested()) return;  // the next start makes up for them
    c_.tracker.log_samples(samples, info.step);
    c_.summary.set_sampled(info.step);
  }

 private:
  std::vector<SampleText> written() const {
    const text::Tokenizer& tokenizer = *c_.data.tokenizer();
    const StepOptions& step = c_.engine.step().options;
    infer::InferenceModel model(step.model, step.shape.vocab_size, 1, c_.backend,
                                c_.config.trainer.compute());
    copy_parameters(model);
    infer::GenerateOptions options;
    options.sampling.temperature = config_.temperature;
    options.max_new_tokens = config_.max_new_tokens;
    options.stop_ids = tokenizer.end_ids();
    options.rows = step.samples.rows;
    options.vocab_size = tokenizer.vocab_size();
    const double most =
        static_cast<double>(config_.max_new_tokens) * static_cast<double>(config_.prompts.size());
    int64_t tokens = 0;
    options.on_token = [&](size_t, const infer::Continuation&) {
      c_.tracker.progress({"sampling", static_cast<double>(++tokens), most, "token"});
      return !stop_requested();
    };
    const Key key = key_from_seed(static_cast<uint64_t>(config_.seed));
    std::vector<infer::Continuation> texts;
    for (const std::string& prompt : config_.prompts)
      texts.push_back({infer::prompt_ids(tokenizer, prompt, kKey),
                       fold_in(key, static_cast<uint32_t>(texts.size()))});
    infer::generate(model, texts, options);
    std::vector<SampleText> samples;
    for (size_t i = 0; i < texts.size(); ++i) {
      text::GrowingText text(tokenizer, {}, texts[i].prompt.back());
      text.update(texts[i].ids);
      samples.push_back({config_.prompts[i], text.text()});
    }
    return samples;
  }

  void copy_parameters(infer::InferenceModel& model) const {
    std::vector<std::byte> room;
    std::vector<Tensor> to = model.tensors();
    LEV_CHECK(to.size() == c_.parameters.size(), "a model of other parameters");
    for (size_t i = 0; i < to.size(); ++i) {
      const Tensor& from = c_.parameters[i];
      const auto bytes =
          read_bytes(*from.memory, from.data, static_cast<size_t>(from.bytes()), room);
      to[i].memory->upload(to[i].data, bytes);
    }
  }

  HookContext c_;
  const SampleConfig& config_;
};

}  // namespace

infer::TextRoom sample_room(const TrainConfig& config) {
  const SampleConfig& sample = config.trainer.sample;
  if (!sample.every) return {};
  int64_t longest = 0;
  for (const std::string& prompt : sample.prompts) longest = std::max(longest, std::ssize(prompt));
  return {std::min(std::ssize(sample.prompts), kMostRows),
          longest + kAround + sample.max_new_tokens};
}

void require_prompts(const TrainConfig& config, const text::Tokenizer& tokenizer,
                     int64_t vocab_size) {
  const SampleConfig& sample = config.trainer.sample;
  if (!sample.every) return;
  for (size_t i = 0; i < sample.prompts.size(); ++i) {
    const std::string key = "trainer.sample.prompts";
    try {
      require_rows(infer::prompt_ids(tokenizer, sample.prompts[i], kKey), vocab_size, tokenizer,
                   key);
    } catch (const Error& error) {
      throw config
          .error(ErrorKind::kConfig, key,
                 cat(key, "[", i, "] = ", quote(sample.prompts[i]),
                     " is no text for the model: ", error.message()))
          .allowed(error.allowed())
          .hint(error.hint());
    }
  }
}

std::unique_ptr<Hook> make_sample_hook(const HookContext& context) {
  if (!context.config.trainer.sample.every) return nullptr;
  return std::make_unique<SampleHook>(context);
}

}  // namespace levanter::train
