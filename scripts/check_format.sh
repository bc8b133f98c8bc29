#!/usr/bin/env bash
# Checks that every source file is laid out as clang-format 14 would; --fix rewrites those that are not.
set -euo pipefail
. "$(dirname "$0")/common.sh"
cd "$root"

install_packages check
mapfile -t files < <(find src kernels tests -type f \
  \( -name '*.h' -o -name '*.cpp' -o -name '*.inc' -o -name '*.cu' -o -name '*.cuh' \) |
  LC_ALL=C sort)
[ ${#files[@]} -gt 0 ] || fail "no source files"

case "${1:-}" in
  --fix) clang-format-14 -i "${files[@]}" ;;
  "")
    if ! faults=$(clang-format-14 --dry-run -Werror "${files[@]}" 2>&1); then
      # One line a file: the first place of each.
      printf '%s\n' "$faults" | grep -E '^[^ ]+:[0-9]+:[0-9]+: ' | awk -F: '!seen[$1]++' >&2
      fail "not laid out by .clang-format; scripts/check_format.sh --fix rewrites them"
    fi
    echo "format: ${#files[@]} files, 0 faults"
    ;;
  *) fail "usage: $0 [--fix]" ;;
esac
