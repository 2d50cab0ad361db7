// What direct convolutions share: those of stride 2 (strided*.cc) and those of one channel in a group
// (depthwise*.cc), whose images have for each row and column of the result as many as the stride.
#pragma once
#include <algorithm>

#include "balance.h"
#include "simd.h"
#include "strips.h"

namespace lb {

#if defined(__x86_64__)

namespace direct {

constexpr int64_t panel = 16;  // channels that are computed together

// geometry of x [n stride*p stride*q groups*in] and y [n p q groups*out], and of their gradients.
struct geometry {
  int64_t n, p, q, in, out, groups, stride;
  int64_t pixel_x() const { return in * groups; }
  int64_t pixel_y() const { return out * groups; }
  int64_t row_x() const { return stride * q * pixel_x(); }
  int64_t row_y() const { return q * pixel_y(); }
  // step is how many rows of y are computed for some channels before the next ones, so that they stay in the
  // caches: about 64 pixels.
  int64_t step() const { return q < 64 ? 64 / q : 1; }
  // each_step calls f(from, end, next) for the rows of a strip: the rows from..end are to be computed, and
  // those up to `next` are fetched where they are read next from the same place.
  template <typename F>
  void each_step(const strip &s, F f) const {
    const int64_t last = s.ahead[0] == s.in[0] ? s.next : s.to;
    for (int64_t row = s.from; row < s.to; row += step())
      f(row, std::min(row + step(), s.to), std::min(row + 2 * step(), last));
  }
};

// run_whole runs a kernel on whole tensors. `work` is about how many products a pixel of y takes.
inline void run_whole(const op &o, strip_kernel *k, const geometry &g, int64_t work, int threads) {
  k->begin(o, o.scratch);
  strip of{};
  of.in[0] = of.ahead[0] = o.operands[0]->data, of.in[1] = o.operands[1]->data, of.out = o.results[0]->data;
  const int64_t rows = g.n * g.p;
  auto compute = [&](int64_t from, int64_t end, int t) {
    strip s = of;
    s.from = from, s.to = end, s.next = rows;
    k->part(o, s, o.scratch, nullptr, t);
  };
  if (o.kind == kind_conv_backward_weights)
    parallel(rows, 1, threads, rows * g.q * work, compute);  // each thread has sums
  else
    balanced(rows, g.step(), threads, rows * g.q * work, compute);
  k->end(o, o.scratch);
}

inline geometry geometry_of(const op &o, const value &x, const value &w, const value &y) {
  const attributes &a = o.attr;
  return {x.dims[0], y.dims[1], y.dims[2], w.dims[3], w.dims[0] / a.groups, a.groups, a.stride[0]};
}

// prefetch fetches count elements to the second cache, a part each time it is called.
template <typename T>
struct prefetch {
  const T *x;
  int64_t count, parts, part = 0;
  __attribute__((always_inline)) void next() {
    for (int64_t k = count * part / parts; k < count * (part + 1) / parts; k += 64 / sizeof(T))
      __builtin_prefetch(x + k, 0, 2);
    part++;
  }
};
template <typename T>
prefetch(const T *, int64_t, int64_t) -> prefetch<T>;

}  // namespace direct

// Loops over sums must be unrolled, or these are in memory.
#define LB_UNROLL _Pragma("GCC unroll 32")

#endif

}  // namespace lb
