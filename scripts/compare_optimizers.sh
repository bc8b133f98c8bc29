#!/usr/bin/env bash
# Trains a config with every optimizer at three learning rates, and prints for each its best loss
# over the validation text, the rate that gave it, and the milliseconds of a step:
#   scripts/compare_optimizers.sh CONFIG FOLDER --data.components.text.train=FILE [OVERRIDE ...]
# LEVANTER names the program; runs that FOLDER has already are not trained again. The config is taken
# without betas, which not all optimizers have, from FOLDER, so that its texts are to be named.
set -euo pipefail
. "$(dirname "$0")/common.sh"

[ $# -ge 2 ] || fail "usage: $0 CONFIG FOLDER [OVERRIDE ...]"
config=$1
folder=$2
shift 2
levanter=${LEVANTER:-$root/build/levanter}

# A type, and its rates.
rates='adam 1e-3 3e-3 1e-2
lion 1e-4 3e-4 1e-3
adopt 1e-3 3e-3 1e-2
ademamix 3e-4 1e-3 3e-3
mars 1e-3 3e-3 1e-2
adafactor 1e-2 3e-2 1e-1
muon 1e-2 2e-2 5e-2
scion 1e-2 3e-2 1e-1
sophia 1e-4 3e-4 1e-3
kron 3e-4 1e-3 3e-3
schedule_free 3e-3 1e-2 3e-2'

mkdir -p "$folder"
sed '/^beta[0-9]/d' "$config" >"$folder/config.toml"

# number KEY FILE: the number of a key in a JSON file.
number() {
  grep -o "\"$1\": *[-+.0-9eE]*" "$2" | head -1 | sed 's/.*: *//'
}

printf '%-14s %8s %8s %8s\n' optimizer rate loss 'ms/step'
while read -r name some; do
  best=
  for rate in $some; do
    id=$name-$rate
    summary=$folder/$id/summary.json
    if [ ! -s "$summary" ]; then
      "$levanter" train --config "$folder/config.toml" --trainer.log_dir="$folder" --trainer.id="$id" \
        --trainer.tracker='["jsonl"]' --optimizer.type="$name" --optimizer.learning_rate="$rate" \
        "$@" >/dev/null || { say "$id failed"; continue; }
    fi
    loss=$(number eval/loss "$summary")
    # The median step of the second half.
    ms=$(grep -o '"throughput/duration": *[-+.0-9eE]*' "$folder/$id/metrics.jsonl" |
      sed 's/.*: *//' | awk '{ t[NR] = $1 } END { for (i = int(NR / 2) + 1; i <= NR; ++i) print t[i] * 1000 }' |
      LC_ALL=C sort -g | awk '{ t[NR] = $1 } END { printf "%.1f", t[int((NR + 1) / 2)] }')
    if [ -z "$best" ] || awk "BEGIN { exit !($loss < ${best%% *}) }"; then
      best="$loss $rate $ms"
    fi
  done
  [ -n "$best" ] || continue
  read -r loss rate ms <<<"$best"
  printf '%-14s %8s %8.4f %8s\n' "$name" "$rate" "$loss" "$ms"
done <<<"$rates"
