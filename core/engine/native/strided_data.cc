//go:build !nocpu

// The gradient of the input of 3x3 convolutions of stride 2 with padding 1, of images with even sides, in any
// number of groups. Direct: of a few pixels of dx at even columns of a row and as many at odd ones, the sums
// of one vector of input channels stay in registers while the pixels of dy are read where they lie.
//
//   dx[2a,   2b]   = dy[a,   b] w[1,1]
//   dx[2a,   2b+1] = dy[a,   b] w[1,2] + dy[a,   b+1] w[1,0]
//   dx[2a+1, 2b]   = dy[a+1, b] w[0,1] + dy[a,   b] w[2,1]
//   dx[2a+1, 2b+1] = dy[a+1, b] w[0,2] + dy[a+1, b+1] w[0,0] + dy[a, b] w[2,2] + dy[a, b+1] w[2,0]
//
// The row and the column after the last ones of dy are left out. Workspace: the weights, those of 16 input
// channels together; where a group has 16, they are used where they lie. Threads divide the rows of dy of all
// images.
//
// Order of summation: row a+1, then row a; output channels; columns as above; each step one FMA: the same for
// all instruction sets and numbers of threads.
#include <algorithm>
#include <cstring>

#include "direct.h"

namespace lb {

#if defined(__x86_64__)
namespace {

using namespace direct;

// add_row adds to R pixels of dx at even columns, and R at odd ones, what a row of dy gives through a row of
// the filter. dy is the first of R pixels, tail the one after them, or nullptr if it is outside.
template <int W, int R>
LB_INLINE void add_row(const float *dy, int64_t pixel, const float *tail, int64_t out, const float *w,
                       floats<W> even[R], floats<W> odd[R]) {
  for (int64_t k = 0; k < out; k++, dy++, w += 9 * panel) {
    floats<W> left = load<W>(w), middle = load<W>(w + panel), right = load<W>(w + 2 * panel);
    LB_UNROLL for (int r = 0; r < R; r++) {
      float v = dy[r * pixel];
      even[r] += v * middle;
      odd[r] += v * right;
      if (r > 0) odd[r - 1] += v * left;
    }
    if (tail) odd[R - 1] += tail[k] * left;
  }
}

// operand is what all blocks of pixels of a row share: row a of dy at the first output channel of the group,
// the filter of the input channels, row 2a of dx at the first of these.
struct operand {
  const float *dy, *w;
  float *dx;
  bool below;  // row a + 1 is in the image
};

// pixels writes of the rows 2a and 2a + 1 of dx the pixels that belong to R results of row a of dy, from
// column `from` on: of each one vector of channels.
template <int W, int R>
LB_INLINE void pixels(const geometry &g, const operand &of, int64_t from) {
  const int64_t pixel = g.pixel_y(), line = g.row_y(), c = g.pixel_x();
  const float *dy = of.dy + from * pixel;
  const int64_t after = from + R < g.q ? R * pixel : 0;
  for (int64_t below = 0; below < 2; below++) {
    floats<W> even[R], odd[R];
    LB_UNROLL for (int r = 0; r < R; r++) even[r] = odd[r] = floats<W>{};
    if (below && of.below)
      add_row<W, R>(dy + line, pixel, after ? dy + line + after : nullptr, g.out, of.w, even, odd);
    add_row<W, R>(dy, pixel, after ? dy + after : nullptr, g.out, of.w + (below ? 6 : 3) * panel, even, odd);
    float *to = of.dx + below * g.row_x() + 2 * from * c;
    LB_UNROLL for (int r = 0; r < R; r++) {
      store<W>(to + 2 * r * c, even[r]);
      store<W>(to + (2 * r + 1) * c, odd[r]);
    }
  }
}

// some_pixels is pixels for `count` results, R at the most.
template <int W, int R>
LB_INLINE void some_pixels(const geometry &g, const operand &of, int64_t from, int64_t count) {
  if (count == R) return pixels<W, R>(g, of, from);
  if constexpr (R > 1) some_pixels<W, R - 1>(g, of, from, count);
}

// add_rows writes the rows of dx that belong to the rows from..end of dy, and fetches those of dy up to
// `next`.
template <int W>
LB_INLINE void add_rows(const geometry *of, const float *dy, const float *w, int64_t from, int64_t end,
                        int64_t next, float *dx) {
  constexpr int64_t most = W == 16 ? 8 : 5;  // results at a time: their sums are in registers
  const geometry g = *of;
  const int64_t c = g.pixel_x(), blocks = (g.q + most - 1) / most;
  prefetch later{dy + end * g.row_y(), (next - end) * g.row_y(), c / W * (end - from) * blocks};
  for (int64_t i = 0; i < c; i += W)
    for (int64_t row = from; row < end; row++) {
      const operand at{dy + row * g.row_y() + i / g.in * g.out, w + i / panel * g.out * 9 * panel + i % panel,
                       dx + row * 2 * g.row_x() + i, row % g.p + 1 < g.p};
      for (int64_t k = 0; k < blocks; k++) {
        int64_t first = g.q * k / blocks;
        later.next();
        some_pixels<W, most>(g, at, first, g.q * (k + 1) / blocks - first);
      }
    }
}

// regroup writes to[groups][in/16][out][9][16] from w[groups][out][9][in], for output channels from..end of
// all groups.
void regroup(const geometry &g, const float *w, int64_t from, int64_t end, float *to) {
  for (int64_t o = from; o < end; o++)
    for (int64_t i = 0; i < g.in; i += panel)
      for (int64_t place = 0; place < 9; place++)
        std::memcpy(to + (((o / g.out * g.in + i) / panel * g.out + o % g.out) * 9 + place) * panel,
                    w + (o * 9 + place) * g.in + i, sizeof(float) * panel);
}

template <int W>
struct strided_data : strip_kernel {
  using isa = machine<W>;
  int threads;
  geometry g;
  strided_data(const op &o, const value &x, const value &w, const value &y, int t)
      : threads(t), g(geometry_of(o, x, w, y)) {
    name = "direct, stride 2";
    scratch = shared = g.in == panel ? 0 : static_cast<uint64_t>(4 * 9 * g.in * g.pixel_y());
    unit = 1;
  }
  void begin(const op &o, uint8_t *of_all) override {
    if (shared == 0) return;
    auto *to = reinterpret_cast<float *>(of_all);
    parallel(g.pixel_y(), 1, threads, 9 * g.in * g.pixel_y(),
             [&](int64_t from, int64_t end, int) { regroup(g, o.in(1), from, end, to); });
  }
  void part(const op &o, const strip &s, uint8_t *of_all, uint8_t *, int) override {
    const auto *dy = reinterpret_cast<const float *>(s.in[0]);
    const float *w = shared == 0 ? o.in(1) : reinterpret_cast<const float *>(of_all);
    g.each_step(s, [&](int64_t from, int64_t end, int64_t next) {
      isa::template call<add_rows<W>>(&g, dy, w, from, end, next, reinterpret_cast<float *>(s.out));
    });
  }
  void run(const op &o) override { run_whole(o, this, g, g.pixel_x() * 16, threads); }
};

}  // namespace
#endif

std::unique_ptr<kernel> make_strided_data(const op &o, cpu &d, const value &x, const value &w,
                                          const value &y) {
#if defined(__x86_64__)
  if (o.kind != kind_conv_backward_data || !halves(o.attr, x, w) || w.dims[3] % panel != 0) return nullptr;
  if (d.width == 16) return std::make_unique<strided_data<16>>(o, x, w, y, d.threads);
  if (d.width == 8) return std::make_unique<strided_data<8>>(o, x, w, y, d.threads);
#else
  (void)o, (void)d, (void)x, (void)w, (void)y;
#endif
  return nullptr;
}

}  // namespace lb
