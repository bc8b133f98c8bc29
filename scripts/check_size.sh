#!/usr/bin/env bash
# Prints the lines of code of each folder, blank lines and comments aside, and checks the budgets:
# a number for each area, 700 a file, nine in ten files at most 400. Clear beats short: the budgets
# keep out what is not needed.
set -euo pipefail
cd "$(dirname "$0")/.."

find src kernels tests -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.inc' -o -name '*.cu' \
  -o -name '*.cuh' -o -name 'meson.build' \) | LC_ALL=C sort |
  xargs -r -d '\n' awk '
  BEGIN {
    budget["src/text"] = 8500
    budget["src/data"] = 6290
    budget["kernels/cpu"] = 7100
    budget["kernels/cuda"] = 8500
    budget["everything else"] = 41600
    file_limit = 700
    long_file = 400
  }
  function close_file() {
    if (name == "") return
    ++files
    if (lines > long_file) ++long_files
    if (lines <= file_limit) return
    printf "%s: %d lines, the limit is %d\n", name, lines, file_limit
    ++faults
  }
  FNR == 1 {
    close_file()
    name = FILENAME
    folder = name
    if (folder ~ /^tests\//) folder = "tests"
    else if (folder ~ /^(src|kernels)\/[^\/]*$/) sub(/\/.*/, "", folder)
    else { split(folder, parts, "/"); folder = parts[1] "/" parts[2] }
    if (!(folder in code)) order[++folders] = folder
    ++count[folder]
    code[folder] += 0
  }
  { lines = FNR }
  /^[ \t]*($|\/\/|# |#$)/ { next }
  {
    ++code[folder]
    if (folder == "tests") next
    ++program
    ++spent[folder in budget ? folder : "everything else"]
  }
  END {
    close_file()
    printf "%-16s %6s %7s\n", "folder", "files", "code"
    for (i = 1; i <= folders; ++i)
      printf "%-16s %6d %7d\n", order[i], count[order[i]], code[order[i]]
    for (area in budget) {
      printf "%-16s %6d of %d lines\n", area, spent[area], budget[area] | "LC_ALL=C sort"
      if (spent[area] > budget[area]) over = over " " area
    }
    close("LC_ALL=C sort")
    if (over != "") { printf "over budget:%s\n", over; ++faults }
    if (long_files * 10 > files) {
      printf "%d of %d files are longer than %d lines\n", long_files, files, long_file
      ++faults
    }
    printf "size: %d lines of program, %d of tests, %d faults\n", program, code["tests"], faults
    exit faults > 0 || program == 0
  }'
