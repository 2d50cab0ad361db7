//go:build !nocpu

// Updates of parameters, in place, one pass: 3r 2w.
//   average  a = m*a + (1-m)*s
//   sgd      g += wd*w;  v = m*v + g;  w -= lr * (nesterov ? g + m*v : v)
#include "cpu.h"

namespace lb {
namespace {

LB_CLONES void sgd_part(float *__restrict w, const float *__restrict g, float *__restrict v, int64_t n,
                        float lr, float m, float wd, bool nesterov) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    float d = g[i] + wd * w[i];
    float u = m * v[i] + d;
    v[i] = u;
    w[i] -= lr * (nesterov ? d + m * u : u);
  }
}

void sgd(const op &o, int threads) {
  int64_t n = o.operands[0]->elements;
  parallel(n, 16, threads, n, [&](int64_t a, int64_t b, int) {
    sgd_part(o.mutate(0) + a, o.in(1) + a, o.mutate(2) + a, b - a, o.in(3)[0],
             static_cast<float>(o.attr.momentum), static_cast<float>(o.attr.weight_decay),
             o.attr.nesterov != 0);
  });
}

LB_CLONES void average_part(float *__restrict a, const float *__restrict s, int64_t n, float m, float rest) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) a[i] = m * a[i] + rest * s[i];
}

void average(const op &o, int threads) {
  int64_t n = o.operands[0]->elements;
  parallel(n, 16, threads, n, [&](int64_t from, int64_t to, int) {
    average_part(o.mutate(0) + from, o.in(1) + from, to - from, static_cast<float>(o.attr.momentum),
                 static_cast<float>(1 - o.attr.momentum));
  });
}

}  // namespace

std::unique_ptr<kernel> make_update(const op &o, cpu &d) {
  return std::make_unique<function>(o.kind == kind_average ? average : sgd, d.threads);
}

}  // namespace lb
