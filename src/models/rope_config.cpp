// How positions turn queries and keys: the rotary types of Transformers, by its formulas
// (modeling_rope_utils.py).
#include "models/rope_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "base/strings.h"
#include "config/problems.h"

namespace levanter {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

/// What types that stretch positions have in common.
struct StretchedRope : RopeConfig {
  double factor = 1;
  int64_t original_max_position_embeddings = 2048;
  void original_field(config::Fields& f) {
    f("original_max_position_embeddings", original_max_position_embeddings,
      "positions that the model was first trained with")
        .at_least(1);
  }
};

/// Positions divided by a factor.
struct LinearRope final : StretchedRope {
  void fields(config::Fields& f) override {
    RopeConfig::fields(f);
    f("factor", factor, "what positions are divided by").at_least(1);
  }
  nn::RotaryFrequencies frequencies(int64_t head_dim, int64_t max_seq_len) const override {
    nn::RotaryFrequencies out = RopeConfig::frequencies(head_dim, max_seq_len);
    for (double& inverse : out.inverse) inverse /= factor;
    return out;
  }
};

/// A base that grows with windows longer than the original ones.
struct DynamicRope final : StretchedRope {
  void fields(config::Fields& f) override {
    RopeConfig::fields(f);
    f("factor", factor, "how much longer windows may get").at_least(1);
    original_field(f);
  }
  nn::RotaryFrequencies frequencies(int64_t head_dim, int64_t max_seq_len) const override {
    RopeConfig base = *this;
    const auto original = static_cast<double>(original_max_position_embeddings);
    const double length = std::max(static_cast<double>(max_seq_len), original);
    const auto d = static_cast<double>(head_dim);
    base.theta *= std::pow(factor * length / original - (factor - 1), d / (d - 2));
    return base.RopeConfig::frequencies(head_dim, max_seq_len);
  }
};

/// Llama 3.1's: long waves are stretched, short ones kept, those between blended.
struct Llama3Rope final : StretchedRope {
  double low_freq_factor = 1, high_freq_factor = 4;
  Llama3Rope() { factor = 8, original_max_position_embeddings = 8192; }
  void fields(config::Fields& f) override {
    RopeConfig::fields(f);
    f("factor", factor, "how much long waves are stretched").at_least(1);
    f("low_freq_factor", low_freq_factor,
      "waves that turn less than so many times in the original window are stretched")
        .above(0);
    f("high_freq_factor", high_freq_factor,
      "waves that turn more than so many times in the original window are kept")
        .above(0);
    original_field(f);
  }
  void validate(config::Problems& p) const override {
    if (high_freq_factor <= low_freq_factor)
      p.add("high_freq_factor", cat(p.name("high_freq_factor"), " = ", high_freq_factor,
                                    " is not above ", p.name("low_freq_factor")))
          .allowed(cat("above ", low_freq_factor));
  }
  nn::RotaryFrequencies frequencies(int64_t head_dim, int64_t max_seq_len) const override {
    nn::RotaryFrequencies out = RopeConfig::frequencies(head_dim, max_seq_len);
    for (double& inverse : out.inverse) {
      const double turns = static_cast<double>(original_max_position_embeddings) * inverse / kTurn;
      const double kept =
          std::clamp((turns - low_freq_factor) / (high_freq_factor - low_freq_factor), 0.0, 1.0);
      inverse = kept * inverse + (1 - kept) * inverse / factor;
    }
    return out;
  }
};

/// YaRN (Peng et al. 2023, arXiv:2309.00071).
struct YarnRope final : StretchedRope {
  double beta_fast = 32, beta_slow = 1;
  std::optional<double> attention_factor;
  void fields(config::Fields& f) override {
    RopeConfig::fields(f);
    f("factor", factor, "how much longer windows may get").at_least(1);
    f("beta_fast", beta_fast, "waves that turn more often in the original window are kept")
        .above(0);
    f("beta_slow", beta_slow, "waves that turn less often in it are stretched").above(0);
    original_field(f);
    f("attention_factor", attention_factor,
      "what cosines and sines are multiplied by; by default 0.1 ln(factor) + 1")
        .above(0);
  }
  nn::RotaryFrequencies frequencies(int64_t head_dim, int64_t max_seq_len) const override {
    nn::RotaryFrequencies out = RopeConfig::frequencies(head_dim, max_seq_len);
    const auto d = static_cast<double>(head_dim);
    // The index of the wave that turns so many times in the original window.
    const auto index = [&](double turns) {
      const auto original = static_cast<double>(original_max_position_embeddings);
      return d * std::log(original / (turns * kTurn)) / (2 * std::log(theta));
    };
    const double low = std::max(std::floor(index(beta_fast)), 0.0);
    double high = std::min(std::ceil(index(beta_slow)), d - 1);
    if (low == high) high += 0.001;
    for (size_t i = 0; i < out.inverse.size(); ++i) {
      const double stretched = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
      out.inverse[i] = stretched * out.inverse[i] / factor + (1 - stretched) * out.inverse[i];
    }
    out.scale = attention_factor.value_or(factor <= 1 ? 1 : 0.1 * std::log(factor) + 1);
    return out;
  }
};

}  // namespace

void RopeConfig::fields(config::Fields& f) {
  f("theta", theta, "base of the wavelengths: the longest is about 2 pi theta positions").above(1);
}

nn::RotaryFrequencies RopeConfig::frequencies(int64_t head_dim, int64_t) const {
  nn::RotaryFrequencies out;
  for (int64_t i = 0; i < head_dim; i += 2)
    out.inverse.push_back(std::pow(theta, -static_cast<double>(i) / static_cast<double>(head_dim)));
  return out;
}

std::span<const config::ChoiceEntry> RopeConfig::choices() {
  static const config::ChoiceEntry kChoices[] = {
      {"default", "theta alone", config::make_choice<RopeConfig>},
      {"linear", "positions divided by a factor", config::make_choice<LinearRope>},
      {"dynamic", "a base that grows with the window", config::make_choice<DynamicRope>},
      {"llama3", "Llama 3.1's stretched long waves", config::make_choice<Llama3Rope>},
      {"yarn", "YaRN (Peng et al. 2023)", config::make_choice<YarnRope>},
  };
  return kChoices;
}

namespace {

/// The settings of a rotary type by its fields, all but theta.
void scaling_keys(compat::HfConfig& hf, RopeConfig& rope, int64_t window) {
  config::Fields fields;
  rope.fields(fields);
  for (const config::Field& field : fields.list()) {
    const std::string_view key = field.key;
    if (key == "theta") continue;
    if (field.type->kind == config::Kind::kInteger)
      hf(key, *static_cast<int64_t*>(field.value), window);
    else if (key.ends_with("factor") && field.type->kind == config::Kind::kNumber)
      hf(key, *static_cast<double*>(field.value));
    else if (field.type->kind == config::Kind::kNumber)
      hf(key, *static_cast<double*>(field.value), *static_cast<double*>(field.value));
    else
      hf(key, *static_cast<std::optional<double>*>(field.value), {});
  }
}

void read_scaling(compat::HfConfig& hf, config::Choice<RopeConfig>& rope, int64_t window) {
  double theta = rope->theta;
  hf("rope_theta", theta, theta);
  std::string type = "default", known;
  hf("type", type, type);
  hf("rope_type", type, std::string(type));
  for (const config::ChoiceEntry& entry : RopeConfig::choices()) {
    known += std::string(known.empty() ? "" : ", ") + entry.name;
    if (type != entry.name) continue;
    rope.type = entry.name;
    rope.value = entry.make();
  }
  if (rope.type != type) hf.refuse("rope_type", known);
  rope->theta = theta;
  scaling_keys(hf, *rope, window);
  hf.finish();
}

void write_rope(compat::HfConfig& hf, config::Choice<RopeConfig>& rope,
                std::optional<double>& local_theta) {
  const auto all = [&](compat::HfConfig& scaling) {
    scaling("rope_type", rope.type);
    scaling("rope_theta", rope->theta);
    scaling_keys(scaling, *rope, 0);
  };
  if (rope.type != "default") hf.object("rope_scaling", all);
  if (!local_theta) return;
  // What Transformers 5 takes for one kind of layer from the older keys it does not give the other.
  hf.object("rope_parameters", [&](compat::HfConfig& kinds) {
    kinds.object("full_attention", all);
    kinds.object("sliding_attention", [&](compat::HfConfig& local) {
      std::string type = "default";
      local("rope_type", type);
      local("rope_theta", *local_theta);
    });
  });
}

}  // namespace

void rope_keys(compat::HfConfig& hf, config::Choice<RopeConfig>& rope,
               std::optional<double>& local_theta, int64_t window) {
  hf("rope_theta", rope->theta, rope->theta);
  if (local_theta) hf("rope_local_base_freq", *local_theta, *local_theta);
  if (hf.writes()) return write_rope(hf, rope, local_theta);
  for (const char* key : {"rope_scaling", "rope_parameters"})
    hf.object(key, [&](compat::HfConfig& all) {
      if (!all.has("full_attention")) return read_scaling(all, rope, window);
      all.object("full_attention", [&](compat::HfConfig& one) { read_scaling(one, rope, window); });
      all.object("sliding_attention", [&](compat::HfConfig& one) {
        config::Choice<RopeConfig> local;
        read_scaling(one, local, window);
        if (local.type != "default") one.refuse("rope_type", "default");
        local_theta = local->theta;
      });
      all.finish();
    });
}

}  // namespace levanter
