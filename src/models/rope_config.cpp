// How positions rotate queries and keys: the rotary types of Transformers, by its formulas
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

constexpr double kFullRotation = 2 * std::numbers::pi;

/// What types that stretch positions have in common.
struct StretchedRope : RopeConfig {
  double factor = 1;
  int64_t original_max_position_embeddings = 2048;
  void original_field(config::Fields& f) {
    f("original_max_position_embeddings", original_max_position_embeddings,
      "positions that the model was first trained with")
        .at_least(1);
  }
  void original_key(compat::HfConfig& hf, const HfWindow& window) {
    constexpr char kKey[] = "original_max_position_embeddings";
    hf(kKey, original_max_position_embeddings, window.original.value_or(window.positions));
    if (window.original && original_max_position_embeddings != *window.original)
      hf.refuse(kKey, cat(*window.original, ", as outside"));
  }
};

/// Positions divided by a factor.
struct LinearRope final : StretchedRope {
  void fields(config::Fields& f) override {
    RopeConfig::fields(f);
    f("factor", factor, "what positions are divided by").at_least(1);
  }
  void hf_keys(compat::HfConfig& hf, const HfWindow&) override { hf("factor", factor); }
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
  // Transformers takes "max_position_embeddings" for the original window, and passes over the key
  // of that name.
  void hf_keys(compat::HfConfig& hf, const HfWindow& window) override {
    hf("factor", factor);
    hf.ignore({"original_max_position_embeddings"});
    if (!hf.writes()) original_max_position_embeddings = window.positions;
  }
  bool has_hf_form(int64_t positions) const override {
    return original_max_position_embeddings >= positions;
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
      "waves with fewer rotations than this in the original window are stretched")
        .above(0);
    f("high_freq_factor", high_freq_factor,
      "waves with more rotations than this in the original window are kept")
        .above(0);
    original_field(f);
  }
  void hf_keys(compat::HfConfig& hf, const HfWindow& window) override {
    hf("factor", factor);
    hf("low_freq_factor", low_freq_factor);
    hf("high_freq_factor", high_freq_factor);
    original_key(hf, window);
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
      const double rotations =
          static_cast<double>(original_max_position_embeddings) * inverse / kFullRotation;
      const double kept = std::clamp(
          (rotations - low_freq_factor) / (high_freq_factor - low_freq_factor), 0.0, 1.0);
      inverse = kept * inverse + (1 - kept) * inverse / factor;
    }
    return out;
  }
};

/// YaRN (Peng et al. 2023, arXiv:2309.00071).
struct YarnRope final : StretchedRope {
  double beta_fast = 32, beta_slow = 1;
  std::optional<double> attention_factor, mscale, mscale_all_dim;
  bool truncate = true;
  void fields(config::Fields& f) override {
    RopeConfig::fields(f);
    f("factor", factor, "how much longer windows may get").at_least(1);
    f("beta_fast", beta_fast, "waves with more rotations than this in the original window are kept")
        .above(0);
    f("beta_slow", beta_slow, "waves with fewer rotations than this in it are stretched").above(0);
    original_field(f);
    f("attention_factor", attention_factor,
      "what cosines and sines are multiplied by; by default s(mscale) / s(mscale_all_dim) where "
      "both are set, s(m) = 0.1 m ln(factor) + 1, else s(1)")
        .above(0);
    f("mscale", mscale, "see attention_factor").at_least(0);
    f("mscale_all_dim", mscale_all_dim, "see attention_factor").at_least(0);
    f("truncate", truncate,
      "whether the waves between kept and stretched ones begin and end at whole numbers");
  }
  void hf_keys(compat::HfConfig& hf, const HfWindow& window) override {
    hf("factor", factor);
    hf("beta_fast", beta_fast, 32.0);
    hf("beta_slow", beta_slow, 1.0);
    original_key(hf, window);
    hf("attention_factor", attention_factor, {});
    // Files leave these out where they say nothing.
    if (!hf.writes() || mscale) hf("mscale", mscale, {});
    if (!hf.writes() || mscale_all_dim) hf("mscale_all_dim", mscale_all_dim, {});
    if (!hf.writes() || !truncate) hf("truncate", truncate, true);
  }
  nn::RotaryFrequencies frequencies(int64_t head_dim, int64_t max_seq_len) const override {
    nn::RotaryFrequencies out = RopeConfig::frequencies(head_dim, max_seq_len);
    const auto d = static_cast<double>(head_dim);
    // The index of the wave with that number of rotations in the original window.
    const auto index = [&](double rotations) {
      const auto original = static_cast<double>(original_max_position_embeddings);
      return d * std::log(original / (rotations * kFullRotation)) / (2 * std::log(theta));
    };
    double low = index(beta_fast), high = index(beta_slow);
    if (truncate) {
      low = std::floor(low);
      high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, d - 1);
    if (low == high) high += 0.001;
    for (size_t i = 0; i < out.inverse.size(); ++i) {
      const double stretched = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
      out.inverse[i] = stretched * out.inverse[i] / factor + (1 - stretched) * out.inverse[i];
    }
    out.scale = attention_factor.value_or(default_attention_factor());
    return out;
  }

 private:
  double default_attention_factor() const {
    const auto scale = [&](double m) { return factor <= 1 ? 1 : 0.1 * m * std::log(factor) + 1; };
    // As Transformers has it, 0 is as good as none.
    const bool both = mscale.value_or(0) != 0 && mscale_all_dim.value_or(0) != 0;
    return both ? scale(*mscale) / scale(*mscale_all_dim) : scale(1);
  }
};

}  // namespace

void RopeConfig::fields(config::Fields& f) {
  f("theta", theta, "base of the wavelengths: the longest is about 2 pi theta positions").above(1);
  f("partial_rotary_factor", partial_rotary_factor,
    "share of a head that rotates, its first numbers; the others stay as they are")
      .above(0)
      .at_most(1);
}

int64_t RopeConfig::rotated(int64_t head_dim) const {
  return static_cast<int64_t>(static_cast<double>(head_dim) * partial_rotary_factor);
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

/// Whether YaRN's borders are whole numbers; null for other types.
bool* truncate_of(RopeConfig& rope) {
  auto* yarn = dynamic_cast<YarnRope*>(&rope);
  return yarn ? &yarn->truncate : nullptr;
}

void read_scaling(compat::HfConfig& hf, config::Choice<RopeConfig>& rope, const HfWindow& window) {
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
  if (rope.type != type) hf.refuse(hf.has("rope_type") ? "rope_type" : "type", known);
  rope->theta = theta;
  rope->hf_keys(hf, window);
  hf.neutral("partial_rotary_factor", "1", "a part of a head is rotated");
  hf.ignore({"finetuned"});  // in the files of YaRN's authors
  hf.finish();
}

/// Reads a family's whose layers rotate by their kind. As in Transformers the older key, which
/// knows of no kinds, lies over what the newer one says of global layers.
void read_kinds(compat::HfConfig& hf, config::Choice<RopeConfig>& rope, double& local_theta,
                const HfWindow& window) {
  bool truncate = true;
  if (hf.has("rope_parameters"))
    hf.object("rope_parameters", [&](compat::HfConfig& kinds) {
      if (!kinds.has("full_attention") && !kinds.has("sliding_attention"))
        hf.refuse("rope_parameters",
                  "an object for each kind of layers, full_attention and sliding_attention");
      kinds.object("full_attention",
                   [&](compat::HfConfig& one) { read_scaling(one, rope, window); });
      kinds.object("sliding_attention", [&](compat::HfConfig& one) {
        config::Choice<RopeConfig> local;
        local->theta = local_theta;
        read_scaling(one, local, window);
        if (local.type != "default") one.refuse("rope_type", "default");
        local_theta = local->theta;
      });
      kinds("truncate", truncate, truncate);
      kinds.finish();
    });
  if (hf.has("rope_scaling"))
    hf.object("rope_scaling", [&](compat::HfConfig& older) { read_scaling(older, rope, window); });
  hf.ignore({"rope_parameters", "rope_scaling"});
  // Where kinds of layers differ Transformers looks for it next to their objects, not inside.
  if (bool* said = truncate_of(*rope)) *said = truncate;
}

void write_rope(compat::HfConfig& hf, config::Choice<RopeConfig>& rope,
                std::optional<double>& local_theta) {
  const auto all = [&](compat::HfConfig& scaling) {
    scaling("rope_type", rope.type);
    scaling("rope_theta", rope->theta);
    rope->hf_keys(scaling, {});
  };
  if (rope.type != "default") hf.object("rope_scaling", all);
  if (!local_theta) return;
  // What Transformers 5 takes for one kind of layer from the older keys it does not give the other.
  hf.object("rope_parameters", [&](compat::HfConfig& kinds) {
    if (bool* truncate = truncate_of(*rope); truncate && !*truncate) kinds("truncate", *truncate);
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
               std::optional<double>& local_theta, const char* local_key, int64_t positions) {
  hf("rope_theta", rope->theta, rope->theta);
  if (local_theta && local_key) hf(local_key, *local_theta, *local_theta);
  if (hf.writes()) return write_rope(hf, rope, local_theta);
  HfWindow window{positions, {}};
  if (hf.has("original_max_position_embeddings"))
    hf("original_max_position_embeddings", window.original);
  if (local_theta) return read_kinds(hf, rope, *local_theta, window);
  // The older key lies over the newer one, as in Transformers.
  const char* key = hf.has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  hf.object(key, [&](compat::HfConfig& all) { read_scaling(all, rope, window); });
  hf.ignore({"rope_parameters", "rope_scaling"});
}

}  // namespace levanter
