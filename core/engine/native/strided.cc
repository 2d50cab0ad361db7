//go:build !nocpu

// The forward pass of 3x3 convolutions of stride 2 with padding 1, of images with even sides, in any number
// of groups: residual networks halve images by them. Direct: the sums of a few results of a row, of one or
// two vectors of output channels, stay in registers while the pixels under their windows are read where they
// lie. A pixel at an odd column is read once for the two windows that it is in.
//
// A few rows of results are computed for 16 or 32 output channels, then for the next ones, so that the filter
// of these and the rows stay in the caches. The rows of x that are needed after them are fetched to the
// second cache meanwhile.
//
// Only the first row and the first column of a window can be outside of the image: they are left out.
// Workspace: the transposed weights. Threads divide the rows of all images.
//
// Order of summation: rows of the window, channels, columns, each step one FMA, then the bias: the same for
// all instruction sets and numbers of threads.
#include <algorithm>

#include "direct.h"

namespace lb {

#if defined(__x86_64__)
namespace {

using namespace direct;

// transposed writes to[panel][3 rows][in][3 columns][16] from w[out][3][3][in], for the output channels
// from..end.
template <int W>
LB_INLINE void transposed(const float *w, int64_t from, int64_t end, int64_t in, float *to) {
  for (int64_t o = from; o < end; o += 8)
    for (int64_t place = 0; place < 9; place++)
      for (int64_t k = 0; k < in; k += 8)
        transpose(w + (o * 9 + place) * in + k, 9 * in,
                  to + (o / panel * 9 * in + (place / 3 * in + k) * 3 + place % 3) * panel + o % panel,
                  3 * panel);
}

// block is what all results of a row share that are computed together: the pixel under the middle of the
// first window of the row, at the first input channel of the group; the filter, the bias and the place of the
// result at the first output channel.
struct block {
  const float *x, *w, *bias;
  float *y;
  bool top;  // the first row of the windows is in the image
};

// results writes R results of a row, Z vectors of output channels of each, from column `from` on.
template <int W, int Z, int R>
LB_INLINE void results(const geometry &g, const block &of, int64_t from) {
  const int64_t pixel = g.pixel_x(), line = g.row_x(), c = g.pixel_y();
  floats<W> acc[R][Z], f[3][Z];
  LB_UNROLL for (int r = 0; r < R; r++) for (int z = 0; z < Z; z++) acc[r][z] = floats<W>{};
  for (int64_t i = of.top ? 0 : 1; i < 3; i++) {
    const float *x = of.x + (i - 1) * line + 2 * from * pixel, *w = of.w + i * 3 * g.in * panel;
    for (int64_t k = 0; k < g.in; k++, x++, w += 3 * panel) {
      for (int s = 0; s < 3; s++)
        for (int z = 0; z < Z; z++)
          f[s][z] = load<W>(w + z * W / panel * 9 * g.in * panel + s * panel + z * W % panel);
      if (from > 0)
        for (int z = 0; z < Z; z++) acc[0][z] += x[-pixel] * f[0][z];
      LB_UNROLL for (int r = 0; r < R; r++) {
        float middle = x[2 * r * pixel], right = x[(2 * r + 1) * pixel];
        for (int z = 0; z < Z; z++) acc[r][z] += middle * f[1][z];
        for (int z = 0; z < Z; z++) acc[r][z] += right * f[2][z];
        if (r + 1 < R)
          for (int z = 0; z < Z; z++) acc[r + 1][z] += right * f[0][z];
      }
    }
  }
  for (int z = 0; z < Z; z++) {
    floats<W> added = of.bias ? load<W>(of.bias + z * W) : floats<W>{};
    LB_UNROLL for (int r = 0; r < R; r++)
        store<W>(of.y + (from + r) * c + z * W, of.bias ? acc[r][z] + added : acc[r][z]);
  }
}

// some_results is results for `count` of them, R at the most.
template <int W, int Z, int R>
LB_INLINE void some_results(const geometry &g, const block &of, int64_t from, int64_t count) {
  if (count == R) return results<W, Z, R>(g, of, from);
  if constexpr (R > 1) some_results<W, Z, R - 1>(g, of, from, count);
}

// rows writes the rows from..end of y, R results of Z vectors of output channels at a time, and fetches the
// rows of x for those up to `next`.
template <int W, int Z, int R>
LB_INLINE void rows(const geometry &g, const float *x, const float *w, const float *bias, int64_t from,
                    int64_t end, int64_t next, float *y) {
  const int64_t blocks = (g.q + R - 1) / R;
  prefetch later{x + end * 2 * g.row_x(), (next - end) * 2 * g.row_x(),
                 g.pixel_y() / (Z * W) * (end - from) * blocks};
  for (int64_t o = 0; o < g.pixel_y(); o += Z * W)
    for (int64_t row = from; row < end; row++) {
      const block at{x + row * 2 * g.row_x() + o / g.out * g.in, w + o / panel * 9 * g.in * panel + o % panel,
                     bias ? bias + o : nullptr, y + row * g.row_y() + o, row % g.p > 0};
      for (int64_t k = 0; k < blocks; k++) {
        int64_t first = g.q * k / blocks;
        later.next();
        some_results<W, Z, R>(g, at, first, g.q * (k + 1) / blocks - first);
      }
    }
}

// all_rows is rows for two vectors of a group, or with AVX-512 one where it has no more, and as many results
// as leave registers for the filter.
template <int W>
LB_INLINE void all_rows(const geometry *of, const float *x, const float *w, const float *bias, int64_t from,
                        int64_t end, int64_t next, float *y) {
  const geometry g = *of;
  if constexpr (W == panel)
    if (g.out % (2 * panel) != 0) return rows<W, 1, 14>(g, x, w, bias, from, end, next, y);
  rows<W, 2, W / 2>(g, x, w, bias, from, end, next, y);
}

template <int W>
struct strided_conv : strip_kernel {
  using isa = machine<W>;
  int threads;
  geometry g;
  strided_conv(const op &o, const value &x, const value &w, const value &y, int t)
      : threads(t), g(geometry_of(o, x, w, y)) {
    name = "direct, stride 2";
    scratch = shared = static_cast<uint64_t>(4 * 9 * g.in * g.pixel_y());
    unit = 1;
  }
  void begin(const op &o, uint8_t *of_all) override {
    parallel(g.pixel_y(), panel, threads, 9 * g.in * g.pixel_y(), [&](int64_t from, int64_t end, int) {
      isa::template call<transposed<W>>(o.in(1), from, end, g.in, reinterpret_cast<float *>(of_all));
    });
  }
  void part(const op &o, const strip &s, uint8_t *of_all, uint8_t *, int) override {
    const auto *x = reinterpret_cast<const float *>(s.in[0]), *w = reinterpret_cast<const float *>(of_all);
    g.each_step(s, [&](int64_t from, int64_t end, int64_t next) {
      isa::template call<all_rows<W>>(&g, x, w, o.in(2), from, end, next, reinterpret_cast<float *>(s.out));
    });
  }
  void run(const op &o) override { run_whole(o, this, g, g.pixel_y() * 16, threads); }
};

}  // namespace
#endif

std::unique_ptr<kernel> make_strided_conv(const op &o, cpu &d, const value &x, const value &w,
                                          const value &y) {
#if defined(__x86_64__)
  if (o.kind != kind_conv || !halves(o.attr, x, w) || w.dims[0] / o.attr.groups % panel != 0 ||
      w.dims[3] % 8 != 0)
    return nullptr;
  if (d.width == 16) return std::make_unique<strided_conv<16>>(o, x, w, y, d.threads);
  if (d.width == 8) return std::make_unique<strided_conv<8>>(o, x, w, y, d.threads);
#else
  (void)o, (void)d, (void)x, (void)w, (void)y;
#endif
  return nullptr;
}

}  // namespace lb
