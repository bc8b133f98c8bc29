// The frozen model under an adapter: where its parameters are read, and how they are known again.
#include "train/adapter/base.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "base/bf16.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "base/threads.h"
#include "device/transfer.h"
#include "infer/parameter_store.h"
#include "train/adapter/quantize.h"
#include "train/hf/start.h"

namespace levanter::train {

using nlohmann::json;

std::string text_of(const BaseRecord& base) {
  return json{{"kind", config::word_of(base.kind)},
              {"place", base.place},
              {"params_hash", base.params_hash}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

std::optional<BaseRecord> base_of(const std::string& extra_json) {
  const json extra = json::parse(extra_json, nullptr, false);
  if (!extra.is_object() || !extra.contains("base")) return std::nullopt;
  const json& base = extra["base"];
  const auto text = [&](const char* key) -> std::string {
    return base.is_object() && base.contains(key) && base[key].is_string() ? base[key] : json("");
  };
  BaseRecord record{StartKind::kNone, text("place"), text("params_hash")};
  for (const auto& word : words_of(StartKind())) {
    if (text("kind") != word.text) continue;
    record.kind = word.value;
    return record;
  }
  throw Error(ErrorKind::kCheckpoint,
              "the checkpoint does not say what the model under its adapter is")
      .hint("its manifest.json was altered, or is of another version of levanter");
}

BaseRecord BaseModel::record() const {
  if (checkpoint) return {StartKind::kCheckpoint, checkpoint->folder(), {}};
  if (hf) return {StartKind::kHf, hf->folder(), {}};
  return {};
}

BaseModel open_base(StartKind kind, const std::string& place) {
  BaseModel base;
  if (kind == StartKind::kHf) {
    base.hf = std::make_shared<const compat::HfWeights>(place);
    if (std::string line = base.hf->changed(); !line.empty())
      base.problems.push_back(std::move(line));
  }
  if (kind != StartKind::kCheckpoint) return base;
  FoundCheckpoint found = open_checkpoint(place);
  base.problems = std::move(found.problems);
  base.checkpoint = std::make_shared<const Checkpoint>(*std::move(found.checkpoint));
  if (base_of(base.checkpoint->manifest().extra_json))
    throw Error(ErrorKind::kCheckpoint, "the checkpoint holds an adapter and no model under it")
        .at(base.checkpoint->folder())
        .hint(
            "levanter export --merge makes a whole model of it, --adapter a folder for "
            "adapter.path");
  return base;
}

std::vector<Tensor> tensors_of(const std::vector<nn::Param>& params, std::span<const Tensor> all,
                               bool adapts) {
  std::set<std::string_view> wanted;
  for (const nn::Param& param : params)
    if (param.adapts == adapts) wanted.insert(param.path);
  std::vector<Tensor> tensors;
  std::copy_if(all.begin(), all.end(), std::back_inserter(tensors),
               [&](const Tensor& tensor) { return wanted.contains(tensor.path); });
  return tensors;
}

namespace {

/// Fills f32 with rows of a parameter of a base; how many of the numbers the base has.
using Read = std::function<int64_t(const Tensor& rows, std::span<float> room)>;

/// About as many numbers are read at a time by each thread, so that no matrix is held in f32 beside
/// what is made of it, but for one of int8 whose columns have scales.
constexpr int64_t kPiece = int64_t{1} << 18;

Read reader_of(const BaseModel& base, const infer::ModelSpec& spec, int64_t vocab_size, Key key,
               const std::vector<nn::Param>& params) {
  if (base.hf) return hf_reader(*base.hf, spec, vocab_size);
  if (base.checkpoint)
    return [&from = *base.checkpoint](const Tensor& rows, std::span<float> room) {
      Tensor target = rows;
      target.path = from.path_in_use(rows.path);
      target.dtype = DType::f32;
      target.data = reinterpret_cast<std::byte*>(room.data());
      target.memory = &host_memory();
      from.load(target);
      return std::ssize(room);
    };
  return [key, &params](const Tensor& rows, std::span<float> room) {
    const auto param = std::find_if(params.begin(), params.end(),
                                    [&](const nn::Param& one) { return one.path == rows.path; });
    infer::draw(param->init, fold_in(key, rows.path), static_cast<uint64_t>(rows.first_element()),
                room);
    return std::ssize(room);
  };
}

/// Where a parameter is held, and where its scales are if it is held in int8.
struct Held {
  Tensor values;
  std::optional<Tensor> scales = {};
  bool out_first = true;  ///< each row of the array has a scale; false: each column
  // Of a piece, while it is read:
  int64_t begin = 0;  ///< of its numbers among those of all pieces that are read together
  int64_t known = 0;  ///< how many of them the base has
};

/// Rounds values to what they are held in.
void hold(const Held& held, std::span<const float> values) {
  HostWrite place(*held.values.memory, held.values.data, static_cast<size_t>(held.values.bytes()));
  if (held.values.dtype == DType::f32) {
    std::copy(values.begin(), values.end(), reinterpret_cast<float*>(place.bytes().data()));
  } else if (held.scales) {
    HostWrite scales(*held.scales->memory, held.scales->data,
                     static_cast<size_t>(held.scales->bytes()));
    const auto count = static_cast<size_t>(held.scales->elements());
    quantize(values, held.out_first ? MatrixOrder::kOutIn : MatrixOrder::kInOut,
             {reinterpret_cast<float*>(scales.bytes().data()), count},
             {reinterpret_cast<int8_t*>(place.bytes().data()), values.size()});
    scales.done();
  } else {
    std::copy(values.begin(), values.end(), reinterpret_cast<Bf16*>(place.bytes().data()));
  }
  place.done();
}

/// A parameter in parts of some rows, in their order. A column's scale is of all of its rows.
void add_pieces(const Held& held, std::vector<Held>& pieces) {
  const int64_t elements = held.values.elements();
  if (elements <= kPiece || (held.scales && !held.out_first)) return pieces.push_back(held);
  const int64_t rows = held.values.shape[0], width = elements / rows;
  const int64_t most = std::max<int64_t>(1, kPiece / width);
  for (int64_t first = 0; first < rows; first += most) {
    const int64_t count = std::min(most, rows - first);
    Held& piece = pieces.emplace_back(held);
    piece.values = held.values.rows(first, count);
    if (held.scales) piece.scales = held.scales->rows(first, count);
  }
}

/// Where the numbers of pieces go from `first` on that are read together: at most `most`, or one
/// piece. returns the end of them
size_t place(std::vector<Held>& pieces, size_t first, int64_t most) {
  int64_t elements = 0;
  size_t end = first;
  do {
    pieces[end].begin = elements;
    elements += pieces[end++].values.elements();
  } while (end < pieces.size() && elements + pieces[end].values.elements() <= most);
  return end;
}

/// The model's parameters among `all`, by their names; scales with what they are of.
std::vector<Held> held_of(const std::vector<nn::Param>& params, std::span<const Tensor> all) {
  const auto tensor_of = [&](const std::string& path) {
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const Tensor& tensor) { return tensor.path == path; });
    return found == all.end() ? std::nullopt : std::optional(*found);
  };
  std::vector<Held> held;
  for (const nn::Param& param : params) {
    const std::optional<Tensor> values = tensor_of(param.path);
    if (param.adapts || param.role == nn::Role::kScale || !values) continue;
    held.push_back({*values});
    if (param.type.dtype != DType::i8) continue;
    held.back().scales = tensor_of(nn::scale_name(param.path));
    held.back().out_first = !param.in.contains(param.type.axes[0].name);
  }
  std::sort(held.begin(), held.end(),
            [](const Held& a, const Held& b) { return a.values.path < b.values.path; });
  return held;
}

}  // namespace

std::string load_base(const BaseModel& base, const infer::ModelSpec& spec, int64_t vocab_size,
                      Key key, const std::vector<nn::Param>& params, std::span<const Tensor> all,
                      int threads, const ProgressReport& progress) {
  const Read read = reader_of(base, spec, vocab_size, key, params);
  std::vector<Held> pieces;
  double done = 0, total = 0;
  for (const Held& held : held_of(params, all)) {
    total += static_cast<double>(held.values.bytes());
    add_pieces(held, pieces);
  }
  ThreadPool pool(threads);
  std::vector<float> room;
  Hasher hasher(Hasher::Width::k128);
  for (size_t next = 0; next < pieces.size();) {
    const size_t end = place(pieces, next, threads * kPiece);
    room.resize(static_cast<size_t>(pieces[end - 1].begin + pieces[end - 1].values.elements()));
    const auto values = [&room](const Held& piece) {
      return std::span(room).subspan(static_cast<size_t>(piece.begin),
                                     static_cast<size_t>(piece.values.elements()));
    };
    pool.parallel_for(static_cast<int64_t>(end - next), [&](int64_t i, int) {
      Held& piece = pieces[next + static_cast<size_t>(i)];
      piece.known = read(piece.values, values(piece));
      hold(piece, values(piece));
    });
    for (; next < end; ++next) {
      const Held& piece = pieces[next];
      hasher.update(std::as_bytes(values(piece).first(static_cast<size_t>(piece.known))));
      done += static_cast<double>(piece.values.bytes());
    }
    if (progress) progress({"reading the model under the adapter", done, total, "B"});
  }
  return hasher.hex();
}

void require_same_base(const std::string& trained_on, const std::string& params_hash,
                       const std::string& adapter, const std::string& place) {
  if (trained_on.empty() || trained_on == params_hash) return;
  throw Error(ErrorKind::kCheckpoint,
              cat("the adapter was trained on another model: its base has params_hash ", trained_on,
                  ", and this one ", params_hash))
      .at(adapter)
      .hint(cat("the model is read from ", place.empty() ? "the run's seed" : place,
                "; name the one that the adapter was trained on"));
}

}  // namespace levanter::train
