#!/usr/bin/env bash
# Draws the losses of a run, or of several, as an SVG picture on the standard output:
#   scripts/loss_curve.sh logs/char > char.svg
set -euo pipefail

[ $# -ge 1 ] || { echo "usage: $0 RUN_FOLDER [RUN_FOLDER ...] > picture.svg" >&2; exit 2; }
files=()
for run in "$@"; do
  file=$run/metrics.jsonl
  [ -f "$file" ] || { echo "no such file: $file" >&2; exit 3; }
  files+=("$file")
done

LC_ALL=C awk '
  # The number of a key in the line, or "" where it has none.
  function number(key, at, rest) {
    at = index($0, "\"" key "\": ")
    if (!at) return ""
    rest = substr($0, at + length(key) + 4)
    return match(rest, /^[-+.0-9eE]+/) ? substr(rest, 1, RLENGTH) + 0 : ""
  }
  function x(step) { return left + (right - left) * step / last }
  function y(loss) { return bottom - (bottom - top) * (loss - low) / (high - low) }
  # The least of 1, 2, 5, 10, 20, ... that cuts the range into at most so many pieces.
  function pace(range, pieces, unit) {
    for (unit = 0.001; ; unit *= 10) {
      if (range / unit <= pieces) return unit
      if (range / (2 * unit) <= pieces) return 2 * unit
      if (range / (5 * unit) <= pieces) return 5 * unit
    }
  }
  # The folder that the file is in.
  function name_of(file, parts, n) { n = split(file, parts, "/"); return n > 1 ? parts[n - 1] : file }
  FNR == 1 { name[++runs] = name_of(FILENAME); gsub(/[<&]/, "", name[runs]) }
  {
    step = number("step")
    if (step == "") next
    if (step > last) last = step
    loss = number("train/loss")
    if (loss != "") { ++trained[runs]; at_step[runs, trained[runs]] = step; train[runs, trained[runs]] = loss }
    loss = number("eval/loss")
    if (loss != "") { ++scored[runs]; eval_step[runs, scored[runs]] = step; eval[runs, scored[runs]] = loss }
  }
  END {
    if (!last) { print "no losses in " FILENAME > "/dev/stderr"; exit 3 }
    width = 760; height = 400; left = 56; right = 740; top = 24; bottom = 352
    groups = 300
    split("#2563a8 #c2410c #3f7d3a #7c3aed #a16207 #0e7490", colour, " ")
    low = high = ""
    for (r = 1; r <= runs; ++r) {
      size = trained[r] / groups
      if (size < 1) size = 1
      for (i = 1; i <= trained[r]; i = end) {
        end = int((int((i - 1) / size + 1e-9) + 1) * size + 1e-9) + 1
        if (end <= i) end = i + 1
        sum = sum_steps = n = 0
        for (j = i; j < end && j <= trained[r]; ++j) { sum += train[r, j]; sum_steps += at_step[r, j]; ++n }
        ++kept[r]
        mean[r, kept[r]] = sum / n
        mean_step[r, kept[r]] = sum_steps / n
        if (low == "" || sum / n < low) low = sum / n
        if (high == "" || sum / n > high) high = sum / n
      }
      for (i = 1; i <= scored[r]; ++i) if (eval[r, i] < low) low = eval[r, i]
    }
    tick = pace(high - low > 0 ? high - low : 1, 6)
    low = int(low / tick) * tick
    high = (int(high / tick) + 1) * tick
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"13\">\n", width, height
    printf "<rect width=\"%d\" height=\"%d\" rx=\"6\" fill=\"#fff\"/>\n", width, height
    for (value = low; value <= high + tick / 2; value += tick) {
      printf "<path d=\"M%d %.1fH%d\" stroke=\"#ddd\"/>", left, y(value), right
      printf "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" fill=\"#444\">%s</text>\n", left - 8, y(value) + 4, value + 0
    }
    tick = pace(last, 8)
    if (tick < 1) tick = 1
    for (value = 0; value <= last; value += tick)
      printf "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" fill=\"#444\">%d</text>\n", x(value), bottom + 20, value
    printf "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"#444\">step</text>\n", (left + right) / 2, bottom + 40
    printf "<text x=\"%d\" y=\"16\" fill=\"#444\">loss, nats a token</text>\n", left
    for (r = 1; r <= runs; ++r) {
      c = colour[(r - 1) % 6 + 1]
      printf "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.4\" stroke-opacity=\"%s\" points=\"", c, (scored[r] ? "0.55" : "1")
      for (i = 1; i <= kept[r]; ++i) printf "%s%.1f,%.1f", (i > 1 ? " " : ""), x(mean_step[r, i]), y(mean[r, i])
      printf "\"/>\n"
      for (i = 1; i <= scored[r]; ++i)
        if (eval[r, i] <= high) printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", x(eval_step[r, i]), y(eval[r, i]), c
      printf "<text x=\"%d\" y=\"%d\" text-anchor=\"end\" fill=\"%s\">%s: line training%s</text>\n", right - 8, top + 18 * r, c, name[r], (scored[r] ? ", dots validation" : "")
    }
    print "</svg>"
  }
' "${files[@]}"
