// Shared by the files of batch normalisation, and by convolutions that do its work (strips.cc): its passes
// over tensors, what their loops are called with, and the table of those on vectors.
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

// norm_pass is an op of normalisation that passes over its tensors once, and whose parts can be computed when
// there is work for them: begin, then parts, each on a thread, then end. norm_backward has a second pass and
// is not one.
struct norm_pass : kernel {
  virtual void begin(const op &) = 0;
  // part is for the elements from..to, whole rows of channels. `result` is where the first element of a
  // tensor that it writes would be; nullptr: where the op has it.
  virtual void part(const op &, int64_t from, int64_t to, int thread, uint8_t *result) = 0;
  virtual void end(const op &) {}
};

// make_norm_pass returns norm_stats, norm_apply, norm_backward_sums or, of the operands dy, y and
// coefficients, the pass that writes the gradient of a convolution's result (gradients.h). Its parts may be
// computed in any order, each on one of d.threads threads: norm_stats then need not be complete when it
// begins.
std::unique_ptr<norm_pass> make_norm_pass(const op &, cpu &d);

// The loops for tensors of c channels, with p elements in a period.
template <typename T>
norm_vectors<T> norm_stats_vectors(const cpu &d, int64_t c, int64_t p);
template <typename T>
norm_vectors<T> norm_backward_vectors(const cpu &d, int64_t c, int64_t p, mask m, second s);

}  // namespace lb
