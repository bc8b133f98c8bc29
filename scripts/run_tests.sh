#!/usr/bin/env bash
# Runs a build's tests and closes with 'N passed, N failed, N skipped': run_tests.sh FOLDER [test spec]
set -euo pipefail
. "$(dirname "$0")/common.sh"
cd "$root"

[ $# -ge 1 ] || fail "usage: $0 FOLDER [test spec]"
tests=$(find "$1" -maxdepth 2 -type f -name levanter_tests)
[ -x "$tests" ] || fail "no program levanter_tests in $1"
shift
output=$(mktemp)
trap 'rm -f "$output"' EXIT

status=0
"$tests" "$@" 2>&1 | tee "$output" || status=$?

# Catch2 closes with 'All tests passed (A assertions in N test cases)' or with
# 'test cases: N | P passed | F failed'. Skipped are the cases that warn with 'skipped: reason'.
awk -v status="$status" '
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
  /^All tests passed \(/ { passed = number_before("test case", $0); ++summaries }
  /^test cases: / {
    failed = number_before("failed( \\||$)", $0)
    expected = number_before("failed as expected", $0)
    passed = number_before("passed", $0) + expected
    ++summaries
  }
  END {
    # A crash leaves no summary, or one without the case that crashed.
    if (status != 0 && failed == 0) failed = 1
    if (passed < skipped) passed = skipped
    if (summaries == 0 && failed == 0) { failed = 1; print "no test ran" }
    printf "%d passed, %d failed, %d skipped\n", passed - skipped, failed, skipped
    exit failed > 0
  }' "$output"
