#!/usr/bin/env bash
# Runs the commands that the pages of docs/ show, as they are printed, in a folder with the files that they
# name, made here; closes with 'N passed, N failed, N skipped': run_docs.sh [BUILD]
set -euo pipefail
. "$(dirname "$0")/common.sh"

build=$(realpath -- "${1:-$root/build}")
[ -x "$build/levanter" ] || fail "no program levanter in $build"
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir -p "$place/stage/build"
cp -r "$root/configs" "$root/scripts" "$place/stage"
cd "$place/stage"

# The program, but that trainings end after two steps.
cat >build/levanter <<END
#!/bin/sh
[ "\$1" = train ] || exec "$build/levanter" "\$@"
exec "$build/levanter" "\$@" --trainer.num_train_steps=2 --trainer.train_batch_size=2 --trainer.max_eval_batches=1
END
chmod +x build/levanter
export LEVANTER=$build/levanter PATH=$PWD/build:$PATH

# What the pages call letters.txt, logs/char, llama-3.2-1b and so on.
text=$place/text.txt
cat "$root"/docs/*.md >"$text"
scripts/make_data.sh "$text" >/dev/null
cp "$text" letters.txt
gzip -k letters.txt
cp -r data/model llama-3.2-1b
cp -r data/model qwen3-0.6b
cp configs/data/chatml.jinja qwen3-0.6b/chat_template.jinja
cp -r data/tokenizer my-gpt2
sed 's/^{/{"lang": "en", /' data/documents-valid.jsonl | tee web.jsonl books.jsonl >novels.jsonl
echo '{"prompt": "In the beginning"}' >prompts.jsonl
cat >run.toml <<'END'
[model]
type = "from_hf"
path = "llama-3.2-1b"
[data]
cache_dir = "cache"
[data.components.text]
train = ["letters.txt"]
validation_fraction = 0.1
END
for id in char mine shakespeare_char; do
  levanter train --config configs/nano/char.toml --data.components.text.train=letters.txt \
    --trainer.id="$id" >/dev/null 2>&1
done

passed=0
failed=0
skipped=0
while IFS=: read -r page command; do
  case $command in
    *gpt2_124m* | *llama_1b_gpu* | scripts/* | *15496* | *bundles/step-501* | *device=cuda* | *--ask*)
      # takes minutes, is run by itself, has GPT-2's own ids, a step that went wrong, or needs cards or a run that is under way
      skipped=$((skipped + 1))
      continue
      ;;
    jq*) command -v jq >/dev/null || {
      skipped=$((skipped + 1))
      continue
    } ;;
  esac
  rm -rf cache  # each stands for itself
  if (set -o pipefail && eval "$command") >"$place/log" 2>&1 </dev/null; then
    passed=$((passed + 1))
  else
    say "$page: $command: ended with status $?"
    cat "$place/log"
    failed=$((failed + 1))
  fi
done < <(awk '
  FNR == 1 { block = 0 }
  /^```/ { block = !block; next }
  !block { next }
  sub(/^\$ /, "") || /^(build\/levanter|levanter|echo|zcat|jq|scripts\/) ?/ {
    command = $0
    while (command ~ /\\$/ && (getline line) > 0) { sub(/\\$/, "", command); command = command line }
    print FILENAME ":" command
  }' "$root"/docs/*.md)
[ $((passed + failed)) -gt 0 ] || fail "the pages show no commands"

printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
