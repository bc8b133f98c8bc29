#!/usr/bin/env bash
# Builds and tests in another release of Debian, with its compiler and its libraries, from the files that git knows:
# test_debian.sh [RELEASE], by default trixie. Takes root; closes with 'N passed, N failed, N skipped'.
set -euo pipefail
. "$(dirname "$0")/common.sh"

release=${1:-trixie}
system=$root/build-$release
[ "$(id -u)" -eq 0 ] || fail "a system in a folder takes root: sudo $0 $release"
install_packages debian

if [ ! -e "$system/made" ]; then
  debootstrap --variant=minbase --include=ca-certificates "$release" "$system" >&2
  touch "$system/made"
fi
mountpoint -q "$system/proc" || mount -t proc proc "$system/proc"
trap 'umount "$system/proc"' EXIT
mkdir -p "$system/levanter"
find "$system/levanter" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
git -C "$root" ls-files -z | tar -C "$root" --null -T - -c | tar -C "$system/levanter" -x -m # newer than what was built before
chroot "$system" /levanter/scripts/test.sh
