#!/usr/bin/env bash
# Makes data/, which the configs train on: make_data.sh [text file]; without one, from the King James
# Bible. The same text gives the same files. LEVANTER names a program that is built already.
set -euo pipefail
. "$(dirname "$0")/common.sh"

[ $# -le 1 ] || fail "one text file at most: $0 [text file]"
[ $# -eq 0 ] || [ -f "$1" ] || fail "no such file: $1"
data=$root/data
fresh=$data/new # what is being made; its files take their places when all are there
levanter=${LEVANTER:-$root/build/levanter}
[ $# -eq 1 ] || install_packages quickstart
[ -n "${LEVANTER:-}" ] || "$root/scripts/build.sh"

rm -rf "$fresh"
mkdir -p "$fresh"
trap 'rm -rf "$fresh"' EXIT
if [ $# -eq 1 ]; then
  zcat -f -- "$1" >"$fresh/text.txt"
else
  king_james "$fresh/text.txt"
fi
if cmp -s "$fresh/text.txt" "$data/text.txt" && [ -d "$data/model" ]; then
  say "$data is made of this text already"
  exit
fi

# Numbers in words, for sums and for what chats ask.
numbers='
  function word(n, ones, tens) {
    split("one two three four five six seven eight nine ten eleven twelve thirteen fourteen " \
      "fifteen sixteen seventeen eighteen nineteen", ones, " ")
    split("twenty thirty forty fifty sixty seventy eighty ninety", tens, " ")
    if (n >= 100) return "one hundred" (n > 100 ? " and " word(n - 100) : "")
    if (n < 20) return ones[n]
    return tens[int(n / 10) - 1] (n % 10 ? "-" ones[n % 10] : "")
  }
  # The i-th of the 9,801 pairs of numbers below 100, each once, in a mixed order.
  function draw(i, place) {
    place = i * 4349 % 9801
    a = int(place / 99) + 1
    b = place % 99 + 1
  }
  function said() { return word(a) " and " word(b) " are " word(a + b) "." }'
awk "$numbers"'BEGIN { for (i = 0; i < 9801; ++i) { draw(i); print said() } }' >"$fresh/sums.txt"

# Eight lines that follow one another are a document, its first line the title; six of them a chat.
# One in twenty documents is for validation, the others take turns in two files.
awk -v folder="$fresh" "$numbers"'
  function escaped(text) {
    gsub(/[\001-\037\177]/, " ", text)
    gsub(/\\/, "&&", text)
    gsub(/"/, "\\\"", text)
    return text
  }
  function json(text) { return "\"" escaped(text) "\"" }
  function says(role, text) {
    return "{\"role\": \"" role "\", \"content\": " json(text) "}"
  }
  function close_document(i, text, file, chat) {
    for (i = 2; i <= lines; ++i) text = text (i > 2 ? "\\n" : "") escaped(line[i])
    file = documents % 20 == 19 ? "valid" : "train-" documents % 2
    print "{\"title\": " json(line[1]) ", \"text\": \"" text "\"}" >(folder "/documents-" file ".jsonl")
    draw(documents % 9801)
    chat = says("user", "How does it go on? " line[1]) ", " says("assistant", line[2])
    chat = chat ", " says("user", "What are " word(a) " and " word(b) "?") ", " says("assistant", said())
    chat = chat ", " says("user", "And after this? " line[7]) ", " says("assistant", line[8])
    print "{\"messages\": [" chat "]}" >(folder "/chats.jsonl")
    # How a document goes on is preferred to the same words shouted.
    if (toupper(line[2]) != line[2])
      print "{\"prompt\": " json(line[1] " ") ", \"chosen\": " json(line[2]) ", \"rejected\": " \
        json(toupper(line[2])) "}" >(folder "/preferences.jsonl")
    ++documents
    lines = 0
  }
  NF { line[++lines] = $0 }
  lines == 8 { close_document() }
  END { exit documents < 40 }' "$fresh/text.txt" ||
  fail "the text is too short: 320 lines at least"
gzip -n9 "$fresh"/documents-train-?.jsonl

"$levanter" tokenizer train "$fresh/text.txt" "$fresh/sums.txt" --vocab-size 2048 \
  --eos '<|endoftext|>' --out "$fresh/tokenizer"
"$levanter" train --config "$root/configs/tiny/llama.toml" --model.max_seq_len=512 \
  --model.rope=default --data.tokenizer.type=hf --data.tokenizer.path="$fresh/tokenizer" \
  --data.components.text.train="$fresh/documents-train-*.jsonl.gz" \
  --trainer.num_train_steps=100 --trainer.train_batch_size=4 --trainer.max_eval_batches=1 \
  --trainer.log_dir="$fresh" --trainer.id=run
"$levanter" export --checkpoint "$fresh/run" --out "$fresh/model"

rm -rf "$fresh/run" "$data/tokenizer" "$data/model"
mv -f "$fresh"/* "$data"
say "made $data"
