// Disturbs the program in every way that a machine can, and counts how it ends.
//   faults PROGRAM LIBRARY [--short] [--seed N] [--trials N] [--only N] [--folder DIR] [kind...]
#include <stdlib.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "faults/lab.h"

namespace levanter::faults {

namespace {

constexpr Kind kKinds[] = {
    {"stops", "a signal at a random moment, then the same command", 400, 6, make_stops},
    {"evaluations", "a signal in an evaluation of a minute", 8, 1, make_evaluations},
    {"ranks", "one rank of mpirun's is killed or stands still", 60, 4, make_ranks},
    {"kills", "SIGKILL at a call that changes a file", 200, 6, make_kills},
    {"failing", "calls that change files fail: full, broken, read-only", 200, 6,
     make_failing_calls},
    {"disks", "small disks, enlarged afterwards; full ones that recover", 60, 4, make_disks},
    {"flips", "one bit of a file that the program reads", 300, 14, make_flips},
    {"jobs", "8 processes at once over one new cache", 8, 1, make_jobs},
    {"reads", "verify, eval, generate, export beside a trainer that saves", 5000, 24, make_reads},
    {"hostile", "configs, templates, tokenizers and headers made to do harm", 0, 0, make_hostile},
};

struct Options {
  Lab lab;
  uint64_t seed = 1;
  int64_t trials = -1, only = -1;
  std::vector<std::string> kinds;
};

struct Tally {
  int64_t trials = 0, of[kOutcomes] = {};
  double seconds = 0;
  std::string skipped, notes;

  int64_t good() const { return of[0] + of[1]; }
};

int64_t number_of(const std::string& word) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error != std::errc() || end != word.data() + word.size() || number < 0)
    throw Error(ErrorKind::kConfig, cat(quote(word), " is no number"));
  return number;
}

Options parse(const std::vector<std::string>& words) {
  Options options;
  const auto fault = [](std::string message) {
    return Error(ErrorKind::kConfig, std::move(message))
        .hint(
            "faults PROGRAM LIBRARY [--short] [--seed N] [--trials N] [--only N] [--folder DIR] "
            "[kind...]");
  };
  if (words.size() < 2) throw fault("the program and the library are missing");
  options.lab.program = absolute_path(words[0]);
  options.lab.library = absolute_path(words[1]);
  for (size_t i = 2; i < words.size(); ++i) {
    const std::string& word = words[i];
    const auto value = [&]() -> const std::string& {
      if (i + 1 == words.size()) throw fault(word + " needs a value");
      return words[++i];
    };
    if (word == "--short") {
      options.lab.brief = true;
    } else if (word == "--seed") {
      options.seed = static_cast<uint64_t>(number_of(value()));
    } else if (word == "--trials") {
      options.trials = number_of(value());
    } else if (word == "--only") {
      options.only = number_of(value());
    } else if (word == "--folder") {
      options.lab.folder = absolute_path(value());
    } else {
      options.kinds.push_back(word);
    }
  }
  for (const std::string& name : options.kinds) {
    bool known = false;
    for (const Kind& kind : kKinds) known |= kind.name == name;
    if (!known) throw fault(cat("there is no kind of faults ", quote(name)));
  }
  return options;
}

/// Says what failed and keeps what it left.
void keep(const Options& options, const Kind& kind, int64_t trial, const Verdict& verdict) {
  static constexpr const char* kWords[kOutcomes] = {"", "", "lost", "silent", "crash"};
  const std::string name = cat("failed-", kind.name, "-", trial);
  std::string kept = join_path(options.lab.folder, name);
  remove_tree(kept);
  if (path_exists(options.lab.trial()))
    rename_path(options.lab.trial(), kept);
  else
    kept = "nothing";
  std::printf(
      "%s %lld: %s: %s\n  kept   %s\n  again  scripts/faults.sh --seed %llu --only %lld %s\n",
      std::string(kind.name).c_str(), static_cast<long long>(trial),
      kWords[static_cast<int>(verdict.outcome)], verdict.words.c_str(), kept.c_str(),
      static_cast<unsigned long long>(options.seed), static_cast<long long>(trial),
      std::string(kind.name).c_str());
  std::fflush(stdout);
}

Tally try_all(const Options& options, const Kind& kind) {
  Tally tally;
  const auto start = std::chrono::steady_clock::now();
  try {
    remove_tree(options.lab.trial());
    const std::unique_ptr<Trials> trials = kind.make(options.lab);
    const int64_t usual = trials->count(options.lab.brief ? kind.brief : kind.full);
    const int64_t count = options.trials >= 0 ? options.trials : usual;
    const Key key = fold_in(key_from_seed(options.seed), kind.name);
    for (int64_t trial = 0; trial < std::max(count, options.only + 1); ++trial) {
      if (options.only >= 0 && trial != options.only) continue;
      remove_tree(options.lab.trial());
      make_directories(options.lab.trial());
      Chance chance(fold_in(key, static_cast<uint32_t>(trial)));
      const Verdict verdict = trials->run(trial, chance);
      ++tally.trials;
      ++tally.of[static_cast<int>(verdict.outcome)];
      if (!verdict.good()) keep(options, kind, trial, verdict);
    }
    tally.notes = trials->notes();
  } catch (const Skipped& skipped) {
    tally.skipped = skipped.why;
  }
  remove_tree(options.lab.trial());
  tally.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return tally;
}

int main(const std::vector<std::string>& words) {
  Options options = parse(words);
  std::string made;
  if (options.lab.folder.empty()) {
    const char* base = std::getenv("TMPDIR");
    made = join_path(base && *base ? base : P_tmpdir, "levanter-faults-XXXXXX");
    LEV_CHECK(::mkdtemp(made.data()) != nullptr, "the trials need a temporary folder");
    options.lab.folder = absolute_path(made);
  }
  make_directories(join_path(options.lab.folder, "home"));
  std::string table = cat("kind          trials survived detected   lost silent  crash  seconds\n");
  std::string notes;
  int64_t good = 0, bad = 0, skipped = 0;
  for (const Kind& kind : kKinds) {
    const std::vector<std::string>& wanted = options.kinds;
    if (!wanted.empty() && std::none_of(wanted.begin(), wanted.end(),
                                        [&](const std::string& name) { return name == kind.name; }))
      continue;
    std::printf("%s: %s\n", std::string(kind.name).c_str(), std::string(kind.what).c_str());
    std::fflush(stdout);
    const Tally tally = try_all(options, kind);
    char line[160];
    std::snprintf(line, sizeof line, "%-12s %7lld %8lld %8lld %6lld %6lld %6lld %8.1f\n",
                  std::string(kind.name).c_str(), static_cast<long long>(tally.trials),
                  static_cast<long long>(tally.of[0]), static_cast<long long>(tally.of[1]),
                  static_cast<long long>(tally.of[2]), static_cast<long long>(tally.of[3]),
                  static_cast<long long>(tally.of[4]), tally.seconds);
    table += line;
    if (!tally.notes.empty()) notes += cat(kind.name, ": ", tally.notes, "\n");
    if (!tally.skipped.empty()) notes += cat(kind.name, ": skipped: ", tally.skipped, "\n");
    good += tally.good();
    bad += tally.trials - tally.good();
    skipped += !tally.skipped.empty();
  }
  if (!made.empty() && bad == 0) remove_tree(made);
  std::printf("\n%s%s%lld passed, %lld failed, %lld skipped\n", table.c_str(), notes.c_str(),
              static_cast<long long>(good), static_cast<long long>(bad),
              static_cast<long long>(skipped));
  return bad == 0 ? 0 : 1;
}

}  // namespace

}  // namespace levanter::faults

int main(int argc, char** argv) {
  try {
    return levanter::faults::main(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
