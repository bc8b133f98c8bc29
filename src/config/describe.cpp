// Every key of a configuration as help, as one key's explanation and as a page of the docs.
#include "config/describe.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "base/strings.h"
#include "config/print.h"

namespace levanter::config {

namespace {

/// A bound as people write it: 10000000 rather than 1e+07.
std::string bound(double value) {
  const auto whole = static_cast<int64_t>(value);
  return static_cast<double>(whole) == value ? cat(whole) : cat(value);
}

std::string bounds(const Field& field) {
  std::vector<std::string> parts;
  if (field.low) parts.push_back(cat(field.low_open ? "above " : "at least ", bound(*field.low)));
  if (field.high) parts.push_back(cat(field.high_open ? "below " : "at most ", bound(*field.high)));
  return join(parts, ", ");
}

/// A text in a cell of a table, where a bar would end it.
std::string in_cell(std::string text) {
  for (size_t at = 0; (at = text.find('|', at)) != text.npos; at += 2) text.insert(at, 1, '\\');
  return text;
}

std::string with_bounds(std::string_view what, const Field& field) {
  const std::string limits = bounds(field);
  return limits.empty() ? std::string(what) : cat(what, ", ", limits);
}

bool is_scalar(Kind kind) { return kind < Kind::kOptional; }

/// Whether a value of the type has keys of its own.
bool is_table(const Type& type) {
  if (type.kind == Kind::kStruct || type.kind == Kind::kChoice) return true;
  return type.element && is_table(type.element());
}

std::string type_name(const Type& type, bool plural) {
  const char* s = plural ? "s" : "";
  switch (type.kind) {
    case Kind::kBool:
      return cat("boolean", s);
    case Kind::kInteger:
      return cat("integer", s);
    case Kind::kNumber:
      return cat("number", s);
    case Kind::kString:
    case Kind::kWord:
      return cat("string", s);
    case Kind::kPath:
      return cat("path", s);
    case Kind::kDuration:
      return cat("duration", s);
    case Kind::kOptional:
      return cat("optional ", type_name(type.element(), plural));
    case Kind::kList:
      return cat("list", s, " of ", type_name(type.element(), true));
    case Kind::kOneOrMany:
      return cat(type_name(type.element(), plural), " or list of ",
                 type_name(type.element(), true));
    case Kind::kMap:
      return is_table(type) ? cat("table", s, " by name")
                            : cat("table", s, " of ", type_name(type.element(), true), " by name");
    case Kind::kStruct:
      return cat("table", s);
    case Kind::kChoice:
      return cat("choice", s);
  }
  return "";
}

/// Walks a type at its defaults.
class Describer final {
 public:
  explicit Describer(std::vector<Described>& out) : out_(out) {}

  /// The keys of a struct, those with keys of their own last.
  void fields(const Fields& fields, const std::string& path, const std::string& variant,
              bool may_change) {
    for (const bool tables : {false, true})
      for (const Field& field : fields.list())
        if (is_table(*field.type) == tables) add(field, path, variant, may_change);
  }

 private:
  void add(const Field& field, const std::string& path, const std::string& variant,
           bool may_change) {
    Described entry;
    entry.key = path.empty() ? field.key : cat(path, ".", field.key);
    entry.variant = variant;
    entry.type = type_name(*field.type, false);
    entry.unit = field.unit_name;
    entry.allowed = field.words.empty() ? bounds(field) : join(field.words, ", ");
    entry.meaning = field.meaning;
    entry.required = field.is_required;
    entry.may_change = may_change || field.is_free;
    entry.table = is_table(*field.type);
    const Kind kind = field.type->kind;
    if (!field.is_required && kind != Kind::kStruct && kind != Kind::kMap)
      entry.standard = standard(field);
    if (kind == Kind::kMap && !entry.table) entry.standard = "{}";
    if (kind == Kind::kChoice) entry.choices = candidates(*field.type);
    if (kind == Kind::kList && field.type->element().kind == Kind::kChoice)
      entry.choices = candidates(field.type->element());
    const std::string key = entry.key;
    const bool free = entry.may_change;
    out_.push_back(std::move(entry));
    inside(*field.type, field.value, key, variant, free);
  }

  static std::string standard(const Field& field) {
    if (field.type->kind == Kind::kChoice) return quote(field.type->default_choice);
    if (field.type->kind == Kind::kOptional && field.type->size(field.value) == 0) return "none";
    if (field.type->kind == Kind::kPath) return quote(static_cast<Path*>(field.value)->text);
    return to_value(*field.type, field.value).print();
  }

  static std::vector<Described::Candidate> candidates(const Type& type) {
    std::vector<Described::Candidate> out;
    for (const ChoiceEntry& choice : type.choices()) {
      const bool first = std::string_view(choice.name) == type.default_choice;
      out.insert(first ? out.begin() : out.end(), {choice.name, choice.summary});
    }
    return out;
  }

  /// The keys of a struct, or of the structs in a list, map, optional or choice.
  void inside(const Type& type, void* object, const std::string& key, const std::string& variant,
              bool may_change) {
    if (is_scalar(type.kind)) return;
    if (type.kind == Kind::kStruct) {
      Fields inner;
      type.fields(object, inner);
      fields(inner, key, variant, may_change);
    } else if (type.kind == Kind::kChoice) {
      for (const ChoiceEntry& choice : type.choices()) {
        const std::unique_ptr<Choosable> chosen = choice.make();
        Fields inner;
        chosen->fields(inner);
        fields(inner, key, choice.name, may_change);
      }
    } else {
      const std::shared_ptr<void> element = type.element().make();
      const char* mark = "[]";
      if (type.kind == Kind::kMap) mark = ".<name>";
      if (type.kind == Kind::kOptional) mark = "";
      inside(type.element(), element.get(), key + mark, variant, may_change);
    }
  }

  std::vector<Described>& out_;
};

/// "The width. integer, tokens, at least 1. Default 768": what both forms of output say of a key.
std::string facts(const Described& d) {
  std::vector<std::string> parts = {d.type};
  if (!d.unit.empty()) parts.push_back(cat("in ", d.unit));
  if (!d.allowed.empty()) parts.push_back(d.allowed);
  return join(parts, "; ");
}

std::string default_text(const Described& d) {
  if (d.required) return "required";
  return d.standard;
}

std::string_view parent_of(const Described& d) {
  return std::string_view(d.key).substr(0, std::min(d.key.find_last_of('.'), d.key.size()));
}

bool alike(const Described& a, const Described& b) {
  const auto facts = [](const Described& d) {
    return std::tie(d.key, d.type, d.standard, d.unit, d.allowed, d.meaning, d.required, d.table);
  };
  return facts(a) == facts(b);
}

/// Says once, of all candidates, what several have in common; keys of the same candidates together.
std::vector<Described> merge_alike(std::vector<Described> all) {
  std::vector<Described> out;
  std::vector<std::set<std::string>> variants;
  for (Described& d : all) {
    size_t i = 0;
    while (i < out.size() && !alike(out[i], d)) ++i;
    if (i == out.size()) {
      variants.push_back({d.variant});
      out.push_back(std::move(d));
    } else if (variants[i].insert(d.variant).second) {
      out[i].variant += cat(", ", d.variant);
    }
  }
  for (auto from = out.begin(); from != out.end();) {
    const auto to = std::find_if(from, out.end(), [&](const Described& d) {
      return d.table != from->table || parent_of(d) != parent_of(*from);
    });
    std::map<std::string, size_t> order;
    for (auto at = from; at != to; ++at) order.emplace(at->variant, order.size());
    std::stable_sort(from, to, [&](const Described& a, const Described& b) {
      return order[a.variant] < order[b.variant];
    });
    from = to;
  }
  return out;
}

}  // namespace

std::vector<Described> describe(const Type& root) {
  std::vector<Described> out;
  const std::shared_ptr<void> object = root.make();
  Fields fields;
  root.fields(object.get(), fields);
  Describer(out).fields(fields, "", "", false);
  return merge_alike(std::move(out));
}

std::string describe_text(const std::vector<Described>& keys, std::string_view key) {
  std::string out;
  for (const Described& d : keys) {
    const bool below = d.key.size() > key.size() && d.key.starts_with(key) &&
                       (d.key[key.size()] == '.' || d.key[key.size()] == '[');
    if (!key.empty() && d.key != key && !below) continue;
    out += cat(d.key, d.variant.empty() ? "" : cat("  (type = ", d.variant, ")"), "\n");
    out += cat("  ", d.meaning, "\n  ", facts(d), "\n");
    if (const std::string standard = default_text(d); !standard.empty())
      out += d.required ? "  required\n" : cat("  default ", standard, "\n");
    for (const Described::Candidate& choice : d.choices)
      out += cat("  type = ", quote(choice.name), ": ", choice.summary, "\n");
  }
  return out;
}

std::string describe_markdown(const std::vector<Described>& keys) {
  std::string out;
  std::string section, variant;
  bool open = false;
  for (const Described& d : keys) {
    const size_t dot = d.key.find_last_of('.');
    if (d.table) {  // its keys follow under a heading of their own
      const bool top = d.key.find('.') == std::string::npos;
      out += cat("\n", top ? "## `[" : "### `", d.key, top ? "]`" : "`", "\n\n", d.meaning, "; ",
                 facts(d), d.standard.empty() ? "" : cat("; default ", d.standard), ".\n");
      for (const Described::Candidate& choice : d.choices)
        out += cat("\n* `type = ", quote(choice.name), "`: ", choice.summary);
      if (!d.choices.empty()) out += "\n";
      open = false;
      continue;
    }
    const std::string parent = dot == std::string::npos ? "" : d.key.substr(0, dot);
    if (!open || parent != section || d.variant != variant) {
      out += cat("\n", d.variant.empty() ? "" : cat("With type ", d.variant, ":\n\n"));
      out += "| key | meaning | type | default |\n|---|---|---|---|\n";
      section = parent;
      variant = d.variant;
      open = true;
    }
    std::string standard = default_text(d);
    if (!d.required && standard != "none") standard = cat("`", standard, "`");
    out += cat("| `", d.key.substr(dot == std::string::npos ? 0 : dot + 1), "` | ",
               in_cell(d.meaning), " | ", in_cell(facts(d)), " | ", in_cell(standard), " |\n");
  }
  return out;
}

std::string allowed_values(const Field& field, const Type& type) {
  switch (type.kind) {
    case Kind::kBool:
      return "true, false";
    case Kind::kInteger:
      return with_bounds("an integer", field);
    case Kind::kNumber:
      return with_bounds("a number", field);
    case Kind::kString:
    case Kind::kWord:
      return field.words.empty() ? "a string" : join(field.words, ", ");
    case Kind::kPath:
      return "a path";
    case Kind::kDuration:
      return with_bounds("a time such as \"15m\" or \"1h30m\", or seconds", field);
    case Kind::kOptional: {
      const Kind element = type.element().kind;
      const bool text =
          element == Kind::kString || element == Kind::kWord || element == Kind::kPath;
      return cat(allowed_values(field, type.element()), text ? "" : ", or \"none\"");
    }
    case Kind::kList:
    case Kind::kOneOrMany:
      return cat("one or a list of: ", allowed_values(field, type.element()));
    case Kind::kMap:
      return is_table(type) ? "a table of tables by name"
                            : cat("a table by name, of: ", allowed_values(field, type.element()));
    case Kind::kStruct:
      return "a table";
    case Kind::kChoice: {
      std::vector<std::string> names;
      for (const ChoiceEntry& choice : type.choices()) names.push_back(choice.name);
      return join(names, ", ");
    }
  }
  return "";
}

}  // namespace levanter::config
