#!/usr/bin/env bash
# Runs the tests of agreement and of equal bits once under each level of the instruction set that the
# processor has, oneDNN's and ours; closes with 'N passed, N failed, N skipped': test_isa.sh [BUILD]
set -euo pipefail
. "$(dirname "$0")/common.sh"

build=${1:-build}
# Intel's processors multiply bf16 as f32 at all levels but AMX's.
# oneDNN's level, our vector kernels' level, and what /proc/cpuinfo calls what they need.
levels='
SSE41            v2  sse4_1
AVX              v2  avx
AVX2             v3  avx2,fma,bmi2
AVX2_VNNI        v3  avx2,avx_vnni
AVX512_CORE      v4  avx512f,avx512bw,avx512cd,avx512dq,avx512vl
AVX512_CORE_VNNI v4  avx512f,avx512bw,avx512dq,avx512vl,avx512_vnni
AVX512_CORE_BF16 v4  avx512f,avx512bw,avx512dq,avx512vl,avx512_bf16
AVX512_CORE_FP16 v4  avx512f,avx512bw,avx512dq,avx512vl,avx512_fp16
AVX512_CORE_AMX  v4  avx512f,avx512bw,avx512dq,avx512vl,avx512_bf16,amx_bf16,amx_tile'
tests='[kernels]~[.],[device]~[.],[ops]~[.],[passes]~[.],[runtime]~[.],[infer]~[.]'
tests+=',*bits*~[.]~[commands]~[cuda],*validation loss does not depend*'

flags=" $(sed -n '/^flags/ { s/.*: //p; q }' /proc/cpuinfo) "
# has FLAG,FLAG...: whether the processor has all of them.
has() {
  local flag all
  IFS=, read -ra all <<<"$1"
  for flag in "${all[@]}"; do
    [[ $flags == *" $flag "* ]] || return 1
  done
}

passed=0
failed=0
skipped=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT
while read -r level vectors needs; do
  [ -n "$level" ] || continue
  if ! has "$needs"; then
    say "=== $level: skipped, this processor lacks it"
    skipped=$((skipped + 1))
    continue
  fi
  say "=== $level, $vectors"
  ONEDNN_MAX_CPU_ISA=$level LEVANTER_VECTOR_ISA=$vectors \
    "$root/scripts/run_tests.sh" "$build" "$tests" >"$output" 2>&1 || cat "$output" >&2
  tail -n 1 "$output" >&2
  read -r p _ f _ s _ < <(tail -n 1 "$output")
  passed=$((passed + p))
  failed=$((failed + f))
  skipped=$((skipped + s))
done <<<"$levels"

printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
