//go:build !nocpu

// Depthwise convolutions (depthwise.h): the forward pass, and the gradient of the input. Direct: the sums of
// a few results of a row, of one vector of channels, stay in registers while the pixels under their windows
// are read, each once for all windows of the row that it is in.
//
// The gradient of the input of stride 1 is a convolution of dy with the filter turned by 180 degrees. Of
// stride 2, a row a of dy belongs to the rows 2a and 2a + 1 of dx, whose pixels at even and at odd columns
// have sums of their own (u, v = 0, 1; the places i, j of the filter for which e and f are whole numbers):
//
//   dx[2a + u, 2b + v] = sum of dy[a + e, b + f] * w[i, j],  e = (u + K/2 - i) / 2,  f = (v + K/2 - j) / 2
//
// What is outside of the image is left out. Rows that are needed next are fetched to the second cache
// meanwhile. Workspace: the filters, all channels of a place together. Threads divide the rows of all images.
//
// Order of summation: rows of the filter, columns of the image, each step one FMA, then the bias: the same
// for all instruction sets and numbers of threads.
#include "depthwise.h"

namespace lb {

#if defined(__x86_64__)
namespace {

using namespace direct;

// results writes R results of row `row` of y from column `from` on, of all channels.
template <int W, int K, int S, int R, typename T>
LB_INLINE void results(const geometry *of, const T *x, const float *w, const float *bias, int64_t row,
                       int64_t from, T *y) {
  const geometry g = *of;
  constexpr int pad = K / 2, columns = (R - 1) * S + K;
  const int64_t c = g.pixel_x(), line = g.row_x(), width = S * g.q, height = S * g.p;
  const int64_t top = row % g.p * S - pad, left = from * S - pad;
  const T *corner = x + (row * S - pad) * line + left * c;
  T *to = y + row * g.row_y() + from * c;
  for (int64_t k = 0; k < c; k += W) {
    floats<W> acc[R];
    LB_UNROLL for (int r = 0; r < R; r++) acc[r] = floats<W>{};
    for (int64_t i = 0; i < K; i++) {
      if (top + i < 0 || top + i >= height) continue;
      floats<W> f[K];
      LB_UNROLL for (int j = 0; j < K; j++) f[j] = load<W>(w + (i * K + j) * c + k);
      LB_UNROLL for (int m = 0; m < columns; m++) {
        if (left + m < 0 || left + m >= width) continue;
        floats<W> v = load<W>(corner + i * line + m * c + k);
        LB_UNROLL for (int j = 0; j < K; j++) if (m >= j && (m - j) % S == 0 && (m - j) / S < R)
            acc[(m - j) / S] += v * f[j];
      }
    }
    floats<W> added = bias ? load<W>(bias + k) : floats<W>{};
    LB_UNROLL for (int r = 0; r < R; r++) store<W>(to + r * c + k, bias ? acc[r] + added : acc[r]);
  }
}

// row_of_dx writes, of row 2a + below of dx for row a = `row` of dy, the pixels of R columns of dy from
// column `from` on, of all channels.
template <int W, int K, int R, typename T>
LB_INLINE void row_of_dx(const geometry *of, const T *dy, const float *w, int64_t row, int64_t below,
                         int64_t from, T *dx) {
  const geometry g = *of;
  constexpr int pad = K / 2, before = (K - 1 - pad) / 2, after = (1 + pad) / 2;
  const int64_t c = g.pixel_y(), line = g.row_y(), at = row % g.p;
  T *to = dx + (2 * row + below) * g.row_x() + 2 * from * c;
  for (int64_t k = 0; k < c; k += W) {
    floats<W> even[R], odd[R];
    LB_UNROLL for (int r = 0; r < R; r++) even[r] = odd[r] = floats<W>{};
    for (int64_t i = (below + pad) % 2; i < K; i += 2) {
      const int64_t up = (below + pad - i) / 2;
      if (at + up < 0 || at + up >= g.p) continue;
      floats<W> f[K];
      LB_UNROLL for (int j = 0; j < K; j++) f[j] = load<W>(w + (i * K + j) * c + k);
      const T *from_row = dy + (row + up) * line + from * c + k;
      LB_UNROLL for (int m = -before; m < R + after; m++) {
        if (from + m < 0 || from + m >= g.q) continue;
        floats<W> v = load<W>(from_row + m * c);
        LB_UNROLL for (int j = 0; j < K; j++) {
          const int u = (j + pad) % 2, r = m - (u + pad - j) / 2;
          if (r < 0 || r >= R) continue;
          if (u == 0)
            even[r] += v * f[j];
          else
            odd[r] += v * f[j];
        }
      }
    }
    LB_UNROLL for (int r = 0; r < R; r++) {
      store<W>(to + 2 * r * c + k, even[r]);
      store<W>(to + (2 * r + 1) * c + k, odd[r]);
    }
  }
}

// rows is what a kernel computes: rows from..end of y from x, or those of dx that belong to rows of dy. It
// fetches the rows for those up to `next`.
template <int W, int K, int S, bool Gradient, typename T>
void rows(const geometry &g, const T *x, const float *w, const float *bias, int64_t from, int64_t end,
          int64_t next, T *y) {
  using isa = machine<W>;
  constexpr bool narrow = Gradient && W == 8;  // two sums of each result are in registers
  const int64_t line = Gradient ? g.row_y() : g.row_x() * S;
  prefetch later{x + end * line, (next - end) * line, (end - from) * blocks_of<narrow>(g.q)};
  for (int64_t row = from; row < end; row++)
    in_blocks<narrow>(g.q, [&](int64_t first, auto columns) {
      constexpr int R = columns;
      later.next();
      if constexpr (Gradient) {
        for (int64_t below = 0; below < 2; below++)
          isa::template call<row_of_dx<W, K, R, T>>(&g, x, w, row, below, first, y);
      } else {
        isa::template call<results<W, K, S, R, T>>(&g, x, w, bias, row, first, y);
      }
    });
}

template <int W, int K, int S, typename T>
struct depthwise : strip_kernel {
  int threads;
  geometry g;
  bool forward;
  depthwise(const op &o, const geometry &of, int t) : threads(t), g(of), forward(o.kind == kind_conv) {
    name = "direct, depthwise";
    scratch = shared = static_cast<uint64_t>(4 * K * K * g.groups);
    unit = 1, halo = (K / 2 + S - 1) / S;
  }
  void begin(const op &o, uint8_t *of_all) override {
    by_place(o.in<T>(1), g.groups, K * K, !forward && S == 1, reinterpret_cast<float *>(of_all));
  }
  void part(const op &o, const strip &s, uint8_t *of_all, uint8_t *, int) override {
    const auto *x = reinterpret_cast<const T *>(s.in[0]);
    const auto *w = reinterpret_cast<const float *>(of_all), *bias = forward ? o.in(2) : nullptr;
    auto *y = reinterpret_cast<T *>(s.out);
    g.each_step(s, [&](int64_t from, int64_t end, int64_t next) {
      if constexpr (S == 2)
        if (!forward) return rows<W, K, S, true>(g, x, w, bias, from, end, next, y);
      rows<W, K, S, false>(g, x, w, bias, from, end, next, y);
    });
  }
  void run(const op &o) override { run_whole(o, this, g, g.groups * K * K, threads); }
};

}  // namespace
#endif

std::unique_ptr<kernel> make_depthwise(const op &o, cpu &d, const value &x, const value &w, const value &y) {
#if defined(__x86_64__)
  if (o.kind == kind_conv_backward_weights || !is_depthwise(o.attr, x, w)) return nullptr;
  return make_for<depthwise>(d, o.attr, x, w, o, geometry_of(o, x, w, y), d.threads);
#else
  (void)o, (void)d, (void)x, (void)w, (void)y;
  return nullptr;
#endif
}

}  // namespace lb
