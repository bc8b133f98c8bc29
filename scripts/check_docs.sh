#!/usr/bin/env bash
# Checks that what README and docs point at exists: links, files of the tree and, once built, subcommands.
set -euo pipefail
. "$(dirname "$0")/common.sh"
cd "$root"

faults=0
fault() {
  say "$1: $2"
  faults=$((faults + 1))
}

for page in README.md docs/*.md docs/playbooks/*.md; do
  # Links to files of the tree; `[](` is a function of C++.
  while read -r target; do
    [ -e "$(dirname "$page")/$target" ] || fault "$page" "link to $target, which is not there"
  done < <(grep -oE '[^[]\]\([^)#: ]+' "$page" | sed 's/^.*](//' | LC_ALL=C sort -u)

  # Files of the tree, wherever the page names them.
  while read -r path; do
    [ -e "$path" ] || fault "$page" "names $path, which is not there"
    case $path in scripts/common.sh) continue ;; *.sh) ;; *) continue ;; esac
    [ -x "$path" ] || fault "$page" "names $path, which can not be run"
  done < <(grep -oE '(scripts|configs|src|kernels|tests)/[a-z0-9_/]+\.(sh|txt|toml|py|h|cpp|inc|build)' "$page" | LC_ALL=C sort -u)

  # Subcommands in indented or fenced commands, and in `code`.
  [ -x build/levanter ] || continue
  while read -r name; do
    build/levanter "$name" --help >/dev/null 2>&1 || fault "$page" "levanter $name is no command"
  done < <(grep -oE '(^|`|/)levanter [a-z]+/?' "$page" | grep -v '/$' | awk '{ print $2 }' | LC_ALL=C sort -u)
done

echo "docs: $faults faults"
[ "$faults" -eq 0 ]
