// File patterns such as "shards/train-{00000..00012}.jsonl.zst" turned into paths.
#include "data/files/globs.h"

#include <dirent.h>
#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "net/http.h"
#include "data/files/pipes.h"

namespace levanter::data {
namespace {

constexpr size_t kMaxAlternatives = 1'000'000;
constexpr size_t kMaxAlternativeBytes = size_t{64} << 20;
constexpr int64_t kMaxBraces = 64;
constexpr int kMaxAnyDepth = 4;        ///< of ** in one pattern
constexpr size_t kMaxLooks = 200'000;  ///< names, and more for each folder

/// The places of the brace at `open`, of the commas at its depth, and of the brace that closes it;
/// none where it is not closed.
std::vector<size_t> match_braces(std::string_view text, size_t open) {
  std::vector<size_t> borders;
  int depth = 0;
  for (size_t i = open; i < text.size(); ++i) {
    if (text[i] == '{' && depth++ == 0) borders.push_back(i);
    if (text[i] == ',' && depth == 1) borders.push_back(i);
    if (text[i] != '}' || --depth > 0) continue;
    borders.push_back(i);
    return borders;
  }
  return {};
}

std::optional<int64_t> whole_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

/// "{08..11}" gives 08 09 10 11: as wide as the wider end where one begins with 0. Nothing for a
/// body that is no range.
std::optional<std::vector<std::string>> number_range(std::string_view body) {
  const size_t dots = body.find("..");
  if (dots == std::string_view::npos) return std::nullopt;
  const std::string_view low = body.substr(0, dots), high = body.substr(dots + 2);
  const auto first = whole_number(low), last = whole_number(high);
  if (!first || !last) return std::nullopt;
  const bool padded = low.starts_with('0') || high.starts_with('0');
  const size_t width = padded ? std::max(low.size(), high.size()) : 0;
  std::vector<std::string> numbers;
  const int64_t step = *first <= *last ? 1 : -1;
  for (int64_t n = *first;; n += step) {
    if (numbers.size() > kMaxAlternatives) break;
    std::string digits = cat(n);
    if (digits.size() < width) digits.insert(0, width - digits.size(), '0');
    numbers.push_back(std::move(digits));
    if (n == *last) break;
  }
  return numbers;
}

/// Alternatives, and how many bytes they take.
struct Alternatives {
  std::vector<std::string> texts;
  size_t bytes = 0;
};

/// Appends every alternative of `text`, whose first `done` bytes hold no braces to expand.
void expand_braces(const std::string& text, size_t done, std::string_view key, Alternatives& out) {
  const size_t open = text.find('{', done);
  const std::vector<size_t> borders = match_braces(text, open);
  if (borders.empty()) {
    out.bytes += text.size();
    if (out.texts.size() >= kMaxAlternatives || out.bytes > kMaxAlternativeBytes)
      throw Error(ErrorKind::kData, cat(key, " has a pattern with too many alternatives"))
          .allowed(cat("at most ", format_count(kMaxAlternatives)));
    out.texts.push_back(text);
    return;
  }
  const size_t close = borders.back();
  std::vector<std::string> choices;
  if (auto numbers = number_range(std::string_view(text).substr(open + 1, close - open - 1)))
    choices = std::move(*numbers);
  else if (borders.size() == 2)
    return expand_braces(text, open + 1, key, out);  // "{a}" stands for itself
  else
    for (size_t i = 1; i < borders.size(); ++i)
      choices.push_back(text.substr(borders[i - 1] + 1, borders[i] - borders[i - 1] - 1));
  for (const std::string& choice : choices)
    expand_braces(cat(text.substr(0, open), choice, text.substr(close + 1)), open, key, out);
}

bool has_wildcard(std::string_view text) {
  return text.find_first_of("*?[") != std::string_view::npos;
}

/// Collects the files that a pattern without braces matches.
class Walk final {
 public:
  Walk(const std::string& pattern, std::string_view key) : pattern_(pattern), key_(key) {
    for (const std::string& part : split(pattern, '/'))  // "**" twice in a row says no more
      if (part != "**" || parts_.empty() || parts_.back() != "**") parts_.push_back(part);
    if (std::count(parts_.begin(), parts_.end(), "**") > kMaxAnyDepth)
      throw Error(ErrorKind::kData, cat(key, " has too many ** in a pattern"))
          .at(pattern)
          .allowed(cat("at most ", kMaxAnyDepth));
  }

  std::set<std::string> find() {
    walk("", 0);
    return std::move(found_);
  }

 private:
  struct Entry {
    std::string name;
    bool folder;
  };

  /// Adds the files below `folder` ("" the working directory) that match parts_[at...].
  void walk(const std::string& folder, size_t at) {
    const std::string& part = parts_[at];
    const bool last = at + 1 == parts_.size();
    if (part.empty() && !last) return walk(cat(folder, "/"), at + 1);
    if (part != "**" && !has_wildcard(part)) return go_on(join_path(folder, part), at);
    if (!seen_.emplace(folder, at).second) return;
    const bool any_depth = part == "**";
    const bool next_wild = any_depth && !last && has_wildcard(parts_[at + 1]);
    if (any_depth && !last && !next_wild) walk(folder, at + 1);
    for (const Entry& entry : entries_of(folder)) {
      const std::string path = join_path(folder, entry.name);
      if (!any_depth) match(entry.name, path, at);
      if (next_wild) match(entry.name, path, at + 1);
      if (!any_depth || entry.name.starts_with('.')) continue;
      if (entry.folder) walk(path, at);
      if (last) go_on(path, at);
    }
  }

  void match(const std::string& name, const std::string& path, size_t at) {
    if (::fnmatch(parts_[at].c_str(), name.c_str(), FNM_PERIOD | FNM_NOESCAPE) == 0)
      go_on(path, at);
  }

  /// What is in a folder, told by the folder itself where it can; nothing for any other path.
  std::vector<Entry> entries_of(const std::string& folder) {
    constexpr size_t kFolderLooks = 10, kLinkLooks = 100;  // links may lead round in circles
    const std::string listed = folder.empty() ? "." : folder;
    const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(listed.c_str()), ::closedir);
    if (!open) {
      if (is_directory(listed)) list_directory(listed);  // throws why
      return {};
    }
    std::vector<Entry> entries;
    looks_ += kFolderLooks;
    while (const dirent* one = ::readdir(open.get())) {
      std::string name = one->d_name;
      if (name == "." || name == "..") continue;
      if (++looks_ > kMaxLooks)
        throw Error(ErrorKind::kData, cat(key_, " has a pattern over too many files"))
            .at(pattern_)
            .hint("name the folders that hold the texts");
      const bool unknown = one->d_type == DT_LNK || one->d_type == DT_UNKNOWN;
      const bool is_folder =
          unknown ? is_directory(join_path(folder, name)) : one->d_type == DT_DIR;
      if (unknown && is_folder) looks_ += kLinkLooks;
      entries.push_back({std::move(name), is_folder});
    }
    return entries;
  }

  void go_on(const std::string& path, size_t at) {
    if (at + 1 == parts_.size()) {
      if (path_exists(path) && !is_directory(path)) found_.insert(path);
    } else if (is_directory(path)) {
      walk(path, at + 1);
    }
  }

  std::string pattern_, key_;
  std::vector<std::string> parts_;
  std::set<std::string> found_;
  std::set<std::pair<std::string, size_t>> seen_;  ///< folders, each with the part it was asked for
  size_t looks_ = 0;
};

[[noreturn]] void throw_no_match(const std::string& pattern, std::string_view key) {
  std::string folder = parent_path(pattern);
  while (!is_directory(folder) && parent_path(folder) != folder) folder = parent_path(folder);
  std::string advice = "a relative path starts at the config's folder";
  if (is_directory(folder)) {
    const std::vector<std::string> names = list_directory(folder);
    std::string wanted =
        pattern.substr(folder == "." && !pattern.starts_with("./") ? 0 : folder.size());
    wanted.erase(0, wanted.find_first_not_of('/'));
    wanted = wanted.substr(0, wanted.find('/'));
    const std::string near = nearest(wanted, names);
    if (near == wanted) {
      advice = cat(quote(wanted), path_exists(join_path(folder, near))
                                      ? " is a file, not a folder"
                                      : " is a symbolic link to nothing");
    } else if (!near.empty()) {
      advice = cat("did you mean ", quote(join_path(folder == "." ? "" : folder, near)));
    } else if (!names.empty()) {
      std::vector<std::string> some(names.begin(),
                                    names.begin() + std::min<size_t>(names.size(), 8));
      advice = cat(folder, " holds ", join(some, ", "), names.size() > 8 ? ", ..." : "");
    } else {
      advice = cat(folder, " is empty");
    }
  }
  const bool wild = has_wildcard(pattern);
  throw Error(ErrorKind::kData,
              cat(key, wild ? " matches no file" : " names a file that is not there"))
      .at(pattern)
      .hint(advice);
}

}  // namespace

std::vector<std::string> expand_globs(std::string_view pattern, std::string_view key) {
  const std::string whole(pattern);
  if (is_standard_input(whole)) return {"-"};
  if (is_pipe(whole)) return {whole};
  if (std::count(whole.begin(), whole.end(), '{') > kMaxBraces)
    throw Error(ErrorKind::kData, cat(key, " has a pattern with too many braces"))
        .at(cat(whole.substr(0, 60), "..."))
        .allowed(cat("at most ", kMaxBraces));
  if (net::is_url(whole)) {
    Alternatives addresses;
    expand_braces(whole, 0, key, addresses);
    if (whole.find('*') != std::string::npos)
      throw Error(ErrorKind::kData, cat(key, " has a * in a web address"))
          .at(whole)
          .hint("a server does not list its files; {a,b} and {000..012} name several");
    return addresses.texts;
  }
  if (is_stream(whole))
    throw Error(ErrorKind::kData, cat(key, " names a device, not a file"))
        .at(whole)
        .hint("write \"-\" and pipe the text into the standard input");
  if (path_exists(whole) && !is_directory(whole)) return {whole};
  Alternatives alternatives;
  std::vector<std::string> files;
  expand_braces(whole, 0, key, alternatives);
  std::set<std::string> seen;
  for (const std::string& alternative : alternatives.texts) {
    if (is_directory(alternative))
      throw Error(ErrorKind::kData, cat(key, " names a folder where files should be"))
          .at(alternative)
          .hint(cat("its files are ", quote(join_path(alternative, "*"))));
    std::set<std::string> found;
    if (path_exists(alternative)) {
      found.insert(alternative);
    } else if (has_wildcard(alternative)) {
      found = Walk(alternative, key).find();
    }
    if (found.empty()) throw_no_match(alternative, key);
    for (const std::string& path : found)
      if (seen.insert(path).second) files.push_back(path);
  }
  return files;
}

}  // namespace levanter::data
