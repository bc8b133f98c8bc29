// A report as one page of HTML that needs no network.
#include "report/page.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "record/build.h"
#include "report/charts.h"
#include "report/sections.h"
#include "report/texts.h"
#include "text/utf8.h"

namespace levanter::report {

namespace {

using Json = nlohmann::ordered_json;

/// Of metrics that a run reads again at its end, in memory that its plan does not know of.
constexpr int64_t kMostMetrics = int64_t{256} << 20;
constexpr int kDigits = 6;  // of a number in a chart

/// Six digits are more than a picture shows.
Json number(double value) {
  if (!std::isfinite(value)) return nullptr;
  char text[40];
  const auto end =
      std::to_chars(text, text + sizeof text, value, std::chars_format::general, kDigits).ptr;
  double rounded = 0;
  std::from_chars(text, end, rounded);
  if (rounded == std::floor(rounded) && std::fabs(rounded) < 1e15)
    return static_cast<int64_t>(rounded);
  return rounded;
}

Json numbers(const std::vector<double>& values) {
  Json list = Json::array();
  for (const double value : values) list.push_back(number(value));
  return list;
}

/// The steps of points, each kept once: most metrics of a run share theirs.
class Axes final {
 public:
  size_t add(const Buckets& points) {
    Json axis = {{"from", points.from}};
    if (!points.is_exact()) axis["to"] = points.to;
    const auto [place, is_new] = known_.emplace(axis.dump(), all_.size());
    if (is_new) all_.push_back(std::move(axis));
    return place->second;
  }
  Json take() { return std::move(all_); }

 private:
  std::map<std::string, size_t> known_;
  Json all_ = Json::array();
};

Json line_json(const ChartLine& line, bool stacked, Axes& axes) {
  Json json = {{"run", line.run},
               {"label", line.label},
               {"dots", line.dots},
               {"axis", axes.add(line.points)},
               {"mean", numbers(line.points.mean)}};
  if (stacked || line.points.is_exact()) return json;
  json["low"] = numbers(line.points.low);
  json["high"] = numbers(line.points.high);
  return json;
}

Json chart_json(const Chart& chart, Axes& axes) {
  Json lines = Json::array(), marks = Json::array();
  for (const ChartLine& line : chart.lines) lines.push_back(line_json(line, chart.stacked, axes));
  for (const Mark& mark : chart.marks)
    marks.push_back({{"run", mark.run},
                     {"step", mark.step},
                     {"value", number(mark.value)},
                     {"text", mark.text}});
  return {{"title", chart.title},     {"unit", chart.unit}, {"log", chart.scale == Scale::kLog},
          {"stacked", chart.stacked}, {"wide", chart.wide}, {"lines", std::move(lines)},
          {"marks", std::move(marks)}};
}

}  // namespace

std::string html(std::string_view text) {
  std::string clean;
  text::append_mended_utf8(clean, text);
  std::string out;
  for (const char c : clean) switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t')
          out += "\xEF\xBF\xBD";
        else
          out += c;
    }
  return out;
}

std::string script_json(std::string json) {
  std::string out;
  for (const char c : json) {
    if (c == '<')
      out += "\\u003c";
    else
      out += c;
  }
  return out;
}

std::string whole_page(std::string_view title, std::string_view body, std::string data,
                       std::string_view script) {
  return cat(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      // The page reaches for nothing, whatever stands in it.
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
      "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n<title>",
      html(title), "</title>\n<style>\n", style(), "</style>\n</head>\n<body>\n", body,
      "<script type=\"application/json\" id=\"data\">", script_json(std::move(data)),
      "</script>\n<script>\n", script, "</script>\n</body>\n</html>\n");
}

std::string chart_data(std::span<const RunData> runs) {
  Axes axes;
  Json list = Json::array(), charts = Json::array();
  for (const RunData& run : runs) list.push_back({{"id", run.line.id}});
  for (const Chart& chart : make_charts(runs)) charts.push_back(chart_json(chart, axes));
  Json data = {{"runs", std::move(list)}, {"charts", std::move(charts)}};
  data["axes"] = axes.take();
  if (runs.size() == 1) data["plan"] = Json::parse(arena_json(runs[0].plan));
  return data.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string make_page(std::span<const RunData> runs) {
  const bool one = runs.size() == 1;
  std::string body = one ? heading(runs[0]) : heading(runs);
  body +=
      "<noscript><p>The pictures are drawn by a script of this page, which is switched off."
      "</p></noscript>\n<div class=\"legend\" id=\"legend\"></div>\n"
      "<section class=\"charts\" id=\"charts\" aria-label=\"Charts\"></section>\n";
  body +=
      "<p class=\"soft keys\">Point at a chart, or go to it with Tab: the arrow keys read "
      "values, + and - zoom, 0 shows all. A drag zooms too, a double click goes back.</p>\n";
  if (one) body += memory_section(runs[0].plan);
  body += samples_section(runs);
  for (const RunData& run : runs) body += config_section(run, !one);
  for (const RunData& run : runs) body += provenance_section(run, !one);
  const record::Build build = record::this_build();
  body += cat("<p class=\"soft\">Made by levanter ", html(build.version), ", ",
              html(build.revision), ".</p>\n");
  const std::string title =
      one ? cat(runs[0].line.id, " - levanter") : cat(runs.size(), " runs - levanter");
  return whole_page(title, body, chart_data(runs), report_script());
}

void write_report(const std::string& folder) {
  const std::string metrics = join_path(folder, "metrics.jsonl");
  if (path_exists(metrics) && file_size(metrics) > kMostMetrics)
    throw Error(ErrorKind::kIo, cat(metrics, " has ", format_bytes(file_size(metrics))))
        .hint("levanter report takes the memory and the time that it needs");
  const RunData run = read_run(folder);
  write_file_atomic(join_path(folder, kReportFile), make_page(std::span(&run, 1)));
}

}  // namespace levanter::report
