// Texts decoded from kept keys and values: the logits of the whole window, in any company.
#include <catch2/catch.hpp>

#include <cmath>

#include "device/backends.h"
#include "infer/generation.h"
#include "infer/small_model.h"
#include "models/decoder_config.h"
#include "support/temporary_folder.h"

using namespace levanter;
using testing::kSmallVocab;

namespace {

/// Logits by other kernels.
constexpr double kTolerance = 1e-5;
/// Of activations that have 8 bits.
constexpr double kBf16Tolerance = 0.1;
constexpr int64_t kWindow = 150;  // more than two pieces of a prompt

/// A Llama trained on 32 positions, whose rotary base grows with the window.
std::unique_ptr<ModelConfig> dynamic_config() {
  const testing::TemporaryFolder folder;
  write_file_atomic(folder / "config.json", R"({"model_type": "llama", "vocab_size": 1,
      "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "rms_norm_eps": 1e-5,
      "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
      "hidden_act": "silu", "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}})");
  std::unique_ptr<ModelConfig> config = models::read_hf_model(folder.path()).config;
  config->max_seq_len = kWindow;
  return config;
}

std::unique_ptr<ModelConfig> small_config(const std::string& family) {
  if (family == "gpt2") {
    auto c = std::make_unique<Gpt2Config>(testing::small_config());
    c->max_seq_len = kWindow;
    return c;
  }
  if (family == "llama_dynamic") return dynamic_config();
  std::unique_ptr<ModelConfig> config(
      dynamic_cast<ModelConfig*>(models::entry(family).make_config().release()));
  auto& c = dynamic_cast<DecoderConfig&>(*config);
  c.hidden_dim = 16;
  c.intermediate_dim = 24;
  c.num_layers = 2;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.head_dim = 4;
  c.max_seq_len = kWindow;
  if (family != "llama") c.sliding_window = 20;
  c.n_routed_experts = std::min<int64_t>(c.n_routed_experts, 8);
  return config;
}

struct Small {
  explicit Small(const std::string& family, const char* device = "cpu", int threads = 1,
                 DType compute = DType::f32)
      : config(small_config(family)),
        backend(device::make_backend(device, threads)),
        model({models::entry(family.substr(0, family.find("_dyn"))), *config}, kSmallVocab, 1,
              *backend, compute) {
    testing::draw_parameters(model);
  }
  std::unique_ptr<ModelConfig> config;
  std::unique_ptr<Backend> backend;
  infer::InferenceModel model;
};

std::vector<int32_t> tokens_of(uint64_t text, int64_t count) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(
        random_below(key_from_seed(text), static_cast<uint64_t>(i), kSmallVocab)));
  return tokens;
}

/// The largest difference, relative to the largest logit where that is above 1.
double worst(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  double worst = 0, largest = 1;
  for (size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
  }
  return worst / largest;
}

std::vector<float> copied(std::span<const float> logits) { return {logits.begin(), logits.end()}; }

std::vector<infer::Continuation> continuations(int64_t count) {
  std::vector<infer::Continuation> texts;
  for (int64_t i = 0; i < count; ++i)
    texts.push_back({tokens_of(static_cast<uint64_t>(i), 1 + i * 37 % 90), key_from_seed(3)});
  return texts;
}

}  // namespace

TEST_CASE("a text decoded token by token has the logits of its whole window", "[infer]") {
  for (const char* family :
       {"gpt2", "llama", "llama_dynamic", "mistral", "gemma2", "gemma3", "mixtral", "qwen3_moe"})
    for (const char* device : {"reference", "cpu"})
      for (const DType compute : {DType::f32, DType::bf16}) {
        const bool slow = family == std::string("mixtral") || family == std::string("qwen3_moe");
        if (slow && device == std::string("reference")) continue;  // which computes every expert
        INFO(family << " on " << device << (compute == DType::bf16 ? " in bf16" : ""));
        Small small(family, device, 1, compute);
        small.model.begin_decoding(2, kWindow);
        const double tolerance = compute == DType::bf16 ? kBf16Tolerance : kTolerance;
        const std::vector<int32_t> text = tokens_of(1, kWindow);
        // Every op of the reference is a plain loop.
        const size_t steps = device == std::string("reference") ? 2 : 10;
        for (const int64_t prompt : {1, 64, 65, 140}) {
          const auto head = std::span(text).first(static_cast<size_t>(prompt));
          const auto after = copied(small.model.decode_text(1, head));
          CHECK(worst(after, small.model.next_logits(head)) < tolerance);
          for (size_t n = head.size(); n < head.size() + steps; ++n) {
            const int32_t tokens[] = {-1, text[n]};  // a row beside it is idle
            const auto logits = copied(small.model.decode_next(tokens).last(kSmallVocab));
            CHECK(worst(logits, small.model.next_logits(std::span(text).first(n + 1))) < tolerance);
          }
        }
      }
}

TEST_CASE("texts are the same alone and among others, on any number of threads", "[infer]") {
  for (const char* family : {"gpt2", "llama", "mixtral"}) {
    INFO(family);
    infer::GenerateOptions options;
    options.max_new_tokens = 90;  // some go beyond the window
    options.logprobs = true;
    const auto generated = [&](int64_t rows, int threads) {
      Small small(family, "cpu", threads);
      options.rows = rows;
      std::vector<infer::Continuation> texts = continuations(19);
      infer::generate(small.model, texts, options);
      return texts;
    };
    const auto alone = generated(1, 1), together = generated(16, 1), threads = generated(5, 3);
    for (size_t i = 0; i < alone.size(); ++i) {
      INFO(i);
      CHECK(alone[i].ids.size() == 90);
      CHECK((alone[i].ids == together[i].ids && alone[i].logprobs == together[i].logprobs));
      CHECK((alone[i].ids == threads[i].ids && alone[i].logprobs == threads[i].logprobs));
    }
  }
}

TEST_CASE("a new token's log-probability is that of the whole window's logits", "[infer]") {
  Small small("llama");
  infer::GenerateOptions options;
  options.max_new_tokens = 30;
  options.logprobs = true;
  options.sampling.top_k = 3;  // filters do not change it
  std::vector<infer::Continuation> texts = continuations(2);
  infer::generate(small.model, texts, options);
  for (const infer::Continuation& text : texts) {
    std::vector<int32_t> so_far = text.prompt;
    for (size_t i = 0; i < text.ids.size(); ++i) {
      const auto logits = small.model.next_logits(so_far);
      CHECK(std::abs(infer::log_probability(logits, text.ids[i]) - text.logprobs[i]) < kTolerance);
      so_far.push_back(text.ids[i]);
    }
  }
}

TEST_CASE("a caller sees every token and may end a text", "[infer]") {
  Small small("gpt2");
  std::vector<infer::Continuation> texts = continuations(3);
  infer::GenerateOptions options;
  options.max_new_tokens = 20;
  options.rows = 2;
  std::vector<size_t> seen(texts.size());
  options.on_token = [&](size_t i, const infer::Continuation& text) {
    CHECK(text.ids.size() == ++seen[i]);
    return i != 1 || text.ids.size() < 4;
  };
  infer::generate(small.model, texts, options);
  CHECK(seen == std::vector<size_t>{20, 4, 20});
  CHECK(texts[1].ids.size() == 4);
}
