#!/usr/bin/env bash
# What it costs a run that people look at it: configs/gpt2/gpt2_15m.toml on made-up text, with every
# tracker and, at every second step, all of trainer.watch. Prints the medians of the seconds of steps
# that are watched and of those between them, the mean of the hooks, and what watching every tenth
# step adds to a step of that length:
#   scripts/measure_watching.sh [STEPS [OVERRIDE ...]]
# LEVANTER names the program, CONFIG another config. The machine has to be quiet.
set -euo pipefail
. "$(dirname "$0")/common.sh"

steps=${1:-41}
[ $# -eq 0 ] || shift
levanter=${LEVANTER:-$root/build/levanter}
config=${CONFIG:-$root/configs/gpt2/gpt2_15m.toml}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
awk 'BEGIN { srand(1); for (i = 1; i <= 400000; ++i) printf "%c%s", 97 + int(rand() * 26), i % 5 ? "" : (i % 60 ? " " : "\n") }' \
  >"$folder/text.txt"

"$levanter" train --config "$config" --data.tokenizer.type=bytes \
  --data.components.text.train="['$folder/text.txt']" --trainer.log_dir="$folder" \
  --trainer.id=watched --trainer.num_train_steps="$steps" --optimizer.warmup=10 \
  --trainer.checkpointer='{ save_interval = "24h" }' \
  --trainer.tracker='["console", "csv", "jsonl", "log", "prometheus", "tensorboard", "wandb"]' \
  --trainer.watch='{ every = 2, what = ["grad_norm", "param_norm", "update_ratio", "histogram", "attention"] }' \
  "$@" >"$folder/log" 2>&1 || fail "the run failed: $(tail -n 5 "$folder/log")"

# Of each line with a duration: step, duration, and the hooks after the step before it.
grep '"throughput/duration"' "$folder/watched/metrics.jsonl" |
  sed 's/.*"step": *\([0-9]*\).*"throughput\/duration": *\([-+.0-9eE]*\).*"throughput\/hook_time": *\([-+.0-9eE]*\).*/\1 \2 \3/' \
    >"$folder/steps"
# median REMAINDER: of the durations of steps beyond the tenth that leave this when halved.
median() {
  awk -v r="$1" '$1 > 10 && $1 % 2 == r { print $2 }' "$folder/steps" | LC_ALL=C sort -g |
    awk '{ t[NR] = $1 } END { printf "%.4f", (t[int((NR + 1) / 2)] + t[int((NR + 2) / 2)]) / 2 }'
}
hooks=$(awk '$1 > 10 { sum += $3; ++n } END { printf "%.5f", sum / n }' "$folder/steps")
LC_ALL=C awk -v watched="$(median 0)" -v other="$(median 1)" -v hooks="$hooks" 'BEGIN {
  printf "watched %.4f s, others %.4f s, hooks %.5f s\n", watched, other, hooks
  printf "every tenth step watched: %.2f %% more\n", 100 * ((watched - other) / 10 + hooks) / other }'
