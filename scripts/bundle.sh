#!/usr/bin/env bash
# Makes a folder that runs on any machine with glibc 2.34 or newer: the program, the libraries that
# it needs besides glibc, configs and scripts: bundle.sh FOLDER [BUILD]
# CUDA's libraries are not in it: they are the machine's, or those of Python's packages there.
set -euo pipefail
. "$(dirname "$0")/common.sh"

[ $# -ge 1 ] || fail "usage: $0 FOLDER [BUILD]"
folder=$1
build=$(realpath -- "${2:-$root/build}")
[ -x "$build/levanter" ] || fail "no program levanter in $build; scripts/build.sh makes it"
[ ! -e "$folder" ] || fail "$folder is there already"
command -v patchelf >/dev/null || install_packages bundle

# What every machine has, and has to have in its own version.
of_the_machine='^(linux-vdso|ld-linux|libc|libm|libdl|libpthread|librt|libresolv)[.-]'

# copy_program PROGRAM: the program, and beside it in lib/ what it needs.
copy_program() {
  local name path
  cp "$1" "$folder/"
  strip "$folder/$(basename "$1")"
  patchelf --force-rpath --set-rpath "\$ORIGIN/lib" "$folder/$(basename "$1")"
  ldd "$1" | awk '$2 == "=>" { print $1, $3 }' | while read -r name path; do
    [[ $name =~ $of_the_machine ]] && continue
    [ -f "$path" ] || fail "$1 needs $name, which is not here"
    cp -L --update "$path" "$folder/lib/$name"
    chmod u+w "$folder/lib/$name"
    strip --strip-unneeded "$folder/lib/$name" 2>/dev/null || true
    patchelf --force-rpath --set-rpath "\$ORIGIN" "$folder/lib/$name"
  done
}

mkdir -p "$folder/lib" "$folder/scripts"
copy_program "$build/levanter"
if [ -x "$build/tests/levanter_tests" ]; then
  copy_program "$build/tests/levanter_tests"
  mkdir -p "$folder/tests"
  cp -r "$root/tests/golden" "$folder/tests/"
fi
cp -r "$root/configs" "$folder/"
cp "$root/scripts/gpu_check.sh" "$root/scripts/make_data.sh" "$root/scripts/common.sh" \
  "$root/scripts/packages.txt" "$folder/scripts/"
"$folder/levanter" --version >/dev/null || fail "the program in $folder does not run"
say "$folder: $(du -sh "$folder" | cut -f1); levanter alone with its libraries:" \
  "$(du -ch "$folder/levanter" "$folder/lib" | tail -1 | cut -f1)"
