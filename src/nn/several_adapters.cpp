// Several adapters over one model at once: each row of a batch has one of them, or none.
#include "nn/several_adapters.h"

#include <utility>

#include "base/error.h"
#include "nn/adaptation.h"

namespace levanter::nn {

namespace {

class ChosenByRow final : public Adaptation {
 public:
  explicit ChosenByRow(Scope scope) : scope_(std::move(scope)) {}

  void add(size_t number, std::shared_ptr<const Adaptation> adaptation) {
    adaptations_.emplace_back(number, std::move(adaptation));
  }
  bool empty() const { return adaptations_.empty(); }

  NamedArray apply(const Product& product) const override {
    NamedArray y = product.y;
    for (const auto& [number, adaptation] : adaptations_) {
      const NamedArray which = constant(y.graph(), static_cast<double>(number), DType::i32);
      const NamedArray is_own = map(Map::kEqual, scope_.adapter_of_row(), which);
      const NamedArray adapted = adaptation->apply(product);
      y = select(broadcast(cast(is_own, y.dtype()), y.axes()), adapted, y);
    }
    return y;
  }

  std::vector<NamedArray> merged() const override {
    LEV_CHECK(false, "of several adapters none is the model's");
    return {};
  }

 private:
  Scope scope_;
  std::vector<std::pair<size_t, std::shared_ptr<const Adaptation>>> adaptations_;
};

}  // namespace

std::shared_ptr<const Adaptation> SeveralAdapters::adapt(std::span<const Matrix> matrices) const {
  auto chosen = std::make_shared<ChosenByRow>(matrices[0].scope);
  for (size_t i = 0; i < adapters_.size(); ++i) {
    std::vector<Matrix> own(matrices.begin(), matrices.end());
    for (Matrix& matrix : own) matrix.scope = matrix.scope.adapter_named(adapters_[i].name);
    try {
      if (auto adaptation = adapters_[i].adapter->adapt(own)) chosen->add(i, std::move(adaptation));
    } catch (const Error& error) {
      throw Error(error).at(adapters_[i].place);
    }
  }
  return chosen->empty() ? nullptr : chosen;
}

}  // namespace levanter::nn
