#!/usr/bin/env bash
# Opens reports in a headless Chromium (Debian's chromium-headless-shell or chromium): the charts are drawn,
# nothing is said on the console, the pointer and the arrow keys show values.
#   scripts/check_report.sh logs/char/report.html [FILE ...] [--pictures DIR]
set -euo pipefail
. "$(dirname "$0")/common.sh"

browser=$(command -v chromium-headless-shell || command -v chromium || true)
[ -n "$browser" ] || fail "no Chromium is here: apt-get install chromium-headless-shell"

pages=()
pictures=
while [ $# -gt 0 ]; do
  case $1 in
    --pictures) pictures=$2 && shift ;;
    *) pages+=("$1") ;;
  esac
  shift
done
[ ${#pages[@]} -gt 0 ] || fail "name a report: scripts/check_report.sh logs/char/report.html"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# browse FLAG... URL
browse() {
  timeout 60 "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars \
    --user-data-dir="$scratch/profile" --window-size=1280,2000 --enable-logging=stderr "$@"
}

# What a person would do, written down in the page's own attributes.
probe='<script>
addEventListener("load", () => {
  const body = document.body.dataset, svg = document.querySelector("figure svg");
  const output = document.querySelector("output"), box = svg.getBoundingClientRect();
  const count = selector => document.querySelectorAll(selector).length;
  const key = name => svg.dispatchEvent(new KeyboardEvent("keydown", {key: name}));
  body.charts = count("figure svg");
  body.lines = count("figure svg path");
  svg.dispatchEvent(new PointerEvent("pointermove",
    {clientX: box.left + box.width / 2, clientY: box.top + 50}));
  body.pointed = output.textContent;
  key("Home");
  body.first = output.textContent;
  key("ArrowRight");
  body.second = output.textContent;
  key("+");
  body.zoomed = svg.textContent;
  key("0");
  body.outside = performance.getEntriesByType("resource").length;
  body.loaded = Math.round(performance.getEntriesByType("navigation")[0].domComplete);
});
addEventListener("error", event => { document.body.dataset.error = event.message; });
</script>'

failed=0
for page in "${pages[@]}"; do
  copy=$scratch/page.html
  cat "$page" - <<<"$probe" >"$copy"
  browse --dump-dom "file://$copy" >"$scratch/dom" 2>"$scratch/log"
  value() { sed -n "s/.*<body[^>]* data-$1=\"\([^\"]*\)\".*/\1/p" "$scratch/dom" | head -n 1; }
  faults=()
  [ "$(value ready)" = yes ] || faults+=("the script did not come to its end")
  [ -z "$(value error)" ] || faults+=("$(value error)")
  [ "$(value charts)" -gt 0 ] && [ "$(value lines)" -gt 0 ] || faults+=("no chart is drawn")
  case $(value pointed) in *step*[0-9]*) ;; *) faults+=("the pointer shows no value") ;; esac
  [ -n "$(value first)" ] && [ "$(value first)" != "$(value second)" ] || faults+=("keys show no values")
  [ "$(value outside)" = 0 ] || faults+=("it reaches for $(value outside) other files")
  ! grep -q CONSOLE "$scratch/log" || faults+=("$(grep CONSOLE "$scratch/log" | head -n 1)")
  bytes=$(wc -c <"$page")
  say "$page: $bytes bytes, $(value charts) charts, loaded in $(value loaded) ms; pointed at: $(value pointed)"
  for fault in "${faults[@]}"; do
    say "  FAILED: $fault"
    failed=1
  done
  [ -n "$pictures" ] || continue
  mkdir -p "$pictures"
  name=$pictures/$(basename "$(dirname "$page")")-$(basename "$page" .html)
  browse --screenshot="$name.png" "file://$(realpath "$page")" 2>/dev/null
  browse --blink-settings=preferredColorScheme=0 --screenshot="$name-dark.png" "file://$(realpath "$page")" 2>/dev/null
  browse --print-to-pdf="$name.pdf" --no-pdf-header-footer "file://$(realpath "$page")" 2>/dev/null
done
exit $failed
