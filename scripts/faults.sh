#!/usr/bin/env bash
# Disturbs the program in every way that a machine can and closes with 'N passed, N failed, N skipped'
# (docs/reliability.md): faults.sh [--short] [--seed N] [--trials N] [--only N] [--folder DIR] [kind...]
set -euo pipefail
. "$(dirname "$0")/common.sh"

install_packages build
build_in build levanter faults faults_inject -- --buildtype=release
"$root/build/tests/faults" "$root/build/levanter" "$root/build/tests/libfaults_inject.so" "$@"
