//go:build !nocpu

// 1x1 convolutions of stride 1 as products of matrices, with the micro-kernels of product.h. Pixels of all
// images are the rows:
//
//   forward   y[rows out] = x[rows in] * w transposed (+ bias)     weights are transposed in the workspace
//   data      dx[rows in] = dy[rows out] * w[out in]
//   weights   dw[out in] = dy transposed * x
//
// Rows are multiplied in blocks whose operands stay in the second cache. Workspace: the transposed weights,
// a block of rows for each thread, for the last rows, and the sums of each thread.
//
// Order of summation: as in product.h; for dw each thread's rows in order, then the threads.
#include "product.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "balance.h"
#include "strips.h"

namespace lb {

#if defined(__x86_64__)
namespace {

constexpr int64_t block_rows = 4 * product_rows;

// transposed writes to[in][out] for the output channels from..to of w[out][in].
template <int W>
LB_INLINE void transposed(const float *w, int64_t from, int64_t end, int64_t out, int64_t in, float *to) {
  for (int64_t i = 0; i < in; i += 8)
    for (int64_t o = from; o < end; o += 8) transpose(w + o * in + i, in, to + i * out + o, out);
}

template <int W>
struct product_conv : strip_kernel {
  using isa = machine<W>;
  int32_t kind;
  int threads;
  int64_t w, h, rows, in, out;  // pixels of a row, rows of an image, all pixels; channels of w[out in]
  product_conv(const op &o, const value &x, const value &weight, int t)
      : kind(o.kind),
        threads(t),
        w(x.dims[2]),
        h(x.dims[1]),
        rows(x.elements / weight.dims[3]),
        in(weight.dims[3]),
        out(weight.dims[0]) {
    name = "product";
    int64_t filters = kind == kind_conv ? 1 : kind == kind_conv_backward_data ? 0 : threads;
    shared = static_cast<uint64_t>(4 * filters * in * out);
    own = weights() ? 0 : static_cast<uint64_t>(4 * least_rows * (in + out));
    scratch = shared + static_cast<uint64_t>(threads) * own;
    unit = 1, halo = 0, good = product_rows / std::gcd(product_rows, w);
  }
  bool weights() const { return kind == kind_conv_backward_weights; }
  // begin transposes the weights, or clears the sums.
  void begin(const op &o, uint8_t *of_all) override {
    if (kind == kind_conv)
      parallel(out, 16, threads, in * out, [&](int64_t a, int64_t b, int) {
        isa::template call<transposed<W>>(o.in(1), a, b, out, in, reinterpret_cast<float *>(of_all));
      });
    if (weights()) std::memset(of_all, 0, static_cast<size_t>(shared));
  }
  void end(const op &o, uint8_t *of_all) override {
    if (!weights()) return;
    const auto *sums = reinterpret_cast<const float *>(of_all);
    std::memcpy(o.out(0), sums, static_cast<size_t>(4 * in * out));
    for (int t = 1; t < threads; t++)
      for (int64_t k = 0; k < in * out; k++) o.out(0)[k] += sums[t * in * out + k];
    if (o.results.size() > 1) sum_columns(o.in(1), rows, out, o.out(1), threads);
  }
  void part(const op &o, const strip &s, uint8_t *of_all, uint8_t *of_thread, int t) override {
    pixels(o, s, s.from * w, s.to * w, of_all, of_thread, t);
  }
  void run(const op &o) override {
    begin(o, o.scratch);
    strip s{};
    s.in[0] = o.operands[0]->data, s.in[1] = o.operands[1]->data;
    s.out = o.results[0]->data;
    auto compute = [&](int64_t from, int64_t to, int t) {
      pixels(o, s, from, to, o.scratch, o.scratch + shared + static_cast<uint64_t>(t) * own, t);
    };
    if (weights())
      parallel(rows, product_rows, threads, rows * std::min(in, out) * 16, compute);
    else
      balanced(rows, product_rows / 2, threads, rows * std::min(in, out) * 16, compute);
    end(o, o.scratch);
  }
  // pixels computes the pixels from..to of the tensors of a strip.
  void pixels(const op &o, const strip &s, int64_t from, int64_t to, uint8_t *of_all, uint8_t *of_thread,
              int t) const {
    const auto *x = reinterpret_cast<const float *>(s.in[0]);
    auto *y = reinterpret_cast<float *>(s.out), *f = reinterpret_cast<float *>(of_all);
    auto *last = reinterpret_cast<float *>(of_thread);
    if (kind == kind_conv)
      multiply_all(x, in, f, out, y, o.in(2), from, to, last);
    else if (kind == kind_conv_backward_data)
      multiply_all(x, out, o.in(1), in, y, nullptr, from, to, last);
    else
      for (int64_t i = from; i < to; i += block_rows) {
        int64_t count = i + block_rows < to ? block_rows : to - i;
        isa::template call<accumulate<W>>(reinterpret_cast<const float *>(s.in[1]) + i * out, x + i * in,
                                          f + t * in * out, count, out, in);
      }
  }
  // multiply_all computes rows of c = a b (+ bias). `last` is space for least_rows of a and of c.
  void multiply_all(const float *a, int64_t inner, const float *b, int64_t n, float *c, const float *bias,
                    int64_t from, int64_t to, float *last) const {
    for (int64_t i = from; i < to; i += block_rows) {
      int64_t count = i + block_rows < to ? block_rows : to - i;
      int64_t whole = count / least_rows * least_rows, rest = count - whole;
      isa::template call<multiply<W>>(a + i * inner, b, c + i * n, whole, inner, n);
      if (rest > 0) {
        float *result = last + least_rows * inner;
        std::memset(last, 0, static_cast<size_t>(4 * least_rows * inner));
        std::memcpy(last, a + (i + whole) * inner, static_cast<size_t>(4 * rest * inner));
        isa::template call<multiply<W>>(last, b, result, least_rows, inner, n);
        std::memcpy(c + (i + whole) * n, result, static_cast<size_t>(4 * rest * n));
      }
      if (bias)
        for (int64_t r = i; r < i + count; r++)
          for (int64_t k = 0; k < n; k++) c[r * n + k] += bias[k];
    }
  }
};

}  // namespace
#endif

std::unique_ptr<kernel> make_product_conv(const op &o, cpu &d, const value &x, const value &w) {
#if defined(__x86_64__)
  const attributes &a = o.attr;
  bool one = w.dims[1] == 1 && w.dims[2] == 1 && a.stride[0] == 1 && a.stride[1] == 1 && a.padding[0] == 0 &&
             a.padding[1] == 0 && a.groups == 1;
  if (!one || w.dims[0] % 16 != 0 || w.dims[3] % 16 != 0) return nullptr;
  if (d.width == 16) return std::make_unique<product_conv<16>>(o, x, w, d.threads);
  if (d.width == 8) return std::make_unique<product_conv<8>>(o, x, w, d.threads);
#else
  (void)o, (void)d, (void)x, (void)w;
#endif
  return nullptr;
}

}  // namespace lb
