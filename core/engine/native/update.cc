//go:build !nocpu

// Updates of parameters, in place, one pass: each of parameter, gradient and state is read once, and
// parameter and state are written. update.h has what they compute.
//   average  a = m*a + (1-m)*s
#include "update.h"

#include "cpu.h"

// No kernel reads errno: with it GCC does not vectorize square roots.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-math-errno")
#endif

namespace lb {
namespace {

// update_part is elements [from, to) of an update. Rules with fewer state values have the missing ones in
// registers.
template <typename Rule, typename T>
inline __attribute__((always_inline)) void update_part(const Rule &rule, float *__restrict w,
                                                       const T *__restrict g, float *__restrict a,
                                                       float *__restrict b, int64_t from, int64_t to) {
#pragma omp simd
  for (int64_t i = from; i < to; i++) {
    float none = 0;
    if constexpr (Rule::states == 0)
      rule(w[i], g[i], none, none);
    else if constexpr (Rule::states == 1)
      rule(w[i], g[i], a[i], none);
    else
      rule(w[i], g[i], a[i], b[i]);
  }
}

// LB_CLONES does not apply to templates. The gradient is f32 or bf16.
#define LB_UPDATE_PART_OF(rule, T)                                                               \
  LB_CLONES_##T void part(const rule &r, float *w, const T *g, float *a, float *b, int64_t from, \
                          int64_t to) {                                                          \
    update_part(r, w, g, a, b, from, to);                                                        \
  }
#define LB_UPDATE_PART(rule) LB_UPDATE_PART_OF(rule, float) LB_UPDATE_PART_OF(rule, bf16)
LB_UPDATE_PART(sgd_rule)
LB_UPDATE_PART(descent_rule)
LB_UPDATE_PART(adam_rule)
LB_UPDATE_PART(rmsprop_rule)
LB_UPDATE_PART(rmsprop_momentum_rule)
LB_UPDATE_PART(adagrad_rule)
#undef LB_UPDATE_PART
#undef LB_UPDATE_PART_OF

template <typename T>
void update(const op &o, int threads) {
  int64_t n = o.operands[0]->elements;
  updated u = updated_of(o);
  with_rule(o, [&](auto rule) {
    rule.begin(*u.rate, u.words ? u.words[2] : 0);
    parallel_light(n, 16, threads, [&](int64_t from, int64_t to, int) {
      part(rule, u.w, static_cast<const T *>(u.g), u.a, u.b, from, to);
    });
  });
}

LB_CLONES void average_part(float *__restrict a, const float *__restrict s, int64_t n, float m, float rest) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) a[i] = m * a[i] + rest * s[i];
}

void average(const op &o, int threads) {
  int64_t n = o.operands[0]->elements;
  parallel_light(n, 16, threads, [&](int64_t from, int64_t to, int) {
    average_part(o.mutate(0) + from, o.in(1) + from, to - from, static_cast<float>(o.attr.momentum),
                 static_cast<float>(1 - o.attr.momentum));
  });
}

}  // namespace

std::unique_ptr<kernel> make_update(const op &o, cpu &d) {
  if (o.kind == kind_average) return std::make_unique<function>(average, d.threads);
  return typed(*o.operands[1], [&](auto number) -> std::unique_ptr<kernel> {
    return std::make_unique<function>(update<decltype(number)>, d.threads);
  });
}

}  // namespace lb
