// A report as one page of HTML that needs no network.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "report/run_data.h"

namespace levanter::report {

/// Text as HTML, in elements and in attributes: <, >, & and quotation marks by name; what is no
/// UTF-8 and control characters as U+FFFD.
std::string html(std::string_view text);

/// JSON that may stand in a <script>: no "</script>" or "<!--" is in it.
std::string script_json(std::string json);

/// A page: its head with this title and our style, then `body`, then `script` with `data` as the
/// JSON that it reads.
std::string whole_page(std::string_view title, std::string_view body, std::string data,
                       std::string_view script);

/// The report of one run, or of several beside each other.
std::string make_page(std::span<const RunData> runs);

/// What the page's script draws from: {"runs": [...], "charts": [...], "plan": {...}}.
std::string chart_data(std::span<const RunData> runs);

/// Reads the folder of a run that has just ended and writes its report.html into it.
/// error  kIo where that cannot be written, or where its metrics are longer than 256 MiB
void write_report(const std::string& folder);

inline constexpr std::string_view kReportFile = "report.html";

}  // namespace levanter::report
