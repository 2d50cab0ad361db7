#!/usr/bin/env bash
# Prints lines by package: Go, Go tests, C++. Growth is to be seen, not forbidden.
set -eu
cd "$(dirname "$0")/.."

count() {
  if [ "$#" -eq 0 ]; then echo 0; else cat "$@" | wc -l; fi
}

printf '%8s %8s %8s  %s\n' go tests c++ package
find . -name '*.go' -not -path './build/*' -exec dirname {} + | sort -u | while read -r dir; do
  mapfile -t go < <(find "$dir" -maxdepth 1 -name '*.go' -not -name '*_test.go')
  mapfile -t tests < <(find "$dir" -maxdepth 1 -name '*_test.go')
  mapfile -t native < <(find "$dir" -maxdepth 1 \( -name '*.cc' -o -name '*.h' -o -name '*.cu' \))
  printf '%8d %8d %8d  %s\n' "$(count "${go[@]}")" "$(count "${tests[@]}")" "$(count "${native[@]}")" "${dir#./}"
done | awk '{go += $1; tests += $2; native += $3; print} END {printf "%8d %8d %8d  in all\n", go, tests, native}'
