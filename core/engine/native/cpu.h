// Shared by the kernels of the cpu backend: its device, their families, threads.
#pragma once
#include <omp.h>

#include "bf16.h"
#include "program.h"

// No kernel reads the flags of floating-point exceptions. If they had to be correct, GCC would not
// vectorize loops with conditional values. Results do not change.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math")
#endif

// Own kernels are compiled for each of these, and the loader picks: so a binary
// runs anywhere and is fast where it can be.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define LB_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define LB_CLONES
#endif

// LB_CLONES_float and LB_CLONES_bf16 are for kernels that a macro writes for both element types. Vectors of
// 512 bits of 16-bit numbers need more than AVX-512F: AVX-512BW, which every processor of x86-64-v4 has.
#define LB_CLONES_float LB_CLONES
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define LB_CLONES_bf16 __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define LB_CLONES_bf16 LB_CLONES
#endif

#define LB_INLINE static inline __attribute__((always_inline))

namespace lb {

// code_headroom is more than oneDNN allocates to generate the code of one primitive.
constexpr uint64_t code_headroom = 8 << 20;

// require_memory throws LB_OUT_OF_MEMORY if this many bytes cannot be allocated at the moment, as under
// RLIMIT_DATA. oneDNN 2.6 does not check its allocations of code, and dereferences a null pointer.
void require_memory(uint64_t bytes);

struct convolutions;  // the cache of oneDNN primitives, conv.cc

// with_threads has the library and OpenMP use this many threads during its lifetime.
class with_threads {
 public:
  explicit with_threads(int n) : before_(omp_get_max_threads()) { omp_set_num_threads(n); }
  ~with_threads() { omp_set_num_threads(before_); }
  with_threads(const with_threads &) = delete;
  with_threads &operator=(const with_threads &) = delete;

 private:
  int before_;
};

struct cpu : device {
  int threads = 1;
  int width = 0;  // floats of a vector of our convolutions: 16 AVX-512, 8 AVX2 with FMA, 0 neither
  uint64_t workspace_limit = 0;  // bytes of workspace that a kernel may need at the most; 0: no limit
  std::string convolution;  // the kernel of every convolution that it can compute; empty: the table decides
  std::shared_ptr<convolutions> cache;
  std::shared_ptr<cpu> single;  // the same of one thread, for blocks.cc

  std::string describe() override;
  std::unique_ptr<kernel> choose(const op &) override;
  std::shared_ptr<memory> allocate(uint64_t bytes) override;
  void fill(memory &, uint8_t pattern) override;
  void copy_out(void *to, const uint8_t *from, uint64_t bytes) override;
  void write(program &, value &, uint64_t offset, const void *from, uint64_t bytes) override;
  void run(program &, uint64_t first, uint64_t last, int32_t &at) override;
};

// One function for each family: it returns the kernel of an op of one of its kinds.
#define LB_MAKE(name) std::unique_ptr<kernel> make_##name(const op &, cpu &);
LB_FAMILIES(LB_MAKE)
#undef LB_MAKE
// make_strips returns the kernel of a convolution that does work of a normalisation, a strip of rows at a
// time, or nullptr where its convolutions have no such kernels.
std::unique_ptr<kernel> make_strips(const op &, cpu &);
// make_blocks returns a kernel that runs the f32 kernel of an op with tensors in bf16 on blocks of its
// samples.
std::unique_ptr<kernel> make_blocks(const op &, cpu &);
// make_own_conv returns our own kernel of a convolution, or nullptr where oneDNN's serves: it is faster, or
// the only one. `library` is oneDNN's time in proportion to that of the table of rates.
std::unique_ptr<kernel> make_own_conv(const op &o, cpu &d, const value &x, const value &w, const value &y,
                                      bool bias, double library = 1);
// The Winograd kernels F(2x2, 3x3), for convolutions without bias, and F(4x4, 3x3).
std::unique_ptr<kernel> make_winograd2(const op &, cpu &, const value &x, const value &w, const value &y);
std::unique_ptr<kernel> make_winograd4(const op &, cpu &, const value &x, const value &w, const value &y);
// The kernel F(4, 3) along rows, of tensors in bf16, or nullptr.
std::unique_ptr<kernel> make_winograd_rows(const op &, cpu &, const value &x, const value &w);
// The direct kernel of the forward pass of a 3x3 convolution of stride 2, or nullptr.
std::unique_ptr<kernel> make_strided_conv(const op &, cpu &, const value &x, const value &w, const value &y);
// The direct kernels of the gradient of the input and of the weights of a 3x3 convolution of stride 2, or
// nullptr.
std::unique_ptr<kernel> make_strided_data(const op &, cpu &, const value &x, const value &w, const value &y);
std::unique_ptr<kernel> make_strided_weights(const op &, cpu &, const value &x, const value &w,
                                             const value &y);
// The direct kernels of depthwise convolutions, 3x3 to 7x7: of the forward pass and the gradient of the
// input, and of that of the weights, or nullptr.
std::unique_ptr<kernel> make_depthwise(const op &, cpu &, const value &x, const value &w, const value &y);
std::unique_ptr<kernel> make_depthwise_weights(const op &, cpu &, const value &x, const value &w,
                                               const value &y);
// The direct kernel of a 3x3 convolution of stride 1 with at most 16 channels in and 4 out, or nullptr.
std::unique_ptr<kernel> make_narrow_conv(const op &, cpu &, const value &x, const value &w);
// F(4x4, 3x3) for groups of this many channels, where they divide those of the result (of dy, for the
// gradient of the weights), or nullptr.
std::unique_ptr<kernel> make_grouped_conv(const op &, cpu &, const value &x, const value &w, const value &y,
                                          int64_t group);
// The kernel of a 1x1 convolution of stride 1 whose numbers of channels are multiples of 16, or nullptr.
std::unique_ptr<kernel> make_product_conv(const op &, cpu &, const value &x, const value &w);
// The kernel that make_own_conv returns where numbers of channels are multiples of 16, for others; or
// nullptr.
std::unique_ptr<kernel> make_padded_conv(const op &, cpu &, const value &x, const value &w, const value &y);

// convolution is x, w and y of a forward convolution; an op of the backward pass has the gradients of two of
// them in their place.
struct convolution {
  const value &x, &w, &y;
};
inline convolution convolution_of(const op &o) {
  const value &first = *o.operands[0], &second = *o.operands[1], &result = *o.results[0];
  if (o.kind == kind_conv_backward_data) return {result, second, first};
  if (o.kind == kind_conv_backward_weights) return {first, result, second};
  return {first, second, result};
}

// halves tells whether a convolution is 3x3, of stride 2 and padding 1, of images with even sides.
inline bool halves(const attributes &a, const value &x, const value &w) {
  return w.dims[1] == 3 && w.dims[2] == 3 && a.stride[0] == 2 && a.stride[1] == 2 && a.padding[0] == 1 &&
         a.padding[1] == 1 && a.dilation[0] == 1 && a.dilation[1] == 1 && x.dims[1] % 2 == 0 &&
         x.dims[2] % 2 == 0;
}
template <typename T>  // float or bf16
void sum_columns(const T *x, int64_t rows, int64_t columns, float *sum, int threads);
std::string onednn_version();
// onednn_isa names the instruction set that oneDNN uses: the processor's, limited by ONEDNN_MAX_CPU_ISA.
std::string onednn_isa();
// multiplies_bf16 tells whether oneDNN has kernels that multiply bf16 by instructions for it.
bool multiplies_bf16();
// rounds_bf16 tells whether kernels round to bf16 by the instruction of AVX512_BF16.
extern const bool rounds_bf16;

// typed calls f with a number of the element type of a tensor, f32 or bf16.
template <typename F>
auto typed(const value &v, F f) {
  return v.type == type_bf16 ? f(bf16{}) : f(0.0f);
}

// function wraps a kernel that needs no state.
struct function : kernel {
  void (*call)(const op &, int threads);
  int threads;
  function(void (*f)(const op &, int), int t) : call(f), threads(t) {}
  void run(const op &o) override { call(o, threads); }
};

// Ops of fewer elements are not divided into parts: they take 2 to 5 us on one thread, and starting and
// ending a parallel region takes 1 us while its threads spin (BenchmarkThreads, docs/performance.md).
constexpr int64_t serial_limit = 65536;

// Parts of memory-bound ops of fewer elements are computed by one thread, without a parallel region. Where
// threads sleep while they wait (OMP_WAIT_POLICY=passive), waking them takes 7 us and more, and this is
// larger than serial_limit.
extern const int64_t light_limit;

// exponential is exp(x) for x in [-87, 88], and that of the nearer end elsewhere, to two
// units in the last place: a polynomial (Cephes) that loops can be vectorised over. NaN stays
// NaN: it goes through the polynomial, and not through the exponent, which is an integer.
static inline __attribute__((always_inline)) float exponential(float x) {
  x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  constexpr float whole = 12582912.0f;  // adding it rounds to an integer
  float n = x * 1.44269504f + whole - whole;
  float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float y = 1.9875691500e-4f;  // unrolled by hand: an inner loop would prevent vectorization of the outer one
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  auto exponent = static_cast<int32_t>(n == n ? n : 0.0f) + 127;  // 1 to 254
  return (y * r * r + r + 1) * __builtin_bit_cast(float, exponent << 23);
}

static inline __attribute__((always_inline)) float sigmoid(float x) { return 1 / (1 + exponential(-x)); }

// silu_slope is the derivative of x * sigmoid(x).
static inline __attribute__((always_inline)) float silu_slope(float x) {
  float s = sigmoid(x);
  return s * (1 + x * (1 - s));
}

// error_function is erf(x) to about 3e-7: a quotient of polynomials, as in Eigen. NaN stays NaN.
static inline __attribute__((always_inline)) float error_function(float x) {
  x = x < -4.0f ? -4.0f : x > 4.0f ? 4.0f : x;
  float u = x * x, p = -2.72614225801306e-10f, q = -1.45660718464996e-05f;
  p = p * u + 2.77068142495902e-08f;
  p = p * u - 2.10102402082508e-06f;
  p = p * u - 5.69250639462346e-05f;
  p = p * u - 7.34990630326855e-04f;
  p = p * u - 2.95459980854025e-03f;
  p = p * u - 1.60960333262415e-02f;
  q = q * u - 2.13374055278905e-04f;
  q = q * u - 1.68282697438203e-03f;
  q = q * u - 7.37332916720468e-03f;
  q = q * u - 1.42647390514189e-02f;
  return x * p / q;
}

// clip rectifies x, to at most top; passes says whether the gradient does. NaN stays
// NaN.
static inline __attribute__((always_inline)) float clip(float x, float top) {
  x = 0 > x ? 0 : x;
  return x > top ? top : x;
}
static inline __attribute__((always_inline)) bool passes(float x, float top) { return x > 0 && x < top; }

static inline __attribute__((always_inline)) float hardsigmoid(float x) {
  return clip(x + 3, 6) * (1.0f / 6);
}
static inline __attribute__((always_inline)) float hardswish_slope(float x) {
  float inner = x * (1.0f / 3) + 0.5f;
  return x <= -3 ? 0 : x < 3 ? inner : 1;
}

// parallel calls f(begin, end, part) on parts of [0, n) that are whole multiples of grain, the same parts for
// the same number of threads. Of fewer elements than one_thread the parts are computed one after the other,
// by the calling thread.
template <typename F>
void parallel(int64_t n, int64_t grain, int threads, int64_t elements, F f,
              int64_t one_thread = serial_limit) {
  int64_t blocks = (n + grain - 1) / grain;
  if (elements < serial_limit || threads == 1 || blocks < 2) {
    f(int64_t{0}, n, 0);
    return;
  }
  auto part = [&](int64_t t, int64_t all) {
    int64_t from = blocks * t / all * grain, to = blocks * (t + 1) / all * grain;
    if (to > n) to = n;
    if (from < to) f(from, to, static_cast<int>(t));
  };
  if (elements < one_thread) {
    for (int64_t t = 0; t < threads; t++) part(t, threads);
    return;
  }
#pragma omp parallel num_threads(threads)
  part(omp_get_thread_num(), omp_get_num_threads());
}

// parallel_light is parallel for n elements of an op that is bound by memory.
template <typename F>
void parallel_light(int64_t n, int64_t grain, int threads, F f) {
  parallel(n, grain, threads, n, f, light_limit);
}

}  // namespace lb
