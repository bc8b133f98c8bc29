// What a run says of itself.
#include "train/introduction.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>

#include "base/files.h"
#include "base/strings.h"

namespace levanter::train {

namespace {

constexpr double kSameRate = 1e-9;  // the relative difference that nobody would call one

std::string rate(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2e", value);
  return text;
}

}  // namespace

std::vector<std::string> introduction(const TrainConfig& config, const RunFacts& facts) {
  const TrainerConfig& t = config.trainer;
  const auto steps =
      static_cast<double>(facts.epoch_length) / static_cast<double>(t.train_batch_size);
  std::string held;
  if (facts.validation_tokens > 0)
    held = cat(", ", format_count(facts.validation_tokens), " to validate with");
  return {
      cat(config.model.type, ": ", count_of(facts.parameters, "parameter"), ", a vocabulary of ",
          format_count(facts.vocab_size), ", in ", typed_path(config.run_folder())),
      cat("data: ", count_of(facts.train_tokens, "token"), held, "; ",
          format_count(t.train_batch_size * config.model->max_seq_len), " a step, ",
          count_of(static_cast<int64_t>(std::ceil(steps)), "step"), " an epoch, ",
          format_fixed(static_cast<double>(t.num_train_steps) / steps, 1), " epochs in all")};
}

int64_t count_hosts(std::span<const dist::Place> places) {
  std::set<std::string> hosts;
  for (const dist::Place& place : places) hosts.insert(place.host);
  return std::ssize(hosts);
}

std::string describe_places(std::span<const dist::Place> places, int threads) {
  std::map<std::string, std::vector<const dist::Place*>> by_host;
  for (const dist::Place& place : places) by_host[place.host].push_back(&place);
  std::string hosts;
  for (const auto& [host, on_it] : by_host) {
    std::vector<std::string> processors;  // each once, as they come
    for (const dist::Place* place : on_it)
      if (std::find(processors.begin(), processors.end(), place->processors) == processors.end())
        processors.push_back(place->processors);
    hosts += cat(hosts.empty() ? "" : "; ", host, " has ", on_it.size(), " on processors ",
                 join(processors, ", "));
  }
  return cat(count_of(std::ssize(places), "rank"), ", ", count_of(threads, "thread"),
             " each: ", hosts);
}

std::string schedule_change(const TrainConfig& saved, const TrainConfig& now, int64_t step) {
  const int64_t before = saved.trainer.num_train_steps, after = now.trainer.num_train_steps;
  const double was = saved.schedule().at(step), is = now.schedule().at(step);
  if (before == after || std::fabs(was - is) <= kSameRate * std::max(std::fabs(was), std::fabs(is)))
    return "";
  return cat("the learning rate of step ", step + 1, " goes from ", rate(was), " to ", rate(is),
             ", since the schedule is ", after > before ? "stretched" : "shortened", " from ",
             format_count(before), " to ", count_of(after, "step"));
}

std::string farewell(const TrainConfig& config, const BestCheckpoint& best) {
  const std::string folder = config.run_folder();
  const auto command = [](const std::string& path) {
    return cat("levanter generate --checkpoint ", typed_path(path));
  };
  std::string line = cat("finished: ", command(folder));
  if (best.step >= 0 && best.step != config.trainer.num_train_steps)
    line += cat("; the lowest eval/loss, ", format_fixed(best.loss, 4), ", was that of step ",
                best.step, ": ", command(join_path(folder, "best")));
  return line;
}

std::string typed_path(const std::string& path) {
  const std::string here = absolute_path(".");
  std::string shown = path;
  if (here != "/" && shown.starts_with(here + "/")) shown = shown.substr(here.size() + 1);
  const bool plain = !shown.empty() && std::all_of(shown.begin(), shown.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("/._-+,:@%=").find(c) != std::string_view::npos ||
           static_cast<unsigned char>(c) >= 0x80;
  });
  if (plain) return shown;
  std::string quoted = "'";
  for (const char c : shown) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace levanter::train
