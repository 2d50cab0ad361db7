//go:build !nocpu

// A gate scales each channel of each sample:
//
//   gate           y[n,p,c] = x[n,p,c] * s[n,c], s = 1 / (1 + exp(-z))
//   gate_backward  dx = dy * s;  dz[n,c] = s * (1-s) * sum over p of dy * x
//
// Passes: 1r 1w; backward 2r 1w. y may alias x, dx may alias dy or x: element i is read before it is
// written. Threads divide samples and blocks of channels, and each sums over the positions in
// order: the result does not depend on the number of threads.
#include "cpu.h"

namespace lb {
namespace {

constexpr int64_t width = 64;  // channels at a time

struct gated {
  const float *x, *z, *dy;
  float *y, *dz;  // in the backward pass y is dx
  int64_t positions, c;
};

template <bool backward>
static inline __attribute__((always_inline)) void gate_body(const gated &g, int64_t sample, int64_t from,
                                                            int64_t n) {
  float s[width], sum[width] = {};
  const float *z = g.z + sample * g.c + from;
#pragma omp simd
  for (int64_t j = 0; j < n; j++) s[j] = sigmoid(z[j]);
  for (int64_t p = 0; p < g.positions; p++) {
    int64_t at = (sample * g.positions + p) * g.c + from;
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
      if (backward) {
        float d = g.dy[at + j];
        sum[j] += d * g.x[at + j];
        g.y[at + j] = d * s[j];
      } else {
        g.y[at + j] = g.x[at + j] * s[j];
      }
    }
  }
  if (!backward) return;
#pragma omp simd
  for (int64_t j = 0; j < n; j++) g.dz[sample * g.c + from + j] = sum[j] * s[j] * (1 - s[j]);
}

LB_CLONES void gate_forward_part(const gated &g, int64_t sample, int64_t from, int64_t n) {
  gate_body<false>(g, sample, from, n);
}
LB_CLONES void gate_backward_part(const gated &g, int64_t sample, int64_t from, int64_t n) {
  gate_body<true>(g, sample, from, n);
}

void gate(const op &o, int threads) {
  bool backward = o.kind == kind_gate_backward;
  const value &x = *o.operands[backward ? 1 : 0];
  gated g{o.in(backward ? 1 : 0),
          o.in(backward ? 2 : 1),
          backward ? o.in(0) : nullptr,
          o.out(0),
          backward ? o.out(1) : nullptr,
          x.dims[1] * x.dims[2],
          x.dims[3]};
  int64_t parts = (g.c + width - 1) / width;
  parallel(x.dims[0] * parts, 1, threads, x.elements, [&](int64_t first, int64_t last, int) {
    for (int64_t i = first; i < last; i++) {
      int64_t from = i % parts * width, n = g.c - from < width ? g.c - from : width;
      (backward ? gate_backward_part : gate_forward_part)(g, i / parts, from, n);
    }
  });
}

}  // namespace

std::unique_ptr<kernel> make_gate(const op &, cpu &d) { return std::make_unique<function>(gate, d.threads); }

}  // namespace lb
