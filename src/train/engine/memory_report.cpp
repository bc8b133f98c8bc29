// What levanter plan says of a step's memory.
#include "train/engine/memory_report.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>

#include "base/strings.h"
#include "runtime/plan_report.h"
#include "train/evaluate.h"

namespace levanter::train {

std::string align_right(std::string_view text, size_t width) {
  return cat(std::string(width - std::min(width, text.size()), ' '), text);
}

namespace {

/// A title and bytes, the latter always at the same place.
std::string heading(std::string_view name, int64_t bytes) {
  std::string text(name);
  text.resize(std::max<size_t>(text.size(), 26), ' ');
  return cat(text, align_right(format_bytes(bytes), 12), "\n");
}

/// The same, below a title.
std::string line(std::string_view name, int64_t bytes) { return heading(cat("  ", name), bytes); }

/// The buffers of one sort that are alive where the arena is fullest: their sum, and the groups
/// that make up most of it.
std::string buffers(std::string_view title, std::vector<LiveBuffer> alive, bool saved) {
  constexpr size_t kShown = 8;
  std::erase_if(alive, [&](const LiveBuffer& b) { return b.saved_for_backward != saved; });
  const std::vector<BufferGroup> groups = group_buffers(alive);
  int64_t total = 0, listed = 0;
  for (const BufferGroup& g : groups) total += g.bytes;
  std::string text = line(title, total);
  for (size_t i = 0; i < groups.size() && i < kShown; ++i) {
    const BufferGroup& g = groups[i];
    const std::string count = g.count > 1 ? cat(g.count, " x ") : "";
    text += cat(align_right(format_bytes(g.bytes), 14), "  ", count, g.op, ", ", g.where, "\n");
    listed += g.bytes;
  }
  if (listed < total)
    text += cat(align_right(format_bytes(total - listed), 14), "  in ", groups.size() - kShown,
                " smaller groups\n");
  return text;
}

std::string columns(std::initializer_list<std::string> words) {
  std::string text;
  for (const std::string& word : words) text += align_right(word, 13);
  return text + "\n";
}

/// What ranks need and send in a step, where there are several: each, or the one that needs most.
std::string ranks_table(const TrainConfig& config, const CompiledStep& step) {
  constexpr int64_t kShown = 8;
  const int64_t ranks = step.options.ranks;
  if (ranks == 1) return "";
  std::string text = cat(
      std::string(26, ' '), align_right("sent in a step:", 67), "\n", "ranks                     ",
      columns({"persistent", "in all", "gathered", "gradients", "norms", "parameters"}));
  const auto row = [&](int64_t rank) {
    const SentBytes sent = step.sent_bytes_of(rank);
    std::string name = cat("  rank ", rank);
    name.resize(std::max<size_t>(name.size(), 26), ' ');
    return cat(name, columns({format_bytes(step.persistent_bytes_of(rank)),
                              format_bytes(memory_total(step, config, std::array{rank}).total()),
                              format_bytes(sent.gathers), format_bytes(sent.gradients),
                              format_bytes(sent.norm), format_bytes(sent.parameters)}));
  };
  if (ranks <= kShown)
    for (int64_t rank = 0; rank < ranks; ++rank) text += row(rank);
  else
    text += cat(row(neediest_rank(step, config)), "  which needs the most\n");
  return cat(text, "  a row of an evaluation", align_right(format_bytes(kRowSumsBytes), 15),
             " to each other rank\n");
}

/// How each group of parameters is trained; "" where there are none.
std::string groups_table(const CompiledStep& step) {
  const optim::Assignment& optimizer = *step.options.optimizer;
  const std::span<const ParameterGroup> groups = optimizer.groups().all();
  if (groups.empty()) return "";
  const auto row = [&](std::optional<size_t> index, const std::string& name) {
    int64_t tensors = 0, elements = 0;
    std::set<std::string> ways;
    for (const nn::Param& param : step.params) {
      const bool is_scale = param.role == nn::Role::kScale;
      if (is_scale || optimizer.groups().index_of(param.path) != index) continue;
      ++tensors;
      elements += param.type.elements();
      const optim::Rule rule = optimizer.rule_of(param);
      ways.insert(param.trainable
                      ? cat(rule.optimizer->name, ", lr x ", format_number(rule.lr_scale),
                            ", weight_decay ", format_number(rule.weight_decay))
                      : std::string("frozen"));
    }
    const std::vector<std::string> words(ways.begin(), ways.end());
    return cat("  ", name, ": ", count_of(tensors, "tensor"), ", ", count_of(elements, "parameter"),
               tensors > 0 ? "; " : "", join(words, "; "), "\n");
  };
  std::string text = "parameter groups\n";
  for (size_t i = 0; i < groups.size(); ++i) text += row(i, quote(groups[i].match));
  return text + row(std::nullopt, "all others");
}

/// What is needed, next to what there is.
std::string totals(const TrainConfig& config, const CompiledStep& step,
                   std::span<const MemoryNeed> needs) {
  const MemoryTotal need = memory_total(step, config);
  const std::string one = cat(", rank ", neediest_rank(step, config));
  const bool several = config.trainer.ranks > 1;
  const std::string whose = !several                               ? ""
                            : config.trainer.communicator == "mpi" ? one
                                                                   : ", all ranks";
  if (needs.size() == 1)
    return cat(need.samples > 0 ? heading("samples, the first rank", need.samples) : "",
               heading(cat("loader", whose), need.loader),
               heading(cat("total", whose), need.total()),
               heading("a save, in addition", need.save), heading("available", needs[0].limit));
  const MemoryNeed &device = needs[0], &host = needs[1];
  return cat(need.samples > 0 ? heading("samples, the first rank", need.samples) : "",
             heading(several ? cat("device", one) : "device, all of these", device.needed),
             line("available", device.limit), heading(cat("host", whose), host.needed),
             line("loader", need.loader), line("a save", need.save), line("available", host.limit));
}

}  // namespace

std::string memory_report(const TrainConfig& config, const CompiledStep& step,
                          std::span<const MemoryNeed> needs) {
  const auto& shape = step.options.shape;
  std::string text =
      cat(config.run_id(), ": ", config.model.type, ", ", format_count(step.parameter_count()),
          " parameters, ", config.trainer.precision(), "\nmicrobatch ", shape.batch, " x position ",
          shape.position, ", ", step.options.microbatches, " a step in ",
          count_of(step.options.groups, "group"), ", ", count_of(config.trainer.ranks, "rank"),
          "\n\npersistent, ", step.options.ranks > 1 ? "the first rank\n" : "each rank\n");
  for (const MemoryLine& l : step.persistent()) text += line(l.what, l.bytes);
  text += groups_table(step);
  text += ranks_table(config, step);
  text += heading("arena", step.arena_bytes());
  text += cat("  lower bound ", format_bytes(step.gradients.arena_lower_bound()), "; fullest at ",
              step.gradients.peak_place(), "\n");
  text += buffers("saved for backward", step.gradients.peak(), true);
  text += buffers("working set", step.gradients.peak(), false);
  text += heading("workspace", step.workspace_bytes());
  if (step.first_run_bytes() > 0)
    text += heading("checks in the first run", step.first_run_bytes());
  return text + totals(config, step, needs);
}

std::string memory_json(const TrainConfig& config, const CompiledStep& step) {
  constexpr size_t kMostBuffers = 400;
  using Json = nlohmann::ordered_json;
  const MemoryTotal total = memory_total(step, config);
  Json persistent = Json::array(), listed = Json::array();
  for (const MemoryLine& l : step.persistent())
    persistent.push_back({{"what", l.what}, {"bytes", l.bytes}});
  std::vector<LiveBuffer> buffers = step.gradients.buffers();
  const auto weight = [](const LiveBuffer& b) { return b.bytes * (b.last - b.first + 1); };
  std::stable_sort(buffers.begin(), buffers.end(),
                   [&](const LiveBuffer& a, const LiveBuffer& b) { return weight(a) > weight(b); });
  buffers.resize(std::min(buffers.size(), kMostBuffers));
  for (const LiveBuffer& b : buffers)
    listed.push_back({{"offset", b.offset},
                      {"bytes", b.bytes},
                      {"first", b.first},
                      {"last", b.last},
                      {"saved", b.saved_for_backward},
                      {"op", b.op},
                      {"where", b.where}});
  const Json plan = {{"ranks", config.trainer.ranks},
                     {"persistent", std::move(persistent)},
                     {"arena_bytes", step.arena_bytes()},
                     {"workspace_bytes", step.workspace_bytes()},
                     {"sample_bytes", total.samples},
                     {"loader_bytes", total.loader},
                     {"save_bytes", total.save},
                     {"steps", step.gradients.step_count()},
                     {"peak_step", step.gradients.peak_step()},
                     {"peak_place", step.gradients.peak_place()},
                     {"buffers", std::move(listed)}};
  return plan.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace levanter::train
