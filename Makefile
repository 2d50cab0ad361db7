# Localbench. `make help` lists the targets.
GO          ?= go
BIN         := bin/benchctl
NATIVE      := $(wildcard core/engine/native/*.h core/engine/native/*.cc)
CUDA        := $(wildcard core/engine/cuda/*.h core/engine/cuda/*.cc core/engine/cuda/*.cu)
SHARED      := $(addprefix core/engine/native/,abi.cc blob.cc check.cc)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.5.0
CLANGFORMAT ?= clang-format

# Flags of `make test`, of `make run` and of `make bench`.
TESTFLAGS ?=
RUNFLAGS  ?= --methods bp,auglocal --networks resnet32 --datasets synthetic --batch 128 --epochs 4 --metrics top1,planned_peak,step_time
BENCH     ?= .
PEERFLAGS ?=
AAFLAGS   ?=

# NVML's functions are bound at their first call, since most machines have no NVIDIA
# driver; some tool chains would bind them at the start of the program.
export GOFLAGS := $(strip $(GOFLAGS) -ldflags=-extldflags=-Wl,-z,lazy)
# NVML's header declares functions that it calls deprecated: 29 warnings about a file that is not ours. The flag reaches C only; our
# C++ has CGO_CXXFLAGS. (cgo takes flags of another module's package from the environment alone, so a plain `go build` prints them.)
export CGO_CFLAGS ?= -O2 -g -Wno-deprecated-declarations

# Another oneDNN than the system's: a folder with include and lib, as `make onednn3` makes it.
ONEDNN ?=
ifneq ($(ONEDNN),)
ifeq ($(wildcard $(ONEDNN)/include/oneapi/dnnl/dnnl.h),)
$(error ONEDNN=$(ONEDNN): has no include/oneapi/dnnl/dnnl.h; `make onednn3` installs oneDNN 3 into build/onednn3)
endif
export CGO_CXXFLAGS := $(strip $(CGO_CXXFLAGS) -I$(abspath $(ONEDNN))/include)
export CGO_LDFLAGS := $(strip $(CGO_LDFLAGS) -L$(abspath $(ONEDNN))/lib -Wl,-rpath,$(abspath $(ONEDNN))/lib)
endif

.DEFAULT_GOAL := build
.PHONY: help results aa deps onednn3 build test-onednn test-slurm emu cuda cuda-deps gpu-pack run test test-all race cover sanitize lint fmt docs bench bench-peer size clean

## help: print this list
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST) | awk '{i = index($$0, ":"); printf "  %-12s%s\n", substr($$0, 1, i - 1), substr($$0, i + 1)}'

## deps: install what is missing: compiler, oneDNN, formatter; check the version of Go
deps:
	@./scripts/deps.sh

## onednn3: install oneDNN 3 into build/onednn3; ONEDNN=build/onednn3 builds and tests with it
onednn3:
	@./scripts/onednn3-deps.sh

## build: build the command into bin/benchctl
build:
	$(GO) build -o $(BIN) ./cmd/benchctl

# The CUDA backend's kernels and executor on the host, for the tests. Tests make it themselves.
EXPORTS   := -Wl,--version-script=core/engine/cuda/exports.map
EMU       := build/liblocalbench_emu.so
EMU_PARTS := $(patsubst %,build/emu/%.o,$(notdir $(filter-out %library.cc,$(filter %.cc %.cu,$(CUDA))) plain_library.cc $(SHARED)))
vpath %.cu core/engine/cuda
vpath %.cc core/engine/cuda core/engine/native

emu: $(EMU)

$(EMU): $(EMU_PARTS) core/engine/cuda/exports.map
	$(CXX) -shared $(EXPORTS) -o $@ $(EMU_PARTS)

build/emu/%.o: % $(filter %.h,$(CUDA) $(NATIVE)) Makefile
	@mkdir -p $(@D)
	$(CXX) -x c++ -std=c++17 -O3 -fassociative-math -fno-signed-zeros -fno-trapping-math -Wall -Wextra -Werror -DLB_EMU -fPIC -fvisibility=hidden -c $< -o $@

# The CUDA backend. scripts/cuda.sh finds compiler and libraries; no spilled register passes, and no array in local memory.
CUDA_LIB   := build/liblocalbench_cuda.so
# Code for Hopper; GPUs from compute capability 8.0 on translate the rest when they load it.
CUDA_ARCH  ?= -gencode arch=compute_90,code=sm_90 -gencode arch=compute_80,code=compute_80
CUDA_PARTS := $(patsubst %,build/gpu/%.o,$(notdir $(filter-out %plain_library.cc,$(filter %.cc %.cu,$(CUDA))) $(SHARED)))
PYTHON     ?= python3
# Empty where the compiler is not one that we know, and its warnings are not to stop it.
WERROR     ?= -Werror
-include build/cuda.mk

## cuda: build the CUDA backend beside the command; needs no GPU, and no Go
cuda:
	@mkdir -p build
	@PYTHON=$(PYTHON) ./scripts/cuda.sh > build/cuda.mk || { rm -f build/cuda.mk; exit 1; }
	@$(MAKE) --no-print-directory $(CUDA_LIB)
	@mkdir -p bin && cp $(CUDA_LIB) bin

## cuda-deps: where there is no CUDA toolkit, install compiler and libraries into build/cuda
cuda-deps:
	@./scripts/cuda-deps.sh

$(CUDA_LIB): $(CUDA_PARTS) core/engine/cuda/exports.map
	$(CXX) -shared $(EXPORTS) -static-libstdc++ -static-libgcc -Wl,--no-undefined -o $@ $(CUDA_PARTS) $(CUDA_LIBS)

build/gpu/%.cc.o: %.cc $(filter %.h,$(CUDA) $(NATIVE)) Makefile build/cuda.mk
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -O2 -Wall -Wextra $(WERROR) $(CUDA_INCLUDE) -fPIC -fvisibility=hidden -c $< -o $@

build/gpu/%.cu.o: %.cu $(filter %.h,$(CUDA) $(NATIVE)) Makefile build/cuda.mk
	@mkdir -p $(@D)
	$(NVCC) -std=c++17 -O3 -lineinfo -t 0 $(CUDA_ARCH) $(CUDA_INCLUDE) $(if $(WERROR),-Werror all-warnings) -Xptxas --warn-on-spills,--warn-on-local-memory-usage \
	  -Xcompiler -fPIC,-fvisibility=hidden,-Wall -c $< -o $@

# What scripts/gpu-check.sh needs on a machine with a GPU and without Go: test binaries, the
# command and the benchmark without the cpu backend, the headers of cudnn-frontend, make, and
# the library, should it not compile there.
PACK  := build/gpu-check
# An interpreter of that machine's version, by name or path: its headers travel from here, for torch.compile.
PEER_PYTHON ?= python3.12
STRIP := -tags nocpu -trimpath -ldflags '-s -w -extldflags=-Wl,-z,lazy'

## gpu-pack: build what gpu-check.sh takes to a machine with a GPU, into build/gpu-check
gpu-pack: cuda
	@[ -e "$$($(PEER_PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))' 2>/dev/null)/Python.h" ] || \
	  { echo "gpu-pack: no Python.h of $(PEER_PYTHON): PEER_PYTHON=PATH names an interpreter of the GPU machine's version with its headers" >&2; exit 1; }
	@rm -rf $(PACK) && mkdir -p $(PACK)/parts/include $(PACK)/parts/tools
	$(GO) test -c $(STRIP) -o $(PACK)/parts/engine.test ./core/engine
	$(GO) test -c $(STRIP) -o $(PACK)/parts/methods.test ./methods
	$(GO) build $(STRIP) -o $(PACK)/parts/benchctl ./cmd/benchctl
	$(GO) build $(STRIP) -o $(PACK)/parts/benchpeer ./scripts/benchpeer
	@cp -r "$$(sed -n 's/^CUDA_INCLUDE := .* //p' build/cuda.mk)"/cudnn_* $(PACK)/parts/include
	@mkdir $(PACK)/parts/python && cp -r "$$($(PEER_PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')" $(PACK)/parts/python
	@cp $(CUDA_LIB) $(PACK)/parts && cp "$$(command -v $(firstword $(MAKE)))" $(PACK)/parts/tools
	@tar -C $(PACK)/parts -czf $(PACK)/pack.tar.gz . && rm -rf $(PACK)/parts
	@ls -l $(PACK)/pack.tar.gz

## run: train bp and AugLocal on the synthetic data set, print the tables, draw the plots
run: deps build
	./$(BIN) run $(RUNFLAGS)

# The limit is for a slow machine with other work on it. OpenMP's threads sleep while they wait for one another: by default they
# spin, and where other programs hold the cores a step then takes ten times as long.
GO_TEST := OMP_WAIT_POLICY=passive $(GO) test -timeout 40m

## test: run the tests, the slow ones in short form
test: deps
	$(GO_TEST) -short $(TESTFLAGS) ./...

## test-all: run all tests in full: whole golden traces, every network and method
test-all: deps
	$(GO_TEST) $(TESTFLAGS) ./...

# What depends on oneDNN: the op table, the optimizers, and the first steps of training compared with PyTorch's.
ONEDNN_ENGINE  := TestParity/^cpu|TestSameBits/^cpu|TestSmoke|TestMisuse|TestOutOfMemory|TestInPlaceSameBits|TestNotANumber|TestOptimizers|TestParts
ONEDNN_METHODS := TestGoldenTraces/^cpu|TestModesGiveTheSameBits
## test-onednn: run the tests of the cpu's ops, and print which oneDNN they use: the system's, or that in ONEDNN
test-onednn: deps
	$(GO) run ./cmd/benchctl devices | grep oneDNN
	$(GO_TEST) -short $(TESTFLAGS) -run '$(ONEDNN_ENGINE)' ./core/engine
	$(GO_TEST) -short $(TESTFLAGS) -run '$(ONEDNN_METHODS)' ./methods

## test-slurm: run a sweep through a real Slurm on this machine, which is installed if it can be; needs root
test-slurm: build
	@if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then echo "test-slurm: skipped: needs root and apt-get"; else \
	  $(GO_TEST) -v -tags slurm -run TestSlurmLosesNothing $(TESTFLAGS) ./launch; fi

# Training in the reference of double precision is slow under the detector; -short leaves most of it out.
## race: run the tests of what is concurrent in Go under the race detector
race: deps
	$(GO_TEST) -race -short $(TESTFLAGS) ./suite/... ./reports/... ./results/... ./gpu

# Statements that the quick tests reach, from any package. Where the floor is missed, test what is new; it is raised, not lowered.
COVER_FLOOR ?= 90
## cover: measure the coverage of the quick tests, build/coverage.html; fails below COVER_FLOOR percent
cover: deps
	@mkdir -p build
	$(GO_TEST) -short -coverpkg=./... -coverprofile=build/coverage.out $(TESTFLAGS) ./...
	$(GO) tool cover -html=build/coverage.out -o build/coverage.html
	@$(GO) tool cover -func=build/coverage.out | awk -v floor=$(COVER_FLOOR) \
	  '/^total:/ { print "coverage " $$3 ", floor " floor "%"; low = $$3 + 0 < floor } END { exit low || !NR }'

# The C++ core with AddressSanitizer and UBSan; oneDNN itself is not instrumented, and leaks are not looked for.
SANITIZED ?= TestOpTable|TestBlob|TestMisuse|TestOutOfMemory|TestWrongLabel|TestSharedArena|TestInPlaceSameBits|NotANumber|TestPart|TestDropoutNumbers|TestOpen
## sanitize: run the table of ops on the C++ core under AddressSanitizer and UBSan
sanitize: deps
	ASAN_OPTIONS=detect_leaks=0 CGO_CXXFLAGS='$(CGO_CXXFLAGS) -O1 -g -fsanitize=undefined -fno-sanitize-recover=undefined' CGO_LDFLAGS='$(CGO_LDFLAGS) -fsanitize=undefined' \
	  $(GO_TEST) -asan -short $(TESTFLAGS) -run '$(SANITIZED)' ./core/engine

## lint: check format, common faults of Go and C++, complexity, and words
lint:
	@unformatted=$$(gofmt -l $$($(GO) list -f '{{.Dir}}' ./...)); \
	  if [ -n "$$unformatted" ]; then echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) run $(GOLANGCI) run ./...
	@$(GO) run ./scripts/words
	@[ -z "$(NATIVE)" ] || $(CLANGFORMAT) --dry-run -Werror $(NATIVE) $(CUDA)

## fmt: format Go and C++
fmt:
	gofmt -w $$($(GO) list -f '{{.Dir}}' ./...)
	@[ -z "$(NATIVE)" ] || $(CLANGFORMAT) -i $(NATIVE) $(CUDA)

## docs: write docs/cli.md and the man pages (build/man) from the commands
docs:
	$(GO) test ./cmd/benchctl -run '^TestReference$$' -count=1 -update -man "$(CURDIR)/build/man"

# Folders of results/reproductions with accuracies and memory, and with step times. A test reads them here.
TRAINED := h100-alone h100-shared h100-ablations resnet20-cifar10-12-epochs resnet20-cifar10-4-epochs resnet32-cifar10-12-epochs smoke
TIMED   := h100-times step-times
comma   := ,
space   := $(subst ,, )

## results: write docs/results.md and its plots from the records in results/reproductions
results: build
	./bin/benchctl report --quiet --results docs/results.md $(addprefix results/reproductions/,$(TRAINED)) \
	  --times $(subst $(space),$(comma),$(addprefix results/reproductions/,$(TIMED)))

## bench: run the Go benchmarks; BENCH=regexp chooses
bench:
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

## bench-peer: time our training step against the same step in PyTorch, which must be installed
bench-peer:
	$(GO) run ./scripts/benchpeer $(PEERFLAGS)

## aa: how often `compare --interleave` is wrong on this machine as it is now: 20 comparisons without a change, 20 with 10 %
aa: build
	$(GO) build -o bin/aatest ./scripts/aatest
	bin/aatest -benchctl $(BIN) $(AAFLAGS)

## size: print the lines of code and of tests, by package
size:
	@./scripts/size.sh

## clean: remove what was built; records and data stay
clean:
	rm -rf bin build
