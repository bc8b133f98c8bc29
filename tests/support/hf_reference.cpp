#include "support/hf_reference.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "models/decoder_config.h"
#include "models/model.h"
#include "optim/adam_config.h"
#include "support/evaluate.h"
#include "support/golden.h"
#include "support/instruction_set.h"
#include "support/read_all.h"
#include "support/safetensors_file.h"
#include "support/temporary_folder.h"
#include "support/trained_model.h"

namespace levanter::testing {
namespace {

using nlohmann::json;

constexpr double kLogitTolerance = 1e-4;     // absolute, of f32
constexpr double kLossTolerance = 1e-6;      // of the loss
constexpr double kGradientTolerance = 1e-5;  // of a tensor's norm
constexpr int64_t kRows = 2, kLength = 48;

/// 32 bits that look random, of the index and a name.
uint32_t scramble(const std::string& name, uint32_t index) {
  uint32_t x = 2166136261U;
  for (const char c : name) x = (x ^ static_cast<unsigned char>(c)) * 16777619U;
  x += index * 2654435761U;
  x = (x ^ x >> 15) * 2246822519U;
  return x ^ x >> 13;
}

/// A weight around 0, or around 1 for a norm that multiplies.
float weight(const std::string& name, uint32_t index, bool around_one) {
  const double x = (scramble(name, index) / 4294967296.0 - 0.5) * 0.6;
  return static_cast<float>(around_one ? 1 + x : x);
}

void write_weights(const std::string& path, const infer::ModelSpec& spec, int64_t vocab) {
  const infer::StepShape shape{kRows, kLength, vocab};
  std::vector<safetensors::WriteTensor> tensors;
  std::vector<std::vector<float>> data;
  for (const nn::Param& param : infer::trace_params(spec, shape)) {
    std::vector<float>& values = data.emplace_back(static_cast<size_t>(param.type.elements()));
    const bool around_one = param.role == nn::Role::kNorm && param.init.mean == 1;
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = weight(param.path, static_cast<uint32_t>(i), around_one);
    tensors.push_back({{param.path, safetensors::Element::f32, param.shape}, {}});
  }
  for (size_t i = 0; i < tensors.size(); ++i) tensors[i].data = std::as_bytes(std::span(data[i]));
  safetensors::write_file(path, tensors);
}

TokenRows made_rows(int64_t vocab) {
  TokenRows rows;
  for (int64_t row = 0; row < kRows; ++row) {
    std::vector<int32_t> ids;
    for (int64_t t = 0; t <= kLength; ++t)
      ids.push_back(static_cast<int32_t>(
          scramble("ids", static_cast<uint32_t>(row * (kLength + 1) + t)) % vocab));
    rows.add({ids.begin(), ids.end() - 1}, {ids.begin() + 1, ids.end()},
             std::vector<float>(kLength, 1.0F));
  }
  return rows;
}

void check_gradients(train::Engine& engine, const json& norms) {
  const auto& step = engine.step();
  CHECK(norms.size() == step.params.size());
  for (size_t i = 0; i < step.params.size(); ++i) {
    INFO(step.params[i].path);
    double squares = 0;
    const float* g = engine.total() + step.layout.offsets[i];
    for (int64_t j = 0; j < step.params[i].type.elements(); ++j) squares += double{g[j]} * g[j];
    CHECK(std::sqrt(squares) == Approx(norms.at(step.params[i].path).get<double>())
                                    .epsilon(kGradientTolerance)
                                    .margin(kGradientTolerance));
  }
}

/// Losses of tokens are the same in rows of 5, of which 1, 7 or 64 are computed at a time, on one
/// thread or two; to the bit where the machine's products allow it.
void check_batches(const TrainedModel& trained) {
  constexpr int64_t kPositions = 5, kTexts = 64;
  TokenRows rows;
  for (int64_t row = 0; row < kTexts; ++row) {
    std::vector<int32_t> ids;
    for (int64_t t = 0; t <= kPositions; ++t)
      ids.push_back(static_cast<int32_t>(scramble("batches", static_cast<uint32_t>(row * 6 + t)) %
                                         trained.vocab_size));
    rows.add({ids.begin(), ids.end() - 1}, {ids.begin() + 1, ids.end()},
             std::vector<float>(kPositions, 1.0F));
  }
  const std::vector<double> expected = trained.losses(*make_backend("cpu", 1), rows, 1);
  std::map<int64_t, std::vector<double>> found;
  for (const int64_t batch : {1, 7, 64})
    for (const int threads : {1, 2}) {
      INFO(batch << " rows on " << threads << " threads");
      const std::vector<double> losses = trained.losses(*make_backend("cpu", threads), rows, batch);
      CHECK(found.try_emplace(batch, losses).first->second == losses);
      if (rows_keep_their_bits()) {
        CHECK(losses == expected);
      } else {
        CHECK(std::ranges::equal(losses, expected, [](double a, double b) {
          return std::abs(a - b) <= kLossTolerance * std::max(1.0, b);
        }));
      }
    }
}

/// config.json, written by the keys that read it, reads as the same model.
void check_config(const models::HfModel& model, const std::string& folder) {
  compat::HfConfig out;
  model.config->hf_keys(out);
  json keys = json::parse(out.text());
  keys["model_type"] = model.family->hf_type;
  keys["vocab_size"] = *model.config->vocab_size;
  write_file_atomic(join_path(folder, "config.json"), keys.dump());
  const models::HfModel again = models::read_hf_model(folder);
  compat::HfConfig twice;
  again.config->hf_keys(twice);
  CHECK(twice.text() == out.text());
}

/// Options of ours that no config.json has.
void set_keys(DecoderConfig& config, const json& keys) {
  config.hybrid_norm = keys.value("hybrid_norm", false);
  config.use_layer_norm_weight = keys.value("use_layer_norm_weight", true);
  config.rope->partial_rotary_factor = keys.value("partial_rotary_factor", 1.0);
}

void check_case(const json& c) {
  const TemporaryFolder folder;
  write_file_atomic(folder / "config.json", c["config"].dump());
  const models::HfModel model = models::read_hf_model(folder.path());
  const bool has_form = !c.contains("keys");
  if (!has_form) set_keys(dynamic_cast<DecoderConfig&>(*model.config), c["keys"]);
  if (auto* decoder = dynamic_cast<DecoderConfig*>(model.config.get()))
    decoder->lbl_coef = decoder->rzl_coef = 0;  // the reference has the loss of the tokens alone
  const int64_t vocab = *model.config->vocab_size;
  write_weights(folder / "model.safetensors", {*model.family, *model.config}, vocab);
  const TrainedModel trained(*model.family, *model.config, vocab, folder / "model.safetensors");
  const TokenRows rows = made_rows(vocab);
  const auto backend = make_backend("cpu", 2);

  const std::vector<double> logits = trained.logits(*backend, rows);
  for (int64_t row = 0; row < kRows; ++row)
    for (int64_t v = 0; v < vocab; ++v) {
      const int64_t at = ((row + 1) * kLength - 1) * vocab + v;
      CHECK(std::abs(logits[static_cast<size_t>(at)] -
                     c["logits"][static_cast<size_t>(row * vocab + v)].get<double>()) <=
            kLogitTolerance);
    }
  check_batches(trained);
  const AdamConfig adam;
  const auto engine = trained.engine(*backend, adam, rows, 1);
  run_gradients(*engine, rows);
  CHECK(loss_of(*engine) == Approx(c["loss"].get<double>()).epsilon(kLossTolerance));
  check_gradients(*engine, c["gradients"]);
  if (has_form) check_config(model, folder.path());
}

}  // namespace

void check_hf_reference(const std::string& family) {
  int found = 0;
  const std::string all = read_all(golden_path("hf_models.jsonl"));
  for (const std::string& line : split(all, '\n')) {
    if (line.empty()) continue;
    const json c = json::parse(line);
    if (c["config"]["model_type"] != models::entry(family).hf_type) continue;
    INFO(c["case"]);
    check_case(c);
    ++found;
  }
  CHECK(found > 0);
}

}  // namespace levanter::testing
