// The values of a command's options, printing, and texts as JSON.
#include "commands/command.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"

namespace levanter::commands {

namespace {

template <class Number>
Number parse(const std::string& text, std::string_view name, Number low, Number high) {
  Number value{};
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || !(value >= low) ||
      !(value <= high))
    throw Error(ErrorKind::kConfig,
                cat("--", name, " = ", quote(text), " is no ",
                    std::integral<Number> ? "whole number" : "number", " that fits"))
        .allowed(cat(low, " to ", high));
  return value;
}

}  // namespace

bool Arguments::has(std::string_view flag) const {
  return std::find(flags.begin(), flags.end(), flag) != flags.end();
}

std::string Arguments::text(std::string_view name, std::string_view otherwise) const {
  const auto found = values.find(name);
  return found == values.end() ? std::string(otherwise) : found->second;
}

std::vector<std::string> Arguments::all(std::string_view name) const {
  const auto found = lists.find(name);
  return found == lists.end() ? std::vector<std::string>() : found->second;
}

int64_t Arguments::integer(std::string_view name, int64_t otherwise, int64_t low,
                           int64_t high) const {
  const auto found = values.find(name);
  return found == values.end() ? otherwise : parse(found->second, name, low, high);
}

double Arguments::number(std::string_view name, double otherwise, double low, double high) const {
  const auto found = values.find(name);
  return found == values.end() ? otherwise : parse(found->second, name, low, high);
}

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    throw Error(ErrorKind::kIo, "cannot write to the standard output")
        .hint("its disk may be full, or its reader gone");
}

std::string text_json(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

int64_t parse_bytes(std::string_view text, std::string_view option) {
  int64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  constexpr std::string_view kUnits = "KMGT";
  const size_t power = unit.empty() ? 0 : kUnits.find(unit[0]) + 1;
  const bool decimal = unit.size() == 2 && unit[1] == 'B';
  const bool unit_known = unit.empty() || ((unit.size() == 1 || decimal) && power > 0);
  int64_t scale = 1;
  for (size_t i = 0; unit_known && i < power; ++i) scale *= decimal ? 1000 : 1024;
  if (problem != std::errc() || !unit_known || value < 0 || value > INT64_MAX / scale)
    throw Error(ErrorKind::kConfig, cat("--", option, " = ", quote(text), " is no number of bytes"))
        .allowed("a whole number, or one with K, M, G, T (of 1024) or KB, MB, GB, TB (of 1000)");
  return value * scale;
}

}  // namespace levanter::commands
