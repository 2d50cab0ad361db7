//go:build !nocpu

// Depthwise convolutions (depthwise.h): the gradient of the weights. Direct: for a few results of a row, of
// one vector of channels, the sums of a row of the filter are in registers while the pixels under their
// windows are read, each once for all of these windows.
//
//   dw[c i j] = sum over results of dy[c] * x[c] at row S*y + i - K/2, column S*x + j - K/2
//
// What is outside of the image is left out. Workspace: the sums of each thread. Threads divide the rows of dy
// of all images.
//
// Order of summation: rows, results of a row, each step one FMA; then the threads. Results are reproducible
// with the same number of threads.
#include <cstring>

#include "depthwise.h"

namespace lb {

#if defined(__x86_64__)
namespace {

using namespace direct;

// add_places adds to sum[places][channels] R results of a row, from column `first` on. `top` is the row of x,
// in the image, under the first row of the filter, and x that row.
template <int W, int K, int S, int R, typename T>
LB_INLINE void add_places(const geometry *of, const T *x, const T *dy, int64_t top, int64_t first,
                          float *sum) {
  const geometry g = *of;
  constexpr int columns = (R - 1) * S + K;
  const int64_t c = g.pixel_x(), width = S * g.q, height = S * g.p, left = first * S - K / 2;
  for (int64_t k = 0; k < c; k += W) {
    floats<W> f[R];
    LB_UNROLL for (int r = 0; r < R; r++) f[r] = load<W>(dy + (first + r) * c + k);
    LB_UNROLL for (int i = 0; i < K; i++) {
      if (top + i < 0 || top + i >= height) continue;
      floats<W> acc[K];
      LB_UNROLL for (int j = 0; j < K; j++) acc[j] = load<W>(sum + (i * K + j) * c + k);
      const T *line = x + i * g.row_x() + left * c + k;
      LB_UNROLL for (int m = 0; m < columns; m++) {
        if (left + m < 0 || left + m >= width) continue;
        floats<W> v = load<W>(line + m * c);
        LB_UNROLL for (int j = 0; j < K; j++) if (m >= j && (m - j) % S == 0 && (m - j) / S < R) acc[j] +=
            v * f[(m - j) / S];
      }
      LB_UNROLL for (int j = 0; j < K; j++) store<W>(sum + (i * K + j) * c + k, acc[j]);
    }
  }
}

// add_rows adds to sum[places][channels] the rows from..end of dy, and fetches those up to `next`.
template <int W, int K, int S, typename T>
void add_rows(const geometry &g, const T *x, const T *dy, int64_t from, int64_t end, int64_t next,
              float *sum) {
  const int64_t line = S * g.row_x(), parts = (end - from) * blocks_of(g.q);
  prefetch later_x{x + end * line, (next - end) * line, parts},
      later_dy{dy + end * g.row_y(), (next - end) * g.row_y(), parts};
  for (int64_t row = from; row < end; row++)
    in_blocks(g.q, [&](int64_t first, auto columns) {
      later_x.next(), later_dy.next();
      machine<W>::template call<add_places<W, K, S, columns, T>>(
          &g, x + (row * S - K / 2) * g.row_x(), dy + row * g.row_y(), row % g.p * S - K / 2, first, sum);
    });
}

template <int W, int K, int S, typename T>
struct depthwise_weights : strip_kernel {
  int threads;
  geometry g;
  depthwise_weights(const op &, const geometry &of, int t) : threads(t), g(of) {
    name = "direct, depthwise";
    scratch = shared = static_cast<uint64_t>(4 * threads * size());
    unit = 1, halo = (K / 2 + S - 1) / S;
  }
  int64_t size() const { return K * K * g.groups; }
  void begin(const op &, uint8_t *of_all) override { std::memset(of_all, 0, static_cast<size_t>(shared)); }
  void part(const op &, const strip &s, uint8_t *of_all, uint8_t *, int t) override {
    const auto *x = reinterpret_cast<const T *>(s.in[0]), *dy = reinterpret_cast<const T *>(s.in[1]);
    float *sums = reinterpret_cast<float *>(of_all) + t * size();
    g.each_step(s, [&](int64_t from, int64_t end, int64_t next) {
      add_rows<W, K, S>(g, x, dy, from, end, next, sums);
    });
  }
  void end(const op &o, uint8_t *of_all) override {
    auto *sums = reinterpret_cast<float *>(of_all);
    for (int64_t i = 0; i < size(); i++)
      for (int t = 1; t < threads; t++) sums[i] += sums[t * size() + i];
    typed(*o.results[0], [&](auto number) {
      auto *dw = o.out<decltype(number)>(0);
      for (int64_t c = 0; c < g.groups; c++)
        for (int64_t place = 0; place < K * K; place++) dw[c * K * K + place] = sums[place * g.groups + c];
      if (o.results.size() > 1)
        sum_columns(o.in<decltype(number)>(1), g.n * g.p * g.q, g.groups, o.out(1), threads);
    });
  }
  void run(const op &o) override { run_whole(o, this, g, size(), threads); }
};

}  // namespace
#endif

std::unique_ptr<kernel> make_depthwise_weights(const op &o, cpu &d, const value &x, const value &w,
                                               const value &y) {
#if defined(__x86_64__)
  if (o.kind != kind_conv_backward_weights || !is_depthwise(o.attr, x, w)) return nullptr;
  return make_for<depthwise_weights>(d, o.attr, x, w, o, geometry_of(o, x, w, y), d.threads);
#else
  (void)o, (void)d, (void)x, (void)w, (void)y;
  return nullptr;
#endif
}

}  // namespace lb
