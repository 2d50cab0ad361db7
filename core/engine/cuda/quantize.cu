// Quantization of saved activations; core/graph/quantize.go defines it to the bit. 16 threads compute a group
// of 256 elements: thread j has the elements 16 i + j, which have their random bits in block j of the group,
// and all bits of a packed byte. The stream is read from memory, so that each replay of a graph rounds
// differently.
#include "../native/rng.h"
#include "gpu.h"

namespace lb {
namespace {

constexpr int64_t group = 256;
constexpr int columns = 16;  // threads of a group
constexpr float smallest_range = 1e-30f;

template <typename T>
struct quantize_args {
  const T *x;
  uint8_t *packed;
  float *ranges;
  rounding r;
  int64_t n, groups;
};

template <typename T, int bits>
__global__ void __launch_bounds__(threads_per_block) quantize_groups(quantize_args<T> a) {
  int j = static_cast<int>(threadIdx.x) % columns;
  int64_t at = (static_cast<int64_t>(blockIdx.x) * threads_per_block + threadIdx.x) / columns;
  int64_t g = at < a.groups ? at : a.groups - 1;  // threads past the end repeat the last group
  int64_t first = g * group + j;
  float v[columns];
  LB_UNROLL
  for (int i = 0; i < columns; i++) {
    int64_t e = first + columns * i;
    v[i] = widen(a.x[e < a.n ? e : g * group]);
  }
  float low = v[0], high = v[0];
  bool finite = true;
  LB_UNROLL
  for (int i = 0; i < columns; i++) {
    low = v[i] < low ? v[i] : low, high = v[i] > high ? v[i] : high;
    finite = finite && fabsf(v[i]) <= 3.40282347e38f;
  }
  int wrong = finite ? 0 : 1;
  for (int m = columns / 2; m > 0; m /= 2) {
    float l = __shfl_xor_sync(0xffffffffu, low, m), h = __shfl_xor_sync(0xffffffffu, high, m);
    low = l < low ? l : low, high = h > high ? h : high;
    wrong |= __shfl_xor_sync(0xffffffffu, wrong, m);
  }
  if (at != g) return;
  if (fabsf(low) < 1.17549435e-38f) low = 0;
  float range = high - low;
  if (wrong || !(range <= 3.40282347e38f))
    low = 0, range = NAN;
  else if (range < smallest_range)
    range = 0;
  if (j == 0) a.ranges[2 * g] = low, a.ranges[2 * g + 1] = range;

  constexpr float most = ((1 << bits) - 1) * 65536.0f;
  float scale = range > 0 ? most / range : 0;
  random_block w = a.r.words(static_cast<uint32_t>(g) * columns + static_cast<uint32_t>(j));
  uint8_t q[columns];
  LB_UNROLL
  for (int i = 0; i < columns; i++) {
    float t = range > 0 ? (v[i] - low) * scale : 0;
    t = t < most ? t : most;
    uint32_t level = (static_cast<uint32_t>(t) + bits_of(w.word[i % 4], i / 4)) >> 16;
    q[i] = static_cast<uint8_t>(first + columns * i < a.n && range > 0 ? level : 0);
  }
  constexpr int bytes = columns * bits / 8;  // of this thread
  uint8_t *to = a.packed + g * 32 * bits + j;
  LB_UNROLL
  for (int i = 0; i < bytes; i++)
    to[columns * i] = static_cast<uint8_t>(bits == 8 ? q[i] : q[i] | q[(i + bytes) % columns] << 4);
}

// mask_each computes one byte: bit k of byte b of a group is element 32 k + b.
template <typename T>
struct mask_each {
  const T *x;
  uint8_t *packed;
  float top;
  int64_t n;
  __device__ void operator()(int64_t i) const {
    int64_t first = i / 32 * group + i % 32;
    unsigned all = 0;
    for (int k = 0; k < 8; k++) {
      int64_t e = first + 32 * k;
      all |= (e < n && passes(widen(x[e]), top) ? 1u : 0u) << k;
    }
    packed[i] = static_cast<uint8_t>(all);
  }
};

// expand_each computes one vector: its elements are in one group, and in bytes that follow each other.
template <typename T, int bits>
struct expand_each {
  const uint8_t *packed;
  const float *ranges;
  pack<T> *y;
  __device__ void operator()(int64_t i) const {
    constexpr int period = 32 * bits;
    int64_t g = i * lanes<T> / group;
    int e = static_cast<int>(i * lanes<T> % group), shift = e / period * bits;
    const uint8_t *in = packed + g * period + e % period;
    float least = bits > 1 ? ranges[2 * g] : 0, step = bits > 1 ? ranges[2 * g + 1] / ((1 << bits) - 1) : 1;
    pack<T> out;
    for (int k = 0; k < lanes<T>; k++) {
      float q = static_cast<float>(in[k] >> shift & ((1 << bits) - 1));
      // Each operation is rounded on its own, as on the other backends.
      narrow(bits > 1 ? __fadd_rn(least, __fmul_rn(q, step)) : q, out.v[k]);
    }
    y[i] = out;
  }
};

struct quantized : gpu_kernel {
  using gpu_kernel::gpu_kernel;
  void run(const op &o) override {
    typed(o.kind == kind_quantize ? *o.operands[0] : *o.results[0], [&](auto number) {
      using T = decltype(number);
      o.kind == kind_quantize ? quantize<T>(o) : dequantize<T>(o);
    });
  }

  template <typename T>
  void quantize(const op &o) {
    const value &x = *o.operands[0], &y = *o.results[0];
    if (o.attr.bits == 1)
      return each(d, y.elements, mask_each<T>{at<T>(&x), y.data, o.attr.top(), x.elements});
    quantize_args<T> a{
        at<T>(&x),
        y.data,
        o.out(1),
        {reinterpret_cast<const uint32_t *>(o.operands[1]->data), static_cast<uint32_t>(o.attr.salt)},
        x.elements,
        (x.elements + group - 1) / group};
    constexpr int64_t groups = threads_per_block / columns;  // of a block
    dim3 grid(static_cast<unsigned>((a.groups + groups - 1) / groups));
    launch_blocks(d, grid, dim3(threads_per_block),
                  o.attr.bits == 8 ? quantize_groups<T, 8> : quantize_groups<T, 4>, a);
  }

  template <typename T>
  void dequantize(const op &o) {
    const value &y = *o.results[0];
    const uint8_t *from = o.operands[0]->data;
    int64_t n = packs<T>(y.elements);
    if (o.attr.bits == 8)
      each(d, n, expand_each<T, 8>{from, o.in(1), packed<T>(&y)});
    else if (o.attr.bits == 4)
      each(d, n, expand_each<T, 4>{from, o.in(1), packed<T>(&y)});
    else
      each(d, n, expand_each<T, 1>{from, o.in(1), packed<T>(&y)});
  }
};

}  // namespace

std::unique_ptr<kernel> make_quantize(const op &, gpu &d) { return std::make_unique<quantized>(d); }

}  // namespace lb
