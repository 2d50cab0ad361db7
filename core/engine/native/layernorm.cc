//go:build !nocpu

// Layer normalisation of rows of C elements:
//
//   layer_norm           y = gamma * h + beta, h = (x - mean) / sqrt(variance + epsilon)
//   layer_norm_backward  g = dy * gamma;  dx = (g - mean(g) - h * mean(g * h)) / sqrt(variance + epsilon)
//                        dgamma = sum over rows of dy * h;  dbeta = sum over rows of dy
//
// Mean and biased variance are of the row; the backward pass computes them again, while the row is in the
// first cache. Passes over memory: 1r 1w; backward 2r 1w. y may alias x, dx may alias dy or x: the last
// loop over a row reads element i before it writes it. Threads divide the rows. Sums over rows are in f32
// in blocks of 64 rows, and blocks and threads are summed in f64, in order.
#include <cmath>
#include <cstring>

#include "cpu.h"

namespace lb {
namespace {

struct statistics {
  float mean, inverse;
};

static inline __attribute__((always_inline)) statistics statistics_of(const float *x, int64_t c,
                                                                      double epsilon) {
  float first = x[0], a = 0, b = 0;  // differences from the first element, to avoid cancellation
#pragma omp simd reduction(+ : a)
  for (int64_t j = 0; j < c; j++) a += x[j] - first;
  float mean = first + a / static_cast<float>(c);
#pragma omp simd reduction(+ : b)
  for (int64_t j = 0; j < c; j++) b += (x[j] - mean) * (x[j] - mean);
  return {mean, static_cast<float>(1 / std::sqrt(static_cast<double>(b) / static_cast<double>(c) + epsilon))};
}

LB_CLONES void forward_part(const float *x, const float *gamma, const float *beta, float *y, int64_t rows,
                            int64_t c, double epsilon) {
  for (int64_t r = 0; r < rows; r++, x += c, y += c) {
    statistics s = statistics_of(x, c, epsilon);
#pragma omp simd
    for (int64_t j = 0; j < c; j++) y[j] = (x[j] - s.mean) * s.inverse * gamma[j] + beta[j];
  }
}

struct gradients {
  const float *dy, *x, *gamma;
  float *dx;
  double epsilon;
};

// backward_part adds the gradients of gamma and beta to sums [2][c]; part [2][c] holds those of a block.
LB_CLONES void backward_part(gradients g, int64_t rows, int64_t c, float *__restrict part,
                             double *__restrict sums) {
  constexpr int64_t block = 64;
  float *__restrict second = part + c;
  auto n = static_cast<float>(c);
  for (int64_t from = 0; from < rows; from += block) {
    int64_t to = from + block < rows ? from + block : rows;
    std::memset(part, 0, static_cast<size_t>(8 * c));
    for (int64_t r = from; r < to; r++) {
      const float *dy = g.dy + r * c, *x = g.x + r * c;
      float *dx = g.dx + r * c;
      statistics s = statistics_of(x, c, g.epsilon);
      float a = 0, b = 0;
#pragma omp simd reduction(+ : a, b)
      for (int64_t j = 0; j < c; j++) {
        float h = (x[j] - s.mean) * s.inverse, d = dy[j];
        part[j] += d * h;
        second[j] += d;
        a += d * g.gamma[j];
        b += d * g.gamma[j] * h;
      }
      a /= n, b /= n;
#pragma omp simd
      for (int64_t j = 0; j < c; j++)
        dx[j] = (dy[j] * g.gamma[j] - a - (x[j] - s.mean) * s.inverse * b) * s.inverse;
    }
    for (int64_t j = 0; j < 2 * c; j++) sums[j] += part[j];
  }
}

void layer_norm(const op &o, int threads) {
  int64_t n = o.results[0]->elements, c = o.results[0]->channels();
  parallel(n / c, 1, threads, n, [&](int64_t from, int64_t to, int) {
    forward_part(o.in(0) + from * c, o.in(1), o.in(2), o.out(0) + from * c, to - from, c, o.attr.epsilon);
  });
}

// layer_norm_backward has, in its workspace, sums and sums of a block for each thread.
struct layer_norm_backward : kernel {
  int threads;
  int64_t n, c;
  layer_norm_backward(const op &o, cpu &d) : threads(d.threads) {
    n = o.operands[1]->elements, c = o.operands[1]->channels();
    scratch =
        static_cast<uint64_t>(threads) * static_cast<uint64_t>(2 * c) * (sizeof(double) + sizeof(float));
  }
  void run(const op &o) override {
    auto *sums = reinterpret_cast<double *>(o.scratch);
    auto *parts = reinterpret_cast<float *>(sums + 2 * threads * c);
    std::memset(sums, 0, static_cast<size_t>(2 * threads * c) * sizeof(double));
    parallel(n / c, 1, threads, n, [&](int64_t from, int64_t to, int t) {
      gradients g{o.in(0) + from * c, o.in(1) + from * c, o.in(2), o.out(0) + from * c, o.attr.epsilon};
      backward_part(g, to - from, c, parts + 2 * t * c, sums + 2 * t * c);
    });
    for (int t = 1; t < threads; t++)
      for (int64_t j = 0; j < 2 * c; j++) sums[j] += sums[2 * t * c + j];
    for (int64_t j = 0; j < c; j++)
      o.out(1)[j] = static_cast<float>(sums[j]), o.out(2)[j] = static_cast<float>(sums[c + j]);
  }
};

}  // namespace

std::unique_ptr<kernel> make_layernorm(const op &o, cpu &d) {
  if (o.kind == kind_layer_norm) return std::make_unique<function>(layer_norm, d.threads);
  return std::make_unique<layer_norm_backward>(o, d);
}

}  // namespace lb
