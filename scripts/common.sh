# What the scripts share: where the tree is, the Debian packages and the build. Sourced, never run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "error: $*"
  exit 1
}

# packages_of GROUP...: the names that scripts/packages.txt lists for the groups, one a line.
packages_of() {
  awk -v groups=" $* " '!/^#/ && NF && index(groups, " " $1 " ") { print $2 }' \
    "$root/scripts/packages.txt"
}

# is_installed PACKAGE
is_installed() {
  dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# install_packages GROUP...: installs what is missing when that takes no password, else prints the
# one line that does it and exits.
install_packages() {
  local package missing=() as_root=()
  if ! command -v dpkg-query >/dev/null; then
    say "note: not a Debian system; needed here: $(packages_of "$@" | tr '\n' ' ')"
    return
  fi
  while read -r package; do
    is_installed "$package" || missing+=("$package")
  done < <(packages_of "$@")
  [ ${#missing[@]} -gt 0 ] || return 0

  if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
      say "error: Debian packages are missing; install them and start again:"
      say "  sudo apt-get install --no-install-recommends ${missing[*]}"
      exit 1
    fi
    as_root=(sudo -n)
  fi
  say "installing ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q
    -o DPkg::Lock::Timeout=300) output
  "${apt[@]}" update >/dev/null || say "note: apt-get update failed; going on with the lists at hand"
  if ! output=$("${apt[@]}" install --yes --no-install-recommends "${missing[@]}" 2>&1); then
    say "$output"
    fail "could not install ${missing[*]}"
  fi
}

# build_in FOLDER TARGET... [-- SETUP-OPTION...]: configures FOLDER once, then builds the targets.
build_in() {
  local folder=$1 targets=() setup_options=()
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    targets+=("$1")
    shift
  done
  [ $# -eq 0 ] || setup_options=("${@:2}")
  if [ ! -f "$root/$folder/build.ninja" ]; then
    meson setup "${setup_options[@]}" "$root/$folder" "$root" >&2
  fi
  meson compile -C "$root/$folder" "${targets[@]}" >&2
}

# params_hash_of RUN: what the run's folder says of its parameters; nothing where it has not ended.
params_hash_of() { sed -n 's/.*"params_hash": *"\([0-9a-f]*\)".*/\1/p' "$1/summary.json" 2>/dev/null || true; }

# made_up_text SEED: 4,000 characters, 20 letters and blanks.
made_up_text() {
  awk -v seed="$1" 'BEGIN { srand(seed)
    for (i = 0; i < 4000; ++i) printf "%c", rand() < 0.2 ? 32 : 97 + int(rand() * 20) }'
}

# king_james FILE: writes the King James Bible, one verse a line, 4.4 MB of plain ASCII.
king_james() {
  [ ! -s "$1" ] || return 0
  command -v bible >/dev/null ||
    fail "no text given and no 'bible' program here; run $0 with a text file"
  mkdir -p "$(dirname "$1")"
  bible -f Gen1:1-Rev22:21 >"$1.partial"
  mv "$1.partial" "$1"
}
