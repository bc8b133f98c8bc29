#!/usr/bin/env bash
# Trains a config with every optimizer at three learning rates, and prints for each its best loss
# over the validation text, the rate that gave it, and the milliseconds of a step:
#   scripts/compare_optimizers.sh CONFIG FOLDER --data.components.text.train=FILE [OVERRIDE ...]
# LEVANTER names the program. It may be stopped and started again: runs that FOLDER has already are
# not trained again, nor those that diverged. The config is taken without betas, which not all
# optimizers have, from FOLDER, so that its texts are to be named.
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
soap 1e-3 3e-3 1e-2
schedule_free 3e-3 1e-2 3e-2'

mkdir -p "$folder"
sed '/^beta[0-9]/d' "$config" >"$folder/config.toml"

# number KEY FILE: the number of a key in a JSON file.
number() {
  grep -o "\"$1\": *[-+.0-9eE]*" "$2" | head -1 | sed 's/.*: *//'
}

# ms_a_step METRICS: the mean of the second half, since some optimizers do more at some steps.
ms_a_step() {
  grep -o '"throughput/duration": *[-+.0-9eE]*' "$1" | sed 's/.*: *//' |
    awk '{ t[NR] = $1 }
      END { for (i = int(NR / 2) + 1; i <= NR; ++i) sum += t[i]
            printf "%.1f", 1000 * sum / (NR - int(NR / 2)) }'
}

# finished ID: whether that run went to its end.
finished() {
  [ "$(grep -o '"outcome": *"[a-z]*"' "$folder/$1/run.json" 2>/dev/null | tail -1 | cut -d'"' -f4)" = finished ]
}

# train NAME RATE ID OVERRIDE ...: its summary is there afterwards, or the mark of a divergence.
diverged=7 # the exit code of a loss that is not finite
train() {
  local name=$1 rate=$2 id=$3 code=0
  shift 3
  ! finished "$id" && [ ! -e "$folder/$id.diverged" ] || return 0
  "$levanter" train --config "$folder/config.toml" --trainer.log_dir="$folder" --trainer.id="$id" \
    --trainer.tracker='["jsonl"]' --optimizer.type="$name" --optimizer.learning_rate="$rate" \
    "$@" >/dev/null || code=$?
  [ $code -ne $diverged ] || touch "$folder/$id.diverged"
  [ $code -eq 0 ] || [ $code -eq $diverged ] || fail "$id ended with code $code"
}

echo '| optimizer | learning rate | loss | ms a step |'
echo '|---|---|---|---|'
while read -r name some; do
  best=
  for rate in $some; do
    id=$name-$rate
    train "$name" "$rate" "$id" "$@" </dev/null
    finished "$id" || continue
    loss=$(number eval/loss "$folder/$id/summary.json") ||
      fail "$id has no eval/loss: the config needs a validation_fraction"
    if [ -z "$best" ] || awk "BEGIN { exit !($loss < ${best%% *}) }"; then
      best="$loss $rate $(ms_a_step "$folder/$id/metrics.jsonl")"
    fi
  done
  [ -n "$best" ] || continue
  read -r loss rate ms <<<"$best"
  LC_ALL=C printf '| `%s` | %s | %.4f | %s |\n' "$name" "$rate" "$loss" "$ms"
done <<<"$rates"
