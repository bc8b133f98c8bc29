// The parts of a report that are words and tables.
#include "report/sections.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "report/page.h"

namespace levanter::report {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostKeys = 24;  // columns of a table of runs
constexpr int64_t kMostBytes = int64_t{1} << 60;

/// Seconds since 1970 of "2026-11-28T14:02:31Z"; -1 for what is no such time.
int64_t seconds_of(const std::string& time) {
  std::tm parts{};
  const char* end = ::strptime(time.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return end && *end == '\0' ? static_cast<int64_t>(::timegm(&parts)) : -1;
}

/// What all starts took that have an end.
double seconds_trained(const RunData& run) {
  double sum = 0;
  for (const Texts& start : run.starts) {
    const std::string* from = find_text(start, "started");
    const std::string* to = find_text(start, "ended");
    if (!from || !to || seconds_of(*from) < 0 || seconds_of(*to) < 0) continue;
    sum += static_cast<double>(std::max<int64_t>(seconds_of(*to) - seconds_of(*from), 0));
  }
  return sum;
}

double last_value(const RunData& run, std::string_view metric) {
  const Series* series = run.history.find(metric);
  return series && !series->values.empty() ? series->values.back() : RunLine::kNone;
}

std::string whole(double value) {
  return std::isfinite(value) ? format_count(std::llround(value)) : "";
}

void fact(std::string& out, std::string_view name, const std::string& value) {
  if (!value.empty())
    out += cat("<div><dt>", html(name), "</dt><dd>", html(value), "</dd></div>\n");
}

std::string facts(const RunData& run) {
  const RunLine& line = run.line;
  std::string out = "<dl class=\"facts\">\n";
  fact(out, "best validation loss",
       std::isfinite(line.best_loss)
           ? cat(shown(line.best_loss),
                 line.best_step > 0 ? cat(" at step ", format_count(line.best_step)) : "")
           : "");
  fact(out, "training loss", shown(line.loss));
  fact(out, "steps",
       line.total_steps > 0 ? cat(format_count(line.step), " of ", format_count(line.total_steps))
                            : format_count(line.step));
  if (const std::string* count = find_text(run.summary, "parameter_count"))
    fact(out, "parameters", whole(std::strtod(count->c_str(), nullptr)));
  fact(out, "tokens", whole(last_value(run, "throughput/total_tokens")));
  fact(out, "tokens a second", whole(line.tokens_per_second));
  const double mfu = last_value(run, "throughput/mfu");
  fact(out, "MFU", std::isfinite(mfu) ? cat(shown(mfu, 1), " %") : "");
  if (const double seconds = seconds_trained(run); seconds > 0)
    fact(out, "time", format_duration(seconds));
  return out + "</dl>\n";
}

/// The worst rise of the loss, whether it was one to worry about or not.
std::string spike_words(const Spike& spike) {
  if (spike.step < 0) return "";
  if (spike.times() <= 1)
    return "The loss had no spike: no step was above the median of the 128 steps before it.";
  const std::string times =
      cat(shown(spike.times(), 2), " times the median of the 128 steps before it");
  return spike.times() >= kSpikeTimes
             ? cat("The worst spike of the loss: step ", format_count(spike.step), ", ",
                   shown(spike.value), ", ", times, ".")
             : cat("The loss had no spike; it rose most at step ", format_count(spike.step),
                   ", to ", times, ".");
}

std::string notes_of(const std::vector<std::string>& notes) {
  if (notes.empty()) return "";
  std::string out = "<div class=\"notes\">\n";
  for (const std::string& note : notes) out += cat("<p>", html(note), "</p>\n");
  return out + "</div>\n";
}

std::string state_words(const RunData& run) {
  const RunLine& line = run.line;
  std::string text = line.state.empty() ? "state unknown" : line.state;
  if (!line.ended.empty())
    text += cat(", ended ", line.ended);
  else if (!line.started.empty())
    text += cat(", started ", line.started);
  if (!run.starts.empty()) {
    const std::string* host = find_text(run.starts.back(), "host");
    const std::string* error = find_text(run.starts.back(), "error");
    if (host) text += cat(", on ", *host);
    if (run.starts.size() > 1) text += cat(", started ", run.starts.size(), " times");
    if (error) text += cat(": ", *error);
  }
  return text;
}

std::string table_of(const Texts& rows) {
  std::string out = "<div class=\"scroll\"><table>\n";
  for (const auto& [name, text] : rows)
    out += cat("<tr><th>", html(name), "</th><td>", html(text), "</td></tr>\n");
  return out + "</table></div>\n";
}

std::string details(const std::string& title, const std::string& content, bool open) {
  return cat("<details", open ? " open" : "", "><summary>", html(title), "</summary>\n", content,
             "</details>\n");
}

/// A whole number of an object, within bounds; -1 for anything else.
int64_t count_in(const Json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  if (found == object.end() || !found->is_number_integer()) return -1;
  const auto value = found->get<int64_t>();
  return value >= 0 && value <= kMostBytes ? value : -1;
}

std::string text_in(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

/// The lines of the plan: what lives from step to step, then what works in a step.
std::vector<std::pair<std::string, int64_t>> memory_lines(const Json& plan) {
  std::vector<std::pair<std::string, int64_t>> lines;
  if (const auto list = plan.find("persistent"); list != plan.end() && list->is_array())
    for (const Json& line : *list)
      if (line.is_object() && count_in(line, "bytes") > 0)
        lines.emplace_back(text_in(line, "what"), count_in(line, "bytes"));
  for (const auto& [key, what] : {std::pair("arena_bytes", "arena"),
                                  {"workspace_bytes", "workspace"},
                                  {"sample_bytes", "samples"},
                                  {"loader_bytes", "loader"},
                                  {"save_bytes", "a save"}})
    if (count_in(plan, key) > 0) lines.emplace_back(what, count_in(plan, key));
  return lines;
}

}  // namespace

std::string shown(double value, int digits) {
  return std::isfinite(value) ? format_fixed(value, digits) : "";
}

std::string heading(const RunData& run) {
  const std::string spike = spike_words(run.spike);
  return cat("<h1>", html(run.line.id), "</h1>\n<p class=\"soft\">", html(state_words(run)),
             "</p>\n", facts(run), spike.empty() ? "" : cat("<p>", html(spike), "</p>\n"),
             notes_of(run.notes));
}

std::string heading(std::span<const RunData> runs) {
  std::vector<const Texts*> configs;
  for (const RunData& run : runs) configs.push_back(&run.line.config);
  std::vector<std::string> keys = keys_that_differ(configs);
  const size_t left_out = keys.size() > kMostKeys ? keys.size() - kMostKeys : 0;
  keys.resize(keys.size() - left_out);
  std::string out = cat("<h1>", runs.size(),
                        " runs</h1>\n<div class=\"scroll\"><table>\n<tr><th>run"
                        "</th><th>state</th><th>step</th><th>loss</th><th>best validation loss</th>"
                        "<th>tokens a second</th><th>worst spike</th>");
  for (const std::string& key : keys) out += cat("<th>", html(key), "</th>");
  out += "</tr>\n";
  for (const RunData& run : runs) {
    const RunLine& line = run.line;
    const std::string spike =
        run.spike.step < 0 || run.spike.times() <= 1
            ? ""
            : cat(shown(run.spike.times(), 2), " times at step ", format_count(run.spike.step));
    out += cat("<tr><th>", html(line.id), "</th><td>", html(line.state), "</td>");
    for (const std::string& value : {format_count(line.step), shown(line.loss),
                                     shown(line.best_loss), whole(line.tokens_per_second), spike})
      out += cat("<td class=\"number\">", html(value), "</td>");
    for (const std::string& key : keys) {
      const std::string* text = find_text(line.config, key);
      out += cat("<td>", text ? html(plain_text(*text)) : "-", "</td>");
    }
    out += "</tr>\n";
  }
  out += "</table></div>\n";
  if (left_out > 0)
    out += cat("<p class=\"soft\">They differ in ", count_of(static_cast<int64_t>(left_out), "key"),
               " more: levanter diff names all.</p>\n");
  for (const RunData& run : runs)
    for (const std::string& note : run.notes) out += notes_of({cat(run.line.id, ": ", note)});
  return out;
}

std::string memory_section(const std::string& plan_text) {
  const Json plan = Json::parse(plan_text, nullptr, /*allow_exceptions=*/false);
  if (!plan.is_object()) return "";
  const auto lines = memory_lines(plan);
  int64_t total = 0;
  for (const auto& [what, bytes] : lines) total += bytes;
  if (total == 0) return "";
  std::string bar = "<div class=\"bar\" role=\"img\" aria-label=\"Memory by purpose\">", table;
  for (size_t i = 0; i < lines.size(); ++i) {
    const auto& [what, bytes] = lines[i];
    const std::string share =
        cat(format_fixed(100 * static_cast<double>(bytes) / static_cast<double>(total), 2), "%");
    const std::string paint = cat("background: var(--c", i % 8, ")");
    bar += cat("<div style=\"width: ", share, "; ", paint, "\" title=\"", html(what), ", ",
               format_bytes(bytes), "\"></div>");
    table += cat("<tr><td><i class=\"swatch\" style=\"", paint, "\"></i>", html(what),
                 "</td><td class=\"number\">", format_bytes(bytes), "</td><td class=\"number\">",
                 share, "</td></tr>\n");
  }
  return cat("<h2>Memory</h2>\n<p class=\"soft\">As it was planned before the first step: ",
             format_bytes(total), " on ",
             count_of(std::max<int64_t>(count_in(plan, "ranks"), 1), "rank"), ".</p>\n", bar,
             "</div>\n<div class=\"scroll\"><table>", table,
             "</table></div>\n<p>The arena while the gradients of a microbatch are computed: each "
             "rectangle is a buffer, from its first step to its last. What the backward pass needs "
             "again is coloured.</p>\n<div id=\"arena\"></div>\n");
}

std::string arena_json(const std::string& plan_text) {
  const Json plan = Json::parse(plan_text, nullptr, /*allow_exceptions=*/false);
  const int64_t steps = count_in(plan, "steps"), arena = count_in(plan, "arena_bytes");
  if (steps <= 0 || arena <= 0 || !plan.contains("buffers") || !plan["buffers"].is_array())
    return "null";
  Json buffers = Json::array();
  for (const Json& b : plan["buffers"]) {
    if (!b.is_object()) continue;
    const int64_t offset = count_in(b, "offset"), bytes = count_in(b, "bytes");
    const int64_t first = count_in(b, "first"), last = count_in(b, "last");
    if (offset < 0 || bytes <= 0 || first < 0 || last < first) continue;
    buffers.push_back({{"offset", offset},
                       {"bytes", bytes},
                       {"first", first},
                       {"last", last},
                       {"saved", b.contains("saved") && b["saved"] == true},
                       {"op", text_in(b, "op")},
                       {"where", text_in(b, "where")}});
  }
  const Json out = {{"steps", steps},
                    {"peak_step", std::max<int64_t>(count_in(plan, "peak_step"), 0)},
                    {"arena_bytes", arena},
                    {"buffers", std::move(buffers)}};
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string samples_section(std::span<const RunData> runs) {
  std::string out;
  for (const RunData& run : runs)
    for (const Sample& sample : run.samples)
      out += cat("<p class=\"soft\">", runs.size() > 1 ? cat(html(run.line.id), ", ") : "", "step ",
                 format_count(sample.step), "</p>\n<pre><b>", html(sample.prompt), "</b>",
                 html(sample.text), "</pre>\n");
  return out.empty() ? "" : cat("<h2>Samples</h2>\n", out);
}

std::string config_section(const RunData& run, bool named) {
  std::string out = named ? cat("<h2>", html(run.line.id), "</h2>\n") : "<h2>Config</h2>\n";
  Texts config;
  for (const auto& [key, text] : run.line.config) config.emplace_back(key, plain_text(text));
  if (!config.empty())
    out += details(cat("Every key, ", config.size(), " in all"), table_of(config), false);
  if (!run.summary.empty()) out += details("Figures of summary.json", table_of(run.summary), false);
  return out;
}

std::string provenance_section(const RunData& run, bool named) {
  if (run.starts.empty()) return "";
  std::string out = named ? "" : "<h2>Provenance</h2>\n";
  for (size_t i = 0; i < run.starts.size(); ++i) {
    const Texts& start = run.starts[i];
    const std::string* time = find_text(start, "started");
    const std::string* outcome = find_text(start, "outcome");
    out += details(
        cat("Start ", i + 1, time ? cat(", ", *time) : "", outcome ? cat(", ", *outcome) : ""),
        table_of(start), !named && i + 1 == run.starts.size());
  }
  return out;
}

}  // namespace levanter::report
