// Reads a config file, its includes and the overrides into one tree of values.
#include "config/document.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/strings.h"
#include "config/toml.h"

namespace levanter::config {

namespace {

constexpr size_t kMostBytes = size_t{1} << 20;  ///< of a file with all that it includes
constexpr size_t kMostOverrides = 10000;
constexpr size_t kMostNested = 64;  ///< files that include each other in a chain

/// Reads a file and its includes; knows the files that are being read, outermost first.
class Loader final {
 public:
  explicit Loader(Problems& problems) : problems_(problems) {}

  Value load(const std::string& path, const Source& named_at) {
    const std::string absolute = absolute_path(path);
    if (std::find(open_.begin(), open_.end(), absolute) != open_.end()) {
      problems_.refuse("", named_at, cat("the config ", quote(path), " includes itself"))
          .hint(cat("it is read by ", join(names_, " -> ")));
      return {};
    }
    if (!readable(path, named_at) || !read_.insert(absolute).second) return {};
    if (open_.size() >= kMostNested) {
      problems_.refuse("", named_at, cat("more than ", kMostNested, " configs include each other"))
          .hint(cat("it is read by ", join(std::span(names_).last(4), " -> ")));
      return {};
    }
    std::string text;
    try {
      text = read(path);
    } catch (const Error& error) {
      problems_.refuse("", named_at, error.message());
      return {};
    }
    bytes_ += text.size();
    if (bytes_ > kMostBytes) {
      problems_.refuse("", named_at, cat("the config ", quote(path), " is too long"))
          .allowed(cat("at most ", format_bytes(kMostBytes), " with all that is included"));
      return {};
    }
    return parse(text, path, absolute);
  }

  Value parse(std::string_view text, const std::string& path, const std::string& absolute) {
    open_.push_back(absolute);
    names_.push_back(path);
    Value own = parse_toml(text, path, problems_);
    Value base;
    base.at = own.at;
    if (const Value::Member* include = own.find("include")) {
      include_all(include->value, path, base);
      std::erase_if(own.members, [](const Value::Member& m) { return m.key == "include"; });
    }
    merge(base, std::move(own));
    names_.pop_back();
    open_.pop_back();
    return base;
  }

 private:
  /// The file's content, or some more than is allowed of it; it may be a pipe, or have no end.
  std::string read(const std::string& path) const {
    SequentialFile file(path);
    std::string text;
    while (bytes_ + text.size() <= kMostBytes) {
      char piece[16384];
      const size_t n = file.read(piece);
      if (n == 0) break;
      text.append(piece, n);
    }
    return text;
  }

  bool readable(const std::string& path, const Source& named_at) {
    if (is_directory(path)) {
      problems_.refuse("", named_at, cat("the config ", quote(path), " is a folder"))
          .allowed("a TOML file");
      return false;
    }
    if (path_exists(path)) return true;
    Fault& fault = problems_.refuse("", named_at, cat("there is no config ", quote(path)));
    const std::string folder = parent_path(path);
    if (!is_directory(folder)) {
      fault.hint(cat("there is no folder ", quote(folder)));
    } else if (const std::string near = nearest(file_name(path), list_directory(folder));
               !near.empty()) {
      fault.hint(cat("did you mean ", quote(near)));
    }
    return false;
  }

  void include_all(const Value& value, const std::string& path, Value& base) {
    const bool list = value.kind == Value::Kind::kArray;
    std::span<const Value> files =
        list ? std::span<const Value>(value.items) : std::span(&value, 1);
    for (const Value& file : files) {
      if (problems_.full()) return;
      if (file.kind != Value::Kind::kString || file.text.empty() ||
          file.text.find('\0') != std::string::npos) {
        problems_.refuse("", file.at, cat("include = ", file.print(60), " does not name a file"))
            .allowed("a path, or a list of paths, relative to this file");
        continue;
      }
      const std::string folder = parent_path(path);
      const std::string included = folder == "." ? file.text : join_path(folder, file.text);
      merge(base, load(included, file.at));
    }
  }

  Problems& problems_;
  std::vector<std::string> open_, names_;
  std::set<std::string> read_;
  size_t bytes_ = 0;
};

/// Puts a value at a dotted key, making the tables on the way.
void set(Value& root, std::span<const std::string> keys, Value value, Problems& problems) {
  Value* table = &root;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (table->kind == Value::Kind::kRaw) {  // an earlier override of the whole table
      Value read;
      std::string error;
      if (!read_raw(*table, read, error))
        problems.refuse("", table->at, cat(table->text, " is not TOML: ", error));
      *table = std::move(read);
    }
    name_choice(*table);
    if (table->kind != Value::Kind::kTable) {
      *table = Value();
      table->at = value.at;
    }
    Value::Member* member = table->find(keys[i]);
    if (!member) member = &table->members.emplace_back(Value::Member{keys[i], value.at, {}});
    member->key_at = value.at;
    table = &member->value;
    if (table->at.file.empty()) table->at = value.at;
  }
  const bool is_new = table->kind == Value::Kind::kTable && table->members.empty();
  if (!is_new && table->kind != Value::Kind::kRaw) value.items.push_back(std::move(*table));
  *table = std::move(value);
}

/// An override as the place of its value.
std::string shown(const std::string& word) {
  constexpr size_t kLongest = 400;
  return word.size() <= kLongest ? word : cat(word.substr(0, kLongest), "...");
}

void override_all(Value& root, std::span<const std::string> words, Problems& problems) {
  if (words.size() > kMostOverrides) {
    problems.refuse("", {words[0], 0, 0}, cat("there are ", words.size(), " words of overrides"))
        .allowed(cat("at most ", kMostOverrides))
        .hint("a file holds more");
    return;
  }
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    Value value;
    value.kind = Value::Kind::kRaw;
    value.at.file = shown(word);
    if (!word.starts_with("--") || word.size() < 3) {
      problems.refuse("", value.at, cat(quote(word), " is not an override"))
          .allowed("--key=value, or --key value");
      continue;
    }
    std::string key = word.substr(2);
    if (const size_t equals = key.find('='); equals != std::string::npos) {
      value.text = key.substr(equals + 1);
      key.resize(equals);
    } else if (i + 1 < words.size() && !words[i + 1].starts_with("--")) {
      value.text = words[++i];
      value.at.file = shown(cat("--", key, "=", value.text));
    } else {
      problems.refuse("", value.at, cat("the override ", word, " has no value"))
          .allowed(cat(word, "=value, or ", word, " value"));
      continue;
    }
    const std::vector<std::string> keys = split(key, '.');
    if (std::find(keys.begin(), keys.end(), "") != keys.end()) {
      problems.refuse("", value.at, cat("the override --", key, " has an empty part in its key"))
          .allowed("names joined by single dots, such as --trainer.seed=1");
      continue;
    }
    if (keys.size() > kMostKeyParts) {
      problems.refuse("", value.at, cat("the key of an override has ", keys.size(), " parts"))
          .allowed(cat("at most ", kMostKeyParts));
      continue;
    }
    set(root, keys, std::move(value), problems);
  }
}

}  // namespace

bool read_raw(const Value& raw, Value& out, std::string& error) {
  Value read;
  if (!parse_toml_value(raw.text, raw.at, read, error)) return false;
  out = raw.items.empty() || read.kind != Value::Kind::kTable ? Value() : raw.items[0];
  merge(out, std::move(read));
  return true;
}

Value load_document(const std::string& path, std::span<const std::string> overrides,
                    Problems& problems) {
  Value root;
  if (!path.empty()) root = Loader(problems).load(path, Source{path, 0, 0});
  override_all(root, overrides, problems);
  return root;
}

Value parse_document(std::string_view text, const std::string& name,
                     std::span<const std::string> overrides, Problems& problems) {
  Value root = Loader(problems).parse(text, name, absolute_path(name));
  override_all(root, overrides, problems);
  return root;
}

}  // namespace levanter::config
