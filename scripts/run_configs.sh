#!/usr/bin/env bash
# Trains every config for two steps, in a copy of configs/ and scripts/ alone, on data
# that make_data.sh makes; closes with 'N passed, N failed, N skipped': run_configs.sh [BUILD]
set -euo pipefail
. "$(dirname "$0")/common.sh"

build=$(realpath -- "${1:-$root/build}")
export LEVANTER=$build/levanter
[ -x "$LEVANTER" ] || fail "no program levanter in $build"
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
copy=$place/tree
mkdir "$copy"
cp -r "$root/configs" "$root/scripts" "$copy"
cd "$copy"

# Where the Bible is not installed, the licences that every Debian has are text enough.
texts=()
if ! command -v bible >/dev/null && [ -d /usr/share/common-licenses ]; then
  cat /usr/share/common-licenses/* >"$place/licences.txt"
  texts=("$place/licences.txt")
fi
have_data=true
scripts/make_data.sh "${texts[@]}" >"$place/log" 2>&1 || {
  cat "$place/log"
  have_data=false
}

passed=0
failed=0
skipped=0
# attempt NAME COMMAND...: a command that has to end well.
attempt() {
  local name=$1
  shift
  if "$@" >"$place/log" 2>&1; then
    passed=$((passed + 1))
  else
    say "$name: $* ended with status $?"
    cat "$place/log"
    failed=$((failed + 1))
  fi
}

small=(--trainer.num_train_steps=2 --trainer.train_batch_size=2 --trainer.max_eval_batches=1)
while read -r config; do
  config=${config#./}
  name=${config#configs/}
  more=()
  case $name in
    gpt2/gpt2_124m.toml) # too long for a step that is thrown away
      attempt "$name" "$LEVANTER" plan --config "$config"
      attempt "$name" "$LEVANTER" bench step --config "$config" --steps 1 \
        --trainer.train_batch_size=1 --model.max_seq_len=32
      continue
      ;;
    # Where there may be no card; what is planned only.
    gpt2/gpt2_124m_gpu.toml | llama/llama_1b_gpu.toml | llama/llama_7b.toml)
      attempt "$name" "$LEVANTER" config check --offline --config "$config"
      continue
      ;;
    gpt2/*) more=(--data.tokenizer=bytes --data.components.text.train=data/text.txt) ;;
    nano/shakespeare*) more=(--data.components.text.train=data/text.txt --model.vocab_size=256) ;;
  esac
  attempt "$name" "$LEVANTER" config check --offline --config "$config"
  if $have_data; then
    attempt "$name" "$LEVANTER" config check --config "$config" "${more[@]}"
    attempt "$name" "$LEVANTER" train --config "$config" "${small[@]}" "${more[@]}" \
      --trainer.id="$(tr / - <<<"${name%.toml}")"
  else
    say "$name: skipped, there are no data"
    skipped=$((skipped + 1))
  fi
done < <(find ./configs -name '*.toml' | LC_ALL=C sort)
[ $((passed + failed + skipped)) -gt 0 ] || fail "there are no configs"

printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
