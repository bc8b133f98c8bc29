#!/usr/bin/env bash
# What only a card can say, in under ten minutes, most important first; ends with a table:
#   gpu_check.sh [--only STAGE] [--out FOLDER] [--text FILE] [--folder FOLDER]
# Stages: machine conformance bits ranks learn bench torch. Each has a time of its own and writes what it
# finds at once, so that a stop loses nothing. FOLDER holds levanter and levanter_tests, as
# bundle.sh makes it (default: where this script's folder is, or build/). FILE is what is learned
# (default: data/tinyshakespeare.txt). TORCH_STEP names a script that times the same steps in PyTorch.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

only=
out=gpu_check
text=$root/data/tinyshakespeare.txt
folder=$root
[ -x "$root/levanter" ] || folder=$root/build
while [ $# -gt 0 ]; do
  case $1 in
    --only) only=$2 ;;
    --out) out=$2 ;;
    --text) text=$(realpath -- "$2") ;;
    --folder) folder=$(realpath -- "$2") ;;
    *) echo "error: $1 is no option of $0" >&2 && exit 2 ;;
  esac
  shift 2 || exit 2
done
levanter=$folder/levanter
tests=$folder/levanter_tests
[ -x "$tests" ] || tests=$folder/tests/levanter_tests
[ -x "$levanter" ] || { echo "error: no program levanter in $folder" >&2 && exit 2; }
mkdir -p "$out"
out=$(realpath -- "$out")
table=$out/table.txt
: >"$table"

# CUDA's libraries, where Python's packages have them and the loader does not.
for libraries in $(python3 - 2>/dev/null <<'PYTHON'
import glob, site
for place in site.getsitepackages() + [site.getusersitepackages()]:
    print(*glob.glob(place + "/nvidia/*/lib"))
PYTHON
); do
  LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$libraries
done
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}

note() { printf '%-28s %s\n' "$1" "$2" | tee -a "$table"; }

# stage NAME SECONDS: runs the function of this name, unless another stage was asked for.
stage() {
  [ -z "$only" ] || [ "$only" = "$1" ] || return 0
  local began=$SECONDS status=0
  export -f note "do_$1" run value
  export levanter tests text out table root
  timeout --kill-after=5 "$2" bash -euo pipefail -c "do_$1" >"$out/$1.log" 2>&1 || status=$?
  case $status in
    0) note "$1" "done in $((SECONDS - began)) s" ;;
    124 | 137) note "$1" "stopped after $2 s; $out/$1.log has the rest" ;;
    *) note "$1" "FAILED with status $status: $(tail -n 1 "$out/$1.log")" ;;
  esac
}

# value KEY FILE: a number or a word of a JSON file.
value() { sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\).*/\1/p" "$2" | tail -n 1; }

# run NAME CONFIG OPTION...: a training on the card; its summary is at $out/runs/NAME.
run() {
  local name=$1 config=$2
  shift 2
  "$levanter" train --config "$root/configs/$config" --trainer.device=cuda --trainer.id="$name" \
    --trainer.log_dir="$out/runs" --data.components.text.train="$text" "$@"
}

do_machine() {
  nvidia-smi --query-gpu=name,driver_version,memory.total,memory.free --format=csv,noheader
  note "card" "$(nvidia-smi --query-gpu=name,driver_version,memory.free --format=csv,noheader)"
  note "glibc" "$(ldd --version | awk 'NR == 1 { print $NF }')"
  note "program" "$("$levanter" --version | head -n 1)"
}

do_conformance() {
  local status=0
  LEVANTER_TEST_CARD=1 LEVANTER_TEST_ROOT=$root "$tests" "[card]" || status=$?
  note "conformance" "$(grep -E 'passed|failed' "$out/conformance.log" | tail -n 1)"
  return $status
}

do_bits() {
  local nano=nano/shakespeare_char.toml first
  run bits_once $nano --trainer.num_train_steps=200 --trainer.steps_per_eval=200
  run bits_again $nano --trainer.num_train_steps=200 --trainer.steps_per_eval=200
  run bits_stopped $nano --trainer.num_train_steps=100 --trainer.steps_per_eval=200
  run bits_stopped $nano --trainer.num_train_steps=200 --trainer.steps_per_eval=200
  LEVANTER_CUDA_SYNC=1 run bits_plain $nano --trainer.num_train_steps=200 \
    --trainer.steps_per_eval=200
  first=$(value params_hash "$out/runs/bits_once/summary.json")
  [ -n "$first" ] || return 1
  note "hash of 200 steps" "$first"
  local name other
  for name in again stopped plain; do
    other=$(value params_hash "$out/runs/bits_$name/summary.json")
    [ "$other" = "$first" ] || { note "hash, $name" "DIFFERS: $other" && return 1; }
  done
  note "hash of the others" "again, stopped and resumed, not recorded: the same"
}

# A card a rank: the hash of one rank, from card to card by NCCL and through the host's memory, with
# ranks as threads and, where MPI is, as processes.
do_ranks() {
  local nano=nano/shakespeare_char.toml cards way words name hash first
  cards=$(nvidia-smi -L | wc -l)
  [ "$cards" -ge 2 ] || { note "ranks" "not checked: it takes two cards, and there is $cards" && return 0; }
  local steps=(--trainer.num_train_steps=100 --trainer.steps_per_eval=100 --trainer.gradient_groups=2
    --trainer.microbatch_size=6)
  local two=(--trainer.communicator=threads --trainer.ranks=2)
  run ranks_one $nano "${steps[@]}"
  run ranks_nccl $nano "${steps[@]}" "${two[@]}" 2>&1 | tee "$out/ranks_nccl.txt"
  grep -q "ranks exchange through NCCL" "$out/ranks_nccl.txt" ||
    { note "ranks" "FAILED: $(grep "ranks exchange through" "$out/ranks_nccl.txt")" && return 1; }
  LEVANTER_NCCL=0 run ranks_host $nano "${steps[@]}" "${two[@]}"
  local names="nccl host"
  if command -v mpirun >/dev/null && [ -f "$(dirname "$levanter")/levanter_mpi.so" ]; then
    mpirun --allow-run-as-root -np 2 "$levanter" train --config "$root/configs/$nano" \
      --trainer.device=cuda --trainer.id=ranks_mpi --trainer.log_dir="$out/runs" \
      --data.components.text.train="$text" "${steps[@]}"
    names+=" mpi"
  fi
  first=$(value params_hash "$out/runs/ranks_one/summary.json")
  [ -n "$first" ] || return 1
  for name in $names; do
    hash=$(value params_hash "$out/runs/ranks_$name/summary.json")
    [ "$hash" = "$first" ] || { note "two ranks, $name" "DIFFERS: $hash" && return 1; }
  done
  note "two ranks" "$names: one rank's hash"
  for way in 1 0; do
    LEVANTER_NCCL=$way "$levanter" train --config "$root/configs/gpt2/gpt2_124m_gpu.toml" \
      --trainer.id=ranks_124m_$way --trainer.log_dir="$out/runs" --trainer.num_train_steps=20 \
      --data.tokenizer.type=bytes --data.components.text.train="$text" "${two[@]}" \
      --trainer.tracker='["jsonl"]' || return 1
    words=$(value throughput/tokens_per_second "$out/runs/ranks_124m_$way/metrics.jsonl")
    note "124M on two cards, NCCL $way" "$words tokens/s"
  done
}

do_learn() {
  local name config began
  for name in shakespeare_char shakespeare_char_10m; do
    config=nano/$name.toml
    began=$SECONDS
    run "learn_$name" $config
    note "$name" "eval/loss $(value eval/loss "$out/runs/learn_$name/summary.json"), $((SECONDS - began)) s"
  done
}

do_bench() {
  local batch cudnn
  for batch in 64 32 8; do
    "$levanter" bench step --config "$root/configs/gpt2/gpt2_124m_gpu.toml" --json \
      --trainer.microbatch_size=$batch --trainer.train_batch_size=$batch >"$out/bench_$batch.json"
    cat "$out/bench_$batch.json"
    note "124M bf16, batch $batch" "$(value tokens_per_second "$out/bench_$batch.json") tokens/s"
  done
  "$levanter" bench step --config "$root/configs/llama/llama_1b_gpu.toml" --json --steps 5 \
    --trainer.train_batch_size=4 >"$out/bench_1b.json"
  cat "$out/bench_1b.json"
  note "1B bf16, batch 4" "$(value tokens_per_second "$out/bench_1b.json") tokens/s"
  local dense=--data.block_cross_document_attention=false  # what cuDNN's attention can do
  for cudnn in 1 0; do
    LEVANTER_CUDNN=$cudnn "$levanter" bench step --config "$root/configs/gpt2/gpt2_124m_gpu.toml" \
      --json $dense >"$out/bench_cudnn_$cudnn.json"
    cat "$out/bench_cudnn_$cudnn.json"
    note "124M, one segment, cuDNN $cudnn" \
      "$(value tokens_per_second "$out/bench_cudnn_$cudnn.json") tokens/s"
  done
  "$levanter" bench kernels --config "$root/configs/gpt2/gpt2_124m_gpu.toml" $dense
  "$levanter" bench kernels --config "$root/configs/gpt2/gpt2_124m_gpu.toml"
}

do_torch() {
  [ -f "${TORCH_STEP:-}" ] || { note "PyTorch" "not measured: TORCH_STEP names no script" && return 0; }
  python3 "$TORCH_STEP" --device cuda --compile --model gpt2-124m --batch 64 --dtype bf16
  note "PyTorch, compiled" "$(tail -n 1 "$out/torch.log")"
}

stage machine 20
stage conformance 140
stage bits 50
stage ranks 120
stage learn 150
stage bench 120
stage torch 60
echo
cat "$table"
! grep -q -e FAILED -e DIFFERS "$table"
