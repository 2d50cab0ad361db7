// What the kernels of the CUDA backend share: the device, launching, and access to memory in
// pieces of 16 bytes. Compiled with LB_EMU it runs on the host (emu.h).
//
// A new kernel: launch_blocks if it has barriers or shuffles, else launch or each; LB_SHARED for arrays in
// shared memory; 64-bit offsets into tensors. Its tests are cases of its kind in core/optest: TestParity and
// TestBarriers (core/engine) find them, the latter by the barriers that a case reaches: nothing is
// registered. For every __syncthreads() there must be a case that fails without it, and where a block takes
// several pieces in turn a case in optest.LargeCases that makes it do so.
#pragma once
#ifdef LB_EMU
#include "emu.h"
#else
#include <cuda_runtime.h>
#endif

#include "../native/epilogue.h"
#include "../native/program.h"
#include "../native/prologue.h"

namespace lb {

// checked fails with the runtime's text. Faults that leave the context unusable are
// LB_DEVICE_LOST.
void checked(cudaError_t, const char *doing);

struct libraries;  // handles of cuDNN and cuBLAS, and the engines chosen; library.cc
struct gpu;
std::string choices_of(const program &,
                       gpu &);  // the kernels chosen for a program, as lines of a tuning cache

// gpu is the device. Everything runs on its first stream, or is captured from it; ops of other
// streams run on CUDA streams that fork from the first one and join it again within a run.
struct gpu : device {
  explicit gpu(const lb_options &);
  ~gpu() override;
  std::string describe() override;
  std::unique_ptr<kernel> choose(const op &) override;
  std::unique_ptr<program> new_program() override;
  void bound(program &) override;
  std::shared_ptr<memory> allocate(uint64_t bytes) override;
  void fill(memory &, uint8_t pattern) override;
  void copy_out(void *to, const uint8_t *from, uint64_t bytes) override;
  void write(program &, value &, uint64_t offset, const void *from, uint64_t bytes) override;
  void read(program &, const value &, uint64_t offset, void *to, uint64_t bytes) override;
  void run(program &, uint64_t first, uint64_t last, int32_t &at) override;
  void settle(program &) override;
  std::string choices(const program &p) override { return choices_of(p, *this); }

  // counter returns a number on the device for the kernels of the current stream, which run one after the
  // other: it is 0 before and after each kernel.
  unsigned *counter() { return counters_ + stream_index; }

  bool planning;  // there is no device: kernels are chosen, nothing runs
  bool tf32, deterministic;
  bool tune;  // engines are timed before one is chosen
  bool own;   // our own kernels are preferred to those of libraries
  uint64_t workspace_limit;
  std::string plan_book;
  std::string properties;         // of the device to plan for, in cuDNN's JSON; empty: unknown
  cudaStream_t stream = nullptr;  // the first one; while an op is launched, the stream of that op
  int32_t stream_index = 0;       // of the op that is launched
  std::shared_ptr<libraries> library;

 private:
  void note_memory(const char *stage);
  void eager(program &, uint64_t first, uint64_t last, int32_t &at, std::vector<double> *seconds);
  cudaGraphExec_t capture(program &, uint64_t first, uint64_t last, int32_t &at);
  friend class fan;
  unsigned *counters_ = nullptr;         // one for each stream
  static constexpr int slot_count = 10;  // two batches of images, words, labels, rate and stream
  int index_;
  bool scatter_;
  std::vector<cudaStream_t> streams_;  // the first one also runs everything that is not an op
  std::string name_, uuid_;
  bool ran_ = false;
  std::vector<std::pair<std::string, uint64_t>> setup_memory_;  // used bytes of the device after each stage
  struct slot {                                                 // a pinned staging buffer for writes
    uint8_t *data = nullptr;
    uint64_t bytes = 0;
    cudaEvent_t free = nullptr;
  } slots_[slot_count];
  int next_ = 0;
  cudaStream_t copies_ = nullptr;  // stream of copies of inputs, concurrent with the program
  const program *last_ = nullptr;  // the program that ran last; compared, never dereferenced
};

// gpu_kernel is the base of our own kernels: nothing to bind, everything on the device's stream.
struct gpu_kernel : kernel {
  gpu &d;
  explicit gpu_kernel(gpu &g) : d(g) {}
  // parts are the ops that are computed for an op: itself, or if its tensors are too large parts of its
  // batch.
  virtual std::vector<const op *> parts(const op &o) const { return {&o}; }
};

// One function for each family: it returns the kernel of an op of one of its kinds.
#define LB_MAKE(name) std::unique_ptr<kernel> make_##name(const op &, gpu &);
LB_FAMILIES(LB_MAKE)
#undef LB_MAKE
std::unique_ptr<kernel> make_plain(const op &, gpu &);     // plain.cu: conv and linear without libraries
std::unique_ptr<kernel> make_mma_conv(const op &, gpu &);  // nullptr: unsupported shapes

// make_normalised returns the kernel of a convolution that normalises its input, from a function that makes
// the kernel of one that does not: the input is normalised in the workspace first.
template <typename F>
std::unique_ptr<kernel> make_normalised(const op &o, gpu &d, F conv) {
  return std::make_unique<normalised<gpu_kernel>>(
      o, [&](const op &inner) { return make_norm(inner, d); }, conv, d);
}

// then_statistics runs a convolution, and norm_stats on its result.
struct then_statistics : with_statistics<gpu_kernel> {
  using with_statistics<gpu_kernel>::with_statistics;
  std::vector<const op *> parts(const op &) const override {
    return static_cast<const gpu_kernel &>(*conv.work).parts(conv);
  }
};

// own_convolution is the name of our own kernels of convolutions.
extern const char *const own_convolution;

// make_split returns the kernel of an op whose tensors have 2^31 elements or more, in parts of the batch
// (split.cu); nullptr: it needs none.
std::unique_ptr<kernel> make_split(const op &, gpu &);

// update_many runs consecutive updates of one rate and one set of attributes at once.
void update_many(const op *first, size_t n, gpu &);
bool updates_alike(const op &, const op &);

// add_bias adds bias[c] to the rows of y; sum_columns writes the sums of the columns of x,
// and needs sum_columns_scratch bytes.
void add_bias(const value &y, const float *bias, gpu &);
void sum_columns(const value &x, float *sum, void *scratch, gpu &);
uint64_t sum_columns_scratch(const value &x);

// gather copies numbers to memory of the host that the device can reach.
constexpr int most_gathered = 256;
struct gather_list {
  const float *from[most_gathered];
};
void gather(const gather_list &, int n, float *to, gpu &);

// Defined in library.cc, or in plain_library.cc where there are no libraries.
std::shared_ptr<libraries> open_libraries(gpu &);
std::string describe_libraries();
std::string notes_of(
    const gpu &);  // lines of the description about the engines chosen; empty: nothing to say

constexpr unsigned threads_per_block = 256;

// launch runs a kernel without barriers and shuffles, launch_blocks one that may have them: the emulator
// (emu.h) needs to know. launch_shared also gives every block `bytes` bytes of dynamic shared memory.
#ifdef LB_EMU
template <typename... P, typename... A>
void launch(gpu &d, dim3 grid, dim3 block, void (*f)(P...), A... a) {
  emu::submit(d.stream, [=] { emu::run_grid(grid, block, false, [=] { f(a...); }); });
  checked(cudaGetLastError(), "kernel launch");
}
template <typename... P, typename... A>
void launch_blocks(gpu &d, dim3 grid, dim3 block, void (*f)(P...), A... a) {
  emu::submit(d.stream, [=] { emu::run_grid(grid, block, true, [=] { f(a...); }); });
  checked(cudaGetLastError(), "kernel launch");
}
template <typename... P, typename... A>
void launch_shared(gpu &d, dim3 grid, dim3 block, size_t bytes, void (*f)(P...), A... a) {
  if (bytes > emu::most_shared) emu::stop("more shared memory than a block has");
  launch_blocks(d, grid, block, f, a...);
}
#elif defined(__CUDACC__)
template <typename... P, typename... A>
void launch(gpu &d, dim3 grid, dim3 block, void (*f)(P...), A... a) {
  f<<<grid, block, 0, d.stream>>>(a...);
  checked(cudaGetLastError(), "kernel launch");
}
template <typename... P, typename... A>
void launch_blocks(gpu &d, dim3 grid, dim3 block, void (*f)(P...), A... a) {
  launch(d, grid, block, f, a...);
}
template <typename... P, typename... A>
void launch_shared(gpu &d, dim3 grid, dim3 block, size_t bytes, void (*f)(P...), A... a) {
  checked(cudaFuncSetAttribute(f, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
          "cudaFuncSetAttribute");
  f<<<grid, block, bytes, d.stream>>>(a...);
  checked(cudaGetLastError(), "kernel launch");
}
#endif

// LB_SHARED declares an array in shared memory. In the emulator its elements are accessed by [] only.
#ifdef LB_EMU
#define LB_SHARED(type, name, count)            \
  static emu::shared_array<type, (count)> name; \
  name.enter()
#else
#define LB_SHARED(type, name, count) __shared__ type name[count]
#endif

// An array stays in registers only if its indices are compile-time constants, so loops over it are unrolled.
// In a loop without stores, unrolling also lets loads of later iterations start early.
#ifdef LB_EMU
#define LB_UNROLL
#define LB_UNROLL_4
#define LB_NO_UNROLL
#else
#define LB_UNROLL _Pragma("unroll")
#define LB_UNROLL_4 _Pragma("unroll 4")
#define LB_NO_UNROLL _Pragma("unroll 1")
#endif

#if defined(LB_EMU) || defined(__CUDACC__)
// bf16 is the upper half of a float. Arithmetic is in float.
struct bf16 {
  uint16_t bits;
};

__host__ __device__ inline float widen(float x) { return x; }
__host__ __device__ inline float widen(bf16 x) {
  uint32_t u = static_cast<uint32_t>(x.bits) << 16;
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}
__host__ __device__ inline void narrow(float x, float &to) { to = x; }
__host__ __device__ inline void narrow(float x, bf16 &to) {  // to the nearest, ties to even
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  bool nan = (u & 0x7fffffffu) > 0x7f800000u;
  to.bits = static_cast<uint16_t>(nan ? u >> 16 | 0x40u : (u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

// Activations, as in native/cpu.h. NaN stays NaN.
__device__ inline float clip(float x, float top) {
  x = 0 > x ? 0 : x;
  return x > top ? top : x;
}
__device__ inline bool passes(float x, float top) { return x > 0 && x < top; }
__device__ inline float sigmoid(float x) { return 1 / (1 + expf(-x)); }
__device__ inline float silu_slope(float x) {
  float s = sigmoid(x);
  return s * (1 + x * (1 - s));
}

__device__ inline float hardsigmoid(float x) { return clip(x + 3, 6) * (1.0f / 6); }
__device__ inline float hardswish_slope(float x) { return x <= -3 ? 0 : x < 3 ? x * (1.0f / 3) + 0.5f : 1; }

// scale_shift computes the constants of a channel of a normalisation: y = x*scale + shift.
__device__ inline void scale_shift(float mean, float variance, float gamma, float beta, float epsilon,
                                   float &scale, float &shift) {
  scale = gamma / sqrtf(variance + epsilon);
  shift = beta - mean * scale;
}

// pack is the largest vector that a thread loads or stores with one instruction: 16 bytes. Values begin at
// multiples of 64 bytes, so that the last pack may reach into the padding after a value.
template <typename T>
constexpr int lanes = 16 / sizeof(T);
template <typename T>
struct alignas(16) pack {
  T v[lanes<T>];
};
template <typename T>
inline int64_t packs(int64_t n) {
  return (n + lanes<T> - 1) / lanes<T>;
}

// at returns the address of a value.
template <typename T>
T *at(const value *v) {
  return v ? reinterpret_cast<T *>(v->data) : nullptr;
}
template <typename T>
pack<T> *packed(const value *v) {
  return at<pack<T>>(v);
}

// typed calls f with a number of the value's element type.
template <typename F>
void typed(const value &v, F f) {
  if (v.type == type_bf16)
    f(bf16{});
  else
    f(float{});
}

template <typename F>
__global__ void __launch_bounds__(threads_per_block) each_kernel(int64_t n, F f) {
  int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) f(i);
}

// each calls f(i) for i in [0, n), in one or more iterations of a thread.
template <typename F>
void each(gpu &d, int64_t n, F f) {
  constexpr int64_t most = 132 * 32;  // a few full waves of a large GPU
  int64_t blocks = (n + threads_per_block - 1) / threads_per_block;
  launch(d, dim3(static_cast<unsigned>(blocks < most ? blocks : most)), dim3(threads_per_block),
         each_kernel<F>, n, f);
}
#endif

}  // namespace lb
