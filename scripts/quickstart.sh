#!/usr/bin/env bash
# Trains a small model on a text and shows what it learned: quickstart.sh [text file]
set -euo pipefail
. "$(dirname "$0")/common.sh"

# toml_string TEXT: TEXT as a TOML basic string.
toml_string() {
  local text=$1
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//$'\t'/\\t}
  text=${text//$'\n'/\\n}
  printf '"%s"' "$text"
}

# summary_value KEY: the number that the run's flat summary.json holds under KEY.
summary_value() {
  sed -n 's|.*"'"$1"'"[[:space:]]*:[[:space:]]*\([-+.0-9eE]*\).*|\1|p' "$run/summary.json"
}

[ $# -le 1 ] || fail "one text file at most: $0 [text file]"
if [ $# -eq 1 ]; then
  [ -e "$1" ] || fail "no such file: $1"
  [ -f "$1" ] || fail "not a file: $1"
  [ -r "$1" ] || fail "not readable: $1"
  [ -s "$1" ] || fail "empty file: $1"
  text=$(realpath -- "$1")
fi

[ $# -eq 1 ] || install_packages build quickstart
"$root/scripts/build.sh"
if [ $# -eq 0 ]; then
  text=$root/build-quickstart/king_james.txt
  king_james "$text"
fi

levanter=$root/build/levanter
config=$root/configs/nano/char.toml
# One run for each text and recipe: the same again shows the same result, another one starts afresh.
id=quickstart-$(cat "$config" "$text" | sha256sum | cut -c1-12)
run=$root/logs/$id

"$levanter" train --config "$config" \
  --data.components.text.train="[$(toml_string "$text")]" \
  --trainer.log_dir="$root/logs" --trainer.id="$id"

loss=$(summary_value eval/loss)
[ -n "$loss" ] || fail "no validation loss in $run/summary.json"
printf '\ntext             %s\n' "$text"
printf 'run              %s\n' "$run"
awk -v loss="$loss" 'BEGIN {
  printf "validation loss  %.4f nats per character (%.4f bits)\n", loss, loss / log(2)
}'
printf '\nA sample:\n\n'
"$levanter" generate --checkpoint "$run" --max-new-tokens 300 --seed 0
printf '\n'
