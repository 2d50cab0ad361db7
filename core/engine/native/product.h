// Products of small matrices that lie in the cache, on vectors of W floats. R rows of Z vectors of the result
// stay in registers: 24 of AVX-512's 32, 12 of AVX2's 16.
//
// Order of summation: the inner index, in order, each step one FMA, whatever R, Z and W are.
#pragma once
#include "simd.h"

namespace lb {

#if defined(__x86_64__)

// The loops over rows of accumulators must be unrolled, or the accumulators are in memory.
#define LB_UNROLL _Pragma("GCC unroll 24")

constexpr int64_t product_rows = 24;  // a multiple of every micro-kernel's rows
constexpr int64_t least_rows = 6;     // those of the smallest

// multiply_columns: c[rows, Z vectors] = a[rows, inner] * b[inner, Z vectors]; rows of b and c are n apart.
template <int W, int R, int Z>
LB_INLINE void multiply_columns(const float *a, const float *b, float *c, int64_t rows, int64_t inner,
                                int64_t n) {
  for (int64_t row = 0; row < rows; row += R) {
    floats<W> acc[R][Z];
    LB_UNROLL for (int r = 0; r < R; r++) for (int z = 0; z < Z; z++) acc[r][z] = floats<W>{};
    const float *ar = a + row * inner;
    for (int64_t i = 0; i < inner; i++) {
      floats<W> v[Z];
      for (int z = 0; z < Z; z++) v[z] = load<W>(b + i * n + W * z);
      LB_UNROLL for (int r = 0; r < R; r++) {
        float x = ar[r * inner + i];
        for (int z = 0; z < Z; z++) acc[r][z] += x * v[z];
      }
    }
    LB_UNROLL for (int r = 0; r < R; r++) for (int z = 0; z < Z; z++)
        store<W>(c + (row + r) * n + W * z, acc[r][z]);
  }
}

// multiply_rows is multiply_columns for a multiple of least_rows: R rows at a time, and what is left by
// least_rows at a time.
template <int W, int R, int Z>
LB_INLINE void multiply_rows(const float *a, const float *b, float *c, int64_t rows, int64_t inner,
                             int64_t n) {
  const int64_t most = rows / R * R;
  multiply_columns<W, R, Z>(a, b, c, most, inner, n);
  if (R > least_rows)
    multiply_columns<W, least_rows, Z>(a + most * inner, b, c + most * n, rows - most, inner, n);
}

// multiply: c[rows, n] = a[rows, inner] * b[inner, n], row major; rows is a multiple of least_rows, n of 16.
// Multiples of product_rows take less time for n below 64.
template <int W>
LB_INLINE void multiply(const float *a, const float *b, float *c, int64_t rows, int64_t inner, int64_t n) {
  int64_t k = 0;
  if (W == 16) {
    for (; k + 64 <= n; k += 64) multiply_rows<W, 6, 4>(a, b + k, c + k, rows, inner, n);
    for (; k + 32 <= n; k += 32) multiply_rows<W, 12, 2>(a, b + k, c + k, rows, inner, n);
    for (; k < n; k += 16) multiply_rows<W, 24, 1>(a, b + k, c + k, rows, inner, n);
  } else {
    for (; k < n; k += 16) multiply_rows<W, 6, 2>(a, b + k, c + k, rows, inner, n);
  }
}

// accumulate_columns: c[m, Z vectors] += a[rows, m] transposed * b[rows, Z vectors], for the rows from..to of
// c.
template <int W, int R, int Z>
LB_INLINE void accumulate_columns(const float *a, const float *b, float *c, int64_t rows, int64_t from,
                                  int64_t to, int64_t m, int64_t n) {
  for (int64_t row = from; row < to; row += R) {
    floats<W> acc[R][Z];
    LB_UNROLL for (int r = 0; r < R; r++) for (int z = 0; z < Z; z++) acc[r][z] =
        load<W>(c + (row + r) * n + W * z);
    for (int64_t t = 0; t < rows; t++) {
      floats<W> v[Z];
      for (int z = 0; z < Z; z++) v[z] = load<W>(b + t * n + W * z);
      LB_UNROLL for (int r = 0; r < R; r++) {
        float x = a[t * m + row + r];
        for (int z = 0; z < Z; z++) acc[r][z] += x * v[z];
      }
    }
    LB_UNROLL for (int r = 0; r < R; r++) for (int z = 0; z < Z; z++)
        store<W>(c + (row + r) * n + W * z, acc[r][z]);
  }
}

// accumulate: c[m, n] += a[rows, m] transposed * b[rows, n]; m and n are multiples of 16.
template <int W>
LB_INLINE void accumulate(const float *a, const float *b, float *c, int64_t rows, int64_t m, int64_t n) {
  int64_t k = 0;
  if (W == 16) {
    for (; k + 64 <= n; k += 64) accumulate_columns<W, 4, 4>(a, b + k, c + k, rows, 0, m, m, n);
    for (; k + 32 <= n; k += 32) accumulate_columns<W, 8, 2>(a, b + k, c + k, rows, 0, m, m, n);
    for (; k < n; k += 16) accumulate_columns<W, 16, 1>(a, b + k, c + k, rows, 0, m, m, n);
  } else {
    int64_t sixes = m / 6 * 6;
    for (; k < n; k += 16) {
      accumulate_columns<W, 6, 2>(a, b + k, c + k, rows, 0, sixes, m, n);
      accumulate_columns<W, 2, 2>(a, b + k, c + k, rows, sixes, m, m, n);
    }
  }
}

#undef LB_UNROLL
#endif

}  // namespace lb
