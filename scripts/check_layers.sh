#!/usr/bin/env bash
# Checks that a folder includes only folders above it in the list of layers; see docs/architecture.md.
set -euo pipefail
cd "$(dirname "$0")/.."

# Top to bottom; on one line of docs/architecture.md the left one stands above the right one.
layers="base json net config axes graph ops device passes runtime kernels dist nn optim text data
  record trackers compat models infer checkpoint report train commands main"

find src kernels -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.inc' -o -name '*.cu' \
  -o -name '*.cuh' \) | LC_ALL=C sort | xargs -r -d '\n' awk -v layers="$layers" '
  # The layer that a path belongs to: kernels/..., src/main.cpp, or src/<layer>/...
  function layer_of(path, parts, count) {
    count = split(path, parts, "/")
    if (parts[1] == "kernels") return "kernels"
    if (count == 2) return parts[2] ~ /^main\./ ? "main" : parts[2]
    return parts[2]
  }
  function fault(message) {
    printf "%s:%d: %s\n", FILENAME, FNR, message
    ++faults
  }
  BEGIN {
    count = split(layers, names)
    for (i = 1; i <= count; ++i) rank[names[i]] = i
  }
  FNR == 1 {
    ++files
    here = layer_of(FILENAME)
    if (!(here in rank)) fault("the folder " here " has no place in the list of layers")
  }
  /^[ \t]*#[ \t]*include[ \t]*"/ {
    ++includes
    split($0, quoted, "\"")
    path = quoted[2]
    if (path ~ /^\.\.?\//) {
      fault("include \"" path "\" is relative; write it from src/ or from the root")
      next
    }
    there = path
    if (!sub(/\/.*/, "", there)) {
      fault("include \"" path "\" names no folder; write it from src/ or from the root")
    } else if (!(there in rank)) {
      fault("include \"" path "\": the folder " there " has no place in the list of layers")
    } else if ((here in rank) && rank[there] > rank[here]) {
      fault(here " must not include " there " (\"" path "\"): it stands below")
    }
  }
  END {
    printf "layers: %d files, %d includes, %d faults\n", files, includes, faults
    exit faults > 0 || files == 0
  }'
