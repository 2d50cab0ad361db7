#!/usr/bin/env bash
# Installs oneDNN 3 with GNU's OpenMP into build/onednn3, a virtual environment of Python: headers in include,
# the library in lib. The packages are for Linux on x86-64.
set -euo pipefail
cd "$(dirname "$0")/.."
version=2023.2.0 # of the packages; the library says 3.2.0
if [ -e build/onednn3/include/oneapi/dnnl/dnnl.hpp ] && [ -e "build/onednn3/share/installed-$version" ]; then
  exit 0
fi
python3 -m venv build/onednn3
build/onednn3/bin/python3 -m pip install --quiet --disable-pip-version-check \
  onednn-cpu-gomp==$version onednn-devel-cpu-gomp==$version
touch "build/onednn3/share/installed-$version"
