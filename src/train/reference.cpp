// What the answers of pairs have under the model that preferences are measured from.
#include "train/reference.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"
#include "compat/safetensors.h"
#include "config/print.h"
#include "data/rows/loader.h"
#include "train/engine/all_parameters.h"
#include "train/evaluate.h"
#include "train/hf/start.h"
#include "train/rank.h"
#include "train/setup.h"

namespace levanter::train {

namespace {

constexpr const char* kTensor = "reference_logps";

/// The model that the run begins with, before its first step.
class InitialModel final : public ReferenceModel {
 public:
  InitialModel(Run& run, Engine& engine, dist::Crew& crew)
      : run_(run), engine_(engine), crew_(crew) {}

  std::string checksum() override {
    if (!run_.decision.resumes) return current();
    known_ = extra_of(run_).value("reference", "");
    if (!known_.empty()) return known_;
    throw Error(ErrorKind::kCheckpoint,
                "the checkpoint does not say which model its preferences are measured from")
        .at(run_.decision.checkpoint);
  }

  void begin() override {
    if (!run_.decision.resumes) return;
    restore_initial(run_, engine_);
    const std::string now = current();
    if (now == known_) return;
    throw Error(ErrorKind::kCheckpoint,
                cat("the run measures preferences from a model of hash ", known_,
                    ", and the one that it would begin with now has ", now,
                    ": the log-probabilities that are missing can't be computed again"))
        .at(run_.config.where("start_from"))
        .hint("start_from has to name what the run was begun with");
  }

  void end() override {
    if (run_.decision.resumes) restore(run_, engine_);
  }

 private:
  /// Of the parameters as they are.
  std::string current() {
    std::string hash;
    if (run_.rank == 0) hash = params_hash(AllParameters(crew_, engine_).tensors());
    meet(crew_);
    return dist::broadcast_text(crew_.communicator(), hash);
  }

  Run& run_;
  Engine& engine_;
  dist::Crew& crew_;
  std::string known_;
};

/// A split of a component that has pairs.
struct PairSplit {
  std::string component;
  data::Split split;
  std::shared_ptr<const data::TokenStream> stream;
  data::PackOptions pack;  ///< how its rows are made here: the same for every order of packing
  std::string path = {};   ///< of its file

  std::string name() const {
    return cat(component, split == data::Split::kTrain ? "/train" : "/validation");
  }
};

std::vector<PairSplit> pair_splits(const Run& run) {
  std::vector<PairSplit> splits;
  for (const data::ComponentStreams* component : run.opened.data->components()) {
    if (!component->rows.pairs()) continue;
    data::PackOptions pack = *component->rows.pack;
    pack.seq_len = run.config.model->max_seq_len;
    pack.order = data::PackOrder::kGreedy;
    pack.alone = false;
    for (const auto& [split, stream] : {std::pair{data::Split::kTrain, &component->train},
                                        {data::Split::kValidation, &component->validation}})
      if ((*stream)->size() > 0) splits.push_back({component->name, split, *stream, pack});
  }
  return splits;
}

/// A hash of the documents of a stream: their tokens, weights and borders.
std::string content_of(const data::TokenStream& stream) {
  constexpr int64_t kPiece = 1 << 16;
  std::vector<int32_t> ids;
  std::vector<float> weights;
  std::string hashes;
  for (int64_t begin = 0; begin < stream.size(); begin += kPiece) {
    const auto count = static_cast<size_t>(std::min(kPiece, stream.size() - begin));
    ids.resize(count);
    weights.resize(count);
    stream.read(begin, ids);
    stream.read_weights(begin, weights);
    const std::vector<int64_t> starts =
        stream.document_starts(begin, begin + static_cast<int64_t>(count));
    hashes += cat(hex64(xxh3_64(std::as_bytes(std::span(ids)))),
                  hex64(xxh3_64(std::as_bytes(std::span(weights)))),
                  hex64(xxh3_64(std::as_bytes(std::span(starts)))));
  }
  return hex64(xxh3_64(hashes));
}

/// What is computed with the parameters: all keys of a model or its adapter but those that change
/// nothing outside of training, or what the parameters' hash and the other facts tell.
std::string formula_of(const config::Type& type, const void* object) {
  static constexpr std::string_view kElsewhere[] = {
      "attn_pdrop", "embed_pdrop", "resid_pdrop", "dropout", "lbl_coef",
      "rzl_coef",   "max_seq_len", "init",        "path",    "initializer_range"};
  std::string text;
  for (const config::Entry& entry : config::flatten(type, object)) {
    const bool is_elsewhere =
        std::find(std::begin(kElsewhere), std::end(kElsewhere), entry.key) != std::end(kElsewhere);
    if (!entry.may_change && !is_elsewhere)
      text += cat(text.empty() ? "" : "; ", entry.key, " = ", entry.text);
  }
  return text;
}

/// All that decides the values of a split.
std::map<std::string, std::string> facts_of(const Run& run, const PairSplit& split) {
  const auto& model = run.config.model;
  const auto& adapter = run.config.adapter;
  return {{"model", run.reference},
          {"formula", formula_of(config::type_of<config::Choice<ModelConfig>>(), &model)},
          {"adapter",
           adapter ? formula_of(config::type_of<config::Choice<AdapterConfig>>(), &*adapter) : ""},
          {"frozen", run.config.trainer.frozen},
          {"answers", content_of(*split.stream)},
          {"max_seq_len", cat(split.pack.seq_len)},
          {"too_long", config::word_of(split.pack.too_long)},
          {"numerics", numerics_of(run.config, *run.backend)}};
}

/// Of a split's file: in the folder of the token caches, or in the run's own.
std::string path_of(const Run& run, const PairSplit& split) {
  std::string text;
  for (const auto& [name, value] : facts_of(run, split)) text += cat(name, " = ", value, "\n");
  const auto& cache = run.config.data.cache_dir;
  const std::string folder =
      cache ? join_path(join_path(cache->resolved, split.component), "references")
            : join_path(join_path(run.config.run_folder(), "references"), split.component);
  return join_path(folder, cat(hex64(xxh3_64(text)), ".safetensors"));
}

/// The values in a split's file.
///   checks  whether their checksum is compared too
std::shared_ptr<const data::TokenValues> open_values(const PairSplit& split, bool checks) {
  const safetensors::File file(split.path);
  const safetensors::Tensor* tensor = file.find(kTensor);
  if (!tensor || tensor->element != safetensors::Element::f32 ||
      tensor->size() != split.stream->size())
    throw Error(ErrorKind::kCheckpoint, "the file has no log-probabilities of these answers")
        .at(split.path);
  if (checks) file.check(*tensor);
  return std::make_shared<data::TokenValues>(tensor->file, tensor->begin, tensor->size());
}

/// Whether a split's values are there and whole.
bool has_values(const PairSplit& split, std::vector<std::string>& messages) {
  if (!path_exists(split.path)) return false;
  try {
    open_values(split, true);
    return true;
  } catch (const Error& error) {
    messages.push_back(cat(error.at(), ": ", error.message(), "; they are computed again"));
    return false;
  }
}

void write_values(const Run& run, const PairSplit& split, std::span<const float> values) {
  const safetensors::Entry entry{kTensor, safetensors::Element::f32, {std::ssize(values)}};
  safetensors::Layout layout =
      safetensors::layout(std::span(&entry, 1), /*checksums=*/true, facts_of(run, split));
  const auto bytes = std::as_bytes(values);
  set_checksum(layout, 0, xxh3_64(bytes));
  make_directories(split.path.substr(0, split.path.rfind('/')));
  AtomicFile file(split.path);
  file.write(layout.header);
  file.write(bytes);
  file.commit();
}

/// Computes what the engine's model gives to the tokens of a split, the rows shared among the
/// ranks.
class Scorer final {
 public:
  Scorer(const Run& run, Engine& engine, dist::Communicator& communicator)
      : run_(run), engine_(engine), communicator_(communicator) {}

  /// For each token of the stream; on rank 0 alone.
  std::vector<float> values_of(const PairSplit& split) {
    const auto plan = std::make_shared<const data::PackPlan>(*split.stream, split.pack);
    data::ExampleSource source;
    source.examples = data::packed(split.stream, plan);
    source.loss_tokens = data::packed_loss_tokens(split.stream, plan);
    source.pairs = true;
    data::LoaderOptions loading;
    loading.seq_len = split.pack.seq_len;
    loading.rows = engine_.step().options.shape.batch;
    loading.batch_size = loading.rows * communicator_.size();
    loading.first_row = loading.rows * communicator_.rank();
    data::Loader loader(std::move(source), loading);
    std::vector<float> values(run_.rank == 0 ? static_cast<size_t>(split.stream->size()) : 0);
    double rows = 0;
    while (!loader.done()) {
      const data::Batch& batch = loader.next();
      throw_if_any_stopped(&communicator_);
      const std::vector<float> own = losses_of(batch);
      const std::vector<std::string> all = dist::collect_texts(
          communicator_, {reinterpret_cast<const char*>(own.data()), own.size() * sizeof(float)});
      if (run_.rank > 0) continue;
      for (size_t rank = 0; rank < all.size(); ++rank)
        put(split, *plan, batch.first_example + static_cast<int64_t>(rank) * loading.rows,
            all[rank], values);
      rows += static_cast<double>(loading.batch_size);
      tell(rows, static_cast<double>(plan->rows()), split);
    }
    return values;
  }

 private:
  void tell(double rows, double all, const PairSplit& split) const {
    const auto positions = static_cast<double>(split.pack.seq_len);
    if (const ProgressReport& progress = run_.options.progress; progress)
      progress({"computing references", std::min(rows, all) * positions, all * positions, "token"});
  }

  /// Of this rank's rows that hold examples, one row after the other.
  std::vector<float> losses_of(const data::Batch& batch) {
    if (batch.real_rows == 0) {
      if (engine_.step().gathers()) engine_.attend_evaluation();
      return {};
    }
    const std::span<const float> losses = engine_.run_evaluation({batch, 0, batch.first_example});
    const int64_t count = batch.real_rows * engine_.step().options.shape.position;
    return {losses.begin(), losses.begin() + count};
  }

  /// Puts the losses of rows from number `row` on in their tokens' places.
  static void put(const PairSplit& split, const data::PackPlan& plan, int64_t row,
                  const std::string& bytes, std::span<float> values) {
    std::vector<float> losses(bytes.size() / sizeof(float));
    if (!bytes.empty()) std::memcpy(losses.data(), bytes.data(), bytes.size());
    std::vector<float> weights;
    const auto positions = static_cast<size_t>(split.pack.seq_len);
    for (size_t begin = 0; begin < losses.size(); begin += positions, ++row) {
      size_t at = begin;
      for (const int64_t document : plan.documents(row)) {
        const data::Piece piece = data::piece_of(*split.stream, document, split.pack);
        weights.resize(static_cast<size_t>(piece.positions));
        split.stream->read_weights(piece.begin + 1, weights);
        float* const to = values.data() + piece.begin + 1;
        for (size_t t = 0; t < weights.size(); ++t) to[t] = weights[t] > 0 ? -losses[at + t] : 0.0f;
        at += weights.size();
      }
    }
  }

  const Run& run_;
  Engine& engine_;
  dist::Communicator& communicator_;
};

/// Computes and writes the values of these splits; lines for people.
std::vector<std::string> compute(const Run& run, Engine& engine, dist::Communicator& communicator,
                                 ReferenceModel& reference, std::span<const PairSplit> missing) {
  std::vector<std::string> lines;
  reference.begin();
  for (const PairSplit& split : missing) {
    const auto start = std::chrono::steady_clock::now();
    const std::vector<float> values = Scorer(run, engine, communicator).values_of(split);
    dist::together(communicator, [&] {
      if (run.rank == 0) write_values(run, split, values);
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    lines.push_back(cat(split.name(), ": log-probabilities under the reference model computed in ",
                        format_fixed(seconds.count(), 1), " s, kept in ", split.path));
  }
  reference.end();
  return lines;
}

}  // namespace

void know_references(Run& run, Engine& engine, dist::Crew& crew,
                     std::vector<std::string>& messages) {
  if (!run.config.objective->needs_reference()) return;
  dist::Communicator& communicator = crew.communicator();
  InitialModel reference(run, engine, crew);
  run.reference = reference.checksum();
  std::vector<PairSplit> splits = pair_splits(run);
  std::string list;  // of those that are missing, as rank 0 finds it
  if (run.rank == 0) {
    nlohmann::json told = nlohmann::json::array();
    for (PairSplit& split : splits) {
      split.path = path_of(run, split);
      told.push_back({split.path, has_values(split, messages)});
    }
    list = told.dump();
  }
  const auto told = nlohmann::json::parse(dist::broadcast_text(communicator, list));
  std::vector<PairSplit> missing;
  for (size_t i = 0; i < splits.size(); ++i) {
    told.at(i).at(0).get_to(splits[i].path);
    if (!told.at(i).at(1)) missing.push_back(splits[i]);
  }
  if (!missing.empty())
    for (std::string& line : compute(run, engine, communicator, reference, missing))
      messages.push_back(std::move(line));
  dist::together(communicator, [&] {
    for (const PairSplit& split : splits)
      run.opened.data->keep_references(split.component, split.split, open_values(split, false));
  });
}

}  // namespace levanter::train
