// Words for how far something has come.
#include "base/progress.h"

#include <cmath>
#include <string_view>

#include "base/strings.h"

namespace levanter {

namespace {
constexpr double kLeastRate = 0.05;     // a second: less would be shown as 0.0
constexpr double kRateOfWholes = 9.95;  // what is less is shown with a digit
}  // namespace

std::string ProgressText::at(double seconds, const Progress& p) {
  if (what_ != p.what || piece_ != p.piece || p.done < done_ || seconds < begun_at_) {
    what_ = p.what;
    piece_ = p.piece;
    begun_at_ = seconds;
    begun_ = p.done;
  }
  done_ = p.done;
  const std::string text = cat(p.what, " ", std::floor(100 * p.fraction()), "%");
  const double rate = (p.done - begun_) / (seconds - begun_at_);
  if (!(rate >= kLeastRate) || !std::isfinite(rate)) return text;
  const auto whole = static_cast<int64_t>(std::llround(rate));
  if (std::string_view(p.unit) == "B") return cat(text, ", ", format_bytes(whole), "/s");
  const bool is_low = rate < kRateOfWholes;
  return cat(text, ", ", is_low ? format_fixed(rate, 1) : format_count(whole), " ", p.unit, "s/s");
}

}  // namespace levanter
