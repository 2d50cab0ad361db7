// Convolutions and linear layers as plain loops, one thread for each result: the reference that tests compare
// the libraries with, and the fall-back where there are none. Operands are f32 or bf16, sums f32 in the order
// of the loops.
#include "gpu.h"

namespace lb {
namespace {

struct conv_shape {
  int64_t n, h, w, c, p, q, k, r, s, stride[2], padding[2], dilation[2], groups;
};

template <typename T>
struct conv_each {
  conv_shape g;
  const T *x, *w;
  T *y;
  __device__ void operator()(int64_t i) const {
    int64_t k = i % g.k, q = i / g.k % g.q, p = i / g.k / g.q % g.p, n = i / g.k / g.q / g.p;
    int64_t inner = g.c / g.groups, from = k / (g.k / g.groups) * inner;
    float sum = 0;
    for (int64_t r = 0; r < g.r; r++) {
      int64_t row = p * g.stride[0] - g.padding[0] + r * g.dilation[0];
      if (row < 0 || row >= g.h) continue;
      for (int64_t s = 0; s < g.s; s++) {
        int64_t column = q * g.stride[1] - g.padding[1] + s * g.dilation[1];
        if (column < 0 || column >= g.w) continue;
        const T *a = x + ((n * g.h + row) * g.w + column) * g.c + from,
                *b = w + ((k * g.r + r) * g.s + s) * inner;
        for (int64_t c = 0; c < inner; c++) sum += widen(a[c]) * widen(b[c]);
      }
    }
    narrow(sum, y[i]);
  }
};

template <typename T>
struct conv_data_each {
  conv_shape g;
  const T *dy, *w;
  T *dx;
  __device__ void operator()(int64_t i) const {
    int64_t c = i % g.c, column = i / g.c % g.w, row = i / g.c / g.w % g.h, n = i / g.c / g.w / g.h;
    int64_t inner = g.c / g.groups, outer = g.k / g.groups, from = c / inner * outer;
    float sum = 0;
    for (int64_t r = 0; r < g.r; r++) {
      int64_t p = row + g.padding[0] - r * g.dilation[0];
      if (p < 0 || p % g.stride[0] != 0 || p / g.stride[0] >= g.p) continue;
      for (int64_t s = 0; s < g.s; s++) {
        int64_t q = column + g.padding[1] - s * g.dilation[1];
        if (q < 0 || q % g.stride[1] != 0 || q / g.stride[1] >= g.q) continue;
        const T *a = dy + ((n * g.p + p / g.stride[0]) * g.q + q / g.stride[1]) * g.k;
        for (int64_t k = from; k < from + outer; k++)
          sum += widen(a[k]) * widen(w[((k * g.r + r) * g.s + s) * inner + c % inner]);
      }
    }
    narrow(sum, dx[i]);
  }
};

// conv_weights_each computes `few` neighbouring elements, so that each load of dy serves all of them.
constexpr int few = 8;
template <typename T>
struct conv_weights_each {
  conv_shape g;
  const T *x, *dy;
  T *dw;
  __host__ __device__ static int64_t parts(const conv_shape &g) { return (g.c / g.groups + few - 1) / few; }
  __device__ void operator()(int64_t i) const {
    int64_t inner = g.c / g.groups, part = parts(g);
    int64_t c = i % part * few, s = i / part % g.s, r = i / part / g.s % g.r, k = i / part / g.s / g.r;
    int64_t from = k / (g.k / g.groups) * inner + c;
    int count = static_cast<int>(inner - c < few ? inner - c : few);
    double sum[few] = {};
    for (int64_t n = 0; n < g.n; n++)
      for (int64_t p = 0; p < g.p; p++) {
        int64_t row = p * g.stride[0] - g.padding[0] + r * g.dilation[0];
        if (row < 0 || row >= g.h) continue;
        float line[few] = {};
        for (int64_t q = 0; q < g.q; q++) {
          int64_t column = q * g.stride[1] - g.padding[1] + s * g.dilation[1];
          if (column < 0 || column >= g.w) continue;
          const T *a = x + ((n * g.h + row) * g.w + column) * g.c + from;
          float b = widen(dy[((n * g.p + p) * g.q + q) * g.k + k]);
          if (count == few)
            for (int j = 0; j < few; j++) line[j] += widen(a[j]) * b;
          else
            for (int j = 0; j < few; j++) line[j] += j < count ? widen(a[j]) * b : 0;
        }
        for (int j = 0; j < few; j++) sum[j] += line[j];
      }
    for (int j = 0; j < few; j++)
      if (j < count) narrow(static_cast<float>(sum[j]), dw[((k * g.r + r) * g.s + s) * inner + c + j]);
  }
};

// A linear layer is a convolution of images of 1 x 1.
conv_shape shape_of(const value &x, const value &w, const value &y, const attributes &a, bool linear) {
  if (linear)
    return {y.elements / w.dims[0], 1, 1, w.dims[1], 1, 1, w.dims[0], 1, 1, {1, 1}, {0, 0}, {1, 1}, 1};
  return {x.dims[0],
          x.dims[1],
          x.dims[2],
          x.dims[3],
          y.dims[1],
          y.dims[2],
          y.dims[3],
          w.dims[1],
          w.dims[2],
          {a.stride[0], a.stride[1]},
          {a.padding[0], a.padding[1]},
          {a.dilation[0], a.dilation[1]},
          a.groups};
}

struct plain : gpu_kernel {
  bool linear;
  plain(const op &o, gpu &g, bool l) : gpu_kernel(g), linear(l) {
    name = "plain loop";
    if (o.results.size() > 1) scratch = sum_columns_scratch(*o.operands[1]);
  }
  void run(const op &o) override {
    const value &a = *o.operands[0], &b = *o.operands[1], &out = *o.results[0];
    typed(a, [&](auto number) {
      using T = decltype(number);
      const T *left = at<T>(&a), *right = at<T>(&b);
      T *to = at<T>(&out);
      switch (o.kind) {
        case kind_conv:
        case kind_linear:
          each(d, out.elements, conv_each<T>{shape_of(a, b, out, o.attr, linear), left, right, to});
          if (o.operands[2]) add_bias(out, o.in(2), d);
          return;
        case kind_conv_backward_data:
        case kind_linear_backward_data:
          return each(d, out.elements,
                      conv_data_each<T>{shape_of(out, b, a, o.attr, linear), left, right, to});
      }
      conv_shape g = shape_of(a, out, b, o.attr, linear);
      each(d, g.k * g.r * g.s * conv_weights_each<T>::parts(g), conv_weights_each<T>{g, left, right, to});
      if (o.results.size() > 1) sum_columns(b, o.out(1), o.scratch, d);
    });
  }
};

}  // namespace

std::unique_ptr<kernel> make_plain(const op &o, gpu &d) {
  bool linear =
      o.kind == kind_linear || o.kind == kind_linear_backward_data || o.kind == kind_linear_backward_weights;
  return std::make_unique<plain>(o, d, linear);
}

}  // namespace lb
