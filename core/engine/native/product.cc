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

#include <cstring>

#include "prologue.h"

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
struct product_conv : kernel {
  using isa = machine<W>;
  int32_t kind;
  int threads;
  int64_t rows, in, out;  // pixels; channels of w[out in]
  product_conv(const op &o, const value &x, const value &w, int t)
      : kind(o.kind), threads(t), rows(x.elements / w.dims[3]), in(w.dims[3]), out(w.dims[0]) {
    name = "product";
    scratch = static_cast<uint64_t>(4 * (shared() + threads * own()));
  }
  int64_t shared() const { return kind == kind_conv ? in * out : 0; }
  int64_t own() const { return kind == kind_conv_backward_weights ? in * out : product_rows * (in + out); }
  float *space(const op &o, int t) const {
    return reinterpret_cast<float *>(o.scratch) + shared() + t * own();
  }
  void run(const op &o) override {
    if (kind == kind_conv) {
      auto *to = reinterpret_cast<float *>(o.scratch);
      parallel(out, 16, threads, in * out, [&](int64_t a, int64_t b, int) {
        isa::template call<transposed<W>>(o.in(1), a, b, out, in, to);
      });
      multiply_all(o, o.in(0), in, to, out, o.out(0), o.in(2));
    } else if (kind == kind_conv_backward_data) {
      multiply_all(o, o.in(0), out, o.in(1), in, o.out(0), nullptr);
    } else {
      weights(o);
    }
  }
  void multiply_all(const op &o, const float *a, int64_t inner, const float *b, int64_t n, float *c,
                    const float *bias) const {
    parallel(rows, product_rows, threads, rows * n * 16, [&](int64_t from, int64_t to, int t) {
      for (int64_t i = from; i < to; i += block_rows) {
        int64_t count = i + block_rows < to ? block_rows : to - i;
        int64_t whole = count / product_rows * product_rows, rest = count - whole;
        isa::template call<multiply<W>>(a + i * inner, b, c + i * n, whole, inner, n);
        if (rest > 0) {
          float *last = space(o, t), *result = last + product_rows * inner;
          std::memset(last, 0, static_cast<size_t>(4 * product_rows * inner));
          std::memcpy(last, a + (i + whole) * inner, static_cast<size_t>(4 * rest * inner));
          isa::template call<multiply<W>>(last, b, result, product_rows, inner, n);
          std::memcpy(c + (i + whole) * n, result, static_cast<size_t>(4 * rest * n));
        }
        if (bias)
          for (int64_t r = i; r < i + count; r++)
            for (int64_t k = 0; k < n; k++) c[r * n + k] += bias[k];
      }
    });
  }
  void weights(const op &o) const {
    const float *x = o.in(0), *dy = o.in(1);
    std::memset(o.scratch, 0, scratch);
    parallel(rows, product_rows, threads, rows * in * 16, [&](int64_t from, int64_t to, int t) {
      for (int64_t i = from; i < to; i += block_rows) {
        int64_t count = i + block_rows < to ? block_rows : to - i;
        isa::template call<accumulate<W>>(dy + i * out, x + i * in, space(o, t), count, out, in);
      }
    });
    std::memcpy(o.out(0), space(o, 0), static_cast<size_t>(4 * in * out));
    for (int t = 1; t < threads; t++)
      for (int64_t k = 0; k < in * out; k++) o.out(0)[k] += space(o, t)[k];
    if (o.results.size() > 1) sum_columns(dy, rows, out, o.out(1), threads);
  }
};

}  // namespace
#endif

std::unique_ptr<kernel> make_product_conv(const op &o, cpu &d, const value &x, const value &w) {
#if defined(__x86_64__)
  const attributes &a = o.attr;
  bool one = w.dims[1] == 1 && w.dims[2] == 1 && a.stride[0] == 1 && a.stride[1] == 1 && a.padding[0] == 0 &&
             a.padding[1] == 0 && a.groups == 1;
  if (!one || w.dims[0] % 16 != 0 || w.dims[3] % 16 != 0 || normalises_input(o)) return nullptr;
  if (d.width == 16) return std::make_unique<product_conv<16>>(o, x, w, d.threads);
  if (d.width == 8) return std::make_unique<product_conv<8>>(o, x, w, d.threads);
#else
  (void)o, (void)d, (void)x, (void)w;
#endif
  return nullptr;
}

}  // namespace lb
