#!/usr/bin/env bash
# Builds the program: installs the Debian packages that are missing, then makes build/levanter.
set -euo pipefail
. "$(dirname "$0")/common.sh"

install_packages build
build_in build levanter -- --buildtype=release
say "built $root/build/levanter"
