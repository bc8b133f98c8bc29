#!/usr/bin/env bash
# Builds the fuzz targets of tests/fuzz with clang's libFuzzer and runs each for a number of seconds
# (300 by default): scripts/fuzz.sh [SECONDS [TARGET...]]
set -euo pipefail
. "$(dirname "$0")/common.sh"
cd "$root"

seconds=${1:-300}
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || targets=(template json_lines tokenizer safetensors)
install_packages build fuzz

# What the targets need of the program.
sources=(src/axes/dtype.cpp src/base/*.cpp src/config/*.cpp
  src/compat/{hf_config,hf_folder,safetensors}.cpp
  src/data/files/{decompress,file_kind,json_fields,pipes,source}.cpp src/json/*.cpp src/net/http.cpp src/text/{chat_template,hf,tokenizer,utf8}.cpp
  src/text/{hf,jinja}/*.cpp)
export FLAGS="-std=c++20 -gline-tables-only -O1 -Isrc -I. -fsanitize=address,undefined,fuzzer-no-link
  -fno-sanitize-recover=undefined"

# seed_safetensors FOLDER: small files of each element type, and an index.
seed_safetensors() {
  local type size header
  for type in F16:2 BF16:2 F32:4 F64:8 I64:8; do
    size=$((6 * ${type#*:}))
    header="{\"a.weight\":{\"dtype\":\"${type%:*}\",\"shape\":[2,3],\"data_offsets\":[0,$size]}}"
    {
      # shellcheck disable=SC2059
      printf "\\x$(printf %x ${#header})\\0\\0\\0\\0\\0\\0\\0"
      printf %s "$header"
      head -c "$size" /dev/urandom
    } >"$1/seed-${type%:*}"
  done
  printf '{"weight_map":{"a.weight":"a.safetensors"}}' >"$1/seed-index"
}

folder=build-fuzz
mkdir -p "$folder"
say "building the fuzz targets in $folder"
objects=()
stale=()
for source in "${sources[@]}"; do
  object=$folder/$(tr / _ <<<"${source%.cpp}").o
  objects+=("$object")
  if [ ! -e "$object" ] || [ -n "$(find "$source" src -newer "$object" \( -path "$source" -o -name '*.h' \))" ]; then
    stale+=("$source" "$object")
  fi
done
# shellcheck disable=SC2016
[ ${#stale[@]} -eq 0 ] || printf '%s\0' "${stale[@]}" |
  xargs -0 -n 2 -P "$(nproc)" sh -c 'exec clang++-14 $FLAGS -c "$0" -o "$1"'

rm -f "$folder/program.a"
ar rcs "$folder/program.a" "${objects[@]}"

for target in "${targets[@]}"; do
  # shellcheck disable=SC2086
  clang++-14 $FLAGS -fsanitize=fuzzer "tests/fuzz/${target}_fuzz.cpp" "$folder/program.a" \
    -ltomlplusplus -lsimdjson -lutf8proc -lpcre2-8 -lxxhash -lzstd -lz -o "$folder/${target}_fuzz"
  mkdir -p "$folder/corpus-$target"
  # Seeds: the small templates of the golden file, or lines of it.
  if [ -z "$(ls -A "$folder/corpus-$target")" ]; then
    golden=jinja
    [ "$target" != tokenizer ] || golden=hf_cases
    if [ "$target" = safetensors ]; then
      seed_safetensors "$folder/corpus-$target"
      golden=hf_models
    fi
    split -l 1 -a 4 tests/golden/$golden.jsonl "$folder/corpus-$target/seed-"
    if [ "$target" = safetensors ]; then
      sed -i -E 's/^.*"config": (\{.*\}), "loss".*/\1/' "$folder/corpus-$target"/seed-*
    fi
    if [ "$target" = tokenizer ]; then
      sed -i -E 's/^\{"name": .*, "tokenizer": (.*), "cases": .*/\1/' "$folder/corpus-tokenizer"/seed-*
      # Small vocabularies alone: what a target is given has a limit.
      find "$folder/corpus-tokenizer" -size +4k -delete
    fi
    if [ "$target" = template ]; then
      sed -i -E 's/^\{"template": "(.*)", "(text|fails)": .*/\1/; s/\\"/"/g; s/\\n/ /g' \
        "$folder/corpus-$target"/seed-*
    fi
  fi
  say "fuzzing $target for $seconds seconds"
  "$folder/${target}_fuzz" -max_total_time="$seconds" -timeout=30 -rss_limit_mb=4096 -max_len=4096 \
    -print_final_stats=1 -artifact_prefix="$folder/$target-" "$folder/corpus-$target" \
    > "$folder/$target.log" 2>&1 || {
    tail -40 "$folder/$target.log" >&2
    fail "the target $target failed; what it was given is in $folder"
  }
  grep -E '^stat::number_of_executed_units' "$folder/$target.log" >&2
done
echo "fuzz: ${#targets[@]} targets, 0 faults"
