// What the kernels of our own convolutions share: 3x3 with stride 1 and padding 1 between 16 or 32 channels
// (mma_conv.cu, mma_weights.cu). They divide the image into tiles of 256 elements: rows of all images, one
// below the other, by 8 or 16 columns. The rows above and below that belong to another image count as zeros.
#pragma once
#include <limits>

#include "mma.h"
#include "tile.h"

namespace lb {

constexpr int threads = 256, warps = threads / 32, pixels = 256, taps = 9;

struct image {
  int rows;  // of all images
  int h, w;
  int down, across;  // tiles
};

template <int TW>
image image_of(const value &x) {
  constexpr int TH = pixels / TW;
  image g;
  g.h = static_cast<int>(x.dims[1]), g.w = static_cast<int>(x.dims[2]);
  g.rows = static_cast<int>(x.dims[0]) * g.h;
  g.down = (g.rows + TH - 1) / TH, g.across = (g.w + TW - 1) / TW;
  return g;
}

struct alignas(16) quad {
  uint32_t word[4];
};

// rounded rounds the numbers of f32 to tf32.
__device__ inline quad rounded(quad v, float) {
  for (uint32_t &word : v.word) {
    float f;
    memcpy(&f, &word, sizeof f);
    word = to_tf32(f);
  }
  return v;
}
__device__ inline quad rounded(quad v, bf16) { return v; }

// with calls f with the numbers of channels and the width of a tile as compile-time constants.
template <auto N>
struct constant {
  static constexpr auto value = N;
};
template <typename F>
void with(int64_t c, int64_t k, int64_t w, F f) {
  auto wide = [&](auto a, auto b) { w > 8 ? f(a, b, constant<16>{}) : f(a, b, constant<8>{}); };
  auto second = [&](auto a) { k == 16 ? wide(a, constant<16>{}) : wide(a, constant<32>{}); };
  c == 16 ? second(constant<16>{}) : second(constant<32>{});
}

// The input may be normalised, with an activation that only clips, on its way from memory to shared memory:
// the normalised tensor is never stored. It is rounded as norm_apply rounds what it stores, so that products
// and sums have the same bits as with a normalised tensor. A border element outside of the tensor is zero and
// remains so: padding belongs to the normalised tensor.

// input says what happens to the elements of x while they are loaded.
enum class input { plain, normalised };

// prologue is the normalisation, of vectors [C], and the limits of the activation, also as pairs of bf16.
struct prologue {
  const float *mean, *variance, *gamma, *beta;
  float epsilon, bottom, top;
  uint32_t bottom_pair, top_pair;
};

inline prologue prologue_of(const op &o) {
  prologue p{};
  if (!normalises_input(o)) return p;
  size_t first = norm_input(o.kind);
  constexpr float infinity = std::numeric_limits<float>::infinity();
  p.mean = o.in(first), p.variance = o.in(first + 1), p.gamma = o.in(first + 2), p.beta = o.in(first + 3);
  p.epsilon = static_cast<float>(o.attr.epsilon);
  p.bottom = o.attr.rectifies() ? 0 : -infinity, p.top = o.attr.rectifies() ? o.attr.top() : infinity;
  auto pair = [](float x) {
    bf16 narrowed;
    narrow(x, narrowed);
    return narrowed.bits * 0x10001u;
  };
  p.bottom_pair = pair(p.bottom), p.top_pair = pair(p.top);
  return p;
}

// thread_index is threadIdx.x. With recompute the compiler does not know that, and recomputes the coordinates
// of a thread's pieces for every tile: else it keeps them in registers, and others spill.
template <bool recompute>
__device__ inline int thread_index() {
  int i = static_cast<int>(threadIdx.x);
#ifndef LB_EMU
  if (recompute) asm volatile("" : "+r"(i));
#endif
  return i;
}

// Words of shared memory for the constants of C channels: scales, then shifts.
template <int C, input I>
constexpr int constant_words = I == input::normalised ? 2 * C : 0;

// store_constants computes them, to[2][C]. A barrier must follow.
template <int C>
__device__ inline void store_constants(const prologue &p, float *to) {
  int c = static_cast<int>(threadIdx.x);
  if (c < C) scale_shift(p.mean[c], p.variance[c], p.gamma[c], p.beta[c], p.epsilon, to[c], to[C + c]);
}

// normalise_words normalises two words, of 2 or 4 channels, with their constants.
__device__ inline void normalise_words(uint32_t *word, const vec<float, 2> &scale, const vec<float, 2> &shift,
                                       const prologue &p) {
  LB_UNROLL
  for (int e = 0; e < 2; e++) {
    float x;
    memcpy(&x, word + e, sizeof x);
    x = clip_between(x * scale.v[e] + shift.v[e], p.bottom, p.top);
    memcpy(word + e, &x, sizeof x);
  }
}
// Numbers are rounded to bf16 before they are clipped, two at a time: rounding is monotone, so that the order
// of the two changes nothing.
__device__ inline void normalise_words(uint32_t *word, const vec<float, 4> &scale, const vec<float, 4> &shift,
                                       const prologue &p) {
  LB_UNROLL
  for (int e = 0; e < 2; e++) {
    float low = widen(bf16{static_cast<uint16_t>(word[e] & 0xffffu)}),
          high = widen(bf16{static_cast<uint16_t>(word[e] >> 16)});
    low = low * scale.v[2 * e] + shift.v[2 * e], high = high * scale.v[2 * e + 1] + shift.v[2 * e + 1];
    word[e] = clip_pair(narrow_pair(low, high), p.bottom_pair, p.top_pair);
  }
}

// normalise normalises a thread's pieces of a tile, and sets those to zero whose bit is not set in `inside`.
// All have the same channels, from `channel` on. Two words of each at a time: the constants of all do not fit
// into the registers.
template <typename T, int C, int n>
__device__ inline void normalise(quad (&v)[n], unsigned inside, const prologue &p, const float *constants,
                                 int channel) {
  constexpr int half = lanes<T> / 2;
  LB_UNROLL
  for (int h = 0; h < 2; h++) {
    vec<float, half> scale = load<float, half>(constants + channel + h * half),
                     shift = load<float, half>(constants + C + channel + h * half);
    LB_UNROLL
    for (int k = 0; k < n; k++) {
      uint32_t *word = v[k].word + 2 * h, mask = 0u - (inside >> k & 1u);
      normalise_words(word, scale, shift, p);
      word[0] &= mask, word[1] &= mask;
    }
  }
}

// weights_total adds the partial sums: a block computes 32 of the n elements, a multiple of 32, and
// each of its warps adds every eighth block.
template <typename T>
static __global__ void __launch_bounds__(threads)
    weights_total(const float *partial, T *dw, int blocks, int n) {
  LB_SHARED(double, shared, threads);
  int lane = static_cast<int>(threadIdx.x) % 32, i = static_cast<int>(blockIdx.x) * 32 + lane;
  double sum = 0;
  for (int b = static_cast<int>(threadIdx.x) / 32; b < blocks; b += warps) sum += partial[b * n + i];
  shared[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  for (int w = 1; w < warps; w++) sum += shared[w * 32 + lane];
  narrow(static_cast<float>(sum), dw[i]);
}

// Blocks of a kernel that writes partial sums: two for each multiprocessor of a large GPU.
constexpr int most_blocks = 132 * 2;

// make_mma_weights returns the kernel of the gradient with respect to the weights (mma_weights.cu).
std::unique_ptr<kernel> make_mma_weights(const op &, gpu &);

}  // namespace lb
