// The style and the scripts of pages, which src/meson.build puts into the program.
#pragma once

#include <string_view>

namespace levanter::report {

std::string_view style();          ///< src/report/page.css
std::string_view report_script();  ///< src/report/report.js
std::string_view tokens_script();  ///< src/report/tokens.js

}  // namespace levanter::report
