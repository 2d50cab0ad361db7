//go:build !nocpu

// A gate scales each channel of each sample, a scale each channel of all samples:
//
//   gate            y[n,p,c] = x[n,p,c] * s[n,c], s = a(z): sigmoid, hardsigmoid or z itself
//   gate_backward   dx = dy * s;  dz[n,c] = a'(z) * sum over p of dy * x
//   scale           y[r,c] = x[r,c] * s[c]
//   scale_backward  dx = dy * s;  ds[c] = sum over r of dy * x
//
// Passes: 1r 1w; backward 2r 1w. y may alias x, dx may alias dy or x: element i is read before it is
// written. For a gate threads divide samples and blocks of channels, and each sums over the positions in
// order: the result does not depend on the number of threads. For the gradient of a scale they divide the
// rows: blocks of 64 rows are summed in f32, and blocks and threads in f64, in order.
#include <cstring>

#include "cpu.h"

namespace lb {
namespace {

constexpr int64_t width = 64;  // channels at a time

struct gated {
  const float *x, *z, *dy;
  float *y, *dz;  // in the backward pass y is dx
  int64_t positions, c, activation;
};

template <bool backward>
static inline __attribute__((always_inline)) void gate_body(const gated &g, int64_t sample, int64_t from,
                                                            int64_t n) {
  float s[width], sum[width] = {};
  const float *z = g.z + sample * g.c + from;
  if (g.activation == activation_sigmoid) {
#pragma omp simd
    for (int64_t j = 0; j < n; j++) s[j] = sigmoid(z[j]);
  } else {
    for (int64_t j = 0; j < n; j++) s[j] = g.activation == activation_hardsigmoid ? hardsigmoid(z[j]) : z[j];
  }
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
  float *dz = g.dz + sample * g.c + from;
  if (g.activation == activation_sigmoid) {
#pragma omp simd
    for (int64_t j = 0; j < n; j++) dz[j] = sum[j] * s[j] * (1 - s[j]);
  } else if (g.activation == activation_hardsigmoid) {
    for (int64_t j = 0; j < n; j++) dz[j] = s[j] > 0 && s[j] < 1 ? sum[j] * (1.0f / 6) : 0;
  } else {
    for (int64_t j = 0; j < n; j++) dz[j] = sum[j];
  }
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
          x.dims[3],
          o.attr.activation};
  int64_t parts = (g.c + width - 1) / width;
  parallel(x.dims[0] * parts, 1, threads, x.elements, [&](int64_t first, int64_t last, int) {
    for (int64_t i = first; i < last; i++) {
      int64_t from = i % parts * width, n = g.c - from < width ? g.c - from : width;
      (backward ? gate_backward_part : gate_forward_part)(g, i / parts, from, n);
    }
  });
}

LB_CLONES void scale_part(const float *x, const float *s, float *y, int64_t rows, int64_t c) {
  for (int64_t r = 0; r < rows; r++, x += c, y += c) {
#pragma omp simd
    for (int64_t j = 0; j < c; j++) y[j] = x[j] * s[j];
  }
}

// scale_backward_part adds the products of the rows to sums; part holds those of a block.
LB_CLONES void scale_backward_part(const float *dy, const float *x, const float *s, float *dx, int64_t rows,
                                   int64_t c, float *__restrict part, double *__restrict sums) {
  constexpr int64_t block = 64;
  for (int64_t from = 0; from < rows; from += block) {
    int64_t to = from + block < rows ? from + block : rows;
    std::memset(part, 0, static_cast<size_t>(4 * c));
    for (int64_t r = from; r < to; r++) {
      int64_t at = r * c;
#pragma omp simd
      for (int64_t j = 0; j < c; j++) {
        float d = dy[at + j];
        part[j] += d * x[at + j];
        dx[at + j] = d * s[j];
      }
    }
    for (int64_t j = 0; j < c; j++) sums[j] += part[j];
  }
}

void scale(const op &o, int threads) {
  int64_t n = o.results[0]->elements, c = o.results[0]->channels();
  parallel(n / c, 1, threads, n, [&](int64_t from, int64_t to, int) {
    scale_part(o.in(0) + from * c, o.in(1), o.out(0) + from * c, to - from, c);
  });
}

// scale_backward has, in its workspace, sums and sums of a block for each thread.
struct scale_backward : kernel {
  int threads;
  int64_t n, c;
  scale_backward(const op &o, cpu &d) : threads(d.threads) {
    n = o.operands[1]->elements, c = o.operands[1]->channels();
    scratch = static_cast<uint64_t>(threads) * static_cast<uint64_t>(c) * (sizeof(double) + sizeof(float));
  }
  void run(const op &o) override {
    auto *sums = reinterpret_cast<double *>(o.scratch);
    auto *parts = reinterpret_cast<float *>(sums + threads * c);
    std::memset(sums, 0, static_cast<size_t>(threads * c) * sizeof(double));
    parallel(n / c, 1, threads, n, [&](int64_t from, int64_t to, int t) {
      scale_backward_part(o.in(0) + from * c, o.in(1) + from * c, o.in(2), o.out(0) + from * c, to - from, c,
                          parts + t * c, sums + t * c);
    });
    for (int t = 1; t < threads; t++)
      for (int64_t j = 0; j < c; j++) sums[j] += sums[t * c + j];
    for (int64_t j = 0; j < c; j++) o.out(1)[j] = static_cast<float>(sums[j]);
  }
};

}  // namespace

std::unique_ptr<kernel> make_gate(const op &o, cpu &d) {
  if (o.kind == kind_scale_backward) return std::make_unique<scale_backward>(o, d);
  return std::make_unique<function>(o.kind == kind_scale ? scale : gate, d.threads);
}

}  // namespace lb
