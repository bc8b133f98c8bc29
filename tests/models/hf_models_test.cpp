// The models that scripts/reference/check_hf_models.py made, beside what Transformers computed.
//
// LEVANTER_HF_MODELS names a folder with one of each: config.json, model.safetensors, and
// reference.safetensors with ids [row, position + 1], logits [row, position, vocab] in f64 and the
// gradients of the mean loss. One line of JSON is printed for each.
#include <catch2/catch.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/files.h"
#include "base/strings.h"
#include "models/decoder_config.h"
#include "models/families/gpt2_config.h"
#include "models/model.h"
#include "optim/adam_config.h"
#include "support/evaluate.h"
#include "support/trained_model.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr int64_t kMicrobatches = 10;
constexpr double kClearly = 2e-4;  // a best logit ahead of the second best

template <class T>
std::vector<T> read_as(const safetensors::File& file, const char* name) {
  const safetensors::Tensor* tensor = file.find(name);
  REQUIRE(tensor != nullptr);
  std::vector<T> values(static_cast<size_t>(tensor->size()));
  REQUIRE(tensor->bytes == std::ssize(values) * static_cast<int64_t>(sizeof(T)));
  tensor->file->read(tensor->begin, std::as_writable_bytes(std::span(values)));
  return values;
}

TokenRows rows_of(const safetensors::File& reference) {
  const std::vector<int64_t> ids = read_as<int64_t>(reference, "ids");
  const auto width = reference.find("ids")->shape.at(1);
  TokenRows rows;
  for (auto row = ids.begin(); row != ids.end(); row += width)
    rows.add({row, row + width - 1}, {row + 1, row + width},
             std::vector<float>(static_cast<size_t>(width - 1), 1.0F));
  return rows;
}

struct LogitErrors {
  double worst = 0;
  int64_t positions = 0, other_best = 0;
};

LogitErrors compare(std::span<const double> found, std::span<const double> expected, size_t vocab) {
  LogitErrors errors;
  for (size_t at = 0; at < expected.size(); at += vocab, ++errors.positions) {
    const auto ours = found.subspan(at, vocab), theirs = expected.subspan(at, vocab);
    for (size_t i = 0; i < vocab; ++i)
      errors.worst = std::max(errors.worst, std::abs(ours[i] - theirs[i]));
    const auto best = std::ranges::max_element(theirs) - theirs.begin();
    double second = -1e300;
    for (size_t i = 0; i < vocab; ++i)
      if (static_cast<ptrdiff_t>(i) != best) second = std::max(second, theirs[i]);
    const bool clear = theirs[static_cast<size_t>(best)] - second > kClearly;
    errors.other_best += clear && std::ranges::max_element(ours) - ours.begin() != best;
  }
  return errors;
}

void check_folder(const std::string& folder) {
  const models::HfModel model = models::read_hf_model(folder);
  const int64_t vocab = *model.config->vocab_size;
  if (auto* gpt2 = dynamic_cast<Gpt2Config*>(model.config.get()))  // the reference drops nothing
    gpt2->embed_pdrop = gpt2->attn_pdrop = gpt2->resid_pdrop = 0;
  if (auto* decoder = dynamic_cast<DecoderConfig*>(model.config.get()))
    decoder->lbl_coef = decoder->rzl_coef = 0;  // and has the loss of the tokens alone
  const TrainedModel trained(*model.family, *model.config, vocab,
                             join_path(folder, "model.safetensors"));
  const safetensors::File reference(join_path(folder, "reference.safetensors"));
  const TokenRows rows = rows_of(reference);
  const auto backend = make_backend("cpu", 2);
  const std::vector<double> found = trained.logits(*backend, rows);
  const std::vector<double> expected = read_as<double>(reference, "logits");
  REQUIRE(found.size() == expected.size());
  const LogitErrors errors = compare(found, expected, static_cast<size_t>(vocab));
  const AdamConfig adam;
  const auto engine = trained.engine(*backend, adam, rows, kMicrobatches);
  run_gradients(*engine, rows);
  // Of one group the gradients are in total(); those of several are summed here.
  const auto sums = engine->subtree_sums();
  for (size_t i = 0; i < static_cast<size_t>(engine->step().layout.elements); ++i) {
    double sum = 0;
    for (const float* part : sums) sum += part[i];
    engine->total()[i] = static_cast<float>(sum);
  }
  std::printf("%s\n", cat("{\"case\": ", quote(file_name(folder)), ", \"logit_error\": ",
                          errors.worst, ", \"argmax_mismatches\": ", errors.other_best,
                          ", \"positions\": ", errors.positions,
                          ", \"gradient_error\": ", worst_gradient_error(*engine, reference), "}")
                          .c_str());
}

}  // namespace

TEST_CASE("models of a folder beside the numbers of Transformers", "[.hf_models]") {
  const char* folder = std::getenv("LEVANTER_HF_MODELS");
  REQUIRE(folder != nullptr);
  for (const std::string& name : list_directory(folder)) {
    INFO(name);
    check_folder(join_path(folder, name));
  }
}
