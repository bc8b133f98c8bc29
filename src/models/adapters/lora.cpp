// Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685), its scale by the rank's root
// (Kalajdzievski 2023, arXiv:2312.03732) and its split into magnitude and direction (Liu et al.
// 2024, arXiv:2402.09353), all as in PEFT.
#include <cmath>

#include "base/error.h"
#include "base/strings.h"
#include "models/adapter.h"
#include "nn/adaptation.h"
#include "nn/layers.h"
#include "ops/ops.h"

namespace levanter {

namespace {

enum class LoraInit { kKaiming, kGaussian };
std::span<const config::Word<LoraInit>> words_of(LoraInit) {
  static constexpr config::Word<LoraInit> kWords[] = {{LoraInit::kKaiming, "kaiming"},
                                                      {LoraInit::kGaussian, "gaussian"}};
  return kWords;
}

struct LoraConfig final : AdapterConfig {
  int64_t r = 8;
  double alpha = 8;
  double dropout = 0;
  bool rslora = false, dora = false;
  LoraInit init = LoraInit::kKaiming;

  void fields(config::Fields& f) override;
  void hf_keys(compat::HfConfig& hf) override;
  std::shared_ptr<const nn::Adaptation> adapt(std::span<const nn::Matrix> matrices) const override;

  std::string difference(const AdapterConfig& there) const override {
    const auto& other = dynamic_cast<const LoraConfig&>(there);
    const auto word = [](bool value) { return value ? "true" : "false"; };
    if (alpha != other.alpha)
      return cat("alpha is ", format_number(alpha), " and there ", format_number(other.alpha));
    if (r != other.r) return cat("r is ", r, " and there ", other.r);
    if (rslora != other.rslora)
      return cat("rslora is ", word(rslora), " and there ", word(other.rslora));
    if (dora != other.dora) return cat("dora is ", word(dora), " and there ", word(other.dora));
    return "";
  }

  double scale() const {
    const auto rank = static_cast<double>(r);
    return alpha / (rslora ? std::sqrt(rank) : rank);
  }
};

/// A and B of one matrix, and the magnitudes of its rows with DoRA.
struct Factors {
  nn::Matrix matrix;
  NamedArray a, b;  ///< [rank, in...], [out..., rank]
  NamedArray magnitude = {};
};

class Lora final : public nn::Adaptation {
 public:
  Lora(const LoraConfig& config, std::vector<Factors> factors)
      : factors_(std::move(factors)),
        dropout_(factors_[0].matrix.scope, "lora_dropout", config.dropout),
        scale_(config.scale()) {}

  NamedArray apply(const nn::Product& p) const override {
    const DType compute = p.y.dtype();
    const NamedArray x = dropout_(p.x, p.dropout_keys);
    const NamedArray h = cast(multiply(x, p.group, &Factors::a, rank()) * scale_, compute);
    const NamedArray delta = multiply(h, p.group, &Factors::b, factors_[0].matrix.out);
    if (!factors_[0].magnitude) return p.y + cast(delta, compute);
    NamedArray base = p.y;  // W x, of the x that is dropped from where something is
    if (dropout_.keys_for(p.dropout_keys))
      base = factors_[0].matrix.weight.times(x, factors_[0].matrix.out);
    else if (p.bias)
      base = base - cast(p.bias, compute);
    const Factors& own = factors_[0];
    const NamedArray share = own.magnitude / stop_gradient(norm(own, moved(own, multiplied(own))));
    const NamedArray real = cast(base, share.dtype()) * (share - 1.0);
    return p.y + cast(real + cast(delta, share.dtype()) * share, compute);
  }

  std::vector<NamedArray> merged() const override {
    std::vector<NamedArray> all;
    for (const Factors& f : factors_) {
      const OriginScope at = f.matrix.scope.enter();
      const NamedArray sum = moved(f, cast(f.matrix.weight.array, f.a.dtype()));
      all.push_back(f.magnitude ? sum * (f.magnitude / norm(f, moved(f, multiplied(f)))) : sum);
    }
    return all;
  }

  std::vector<std::pair<std::string, NamedArray>> beginnings() const override {
    std::vector<std::pair<std::string, NamedArray>> all;
    for (const Factors& f : factors_)
      if (f.magnitude)
        all.emplace_back(cat(f.matrix.scope.path(), ".lora_magnitude_vector.weight"),
                         norm(f, multiplied(f)));  // B is zero then
    return all;
  }

 private:
  Axes rank() const { return {{"rank", factors_[0].a.axes().size_of("rank")}}; }

  static NamedArray multiply_by(NamedArray x, NamedArray weight, const Axes& out) {
    return dot(x, pack(weight), unite(without(x.axes(), weight.axes()), out));
  }

  /// The products of rows with one of the factors, in f32 at least.
  NamedArray multiply(NamedArray x, NamedArray group, NamedArray Factors::*which,
                      const Axes& out) const {
    if (!group) return multiply_by(x, factors_[0].*which, out);
    std::vector<NamedArray> packed;
    for (const Factors& f : factors_) packed.push_back(pack(f.*which));
    return grouped_dot(x, group, packed);
  }

  /// W as products read it, whatever it is held in.
  static NamedArray multiplied(const Factors& f) {
    return cast(f.matrix.weight.factor(), f.a.dtype());
  }

  /// W + scale B A.
  NamedArray moved(const Factors& f, NamedArray weight) const {
    return weight + dot(f.b, f.a, weight.axes()) * scale_;
  }

  /// The norm of each row of w, as a vector over `out`.
  static NamedArray norm(const Factors& f, NamedArray w) { return sqrt(sum(w * w, f.matrix.in)); }

  std::vector<Factors> factors_;
  nn::Dropout dropout_;
  double scale_;
};

void LoraConfig::fields(config::Fields& f) {
  AdapterConfig::fields(f);
  f("r", r, "the rank: the smaller side of the two matrices that each matrix gets").at_least(1);
  f("alpha", alpha, "what they add is multiplied by alpha / r").above(0);
  f("dropout", dropout, "share of what goes into them that is dropped in training")
      .at_least(0)
      .below(1);
  f("rslora", rslora, "alpha / sqrt(r) instead, so that large ranks learn as fast");
  f("dora", dora,
    "whether a vector beside them learns the norms of the matrix' rows (Liu et al. 2024)");
  f("init", init,
    "where the first of the two begins: uniform in 1 / sqrt(inputs), or normal with 1 / r; the "
    "second begins as zeros");
  f.dropped("zero_init_b", "the second matrix always begins as zeros");
  f.dropped("exclude_modules", "write target_modules as a regular expression that leaves them out");
}

void LoraConfig::hf_keys(compat::HfConfig& hf) {
  AdapterConfig::hf_keys(hf);
  hf("r", r, 8);
  hf("lora_alpha", alpha, 8);
  hf("lora_dropout", dropout, 0);
  hf("use_rslora", rslora, false);
  hf("use_dora", dora, false);
  hf.require<std::string>("bias", "none");
  if (hf.writes()) return;
  hf.ignore({"fan_in_fan_out", "megatron_*", "runtime_config", "qalora_group_size", "loftq_config",
             "corda_config", "eva_config", "arrow_config", "ensure_weight_tying"});
  for (const char* how : {"true", "false", "\"gaussian\""})
    hf.neutral("init_lora_weights", how, "it changes the base");
  for (const char* key : {"use_qalora", "lora_bias", "use_bdlora"})
    hf.neutral(key, "false", "it is another computation");
}

/// error  naming the matrix that r is too large for
void require_rank(const LoraConfig& config, const nn::Matrix& m) {
  const int64_t side = std::min(m.in.elements(), m.out.elements());
  if (config.r <= side) return;
  throw Error(ErrorKind::kConfig,
              cat("adapter.r = ", config.r, " is more than the smaller side of ", m.scope.path(),
                  ", ", m.out.elements(), " x ", m.in.elements()))
      .allowed(cat("1 to ", side))
      .hint("a matrix of that rank is as large as the one that it adapts");
}

std::shared_ptr<const nn::Adaptation> LoraConfig::adapt(
    std::span<const nn::Matrix> matrices) const {
  size_t wanted = 0;
  for (const nn::Matrix& m : matrices) wanted += targets(m.scope.path());
  if (wanted == 0) return nullptr;
  if (wanted < matrices.size() || (dora && matrices.size() > 1))
    throw Error(
        ErrorKind::kConfig,
        wanted < matrices.size()
            ? cat("adapter.target_modules names some of the experts of ", matrices[0].scope.path(),
                  " and not all")
            : cat("adapter.dora does not adapt experts, such as ", matrices[0].scope.path()))
        .hint(wanted < matrices.size() ? "a layer's experts are adapted together"
                                       : "leave them out of adapter.target_modules");
  const Axis rank{"rank", r};
  const nn::Init gaussian = nn::Init::normal(1 / static_cast<double>(r));
  std::vector<Factors> factors;
  for (const nn::Matrix& m : matrices) {
    require_rank(*this, m);
    const nn::Scope own = m.scope.adapter();
    const int64_t in = m.in.elements(), out = m.out.elements();
    const nn::Init kaiming = nn::Init::uniform(1 / std::sqrt(static_cast<double>(in)));
    Factors f{m,
              (own / "lora_A")
                  .param("weight", unite({rank}, m.in), {r, in},
                         init == LoraInit::kKaiming ? kaiming : gaussian, nn::Role::kWeight, m.in),
              (own / "lora_B")
                  .param("weight", unite(m.out, {rank}), {out, r}, nn::Init::zeros(),
                         nn::Role::kWeight, {rank})};
    if (dora)
      f.magnitude = (own / "lora_magnitude_vector")
                        .param("weight", m.out, {out}, nn::Init::ones(), nn::Role::kNorm);
    factors.push_back(std::move(f));
  }
  return std::make_shared<Lora>(*this, std::move(factors));
}

}  // namespace

namespace models::adapters {
extern const AdapterEntry lora_entry;
const AdapterEntry lora_entry = {
    .name = "lora",
    .summary = "two small matrices beside each one: W x + alpha / r B A x (Hu et al. 2021)",
    .make_config = config::make_choice<LoraConfig>,
    .peft_type = "LORA"};
}  // namespace models::adapters

}  // namespace levanter
