#!/usr/bin/env bash
# Runs a build's tests, as many at once as there are processors, and closes with
# 'N passed, N failed, N skipped': run_tests.sh FOLDER [test spec]
set -euo pipefail
. "$(dirname "$0")/common.sh"
cd "$root"

[ $# -ge 1 ] || fail "usage: $0 FOLDER [test spec]"
tests=$(find "$1" -maxdepth 2 -type f -name levanter_tests)
[ -x "$tests" ] || fail "no program levanter_tests in $1"
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'cat "$folder"/output.*; exit 1' TERM

# A process for each of up to four processors, each with every n-th test.
# Catch2 3 tells names alone in another way than 2.
names=(--list-test-names-only)
if "$tests" --libidentify | grep -q '^version: *3'; then names=(--list-tests --verbosity quiet); fi
"$tests" "${names[@]}" "$@" >"$folder/names" || true
shards=$(nproc)
[ "$shards" -le 4 ] || shards=4
for ((i = 0; i < shards; ++i)); do
  # In a file of names a comma is a separator, unless it is escaped.
  awk -v shards="$shards" -v i="$i" 'NR % shards == i' "$folder/names" |
    sed 's/,/\\,/g' >"$folder/names.$i"
  [ -s "$folder/names.$i" ] || continue
  { "$tests" --input-file "$folder/names.$i" 2>&1 || touch "$folder/failed"; } >"$folder/output.$i" &
done
wait
for ((i = 0; i < shards; ++i)); do
  [ ! -e "$folder/output.$i" ] || cat "$folder/output.$i" >>"$folder/output"
done
touch "$folder/output"
cat "$folder/output"
status=0
[ ! -e "$folder/failed" ] || status=1

# Catch2 closes with 'All tests passed (A assertions in N test cases)' or with
# 'test cases: N | P passed | F failed'. Skipped are the cases that warn with 'skipped: reason'.
awk -v status="$status" -v names="$(wc -l <"$folder/names")" '
  function number_before(word, text) {
    return match(text, "[0-9]+ " word) ? substr(text, RSTART) + 0 : 0
  }
  /^-----------------------------------/ {
    if (in_title) in_title = 0
    else { in_title = 1; take_name = 1 }
    next
  }
  take_name { name = $0; take_name = 0 }
  /^[ \t]*skipped: / && !seen[name]++ { ++skipped }
  /: FAILED:/ && !told[name]++ { failures = failures "failed: " name "\n" }
  /^All tests passed \(/ { passed += number_before("test case", $0); ++summaries }
  /^test cases: / {
    failed += number_before("failed( \\||$)", $0)
    passed += number_before("passed", $0) + number_before("failed as expected", $0)
    ++summaries
  }
  END {
    # A crash leaves no summary, or one without the case that crashed.
    if (status != 0 && failed == 0) failed = 1
    if (failed == 0 && passed != names) {
      failed = 1
      print names - passed " tests did not run"
    }
    if (passed < skipped) passed = skipped
    if (summaries == 0 && failed == 0) { failed = 1; print "no test ran" }
    printf "%s", failures
    printf "%d passed, %d failed, %d skipped\n", passed - skipped, failed, skipped
    exit failed > 0
  }' "$folder/output"
