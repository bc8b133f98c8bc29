#!/usr/bin/env bash
# Installs what is missing, builds, and runs the plain tests; closes with 'N passed, N failed'.
set -euo pipefail
. "$(dirname "$0")/common.sh"

install_packages build test mpi
build_in build levanter levanter_tests -- --buildtype=release
"$root/scripts/run_tests.sh" build "$@"
