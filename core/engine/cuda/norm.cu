// Batch normalisation over all dimensions but the last. The formulas and the in-place rules are
// those of native/norm.cc. Tensors are f32 or bf16, vectors and sums f32. tile.h explains how a
// matrix is divided among threads, and its words.
//
// Passes over memory: stats 1 read; apply 1 or 2 reads and a write; backward first 2 to 4 reads, and a
// write where the gradient of a residual is stored, then 2 or 3 reads and a write.
#include "convnorm.h"
#include "tile.h"

namespace lb {
namespace {

// A thread loads this many rows before it uses the first. The compiler cannot move loads above a
// store that may alias them, so the loop is unrolled by hand.
constexpr int unroll = 2;

// Rows of a thread at the least, and blocks of a kernel that writes no partial sums at the most.
constexpr int64_t rows_a_thread = 4, max_blocks = 132 * 4;

// row_group is the next `unroll` rows of a slice, as offsets of their elements. A row past the end is not
// valid: its offset is that of the first row, so that it can be loaded without a branch.
struct row_group {
  int64_t offset[unroll];
  bool valid[unroll];
};
__device__ inline row_group rows_from(const tile &t, const slice &p, int64_t row) {
  row_group s;
  LB_UNROLL
  for (int u = 0; u < unroll; u++) {
    s.valid[u] = row + u * p.stride < p.end;
    s.offset[u] = (s.valid[u] ? row + u * p.stride : row) * t.c + p.column;
  }
  return s;
}

// stats_partial sums differences from the first row of the matrix, to avoid cancellation.
template <typename T, int W>
__global__ void __launch_bounds__(threads_per_block) stats_partial(tile t, const T *x, float *partial) {
  slice p = slice_of(t);
  float a[W], b[W];
  vec<T, W> first{};
  if (p.active) first = load<T, W>(x + p.column);
  for (int k = 0; k < W; k++) a[k] = b[k] = 0;
  LB_UNROLL_4
  for (int64_t i = p.row; i < p.end; i += p.stride) {
    vec<T, W> v = load<T, W>(x + i * t.c + p.column);
    for (int k = 0; k < W; k++) {
      float d = widen(v.v[k]) - widen(first.v[k]);
      a[k] += d;
      b[k] += d * d;
    }
  }
  reduce_block<W>(t, p, a, b, partial);
}

// scales_shifts computes the constants of W channels from j on. It loads all operands before it computes, so
// that a thread waits for memory once.
template <int W, typename A>
__device__ inline void scales_shifts(const A &g, int64_t j, float *scale, float *shift) {
  vec<float, W> mean = load<float, W>(g.mean + j), variance = load<float, W>(g.variance + j),
                gamma = load<float, W>(g.gamma + j), beta = load<float, W>(g.beta + j);
  for (int k = 0; k < W; k++)
    scale_shift(mean.v[k], variance.v[k], gamma.v[k], beta.v[k], g.epsilon, scale[k], shift[k]);
}

template <typename T>
struct apply_args {
  tile t;
  const T *x, *residual;
  T *y;
  const float *mean, *variance, *gamma, *beta;
  float epsilon, top;
};

// The activation that is applied to the sum.
enum class epilogue { none, clip, silu, hardswish };

template <typename T, int W, bool residual, epilogue A>
__global__ void __launch_bounds__(threads_per_block) apply(apply_args<T> g) {
  slice p = slice_of(g.t);
  if (!p.active) return;
  float scale[W], shift[W];
  scales_shifts<W>(g, p.column, scale, shift);
  for (int64_t i = p.row; i < p.end; i += unroll * p.stride) {
    row_group s = rows_from(g.t, p, i);
    vec<T, W> x[unroll], r[unroll];
    LB_UNROLL
    for (int u = 0; u < unroll; u++) x[u] = load<T, W>(g.x + s.offset[u]);
    LB_UNROLL
    for (int u = 0; u < unroll; u++)
      if (residual) r[u] = load<T, W>(g.residual + s.offset[u]);
    LB_UNROLL
    for (int u = 0; u < unroll; u++) {
      vec<T, W> y;
      for (int k = 0; k < W; k++) {
        float v = widen(x[u].v[k]) * scale[k] + shift[k];
        if (residual) v += widen(r[u].v[k]);
        if (A == epilogue::clip) v = clip(v, g.top);
        if (A == epilogue::silu) v *= sigmoid(v);
        if (A == epilogue::hardswish) v *= hardsigmoid(v);
        narrow(v, y.v[k]);
      }
      if (s.valid[u]) store<T, W>(g.y + s.offset[u], y);
    }
  }
}

// What the backward pass computes the derivative of the activation from: x, or z, the result of apply.
enum class mask { none, from_x, from_z, silu, hardswish };

// needs_scale says whether that takes the constants scale and shift of a channel.
__host__ __device__ constexpr bool needs_scale(mask m) { return m != mask::none && m != mask::from_z; }

template <typename T>
struct backward_args {
  tile t;
  const T *dy, *dy2, *x, *z;
  T *residual, *dx;
  const float *mean, *variance, *gamma, *beta;
  float *dgamma, *dbeta;
  float *partial, *constants;  // [grid_rows][2][c], [3][c]
  float epsilon, top;

  // From the sums of a channel: the gradients of gamma and beta, and the constants u, v and w of
  // dx = u*g + (v*(x-mean) + w).
  __device__ void operator()(int64_t j, double a, double b) const {
    double rows = static_cast<double>(t.rows);
    double inverse = 1 / sqrt(static_cast<double>(variance[j]) + epsilon), scale = gamma[j] * inverse;
    dgamma[j] = static_cast<float>(b * inverse);
    dbeta[j] = static_cast<float>(a);
    constants[j] = static_cast<float>(scale);
    constants[t.c + j] = static_cast<float>(-scale * inverse * inverse * b / rows);
    constants[2 * t.c + j] = static_cast<float>(-scale * a / rows);
  }
};

// inputs is what the backward pass loads for W elements.
template <typename T, int W>
struct inputs {
  vec<T, W> x, dy, dy2, z;
};
template <typename T, int W, mask M, bool second>
__device__ inline inputs<T, W> load_inputs(const backward_args<T> &t, int64_t at) {
  inputs<T, W> r;
  r.x = load<T, W>(t.x + at), r.dy = load<T, W>(t.dy + at);
  if (second) r.dy2 = load<T, W>(t.dy2 + at);
  if (M == mask::from_z) r.z = load<T, W>(t.z + at);
  return r;
}

// preactivation_gradient computes g, the gradient with respect to the input of the activation.
template <typename T, int W, mask M, bool second>
__device__ inline void preactivation_gradient(const backward_args<T> &t, const inputs<T, W> &r,
                                              const float *scale, const float *shift, float *g) {
  for (int k = 0; k < W; k++) {
    g[k] = widen(r.dy.v[k]);
    if (second) g[k] += widen(r.dy2.v[k]);
    if (M == mask::from_x) g[k] = passes(widen(r.x.v[k]) * scale[k] + shift[k], t.top) ? g[k] : 0;
    if (M == mask::from_z) g[k] = passes(widen(r.z.v[k]), t.top) ? g[k] : 0;
    if (M == mask::silu) g[k] *= silu_slope(widen(r.x.v[k]) * scale[k] + shift[k]);
    if (M == mask::hardswish) g[k] *= hardswish_slope(widen(r.x.v[k]) * scale[k] + shift[k]);
  }
}

template <typename T, int W, mask M, bool second>
__global__ void __launch_bounds__(threads_per_block) backward_partial(backward_args<T> t) {
  slice p = slice_of(t.t);
  float a[W], b[W], scale[W], shift[W];
  vec<float, W> mean{};
  for (int k = 0; k < W; k++) a[k] = b[k] = scale[k] = shift[k] = 0;
  if (p.active) {
    mean = load<float, W>(t.mean + p.column);
    if (needs_scale(M)) scales_shifts<W>(t, p.column, scale, shift);
  }
  for (int64_t i = p.row; i < p.end; i += unroll * p.stride) {
    row_group s = rows_from(t.t, p, i);
    inputs<T, W> r[unroll];
    LB_UNROLL
    for (int u = 0; u < unroll; u++) r[u] = load_inputs<T, W, M, second>(t, s.offset[u]);
    LB_UNROLL
    for (int u = 0; u < unroll; u++) {
      if (!s.valid[u]) continue;
      float g[W];
      vec<T, W> stored;
      preactivation_gradient<T, W, M, second>(t, r[u], scale, shift, g);
      for (int k = 0; k < W; k++) {
        if (M == mask::from_z) narrow(g[k], stored.v[k]), g[k] = widen(stored.v[k]);
        a[k] += g[k];
        b[k] += g[k] * (widen(r[u].x.v[k]) - mean.v[k]);
      }
      if (M == mask::from_z) store<T, W>(t.residual + s.offset[u], stored);
    }
  }
  reduce_block<W>(t.t, p, a, b, t.partial);
}

// gradient_write writes what backward_write does, from the coefficients.
template <typename T, int W, mask M>
__global__ void __launch_bounds__(threads_per_block)
    gradient_write(backward_args<T> t, const float *coefficients) {
  slice p = slice_of(t.t);
  if (!p.active) return;
  auto row = [&](int64_t i) { return load<float, W>(coefficients + i * t.t.c + p.column); };
  vec<float, W> scale = row(coefficient_scale), shift = row(coefficient_shift),
                slope = row(coefficient_slope), offset = row(coefficient_offset),
                mean = row(coefficient_mean);
  for (int64_t i = p.row; i < p.end; i += unroll * p.stride) {
    row_group s = rows_from(t.t, p, i);
    inputs<T, W> r[unroll];
    LB_UNROLL
    for (int n = 0; n < unroll; n++) r[n] = load_inputs<T, W, M, false>(t, s.offset[n]);
    LB_UNROLL
    for (int n = 0; n < unroll; n++) {
      float g[W];
      vec<T, W> dx;
      preactivation_gradient<T, W, M, false>(t, r[n], scale.v, shift.v, g);
      for (int k = 0; k < W; k++)
        narrow(scale.v[k] * g[k] + (slope.v[k] * (widen(r[n].x.v[k]) - mean.v[k]) + offset.v[k]), dx.v[k]);
      if (s.valid[n]) store<T, W>(t.dx + s.offset[n], dx);
    }
  }
}

template <typename T, int W, mask M, bool second>
__global__ void __launch_bounds__(threads_per_block) backward_write(backward_args<T> t) {
  slice p = slice_of(t.t);
  if (!p.active) return;
  const float *constants = t.constants + p.column;
  vec<float, W> u = load<float, W>(constants), v = load<float, W>(constants + t.t.c),
                w = load<float, W>(constants + 2 * t.t.c), mean = load<float, W>(t.mean + p.column);
  float scale[W], shift[W];
  if (needs_scale(M)) scales_shifts<W>(t, p.column, scale, shift);
  for (int64_t i = p.row; i < p.end; i += unroll * p.stride) {
    row_group s = rows_from(t.t, p, i);
    inputs<T, W> r[unroll];
    LB_UNROLL
    for (int n = 0; n < unroll; n++) {
      if (M == mask::from_z)
        r[n].x = load<T, W>(t.x + s.offset[n]), r[n].dy = load<T, W>(t.residual + s.offset[n]);
      else
        r[n] = load_inputs<T, W, M, second>(t, s.offset[n]);
    }
    LB_UNROLL
    for (int n = 0; n < unroll; n++) {
      float g[W];
      vec<T, W> dx;
      if (M == mask::from_z)  // stored by backward_partial
        for (int k = 0; k < W; k++) g[k] = widen(r[n].dy.v[k]);
      else
        preactivation_gradient<T, W, M, second>(t, r[n], scale, shift, g);
      for (int k = 0; k < W; k++)
        narrow(u.v[k] * g[k] + (v.v[k] * (widen(r[n].x.v[k]) - mean.v[k]) + w.v[k]), dx.v[k]);
      if (s.valid[n]) store<T, W>(t.dx + s.offset[n], dx);
    }
  }
}

template <typename T>
struct norm_stats : gpu_kernel {
  tile t;
  norm_stats(const op &o, gpu &g) : gpu_kernel(g) {
    const value &x = *o.operands[0];
    t = make_tile(x.elements / x.channels(), x.channels(), lanes<T>, rows_a_thread, max_partial_blocks);
    scratch = partial_bytes(t);
  }
  void run(const op &o) override {
    auto *partial = reinterpret_cast<float *>(o.scratch);
    const T *x = at<T>(o.operands[0]);
    statistics<T> g{x,
                    o.out(0),
                    o.out(1),
                    at<float>(o.operands[1]),
                    at<float>(o.operands[2]),
                    static_cast<double>(t.rows),
                    static_cast<float>(o.attr.momentum)};
    auto *f = t.width > 1 ? stats_partial<T, lanes<T>> : stats_partial<T, 1>;
    launch_blocks(d, t.grid(), dim3(threads_per_block), f, t, x, partial);
    launch_totals(d, t, partial, g);
  }
};

template <typename T>
struct norm_apply : gpu_kernel {
  tile t;
  norm_apply(const op &o, gpu &g) : gpu_kernel(g) {
    const value &x = *o.operands[0];
    t = make_tile(x.elements / x.channels(), x.channels(), lanes<T>, rows_a_thread, max_blocks);
  }
  void run(const op &o) override {
    apply_args<T> g{t,
                    at<T>(o.operands[0]),
                    at<T>(o.operands[5]),
                    at<T>(o.results[0]),
                    o.in(1),
                    o.in(2),
                    o.in(3),
                    o.in(4),
                    static_cast<float>(o.attr.epsilon),
                    o.attr.top()};
    if (t.width > 1)
      pick<lanes<T>>(g, o.attr);
    else
      pick<1>(g, o.attr);
  }
  template <int W>
  void pick(const apply_args<T> &g, const attributes &a) {
    auto *f = g.residual
                  ? a.rectifies() ? apply<T, W, true, epilogue::clip> : apply<T, W, true, epilogue::none>
              : a.rectifies()                        ? apply<T, W, false, epilogue::clip>
              : a.activation == activation_silu      ? apply<T, W, false, epilogue::silu>
              : a.activation == activation_hardswish ? apply<T, W, false, epilogue::hardswish>
                                                     : apply<T, W, false, epilogue::none>;
    launch(d, t.grid(), dim3(threads_per_block), f, g);
  }
};

// norm_backward is also norm_backward_sums.
template <typename T>
struct norm_backward : gpu_kernel {
  tile t;
  bool whole;  // with dx
  float *coefficients = nullptr;
  norm_backward(const op &o, gpu &g) : gpu_kernel(g), whole(o.kind == kind_norm_backward) {
    const value &x = *o.operands[1];
    t = make_tile(x.elements / x.channels(), x.channels(), lanes<T>, rows_a_thread, max_partial_blocks);
    scratch = partial_bytes(t) + static_cast<uint64_t>(3 * 4 * t.c);
  }
  void run(const op &o) override {
    auto *partial = reinterpret_cast<float *>(o.scratch);
    backward_args<T> a{t,
                       at<T>(o.operands[0]),
                       at<T>(o.operands[7]),
                       at<T>(o.operands[1]),
                       at<T>(o.operands[6]),
                       o.results.size() > 3 ? at<T>(o.results[3]) : nullptr,
                       whole ? at<T>(o.results[0]) : nullptr,
                       o.in(2),
                       o.in(3),
                       o.in(4),
                       o.in(5),
                       o.out(whole ? 1 : 0),
                       o.out(whole ? 2 : 1),
                       partial,
                       reinterpret_cast<float *>(o.scratch + partial_bytes(t)),
                       static_cast<float>(o.attr.epsilon),
                       o.attr.top()};
    if (!whole) coefficients = o.out(2);
    if (t.width > 1)
      pick<lanes<T>>(a, o.attr);
    else
      pick<1>(a, o.attr);
  }
  template <int W>
  void pick(const backward_args<T> &a, const attributes &attr) {
    if (a.z)
      a.dy2 ? launch_backward<W, mask::from_z, true>(a) : launch_backward<W, mask::from_z, false>(a);
    else if (attr.rectifies())
      a.dy2 ? launch_backward<W, mask::from_x, true>(a) : launch_backward<W, mask::from_x, false>(a);
    else if (attr.activation == activation_silu)
      a.dy2 ? launch_backward<W, mask::silu, true>(a) : launch_backward<W, mask::silu, false>(a);
    else if (attr.activation == activation_hardswish)
      a.dy2 ? launch_backward<W, mask::hardswish, true>(a) : launch_backward<W, mask::hardswish, false>(a);
    else
      a.dy2 ? launch_backward<W, mask::none, true>(a) : launch_backward<W, mask::none, false>(a);
  }
  template <int W, mask M, bool second>
  void launch_backward(const backward_args<T> &a) {
    launch_blocks(d, t.grid(), dim3(threads_per_block), backward_partial<T, W, M, second>, a);
    if (!whole)
      return launch_totals(d, t, a.partial,
                           store_coefficients{a.mean, a.variance, a.gamma, a.beta, a.dgamma, a.dbeta,
                                              coefficients, t.c, t.rows, a.epsilon});
    launch_totals(d, t, a.partial, a);
    backward_args<T> b = a;
    b.t = make_tile(t.rows, t.c, lanes<T>, rows_a_thread, max_blocks);
    launch(d, b.t.grid(), dim3(threads_per_block), backward_write<T, W, M, second>, b);
  }
};

// norm_gradient writes the gradient of the input of a normalisation, from the operands dy, y and
// coefficients.
template <typename T>
struct norm_gradient : gpu_kernel {
  tile t;
  norm_gradient(const op &o, gpu &g) : gpu_kernel(g) {
    const value &y = *o.operands[1];
    t = make_tile(y.elements / y.channels(), y.channels(), lanes<T>, rows_a_thread, max_blocks);
  }
  void run(const op &o) override {
    backward_args<T> a{};
    a.t = t, a.dy = at<T>(o.operands[0]), a.x = at<T>(o.operands[1]), a.dx = at<T>(o.results[0]);
    a.top = o.attr.top();
    if (t.width > 1)
      pick<lanes<T>>(a, o);
    else
      pick<1>(a, o);
  }
  template <int W>
  void pick(const backward_args<T> &a, const op &o) {
    auto *f = o.attr.rectifies()                          ? gradient_write<T, W, mask::from_x>
              : o.attr.activation == activation_silu      ? gradient_write<T, W, mask::silu>
              : o.attr.activation == activation_hardswish ? gradient_write<T, W, mask::hardswish>
                                                          : gradient_write<T, W, mask::none>;
    launch(d, t.grid(), dim3(threads_per_block), f, a, o.in(2));
  }
};

// sum_partial is the first stage of column sums; the second sum stays 0.
template <typename T, int W>
__global__ void __launch_bounds__(threads_per_block) sum_partial(tile t, const T *x, float *partial) {
  slice p = slice_of(t);
  float a[W], b[W];
  for (int k = 0; k < W; k++) a[k] = b[k] = 0;
  for (int64_t i = p.row; i < p.end; i += p.stride) {
    vec<T, W> v = load<T, W>(x + i * t.c + p.column);
    for (int k = 0; k < W; k++) a[k] += widen(v.v[k]);
  }
  reduce_block<W>(t, p, a, b, partial);
}

tile sum_tile(const value &x) {
  int width = x.type == type_bf16 ? lanes<bf16> : lanes<float>;
  return make_tile(x.elements / x.channels(), x.channels(), width, 16, max_partial_blocks);
}

}  // namespace

uint64_t sum_columns_scratch(const value &x) { return partial_bytes(sum_tile(x)); }

void sum_columns(const value &x, float *sum, void *scratch, gpu &d) {
  tile t = sum_tile(x);
  auto *partial = static_cast<float *>(scratch);
  typed(x, [&](auto number) {
    using T = decltype(number);
    auto *f = t.width > 1 ? sum_partial<T, lanes<T>> : sum_partial<T, 1>;
    launch_blocks(d, t.grid(), dim3(threads_per_block), f, t, at<const T>(&x), partial);
  });
  launch_totals(d, t, partial, first_sum{sum});
}

std::unique_ptr<kernel> make_norm(const op &o, gpu &d) {
  std::unique_ptr<kernel> k;
  typed(*o.operands[0], [&](auto number) {
    using T = decltype(number);
    if (o.kind == kind_norm_stats)
      k = std::make_unique<norm_stats<T>>(o, d);
    else if (o.kind == kind_norm_apply)
      k = std::make_unique<norm_apply<T>>(o, d);
    else
      k = std::make_unique<norm_backward<T>>(o, d);
  });
  return k;
}

std::unique_ptr<kernel> make_norm_gradient(const op &o, gpu &d) {
  std::unique_ptr<kernel> k;
  typed(*o.operands[0], [&](auto number) { k = std::make_unique<norm_gradient<decltype(number)>>(o, d); });
  return k;
}

}  // namespace lb
