#!/usr/bin/env bash
# Builds for 64-bit ARM with a cross compiler and runs the tests under qemu's emulation; closes with
# 'N passed, N failed, N skipped': test_arm.sh [test spec]
#
# ARM's libraries go into build-arm/root; of this system only the compiler and qemu are installed.
set -euo pipefail
. "$(dirname "$0")/common.sh"

build=$root/build-arm
libraries=$build/root
install_packages build test arm

# Without what listens to devices, and without what takes an emulator hours.
tests=${1:-'~[.]~[cuda]~[nccl]~[mpi]~[net]'}

# fetch_libraries FOLDER: the packages of the groups "build" and "test" for ARM, and what they need.
fetch_libraries() {
  local state=$build/apt packages
  mkdir -p "$state/lists/partial" "$state/archives/partial" "$1"
  : >"$state/status" # nothing is installed there
  packages=$(packages_of build test | grep -Ev '^(g\+\+|meson|ninja-build|pkg-config|libcurl4)$')
  local apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64
    -o Dir::State="$state" -o Dir::State::Lists="$state/lists" -o Dir::State::status="$state/status"
    -o Dir::Cache="$state" -o Dir::Cache::archives="$state/archives" -o APT::Sandbox::User=)
  "${apt[@]}" update
  # shellcheck disable=SC2086  # a word a package
  "${apt[@]}" install --yes --download-only --no-install-recommends $packages
  for package in "$state"/archives/*.deb; do dpkg -x "$package" "$1"; done
}

# write_machine FILE: what meson has to know.
write_machine() {
  local lib=$libraries/usr/lib/aarch64-linux-gnu
  cat >"$1" <<EOF
[binaries]
cpp = [$(command -v ccache >/dev/null && printf "'ccache', ")'aarch64-linux-gnu-g++']
ar = 'aarch64-linux-gnu-gcc-ar'
strip = 'aarch64-linux-gnu-strip'
pkgconfig = 'pkg-config'
exe_wrapper = ['qemu-aarch64', '-L', '$libraries']
[properties]
sys_root = '$libraries'
pkg_config_libdir = ['$lib/pkgconfig', '$libraries/usr/share/pkgconfig']
[built-in options]
cpp_args = ['-idirafter', '$libraries/usr/include']
cpp_link_args = ['--sysroot=$libraries']
[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
EOF
}

# emulate PROGRAM: leaves in its place a script that runs it, for those who start it by its name.
emulate() {
  head -c 2 "$1" | grep -q '#!' && return
  mv "$1" "$1.arm"
  printf '#!/bin/sh\nexec qemu-aarch64 -L %s -0 "$0" %s "$@"\n' "$libraries" "$1.arm" >"$1"
  chmod +x "$1"
}

if [ ! -f "$build/build.ninja" ]; then
  if [ ! -e "$libraries/made" ]; then
    fetch_libraries "$libraries"
    touch "$libraries/made"
  fi
  write_machine "$build/machine.ini"
  meson setup --buildtype=release --cross-file "$build/machine.ini" "$build" "$root" >&2
fi
for program in levanter tests/levanter_tests; do
  [ ! -f "$build/$program.arm" ] || mv "$build/$program.arm" "$build/$program"
done
meson compile -C "$build" levanter levanter_tests >&2
emulate "$build/levanter"
emulate "$build/tests/levanter_tests"
"$root/scripts/run_tests.sh" "$build" "$tests"
