#!/usr/bin/env bash
# Shows that one run ends with one params_hash, however it is computed: bitwise.sh [--short] [--seed N].
# Trains the same small model on several numbers of ranks, as threads and as processes of mpirun, with
# each shard, numbers of threads, policies of recomputation and formats, and once more through kills
# and stops from one number of processes to the next. Closes with a table and 'N passed, N failed'.
set -euo pipefail
. "$(dirname "$0")/common.sh"

short=false
seed=1
while [ $# -gt 0 ]; do
  case $1 in
    --short) short=true ;;
    --seed)
      [ $# -gt 1 ] || fail "--seed needs a number"
      seed=$2
      shift
      ;;
    *) fail "no option $1; bitwise.sh [--short] [--seed N]" ;;
  esac
  shift
done
RANDOM=$seed

program=$root/build/levanter
[ -x "$program" ] || fail "no $program: scripts/build.sh makes it"
folder=$(cd "$(mktemp -d)" && pwd -P)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

made_up_text "$seed" >text.txt
cat >run.toml <<'TOML'
[model]
max_seq_len = 32
hidden_dim = 32
num_layers = 3
num_heads = 4
[data]
tokenizer = { type = "char" }
[data.components.text]
train = ["text.txt"]
validation_fraction = 0.1
[trainer]
num_train_steps = 400
train_batch_size = 16
microbatch_size = 1
steps_per_eval = 100
threads = 1
tracker = ["jsonl"]
checkpointer = { save_interval = "1s", keep = [{ every = 20, until = 200 }] }
TOML

mpi=false
if command -v mpirun >/dev/null && [ -e "$root/build/levanter_mpi.so" ]; then mpi=true; fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# start RANKS WORD...: trains; more than one rank are processes, "tN" are threads.
start() {
  local ranks=$1
  shift
  case $ranks in
    1) "$program" train --config run.toml "$@" ;;
    t*) "$program" train --config run.toml --trainer.communicator=threads --trainer.ranks="${ranks#t}" "$@" ;;
    *) mpirun --oversubscribe -np "$ranks" "$program" train --config run.toml "$@" ;;
  esac
}

passed=0
failed=0
# compare NAME EXPECTED ID: counts a run and prints its row.
compare() {
  local got
  got=$(params_hash_of "logs/$3")
  if [ -n "$2" ] && [ "$got" = "$2" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
  printf '%-56s %s\n' "$1" "${got:-no result}"
}

# hit SIGNAL: sends it to one of the processes that train here.
hit() {
  local process
  for process in $(pgrep -x levanter | shuf); do
    [ "$(readlink "/proc/$process/cwd")" = "$folder" ] || continue
    kill "-$1" "$process"
    return
  done
}

# travel ID FORMAT: from one number of processes to the next through kills and stops, which are
# counted as `disturbed`.
travel() {
  local id=$1 format=$2 ranks signal
  disturbed=0
  for ranks in 1 4 2 3; do
    start "$ranks" --trainer.id="$id" --trainer.mp="$format" >/dev/null 2>&1 &
    local launched=$!
    sleep "0.$((RANDOM % 6 + 3))"
    signal=$([ $((RANDOM % 2)) -eq 0 ] && echo KILL || echo USR1)
    hit "$signal"
    wait "$launched" 2>/dev/null || disturbed=$((disturbed + 1))
  done
  start 3 --trainer.id="$id" --trainer.mp="$format" >/dev/null 2>&1 || true
  [ "$disturbed" -gt 0 ] || rm -f "logs/$id/summary.json"  # nothing was shown
}

formats=(f32 p=f32,c=bf16)

crowds=(t3 2 3)
threads=(1)
remats=(none)
if ! $short; then
  crowds=(t2 t3 t5 2 3 4 5 8)
  threads=(1 2)
  remats=(none full "nested(2)")
fi
number=0
for format in "${formats[@]}"; do
  one=one-${#format}
  start 1 --trainer.id="$one" --trainer.mp="$format" >/dev/null 2>&1
  expected=$(params_hash_of "logs/$one")
  compare "$format, one rank, one thread" "$expected" "$one"
  for remat in "${remats[@]}"; do
    for count in "${threads[@]}"; do
      for ranks in "${crowds[@]}"; do
        if ! $mpi && [ "${ranks#t}" = "$ranks" ]; then continue; fi
        for shard in none optimizer parameters; do
          number=$((number + 1))
          start "$ranks" --trainer.id="n$number" --trainer.mp="$format" --trainer.threads="$count" \
            --trainer.shard="$shard" --model.gradient_checkpointing="$remat" >"out.$number" 2>&1 ||
            tail -n 3 "out.$number" >&2
          compare "$format, ranks $ranks, threads $count, shard $shard, remat $remat" "$expected" "n$number"
        done
      done
    done
  done
  if $mpi; then
    travel "travel-${#format}" "$format"
    compare "$format, 1, 4, 2, 3 processes, $disturbed killed or stopped" "$expected" "travel-${#format}"
  fi
done
$mpi || say "note: no MPI here (scripts/packages.txt, group mpi); ranks were threads alone"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
