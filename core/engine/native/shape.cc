//go:build !nocpu

// Ops that move elements. Along an axis a value is rows of as many elements as the axis and those after it
// have:
//
//   concat          a row of y is a row of each operand, one after the other
//   slice           a row of y is a part of a row of x, + sum
//   slice_backward  a row of dx is zeros, or a row of sum, and in a part of it dy is added
//   permute         y[a,b,c,d] = x at the strides of the dimensions that a, b, c and d are
//   reshape         y = x
//
// Passes: 1r 1w, and 1r of sum. y may alias sum, and in reshape x: element i is read before it is written.
// Threads divide rows; no element depends on another.
#include <algorithm>
#include <cstring>

#include "cpu.h"

namespace lb {
namespace {

// row_of is the number of elements of a row of v along an axis, inner that of one step along it.
int64_t inner_of(const value &v, int64_t axis) {
  int64_t n = 1;
  for (int64_t i = axis + 1; i < 4; i++) n *= v.dims[i];
  return n;
}
int64_t row_of(const value &v, int64_t axis) { return v.dims[axis] * inner_of(v, axis); }

#define LB_ADD_ROW(T)                                                       \
  LB_CLONES_##T void add_row(const T *x, const T *y, T *z, int64_t n) {     \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) z[i] = x[i] + y[i]; \
  }
LB_ADD_ROW(float)
LB_ADD_ROW(bf16)

template <typename T>
void copy_row(const T *x, T *y, int64_t n) {
  if (n == 1)
    *y = *x;
  else if (x != y)
    std::memcpy(y, x, static_cast<size_t>(n) * sizeof *x);
}

template <typename T>
void concat(const op &o, int threads) {
  const value &y = *o.results[0];
  int64_t axis = o.attr.axis, row = row_of(y, axis);
  parallel(y.elements / row, 1, threads, y.elements, [&](int64_t from, int64_t to, int) {
    T *to_row = o.out<T>(0) + from * row;
    for (int64_t r = from; r < to; r++)
      for (size_t i = 0; i < o.operands.size(); i++) {
        int64_t n = row_of(*o.operands[i], axis);
        copy_row(o.in<T>(i) + r * n, to_row, n);
        to_row += n;
      }
  });
}

template <typename T>
void slice(const op &o, int threads) {
  const value &x = *o.operands[0], &y = *o.results[0];
  int64_t n = row_of(y, o.attr.axis), all = row_of(x, o.attr.axis);
  const T *part = o.in<T>(0) + o.attr.offset * inner_of(x, o.attr.axis), *sum = o.in<T>(1);
  parallel(y.elements / n, 1, threads, y.elements, [&](int64_t from, int64_t to, int) {
    for (int64_t r = from; r < to; r++)
      if (sum)
        add_row(sum + r * n, part + r * all, o.out<T>(0) + r * n, n);
      else
        copy_row(part + r * all, o.out<T>(0) + r * n, n);
  });
}

template <typename T>
void slice_backward(const op &o, int threads) {
  const value &dy = *o.operands[0], &dx = *o.results[0];
  int64_t n = row_of(dy, o.attr.axis), all = row_of(dx, o.attr.axis);
  int64_t at = o.attr.offset * inner_of(dx, o.attr.axis), after = at + n;
  const T *sum = o.in<T>(1);
  parallel(dx.elements / all, 1, threads, dx.elements, [&](int64_t from, int64_t to, int) {
    for (int64_t r = from; r < to; r++) {
      const T *d = o.in<T>(0) + r * n;
      T *x = o.out<T>(0) + r * all;
      if (!sum) {
        std::fill_n(x, at, T{});
        copy_row(d, x + at, n);
        std::fill_n(x + after, all - after, T{});
        continue;
      }
      const T *s = sum + r * all;
      copy_row(s, x, at);
      add_row(s + at, d, x + at, n);
      copy_row(s + after, x + after, all - after);
    }
  });
}

template <typename T>
void permute(const op &o, int threads) {
  const attributes &a = o.attr;
  int64_t stride[4], n[4], steps[4];  // of the view; of the result
  for (int i = 3; i >= 0; i--) stride[i] = i == 3 ? 1 : stride[i + 1] * a.view[i + 1];
  for (int i = 0; i < 4; i++) n[i] = a.view[a.order[i]], steps[i] = stride[a.order[i]];
  parallel(n[0] * n[1], 1, threads, o.results[0]->elements, [&](int64_t from, int64_t to, int) {
    for (int64_t r = from; r < to; r++) {
      const T *x = o.in<T>(0) + r / n[1] * steps[0] + r % n[1] * steps[1];
      T *y = o.out<T>(0) + r * n[2] * n[3];
      for (int64_t i = 0; i < n[2]; i++, x += steps[2], y += n[3])
        if (steps[3] == 1)
          copy_row(x, y, n[3]);
        else
          for (int64_t j = 0; j < n[3]; j++) y[j] = x[j * steps[3]];
    }
  });
}

void reshape(const op &o, int) {
  if (o.in(0) != o.out(0)) std::memcpy(o.out(0), o.in(0), static_cast<size_t>(o.results[0]->bytes));
}

}  // namespace

std::unique_ptr<kernel> make_shape(const op &o, cpu &d) {
  auto *f = typed(*o.operands[0], [&](auto number) -> void (*)(const op &, int) {
    using T = decltype(number);
    switch (o.kind) {
      case kind_concat:
        return concat<T>;
      case kind_slice:
        return slice<T>;
      case kind_slice_backward:
        return slice_backward<T>;
      case kind_permute:
        return permute<T>;
    }
    return reshape;
  });
  return std::make_unique<function>(f, d.threads);
}

}  // namespace lb
