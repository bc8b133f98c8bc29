// File patterns such as "shards/train-{00000..00012}.jsonl.zst" turned into paths.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace levanter::data {

/// The files that a pattern names, sorted bytewise within each of its alternatives, each once.
///   *  ?  [a-z]  [!a-z]   within one name, as fnmatch has them; a leading dot must be written
///   **                    any number of folders, none included
///   {a,b}  {00000..00012} alternatives, which may nest; each of them must match a file
/// A file whose name is the pattern to the letter comes first; "-" is the standard input, and a
/// pipe stands as it is.
///   key  the configuration key that holds the pattern, for the errors
/// error  kData when an alternative matches nothing (the nearest name in the hint), when braces
/// give
///        more than 1,000,000 alternatives, or when a folder stands where a file should be
std::vector<std::string> expand_globs(std::string_view pattern, std::string_view key);

}  // namespace levanter::data
