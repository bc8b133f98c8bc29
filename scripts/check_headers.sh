#!/usr/bin/env bash
# Checks that headers compile alone: check_headers.sh [header ...]; without arguments, all but those
# of the program whose source includes them before anything else, which the build has shown.
set -euo pipefail
. "$(dirname "$0")/common.sh"
cd "$root"

# The headers of the standard input that no source of the program begins with.
to_check() {
  local header source first
  while read -r header; do
    source=${header%.h}.cpp
    first=$(sed -n '/^#include/ { p; q }' "$source" 2>/dev/null || true)
    [[ $header != tests/* && $first == "#include \"${header#src/}\"" ]] || echo "$header"
  done
}

if [ $# -gt 0 ]; then
  headers=("$@")
else
  mapfile -t headers < <(find src kernels tests -name '*.h' -type f | LC_ALL=C sort | to_check)
fi
[ ${#headers[@]} -gt 0 ] || fail "no headers"

# Optimisation 0 and no code: only what the header needs itself is read. The vector kernels' headers ask
# for the level of the instruction set that they are built for.
check_one() {
  echo "#include \"$1\"" | "${CXX:-g++}" -std=c++20 -fsyntax-only -Wall -Wextra -Werror \
    -DLEVANTER_ISA=v3 -march=x86-64-v3 \
    -I. -Isrc -Itests -x c++ - || { echo "$1 does not compile alone" >&2 && return 1; }
}
export -f check_one

printf '%s\n' "${headers[@]}" | xargs -P "$(nproc)" -I{} bash -c 'check_one "$1"' - {} ||
  fail "a header needs an include of its own"
echo "headers: ${#headers[@]} compile alone"
