#!/usr/bin/env bash
# Checks and measures the CUDA backend on a machine that has a GPU, nvcc and Python with PyTorch, and
# needs neither Go nor a network:
#
#   make gpu-pack               where there is Go: writes build/gpu-check/pack.tar.gz, which travels
#   scripts/gpu-check.sh        on the GPU's machine, in a copy of this tree with the pack
#
# A stage that fails, or runs out of its time, is noted and the next one goes on; all of them end
# within nine minutes. What they print lies in $OUT (default build/gpu-check/out), a file a stage, the
# figures in results.json and bench.jsonl there, and a short table comes last. The exit status
# is 1 if a stage failed.
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
OUT=${OUT:-$root/build/gpu-check/out}
PYTHON=${PYTHON:-python3}
pack=$root/build/gpu-check
mkdir -p "$OUT"
if [ -e "$pack/pack.tar.gz" ]; then tar -C "$pack" -xzf "$pack/pack.tar.gz"; fi
for file in engine.test methods.test benchctl benchpeer include; do
  if [ ! -e "$pack/$file" ]; then
    echo "gpu-check: $pack has no $file: make gpu-pack makes it where there is Go" >&2
    exit 2
  fi
done
export BENCHCTL_LIB_DIR=$root/build CUDNN_FRONTEND=$pack/include PYTHON PYTHONUNBUFFERED=1
began=$SECONDS
limit=530 # seconds for all
failed=0
stages=()

# stage NAME SECONDS COMMAND runs a command for at most so long, or for what is left.
stage() {
  local name=$1 most=$2 left=$((limit - SECONDS + began)) from=$SECONDS status=ok
  shift 2
  if [ "$left" -lt 5 ]; then
    status="no time left"
  else
    if [ "$most" -gt "$left" ]; then most=$left; fi
    timeout --kill-after=5 "$most" "$@" >"$OUT/$name.log" 2>&1
    local code=$?
    if [ $code -eq 124 ] || [ $code -eq 137 ]; then
      status="out of time"
    elif [ $code -ne 0 ]; then
      status="failed ($code)"
    fi
  fi
  if [ "$status" != ok ]; then failed=1; fi
  stages+=("$name|$status|$((SECONDS - from))")
  echo "gpu-check: $name: $status, $((SECONDS - from)) s" >&2
}

versions() {
  nvidia-smi -L
  nvidia-smi --query-gpu=name,driver_version,memory.total,memory.used,compute_cap,ecc.mode.current --format=csv
  ./scripts/cuda.sh
  "$(./scripts/cuda.sh | sed -n 's/^NVCC := //p')" --version
  "$PYTHON" -c 'import torch; print("torch", torch.__version__, "cuDNN", torch.backends.cudnn.version(), torch.cuda.get_device_name())'
}

bench() { # NETWORK DEPTH PRECISION METHODS [FLAGS]
  local network=$1 depth=$2 precision=$3 methods=$4
  shift 4
  "$pack/benchpeer" -python "$PYTHON" -backend cuda -library "$BENCHCTL_LIB_DIR" -network "$network" -aux-depth "$depth" -batch 1024 \
    -precision "$precision" -methods "$methods" -turns 4 -steps 10 -threads 8 -json "$OUT/bench.jsonl" "$@"
}

sanitize() { # TOOL
  cd core/engine && compute-sanitizer --tool "$1" --error-exitcode 9 "$pack/engine.test" -cuda -library "$BENCHCTL_LIB_DIR" \
    -test.run 'TestParity' -test.timeout 5m
}

export -f versions bench sanitize
export pack OUT
rm -f "$OUT/bench.jsonl"

stage versions 30 bash -c versions
stage build 180 make -j"$(nproc)" cuda
stage parity 90 bash -c 'cd core/engine && "$pack/engine.test" -cuda -library "$BENCHCTL_LIB_DIR" -test.v -test.run "TestParity|TestSameBits"'
stage golden 90 bash -c 'cd methods && "$pack/methods.test" -cuda -library "$BENCHCTL_LIB_DIR" -test.v -test.run "TestGoldenTraces"'
stage bench-resnet110-tf32 100 bash -c 'bench resnet110 3 tf32 bp,auglocal'
stage modes 60 bash -c 'cd methods && "$pack/methods.test" -cuda -library "$BENCHCTL_LIB_DIR" -test.v -test.run "TestModes|TestPoison"'
stage profile 40 bash -c '"$pack/benchctl" profile --backend cuda --precision tf32 --networks resnet110 --methods bp --batch 1024 --format json >"$OUT/profile.json"'
stage tune 60 bash -c '"$pack/benchctl" tune --backend cuda --precision tf32 --networks resnet32,resnet110 --methods bp,auglocal --aux-depths 3 --batch 1024 --book "$OUT/book.json"'
stage bench-resnet32-tf32 60 bash -c 'bench resnet32 2 tf32 bp,auglocal'
stage memcheck 90 bash -c 'sanitize memcheck'
stage bench-resnet110-compile 90 bash -c 'bench resnet110 3 tf32 bp -compile'
stage racecheck 60 bash -c 'sanitize racecheck'

{
  printf '{"stages": ['
  comma=
  for s in "${stages[@]}"; do
    IFS='|' read -r name status seconds <<<"$s"
    printf '%s{"stage": "%s", "status": "%s", "seconds": %s}' "$comma" "$name" "$status" "$seconds"
    comma=', '
  done
  printf '], "bench": ['
  if [ -e "$OUT/bench.jsonl" ]; then paste -sd, "$OUT/bench.jsonl"; fi
  printf ']}\n'
} >"$OUT/results.json"

echo
for s in "${stages[@]}"; do
  IFS='|' read -r name status seconds <<<"$s"
  printf '%-26s %-16s %4s s\n' "$name" "$status" "$seconds"
done
grep -hE 'times as fast|memory  our' "$OUT"/bench-*.log 2>/dev/null
exit $failed
