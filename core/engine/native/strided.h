// What the direct kernels of 3x3 convolutions of stride 2 with padding 1, of images with even sides, share.
#pragma once
#include "prologue.h"
#include "simd.h"

namespace lb {

#if defined(__x86_64__)

namespace strided {

constexpr int64_t panel = 16;  // channels that are computed together

// geometry of x [n 2p 2q groups*in] and y [n p q groups*out], and of their gradients.
struct geometry {
  int64_t n, p, q, in, out, groups;
  int64_t pixel_x() const { return in * groups; }
  int64_t pixel_y() const { return out * groups; }
  int64_t row_x() const { return 2 * q * pixel_x(); }
  int64_t row_y() const { return q * pixel_y(); }
  // step is how many rows of y are computed for some channels before the next ones, so that they stay in the
  // caches: about 64 pixels.
  int64_t step() const { return q < 64 ? 64 / q : 1; }
};

inline geometry geometry_of(const op &o, const value &x, const value &w, const value &y) {
  return {x.dims[0], y.dims[1], y.dims[2], w.dims[3], w.dims[0] / o.attr.groups, o.attr.groups};
}

// prefetch fetches count floats to the second cache, a part each time it is called.
struct prefetch {
  const float *x;
  int64_t count, parts, part = 0;
  __attribute__((always_inline)) void next() {
    for (int64_t k = count * part / parts; k < count * (part + 1) / parts; k += 16)
      __builtin_prefetch(x + k, 0, 2);
    part++;
  }
};

}  // namespace strided

// Loops over sums must be unrolled, or these are in memory.
#define LB_UNROLL _Pragma("GCC unroll 16")

#endif

}  // namespace lb
