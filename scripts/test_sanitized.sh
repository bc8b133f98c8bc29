#!/usr/bin/env bash
# Runs the plain tests under the address and undefined-behaviour sanitizers, from build-sanitize/.
set -euo pipefail
. "$(dirname "$0")/common.sh"

install_packages build test mpi
build_in build-sanitize levanter levanter_tests -- \
  --optimization=1 -Db_sanitize=address,undefined -Db_lundef=false
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
# Without what the real NVRTC and cuDNN do, which is no code of ours, and the emulated card's long
# calculations, whose memory is closed around each piece anyway.
[ $# -gt 0 ] || set -- "~[.]~[nvrtc]~[library]~[card]"
"$root/scripts/run_tests.sh" build-sanitize "$@"
