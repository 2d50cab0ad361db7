#!/usr/bin/env bash
# Checks and measures the CUDA backend on a machine that has a GPU, Python with PyTorch and, if the pack's library does not
# run there, nvcc; it needs neither Go nor a network:
#
#   make gpu-pack                      where there is Go: writes build/gpu-check/pack.tar.gz, which travels
#   scripts/gpu-check.sh -t 500        on the GPU's machine, in a copy of this tree with the pack: for at most 500 seconds
#   scripts/gpu-check.sh -t 200 rest   there, what earlier calls have not done
#   scripts/gpu-check.sh tune bench    there, the stages whose names have one of these words
#
# It is made for 15 minutes of a GPU in calls of at most ten. Stages run in the order of their worth: first whether each
# family of kernels works, each in a process of its own, so that a fault in one hides nothing of the others; then
# parity, during which PyTorch compiles; then times; then the rest of the proof. A stage that fails, or runs out of its
# time, is noted and the next one goes on. -t (default 530) ends the call; `rest` goes on after any call, also on another
# machine if build/gpu-check there has the kept.tar.gz that the call before left in $OUT.
#
# $OUT (default build/gpu-check/out) gets, within 8 files of 16 MiB:
#   results.json   stages and figures of all calls so far (scripts/gpu_report.py)
#   log.txt        the last lines of each stage's output, and the table of the report
#   logs.tar.gz    the whole output of each stage
#   book.json      the tuning cache
#   ncu.csv.gz     counters of our kernels in one step
#   kept.tar.gz    what `rest` needs
#   liblocalbench_cuda.so.gz the library that was tested
# The exit status is 1 if a stage failed.
#
# LOCALBENCH_GPU_CHECK_DEVICE=emu rehearses where there is no GPU: the CUDA emulator on the host replaces it, on small
# batches, the peer runs on the cpu, and what needs a GPU is left out: the stages caches, ceilings, counters and compiled-*.
# It takes some 25 minutes on two cores, and -t is 3600 by default.
# shellcheck disable=SC2016,SC2317 # functions and quoted commands run in the stages' own shells
set -uo pipefail
cd "$(dirname "$0")/.." || exit
root=$PWD
OUT=${OUT:-$root/build/gpu-check/out}
PYTHON=${PYTHON:-python3}
pack=$root/build/gpu-check
device=${LOCALBENCH_GPU_CHECK_DEVICE:-cuda}
limit=530 # seconds for all
if [ "$device" = emu ]; then limit=3600; fi
if [ "${1:-}" = -t ]; then
  if ! [[ "${2:-}" =~ ^[1-9][0-9]*$ ]]; then
    echo "gpu-check: -t ${2:-}: must be a number of seconds" >&2
    exit 2
  fi
  limit=$2
  shift 2
fi
began=$SECONDS
if [ -e "$pack/pack.tar.gz" ]; then tar -C "$pack" -xzf "$pack/pack.tar.gz"; fi
for file in engine.test methods.test benchctl benchpeer include; do
  if [ ! -e "$pack/$file" ]; then
    echo "gpu-check: $pack has no $file: make gpu-pack makes it where there is Go" >&2
    exit 2
  fi
done
kept=$root/build/gpu-check-kept # outlives a call, and a pack that travels again
parts=$kept/parts               # what the stages leave for the report
logs=$kept/logs                 # the output of each stage
book=$kept/book.json
if [ $# -eq 0 ]; then rm -rf "${kept:?}"; fi
if [ $# -gt 0 ] && [ ! -e "$kept" ] && [ -e "$pack/kept.tar.gz" ]; then
  mkdir -p "$kept" && tar -C "$kept" -xzf "$pack/kept.tar.gz"
fi
mkdir -p "$OUT" "$parts" "$logs" "$kept/lib"
rm -f "$OUT"/{results.json,log.txt,logs.tar.gz,book.json,ncu.csv.gz,kept.tar.gz,liblocalbench_cuda.so.gz}
export BENCHCTL_LIB_DIR=$kept/lib CUDNN_FRONTEND=$pack/include PYTHONUNBUFFERED=1 PATH=$PATH:/usr/local/cuda/bin:$pack/tools
export TORCHINDUCTOR_CACHE_DIR=$kept/inductor TRITON_CACHE_DIR=$kept/triton
# torch.compile has the system's compiler build against Python's headers, which not every machine has.
headers=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))' 2>/dev/null)
if [ -n "$headers" ] && [ ! -e "$headers/Python.h" ]; then
  headers=$pack/python/$(basename "$headers")
  export CPATH=$headers${CPATH:+:$CPATH}
fi
export OUT PYTHON pack parts kept device book headers
export own=kns=_ZN2lb # our own kernels: those of a library are not looked at for races
failed=0

# The families of core/graph/kind.go, and subtests of TestSmoke beyond them. A test compares the list with the table.
export families="conv convnorm norm layernorm elementwise pool linear loss update upsample similarity gate dropout shape quantize own large"

# done_before tells whether the last word on a stage is that it ended.
done_before() {
  local last
  last=$(awk -F'\t' -v name="$1" '$1 == name {last = $2} END {print last}' "$kept/stages.txt" 2>/dev/null)
  [ -n "$last" ] && [ "$last" != "no time left" ]
}

# asked tells whether a stage is to run: all of them, those that have not ended, or those whose name has one of the words. The
# library is there in any case.
words=("$@")
asked() {
  local word
  if [ ${#words[@]} -eq 0 ]; then return 0; fi
  if [ "$1" = library ]; then
    [ ! -e "$kept/lib/liblocalbench_cuda.so" ]
    return
  fi
  if [ "${words[*]}" = rest ]; then
    ! done_before "$1"
    return
  fi
  for word in "${words[@]}"; do
    if [[ "$1" == *"$word"* ]]; then return 0; fi
  done
  return 1
}

# leave puts into $OUT what there is.
leave() {
  if [ -e "$book" ]; then cp "$book" "$OUT"; fi # a stage that is cut short may have begun one
  if [ -e "$parts/ncu.csv" ]; then gzip -c "$parts/ncu.csv" >"$OUT/ncu.csv.gz"; fi
  "$PYTHON" scripts/gpu_report.py "$parts" "$OUT/results.json" >"$kept/report.txt" 2>&1
  local status=$?
  local name
  for name in $(awk -F'\t' '!seen[$1]++ {print $1}' "$parts/stages.txt" 2>/dev/null); do
    echo "=== $name: $(awk -F'\t' -v name="$name" '$1 == name {last = $2 ", " $3 " s"} END {print last}' "$parts/stages.txt")"
    tail -n 40 "$logs/$name.txt" 2>/dev/null | cut -c1-400
  done >"$OUT/log.txt"
  { echo "=== report" && cat "$kept/report.txt"; } >>"$OUT/log.txt"
  return $status
}

# pack_up adds what is large, once, at the end of a call.
pack_up() {
  local file
  for file in "$logs"/*.txt; do # the end of a longer one is what counts
    if [ "$(stat -c %s "$file" 2>/dev/null || echo 0)" -gt $((8 << 20)) ]; then tail -c $((8 << 20)) "$file" >"$file.end" && mv "$file.end" "$file"; fi
  done
  tar -C "$kept" -czf "$OUT/logs.tar.gz" logs
  tar -C "$kept" -czf "$OUT/kept.tar.gz" --exclude=logs --exclude=lib --exclude=inductor --exclude=triton .
  if [ -e "$kept/lib/liblocalbench_cuda.so" ]; then gzip -c "$kept/lib/liblocalbench_cuda.so" >"$OUT/liblocalbench_cuda.so.gz"; fi
  for file in "$OUT"/*; do
    if [ "$(stat -c %s "$file")" -gt $((16 << 20)) ]; then
      echo "gpu-check: $(basename "$file") is larger than 16 MiB: it was left out" | tee -a "$OUT/log.txt" >&2
      rm "$file"
    fi
  done
}

# stage NAME SECONDS COMMAND... runs a command for at most so long, or for what is left.
stage() {
  local name=$1 most=$2 left=$((limit - SECONDS + began)) from=$SECONDS status=ok late="out of time"
  shift 2
  if [ "$device" = emu ]; then most=$((most * 20)); fi # a host is slow, and may have other work
  if ! asked "$name"; then return 0; fi
  if [ "$left" -lt 5 ]; then
    status="no time left"
  else
    if [ "$most" -gt "$left" ]; then most=$left late="no time left"; fi
    timeout --kill-after=5 "$most" bash -c "set -uo pipefail; $*" >"$logs/$name.txt" 2>&1
    local code=$?
    if [ $code -eq 124 ] || [ $code -eq 137 ]; then
      status=$late
    elif [ $code -ne 0 ]; then
      status="failed ($code)"
    fi
    if [ "$status" != ok ] && [ "$device" = cuda ]; then # is the device still there?
      { timeout 20 nvidia-smi --query-gpu=name,memory.used --format=csv,noheader || echo "nvidia-smi failed" && dmesg 2>/dev/null | grep -i xid | tail -5; } >>"$logs/$name.txt" 2>&1
    fi
  fi
  printf '%s\t%s\t%s\n' "$name" "$status" "$((SECONDS - from))" | tee -a "$kept/stages.txt" >>"$parts/stages.txt"
  leave || true # said again at the end
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
    ./scripts/cuda.sh || echo "no toolkit: the pack's library has to run here"
    nvcc --version | tail -2
    command -v compute-sanitizer || status=1
  fi
  return "$status"
}

# library puts the backend's library into place: the pack's, which saves a minute, or if it does not run here one built here.
library() {
  if [ "$device" = emu ]; then
    make --silent emu && cp build/liblocalbench_emu.so "$BENCHCTL_LIB_DIR/liblocalbench_cuda.so"
    return
  fi
  cp "$pack/liblocalbench_cuda.so" "$BENCHCTL_LIB_DIR"
  touch "$kept/lib/carried"
  LD_LIBRARY_PATH=$torch_libraries "$pack/benchctl" devices
  if LD_LIBRARY_PATH=$torch_libraries smoke_one gate; then return; fi
  echo "the library that came with the pack does not run here: building one"
  rm -f "$kept/lib/carried"
  make -j"$(nproc)" cuda WERROR= CUDA_ARCH='-gencode arch=compute_90,code=sm_90' && cp build/liblocalbench_cuda.so "$BENCHCTL_LIB_DIR"
}

# tests PROGRAM PATTERN [WRAPPER...] runs tests of a carried program, in their package's folder, and tells how many passed.
tests() {
  local program=$1 pattern=$2 folder=core/engine raw status
  shift 2
  if [ "$program" = methods.test ]; then folder=methods; fi
  if [ "$folder$device" = methodsemu ]; then set -- "$@" "$pack/$program" -test.short; else set -- "$@" "$pack/$program"; fi
  raw=$(mktemp) # counted afterwards: the limit of a stage may end the tests at any time
  (cd "$folder" && "$@" -cuda -library "$BENCHCTL_LIB_DIR" -test.v -test.run "$pattern" -test.timeout 9m) 2>&1 | tee "$raw" | grep --line-buffered -v '^ *=== RUN'
  status=$?
  echo "$(grep -c '^ *--- PASS' "$raw") passed, $(grep -c '^ *--- FAIL' "$raw") failed, $(grep -c '^ *--- SKIP' "$raw") skipped"
  if grep -q 'no tests to run' "$raw"; then status=1; fi
  rm -f "$raw"
  return "$status"
}

# smoke_one FAMILY runs the kernels of a family in a process, and says in a line how it went.
smoke_one() {
  local out=$parts/smoke-$1.txt
  (cd core/engine && CUDA_LAUNCH_BLOCKING=1 "$pack/engine.test" -cuda -library "$BENCHCTL_LIB_DIR" -test.v -test.run "^TestSmoke\$/^$1\$" -test.timeout 2m) >"$out" 2>&1
  local status=$?
  if grep -q 'no tests to run' "$out"; then status=1; fi
  echo "$1: $(grep -c '^        --- PASS' "$out") passed$([ $status -eq 0 ] || echo ", first failure: $(grep -m1 -E -A1 '_test.go:[0-9]+:|^panic|^fatal|SIG' "$out" | tr '\n' ' ' | cut -c1-300)")"
  return "$status"
}

# smoke: several families at a time, since most of a process's time is spent on loading libraries.
smoke() {
  local together=4
  if [ "$device" = emu ]; then together=1; fi
  tr ' ' '\n' <<<"$families" | xargs -P "$together" -I{} bash -c 'smoke_one {}'
}

# racecheck FAMILY... looks for races in the kernels of each family, in a process of its own.
racecheck() {
  local family bad=0
  for family in "$@"; do
    sanitize racecheck "^TestSmoke\$/^$family\$" --kernel-name "$own" || bad=1
  done
  return $bad
}

# caches has torch.compile fill its caches, in the background: nothing is timed meanwhile.
caches() {
  local precision
  for precision in bf16 tf32; do
    timeout 240 "$PYTHON" scripts/peer_bench.py --device cuda --method bp --network resnet110 --batch 1024 --threads 8 --steps 1 --warmup 1 --json --precision "$precision" --compile &
  done
  wait
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

# bench NETWORK DEPTH PRECISION METHODS [FLAGS...] times ours and the peer in turns.
bench() {
  local network=$1 depth=$2 precision=$3 methods=$4 batch=1024 turns=3 steps=8 peer=cuda
  shift 4
  if [ "$device" = emu ]; then network=resnet32 depth=2 batch=2 turns=1 steps=1 peer=cpu; fi
  "$pack/benchpeer" -python "$PYTHON" -backend cuda -peer-device "$peer" -library "$BENCHCTL_LIB_DIR" -network "$network" -aux-depth "$depth" \
    -batch "$batch" -precision "$precision" -methods "$methods" -turns "$turns" -steps "$steps" -threads 8 -json "$parts/bench.jsonl" "$@"
}

# tuned NETWORK... is bench with the tuning cache that tune has written, without the peer.
tuned() {
  if [ ! -e "$book" ]; then
    echo "there is no tuning cache: the stage tune writes it"
    return 1
  fi
  bench "$@" -book "$book" -peer-device none
}

# ops PATTERN times one op of each kind, convolutions as cuDNN's and as our own.
ops() {
  local short=()
  if [ "$device" = emu ]; then short=(-test.short); fi
  cd core/engine && "$pack/engine.test" -cuda -library "$BENCHCTL_LIB_DIR" -test.run '^$' -test.bench "^BenchmarkOp\$/.*/$1" -test.benchtime 10x "${short[@]}" | tee -a "$parts/ops.txt"
}

# counters has ncu count what our kernels do in the first step of bp.
counters() {
  echo quit | ncu --clock-control none --cache-control none --csv --log-file "$parts/ncu.csv" --kernel-name-base demangled --kernel-name 'regex:lb::' --launch-count 400 \
    --metrics gpu__time_duration.sum,dram__bytes_read.sum,dram__bytes_write.sum,l1tex__data_bank_conflicts_pipe_lsu.sum,sm__warps_active.avg.pct_of_peak_sustained_active \
    "$pack/benchpeer" -worker bp -backend cuda -precision "$1" -library "$BENCHCTL_LIB_DIR" -network resnet110 -aux-depth 3 -batch 1024 -threads 8
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

# tune METHODS PRECISION SECONDS: the cache is written after each convolution.
tune() {
  local network=resnet110 batch=1024
  if [ "$device" = emu ]; then network=resnet20 batch=2; fi
  if [ "$device$1" = emuauglocal ]; then batch=1; fi # at batch 2 its convolutions are all among those that bp has tuned
  "$pack/benchctl" tune --backend cuda --precision "$2" --networks "$network" --methods "$1" --aux-depths 3 --batch "$batch" --book "$book" --time-limit "$3s"
}

export -f versions library tests smoke smoke_one caches sanitize racecheck bench tuned ops counters epoch peer profile tune

# The rehearsal is of the stages: some kinds are enough for the emulator, which all tests use elsewhere.
golden=TestGoldenTraces rounded=TestGoldenRounded kinds=
if [ "$device" = emu ]; then golden=$golden/resnet32_bp$ rounded=$rounded//resnet32_bp kinds='/^(conv_backward_weights|gate|norm_stats)$'; fi
export kinds
torch_libraries=$("$PYTHON" -c 'import sysconfig; s = sysconfig.get_path("purelib"); print(s + "/nvidia/cudnn/lib:" + s + "/nvidia/cu13/lib")')${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export torch_libraries

# What the seconds are for, of 15 minutes: a start takes one or two.
stage versions 30 versions
stage library 170 library
if [ -e "$kept/lib/carried" ]; then export LD_LIBRARY_PATH=$torch_libraries; fi # the libraries below ours are those of PyTorch
filling=
if [ "$device" = cuda ] && asked caches; then
  setsid bash -c caches >"$logs/filling.txt" 2>&1 & # in a group of its own, to be ended as one
  filling=$!
fi
stage smoke 60 smoke
stage graphs 40 'tests engine.test "TestOverlapSameBits/dgl"'
stage parity 120 'tests engine.test "TestParity/(1_threads|tf32|own)$kinds"'
if [ -n "$filling" ]; then stage caches 130 "while kill -0 $filling 2>/dev/null; do sleep 1; done; cat $logs/filling.txt; ! grep -q Error $logs/filling.txt"; fi
if [ -n "$filling" ]; then kill -- "-$filling" 2>/dev/null; fi # nothing else may run while steps are timed
if [ "$device" = cuda ]; then stage ceilings 20 '"$PYTHON" scripts/gpu_ceilings.py | tee "$parts/ceilings.json"'; fi
stage bench-cudnn 40 'for p in bf16 tf32; do bench resnet110 3 $p bp -cudnn -peer-device none || exit; done'
stage ops 60 'ops "(conv|norm)"'
stage bench-tf32 90 'bench resnet110 3 tf32 bp,auglocal'
stage bench-bf16 50 'bench resnet110 3 bf16 bp'
if [ "$device" = cuda ]; then
  stage counters 60 'counters bf16'
  stage compiled-bf16 60 'peer bp --precision bf16 --compile'
  stage compiled-tf32 60 'peer bp --precision tf32 --compile'
fi
stage tune 90 'tune bp tf32 40 && tune bp bf16 40'
stage bench-tuned 50 'for p in tf32 bf16; do tuned resnet110 3 $p bp || exit; done'
stage golden-rounded 60 "tests methods.test $rounded"
stage memcheck 60 'sanitize memcheck "TestParity/^cuda,_(own_kernels,_)?scattered$/^(conv|conv_backward_weights|norm_stats|norm_backward|max_pool|similarity)$" --kernel-name $own'
stage tune-auglocal 90 'tune auglocal tf32 40 && tune auglocal bf16 40'
stage bench-tuned-auglocal 50 'for p in tf32 bf16; do tuned resnet110 3 $p auglocal || exit; done'
stage profile 40 'profile bp,auglocal >"$parts/profile.json"'
stage golden 100 "tests methods.test $golden"
stage racecheck 90 'racecheck convnorm norm loss similarity gate layernorm own'
stage epoch 60 epoch
# Three fifths of what PyTorch is predicted to allocate.
stage budget 40 'bench resnet110 3 tf32 bp -budget 4.8GiB -peer-device none && bench resnet110 3 tf32 auglocal -budget 488MiB -workspace-limit 64MiB -peer-device none'
stage options 60 'for o in "-fuse-norm none" "-fuse-norm statistics" "-fuse-norm gradient" "-fuse-norm input" "-fuse-norm all" "-store int8"; do bench resnet110 3 bf16 bp $o -peer-device none || exit; done'
stage overlap 40 'for n in 2 3; do bench resnet110 3 tf32 auglocal -overlap $n -peer-device none || exit; done'
stage same 120 'tests engine.test "TestSameBits|TestNormalisedInput|TestOwn|TestCUDAChooses|TestPlanBook|TestLarge"'
stage modes 120 'tests methods.test "TestModes|TestPoison|TestFusedNormalisations|TestFusedInput|TestFusedGradient"'
stage engine 60 'tests engine.test "TestMixed|TestOutOfMemory"'
stage other-ops 60 'ops "^[^cn]"'
stage memcheck-cudnn 60 'sanitize memcheck "TestParity/^cuda,_scattered$/^conv$/^16_channels"'
stage bench-f32 40 'bench resnet110 3 f32 bp'
stage bench-resnet32 50 'bench resnet32 2 tf32 bp,auglocal'
stage synccheck 60 'sanitize synccheck "TestSmoke/(norm|loss|similarity|gate|own)" --kernel-name $own'

leave
status=$?
cat "$kept/report.txt"
pack_up
if [ $status -ne 0 ]; then failed=1; fi
exit $failed
