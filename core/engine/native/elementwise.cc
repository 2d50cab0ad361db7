//go:build !nocpu

// Elementwise ops. One pass each: r operands read, one result written. Every
// result may alias an operand of its size: element i is read before it is written.
#include <cstring>
#include <type_traits>

#include "balance.h"
#include "cpu.h"

namespace lb {
namespace {

// LB_CLONES does not apply to templates: macros write each loop for f32 and for bf16. Arithmetic is f32.
#define LB_EACH_TYPE(write) write(float) write(bf16)

#define LB_RELU(T)                                                                                       \
  LB_CLONES_##T void relu_part(const T *x, T *y, float top, int64_t n) {                                 \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = clip(x[i], top);                          \
  }                                                                                                      \
  LB_CLONES_##T void relu_backward_part(const T *dy, const T *y, T *dx, float top, int64_t n) {          \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) dx[i] = passes(y[i], top) ? float{dy[i]} : 0.0f; \
  }
LB_EACH_TYPE(LB_RELU)

#define LB_SILU(T)                                                                        \
  LB_CLONES_##T void silu_part(const T *x, T *y, int64_t n) {                             \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = x[i] * sigmoid(x[i]);      \
  }                                                                                       \
  LB_CLONES_##T void silu_backward_part(const T *dy, const T *x, T *dx, int64_t n) {      \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) dx[i] = dy[i] * silu_slope(x[i]); \
  }
LB_EACH_TYPE(LB_SILU)

// value_of is an activation, and slope_of its derivative from what the backward op reads: the operand or, of
// sigmoid and hardsigmoid, the result.
template <activation A>
static inline __attribute__((always_inline)) float value_of(float x) {
  if (A == activation_hardswish) return x * hardsigmoid(x);
  if (A == activation_hardsigmoid) return hardsigmoid(x);
  if (A == activation_sigmoid) return sigmoid(x);
  if (A == activation_gelu) return 0.5f * x * (1 + error_function(x * 0.70710678f));
  return x * sigmoid(x * (1.59576912f + 0.07135481f * x * x));  // (1 + tanh(u)) / 2 = sigmoid(2u)
}

template <activation A>
static inline __attribute__((always_inline)) float slope_of(float x) {
  if (A == activation_hardswish) return hardswish_slope(x);
  if (A == activation_hardsigmoid) return x > 0 && x < 1 ? 1.0f / 6 : 0.0f;
  if (A == activation_sigmoid) return x * (1 - x);
  if (A == activation_gelu)
    return 0.5f * (1 + error_function(x * 0.70710678f)) + x * (0.39894228f * exponential(-0.5f * x * x));
  // s = sigmoid(2u), and e * s is 1 - s without cancellation.
  float e = exponential(-x * (1.59576912f + 0.07135481f * x * x)), s = 1 / (1 + e);
  return s + x * (e * s) * s * (1.59576912f + 0.21406443f * x * x);
}

template <typename T>
using activate_function = void(const T *x, T *y, int64_t n);
template <typename T>
using activate_backward_function = void(const T *dy, const T *saved, T *dx, int64_t n);
#define LB_ACTIVATION_OF(name, T)                                                                 \
  LB_CLONES_##T void name##_part(const T *x, T *y, int64_t n) {                                   \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = value_of<activation_##name>(x[i]); \
  }                                                                                               \
  LB_CLONES_##T void name##_backward_part(const T *dy, const T *saved, T *dx, int64_t n) {        \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                                         \
      float s = slope_of<activation_##name>(saved[i]), g = dy[i] * s;                             \
      dx[i] = s == 0 ? 0 : g;                                                                     \
    }                                                                                             \
  }
#define LB_ACTIVATION(name) LB_ACTIVATION_OF(name, float) LB_ACTIVATION_OF(name, bf16)
LB_ACTIVATION(hardswish)
LB_ACTIVATION(hardsigmoid)
LB_ACTIVATION(sigmoid)
LB_ACTIVATION(gelu)
LB_ACTIVATION(gelu_tanh)

#define LB_ADD(T)                                                           \
  LB_CLONES_##T void add_part(const T *x, const T *y, T *z, int64_t n) {    \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) z[i] = x[i] + y[i]; \
  }
LB_EACH_TYPE(LB_ADD)

#define LB_CAST(From, To)                                            \
  LB_CLONES_bf16 void cast_part(const From *x, To *y, int64_t n) {   \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = x[i]; \
  }
LB_CAST(float, bf16)
LB_CAST(bf16, float)

// Columns [from, to) of a matrix, in order of the rows, summed in f64.
#define LB_SUM(T)                                                                                  \
  LB_CLONES_##T void sum_part(const T *x, int64_t rows, int64_t columns, float *sum, int64_t from, \
                              int64_t to) {                                                        \
    constexpr int64_t width = 32;                                                                  \
    for (; from < to; from += width) {                                                             \
      int64_t n = to - from < width ? to - from : width;                                           \
      double a[width] = {};                                                                        \
      for (int64_t i = 0; i < rows; i++)                                                           \
        for (int64_t j = 0; j < n; j++) a[j] += x[i * columns + from + j];                         \
      for (int64_t j = 0; j < n; j++) sum[from + j] = static_cast<float>(a[j]);                    \
    }                                                                                              \
  }
LB_EACH_TYPE(LB_SUM)

// unary and binary call a loop over the elements of one operand, or of two; one_thread is as in parallel.
template <typename T, typename F>
void unary(const op &o, int threads, F f, int64_t one_thread = serial_limit) {
  int64_t n = o.results[0]->elements;
  balanced(
      n, 4096, threads, n, [&](int64_t a, int64_t b, int) { f(o.in<T>(0) + a, o.out<T>(0) + a, b - a); },
      one_thread);
}
template <typename T, typename F>
void binary(const op &o, int threads, F f, int64_t one_thread = serial_limit) {
  int64_t n = o.results[0]->elements;
  balanced(
      n, 4096, threads, n,
      [&](int64_t a, int64_t b, int) { f(o.in<T>(0) + a, o.in<T>(1) + a, o.out<T>(0) + a, b - a); },
      one_thread);
}

template <typename T>
void relu(const op &o, int threads) {
  unary<T>(
      o, threads, [&](const T *x, T *y, int64_t n) { relu_part(x, y, o.attr.top(), n); }, light_limit);
}

template <typename T>
void relu_backward(const op &o, int threads) {
  binary<T>(
      o, threads,
      [&](const T *dy, const T *y, T *dx, int64_t n) { relu_backward_part(dy, y, dx, o.attr.top(), n); },
      light_limit);
}

template <typename T>
void silu(const op &o, int threads) {
  unary<T>(o, threads, [](const T *x, T *y, int64_t n) { silu_part(x, y, n); });
}

template <typename T>
void silu_backward(const op &o, int threads) {
  binary<T>(o, threads, [](const T *dy, const T *x, T *dx, int64_t n) { silu_backward_part(dy, x, dx, n); });
}

template <typename T>
activate_function<T> *activate_of(int64_t activation) {
  if (activation == activation_hardswish) return hardswish_part;
  if (activation == activation_hardsigmoid) return hardsigmoid_part;
  if (activation == activation_sigmoid) return sigmoid_part;
  if (activation == activation_gelu) return gelu_part;
  return gelu_tanh_part;
}

template <typename T>
activate_backward_function<T> *activate_backward_of(int64_t activation) {
  if (activation == activation_hardswish) return hardswish_backward_part;
  if (activation == activation_hardsigmoid) return hardsigmoid_backward_part;
  if (activation == activation_sigmoid) return sigmoid_backward_part;
  if (activation == activation_gelu) return gelu_backward_part;
  return gelu_tanh_backward_part;
}

template <typename T>
void activate(const op &o, int threads) {
  unary<T>(o, threads, activate_of<T>(o.attr.activation));
}

template <typename T>
void activate_backward(const op &o, int threads) {
  binary<T>(o, threads, activate_backward_of<T>(o.attr.activation));
}

template <typename T>
void add(const op &o, int threads) {
  binary<T>(
      o, threads, [](const T *x, const T *y, T *z, int64_t n) { add_part(x, y, z, n); }, light_limit);
}

// cast converts from T.
template <typename T>
void cast(const op &o, int threads) {
  using To = std::conditional_t<std::is_same_v<T, float>, bf16, float>;
  int64_t n = o.results[0]->elements;
  balanced_light(n, 32, threads,
                 [&](int64_t a, int64_t b, int) { cast_part(o.in<T>(0) + a, o.out<To>(0) + a, b - a); });
}

void detach(const op &o, int) {
  if (o.in(0) != o.out(0)) std::memcpy(o.out(0), o.in(0), static_cast<size_t>(o.results[0]->bytes));
}

// normalize_image: y = (x - mean[c]) / deviation[c], from bytes.
template <typename T>
void normalize_image(const op &o, int threads) {
  int64_t n = o.results[0]->elements, c = o.results[0]->dims[3];
  const uint8_t *x = o.operands[0]->data;
  T *y = o.out<T>(0);
  // There are 256 bytes and at most four channels: the quotients are a table.
  T table[4][256];
  for (int64_t k = 0; k < c; k++)
    for (int b = 0; b < 256; b++)
      table[k][b] = static_cast<float>((b - o.attr.mean[k]) / o.attr.deviation[k]);
  parallel(n, c, threads, n, [&](int64_t from, int64_t to, int) {
    for (int64_t i = from; i < to; i += c)
      for (int64_t k = 0; k < c; k++) y[i + k] = table[k][x[i + k]];
  });
}

// outside maps a position on the padded axis of an image of n to one in the image; -1: in a border of zeros.
int64_t outside(int64_t at, int64_t n, bool reflect) {
  if (at >= 0 && at < n) return at;
  return !reflect ? -1 : at < 0 ? -at : 2 * (n - 1) - at;
}

// augment crops and mirrors images: Builder.Augment in core/graph defines the words.
void augment(const op &o, int threads) {
  const value &x = *o.operands[0];
  int64_t h = x.dims[1], w = x.dims[2], c = x.dims[3], pad = o.attr.padding[0];
  const auto *words = reinterpret_cast<const uint32_t *>(o.operands[1]->data);
  auto place = [&](uint32_t word) {
    return static_cast<int64_t>(word * static_cast<uint64_t>(2 * pad + 1) >> 32) - pad;
  };
  parallel(x.dims[0], 1, threads, x.elements, [&](int64_t from, int64_t to, int) {
    for (int64_t i = from; i < to; i++) {
      int64_t top = place(words[4 * i]), left = place(words[4 * i + 1]);
      bool flip = o.attr.flip && words[4 * i + 2] >> 31;
      const uint8_t *image = x.data + i * h * w * c;
      uint8_t *y = o.results[0]->data + i * h * w * c;
      for (int64_t r = 0; r < h; r++)
        for (int64_t s = 0; s < w; s++, y += c) {
          int64_t a = outside(r + top, h, o.attr.reflect);
          int64_t b = outside((flip ? w - 1 - s : s) + left, w, o.attr.reflect);
          for (int64_t k = 0; k < c; k++) y[k] = a < 0 || b < 0 ? 0 : image[(a * w + b) * c + k];
        }
    }
  });
}

}  // namespace

// sum[j] = sum over i of x[i,j]: the gradient of a bias. Threads divide the columns, so
// the result does not depend on the number of threads.
template <typename T>
void sum_columns(const T *x, int64_t rows, int64_t columns, float *sum, int threads) {
  parallel(columns, 32, threads, rows * columns,
           [&](int64_t from, int64_t to, int) { sum_part(x, rows, columns, sum, from, to); });
}
template void sum_columns(const float *, int64_t, int64_t, float *, int);
template void sum_columns(const bf16 *, int64_t, int64_t, float *, int);

std::unique_ptr<kernel> make_elementwise(const op &o, cpu &d) {
  const value &first = o.kind == kind_normalize_image ? *o.results[0] : *o.operands[0];
  auto *f = typed(first, [&](auto number) -> void (*)(const op &, int) {
    using T = decltype(number);
    switch (o.kind) {
      case kind_relu:
        return relu<T>;
      case kind_relu_backward:
        return relu_backward<T>;
      case kind_silu:
        return silu<T>;
      case kind_silu_backward:
        return silu_backward<T>;
      case kind_activate:
        return activate<T>;
      case kind_activate_backward:
        return activate_backward<T>;
      case kind_add:
        return add<T>;
      case kind_cast:
        return cast<T>;
      case kind_detach:
        return detach;
      case kind_augment:
        return augment;
    }
    return normalize_image<T>;
  });
  return std::make_unique<function>(f, d.threads);
}

}  // namespace lb
