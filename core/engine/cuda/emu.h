// An emulation of the part of CUDA that this backend uses, on the host: the same kernels and the same
// executor run, and are tested, where there is no GPU. Included instead of cuda_runtime.h.
//
// Kernels. A launch runs its blocks one after the other. In a kernel with barriers or shuffles
// (launch_blocks) the threads of a block are fibers, in one without (launch) iterations of a loop. A warp
// runs until all its threads have reached a barrier or the end, then another one does. The process ends
// with a message if only part of a block reaches a barrier or part of a warp a shuffle, or if a kernel that
// was launched without fibers reaches either.
//
// Streams. Work is executed when it is submitted, unless a graph is captured or the device defers it.
// A captured graph keeps launches and copies with their dependencies: the previous one on the stream
// and the events that the stream has waited for.
//
// Devices. They differ in the order in which a graph is replayed and in which streams are deferred:
// work on a deferred stream is executed only when the host waits for it, and with it what it depends
// on. If the program lacks a wait, at least one of the devices computes another result. They also differ in
// the order in which the blocks of a grid, the warps of a block and the threads of a warp run. If a kernel
// lacks a barrier, a warp runs ahead of others that it should have waited for, and at least one of the
// devices 8 to 11 computes another result; these also fill shared memory with NaN before each block.
//
//   device                 replay of a graph                              deferred streams    threads
//   0 in_turn              in the order of the calls                      none                in order
//   1 first_stream_first   oldest stream first, as far as edges allow     none                in order
//   2 last_stream_first    newest stream first, as far as edges allow     none                in order
//   3, 4, 5 by_chance      in a random order, one seed for each device    none                in order
//   6 sides_ahead          random                                         the first stream    in order
//   7 all_late             random                                         all                 in order
//   8 backwards            in the order of the calls                      none                the last first
//   9, 10, 11 shuffled     in the order of the calls                      none                random, one
//                                                                                             seed for each
//
// Two environment variables serve the test of the tests (barriers_test.go). A barrier is named by file and
// line, such as norm.cu:40. LB_EMU_LIST_BARRIERS=1 adds the barriers that were reached to the description of
// a device, and LB_EMU_WITHOUT_BARRIER=norm.cu:40 lets every thread pass this one.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

namespace emu {

// The devices; the numbers that are left out belong to the one before.
enum order {
  in_turn,
  first_stream_first,
  last_stream_first,
  by_chance,
  sides_ahead = 6,
  all_late,
  backwards,
  shuffled,
  order_count = shuffled + 3
};
inline thread_local int device;
inline thread_local uint64_t dice;

// roll returns a random number below n.
inline size_t roll(size_t n) {
  dice = dice * 6364136223846793005u + 1442695040888963407u;
  return static_cast<size_t>(dice >> 33) % n;
}

// turns returns the numbers 0, ..., n-1 in the order of the device for blocks, warps or threads.
inline const std::vector<unsigned> &turns(unsigned n, std::vector<unsigned> &list) {
  list.resize(n);
  std::iota(list.begin(), list.end(), 0u);
  if (device == backwards) std::reverse(list.begin(), list.end());
  for (unsigned i = n; device >= shuffled && i > 1; i--) std::swap(list[i - 1], list[roll(i)]);
  return list;
}

enum class state { ready, barrier, shuffle, done };

// fiber is a thread of a block. It is created once and runs one kernel after the other.
struct fiber {
  ucontext_t context;  // entry point
  jmp_buf at_wait;     // where it waits; unlike setcontext, longjmp makes no system call
  std::unique_ptr<char[]> stack;
  state at = state::done;
};

constexpr unsigned most_threads = 1024;
inline fiber threads[most_threads];
inline bool waits;  // the kernel has barriers or shuffles: its threads are fibers
inline jmp_buf scheduler;
inline unsigned current;
inline dim3 block_index, thread_index, block_size, grid_size;
inline std::function<void()> body;
inline uint64_t slots[most_threads];
constexpr size_t most_shared = 227 << 10;
alignas(16) inline uint32_t dynamic[most_shared / 4];  // dynamic shared memory

[[noreturn]] inline void stop(const char *why) {
  std::fprintf(stderr, "emu: %s\n", why);
  std::abort();
}

// leave yields to the scheduler, until the fiber is resumed.
inline void leave(state s) {
  fiber &t = threads[current];
  t.at = s;
  if (_setjmp(t.at_wait) == 0) _longjmp(scheduler, 1);
}

inline void enter() {
  for (;;) {
    body();
    leave(state::done);
  }
}

inline void wait(state s) {
  if (!waits) stop("a barrier or shuffle in a kernel that was started by launch: use launch_blocks");
  leave(s);
}

inline void make(fiber &t) {
  constexpr size_t bytes = 65536;
  t.stack = std::make_unique<char[]>(bytes);
  getcontext(&t.context);
  t.context.uc_stack.ss_sp = t.stack.get(), t.context.uc_stack.ss_size = bytes;
  t.context.uc_link = nullptr;
  makecontext(&t.context, enter, 0);
}

// run_fiber runs a fiber until it waits or ends.
inline void run_fiber(unsigned i) {
  current = i, thread_index = dim3(i % block_size.x, i / block_size.x);
  if (_setjmp(scheduler) != 0) return;
  if (threads[i].stack) _longjmp(threads[i].at_wait, 1);
  make(threads[i]);
  setcontext(&threads[i].context);
}

// block_count counts the blocks that have begun.
inline uint64_t block_count;

// Bank conflicts. Where they are counted, each warp keeps the words that its threads have accessed since the
// last barrier or shuffle, by number of the access: threads of a warp access shared memory together.
inline bool count_conflicts;
inline uint64_t conflicts;
inline std::vector<std::vector<uintptr_t>> accesses[most_threads / 32];
inline size_t accessed[most_threads];  // by thread: accesses since then

// settle_accesses adds the conflicts of a warp: the most words that one of the 32 banks has to serve for an
// access, without the first. Accesses of 8 bytes are served in two halves of a warp, each word pair once.
inline void settle_accesses(unsigned warp) {
  for (auto &words : accesses[warp]) {
    std::vector<uintptr_t> banks[32];
    size_t most = 1;
    for (uintptr_t w : words) {
      auto &bank = banks[w % 32];
      if (std::find(bank.begin(), bank.end(), w) == bank.end()) bank.push_back(w);
      most = std::max(most, bank.size());
    }
    conflicts += most - 1;
  }
  accesses[warp].clear();
  std::fill_n(accessed + warp * 32, 32, 0);
}

inline void note_access(const void *p, size_t size) {
  size_t halves = size / 4, n = accessed[current]++ * halves;
  auto &list = accesses[current / 32];
  if (list.size() < n + halves) list.resize(n + halves);
  auto &words = list[n + (current % 32 * halves) / 32];
  for (size_t i = 0; i < halves; i++) words.push_back(reinterpret_cast<uintptr_t>(p) / 4 + i);
}

// shared_array is an array in static shared memory. The first thread of a block that reaches it fills it with
// NaN on the devices with another order.
template <typename T, size_t n>
struct shared_array {
  T data[n];
  uint64_t block = 0;
  void enter() {
    if (block == block_count) return;
    block = block_count;
    if (device >= backwards) std::memset(static_cast<void *>(data), 0xff, sizeof data);
  }
  T &operator[](size_t i) {
    if (i >= n) stop("an index beyond an array in shared memory");
    if (count_conflicts) note_access(&data[i], sizeof(T));
    return data[i];
  }
};

// run_warp runs a warp until its threads wait at a barrier or have ended.
inline void run_warp(unsigned first, unsigned size) {
  static std::vector<unsigned> lanes;
  for (;;) {
    turns(size, lanes);
    unsigned waiting = 0;
    for (unsigned lane : lanes) {
      if (threads[first + lane].at == state::ready) run_fiber(first + lane);
      waiting += threads[first + lane].at == state::shuffle;
    }
    if (count_conflicts) settle_accesses(first / 32);
    if (waiting == 0) return;
    if (waiting != size) stop("only part of a warp reaches a shuffle");
    for (unsigned i = first; i < first + size; i++) threads[i].at = state::ready;
  }
}

inline void run_block(unsigned n) {
  static std::vector<unsigned> warps;
  block_count++;
  if (device >= backwards) std::memset(dynamic, 0xff, sizeof dynamic);
  for (unsigned i = 0; i < n; i++) threads[i].at = state::ready;
  for (;;) {
    for (unsigned w : turns((n + 31) / 32, warps)) run_warp(w * 32, std::min(32u, n - w * 32));
    unsigned done = 0;
    for (unsigned i = 0; i < n; i++) done += threads[i].at == state::done;
    if (done == n) return;
    if (done > 0) stop("only part of a block reaches a barrier");
    for (unsigned i = 0; i < n; i++) threads[i].at = state::ready;
  }
}

// The barriers that are listed, and the one that is left out.
inline bool list_barriers;
inline std::set<std::string> barriers;
inline std::string left_out;

inline void sync(const char *file, int line) {
  if (list_barriers || !left_out.empty()) {
    const char *slash = std::strrchr(file, '/');
    std::string name = (slash ? slash + 1 : file) + (":" + std::to_string(line));
    if (list_barriers && current == 0) barriers.insert(name);
    if (name == left_out) return;
  }
  wait(state::barrier);
}

inline void run_grid(dim3 grid, dim3 block, bool fibers, const std::function<void()> &f) {
  static std::vector<unsigned> blocks, order;
  grid_size = grid, block_size = block, body = f, waits = fibers;
  const char *list = std::getenv("LB_EMU_LIST_BARRIERS"), *without = std::getenv("LB_EMU_WITHOUT_BARRIER");
  list_barriers = list != nullptr, left_out = without ? without : "";
  count_conflicts = std::getenv("LB_EMU_COUNT_CONFLICTS") != nullptr;
  unsigned n = block.x * block.y;
  if (n > most_threads) stop("a block of more than 1024 threads");
  if (n == 0 || grid.x == 0 || grid.y == 0 || grid.x > 0x7fffffffu || grid.y > 0xffffu)
    stop("the grid is empty or exceeds the limits of a GPU");
  for (unsigned b : turns(grid.x * grid.y, blocks)) {
    block_index = dim3(b % grid.x, b / grid.x);
    if (waits) {
      run_block(n);
      continue;
    }
    for (unsigned i : turns(n, order)) {
      thread_index = dim3(i % block.x, i / block.x);
      f();
    }
  }
}

struct stream;
struct node {
  std::function<void()> run;
  std::vector<size_t> after;  // nodes
  int stream;
};
struct graph {
  std::vector<node> nodes;
  std::vector<stream *> streams;  // streams of the capture; empty once it has ended
};
inline int streams_made;
struct stream {
  int number = streams_made++;
  std::shared_ptr<graph> capture;  // nullptr: not capturing
  std::vector<size_t> after;       // dependencies of the next node
  std::vector<size_t> late;        // dependencies of the next entry in queue, outside of a capture
};
struct event {
  std::shared_ptr<graph> capture;
  std::vector<size_t> after, late;
  double seconds = 0;
};

inline thread_local int first_stream = -1;  // number of the stream that was created first

// queue is the deferred work; run is empty in entries that have been executed.
inline thread_local std::vector<node> queue;

// finish executes the listed entries of queue and their dependencies, and nothing else.
inline void finish(const std::vector<size_t> &list) {
  for (size_t i : list) {
    if (!queue[i].run) continue;
    finish(std::exchange(queue[i].after, {}));
    std::exchange(queue[i].run, nullptr)();
  }
}
inline void finish_all() {
  for (size_t i = 0; i < queue.size(); i++) finish({i});
}

// submit executes f, or adds it to the graph that s captures, or defers it until the host waits.
template <typename F>
void submit(stream *s, F f) {
  if (s->capture) {
    s->capture->nodes.push_back({f, s->after, s->number});
    s->after = {s->capture->nodes.size() - 1};
    return;
  }
  if (device != sides_ahead && device != all_late) return f();
  queue.push_back({f, s->late, s->number});
  s->late = {queue.size() - 1};
  if (device == sides_ahead && s->number != first_stream) finish(s->late);
}

// choose picks one of the ready nodes.
inline size_t choose(const graph &g, const std::vector<size_t> &ready) {
  if (device >= by_chance) return roll(ready.size());
  auto before = [&](size_t a, size_t b) {
    int by = g.nodes[ready[a]].stream - g.nodes[ready[b]].stream;
    return device == last_stream_first ? by > 0 : by < 0;
  };
  size_t best = 0;
  for (size_t i = 1; i < ready.size(); i++)
    if (before(i, best)) best = i;
  return best;
}

inline void replay(const graph &g) {
  if (device == in_turn || device >= backwards) {
    for (const node &n : g.nodes) n.run();
    return;
  }
  std::vector<size_t> left(g.nodes.size()), ready;
  std::vector<std::vector<size_t>> next(g.nodes.size());
  for (size_t i = 0; i < g.nodes.size(); i++) {
    left[i] = g.nodes[i].after.size();
    for (size_t before : g.nodes[i].after) next[before].push_back(i);
    if (left[i] == 0) ready.push_back(i);
  }
  while (!ready.empty()) {
    size_t at = choose(g, ready), i = ready[at];
    ready.erase(ready.begin() + static_cast<int64_t>(at));
    g.nodes[i].run();
    for (size_t n : next[i])
      if (--left[n] == 0) ready.push_back(n);
  }
}

// joined tells whether every node is one of last or precedes one of them.
inline bool joined(const graph &g, const std::vector<size_t> &last) {
  std::vector<bool> reached(g.nodes.size());
  for (size_t i : last) reached[i] = true;
  for (size_t i = g.nodes.size(); i-- > 0;)
    for (size_t before : g.nodes[i].after)
      if (reached[i]) reached[before] = true;
  return std::find(reached.begin(), reached.end(), false) == reached.end();
}

}  // namespace emu

#define threadIdx (emu::thread_index)
#define blockIdx (emu::block_index)
#define blockDim (emu::block_size)
#define gridDim (emu::grid_size)

#define __syncthreads() emu::sync(__FILE__, __LINE__)

template <typename V>
V __shfl_xor_sync(unsigned, V v, int mask) {
  unsigned me = emu::current;
  static_assert(sizeof v <= sizeof(uint64_t), "a shuffle of at most 8 bytes");
  std::memcpy(&emu::slots[me], &v, sizeof v);
  emu::wait(emu::state::shuffle);
  V r;
  std::memcpy(&r, &emu::slots[me ^ static_cast<unsigned>(mask)], sizeof r);
  emu::wait(emu::state::shuffle);
  return r;
}

inline void __syncwarp() { emu::wait(emu::state::shuffle); }

inline int __syncthreads_or(int any) {
  emu::slots[emu::current] = any != 0;
  emu::wait(emu::state::barrier);
  int r = 0;
  for (unsigned i = 0; i < emu::block_size.x * emu::block_size.y; i++) r |= emu::slots[i] != 0;
  emu::wait(emu::state::barrier);
  return r;
}

// Blocks run one after the other: what one has stored, the next one sees.
inline void __threadfence() {}
inline unsigned atomicInc(unsigned *to, unsigned last) {
  unsigned old = *to;
  *to = old >= last ? 0 : old + 1;
  return old;
}

// Arithmetic that is not fused. The host's compiler fuses nothing without -march.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }

// The runtime.
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNoDevice = 100,
  cudaErrorStreamCaptureUnjoined = 904,
  cudaErrorStreamCaptureIsolation = 905
};
using cudaStream_t = emu::stream *;
using cudaEvent_t = emu::event *;
using cudaGraph_t = emu::graph *;
using cudaGraphExec_t = emu::graph *;
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum {
  cudaStreamNonBlocking = 1,
  cudaEventDefault = 0,
  cudaEventDisableTiming = 2,
  cudaHostAllocDefault = 0
};
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal };
struct cudaDeviceProp {
  char name[256];
  struct {
    char bytes[16];
  } uuid;
  size_t totalGlobalMem;
  int major, minor, multiProcessorCount;
};

namespace emu {
constexpr size_t total = size_t{64} << 30;  // memory of the emulated device
inline size_t used;
inline std::vector<std::pair<void *, size_t>> allocations;
}  // namespace emu

inline const char *cudaGetErrorString(cudaError_t e) {
  return e == cudaErrorMemoryAllocation         ? "out of memory"
         : e == cudaSuccess                     ? "no error"
         : e == cudaErrorStreamCaptureUnjoined  ? "a stream of the capture was not joined"
         : e == cudaErrorStreamCaptureIsolation ? "an event from outside of the capture"
                                                : "invalid argument";
}
namespace emu {
// failed records an error until cudaGetLastError returns it, as CUDA does.
inline cudaError_t last_error = cudaSuccess;
inline cudaError_t failed(cudaError_t e) { return last_error = e; }
}  // namespace emu
inline cudaError_t cudaGetLastError() { return std::exchange(emu::last_error, cudaSuccess); }
inline cudaError_t cudaGetDeviceCount(int *n) { return *n = emu::order_count, cudaSuccess; }
inline cudaError_t cudaSetDevice(int i) {
  emu::device = i, emu::dice = static_cast<uint64_t>(i);
  return cudaSuccess;
}
inline cudaError_t cudaDriverGetVersion(int *v) { return *v = 0, cudaSuccess; }
inline cudaError_t cudaRuntimeGetVersion(int *v) { return *v = 0, cudaSuccess; }
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int) {
  *p = {"emulated", {}, emu::total, 0, 0, 4};
  return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
  *total = emu::total, *free = emu::total - emu::used;
  return cudaSuccess;
}
inline cudaError_t cudaMalloc(void **p, size_t n) {
  if (n > emu::total - emu::used || posix_memalign(p, 256, n) != 0)
    return emu::failed(cudaErrorMemoryAllocation);
  emu::used += n, emu::allocations.push_back({*p, n});
  return cudaSuccess;
}
inline cudaError_t cudaFree(void *p) {
  emu::finish_all();
  for (auto &a : emu::allocations)
    if (a.first == p && p) {
      emu::used -= a.second;
      std::swap(a, emu::allocations.back());
      emu::allocations.pop_back();
      std::free(p);
      return cudaSuccess;
    }
  return p ? emu::failed(cudaErrorInvalidValue) : cudaSuccess;
}
inline cudaError_t cudaHostAlloc(void **p, size_t n, unsigned) {
  *p = std::malloc(n);
  return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}
inline cudaError_t cudaFreeHost(void *p) { return emu::finish_all(), std::free(p), cudaSuccess; }
inline cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind, cudaStream_t s) {
  emu::submit(s, [=] { std::memmove(to, from, n); });
  return cudaSuccess;
}
inline cudaError_t cudaMemset(void *to, int c, size_t n) { return std::memset(to, c, n), cudaSuccess; }
inline cudaError_t cudaMemsetAsync(void *to, int c, size_t n, cudaStream_t s) {
  emu::submit(s, [=] { std::memset(to, c, n); });
  return cudaSuccess;
}
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned) {
  *s = new emu::stream;
  if (emu::first_stream < 0) emu::first_stream = (*s)->number;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t s) { return delete s, cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t s) { return emu::finish(s->late), cudaSuccess; }
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned) {
  return *e = new emu::event, cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t e) { return delete e, cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  e->seconds = static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  e->capture = s->capture, e->after = s->after, e->late = s->late;
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t e) { return emu::finish(e->late), cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b) {
  return *ms = static_cast<float>(1e3 * (b->seconds - a->seconds)), cudaSuccess;
}
// A stream that waits for an event of a capture joins the capture.
inline cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned = 0) {
  if (s->capture && s->capture != e->capture) return emu::failed(cudaErrorStreamCaptureIsolation);
  if (!e->capture) {
    s->late.insert(s->late.end(), e->late.begin(), e->late.end());
    return cudaSuccess;
  }
  if (e->capture->streams.empty()) return emu::failed(cudaErrorStreamCaptureIsolation);
  if (!s->capture) {
    s->capture = e->capture;
    s->capture->streams.push_back(s);
  }
  s->after.insert(s->after.end(), e->after.begin(), e->after.end());
  return cudaSuccess;
}
inline cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
  s->capture = std::make_shared<emu::graph>();
  s->capture->streams = {s};
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g) {
  auto captured = s->capture;
  bool complete = emu::joined(*captured, s->after);
  *g = complete ? new emu::graph(*captured) : nullptr;
  for (emu::stream *t : captured->streams) t->capture = nullptr, t->after.clear();
  captured->streams.clear();
  return complete ? cudaSuccess : emu::failed(cudaErrorStreamCaptureUnjoined);
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t *x, cudaGraph_t g, unsigned long long = 0) {
  return *x = new emu::graph(*g), cudaSuccess;
}
inline cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaGraphDestroy(cudaGraph_t g) { return delete g, cudaSuccess; }
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t g) { return delete g, cudaSuccess; }
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t g, cudaStream_t s) {
  emu::submit(s, [g = *g] { emu::replay(g); });
  return cudaSuccess;
}
