// A batch that was not learned from, with all that it takes to run its step again.
#include "train/guard/bundle.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/stop.h"
#include "base/strings.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/folder.h"
#include "compat/safetensors.h"
#include "device/transfer.h"
#include "train/guard/row_origin.h"
#include "train/setup.h"

namespace levanter::train {

namespace {

using nlohmann::json;

constexpr std::string_view kBundleFile = "bundle.json";
constexpr std::string_view kBatchFile = "batch.safetensors";
constexpr std::string_view kRowsFile = "rows.jsonl";
constexpr std::string_view kStateFolder = "state";

/// A float as people read it and as its bits.
json float_json(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return {{"value", float_text(value)}, {"bits", bits}};
}

float float_of(const json& object) {
  const auto bits = object.at("bits").get<uint32_t>();
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

bool same_float(float a, float b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b));
}

/// The seal of an object without its "seal".
std::string seal_of(const json& object) { return hex64(xxh3_64(object.dump())); }

/// The whole batch of a place, all ranks' rows.
data::Batch batch_of(const HookContext& c, int64_t place) {
  const Key root = key_from_seed(static_cast<uint64_t>(c.config.trainer.seed));
  data::LoaderOptions loading;
  loading.seq_len = c.config.model->max_seq_len;
  loading.batch_size = c.config.trainer.train_batch_size;
  loading.sizes = c.config.batch_sizes();
  loading.part = [](int64_t size) { return data::RowRange{0, size}; };
  loading.rows = loading.sizes->of(place);
  loading.first_step = place;
  loading.end_step = place + 1;
  loading.prefetch = 1;
  data::Loader loader(c.data.training(training_options(c.config, fold_in(root, "data"))), loading);
  data::Batch batch = loader.next();
  throw_if_stopped();  // it may be unmade then
  return batch;
}

void write_batch(const std::string& path, const data::Batch& batch) {
  const int64_t positions = std::ssize(batch.tokens) / batch.rows;
  std::vector<safetensors::Entry> entries;
  std::vector<std::span<const std::byte>> bytes;
  data::for_each_array([&](const char* name, auto field) {
    const auto& values = batch.*field;
    if (values.empty()) return;  // an array that these rows lack
    const bool real = std::is_same_v<std::decay_t<decltype(values[0])>, float>;
    entries.push_back({name,
                       real ? safetensors::Element::f32 : safetensors::Element::i32,
                       {batch.rows, positions}});
    bytes.push_back(std::as_bytes(std::span(values)));
  });
  safetensors::Layout layout = safetensors::layout(entries, /*checksums=*/true);
  AtomicFile file(path);
  for (size_t slot = 0; slot < layout.slots.size(); ++slot)
    set_checksum(layout, slot, xxh3_64(bytes[layout.slots[slot].entry]));
  file.write(layout.header);
  for (const safetensors::Layout::Slot& slot : layout.slots) file.write(bytes[slot.entry]);
  file.commit();
}

void read_batch(const std::string& path, data::Batch& batch) {
  const safetensors::File file(path);
  data::for_each_array([&](const char* name, auto field) {
    auto& values = batch.*field;
    const safetensors::Tensor* tensor = file.find(name);
    if (!tensor && values.empty() && name == std::string_view("reference_logps")) return;
    if (!tensor || tensor->shape.size() != 2 ||
        tensor->bytes != tensor->size() * int64_t{sizeof values[0]})
      throw Error(ErrorKind::kCheckpoint, cat("the bundle's batch has no good ", quote(name)))
          .at(path);
    file.check(*tensor);
    batch.rows = tensor->shape[0];
    values.resize(static_cast<size_t>(tensor->size()));
    tensor->file->read(tensor->begin, std::as_writable_bytes(std::span(values)));
  });
}

/// The texts of a row, segment by segment; null for one whose ids the tokenizer does not know.
json texts_of(const data::Batch& batch, int64_t row, const text::Tokenizer& tokenizer) {
  json texts = json::array();
  const int64_t positions = std::ssize(batch.tokens) / batch.rows;
  const auto at = [&](const std::vector<int32_t>& values, int64_t i) {
    return values[static_cast<size_t>(row * positions + i)];
  };
  for (int64_t begin = 0, end = 0; begin < positions; begin = end) {
    const int32_t segment = at(batch.segment_ids, begin);
    while (end < positions && at(batch.segment_ids, end) == segment) ++end;
    if (segment == data::kPaddingSegment) continue;
    const auto ids = std::span(batch.tokens)
                         .subspan(static_cast<size_t>(row * positions + begin),
                                  static_cast<size_t>(end - begin));
    try {
      texts.push_back(tokenizer.decode(ids));
    } catch (const Error&) {
      texts.push_back(nullptr);
    }
  }
  return texts;
}

std::string rows_text(const HookContext& c, const data::Batch& batch) {
  std::string text;
  const RowOrigins origins(c.config, c.data);
  for (int64_t row = 0; row < batch.real_rows; ++row) {
    const RowOrigin origin = origins.of(batch.first_example + row);
    const nlohmann::ordered_json line = {{"row", row},
                                         {"example", batch.first_example + row},
                                         {"component", origin.component},
                                         {"epoch", origin.epoch},
                                         {"component_row", origin.row},
                                         {"texts", texts_of(batch, row, *c.data.tokenizer())}};
    text += line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  }
  return text;
}

/// Step and place of a folder's name.
std::optional<std::pair<int64_t, int64_t>> parse_name(std::string_view name) {
  const size_t at = name.find("-batch-");
  const std::optional<int64_t> step = step_of(name.substr(0, at));
  if (!step) return std::nullopt;
  if (at == std::string_view::npos) return std::pair(*step, *step - 1);
  int64_t place = 0;
  const std::string_view digits = name.substr(at + 7);
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), place);
  if (read.ec != std::errc() || read.ptr != digits.data() + digits.size()) return std::nullopt;
  return std::pair(*step, place);
}

/// Removes the oldest bundles but the first, so that one more is not too many; whether one may
/// come.
bool make_room(const std::string& bundles, int64_t most) {
  std::vector<std::pair<int64_t, std::string>> there;  // by place
  for (const std::string& name : list_directory(bundles))
    if (const auto parsed = parse_name(name)) there.emplace_back(parsed->second, name);
  std::sort(there.begin(), there.end());
  if (std::ssize(there) < most) return true;
  if (most <= 1) return false;
  const int64_t excess = std::ssize(there) - most + 1;
  for (int64_t i = 1; i <= excess; ++i)
    remove_tree(join_path(bundles, there[static_cast<size_t>(i)].second));
  return true;
}

json json_of(const StepRecord& record, const data::Batch& batch, const StepInfo& info) {
  return {{"format", 1},
          {"step", record.step},
          {"place", record.place},
          {"first_example", batch.first_example},
          {"examples", batch.real_rows},
          {"loss_tokens", batch.loss_tokens},
          {"reason", info.verdict.reason},
          {"loss", float_json(record.loss)},
          {"grad_norm", float_json(record.grad_norm)},
          {"loss_limit", float_json(record.limits.loss)},
          {"norm_limit", float_json(record.limits.grad_norm)},
          {"gradients_xxh3", record.gradients},
          {"lr", info.lr},
          {"numerics", record.numerics}};
}

}  // namespace

bool StepRecord::same_bits(const StepRecord& other) const {
  return same_float(loss, other.loss) && same_float(grad_norm, other.grad_norm) &&
         gradients == other.gradients;
}

std::string gradients_hash(const Engine& engine) {
  Hasher hasher(Hasher::Width::k128);
  std::vector<Tensor> tensors = engine.gradients();
  std::sort(tensors.begin(), tensors.end(),
            [](const Tensor& a, const Tensor& b) { return a.path < b.path; });
  std::vector<std::byte> room;
  std::vector<float> values;
  for (const Tensor& tensor : tensors) {
    const auto bytes =
        read_bytes(*tensor.memory, tensor.data, static_cast<size_t>(tensor.bytes()), room);
    values.resize(static_cast<size_t>(tensor.elements()));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    for (float& value : values)
      if (std::isnan(value)) value = std::numeric_limits<float>::quiet_NaN();
    hasher.update(std::as_bytes(std::span(values)));
  }
  return hasher.hex();
}

std::string write_bundle(const HookContext& c, const StepInfo& info) {
  const int64_t most = c.config.trainer.guard.max_bundles;
  if (most == 0) return "";
  const std::string bundles = join_path(c.folder.path(), "bundles");
  std::string folder = step_folder(bundles, info.step);
  if (info.place != info.step - 1) folder += cat("-batch-", info.place);
  if (path_exists(join_path(folder, kBundleFile))) return folder;
  remove_tree(folder);
  make_directories(bundles);
  if (!make_room(bundles, most)) return "";
  make_directories(folder);

  CheckpointContents state = checkpoint_contents(c, info.step - 1, {});
  const std::vector<Tensor> model = c.engine.model_part();
  const std::vector<Tensor> optimizer = c.engine.optimizer_part();
  state.model = model;
  state.optimizer = optimizer;
  StepRecord record{info.step,
                    info.place,
                    info.limits,
                    info.report.loss,
                    info.report.grad_norm,
                    gradients_hash(c.engine),
                    state.numerics};
  save_now(c, join_path(folder, kStateFolder), state);
  const data::Batch batch = batch_of(c, info.place);
  write_batch(join_path(folder, kBatchFile), batch);
  write_file_atomic(join_path(folder, kRowsFile), rows_text(c, batch));
  json object = json_of(record, batch, info);
  object["seal"] = seal_of(object);
  write_file_atomic(join_path(folder, kBundleFile), object.dump(2) + "\n");
  return folder;
}

Bundle read_bundle(const std::string& folder) {
  const std::string path = join_path(folder, kBundleFile);
  if (!path_exists(path))
    throw Error(ErrorKind::kCheckpoint, cat(folder, " is no bundle: it has no ", kBundleFile))
        .hint("a run keeps them under <trainer.log_dir>/<trainer.id>/bundles");
  Bundle bundle;
  try {
    json object = json::parse(read_file(path));
    const auto seal = object.at("seal").get<std::string>();
    object.erase("seal");
    if (seal != seal_of(object))
      throw Error(ErrorKind::kCheckpoint, "the bundle's record is altered").at(path);
    StepRecord& record = bundle.record;
    object.at("step").get_to(record.step);
    object.at("place").get_to(record.place);
    record.limits = {float_of(object.at("loss_limit")), float_of(object.at("norm_limit"))};
    record.loss = float_of(object.at("loss"));
    record.grad_norm = float_of(object.at("grad_norm"));
    object.at("gradients_xxh3").get_to(record.gradients);
    object.at("numerics").get_to(record.numerics);
    object.at("reason").get_to(bundle.reason);
    object.at("loss_tokens").get_to(bundle.batch.loss_tokens);
    object.at("first_example").get_to(bundle.batch.first_example);
    object.at("examples").get_to(bundle.batch.real_rows);
  } catch (const json::exception&) {
    throw Error(ErrorKind::kCheckpoint, "the bundle's record is damaged").at(path);
  }
  bundle.batch.step = bundle.record.place;
  read_batch(join_path(folder, kBatchFile), bundle.batch);
  bundle.state = step_folder(join_path(folder, kStateFolder), bundle.record.step - 1);
  return bundle;
}

}  // namespace levanter::train
