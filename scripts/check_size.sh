#!/usr/bin/env bash
# Prints lines per folder and checks the limits: 700 lines a file, 45,000 for the program without tests.
set -euo pipefail
cd "$(dirname "$0")/.."

find src kernels tests -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.inc' -o -name '*.cu' \
  -o -name '*.cuh' -o -name 'meson.build' \) | LC_ALL=C sort |
  xargs -r -d '\n' awk -v file_limit=700 -v program_limit=45000 '
  function close_file() {
    if (name != "" && lines > file_limit) {
      printf "%s: %d lines, the limit is %d\n", name, lines, file_limit
      ++faults
    }
  }
  FNR == 1 {
    close_file()
    name = FILENAME
    folder = name
    if (folder ~ /^tests\//) folder = "tests"
    else if (folder ~ /^(src|kernels)\/[^\/]*$/) sub(/\/.*/, "", folder)
    else { split(folder, parts, "/"); folder = parts[1] "/" parts[2] }
    if (!(folder in total)) order[++folders] = folder
    ++count[folder]
  }
  {
    lines = FNR
    ++total[folder]
    if (folder != "tests") ++program
    else ++tests
  }
  END {
    close_file()
    printf "%-16s %6s %7s\n", "folder", "files", "lines"
    for (i = 1; i <= folders; ++i)
      printf "%-16s %6d %7d\n", order[i], count[order[i]], total[order[i]]
    if (program > program_limit) {
      printf "the program has %d lines, the limit is %d\n", program, program_limit
      ++faults
    }
    printf "size: %d lines of program, %d of tests, %d faults\n", program, tests, faults
    exit faults > 0 || program == 0
  }'
