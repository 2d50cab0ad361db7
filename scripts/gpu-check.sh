#!/usr/bin/env bash
# Checks and measures the CUDA backend on a machine that has a GPU, nvcc and Python with PyTorch, and
# needs neither Go nor a network:
#
#   make gpu-pack               where there is Go: writes build/gpu-check/pack.tar.gz, which travels
#   scripts/gpu-check.sh        on the GPU's machine, in a copy of this tree with the pack
#   scripts/gpu-check.sh rest   there, what the calls before had no time for
#   scripts/gpu-check.sh tune bench    there, the stages whose names have one of these words
#
# Stages run in the order of their worth; one that fails, or runs out of its time, is noted and the
# next one goes on. A call ends within nine minutes; later ones go on from what the first one built,
# and build it if it is not there. $OUT (default build/gpu-check/out) gets results.json,
# rewritten after every stage, log.txt, and the tuning cache book.json; a short table comes
# last. The exit status is 1 if a stage failed.
#
# LOCALBENCH_GPU_CHECK_DEVICE=emu rehearses where there is no GPU: the CUDA emulator on the host replaces it, on
# small batches, the peer runs on the cpu, and what needs nvcc or a driver is left out.
# shellcheck disable=SC2016,SC2317 # functions and quoted commands run in the stages' own shells
set -uo pipefail
cd "$(dirname "$0")/.." || exit
root=$PWD
OUT=${OUT:-$root/build/gpu-check/out}
PYTHON=${PYTHON:-python3}
pack=$root/build/gpu-check
device=${LOCALBENCH_GPU_CHECK_DEVICE:-cuda}
if [ -e "$pack/pack.tar.gz" ]; then tar -C "$pack" -xzf "$pack/pack.tar.gz"; fi
for file in engine.test methods.test benchctl benchpeer include; do
  if [ ! -e "$pack/$file" ]; then
    echo "gpu-check: $pack has no $file: make gpu-pack makes it where there is Go" >&2
    exit 2
  fi
done
parts=$pack/parts # what the stages leave for the report
kept=$root/build/gpu-check-kept # outlives a call, and a pack that travels again
book=$kept/book.json
wanted=" $* "
if [ "$*" = rest ]; then
  # The names of earlier calls' stages of which the last word is that there was no time.
  wanted=" $(awk -F'\t' '{last[$1] = $2} END {for (s in last) if (last[s] == "no time left") printf "^%s$ ", s}' "$kept/stages.txt" 2>/dev/null)"
  if [ "$wanted" = " " ]; then
    echo "gpu-check: no call before this one, on this machine, left a stage for want of time" >&2
    exit 2
  fi
fi
rm -rf "$parts" "$OUT"/{log.txt,results.json,book.json}
if [ $# -eq 0 ]; then rm -rf "${kept:?}"; fi
mkdir -p "$OUT" "$parts" "$kept/lib"
if [ $# -gt 0 ] && [ ! -e "$kept/lib/liblocalbench_cuda.so" ]; then wanted+="^build$ "; fi
export BENCHCTL_LIB_DIR=$kept/lib CUDNN_FRONTEND=$pack/include PYTHONUNBUFFERED=1 PATH=$PATH:/usr/local/cuda/bin:$pack/tools
# torch.compile has the system's compiler build against Python's headers, which not every machine has.
headers=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))' 2>/dev/null)
if [ -n "$headers" ] && [ ! -e "$headers/Python.h" ]; then
  headers=$pack/python/$(basename "$headers")
  export CPATH=$headers${CPATH:+:$CPATH}
fi
export OUT PYTHON pack parts device book headers
export own=kns=_ZN2lb # our own kernels: those of a library are not looked at for races
limit=530 # seconds for all
began=$SECONDS
failed=0

# asked tells whether one of the wanted words is in a stage's name.
asked() {
  local word
  for word in $wanted; do
    if grep -qE -- "$word" <<<"$1"; then return 0; fi
  done
  return 1
}

# stage NAME SECONDS COMMAND... runs a command for at most so long, or for what is left.
stage() {
  local name=$1 most=$2 left=$((limit - SECONDS + began)) from=$SECONDS status=ok late="out of time"
  shift 2
  if [ "$wanted" != "  " ] && ! asked "$name"; then return 0; fi
  echo "=== $name" >>"$OUT/log.txt"
  if [ "$left" -lt 5 ]; then
    status="no time left"
  else
    if [ "$most" -gt "$left" ]; then most=$left late="no time left"; fi
    timeout --kill-after=5 "$most" bash -c "set -uo pipefail; $*" >>"$OUT/log.txt" 2>&1
    local code=$?
    if [ $code -eq 124 ] || [ $code -eq 137 ]; then
      status=$late
    elif [ $code -ne 0 ]; then
      status="failed ($code)"
    fi
  fi
  printf '%s\t%s\t%s\n' "$name" "$status" "$((SECONDS - from))" | tee -a "$kept/stages.txt" >>"$parts/stages.txt"
  if [ -e "$book" ]; then cp "$book" "$OUT"; fi # a stage that is cut short may have begun one
  "$PYTHON" scripts/gpu_report.py "$parts" "$OUT/results.json" >/dev/null || true # said again at the end
  echo "gpu-check: $name: $status, $((SECONDS - from)) s" >&2
  if [ "$status" != ok ]; then
    failed=1
    return 1
  fi
}

# versions prints what is there; what is not there fails, after the rest.
versions() {
  local status=0
  uname -srm
  "${CXX:-g++}" --version | head -1 || status=1
  "$PYTHON" -c 'import sys, torch; print("Python", sys.version.split()[0], "torch", torch.__version__, "cuDNN", torch.backends.cudnn.version())' || status=1
  ls "$headers/Python.h" || status=1
  if [ "$device" = cuda ]; then
    nvidia-smi -L || status=1
    nvidia-smi --query-gpu=name,driver_version,memory.total,memory.used,compute_cap,ecc.mode.current,clocks.sm,temperature.gpu --format=csv || status=1
    ./scripts/cuda.sh || status=1
    nvcc --version | tail -2 || status=1
    command -v compute-sanitizer || status=1
  fi
  return "$status"
}

build() {
  if [ "$device" = emu ]; then
    make --silent emu && cp build/liblocalbench_emu.so "$BENCHCTL_LIB_DIR/liblocalbench_cuda.so"
  else # warnings of a compiler that we do not know are no errors
    make -j"$(nproc)" cuda WERROR= && rm -f "$BENCHCTL_LIB_DIR/carried" && cp build/liblocalbench_cuda.so "$BENCHCTL_LIB_DIR"
  fi
}

# tests PROGRAM PATTERN [WRAPPER...] runs tests of a carried program, in their package's folder. Of
# those that pass it tells how many there are, and which took seconds.
tests() {
  local program=$1 pattern=$2 folder=core/engine
  shift 2
  if [ "$program" = methods.test ]; then folder=methods; fi
  cd "$folder" && "$@" "$pack/$program" -cuda -library "$BENCHCTL_LIB_DIR" -test.v -test.run "$pattern" -test.timeout 9m |
    awk '/^ *=== RUN/ {next} /^ *--- PASS/ {passed++; if ($NF ~ /^\(0\./) next} {print} END {print passed + 0, "tests passed"}'
}

# sanitize TOOL PATTERN [FLAGS...]: the signals by which Go's scheduler stops its threads are left out,
# and so are calls that a library makes to see whether they fail; our own are checked one by one.
sanitize() {
  local tool=$1 pattern=$2
  shift 2
  export GODEBUG=asyncpreemptoff=1
  if [ "$device" = emu ]; then
    tests engine.test "$pattern"
  else
    tests engine.test "$pattern" compute-sanitizer --tool "$tool" --error-exitcode 9 --report-api-errors no "$@"
  fi
}

# bench NETWORK DEPTH PRECISION METHODS [FLAGS...] times ours and the peer in turns, ours with the
# tuning cache that tune has written.
bench() {
  local network=$1 depth=$2 precision=$3 methods=$4 batch=1024 turns=4 steps=10 peer=cuda
  shift 4
  if [ "$device" = emu ]; then network=resnet32 depth=2 batch=2 turns=1 steps=1 peer=cpu; fi
  if [ -e "$book" ]; then set -- -book "$book" "$@"; fi
  "$pack/benchpeer" -python "$PYTHON" -backend cuda -peer-device "$peer" -library "$BENCHCTL_LIB_DIR" -network "$network" -aux-depth "$depth" \
    -batch "$batch" -precision "$precision" -methods "$methods" -turns "$turns" -steps "$steps" -threads 8 -json "$parts/bench.jsonl" "$@"
}

# ops times one op of each kind, convolutions as cuDNN's and as our own.
ops() {
  local short=()
  if [ "$device" = emu ]; then short=(-test.short); fi
  cd core/engine && "$pack/engine.test" -cuda -library "$BENCHCTL_LIB_DIR" -test.run '^$' -test.bench '^BenchmarkOp$' -test.benchtime 20x "${short[@]}" | tee "$parts/ops.txt"
}

# epoch trains for three epochs of 50,000 images of noise, in the form of CIFAR-10.
epoch() {
  local network=resnet110 batch=1024 few=()
  if [ "$device" = emu ]; then network=resnet20 batch=4 few=(--train-limit 16 --test-limit 16); fi
  if [ -e "$book" ]; then export BENCHCTL_PLAN_BOOK=$book; fi
  "$PYTHON" scripts/noise_cifar10.py "$pack/data" || return
  rm -rf "$parts/runs"
  "$pack/benchctl" run --backend cuda --precision bf16 --methods bp,auglocal --networks "$network" --aux-depths 3 --batch "$batch" --datasets cifar10 \
    --data-dir "$pack/data" --epochs 3 "${few[@]}" --quiet --out "$parts/runs"
}

# peer METHOD [FLAGS...] times PyTorch alone.
peer() {
  local method=$1 network=resnet110 batch=1024 on=cuda steps=20 warmup=5
  shift
  if [ "$device" = emu ]; then network=resnet32 batch=2 on=cpu steps=1 warmup=0; fi
  "$PYTHON" scripts/peer_bench.py --device "$on" --method "$method" --network "$network" --aux-depth 3 --batch "$batch" --threads 8 \
    --steps "$steps" --warmup "$warmup" --json "$@" | tee -a "$parts/peer.jsonl"
}

# profile has the setup memory breakdown: the device memory of each setup stage, with no other process
# on the device.
profile() {
  local network=resnet110 batch=1024
  if [ "$device" = emu ]; then network=resnet20 batch=2; fi
  "$pack/benchctl" profile --backend cuda --precision tf32 --networks "$network" --methods "$1" --aux-depths 3 --batch "$batch" --tolerance 2 --format json
}

# tune: the convolutions of ResNet-32 are those of ResNet-110. The cache is written after each method.
tune() {
  local precision
  for precision in tf32 bf16; do
    "$pack/benchctl" tune --backend cuda --precision "$precision" --networks resnet110 --methods bp,auglocal --aux-depths 3 --batch 1024 --book "$book" || return
  done
}

export -f versions build tests sanitize bench ops epoch peer profile tune

golden=TestGoldenTraces
if [ "$device" = emu ]; then golden=$golden/resnet32_bp; fi

stage versions 60 versions
if ! stage build 200 build && [ "$device" = cuda ] && [ -e "$pack/liblocalbench_cuda.so" ]; then
  # The pack's own, which was linked elsewhere.
  echo "gpu-check: the library that came with the pack is used" | tee -a "$OUT/log.txt" >&2
  cp "$pack/liblocalbench_cuda.so" "$BENCHCTL_LIB_DIR"
  touch "$kept/lib/carried"
fi
if [ -e "$kept/lib/carried" ]; then # the libraries below it are those of PyTorch
  site=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  export LD_LIBRARY_PATH=$site/nvidia/cudnn/lib:$site/nvidia/cu13/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
stage parity 150 'tests engine.test "TestParity/(threads|tf32|own)|TestSameBits|TestOwn|TestCUDAChooses|TestPlanBook|TestLarge"'
stage golden 120 "tests methods.test $golden"
stage bench-tf32 110 'bench resnet110 3 tf32 bp,auglocal'
stage bench-bf16 110 'bench resnet110 3 bf16 bp,auglocal'
if [ "$device" = cuda ]; then stage ceilings 30 '"$PYTHON" scripts/gpu_ceilings.py | tee "$parts/ceilings.json"'; fi
stage profile 60 'profile bp,auglocal >"$parts/profile.json"'
stage memcheck 120 'sanitize memcheck TestParity/scattered'
if [ "$device" = cuda ]; then
  stage tune 150 tune
  stage bench-tuned-tf32 60 '[ -e "$book" ] && bench resnet110 3 tf32 bp,auglocal -peer-device none'
  stage bench-tuned-bf16 60 '[ -e "$book" ] && bench resnet110 3 bf16 bp,auglocal -peer-device none'
  stage compiled-bf16 150 'peer bp --precision bf16 --compile'
  stage compiled-tf32 150 'peer bp --precision tf32 --compile'
fi
stage epoch 90 epoch
stage modes 120 'tests methods.test "TestModes|TestPoison"'
stage ops 60 ops
stage bench-f32 60 'bench resnet110 3 f32 bp'
stage overlap 40 'for n in 2 3; do bench resnet110 3 tf32 auglocal -overlap $n -peer-device none || exit; done'
# Three fifths of what PyTorch is predicted to allocate.
stage budget 40 'bench resnet110 3 tf32 bp -budget 4.8GiB -peer-device none && bench resnet110 3 tf32 auglocal -budget 488MiB -workspace-limit 64MiB -peer-device none'
stage bench-resnet32 60 'bench resnet32 2 tf32 bp,auglocal'
stage engine 60 'tests engine.test "TestOverlap|TestMixed|TestOutOfMemory"'
if [ "$device" = cuda ]; then
  stage racecheck 90 'sanitize racecheck "TestParity/(threads|own)" --kernel-name $own'
  stage synccheck 60 'sanitize synccheck "TestParity/(threads|own)" --kernel-name $own'
  stage initcheck 60 'sanitize initcheck TestParity/scattered'
fi

"$PYTHON" scripts/gpu_report.py "$parts" "$OUT/results.json"
exit $failed
