//go:build !nocpu

// The gradient of the weights of 3x3 convolutions of stride 2 with padding 1, of images with even sides, in
// any number of groups. Direct: of one place of the filter, the sums of 16 input and 16 output channels stay
// in registers while the pixels of a few rows are read.
//
//   dw[o r s i] = sum over results of dy[o] * x[i] at row 2y + r - 1, column 2x + s - 1
//
// Only the first row and the first column of a window can be outside of the image: they are left out.
// Workspace: the sums of each thread. Threads divide the rows of dy of all images.
//
// Order of summation: rows, results of a row, each step one FMA; then the threads. Results are reproducible
// with the same number of threads.
#include <algorithm>
#include <cstring>

#include "direct.h"

namespace lb {

#if defined(__x86_64__)
namespace {

using namespace direct;

// add_place adds to sum[16 in][16 out] of place r, s of the filter the rows from..end of dy. x and dy point
// to the first of 16 channels.
template <int W>
LB_INLINE void add_place(const geometry &g, const float *x, const float *dy, int64_t r, int64_t s,
                         int64_t from, int64_t end, float *sum) {
  constexpr int R = W == 16 ? 16 : 4, L = panel / W;  // input channels at a time, vectors of output channels
  for (int64_t i = 0; i < panel; i += R, x += R, sum += R * panel) {
    floats<W> acc[R][L];
    LB_UNROLL for (int k = 0; k < R; k++) for (int l = 0; l < L; l++) acc[k][l] =
        load<W>(sum + k * panel + l * W);
    for (int64_t row = from; row < end; row++) {
      if (row % g.p == 0 && r == 0) continue;
      const float *a = x + ((2 * row + r - 1) * 2 * g.q + s - 1) * g.pixel_x(),
                  *b = dy + row * g.q * g.pixel_y();
      for (int64_t q = s == 0 ? 1 : 0; q < g.q; q++) {
        const float *at = a + 2 * q * g.pixel_x();
        floats<W> f[L];
        for (int l = 0; l < L; l++) f[l] = load<W>(b + q * g.pixel_y() + l * W);
        LB_UNROLL for (int k = 0; k < R; k++) for (int l = 0; l < L; l++) acc[k][l] += at[k] * f[l];
      }
    }
    LB_UNROLL for (int k = 0; k < R; k++) for (int l = 0; l < L; l++)
        store<W>(sum + k * panel + l * W, acc[k][l]);
  }
}

// add_rows adds to sum[groups][out/16][in/16][9][16 in][16 out] the rows from..end of dy, and fetches those
// up to `next`.
template <int W>
LB_INLINE void add_rows(const geometry *of, const float *x, const float *dy, int64_t from, int64_t end,
                        int64_t next, float *sum) {
  const geometry g = *of;
  const int64_t row_x = 2 * g.row_x(), parts = g.pixel_y() / panel * (g.in / panel) * 9;
  prefetch later_x{x + end * row_x, (next - end) * row_x, parts},
      later_dy{dy + end * g.row_y(), (next - end) * g.row_y(), parts};
  for (int64_t o = 0; o < g.pixel_y(); o += panel)
    for (int64_t i = 0; i < g.in; i += panel)
      for (int64_t place = 0; place < 9; place++, sum += panel * panel) {
        later_x.next();
        later_dy.next();
        add_place<W>(g, x + o / g.out * g.in + i, dy + o, place / 3, place % 3, from, end, sum);
      }
}

// write_sums adds the threads' sums of the output channels from..end and writes dw[groups*out][9][in].
template <int W>
LB_INLINE void write_sums(const geometry *of, float *sum, int threads, int64_t size, int64_t from,
                          int64_t end, float *dw) {
  const geometry g = *of;
  for (int64_t o = from; o < end; o += panel)
    for (int64_t i = 0; i < g.in; i += panel)
      for (int64_t place = 0; place < 9; place++) {
        float *at = sum + ((o / panel * g.in + i) / panel * 9 + place) * panel * panel;
        for (int64_t k = 0; k < panel * panel; k += W) {
          floats<W> all = load<W>(at + k);
          for (int t = 1; t < threads; t++) all += load<W>(at + t * size + k);
          store<W>(at + k, all);
        }
        for (int64_t a = 0; a < panel; a += 8)
          for (int64_t b = 0; b < panel; b += 8)
            transpose(at + a * panel + b, panel, dw + ((o + b) * 9 + place) * g.in + i + a, 9 * g.in);
      }
}

template <int W>
struct strided_weights : strip_kernel {
  using isa = machine<W>;
  int threads;
  geometry g;
  strided_weights(const op &o, const value &x, const value &w, const value &y, int t)
      : threads(t), g(geometry_of(o, x, w, y)) {
    name = "direct, stride 2";
    scratch = shared = static_cast<uint64_t>(4 * threads * size());
    unit = 1;
  }
  int64_t size() const { return 9 * g.in * g.pixel_y(); }
  void begin(const op &, uint8_t *of_all) override { std::memset(of_all, 0, static_cast<size_t>(shared)); }
  void part(const op &, const strip &s, uint8_t *of_all, uint8_t *, int t) override {
    const auto *x = reinterpret_cast<const float *>(s.in[0]), *dy = reinterpret_cast<const float *>(s.in[1]);
    float *sums = reinterpret_cast<float *>(of_all) + t * size();
    g.each_step(s, [&](int64_t from, int64_t end, int64_t next) {
      isa::template call<add_rows<W>>(&g, x, dy, from, end, next, sums);
    });
  }
  void end(const op &o, uint8_t *of_all) override {
    auto *sums = reinterpret_cast<float *>(of_all);
    parallel(g.pixel_y(), panel, threads, size(), [&](int64_t from, int64_t end, int) {
      isa::template call<write_sums<W>>(&g, sums, threads, size(), from, end, o.out(0));
    });
    if (o.results.size() > 1) sum_columns(o.in(1), g.n * g.p * g.q, g.pixel_y(), o.out(1), threads);
  }
  void run(const op &o) override { run_whole(o, this, g, size(), threads); }
};

}  // namespace
#endif

std::unique_ptr<kernel> make_strided_weights(const op &o, cpu &d, const value &x, const value &w,
                                             const value &y) {
#if defined(__x86_64__)
  if (o.kind != kind_conv_backward_weights || !halves(o.attr, x, w) ||
      w.dims[0] / o.attr.groups % panel != 0 || w.dims[3] % panel != 0)
    return nullptr;
  if (d.width == 16) return std::make_unique<strided_weights<16>>(o, x, w, y, d.threads);
  if (d.width == 8) return std::make_unique<strided_weights<8>>(o, x, w, y, d.threads);
#else
  (void)o, (void)d, (void)x, (void)w, (void)y;
#endif
  return nullptr;
}

}  // namespace lb
