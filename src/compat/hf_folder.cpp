// The weights of a model as Hugging Face keeps it.
#include "compat/hf_folder.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/files.h"
#include "base/hash.h"
#include "json/mend.h"
#include "base/stop.h"
#include "base/strings.h"
#include "base/threads.h"

namespace levanter::compat {

using Json = nlohmann::json;
using safetensors::Tensor;

namespace {

constexpr char kOneFile[] = "model.safetensors", kIndex[] = "model.safetensors.index.json";
constexpr std::string_view kHead = "lm_head.weight";
constexpr std::string_view kFileKey = "xxh3 of file ";
constexpr int64_t kPiece = int64_t{1}
                           << 16;  // elements that a thread converts at a time, in its cache

/// The faults of a folder, told in one error, as many as anyone would read.
struct Faults {
  static constexpr int64_t kHinted = 3;
  int64_t most = 100;  ///< that are told
  std::string text = {};
  int64_t count = 0;

  /// Whether some of the first have been told: another one's nearest name is not looked for.
  bool hinted() const { return count >= kHinted; }
  void add(const std::string& fault) {
    if (count++ < most) text += cat(text.empty() ? "" : "; ", fault);
  }
  void finish(const char* what, const std::string& place, const char* hint) const {
    if (count == 0) return;
    const std::string more = count > most ? cat("; and ", count - most, " more") : "";
    throw Error(ErrorKind::kCheckpoint, cat(what, ": ", text, more)).at(place).hint(hint);
  }
};

/// Whether there is something of that name.
/// error  where it is no file
bool is_there(const std::string& path) {
  if (!path_exists(path)) return false;
  if (is_directory(path) || is_stream(path))
    throw Error(ErrorKind::kCheckpoint, "the weights are no file")
        .at(path)
        .allowed("a safetensors file");
  return true;
}

/// The file of each tensor, as the index says.
std::map<std::string, std::string> read_index(const std::string& index) {
  const std::string text = read_file(index);
  const Json json = json_depth(text) > 8 ? Json() : parse_as_python(text);
  if (json.is_discarded()) refuse_stand_in(ErrorKind::kCheckpoint, text, index);
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (!json.is_object() || map == json.end() || !map->is_object())
    throw Error(ErrorKind::kCheckpoint, "the index has no \"weight_map\"")
        .at(index)
        .allowed("{\"weight_map\": {TENSOR: FILE, ...}}");
  std::map<std::string, std::string> files;
  for (const auto& [name, file] : map->items()) {
    if (!file.is_string() || file.get<std::string>().find('/') != std::string::npos)
      throw Error(ErrorKind::kCheckpoint, cat("the file of ", quote(name), " is ", file.dump()))
          .at(index)
          .allowed("the name of a file in the same folder");
    files[name] = file;
  }
  return files;
}

/// What a folder may hold in addition to the parameters: buffers that old versions of Transformers
/// saved, and a tied head, which is the embedding once more (see HfWeights::has_own_head).
bool is_extra(std::string_view name) {
  const bool in_gpt2 = name.starts_with("h.") || name.find(".h.") != name.npos;
  return (in_gpt2 && (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"))) ||
         name.ends_with(".rotary_emb.inv_freq") || name == kHead;
}

bool is_embedding(std::string_view name) {
  return name.ends_with("embed_tokens.weight") || name.ends_with("wte.weight");
}

/// Whether two tensors hold the same numbers.
bool are_equal(const Tensor& a, const Tensor& b) {
  if (a.shape != b.shape || !is_float(a.element) || !is_float(b.element)) return false;
  std::vector<float> x, y;
  for (int64_t first = 0; first < a.size(); first += kPiece) {
    x.resize(static_cast<size_t>(std::min(kPiece, a.size() - first)));
    y.resize(x.size());
    to_f32(a, x, first);
    to_f32(b, y, first);
    if (x != y) return false;
  }
  return true;
}

bool fits(const HfTarget& target, const std::vector<int64_t>& shape) {
  if (target.shape == shape || shape.empty() || target.shape.size() != shape.size())
    return target.shape == shape;
  return shape[0] > 0 && shape[0] == target.fewer_rows && shape[0] <= target.shape[0] &&
         std::equal(shape.begin() + 1, shape.end(), target.shape.begin() + 1);
}

/// error  kCheckpoint where a tensor holds a NaN or an infinity: a model that computes nothing
void require_finite(std::span<const float> values, const std::string& name,
                    const std::string& folder) {
  if (std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); })) return;
  throw Error(ErrorKind::kCheckpoint,
              cat("tensor ", quote(name), " has numbers that are not finite"))
      .at(folder)
      .hint("the model was ruined before it was saved; take an earlier one");
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) text += cat(text.empty() ? "" : " ", size);
  return cat("[", text, "]");
}

}  // namespace

std::vector<float> mean_row(const Tensor& tensor) {
  const int64_t rows = tensor.shape[0], width = tensor.size() / rows;
  std::vector<double> sums(static_cast<size_t>(width));
  std::vector<float> row(sums.size());
  for (int64_t i = 0; i < rows; ++i) {
    to_f32(tensor, row, i * width);
    for (size_t column = 0; column < row.size(); ++column) sums[column] += row[column];
  }
  for (size_t column = 0; column < row.size(); ++column)
    row[column] = static_cast<float>(sums[column] / static_cast<double>(rows));
  return row;
}

HfWeights::HfWeights(std::string folder) : folder_(std::move(folder)) {
  const std::string one = join_path(folder_, kOneFile), index = join_path(folder_, kIndex);
  if (is_there(one)) {
    files_.emplace_back(one);
    for (const Tensor& tensor : files_[0].tensors()) tensors_[tensor.name] = &tensor;
  } else if (is_there(index)) {
    open_shards(index);
  } else {
    throw Error(ErrorKind::kCheckpoint, "the folder holds no weights")
        .at(folder_)
        .allowed(cat(kOneFile, ", or ", kIndex, " and its files"));
  }
}

void HfWeights::open_shards(const std::string& index) {
  Faults faults;
  std::map<std::string, std::string> listed = read_index(index);
  std::map<std::string, bool> shards;
  for (const auto& [name, file] : listed) shards[file] = false;
  for (auto& [name, there] : shards) {
    there = is_there(join_path(folder_, name));
    if (!there) faults.add(cat("there is no file ", quote(name)));
    if (!there) continue;
    files_.emplace_back(join_path(folder_, name));
    for (const Tensor& tensor : files_.back().tensors()) {
      const auto at = listed.find(tensor.name);
      if (at != listed.end() && at->second == name) {
        tensors_[tensor.name] = &tensor;
        listed.erase(at);
      } else if (!is_extra(tensor.name)) {
        faults.add(
            cat(name, " holds ", quote(tensor.name), ", which the index does not place there"));
      }
    }
  }
  for (const auto& [name, file] : listed)
    if (shards[file]) faults.add(cat(file, " lacks ", quote(name)));
  faults.finish("the index and its files differ", index,
                "the files are of different models or incomplete; fetch the folder again");
}

bool HfWeights::has_own_head() const {
  const auto head = tensors_.find(std::string(kHead));
  const auto embedding = std::find_if(tensors_.begin(), tensors_.end(), [](const auto& tensor) {
    return is_embedding(tensor.first);
  });
  return head != tensors_.end() && embedding != tensors_.end() &&
         !are_equal(*head->second, *embedding->second);
}

std::vector<const Tensor*> HfWeights::match(std::span<const HfTarget> targets) const {
  auto tensors = tensors_;
  Faults faults{.most = 3};
  std::vector<const Tensor*> found;
  std::vector<std::string> missing, left;
  const bool is_tied = std::none_of(targets.begin(), targets.end(),
                                    [](const HfTarget& target) { return target.name == kHead; });
  for (const HfTarget& target : targets) {
    auto at = tensors.find(target.name);
    if (at == tensors.end()) at = tensors.find(target.name.substr(target.name.find('.') + 1));
    // One name for both is enough.
    if (at == tensors.end() && is_tied && is_embedding(target.name))
      at = tensors.find(std::string(kHead));
    found.push_back(at == tensors.end() ? nullptr : at->second);
    if (at == tensors.end()) {
      missing.push_back(target.name);
      continue;
    }
    if (!fits(target, at->second->shape))
      faults.add(cat(quote(at->first), " is ", shape_text(at->second->shape), ", not ",
                     shape_text(target.shape)));
    if (!is_float(at->second->element))
      faults.add(cat(quote(at->first), " holds ", name_of(at->second->element),
                     ", not F16, BF16, F32 or F64"));
    tensors.erase(at);
  }
  for (const auto& [name, tensor] : tensors) left.push_back(name);
  for (const std::string& name : missing) {
    const std::string near = faults.hinted() ? "" : nearest(name, left);
    faults.add(
        cat(quote(name), " is missing", near.empty() ? "" : cat(" (nearest: ", quote(near), ")")));
  }
  for (const std::string& name : left)
    if (name == kHead && has_own_head())
      faults.add(cat(quote(name),
                     " is not the embedding, which model.tie_word_embeddings = true makes of it"));
    else if (!is_extra(name))
      faults.add(cat(quote(name), " is not wanted"));
  faults.finish("the weights do not fit the model", folder_,
                "config.json and the weights are of different models, or files are missing");
  return found;
}

void HfWeights::check() const {
  std::vector<std::pair<const safetensors::File*, const Tensor*>> all;
  for (const safetensors::File& file : files_)
    for (const Tensor& tensor : file.tensors()) all.emplace_back(&file, &tensor);
  const auto count = static_cast<int64_t>(all.size());
  ThreadPool pool(static_cast<int>(std::clamp<int64_t>(count, 1, available_threads())));
  pool.parallel_for(count, [&](int64_t index, int) {
    const auto [file, tensor] = all[static_cast<size_t>(index)];
    file->check(*tensor);
  });
}

std::string HfWeights::changed() const {
  std::vector<std::string> files;
  for (const safetensors::File& file : files_) {
    for (const auto& [key, xxh3] : file.metadata()) {
      if (!key.starts_with(kFileKey) || key.find('/') != key.npos) continue;
      const std::string name = key.substr(kFileKey.size()), path = join_path(folder_, name);
      if (!is_there(path) || hex64(xxh3_64(read_file(path))) != xxh3) files.push_back(name);
    }
  }
  return files.empty() ? "" : cat(folder_, ": ", join(files, ", "), " changed since the export");
}

bool has_own_head(const std::string& folder) {
  try {
    if (path_exists(join_path(folder, kOneFile)) || path_exists(join_path(folder, kIndex)))
      return HfWeights(folder).has_own_head();
  } catch (const Error&) {  // whoever reads the weights will say so
  }
  return false;
}

std::string changed_since_export(const std::string& folder) {
  try {
    if (path_exists(join_path(folder, kOneFile)) || path_exists(join_path(folder, kIndex)))
      return HfWeights(folder).changed();
  } catch (const Error&) {  // whoever reads the weights will say so
  }
  return "";
}

void HfWeights::load(std::span<const HfTarget> targets, const ProgressReport& progress) const {
  const std::vector<const Tensor*> found = match(targets);
  check();
  struct Piece {
    size_t tensor;
    int64_t first;
  };
  std::vector<Piece> pieces;
  int64_t all = 0;  // bytes in memory
  for (size_t i = 0; i < targets.size(); ++i) {
    if (targets[i].data) all += found[i]->size() * int64_t{sizeof(float)};
    for (int64_t first = 0; targets[i].data && first < found[i]->size(); first += kPiece)
      pieces.push_back({i, first});
  }
  const auto count = static_cast<int64_t>(pieces.size());
  ThreadPool pool(static_cast<int>(std::clamp<int64_t>(count, 1, available_threads())));
  std::atomic<int64_t> done = 0;
  const auto tell = [&] {
    if (progress)
      progress({"reading the weights", static_cast<double>(done), static_cast<double>(all), "B"});
  };
  pool.parallel_for(count, [&](int64_t index, int worker) {
    const auto [i, first] = pieces[static_cast<size_t>(index)];
    const int64_t elements = std::min(kPiece, found[i]->size() - first);
    const std::span<float> room(targets[i].data + first, static_cast<size_t>(elements));
    to_f32(*found[i], room, first);
    require_finite(room, found[i]->name, folder_);
    done += elements * int64_t{sizeof(float)};
    if (worker == 0) tell();  // one thread alone
  });
  tell();
  for (size_t i = 0; i < targets.size(); ++i) {
    const int64_t size = found[i]->size();
    if (!targets[i].data || targets[i].elements() == size) continue;
    const std::vector<float> mean = mean_row(*found[i]);
    for (int64_t at = size; at < targets[i].elements(); at += std::ssize(mean))
      std::copy(mean.begin(), mean.end(), targets[i].data + at);
  }
}

void HfWeights::read(const Tensor& tensor, int64_t first, std::span<float> room) const {
  to_f32(tensor, room, first);
  require_finite(room, tensor.name, folder_);
}

namespace {

/// What the weights say of the files that are in their folder already.
std::map<std::string, std::string> file_checksums(const std::string& folder) {
  std::map<std::string, std::string> checksums;
  for (const std::string& name : list_directory(folder))
    if (const std::string path = join_path(folder, name); !is_directory(path))
      checksums[cat(kFileKey, name)] = hex64(xxh3_64(read_file(path)));
  return checksums;
}

/// Writes a tensor's bytes; returns their checksum.
uint64_t write_tensor(AtomicFile& file, const HfTensor& tensor, std::vector<float>& room,
                      std::vector<std::byte>& stored) {
  Hasher hasher(Hasher::Width::k64);
  std::span<const float> values = tensor.values(room);
  while (!values.empty()) {
    const auto piece = values.first(std::min(values.size(), static_cast<size_t>(kPiece)));
    require_finite(piece, tensor.entry.name, "");
    stored.resize(piece.size() * static_cast<size_t>(size_of(tensor.entry.element)));
    if (!from_f32(piece, tensor.entry.element, stored))
      throw Error(ErrorKind::kCheckpoint,
                  cat("tensor ", quote(tensor.entry.name), " has numbers too large for ",
                      name_of(tensor.entry.element)))
          .hint("write bf16 or f32");
    hasher.update(stored);
    file.write(stored);
    values = values.subspan(piece.size());
  }
  return hasher.value64();
}

}  // namespace

HfWritten save_weights(const std::string& folder, std::span<const HfTensor> tensors,
                       int64_t max_shard_bytes, const WeightsFile& one,
                       const ProgressReport& progress) {
  HfWritten written;
  std::vector<std::vector<size_t>> shards(1);
  int64_t in_shard = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    int64_t bytes = size_of(tensors[i].entry.element);
    for (const int64_t size : tensors[i].entry.shape) bytes *= size;
    if (in_shard > 0 && bytes > max_shard_bytes - in_shard) {
      shards.emplace_back();
      in_shard = 0;
    }
    shards.back().push_back(i);
    in_shard += bytes;
    written.bytes += bytes;
  }
  written.files = static_cast<int64_t>(shards.size());
  const auto number = [](size_t n) {
    const std::string digits = cat(n);
    return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
  };
  Json map = Json::object();
  std::vector<float> room;
  std::vector<std::byte> stored;
  double done = 0;
  for (size_t s = 0; s < shards.size(); ++s) {
    const std::string name = shards.size() == 1 ? one.name
                                                : cat("model-", number(s + 1), "-of-",
                                                      number(shards.size()), ".safetensors");
    std::vector<safetensors::Entry> entries;
    for (const size_t i : shards[s]) entries.push_back(tensors[i].entry);
    std::map<std::string, std::string> metadata = one.metadata;
    if (s == 0) metadata.merge(file_checksums(folder));
    safetensors::Layout layout = safetensors::layout(entries, /*checksums=*/true, metadata);
    AtomicFile file(join_path(folder, name), Writes::kDirect);
    file.write(layout.header);
    for (size_t slot = 0; slot < layout.slots.size(); ++slot) {
      throw_if_stopped();
      const HfTensor& tensor = tensors[shards[s][layout.slots[slot].entry]];
      set_checksum(layout, slot, write_tensor(file, tensor, room, stored));
      map[tensor.entry.name] = name;
      done += static_cast<double>(layout.slots[slot].bytes);
      if (progress)
        progress({"writing the weights", done, static_cast<double>(written.bytes), "B"});
    }
    file.rewrite(0, layout.header);  // the checksums are known now
    file.commit();
  }
  if (shards.size() > 1)
    write_file_atomic(
        join_path(folder, kIndex),
        Json({{"metadata", {{"total_size", written.bytes}}}, {"weight_map", map}}).dump(2) + "\n");
  return written;
}

bool is_hf_folder(const std::string& folder) {
  return path_exists(join_path(folder, "config.json"));
}

}  // namespace levanter::compat
