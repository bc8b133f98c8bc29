#!/usr/bin/env bash
# What it costs a run that people look at it: pairs of runs of configs/gpt2/gpt2_15m.toml on made-up
# text, one with every tracker and all of trainer.watch every 10 steps, one with metrics.jsonl alone,
# in turn and each first as often as the other. Prints the seconds of 20 steps with their hooks, pair
# by pair, and the median of the ratios:
#   scripts/measure_watching.sh [PAIRS [OVERRIDE ...]]
# LEVANTER names the program, CONFIG another config. The machine has to be quiet.
set -euo pipefail
. "$(dirname "$0")/common.sh"

pairs=${1:-5}
[ $# -eq 0 ] || shift
levanter=${LEVANTER:-$root/build/levanter}
config=${CONFIG:-$root/configs/gpt2/gpt2_15m.toml}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
awk 'BEGIN { srand(1); for (i = 1; i <= 400000; ++i) printf "%c%s", 97 + int(rand() * 26), i % 5 ? "" : (i % 60 ? " " : "\n") }' \
  >"$folder/text.txt"

# seconds NAME OVERRIDE...: of steps 11 to 30 and the hooks after them.
seconds() {
  local id=$1
  shift
  "$levanter" train --config "$config" --data.tokenizer.type=bytes \
    --data.components.text.train="['$folder/text.txt']" --trainer.log_dir="$folder" \
    --trainer.id="$id" --trainer.num_train_steps=31 --optimizer.warmup=10 \
    --trainer.checkpointer='{ save_interval = "24h" }' "$@" >"$folder/$id.log" 2>&1 ||
    fail "$id: $(tail -5 "$folder/$id.log")"
  # The hooks after a step are in the line of the step after it.
  grep -o '"throughput/\(duration\|hook_time\)": *[-+.0-9eE]*' "$folder/$id/metrics.jsonl" |
    awk -F'[": /]+' '{ n[$3]++
      if ($3 == "duration" && n[$3] > 10 && n[$3] <= 30 || $3 == "hook_time" && n[$3] > 11) s += $4 }
      END { printf "%.4f", s }'
  rm -rf "${folder:?}/$id"
}
bare() { seconds bare --trainer.tracker='["jsonl"]' "$@"; }
watched() {
  seconds watched --trainer.tracker='["console", "csv", "jsonl", "log", "prometheus", "tensorboard", "wandb"]' \
    --trainer.watch='{ every = 10, what = ["grad_norm", "param_norm", "update_ratio", "histogram", "attention"] }' "$@"
}

printf '%-6s %10s %10s %8s\n' pair bare watched ratio
for ((pair = 1; pair <= pairs; ++pair)); do
  if ((pair % 2)); then
    a=$(bare "$@")
    b=$(watched "$@")
  else
    b=$(watched "$@")
    a=$(bare "$@")
  fi
  printf '%-6s %10s %10s %8s\n' "$pair" "$a" "$b" "$(awk "BEGIN { printf \"%.4f\", $b / $a }")"
done | tee "$folder/pairs"
awk '{ print $4 }' "$folder/pairs" | LC_ALL=C sort -g |
  awk '{ r[NR] = $1 } END { printf "median %.4f\n", (r[int((NR + 1) / 2)] + r[int((NR + 2) / 2)]) / 2 }'
