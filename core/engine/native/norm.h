// Shared by the two files of batch normalisation: what its loops are called with, and the table of those on
// vectors.
#pragma once
#include "cpu.h"

namespace lb {

// Sums are over parts of a thread's rows; a block is this many periods (norm.cc).
constexpr int64_t norm_block = 64;
constexpr int64_t norm_part = 4;  // blocks

// Variants of the backward pass: what the derivative of the activation is computed from, and whether
// a second gradient is added.
enum class mask { none, from_x, from_z, silu, hardswish };
enum class second { none, some };

template <typename T>
struct backward_args {
  const T *dy, *dy2, *x, *z;
  T *residual, *dx;  // residual: where g is stored, or nullptr
  const float *scale, *shift, *mean, *a, *b, *d;
  float top;
};

// norm_vectors are loops over whole periods of p elements, a multiple of 64, on vectors; nullptr where a
// processor or a type has no such loop. Sums are added to sums[2][c]. `back` is how many elements before
// these the next ones are.
template <typename T>
struct norm_vectors {
  void (*stats)(const T *x, int64_t n, int64_t p, int64_t back, const float *first, double *sums,
                int64_t c) = nullptr;
  void (*reduce)(const backward_args<T> *t, int64_t from, int64_t end, int64_t p, int64_t back, double *sums,
                 int64_t c) = nullptr;
  void (*write)(const backward_args<T> *t, int64_t from, int64_t end, int64_t p) = nullptr;
};

// The loops for tensors of c channels, with p elements in a period.
template <typename T>
norm_vectors<T> norm_stats_vectors(const cpu &d, int64_t c, int64_t p);
template <typename T>
norm_vectors<T> norm_backward_vectors(const cpu &d, int64_t c, int64_t p, mask m, second s);

}  // namespace lb
