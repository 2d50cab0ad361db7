// Pooling over windows of [N H W C], C innermost, and its gradients. Each result
// is written once and gathers what it needs: no atomics, no order to lose.
//   max_pool            y, index: the first largest element of the window, row by row
//   average_pool        mean over the window's part inside the input (or with padding)
//   adaptive_...        mean over floor(i*H/P) .. ceil((i+1)*H/P)
// The gradients walk the input: an element sums over the windows it lies in, in order.
#include <algorithm>
#include <cfloat>
#include <cmath>

#include "program.h"

namespace lb {
namespace {

// range of a window or of the windows of an element, half open.
struct range {
  int64_t from, to;
};

// axis is one direction of a pooling: sizes and windows.
struct axis {
  int64_t in, out, kernel, stride, padding;
  bool adaptive;
  // window is the part of window i inside the input.
  range window(int64_t i) const {
    if (adaptive) return {i * in / out, ((i + 1) * in + out - 1) / out};
    int64_t a = i * stride - padding;
    return {std::max<int64_t>(a, 0), std::min(a + kernel, in)};
  }
  // extent counts the elements of window i inside the padded input.
  int64_t extent(int64_t i) const {
    int64_t a = i * stride - padding;
    return std::min(a + kernel, in + padding) - a;
  }
  // windows are those that element x lies in.
  range windows(int64_t x) const {
    if (adaptive) {
      int64_t a = x * out / in, b = ((x + 1) * out + in - 1) / in;
      while (a > 0 && window(a - 1).to > x) a--;
      while (b < out && window(b).from <= x) b++;
      return {a, std::min(b, out)};
    }
    int64_t a = x + padding - kernel + 1;
    a = a <= 0 ? 0 : (a + stride - 1) / stride;
    return {a, std::min((x + padding) / stride + 1, out)};
  }
};

struct geometry {
  axis h, w;
  int64_t n, c;
  bool count_padding;
  // divisor of the mean over window (i, j).
  float divisor(int64_t i, int64_t j) const {
    if (count_padding && !h.adaptive) return static_cast<float>(h.extent(i) * w.extent(j));
    range a = h.window(i), b = w.window(j);
    return static_cast<float>((a.to - a.from) * (b.to - b.from));
  }
};

geometry geometry_of(const op &o, const value &x, bool adaptive) {
  const attributes &a = o.attr;
  auto side = [&](int i) {
    return axis{x.dims[1 + i], a.output[i], a.kernel[i], a.stride[i], a.padding[i], adaptive};
  };
  return {side(0), side(1), x.dims[0], x.dims[3], a.count_padding != 0};
}

void max_pool(const op &o, int threads) {
  geometry g = geometry_of(o, *o.operands[0], false);
  const float *x = o.in(0);
  float *y = o.out(0);
  uint8_t *index = o.results[1]->data;
  parallel(g.n * g.h.out, 1, threads, o.results[0]->elements * g.h.kernel,
           [&](int64_t from, int64_t to, int) {
             for (int64_t row = from; row < to; row++)
               for (int64_t j = 0; j < g.w.out; j++) {
                 int64_t b = row / g.h.out, i = row % g.h.out, at = (row * g.w.out + j) * g.c;
                 range v = g.h.window(i), h = g.w.window(j);
                 std::fill(y + at, y + at + g.c, -INFINITY);
                 std::fill(index + at, index + at + g.c, uint8_t{0});
                 bool first = true;
                 for (int64_t r = v.from; r < v.to; r++)
                   for (int64_t s = h.from; s < h.to; s++, first = false) {
                     const float *p = x + ((b * g.h.in + r) * g.w.in + s) * g.c;
                     auto place = static_cast<uint8_t>((r - i * g.h.stride + g.h.padding) * g.w.kernel + s -
                                                       j * g.w.stride + g.w.padding);
                     for (int64_t k = 0; k < g.c; k++)
                       if (first || p[k] > y[at + k]) y[at + k] = p[k], index[at + k] = place;
                   }
               }
           });
}

void max_pool_backward(const op &o, int threads) {
  geometry g = geometry_of(o, *o.results[0], false);
  const float *dy = o.in(0);
  const uint8_t *index = o.operands[1]->data;
  float *dx = o.out(0);
  parallel(g.n * g.h.in, 1, threads, o.results[0]->elements, [&](int64_t from, int64_t to, int) {
    for (int64_t row = from; row < to; row++)
      for (int64_t s = 0; s < g.w.in; s++) {
        int64_t b = row / g.h.in, r = row % g.h.in;
        float *d = dx + (row * g.w.in + s) * g.c;
        std::fill(d, d + g.c, 0.0f);
        range v = g.h.windows(r), h = g.w.windows(s);
        for (int64_t i = v.from; i < v.to; i++)
          for (int64_t j = h.from; j < h.to; j++) {
            int64_t at = ((b * g.h.out + i) * g.w.out + j) * g.c;
            int64_t place =
                (r - i * g.h.stride + g.h.padding) * g.w.kernel + s - j * g.w.stride + g.w.padding;
            for (int64_t k = 0; k < g.c; k++)
              if (index[at + k] == place) d[k] += dy[at + k];
          }
      }
  });
}

LB_CLONES void add_row(float *to, const float *from, int64_t n) {
#pragma omp simd
  for (int64_t k = 0; k < n; k++) to[k] += from[k];
}

LB_CLONES void add_scaled_row(float *to, const float *from, float scale, int64_t n) {
#pragma omp simd
  for (int64_t k = 0; k < n; k++) to[k] += from[k] * scale;
}

template <bool Adaptive>
void average_pool(const op &o, int threads) {
  geometry g = geometry_of(o, *o.operands[0], Adaptive);
  const float *x = o.in(0);
  float *y = o.out(0);
  parallel(g.n * g.h.out, 1, threads, o.operands[0]->elements, [&](int64_t from, int64_t to, int) {
    for (int64_t row = from; row < to; row++)
      for (int64_t j = 0; j < g.w.out; j++) {
        int64_t b = row / g.h.out, i = row % g.h.out;
        float *q = y + (row * g.w.out + j) * g.c;
        std::fill(q, q + g.c, 0.0f);
        range v = g.h.window(i), h = g.w.window(j);
        for (int64_t r = v.from; r < v.to; r++)
          for (int64_t s = h.from; s < h.to; s++) add_row(q, x + ((b * g.h.in + r) * g.w.in + s) * g.c, g.c);
        float d = g.divisor(i, j);
        for (int64_t k = 0; k < g.c; k++) q[k] /= d;
      }
  });
}

template <bool Adaptive>
void average_pool_backward(const op &o, int threads) {
  geometry g = geometry_of(o, *o.results[0], Adaptive);
  const float *dy = o.in(0);
  float *dx = o.out(0);
  parallel(g.n * g.h.in, 1, threads, o.results[0]->elements, [&](int64_t from, int64_t to, int) {
    for (int64_t row = from; row < to; row++)
      for (int64_t s = 0; s < g.w.in; s++) {
        int64_t b = row / g.h.in, r = row % g.h.in;
        float *d = dx + (row * g.w.in + s) * g.c;
        std::fill(d, d + g.c, 0.0f);
        range v = g.h.windows(r), h = g.w.windows(s);
        for (int64_t i = v.from; i < v.to; i++)
          for (int64_t j = h.from; j < h.to; j++)
            add_scaled_row(d, dy + ((b * g.h.out + i) * g.w.out + j) * g.c, 1 / g.divisor(i, j), g.c);
      }
  });
}

}  // namespace

std::unique_ptr<kernel> make_pool(const op &o, device &d) {
  void (*f)(const op &, int) = nullptr;
  switch (o.kind) {
    case kind_max_pool:
      f = max_pool;
      break;
    case kind_max_pool_backward:
      f = max_pool_backward;
      break;
    case kind_average_pool:
      f = average_pool<false>;
      break;
    case kind_average_pool_backward:
      f = average_pool_backward<false>;
      break;
    case kind_adaptive_average_pool:
      f = average_pool<true>;
      break;
    default:
      f = average_pool_backward<true>;
  }
  return std::make_unique<function>(f, d.threads);
}

}  // namespace lb
