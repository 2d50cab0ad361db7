//go:build !nocpu

// Pooling over windows of [N H W C], C innermost, and its gradients.
//
//   max_pool      y, index: the first largest element of the window, row by row
//   average_pool  mean over the window's part inside the input (or inside the padding)
//   adaptive_...  mean over floor(i*H/P) .. ceil((i+1)*H/P)
//
// Threads divide the rows of the result (samples, for the gradient of max_pool), and
// windows are summed in order: no atomics, and the result does not depend on the number of
// threads. No op runs in place.
//
// Passes: x (or dy) is read once for each window an element lies in, mostly from
// the first cache; the result is written once (max_pool_backward: cleared, then
// added to). Sixteen channels at a time stay in registers. Where windows begin and
// end is a table by axis, made at prepare.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "simd.h"

namespace lb {
namespace {

// range of a window, or of the windows of an element, half open.
struct range {
  int64_t from, to;
  bool operator==(const range &r) const { return from == r.from && to == r.to; }
};

// axis is one direction of a pooling: sizes, and tables by output and by input.
struct axis {
  int64_t in, out, kernel, stride, padding;
  bool adaptive;
  std::vector<range> window;    // by output: the part of its window inside the input
  std::vector<int64_t> begin;   // by output: where its window begins, may be in the padding
  std::vector<double> inverse;  // by output: 1 / elements that the mean counts
  std::vector<range> windows;   // by input: the windows it lies in

  void fill(bool count_padding) {
    for (int64_t i = 0; i < out; i++) {
      int64_t from = adaptive ? i * in / out : i * stride - padding;
      int64_t to = adaptive ? ((i + 1) * in + out - 1) / out : from + kernel;
      range w{std::max<int64_t>(from, 0), std::min(to, in)};
      int64_t counted = count_padding && !adaptive ? std::min(to, in + padding) - from : w.to - w.from;
      window.push_back(w), begin.push_back(from);
      inverse.push_back(1 / static_cast<double>(counted));
    }
    // Windows are in order of their begins and ends: those of element x are first, ..., end-1.
    int64_t first = 0, end = 0;
    for (int64_t x = 0; x < in; x++) {
      while (first < out && window[static_cast<size_t>(first)].to <= x) first++;
      while (end < out && window[static_cast<size_t>(end)].from <= x) end++;
      windows.push_back({first, std::max(first, end)});
    }
  }
};

struct geometry {
  axis h, w;
  int64_t n, c;
  int32_t row[256], column[256];  // of a position in the window
};

constexpr int64_t lanes = 16;  // channels that are summed together

template <typename V>
LB_INLINE void copy(V &to, const void *from) {
  std::memcpy(&to, from, sizeof to);
}

// max_window finds the largest elements of window (i, j), T floats and I ints at a time.
template <typename T, typename I>
LB_INLINE void max_window(const geometry &g, const float *x, int64_t i, int64_t j, T &best, I &where) {
  range v = g.h.window[static_cast<size_t>(i)], h = g.w.window[static_cast<size_t>(j)];
  int64_t top = g.h.begin[static_cast<size_t>(i)], left = g.w.begin[static_cast<size_t>(j)];
  int64_t step = g.c, width = g.w.in, kernel = g.w.kernel;
  copy(best, x + (v.from * width + h.from) * step);
  where = I{} + static_cast<int32_t>((v.from - top) * kernel + h.from - left);
  for (int64_t r = v.from; r < v.to; r++) {
    const float *p = x + (r * width + h.from) * step;
    auto place = static_cast<int32_t>((r - top) * kernel + h.from - left);
    for (int64_t s = h.from; s < h.to; s++, p += step, place++) {
      T next;
      copy(next, p);
      auto more = next > best;
      best = more ? next : best;
      where = more ? I{} + place : where;
    }
  }
}

// max_row is row i of the result. Channels are compared W at a time, as many as a vector of the machine has:
// GCC would split a wider vector into its elements. The last W overlap those before.
template <int W>
LB_INLINE void max_row(const geometry *of, const float *x, int64_t i, float *y, uint8_t *index) {
  const geometry &g = *of;
  for (int64_t j = 0; j < g.w.out; j++, y += g.c, index += g.c) {
    if (W == 1 || g.c < W) {
      for (int64_t k = 0; k < g.c; k++) {
        int32_t where;
        max_window(g, x + k, i, j, y[k], where);
        index[k] = static_cast<uint8_t>(where);
      }
      continue;
    }
#if defined(__x86_64__)
    if constexpr (W > 1)
      for (int64_t next = 0; next < g.c; next += W) {
        int64_t k = next + W <= g.c ? next : g.c - W;
        floats<W> best;
        ints<W> where;
        max_window(g, x + k, i, j, best, where);
        auto narrow = __builtin_convertvector(where, octets<W>);
        std::memcpy(y + k, &best, sizeof best);
        std::memcpy(index + k, &narrow, sizeof narrow);
      }
#endif
  }
}

// max_gradient_sample gives dy of every window, in order, to the element that
// won it: one addition an element of dy, where a gather would need one comparison
// for every element of every window. An index outside of its window is skipped:
// the caller can write anything into a value.
LB_CLONES void max_gradient_sample(const geometry &g, const float *dy, const uint8_t *index, float *dx) {
  std::memset(dx, 0, static_cast<size_t>(g.h.in * g.w.in * g.c) * sizeof(float));
  for (int64_t i = 0; i < g.h.out; i++)
    for (int64_t j = 0; j < g.w.out; j++, dy += g.c, index += g.c) {
      int64_t top = g.h.begin[static_cast<size_t>(i)], left = g.w.begin[static_cast<size_t>(j)];
      for (int64_t k = 0; k < g.c; k++) {
        int64_t r = top + g.row[index[k]], s = left + g.column[index[k]];
        if (static_cast<uint64_t>(r) < static_cast<uint64_t>(g.h.in) &&
            static_cast<uint64_t>(s) < static_cast<uint64_t>(g.w.in))
          dx[(r * g.w.in + s) * g.c + k] += dy[k];
      }
    }
}

// mean_lanes sums a window in four parts: shorter dependency chains, smaller rounding errors.
LB_INLINE void mean_lanes(const geometry &g, const float *x, range v, range h, double inverse, int64_t k,
                          float *y) {
  float sum[4][lanes];
  for (int u = 0; u < 4; u++)
    for (int64_t l = 0; l < k; l++) sum[u][l] = 0;
  for (int64_t r = v.from; r < v.to; r++) {
    const float *p = x + (r * g.w.in + h.from) * g.c, *end = x + (r * g.w.in + h.to) * g.c;
    for (; p + 3 * g.c < end; p += 4 * g.c)
      for (int u = 0; u < 4; u++)
        for (int64_t l = 0; l < k; l++) sum[u][l] += p[u * g.c + l];
    for (; p < end; p += g.c)
      for (int64_t l = 0; l < k; l++) sum[0][l] += p[l];
  }
  auto f = static_cast<float>(inverse);
  for (int64_t l = 0; l < k; l++) y[l] = ((sum[0][l] + sum[1][l]) + (sum[2][l] + sum[3][l])) * f;
}

LB_CLONES void mean_row(const geometry &g, const float *x, int64_t i, float *y) {
  for (int64_t j = 0; j < g.w.out; j++, y += g.c) {
    range v = g.h.window[static_cast<size_t>(i)], h = g.w.window[static_cast<size_t>(j)];
    double inverse = g.h.inverse[static_cast<size_t>(i)] * g.w.inverse[static_cast<size_t>(j)];
    int64_t k = 0;
    for (; k + lanes <= g.c; k += lanes) mean_lanes(g, x + k, v, h, inverse, lanes, y + k);
    if (k < g.c) mean_lanes(g, x + k, v, h, inverse, g.c - k, y + k);
  }
}

// mean_gradient_row: neighbours that lie in the same windows have the same
// gradient, so it is summed once and copied. Under a global pool that is a row.
LB_CLONES void mean_gradient_row(const geometry &g, const float *dy, int64_t r, float *dx) {
  range v = g.h.windows[static_cast<size_t>(r)];
  const float *same = dx;
  for (int64_t s = 0; s < g.w.in; s++, dx += g.c) {
    range h = g.w.windows[static_cast<size_t>(s)];
    if (s > 0 && h == g.w.windows[static_cast<size_t>(s - 1)]) {
      for (int64_t l = 0; l < g.c; l++) dx[l] = same[l];
      continue;
    }
    same = dx;
    for (int64_t l = 0; l < g.c; l++) dx[l] = 0;
    for (int64_t i = v.from; i < v.to; i++)
      for (int64_t j = h.from; j < h.to; j++) {
        const float *p = dy + (i * g.w.out + j) * g.c;
        auto f =
            static_cast<float>(g.h.inverse[static_cast<size_t>(i)] * g.w.inverse[static_cast<size_t>(j)]);
#pragma omp simd
        for (int64_t l = 0; l < g.c; l++) dx[l] += p[l] * f;
      }
  }
}

// pool_kernel runs parts of a sample: rows of the result, or all of it.
struct pool_kernel : kernel {
  geometry g;
  int32_t kind;
  int threads, width;
  pool_kernel(const op &o, const value &x, bool adaptive, const cpu &d)
      : kind(o.kind), threads(d.threads), width(d.width) {
    const attributes &a = o.attr;
    auto side = [&](int i) {
      axis s{x.dims[1 + i], a.output[i], a.kernel[i], a.stride[i], a.padding[i], adaptive, {}, {}, {}, {}};
      s.fill(a.count_padding != 0);
      return s;
    };
    g = {side(0), side(1), x.dims[0], x.dims[3], {}, {}};
    for (int64_t place = 0; place < 256 && !adaptive; place++) {
      g.row[place] = static_cast<int32_t>(place / g.w.kernel);
      g.column[place] = static_cast<int32_t>(place % g.w.kernel);
    }
  }
  void run(const op &o) override {
    int64_t x = g.h.in * g.w.in * g.c, y = g.h.out * g.w.out * g.c;  // elements of a sample
    const float *in = o.in(0);
    float *out = o.out(0);
    switch (kind) {
      case kind_max_pool:
        return each(g.h.out, [&](int64_t b, int64_t i) {
          int64_t at = b * y + i * g.w.out * g.c;
          const float *from = in + b * x;
          uint8_t *index = o.results[1]->data + at;
#if defined(__x86_64__)
          if (width == 16) return machine<16>::call<max_row<16>>(&g, from, i, out + at, index);
          if (width == 8) return machine<8>::call<max_row<8>>(&g, from, i, out + at, index);
#endif
          max_row<1>(&g, from, i, out + at, index);
        });
      case kind_max_pool_backward:
        return each(1, [&](int64_t b, int64_t) {
          max_gradient_sample(g, in + b * y, o.operands[1]->data + b * y, out + b * x);
        });
      case kind_average_pool:
      case kind_adaptive_average_pool:
        return each(g.h.out, [&](int64_t b, int64_t i) {
          mean_row(g, in + b * x, i, out + b * y + i * g.w.out * g.c);
        });
      default:
        return each(g.h.in, [&](int64_t b, int64_t r) {
          mean_gradient_row(g, in + b * y, r, out + b * x + r * g.w.in * g.c);
        });
    }
  }
  // each calls f(sample, part) for all parts of all samples.
  template <typename F>
  void each(int64_t parts, F f) const {
    parallel(g.n * parts, 1, threads, g.n * g.h.in * g.w.in * g.c, [&](int64_t from, int64_t to, int) {
      for (int64_t at = from; at < to; at++) f(at / parts, at % parts);
    });
  }
};

}  // namespace

std::unique_ptr<kernel> make_pool(const op &o, cpu &d) {
  bool adaptive = o.kind == kind_adaptive_average_pool || o.kind == kind_adaptive_average_pool_backward;
  bool forward =
      o.kind == kind_max_pool || o.kind == kind_average_pool || o.kind == kind_adaptive_average_pool;
  return std::make_unique<pool_kernel>(o, forward ? *o.operands[0] : *o.results[0], adaptive, d);
}

}  // namespace lb
