// The losses of a run as one line of characters.
#include "trackers/sparkline.h"

#include <catch2/catch.hpp>
#include <limits>

using levanter::trackers::Sparkline;

TEST_CASE("a sparkline has a character for each share of the steps, from lowest to highest",
          "[trackers]") {
  Sparkline line(80);
  CHECK(line.draw(4) == "    ");
  for (int64_t step = 1; step <= 80; ++step) line.add(step, 80 - static_cast<double>(step));
  CHECK(line.draw(8) == "█▇▆▅▄▃▂▁");
  CHECK(line.draw(2) == "█▁");
  CHECK(line.draw(0).empty());
  CHECK(line.draw(-3).empty());
}

TEST_CASE("a sparkline is blank where steps are to come and dotted where none told its loss",
          "[trackers]") {
  Sparkline line(100);
  line.add(51, 2);  // goes on from step 50
  line.add(60, std::numeric_limits<double>::quiet_NaN());
  line.add(61, 4);
  CHECK(line.draw(10) == "·····▁█   ");
  line.add(0, 1);
  line.add(101, 1);  // no steps of the run
  CHECK(line.draw(10) == "·····▁█···");
}

TEST_CASE("a sparkline of equal losses is flat", "[trackers]") {
  Sparkline line(4);
  for (int64_t step = 1; step <= 4; ++step) line.add(step, 3);
  CHECK(line.draw(4) == "▁▁▁▁");
}
