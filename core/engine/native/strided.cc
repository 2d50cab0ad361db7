//go:build !nocpu

// The forward pass of 3x3 convolutions of stride 2 with padding 1, of images with even sides: residual
// networks halve images by them. Direct: a group of results of a row, times two vectors of output channels,
// stays in registers while the inputs under their windows are read where they lie. The two rows of x that the
// next row of results needs are fetched to the second cache meanwhile.
//
// Of a window, only its first column and first row can be outside of the image: the first result of a row
// reads zeros instead of the column, and the row is left out. Workspace: the transposed weights. Threads
// divide the rows of all images.
//
// Order of summation: rows of the window, its columns, channels, each step one FMA, then the bias: the same
// for all instruction sets and numbers of threads.
#include <type_traits>

#include "prologue.h"
#include "simd.h"

namespace lb {

#if defined(__x86_64__)
namespace {

// The loops over accumulators must be unrolled, or these are in memory.
#define LB_UNROLL _Pragma("GCC unroll 16")

struct halving {
  int64_t n, p, q, in, out;  // x [n 2p 2q in], y [n p q out]
};

// transposed writes to[k][out] from w[out][k], k = 9 in, for the output channels from..end.
template <int W>
LB_INLINE void transposed(const float *w, int64_t from, int64_t end, int64_t out, int64_t k, float *to) {
  for (int64_t i = 0; i < k; i += 8)
    for (int64_t o = from; o < end; o += 8) transpose(w + o * k + i, k, to + i * out + o, out);
}

// results writes R results of a row, of the output channels of two vectors, from `first` on. x is the pixel
// under the middle of the first window; `top`: the window's first row is in the image. `column` is what
// stands under the first column of the first window, by row of it: of the image, or zeros.
template <int W, int R>
LB_INLINE void results(const halving &g, const float *x, bool top, const float *const column[3],
                       const float *w, const float *bias, int64_t first, float *y) {
  constexpr int Z = 2;
  floats<W> acc[R][Z];
  LB_UNROLL for (int r = 0; r < R; r++) for (int z = 0; z < Z; z++) acc[r][z] = floats<W>{};
  const int64_t in = g.in, line = 2 * g.q * in, next = 2 * in;
  for (int64_t i = top ? 0 : 1; i < 3; i++) {
    const float *at = x + (i - 1) * line - in, *head = column[i], *b = w + i * 3 * in * g.out + first;
    for (int64_t k = 0; k < in; k++, b += g.out) {
      floats<W> f[Z];
      for (int z = 0; z < Z; z++) f[z] = load<W>(b + z * W);
      for (int z = 0; z < Z; z++) acc[0][z] += head[k] * f[z];
      LB_UNROLL for (int r = 1; r < R; r++) for (int z = 0; z < Z; z++) acc[r][z] += at[r * next + k] * f[z];
    }
    for (int64_t k = in; k < 3 * in; k++, b += g.out) {
      floats<W> f[Z];
      for (int z = 0; z < Z; z++) f[z] = load<W>(b + z * W);
      LB_UNROLL for (int r = 0; r < R; r++) for (int z = 0; z < Z; z++) acc[r][z] += at[r * next + k] * f[z];
    }
  }
  for (int z = 0; z < Z; z++) {
    floats<W> added = bias ? load<W>(bias + first + z * W) : floats<W>{};
    LB_UNROLL for (int r = 0; r < R; r++)
        store<W>(y + r * g.out + first + z * W, bias ? acc[r][z] + added : acc[r][z]);
  }
}

// fetch fetches x[from], ..., x[end - 1] to the second cache.
LB_INLINE void fetch(const float *x, int64_t from, int64_t end) {
  for (int64_t k = from; k < end; k += 16) __builtin_prefetch(x + k, 0, 2);
}

// rows writes the rows of results from..end of all images.
template <int W>
LB_INLINE void rows(const halving *of, const float *x, const float *w, const float *bias, const float *zeros,
                    int64_t from, int64_t end, float *y) {
  constexpr int R = W == 16 ? 8 : 4;
  const halving g = *of;
  const int64_t line = 2 * g.q * g.in;
  for (int64_t row = from; row < end; row++) {
    const float *at = x + row * 2 * line;
    bool top = row % g.p > 0;
    int64_t z = 0;
    auto some = [&](auto count) __attribute__((always_inline)) {
      constexpr int C = decltype(count)::value;
      for (; z + C <= g.q; z += C) {
        if (row + 1 < end) fetch(at + 2 * line, 2 * line * z / g.q, 2 * line * (z + C) / g.q);
        const float *pixel = at + z * 2 * g.in, *column[3];
        for (int64_t i = 0; i < 3; i++) column[i] = z == 0 ? zeros : pixel + (i - 1) * line - g.in;
        for (int64_t k = 0; k < g.out; k += 2 * W)
          results<W, C>(g, pixel, top, column, w, bias, k, y + (row * g.q + z) * g.out);
      }
    };
    some(std::integral_constant<int, R>{});
    some(std::integral_constant<int, 4>{});
    some(std::integral_constant<int, 2>{});
    some(std::integral_constant<int, 1>{});
  }
}
#undef LB_UNROLL

template <int W>
struct strided_conv : kernel {
  using isa = machine<W>;
  int threads;
  halving g;
  strided_conv(const value &x, const value &w, const value &y, int t)
      : threads(t), g{x.dims[0], y.dims[1], y.dims[2], w.dims[3], w.dims[0]} {
    name = "direct, stride 2";
    scratch = static_cast<uint64_t>(4 * (9 * g.in * g.out + g.in));
  }
  void run(const op &o) override {
    auto *w = reinterpret_cast<float *>(o.scratch);
    float *zeros = w + 9 * g.in * g.out;
    for (int64_t k = 0; k < g.in; k++) zeros[k] = 0;
    parallel(g.out, 16, threads, 9 * g.in * g.out, [&](int64_t from, int64_t end, int) {
      isa::template call<transposed<W>>(o.in(1), from, end, g.out, 9 * g.in, w);
    });
    parallel(g.n * g.p, 1, threads, g.n * g.p * g.q * g.out * 16, [&](int64_t from, int64_t end, int) {
      isa::template call<rows<W>>(&g, o.in(0), w, o.in(2), zeros, from, end, o.out(0));
    });
  }
};

}  // namespace
#endif

std::unique_ptr<kernel> make_strided_conv(const op &o, cpu &d, const value &x, const value &w,
                                          const value &y) {
#if defined(__x86_64__)
  if (o.kind != kind_conv || !halves(o.attr, x, w) || o.attr.groups > 1 || w.dims[0] % 32 != 0 ||
      w.dims[3] % 8 != 0 || normalises_input(o))
    return nullptr;
  if (d.width == 16) return std::make_unique<strided_conv<16>>(x, w, y, d.threads);
  if (d.width == 8) return std::make_unique<strided_conv<8>>(x, w, y, d.threads);
#else
  (void)o, (void)d, (void)x, (void)w, (void)y;
#endif
  return nullptr;
}

}  // namespace lb
