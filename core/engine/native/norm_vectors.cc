//go:build !nocpu

// The sums of batch normalisation, and its backward pass, on vectors, for numbers of channels that divide 64
// or that 64 divides, without an activation or with a rectifier. norm.cc has the loops for the others.
//
// A group of four vectors of channels stays in registers, constants and sums, while a block of periods is
// read. Where tensors are read from the end to the start, a part at a time, the part before is fetched to the
// second cache meanwhile: the processor's own prefetching stops at the end of each part.
//
// Order of summation: a block's periods in f32, one after the other; blocks in f64, in their order; then the
// copies of a channel in a period; then parts, from the last to the first.
#include <type_traits>

#include "norm.h"
#include "simd.h"

namespace lb {

#if defined(__x86_64__)
namespace {

constexpr int group = 4;  // vectors

// passing is g where the rectifier passed x, 0 < x < top, and 0 elsewhere. The numbers are compared as
// integers, whose order is that of positive floats: GCC 12 takes a choice by two comparisons of 512 bits
// apart.
template <int W>
LB_INLINE floats<W> passing(const floats<W> &x, float top, const floats<W> &g) {
  words<W> b = (words<W>)x, positive = ~b & -b,
           below = b - __builtin_bit_cast(uint32_t, top);  // of b < 0, too
  return (floats<W>)((ints<W>)(positive & below) >> 31 & (ints<W>)g);
}

// keep stores v and returns what was stored.
template <int W, typename T>
LB_INLINE floats<W> keep(T *to, const floats<W> &v) {
  store<W>(to, v);
  return std::is_same_v<T, float> ? v : load<W>(to);
}

// group_sums are the sums of the channels of a group, two of each.
template <int W>
struct group_sums {
  double a[group * W] = {}, b[group * W] = {};
};

// add_sums adds a block's.
template <int W>
LB_INLINE void add_sums(group_sums<W> *s, const floats<W> *a, const floats<W> *b) {
  alignas(64) float fa[group * W], fb[group * W];
  for (int z = 0; z < group; z++) store<W>(fa + z * W, a[z]), store<W>(fb + z * W, b[z]);
  for (int k = 0; k < group * W; k++) s->a[k] += fa[k], s->b[k] += fb[k];
}

// fold adds the sums of a group that starts at element j of the period to those of the channels.
template <int W>
LB_INLINE void fold(group_sums<W> *s, int64_t j, double *sums, int64_t c) {
  int64_t n = c < group * W ? c : group * W;
  for (int64_t i = n; i < group * W; i += n)
    for (int64_t k = 0; k < n; k++) s->a[k] += s->a[i + k], s->b[k] += s->b[i + k];
  for (int64_t k = 0; k < n; k++) sums[j % c + k] += s->a[k], sums[c + j % c + k] += s->b[k];
}

// fetch fetches the lines of a group to the second cache.
template <int W, typename T>
LB_INLINE void fetch(const T *x) {
  for (int k = 0; k < group * W; k += 64 / static_cast<int>(sizeof(T))) __builtin_prefetch(x + k, 0, 2);
}

// stats and reduce are for one part, or for one block where a period is longer than a group, so that a
// block's groups find it in the cache.
template <int W, typename T>
LB_INLINE void stats(const T *x, int64_t n, int64_t p, int64_t back, const float *first, double *sums,
                     int64_t c) {
  for (int64_t j = 0; j < p; j += group * W) {
    group_sums<W> s;
    floats<W> f[group];
    for (int z = 0; z < group; z++) f[z] = load<W>(first + j + z * W);
    for (int64_t from = 0; from < n; from += norm_block * p) {
      int64_t to = from + norm_block * p < n ? from + norm_block * p : n;
      floats<W> a[group] = {}, b[group] = {};
      for (int64_t i = from + j; i < to; i += p) {
        fetch<W>(x + i - back);
        for (int z = 0; z < group; z++) {
          floats<W> d = load<W>(x + i + z * W) - f[z];
          a[z] += d;
          b[z] += d * d;
        }
      }
      add_sums<W>(&s, a, b);
    }
    fold<W>(&s, j, sums, c);
  }
}

// gradient is the gradient of the normalised element at `at`, which is number j of its period.
template <int W, mask M, second S, typename T>
LB_INLINE floats<W> gradient(const backward_args<T> &t, int64_t at, const floats<W> &scale,
                             const floats<W> &shift) {
  floats<W> g = load<W>(t.dy + at);
  if (S == second::some) g += load<W>(t.dy2 + at);
  if (M == mask::from_x) g = passing<W>(load<W>(t.x + at) * scale + shift, t.top, g);
  if (M == mask::from_z) g = passing<W>(load<W>(t.z + at), t.top, g);
  return g;
}

template <int W, mask M, second S, typename T>
LB_INLINE void reduce(const backward_args<T> *args, int64_t begin, int64_t end, int64_t p, int64_t back,
                      double *sums, int64_t c) {
  const backward_args<T> t = *args;
  for (int64_t j = 0; j < p; j += group * W) {
    group_sums<W> s;
    floats<W> mean[group], scale[group], shift[group];
    for (int z = 0; z < group; z++) {
      int64_t k = j + z * W;
      mean[z] = load<W>(t.mean + k), scale[z] = load<W>(t.scale + k), shift[z] = load<W>(t.shift + k);
    }
    for (int64_t from = begin; from < end; from += norm_block * p) {
      int64_t to = from + norm_block * p < end ? from + norm_block * p : end;
      floats<W> a[group] = {}, b[group] = {};
      for (int64_t i = from + j; i < to; i += p) {
        fetch<W>(t.x + i - back), fetch<W>(t.dy + i - back);
        if (S == second::some) fetch<W>(t.dy2 + i - back);
        if (M == mask::from_z) fetch<W>(t.z + i - back);
        for (int z = 0; z < group; z++) {
          int64_t at = i + z * W;
          floats<W> g = gradient<W, M, S>(t, at, scale[z], shift[z]);
          if (M == mask::from_z) g = keep<W>(t.residual + at, g);
          a[z] += g;
          b[z] += g * (load<W>(t.x + at) - mean[z]);
        }
      }
      add_sums<W>(&s, a, b);
    }
    fold<W>(&s, j, sums, c);
  }
}

template <int W, mask M, second S, typename T>
LB_INLINE void write(const backward_args<T> *args, int64_t begin, int64_t end, int64_t p) {
  const backward_args<T> t = *args;
  for (int64_t from = begin; from < end; from += norm_block * p) {
    int64_t to = from + norm_block * p < end ? from + norm_block * p : end;
    for (int64_t j = 0; j < p; j += group * W) {
      floats<W> mean[group], scale[group], shift[group], a[group], b[group], d[group];
      for (int z = 0; z < group; z++) {
        int64_t k = j + z * W;
        mean[z] = load<W>(t.mean + k), scale[z] = load<W>(t.scale + k), shift[z] = load<W>(t.shift + k);
        a[z] = load<W>(t.a + k), b[z] = load<W>(t.b + k), d[z] = load<W>(t.d + k);
      }
      for (int64_t i = from + j; i < to; i += p)
        for (int z = 0; z < group; z++) {
          int64_t at = i + z * W;
          floats<W> g =
              M == mask::from_z ? load<W>(t.residual + at) : gradient<W, M, S>(t, at, scale[z], shift[z]);
          store<W>(t.dx + at, a[z] * g + (b[z] * (load<W>(t.x + at) - mean[z]) + d[z]));
        }
    }
  }
}

// loops are the functions for vectors of W floats and tensors of type N: T, or what T is for the processor.
template <int W, typename T, typename N>
struct loops {
  using isa = machine<W>;
  static const N *as(const T *x) { return static_cast<const N *>(static_cast<const void *>(x)); }
  static N *as(T *x) { return static_cast<N *>(static_cast<void *>(x)); }
  static backward_args<N> as(const backward_args<T> &t) {
    return {as(t.dy), as(t.dy2), as(t.x), as(t.z), as(t.residual), as(t.dx), t.scale, t.shift,
            t.mean,   t.a,       t.b,     t.d,     t.top};
  }
  // each calls f(from, to) for what is summed together of [from, end).
  template <typename F>
  static void each(int64_t from, int64_t end, int64_t p, F f) {
    int64_t count = p > group * W ? norm_block * p : end - from;
    for (; from < end; from += count) f(from, from + count < end ? from + count : end);
  }
  // ahead is `back` where the part of all tensors that is fetched is small beside the cache.
  static int64_t ahead(int64_t back, int64_t p) { return p <= 128 ? back : 0; }
  static void stats_loop(const T *x, int64_t n, int64_t p, int64_t back, const float *first, double *sums,
                         int64_t c) {
    each(0, n, p, [&](int64_t from, int64_t to) {
      isa::template call<stats<W, N>>(as(x + from), to - from, p, ahead(back, p), first, sums, c);
    });
  }
  template <mask M, second S>
  static void reduce_loop(const backward_args<T> *t, int64_t from, int64_t end, int64_t p, int64_t back,
                          double *sums, int64_t c) {
    backward_args<N> of = as(*t);
    each(from, end, p, [&](int64_t a, int64_t b) {
      isa::template call<reduce<W, M, S, N>>(&of, a, b, p, ahead(back, p), sums, c);
    });
  }
  template <mask M, second S>
  static void write_loop(const backward_args<T> *t, int64_t from, int64_t end, int64_t p) {
    backward_args<N> of = as(*t);
    isa::template call<write<W, M, S, N>>(&of, from, end, p);
  }
  template <mask M, second S>
  static norm_vectors<T> backward() {
    norm_vectors<T> v;
    v.reduce = reduce_loop<M, S>, v.write = write_loop<M, S>;
    return v;
  }
};

// pick calls f with the loops for the processor, if there are any for these channels: with AVX-512, and for
// bf16 with the instruction that rounds. With AVX2 the loops of norm.cc were as fast or faster.
template <typename T, typename F>
norm_vectors<T> pick(const cpu &d, int64_t c, int64_t p, F f) {
  if (d.width != 16 || p % 64 != 0 || (c % 64 != 0 && 64 % c != 0)) return {};
  if constexpr (std::is_same_v<T, bf16>)
    return multiplies_bf16() ? f(loops<16, T, instruction_bf16>{}) : norm_vectors<T>{};
  else
    return f(loops<16, T, T>{});
}

}  // namespace
#endif

template <typename T>
norm_vectors<T> norm_stats_vectors(const cpu &d, int64_t c, int64_t p) {
#if defined(__x86_64__)
  return pick<T>(d, c, p, [](auto l) {
    norm_vectors<T> v;
    v.stats = decltype(l)::stats_loop;
    return v;
  });
#else
  (void)d, (void)c, (void)p;
  return {};
#endif
}

template <typename T>
norm_vectors<T> norm_backward_vectors(const cpu &d, int64_t c, int64_t p, mask m, second s) {
#if defined(__x86_64__)
  return pick<T>(d, c, p, [&](auto l) -> norm_vectors<T> {
    using L = decltype(l);
    bool sum = s == second::some;
    switch (m) {
      case mask::none:
        return sum ? L::template backward<mask::none, second::some>()
                   : L::template backward<mask::none, second::none>();
      case mask::from_x:
        return sum ? L::template backward<mask::from_x, second::some>()
                   : L::template backward<mask::from_x, second::none>();
      case mask::from_z:
        return sum ? L::template backward<mask::from_z, second::some>()
                   : L::template backward<mask::from_z, second::none>();
      default:
        return {};
    }
  });
#else
  (void)d, (void)c, (void)p, (void)m, (void)s;
  return {};
#endif
}

#define LB_INSTANTIATE(T)                                                     \
  template norm_vectors<T> norm_stats_vectors(const cpu &, int64_t, int64_t); \
  template norm_vectors<T> norm_backward_vectors(const cpu &, int64_t, int64_t, mask, second);
LB_INSTANTIATE(float)
LB_INSTANTIATE(bf16)

}  // namespace lb
