#!/usr/bin/env bash
# Installs what is missing to build and to test on Debian or Ubuntu, and checks
# the version of Go. Does nothing where all is there.
set -eu
cd "$(dirname "$0")/.."

packages="g++ make libdnnl-dev clang-format git ca-certificates python3-venv"

fail() {
  echo "deps: $*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  elif command -v sudo >/dev/null; then
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  else
    fail "installing needs root: run as root, or install sudo"
  fi
}

# missing prints the packages that are not installed.
missing() {
  for p in $packages; do
    if ! dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed'; then
      printf '%s ' "$p"
    fi
  done
}

install_packages() {
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    if command -v g++ >/dev/null && { [ -e /usr/include/dnnl.h ] || [ -e /usr/local/include/dnnl.h ]; }; then
      return # not Debian, but the compiler and oneDNN are there
    fi
    fail "this is not Debian or Ubuntu: install a C++17 compiler, oneDNN 2.6 or later with its headers, clang-format and git, then run make build"
  fi
  wanted=$(missing)
  if [ -z "$wanted" ]; then
    return
  fi
  echo "deps: installing $wanted" >&2
  as_root apt-get -q update >&2
  # shellcheck disable=SC2086 # a list of names
  as_root apt-get -q install -y --no-install-recommends $wanted >&2
}

check_go() {
  want=$(sed -n 's/^go //p' go.mod)
  how="https://go.dev/dl has Go $want: unpack it into /usr/local and put /usr/local/go/bin into PATH"
  command -v "${GO:-go}" >/dev/null || fail "Go is not installed, want $want or later. $how"
  # In the module's folder, so that a newer Go may fetch the one that go.mod names.
  have=$("${GO:-go}" env GOVERSION 2>/dev/null | sed 's/^go//; s/[ -].*//') || have=""
  [ -n "$have" ] || fail "Go is too old to read go.mod or cannot fetch Go $want. $how"
  lowest=$(printf '%s\n%s\n' "$want" "$have" | sort -V | head -n 1)
  [ "$lowest" = "$want" ] || fail "Go is $have, want $want or later. $how"
}

install_packages
check_go
