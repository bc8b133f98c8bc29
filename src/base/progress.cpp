// Words for how far something has come.
#include "base/progress.h"

#include <cmath>
#include <string_view>

#include "base/strings.h"

namespace levanter {

std::string ProgressText::at(double seconds, const Progress& p) {
  if (what_ != p.what || p.done < done_ || seconds < begun_at_) {
    what_ = p.what;
    begun_at_ = seconds;
    begun_ = p.done;
  }
  done_ = p.done;
  const std::string text = cat(p.what, " ", std::floor(100 * p.fraction()), "%");
  const double rate = (p.done - begun_) / (seconds - begun_at_);
  if (!(rate > 0) || !std::isfinite(rate)) return text;
  const auto whole = static_cast<int64_t>(std::llround(rate));
  if (std::string_view(p.unit) == "B") return cat(text, ", ", format_bytes(whole), "/s");
  return cat(text, ", ", format_count(whole), " ", p.unit, "s/s");
}

}  // namespace levanter
