//go:build !nocpu

// Batch normalisation over all dimensions but the last.
//
//   norm_stats     mean, variance (biased); running = (1-m)*running + m*batch, variance unbiased
//   norm_apply     y = activation(x*scale + shift [+ residual]) with
//                  scale = gamma / sqrt(variance + epsilon), shift = beta - mean*scale
//   norm_backward  g = dy [+ dy2], times the slope of the activation;
//                  dbeta = sum g;  dgamma = sum g*(x-mean) / sigma;  dresidual = g;
//                  dx = scale * (g - dbeta/n - (x-mean)/sigma * dgamma/n)
//   norm_backward_sums  the same without dx, which follows from the coefficients that it gives
//
// Tensors [N H W C] or [N C] are f32 or bf16, vectors [C] f32; arithmetic is f32. Where g is
// stored to dresidual, the sums are of what was stored. In place: y may alias x or residual; dresidual dy or
// dy2; dx x, dy or dy2. Element i of every operand is read before element i of a result is written.
//
// Passes over memory, in tensors read (r) and written (w):
//   stats 1r;  apply 1r 1w, with residual 2r 1w
//   backward, with or without an activation: 2r, then 2r 1w;  with dy2: 3r, then 3r 1w
//   backward, rectified after a residual: 3r 1w (4r 1w with dy2), then 2r 1w: the
//   first pass writes g to dresidual, and the second reads it from there.
// They run at 21 to 30 GB/s on one core that copies at 30 (`go test -bench Op/norm
// ./core/engine`, tensors of 2 to 8 MB, AVX-512 Xeon with 2 MB of second cache).
// Sums run from the end to the start of the tensor: the end is still in the cache of the op that
// wrote it, and the start then is in the cache for the second pass.
//
// Order of summation: each thread has a fixed part of the rows, in which blocks of
// 64 periods are summed in f32, and blocks and threads in f64, in order. Results are
// reproducible with the same number of threads. Sums are over differences from the first
// row (stats) or from the mean (backward), to avoid cancellation. With AVX-512 the loops of norm_vectors.cc
// take the sums and write the gradient of most tensors.
#include "norm.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "balance.h"
#include "gradients.h"

namespace lb {
namespace {

// A period is a whole number of rows, 64 elements where the
// channels divide 64, so that the inner loop has no remainder and channel
// constants stay in registers.
int64_t period_of(int64_t c) { return c * ((63 + c) / c); }

// from_end calls f(from, to, back) for parts of [begin, end) from the last to the first: the next one starts
// `back` elements before `from`, 0 after the last. A part is a few pages and a whole number of blocks.
template <typename F>
void from_end(int64_t begin, int64_t end, int64_t p, F f) {
  int64_t part = norm_block * p * norm_part, parts = (end - begin + part - 1) / part;
  for (int64_t i = parts - 1; i >= 0; i--) {
    int64_t from = begin + i * part;
    f(from, from + part < end ? from + part : end, i > 0 ? part : 0);
  }
}

template <typename T>
LB_INLINE void stats_body(const T *__restrict x, int64_t n, int64_t p, const float *__restrict first,
                          float *__restrict a, float *__restrict b, double *__restrict sums, int64_t c) {
  for (int64_t from = 0; from < n; from += norm_block * p) {
    int64_t to = from + norm_block * p < n ? from + norm_block * p : n;
    for (int64_t j = 0; j < p; j++) a[j] = b[j] = 0;
    int64_t i = from;
    for (; i + p <= to; i += p)
      for (int64_t j = 0; j < p; j++) {
        float d = x[i + j] - first[j];
        a[j] += d;
        b[j] += d * d;
      }
    for (int64_t j = 0; i + j < to; j++) {
      float d = x[i + j] - first[j];
      a[j] += d;
      b[j] += d * d;
    }
    for (int64_t j = 0, k = 0; j < p; j++) {
      sums[k] += a[j];
      sums[c + k] += b[j];
      if (++k == c) k = 0;
    }
  }
}

// LB_CLONES does not apply to templates: each function is there for both element types.
#define LB_STATS(T)                                                                                      \
  LB_CLONES_##T void stats_64(const T *x, int64_t n, const float *first, double *sums, int64_t c) {      \
    float a[64], b[64];                                                                                  \
    stats_body(x, n, 64, first, a, b, sums, c);                                                          \
  }                                                                                                      \
  LB_CLONES_##T void stats_any(const T *x, int64_t n, int64_t p, const float *first, float *a, float *b, \
                               double *sums, int64_t c) {                                                \
    stats_body(x, n, p, first, a, b, sums, c);                                                           \
  }
LB_STATS(float)
LB_STATS(bf16)

enum class residual { none, some };
enum class epilogue { none, clip, silu, hardswish };

template <typename T>
struct sixteen {
  T of[16];
};

// round_64 rounds 64 numbers to bf16, as bf16.h does. The instruction differs in denormal numbers only, which
// the backend flushes to zero (cpu.cc).
LB_INLINE void round_64(const float *v, bf16 *y) {
#if defined(__x86_64__)
  if (rounds_bf16) {
    for (int64_t j = 0; j < 64; j += 16)
      asm("vcvtneps2bf16 %1, %%ymm0\n\tvmovdqu %%ymm0, %0"
          : "=m"(*reinterpret_cast<sixteen<bf16> *>(y + j))
          : "m"(*reinterpret_cast<const sixteen<float> *>(v + j))
          : "xmm0");
    return;
  }
#endif
#pragma omp simd
  for (int64_t j = 0; j < 64; j++) y[j] = v[j];
}

// each writes f(j) to y[j] for j in [0, p). A period of 64 in bf16 is computed before any of it is rounded:
// together GCC vectorises them with the rounding in each branch of f.
template <typename F>
LB_INLINE void each(int64_t p, float *y, F f) {
#pragma omp simd
  for (int64_t j = 0; j < p; j++) y[j] = f(j);
}
template <typename F>
LB_INLINE void each(int64_t p, bf16 *y, F f) {
  if (p != 64) {
#pragma omp simd
    for (int64_t j = 0; j < p; j++) y[j] = f(j);
    return;
  }
  alignas(64) float v[64];
#pragma omp simd
  for (int64_t j = 0; j < 64; j++) v[j] = f(j);
  asm("" : "+m"(v));  // keeps the two loops apart
  round_64(v, y);
}

template <residual R, epilogue A, typename T>
LB_INLINE void apply_body(const T *x, const T *r, T *y, int64_t n, int64_t p, const float *__restrict scale,
                          const float *__restrict shift, float top) {
  int64_t i = 0;
  auto one = [&](int64_t at, int64_t j) __attribute__((always_inline)) {
    float v = x[at] * scale[j] + shift[j];
    if (R == residual::some) v += r[at];
    if (A == epilogue::clip) v = clip(v, top);
    if (A == epilogue::silu) v = v * sigmoid(v);
    if (A == epilogue::hardswish) v = v * hardsigmoid(v);
    return v;
  };
  for (; i + p <= n; i += p)
    each(
        p, y + i, [&](int64_t j) __attribute__((always_inline)) { return one(i + j, j); });
  for (int64_t j = 0; i + j < n; j++) y[i + j] = one(i + j, j);
}

template <typename T>
using apply_function = void(const T *x, const T *r, T *y, int64_t n, int64_t p, const float *scale,
                            const float *shift, float top);
#define LB_APPLY_TO(T, name, R, A)                                                                \
  LB_CLONES_##T void name(const T *x, const T *r, T *y, int64_t n, int64_t p, const float *scale, \
                          const float *shift, float top) {                                        \
    if (p == 64)                                                                                  \
      apply_body<R, A>(x, r, y, n, 64, scale, shift, top);                                        \
    else                                                                                          \
      apply_body<R, A>(x, r, y, n, p, scale, shift, top);                                         \
  }
#define LB_APPLY(name, R, A) LB_APPLY_TO(float, name, R, A) LB_APPLY_TO(bf16, name, R, A)
LB_APPLY(apply_plain, residual::none, epilogue::none)
LB_APPLY(apply_clip, residual::none, epilogue::clip)
LB_APPLY(apply_silu, residual::none, epilogue::silu)
LB_APPLY(apply_hardswish, residual::none, epilogue::hardswish)
LB_APPLY(apply_add, residual::some, epilogue::none)
LB_APPLY(apply_add_clip, residual::some, epilogue::clip)

template <mask M, second S, typename T>
LB_INLINE float incoming(const backward_args<T> &t, int64_t at, int64_t j) {
  float g = t.dy[at];
  if (S == second::some) g += t.dy2[at];
  if (M == mask::from_x) g = passes(t.x[at] * t.scale[j] + t.shift[j], t.top) ? g : 0;
  if (M == mask::from_z) g = passes(t.z[at], t.top) ? g : 0;
  if (M == mask::silu) g *= silu_slope(t.x[at] * t.scale[j] + t.shift[j]);
  if (M == mask::hardswish) g *= hardswish_slope(t.x[at] * t.scale[j] + t.shift[j]);
  return g;
}

template <mask M, second S, typename T>
LB_INLINE void reduce_body(const backward_args<T> &t, int64_t from, int64_t end, int64_t p,
                           float *__restrict a, float *__restrict b, double *__restrict sums, int64_t c) {
  for (; from < end; from += norm_block * p) {
    int64_t to = from + norm_block * p < end ? from + norm_block * p : end;
    for (int64_t j = 0; j < p; j++) a[j] = b[j] = 0;
    int64_t i = from;
    auto one = [&](int64_t at, int64_t j) __attribute__((always_inline)) {
      float g = incoming<M, S>(t, at, j);
      if (M == mask::from_z) {
        T stored = g;
        t.residual[at] = stored;
        g = stored;
      }
      a[j] += g;
      b[j] += g * (t.x[at] - t.mean[j]);
    };
    for (; i + p <= to; i += p) {
#pragma omp simd
      for (int64_t j = 0; j < p; j++) one(i + j, j);
    }
    for (int64_t j = 0; i + j < to; j++) one(i + j, j);
    for (int64_t j = 0, k = 0; j < p; j++) {
      sums[k] += a[j];
      sums[c + k] += b[j];
      if (++k == c) k = 0;
    }
  }
}

template <mask M, second S, typename T>
LB_INLINE void dx_body(const backward_args<T> &t, int64_t from, int64_t end, int64_t p) {
  int64_t i = from;
  auto one = [&](int64_t at, int64_t j) __attribute__((always_inline)) {
    float g = M == mask::from_z ? static_cast<float>(t.residual[at]) : incoming<M, S>(t, at, j);
    t.dx[at] = t.a[j] * g + (t.b[j] * (t.x[at] - t.mean[j]) + t.d[j]);
  };
  for (; i + p <= end; i += p) {
#pragma omp simd
    for (int64_t j = 0; j < p; j++) one(i + j, j);
  }
  for (int64_t j = 0; i + j < end; j++) one(i + j, j);
}

template <typename T>
using reduce_function = void(const backward_args<T> &, int64_t, int64_t, int64_t, float *, float *, double *,
                             int64_t);
template <typename T>
using dx_function = void(const backward_args<T> &, int64_t, int64_t, int64_t);
#define LB_BACKWARD_OF(T, name, M, S)                                                               \
  LB_CLONES_##T void reduce_##name(const backward_args<T> &t, int64_t from, int64_t end, int64_t p, \
                                   float *a, float *b, double *sums, int64_t c) {                   \
    float fa[64], fb[64];                                                                           \
    if (p == 64)                                                                                    \
      reduce_body<M, S>(t, from, end, 64, fa, fb, sums, c);                                         \
    else                                                                                            \
      reduce_body<M, S>(t, from, end, p, a, b, sums, c);                                            \
  }                                                                                                 \
  LB_CLONES_##T void dx_##name(const backward_args<T> &t, int64_t from, int64_t end, int64_t p) {   \
    if (p == 64)                                                                                    \
      dx_body<M, S>(t, from, end, 64);                                                              \
    else                                                                                            \
      dx_body<M, S>(t, from, end, p);                                                               \
  }
#define LB_BACKWARD(name, M, S) LB_BACKWARD_OF(float, name, M, S) LB_BACKWARD_OF(bf16, name, M, S)
LB_BACKWARD(plain, mask::none, second::none)
LB_BACKWARD(plain_sum, mask::none, second::some)
LB_BACKWARD(clip, mask::from_x, second::none)
LB_BACKWARD(clip_sum, mask::from_x, second::some)
LB_BACKWARD(silu, mask::silu, second::none)
LB_BACKWARD(silu_sum, mask::silu, second::some)
LB_BACKWARD(hardswish, mask::hardswish, second::none)
LB_BACKWARD(hardswish_sum, mask::hardswish, second::some)
LB_BACKWARD(residual, mask::from_z, second::none)
LB_BACKWARD(residual_sum, mask::from_z, second::some)

// norm_kernel divides its workspace into sums by thread, float accumulators by
// thread, and channel constants repeated over a period.
struct norm_kernel : norm_pass {
  int threads;
  int64_t n, c, rows, p;
  norm_kernel(const op &o, cpu &d, const value &x) : threads(d.threads) {
    n = x.elements, c = x.channels(), rows = n / c, p = period_of(c);
    scratch = static_cast<uint64_t>(threads) * static_cast<uint64_t>(16 * c + 8 * p) +
              static_cast<uint64_t>(6 * 4 * p);
    (void)o;
  }
  double *sums(const op &o, int t) const { return reinterpret_cast<double *>(o.scratch) + 2 * c * t; }
  float *accumulators(const op &o, int t) const {
    return reinterpret_cast<float *>(o.scratch + 16 * c * threads) + 2 * p * t;
  }
  float *constant(const op &o, int i) const {
    return reinterpret_cast<float *>(o.scratch + (16 * c + 8 * p) * threads) + p * i;
  }
  // repeat copies the first row of constant i over the period.
  void repeat(float *k) const {
    for (int64_t j = c; j < p; j++) k[j] = k[j - c];
  }
  void scale_shift(const op &o, const float *mean, const float *variance, const float *gamma,
                   const float *beta) const {
    float *scale = constant(o, 0), *shift = constant(o, 1);
    for (int64_t j = 0; j < c; j++) {
      double s = gamma[j] / std::sqrt(static_cast<double>(variance[j]) + o.attr.epsilon);
      scale[j] = static_cast<float>(s);
      shift[j] = static_cast<float>(beta[j] - mean[j] * s);
    }
    repeat(scale), repeat(shift);
  }
  void run(const op &o) override {
    begin(o);
    parallel_light(n, p, threads, [&](int64_t from, int64_t to, int t) { part(o, from, to, t, nullptr); });
    end(o);
  }
  void clear_sums(const op &o) const { std::memset(o.scratch, 0, static_cast<size_t>(16 * c * threads)); }
  // total adds the threads' sums into those of thread 0.
  double *total(const op &o) const {
    double *all = sums(o, 0);
    for (int t = 1; t < threads; t++)
      for (int64_t j = 0; j < 2 * c; j++) all[j] += sums(o, t)[j];
    return all;
  }
};

// norm_stats sums differences from the first row, or, apart, from the first row that a thread has: then the
// tensor need not be complete when it begins.
template <typename T>
struct norm_stats : norm_kernel {
  norm_vectors<T> vectors;
  bool apart;
  std::vector<int64_t> counted;  // rows, by thread; apart
  norm_stats(const op &o, cpu &d, bool by_thread)
      : norm_kernel(o, d, *o.operands[0]),
        vectors(norm_stats_vectors<T>(d, c, p)),
        apart(by_thread),
        counted(static_cast<size_t>(threads)) {
    if (apart) scratch += static_cast<uint64_t>(4 * p * threads);
  }
  float *first(const op &o, int t) const { return constant(o, apart ? 6 + t : 0); }
  void set_first(const op &o, int t, const T *row) const {
    for (int64_t j = 0; j < c; j++) first(o, t)[j] = row[j];
    repeat(first(o, t));
  }
  void begin(const op &o) override {
    clear_sums(o);
    if (!apart) set_first(o, 0, o.in<T>(0));
    counted.assign(counted.size(), 0);
  }
  void part(const op &o, int64_t from, int64_t to, int t, uint8_t *) override {
    const T *x = o.in<T>(0);
    int64_t &count = counted[static_cast<size_t>(t)];
    if (apart && count == 0) set_first(o, t, x + from);
    count += (to - from) / c;
    from_end(from, to, p, [&](int64_t a, int64_t b, int64_t back) {
      if (vectors.stats) {
        int64_t whole = (b - a) / p * p;
        vectors.stats(x + a, whole, p, back, first(o, t), sums(o, t), c);
        a += whole;
      }
      if (a == b) return;
      if (p == 64)
        stats_64(x + a, b - a, first(o, t), sums(o, t), c);
      else
        stats_any(x + a, b - a, p, first(o, t), accumulators(o, t), accumulators(o, t) + p, sums(o, t), c);
    });
  }
  // reference is the thread from whose first row all differences are in the end: the first one with any rows.
  int reference() const {
    int t = 0;
    while (apart && t + 1 < threads && counted[static_cast<size_t>(t)] == 0) t++;
    return t;
  }
  // align_sums makes the threads' sums those of differences from one row.
  void align_sums(const op &o, const float *row) const {
    for (int t = 0; apart && t < threads; t++) {
      auto count = static_cast<double>(counted[static_cast<size_t>(t)]);
      double *a = sums(o, t), *b = a + c;
      for (int64_t j = 0; count > 0 && j < c; j++) {
        double by = static_cast<double>(first(o, t)[j]) - static_cast<double>(row[j]);
        b[j] += by * (2 * a[j] + count * by);
        a[j] += count * by;
      }
    }
  }
  void end(const op &o) override {
    const float *row = first(o, reference());
    align_sums(o, row);
    const double *all = total(o);
    double m = o.attr.momentum, r = static_cast<double>(rows);
    for (int64_t j = 0; j < c; j++) {
      double d = all[j] / r, variance = all[c + j] / r - d * d;
      if (variance < 0) variance = 0;
      double mean = row[j] + d;
      o.out(0)[j] = static_cast<float>(mean);
      o.out(1)[j] = static_cast<float>(variance);
      if (o.operands[1]) {
        o.mutate(1)[j] = static_cast<float>((1 - m) * o.mutate(1)[j] + m * mean);
        o.mutate(2)[j] = static_cast<float>((1 - m) * o.mutate(2)[j] + m * variance * r / (r - 1));
      }
    }
  }
};

template <typename T>
apply_function<T> *apply_of(const op &o) {
  bool clipped = o.attr.rectifies();
  if (o.operands[5] && clipped) return apply_add_clip;
  if (o.operands[5]) return apply_add;
  if (clipped) return apply_clip;
  if (o.attr.activation == activation_silu) return apply_silu;
  if (o.attr.activation == activation_hardswish) return apply_hardswish;
  return apply_plain;
}

template <typename T>
struct norm_apply : norm_kernel {
  apply_function<T> *f;
  norm_apply(const op &o, cpu &d) : norm_kernel(o, d, *o.operands[0]), f(apply_of<T>(o)) {}
  void begin(const op &o) override { scale_shift(o, o.in(1), o.in(2), o.in(3), o.in(4)); }
  void run(const op &o) override {
    begin(o);
    balanced_light(n, p, threads, [&](int64_t from, int64_t to, int) { part(o, from, to, 0, nullptr); });
  }
  void part(const op &o, int64_t from, int64_t to, int, uint8_t *result) override {
    const T *x = o.in<T>(0), *r = o.in<T>(5);
    T *y = result ? reinterpret_cast<T *>(result) : o.out<T>(0);
    f(x + from, r ? r + from : nullptr, y + from, to - from, p, constant(o, 0), constant(o, 1), o.attr.top());
  }
};

// backward_parts are the two passes of norm_backward: on vectors where there are such, and for the rest.
template <typename T>
struct backward_parts {
  reduce_function<T> *reduce_rest;
  dx_function<T> *write_rest;
  norm_vectors<T> vectors;
  backward_parts(const attributes &a, bool residual, bool sum, const cpu &d, int64_t c, int64_t p) {
    auto choose = [&](mask m, reduce_function<T> *r, dx_function<T> *w, reduce_function<T> *r2,
                      dx_function<T> *w2) {
      reduce_rest = sum ? r2 : r, write_rest = sum ? w2 : w;
      vectors = norm_backward_vectors<T>(d, c, p, m, sum ? second::some : second::none);
    };
    if (residual)
      choose(mask::from_z, reduce_residual, dx_residual, reduce_residual_sum, dx_residual_sum);
    else if (a.rectifies())
      choose(mask::from_x, reduce_clip, dx_clip, reduce_clip_sum, dx_clip_sum);
    else if (a.activation == activation_silu)
      choose(mask::silu, reduce_silu, dx_silu, reduce_silu_sum, dx_silu_sum);
    else if (a.activation == activation_hardswish)
      choose(mask::hardswish, reduce_hardswish, dx_hardswish, reduce_hardswish_sum, dx_hardswish_sum);
    else
      choose(mask::none, reduce_plain, dx_plain, reduce_plain_sum, dx_plain_sum);
  }
  void reduce(const backward_args<T> &t, int64_t from, int64_t end, int64_t p, int64_t back, float *a,
              float *b, double *sums, int64_t c) const {
    if (vectors.reduce) {
      int64_t rest = from + (end - from) / p * p;
      vectors.reduce(&t, from, rest, p, back, sums, c);
      from = rest;
    }
    if (from < end) reduce_rest(t, from, end, p, a, b, sums, c);
  }
  void write(const backward_args<T> &t, int64_t from, int64_t end, int64_t p) const {
    if (vectors.write) {
      int64_t rest = from + (end - from) / p * p;
      vectors.write(&t, from, rest, p);
      from = rest;
    }
    if (from < end) write_rest(t, from, end, p);
  }
};

// norm_backward is also norm_backward_sums, which ends with the sums.
template <typename T>
struct norm_backward : norm_kernel {
  backward_parts<T> chosen;
  bool whole;  // with dx
  norm_backward(const op &o, cpu &d)
      : norm_kernel(o, d, *o.operands[1]),
        chosen(o.attr, o.operands[6] != nullptr, o.operands[7] != nullptr, d, c, p),
        whole(o.kind == kind_norm_backward) {}
  // arguments are those of the loops. Constants: scale, shift, mean, and the three of dx.
  backward_args<T> arguments(const op &o) const {
    return {o.in<T>(0),
            o.in<T>(7),
            o.in<T>(1),
            o.in<T>(6),
            o.results.size() > 3 ? o.out<T>(3) : nullptr,
            whole ? o.out<T>(0) : nullptr,
            constant(o, 0),
            constant(o, 1),
            constant(o, 2),
            constant(o, 3),
            constant(o, 4),
            constant(o, 5),
            o.attr.top()};
  }
  void begin(const op &o) override {
    scale_shift(o, o.in(2), o.in(3), o.in(4), o.in(5));
    std::memcpy(constant(o, 2), o.in(2), static_cast<size_t>(4 * c));
    repeat(constant(o, 2));
    clear_sums(o);
  }
  void part(const op &o, int64_t from, int64_t to, int t, uint8_t *) override {
    const backward_args<T> of = arguments(o);
    from_end(from, to, p, [&](int64_t u, int64_t v, int64_t back) {
      chosen.reduce(of, u, v, p, back, accumulators(o, t), accumulators(o, t) + p, sums(o, t), c);
    });
  }
  void end(const op &o) override {
    const float *variance = o.in(3), *gamma = o.in(4);
    float *a = constant(o, 3), *b = constant(o, 4), *d = constant(o, 5);
    const double *all = total(o);
    double r = static_cast<double>(rows);
    for (int64_t j = 0; j < c; j++) {
      double inverse = 1 / std::sqrt(static_cast<double>(variance[j]) + o.attr.epsilon);
      double scale = gamma[j] * inverse;
      o.out(whole ? 1 : 0)[j] = static_cast<float>(all[c + j] * inverse);
      o.out(whole ? 2 : 1)[j] = static_cast<float>(all[j]);
      a[j] = static_cast<float>(scale);
      b[j] = static_cast<float>(-scale * inverse * inverse * all[c + j] / r);
      d[j] = static_cast<float>(-scale * all[j] / r);
    }
    if (!whole) {
      const float *rows_of[] = {constant(o, 0), constant(o, 1), b, d, constant(o, 2)};
      for (int64_t i = 0; i < coefficient_count; i++)
        std::memcpy(o.out(2) + i * c, rows_of[i], static_cast<size_t>(4 * c));
      return;
    }
    repeat(a), repeat(b), repeat(d);
    const backward_args<T> of = arguments(o);
    balanced_light(n, p, threads, [&](int64_t from, int64_t to, int) { chosen.write(of, from, to, p); });
  }
};

// norm_gradient writes the gradient of the input of a normalisation from the coefficients of
// norm_backward_sums: what norm_backward writes as dx.
template <typename T>
struct norm_gradient : norm_kernel {
  backward_parts<T> chosen;
  norm_gradient(const op &o, cpu &d)
      : norm_kernel(o, d, *o.operands[1]), chosen(o.attr, false, false, d, c, p) {}
  void begin(const op &o) override {
    for (int64_t i = 0; i < coefficient_count; i++) {
      float *of = constant(o, static_cast<int>(i));
      std::memcpy(of, o.in(2) + i * c, static_cast<size_t>(4 * c));
      repeat(of);
    }
  }
  void part(const op &o, int64_t from, int64_t to, int, uint8_t *result) override {
    auto of = [&](int64_t row) { return constant(o, static_cast<int>(row)); };
    backward_args<T> t{o.in<T>(0),
                       nullptr,
                       o.in<T>(1),
                       nullptr,
                       nullptr,
                       result ? reinterpret_cast<T *>(result) : o.out<T>(0),
                       of(coefficient_scale),
                       of(coefficient_shift),
                       of(coefficient_mean),
                       of(coefficient_scale),
                       of(coefficient_slope),
                       of(coefficient_offset),
                       o.attr.top()};
    chosen.write(t, from, to, p);
  }
};

}  // namespace

std::unique_ptr<kernel> make_norm(const op &o, cpu &d) {
  return typed(*o.operands[0], [&](auto number) -> std::unique_ptr<kernel> {
    using T = decltype(number);
    if (o.kind == kind_norm_stats) return std::make_unique<norm_stats<T>>(o, d, false);
    if (o.kind == kind_norm_apply) return std::make_unique<norm_apply<T>>(o, d);
    return std::make_unique<norm_backward<T>>(o, d);
  });
}

std::unique_ptr<norm_pass> make_norm_pass(const op &o, cpu &d) {
  return typed(*o.operands[0], [&](auto number) -> std::unique_ptr<norm_pass> {
    using T = decltype(number);
    if (o.kind == kind_norm_stats) return std::make_unique<norm_stats<T>>(o, d, true);
    if (o.kind == kind_norm_apply) return std::make_unique<norm_apply<T>>(o, d);
    if (o.kind == kind_norm_backward_sums) return std::make_unique<norm_backward<T>>(o, d);
    return std::make_unique<norm_gradient<T>>(o, d);
  });
}

}  // namespace lb
