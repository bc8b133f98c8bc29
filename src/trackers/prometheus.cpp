// prometheus: the last values, for the textfile collector of node_exporter or at /metrics.
#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "config/problems.h"
#include "trackers/metrics_server.h"
#include "trackers/tracker.h"

namespace levanter {

namespace {

constexpr double kInterval = 5;  // seconds between two files at least

struct PrometheusConfig final : TrackerConfig {
  std::optional<config::Path> textfile;
  std::optional<int64_t> port;
  std::string host = "127.0.0.1";

  void fields(config::Fields& f) override {
    f("textfile", textfile,
      "the file to write, in the folder that node_exporter collects, its name ending in .prom; by "
      "default metrics.prom in the run's folder");
    f("port", port, "where /metrics is answered; by default nowhere").at_least(1).at_most(65535);
    f("host", host, "the address that the port is opened at, an IPv4 one");
  }
  void validate(config::Problems& p) const override {
    if (textfile && !textfile->text.ends_with(".prom"))
      p.add("textfile", cat(p.name("textfile"), " = ", quote(textfile->text),
                            " does not end in .prom, and would not be collected"));
    if (!trackers::is_address(host))
      p.add("host", cat(p.name("host"), " = ", quote(host), " is no IPv4 address"))
          .hint("0.0.0.0 is every address of this machine");
  }
};

/// "train/loss" as "levanter_train_loss".
std::string metric_name(std::string_view name) {
  std::string out = "levanter_";
  for (const char c : name) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    out += good ? c : '_';
  }
  return out;
}

/// A label's value, with what ends it escaped.
std::string label(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out + "\"";
}

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return format_number(value);
}

class PrometheusTracker final : public Tracker {
 public:
  PrometheusTracker(const PrometheusConfig& config, const TrackerContext& context)
      : context_(context),
        path_(config.textfile ? config.textfile->resolved
                              : join_path(context.run_folder, "metrics.prom")) {
    put("total_steps", static_cast<double>(context.total_steps));
    if (config.port) server_.emplace(config.host, static_cast<int>(*config.port));
    publish();
  }

  void log(const Metrics& metrics, int64_t step) override {
    put("step", static_cast<double>(step));
    for (const auto& [name, value] : metrics) put(name, value);
    const double time = now(context_);
    if (std::fabs(time - written_at_) >= kInterval) publish();
  }

  void log_summary(const Metrics& metrics) override {
    for (const auto& [name, value] : metrics) put(name, value);
  }
  void message(std::string_view) override {}
  void flush() override { publish(); }
  void ended(std::string_view outcome) override { state_ = outcome.substr(0, outcome.find(':')); }
  void finish() override { publish(); }

  std::string news() override { return std::exchange(news_, ""); }

 private:
  void put(std::string_view name, double value) {
    const std::string metric = metric_name(name);
    for (auto& [known, old] : values_) {
      if (known != metric) continue;
      old = value;
      return;
    }
    values_.emplace_back(metric, value);
  }

  /// https://prometheus.io/docs/instrumenting/exposition_formats
  std::string text() const {
    const std::string run = cat("{run=", label(context_.run_id), "}");
    std::string out;
    for (const auto& [metric, value] : values_)
      out += cat("# TYPE ", metric, " gauge\n", metric, run, " ", number(value), "\n");
    return cat(out, "# TYPE levanter_state gauge\nlevanter_state{run=", label(context_.run_id),
               ",state=", label(state_), "} 1\n");
  }

  void publish() {
    written_at_ = now(context_);
    const std::string all = text();
    std::string problem = server_ ? server_->publish(all) : "";
    try {
      write_file_atomic(path_, all);
    } catch (const Error& error) {
      problem = error.message();
    }
    if (!problem.empty() && !failing_) news_ = cat(problem, "; the run goes on");
    failing_ = !problem.empty();
  }

  TrackerContext context_;
  std::string path_;
  std::optional<trackers::MetricsServer> server_;
  Metrics values_;
  std::string state_ = "running", news_;
  double written_at_ = 0;
  bool failing_ = false;
};

std::unique_ptr<Tracker> make(const TrackerConfig& config, const TrackerContext& context) {
  return std::make_unique<PrometheusTracker>(static_cast<const PrometheusConfig&>(config), context);
}

}  // namespace

namespace trackers {
extern const TrackerEntry prometheus_entry;
const TrackerEntry prometheus_entry = {
    "prometheus", "the last values for Prometheus: a textfile, and /metrics where a port is named",
    config::make_choice<PrometheusConfig>, make};
}  // namespace trackers

}  // namespace levanter
