//go:build !nocpu

// y[i] = x[i] / (1 - rate) where number k of the stream is at least the rate, else 0: k is i, or the
// number of the sample. core/graph/dropout.go defines the numbers. In place: y may alias x.
// One read and one write for each element; the numbers are drawn 64 at a time and stay in the cache.
#include <algorithm>

#include "cpu.h"
#include "rng.h"

namespace lb {
namespace {

constexpr int64_t width = 16;  // blocks of four numbers

// draw fills the factors of as many elements from a block on: the scale, or 0. The four words of a
// block are stored apart (structure of arrays), so that the rounds are loops over blocks.
inline __attribute__((always_inline)) void draw(const dropping &d, uint32_t block, float *factor) {
  alignas(64) uint32_t word[4][width];
#pragma omp simd
  for (int64_t j = 0; j < width; j++) {
    random_block w = d.words(block + static_cast<uint32_t>(j));
    word[0][j] = w.word[0], word[1][j] = w.word[1], word[2][j] = w.word[2], word[3][j] = w.word[3];
  }
  auto chosen = [&](uint32_t w) { return w >= d.bound ? d.scale : 0; };
#pragma omp simd
  for (int64_t j = 0; j < width; j++) {
    factor[4 * j] = chosen(word[0][j]), factor[4 * j + 1] = chosen(word[1][j]);
    factor[4 * j + 2] = chosen(word[2][j]), factor[4 * j + 3] = chosen(word[3][j]);
  }
}

// drop_part is elements [from, to), from a multiple of 4.
template <typename T>
static inline __attribute__((always_inline)) void drop_body(const dropping &d, const T *x, T *y, int64_t from,
                                                            int64_t to) {
  alignas(64) float factor[4 * width];
  for (; from < to; from += 4 * width) {
    draw(d, static_cast<uint32_t>(from / 4), factor);
    int64_t n = to - from < 4 * width ? to - from : 4 * width;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
      float v = x[from + i] * factor[i];
      y[from + i] = factor[i] == 0 ? 0 : v;
    }
  }
}

// LB_CLONES does not apply to templates.
#define LB_DROP(T)                                                                       \
  LB_CLONES_##T void drop_part(dropping d, const T *x, T *y, int64_t from, int64_t to) { \
    drop_body(d, x, y, from, to);                                                        \
  }                                                                                      \
  LB_CLONES_##T void scale_part(const T *x, T *y, float scale, int64_t n) {              \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = x[i] * scale;             \
  }
LB_DROP(float)
LB_DROP(bf16)

template <typename T>
void dropout(const op &o, int threads) {
  const value &x = *o.operands[0];
  const T *from = o.in<T>(0);
  T *to = o.out<T>(0);
  dropping d = dropping_of(o);
  if (!o.attr.rows)
    return parallel(x.elements, 4 * width, threads, x.elements,
                    [&](int64_t a, int64_t b, int) { drop_part(d, from, to, a, b); });
  int64_t sample = x.elements / x.dims[0];
  parallel(x.dims[0], 1, threads, x.elements, [&](int64_t a, int64_t b, int) {
    for (int64_t k = a; k < b; k++) {
      if (d.keeps(k))
        scale_part(from + k * sample, to + k * sample, d.scale, sample);
      else
        std::fill_n(to + k * sample, sample, T{});
    }
  });
}

}  // namespace

std::unique_ptr<kernel> make_dropout(const op &o, cpu &d) {
  return typed(*o.operands[0], [&](auto number) -> std::unique_ptr<kernel> {
    return std::make_unique<function>(dropout<decltype(number)>, d.threads);
  });
}

}  // namespace lb
