#include "config/document.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/strings.h"
#include "config/toml.h"

namespace levanter::config {

namespace {

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
    if (!readable(path, named_at)) return {};
    std::string text;
    try {
      text = read_file(path);
    } catch (const Error& error) {
      problems_.refuse("", named_at, error.message());
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
      if (file.kind != Value::Kind::kString || file.text.empty()) {
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

void override_all(Value& root, std::span<const std::string> words, Problems& problems) {
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    Value value;
    value.kind = Value::Kind::kRaw;
    value.at.file = word;
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
      value.at.file = cat("--", key, "=", value.text);
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
