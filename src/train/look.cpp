// Looks whether what a config names is there and is what it should be.
#include "train/look.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "base/files.h"
#include "base/strings.h"
#include "config/value.h"
#include "data/files/globs.h"
#include "net/http.h"
#include "data/files/pipes.h"
#include "data/files/source.h"
#include "checkpoint/load.h"
#include "train/hf/start.h"
#include "train/setup.h"

namespace levanter::train {
namespace {

constexpr size_t kEnough = 2 * config::Problems::kMostShown;
constexpr size_t kLongestLine = size_t{8} << 20;
constexpr int64_t kLongestRecord = int64_t{64} << 20;

/// Looks at one thing after the other; a fault of one is no end.
class Look final {
 public:
  Look(const TrainConfig& config, config::Problems& problems)
      : config_(config), problems_(problems) {}

  void all() {
    open_tokenizer();
    for (const auto& [name, component] : config_.data.components)
      look_at_component(cat("data.components.", config::print_key(name)), component);
    look_at_start();
    look_at_folder("trainer.log_dir", &config_.trainer.log_dir);
    look_at_folder("data.cache_dir", config_.data.cache_dir ? &*config_.data.cache_dir : nullptr);
    look_at_folder("hf_save_path", config_.hf_save_path ? &*config_.hf_save_path : nullptr);
  }

 private:
  /// Calls; an Error becomes a fault at the key. After many faults no more is looked at.
  template <class Call>
  void attempt(const std::string& key, Call call) {
    if (problems_.count() >= kEnough) return;
    try {
      call();
    } catch (const Error& error) {
      const std::string place = error.at().empty() ? "" : cat(": ", error.at());
      problems_.add(key, cat(error.message(), place)).hint(error.hint());
    }
  }

  /// The key of an element of a list, or of the value that stands for a list of one.
  std::string element_key(const std::string& key, size_t i) const {
    const std::string element = cat(key, "[", i, "]");
    return config_.sources.has(element) ? element : key;
  }

  void open_tokenizer() {
    const bool path = config_.sources.has("data.tokenizer.path");
    const std::string key = path ? "data.tokenizer.path" : "data.tokenizer";
    attempt(key, [&] { tokenizer_ = train::open_tokenizer(config_); });
    if (!tokenizer_ || config_.data.tokenizer->vocab_size()) return;  // the config has looked
    if (const auto small = small_vocabulary(config_, tokenizer_->vocab_size()))
      problems_.add("model.vocab_size", small->message).allowed(small->allowed).hint(small->hint);
  }

  void look_at_component(const std::string& key, const ComponentConfig& component) {
    std::unique_ptr<data::Format> format;
    attempt(cat(key, ".format"), [&] {
      if (tokenizer_)
        format = component.format->make(
            {tokenizer_.get(), config_.data.enforce_bos, config_.data.enforce_eos, nullptr});
      else
        component.format->chat_template();
    });
    for (const auto& [split, paths] :
         {std::pair("train", &component.train), std::pair("validation", &component.validation)})
      for (size_t i = 0; i < paths->size(); ++i) {
        const std::string place = cat(key, ".", split);
        attempt(element_key(place, i), [&] {
          look_at_texts((*paths)[i].resolved, place, *component.format, format.get());
        });
      }
  }

  static void look_at_texts(const std::string& pattern, const std::string& key,
                            const FormatConfig& config, data::Format* format) {
    bool first = true;
    for (const std::string& file : data::expand_globs(pattern, key)) {
      if (data::is_pipe(file) || net::is_url(file)) continue;
      if (::access(file.c_str(), R_OK) != 0)
        throw Error(ErrorKind::kData, cat(key, " names a file that can't be read"))
            .at(file)
            .hint("its permissions forbid it");
      if (first) look_at_beginning(file, key, config, format);
      first = false;
    }
  }

  /// Whether the first line of a file ends before long: else it is not looked at.
  static bool has_short_line(const std::string& file) {
    const auto bytes = data::open_decompressed(file);
    std::vector<char> some(size_t{1} << 16);
    for (size_t done = 0; done < kLongestLine;) {
      const size_t n = bytes->read(some);
      if (n == 0 || std::find(some.begin(), some.begin() + static_cast<std::ptrdiff_t>(n), '\n') !=
                        some.begin() + static_cast<std::ptrdiff_t>(n))
        return true;
      done += n;
    }
    return false;
  }

  /// The first record of a file, or that a text is not empty.
  static void look_at_beginning(const std::string& file, const std::string& key,
                                const FormatConfig& config, data::Format* format) {
    const auto empty = [&] {
      return Error(ErrorKind::kData, cat(key, " names a file without any text")).at(file);
    };
    if (data::RecordReader(file).form() == data::RecordForm::kText) {
      char some[256];
      if (data::open_decompressed(file)->read(some) == 0) throw empty();
      return;
    }
    if (!has_short_line(file)) return;
    data::RecordReader reader(file, {data::RecordForm::kByContent, kLongestRecord});
    const std::optional<data::Record> record = reader.next();
    if (!record) throw empty();
    std::vector<data::Document> documents;
    if (format)
      format->add({*record, true}, documents);
    else
      config.text_of({*record, true});
  }

  void look_at_start() {
    const StartFrom& start = config_.start_from;
    if (start.kind == StartKind::kNone || !start.path) return;
    const std::string& folder = start.path->resolved;
    if (start.kind == StartKind::kCheckpoint) {
      attempt("start_from.path", [&] { open_checkpoint(folder); });
      return;
    }
    const bool sound = problems_.empty();  // else there may be no model to compare with
    attempt("start_from.path", [&] {
      models::read_hf_model(folder);
      if (const auto vocab = known_vocab_size(config_, tokenizer_.get()); vocab && sound)
        check_hf(compat::HfWeights(folder), model_spec(config_), *vocab);
    });
  }

  /// The folder, or the nearest one above it that is there, must take new files.
  void look_at_folder(const std::string& key, const config::Path* path) {
    if (!path || path->resolved.empty()) return;
    std::string there = path->resolved;
    while (!path_exists(there) && parent_path(there) != there) there = parent_path(there);
    const bool folder = is_directory(there);
    if (folder && ::access(there.c_str(), W_OK | X_OK) == 0) return;
    problems_
        .add(key, cat(key, " = ", quote(path->text), " can't be written to: ", there,
                      folder ? " takes no new files" : " is a file, not a folder"))
        .hint(folder ? "its permissions, or its file system, forbid it" : "name another folder");
  }

  const TrainConfig& config_;
  config::Problems& problems_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
};

}  // namespace

void look(const TrainConfig& config, config::Problems& problems) { Look(config, problems).all(); }

}  // namespace levanter::train
