// Batch normalisation over all dimensions but the last; the formulas and the rules of what may
// lie in what are those of native/norm.cc. Tensors are f32 or bf16, vectors and sums f32.
//
// Passes over memory: stats 1 read; apply 1 or 2 reads and a write; backward 2 to 4 reads,
// with a write where the gradient of a residual is left, then 2 or 3 reads and a write.
#include "tile.h"

namespace lb {
namespace {

// A thread reads some rows before it uses the first: a store keeps the compiler from reading ahead, since
// for all that it knows what is stored may be read next.
constexpr int at_once = 2;

// A thread has a few rows at least, and of kernels that leave no sums so many blocks run at once.
constexpr int64_t rows_a_thread = 4, most_blocks = 132 * 4;

// span are the elements that a thread reads at once, from a row on. Where rows end, it reads the first of
// them again and has none of it.
struct span {
  int64_t at[at_once];
  bool have[at_once];
};
__device__ inline span span_of(const tile &t, const place &p, int64_t row) {
  span s;
  LB_UNROLL
  for (int u = 0; u < at_once; u++) {
    s.have[u] = row + u * p.step < p.end;
    s.at[u] = (s.have[u] ? row + u * p.step : row) * t.c + p.column;
  }
  return s;
}

// stats_partial sums differences from the first row, so that nothing large cancels.
template <typename T, int W>
__global__ void __launch_bounds__(threads_per_block) stats_partial(tile t, const T *x, float *partial) {
  place p = place_of(t);
  float a[W], b[W];
  piece<T, W> first{};
  if (p.active) first = load<T, W>(x + p.column);
  for (int k = 0; k < W; k++) a[k] = b[k] = 0;
  LB_UNROLL_4
  for (int64_t i = p.row; i < p.end; i += p.step) {
    piece<T, W> v = load<T, W>(x + i * t.c + p.column);
    for (int k = 0; k < W; k++) {
      float d = widen(v.v[k]) - widen(first.v[k]);
      a[k] += d;
      b[k] += d * d;
    }
  }
  sum_lines<W>(t, p, a, b, partial);
}

template <typename T>
struct stats_args {
  tile t;
  const T *x;
  const float *partial;
  float *mean, *variance, *running_mean, *running_variance;
  float momentum;
};

// stats_total: a block a channel.
template <typename T>
__global__ void __launch_bounds__(total_threads) stats_total(stats_args<T> g) {
  int64_t j = blockIdx.x;
  double a, b;
  total(g.t, g.partial, j, a, b);
  if (threadIdx.x != 0) return;
  double rows = static_cast<double>(g.t.rows), d = a / rows, variance = b / rows - d * d;
  if (variance < 0) variance = 0;
  double mean = widen(g.x[j]) + d, m = g.momentum;
  g.mean[j] = static_cast<float>(mean);
  g.variance[j] = static_cast<float>(variance);
  if (!g.running_mean) return;
  g.running_mean[j] = static_cast<float>((1 - m) * g.running_mean[j] + m * mean);
  g.running_variance[j] =
      static_cast<float>((1 - m) * g.running_variance[j] + m * variance * rows / (rows - 1));
}

// scale_shift are the constants of a channel: y = x*scale + shift.
__device__ inline void scale_shift(float mean, float variance, float gamma, float beta, float epsilon,
                                   float &scale, float &shift) {
  scale = gamma / sqrtf(variance + epsilon);
  shift = beta - mean * scale;
}

// scales_shifts are those of W channels from j on. All that they come from is read before any is
// computed: a thread waits for memory once.
template <int W, typename A>
__device__ inline void scales_shifts(const A &g, int64_t j, float *scale, float *shift) {
  piece<float, W> mean = load<float, W>(g.mean + j), variance = load<float, W>(g.variance + j),
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

// What stands behind the sum.
enum class behind { none, clip, silu };

template <typename T, int W, bool residual, behind A>
__global__ void __launch_bounds__(threads_per_block) apply(apply_args<T> g) {
  place p = place_of(g.t);
  if (!p.active) return;
  float scale[W], shift[W];
  scales_shifts<W>(g, p.column, scale, shift);
  for (int64_t i = p.row; i < p.end; i += at_once * p.step) {
    span s = span_of(g.t, p, i);
    piece<T, W> x[at_once], r[at_once];
    LB_UNROLL
    for (int u = 0; u < at_once; u++) x[u] = load<T, W>(g.x + s.at[u]);
    LB_UNROLL
    for (int u = 0; u < at_once; u++)
      if (residual) r[u] = load<T, W>(g.residual + s.at[u]);
    LB_UNROLL
    for (int u = 0; u < at_once; u++) {
      piece<T, W> y;
      for (int k = 0; k < W; k++) {
        float v = widen(x[u].v[k]) * scale[k] + shift[k];
        if (residual) v += widen(r[u].v[k]);
        if (A == behind::clip) v = clip(v, g.top);
        if (A == behind::silu) v *= sigmoid(v);
        narrow(v, y.v[k]);
      }
      if (s.have[u]) store<T, W>(g.y + s.at[u], y);
    }
  }
}

// Where the slope of the activation comes from in the backward pass.
enum class mask { none, from_x, from_z, silu };

template <typename T>
struct backward_args {
  tile t;
  const T *dy, *dy2, *x, *z;
  T *residual, *dx;
  const float *mean, *variance, *gamma, *beta;
  float *dgamma, *dbeta;
  float *partial, *constants;  // [down][2][c], [3][c]
  float epsilon, top;
};

// read is what the backward pass reads of a piece.
template <typename T, int W>
struct read {
  piece<T, W> x, dy, dy2, z;
};
template <typename T, int W, mask M, bool second>
__device__ inline read<T, W> read_at(const backward_args<T> &t, int64_t at) {
  read<T, W> r;
  r.x = load<T, W>(t.x + at), r.dy = load<T, W>(t.dy + at);
  if (second) r.dy2 = load<T, W>(t.dy2 + at);
  if (M == mask::from_z) r.z = load<T, W>(t.z + at);
  return r;
}

// incoming is g of a piece: the gradient in front of the activation.
template <typename T, int W, mask M, bool second>
__device__ inline void incoming(const backward_args<T> &t, const read<T, W> &r, const float *scale,
                                const float *shift, float *g) {
  for (int k = 0; k < W; k++) {
    g[k] = widen(r.dy.v[k]);
    if (second) g[k] += widen(r.dy2.v[k]);
    if (M == mask::from_x) g[k] = passes(widen(r.x.v[k]) * scale[k] + shift[k], t.top) ? g[k] : 0;
    if (M == mask::from_z) g[k] = passes(widen(r.z.v[k]), t.top) ? g[k] : 0;
    if (M == mask::silu) g[k] *= silu_slope(widen(r.x.v[k]) * scale[k] + shift[k]);
  }
}

template <typename T, int W, mask M, bool second>
__global__ void __launch_bounds__(threads_per_block) backward_partial(backward_args<T> t) {
  place p = place_of(t.t);
  float a[W], b[W], scale[W], shift[W];
  piece<float, W> mean{};
  for (int k = 0; k < W; k++) a[k] = b[k] = scale[k] = shift[k] = 0;
  if (p.active) {
    mean = load<float, W>(t.mean + p.column);
    if (M == mask::from_x || M == mask::silu) scales_shifts<W>(t, p.column, scale, shift);
  }
  for (int64_t i = p.row; i < p.end; i += at_once * p.step) {
    span s = span_of(t.t, p, i);
    read<T, W> r[at_once];
    LB_UNROLL
    for (int u = 0; u < at_once; u++) r[u] = read_at<T, W, M, second>(t, s.at[u]);
    LB_UNROLL
    for (int u = 0; u < at_once; u++) {
      if (!s.have[u]) continue;
      float g[W];
      piece<T, W> left;
      incoming<T, W, M, second>(t, r[u], scale, shift, g);
      for (int k = 0; k < W; k++) {
        if (M == mask::from_z) narrow(g[k], left.v[k]), g[k] = widen(left.v[k]);
        a[k] += g[k];
        b[k] += g[k] * (widen(r[u].x.v[k]) - mean.v[k]);
      }
      if (M == mask::from_z) store<T, W>(t.residual + s.at[u], left);
    }
  }
  sum_lines<W>(t.t, p, a, b, t.partial);
}

// backward_total writes the gradients of a channel and its constants: dx = u*g + (v*(x-mean) + w).
template <typename T>
__global__ void __launch_bounds__(total_threads) backward_total(backward_args<T> t) {
  int64_t j = blockIdx.x;
  double a, b;
  total(t.t, t.partial, j, a, b);
  if (threadIdx.x != 0) return;
  double rows = static_cast<double>(t.t.rows);
  double inverse = 1 / sqrt(static_cast<double>(t.variance[j]) + t.epsilon), scale = t.gamma[j] * inverse;
  t.dgamma[j] = static_cast<float>(b * inverse);
  t.dbeta[j] = static_cast<float>(a);
  t.constants[j] = static_cast<float>(scale);
  t.constants[t.t.c + j] = static_cast<float>(-scale * inverse * inverse * b / rows);
  t.constants[2 * t.t.c + j] = static_cast<float>(-scale * a / rows);
}

template <typename T, int W, mask M, bool second>
__global__ void __launch_bounds__(threads_per_block) backward_write(backward_args<T> t) {
  place p = place_of(t.t);
  if (!p.active) return;
  const float *constants = t.constants + p.column;
  piece<float, W> u = load<float, W>(constants), v = load<float, W>(constants + t.t.c),
                  w = load<float, W>(constants + 2 * t.t.c), mean = load<float, W>(t.mean + p.column);
  float scale[W], shift[W];
  if (M == mask::from_x || M == mask::silu) scales_shifts<W>(t, p.column, scale, shift);
  for (int64_t i = p.row; i < p.end; i += at_once * p.step) {
    span s = span_of(t.t, p, i);
    read<T, W> r[at_once];
    LB_UNROLL
    for (int n = 0; n < at_once; n++) {
      if (M == mask::from_z)
        r[n].x = load<T, W>(t.x + s.at[n]), r[n].dy = load<T, W>(t.residual + s.at[n]);
      else
        r[n] = read_at<T, W, M, second>(t, s.at[n]);
    }
    LB_UNROLL
    for (int n = 0; n < at_once; n++) {
      float g[W];
      piece<T, W> dx;
      if (M == mask::from_z)  // what the first kernel has left
        for (int k = 0; k < W; k++) g[k] = widen(r[n].dy.v[k]);
      else
        incoming<T, W, M, second>(t, r[n], scale, shift, g);
      for (int k = 0; k < W; k++)
        narrow(u.v[k] * g[k] + (v.v[k] * (widen(r[n].x.v[k]) - mean.v[k]) + w.v[k]), dx.v[k]);
      if (s.have[n]) store<T, W>(t.dx + s.at[n], dx);
    }
  }
}

template <typename T>
struct norm_stats : gpu_kernel {
  tile t;
  norm_stats(const op &o, gpu &g) : gpu_kernel(g) {
    const value &x = *o.operands[0];
    t = make_tile(x.elements / x.channels(), x.channels(), lanes<T>, rows_a_thread, most_partial);
    scratch = partial_bytes(t);
  }
  void run(const op &o) override {
    const T *x = at<T>(o.operands[0]);
    auto *partial = reinterpret_cast<float *>(o.scratch);
    if (t.width > 1)
      launch_blocks(d, t.grid(), dim3(threads_per_block), stats_partial<T, lanes<T>>, t, x, partial);
    else
      launch_blocks(d, t.grid(), dim3(threads_per_block), stats_partial<T, 1>, t, x, partial);
    stats_args<T> g{t,
                    x,
                    partial,
                    o.out(0),
                    o.out(1),
                    at<float>(o.operands[1]),
                    at<float>(o.operands[2]),
                    static_cast<float>(o.attr.momentum)};
    launch_blocks(d, dim3(static_cast<unsigned>(t.c)), dim3(total_threads), stats_total<T>, g);
  }
};

template <typename T>
struct norm_apply : gpu_kernel {
  tile t;
  norm_apply(const op &o, gpu &g) : gpu_kernel(g) {
    const value &x = *o.operands[0];
    t = make_tile(x.elements / x.channels(), x.channels(), lanes<T>, rows_a_thread, most_blocks);
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
    auto *f = g.residual ? a.rectifies() ? apply<T, W, true, behind::clip> : apply<T, W, true, behind::none>
              : a.rectifies()                   ? apply<T, W, false, behind::clip>
              : a.activation == activation_silu ? apply<T, W, false, behind::silu>
                                                : apply<T, W, false, behind::none>;
    launch(d, t.grid(), dim3(threads_per_block), f, g);
  }
};

template <typename T>
struct norm_backward : gpu_kernel {
  tile t;
  norm_backward(const op &o, gpu &g) : gpu_kernel(g) {
    const value &x = *o.operands[1];
    t = make_tile(x.elements / x.channels(), x.channels(), lanes<T>, rows_a_thread, most_partial);
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
                       at<T>(o.results[0]),
                       o.in(2),
                       o.in(3),
                       o.in(4),
                       o.in(5),
                       o.out(1),
                       o.out(2),
                       partial,
                       reinterpret_cast<float *>(o.scratch + partial_bytes(t)),
                       static_cast<float>(o.attr.epsilon),
                       o.attr.top()};
    if (t.width > 1)
      pick<lanes<T>>(a, o.attr);
    else
      pick<1>(a, o.attr);
  }
  template <int W>
  void pick(const backward_args<T> &a, const attributes &attr) {
    if (a.z)
      a.dy2 ? three<W, mask::from_z, true>(a) : three<W, mask::from_z, false>(a);
    else if (attr.rectifies())
      a.dy2 ? three<W, mask::from_x, true>(a) : three<W, mask::from_x, false>(a);
    else if (attr.activation == activation_silu)
      a.dy2 ? three<W, mask::silu, true>(a) : three<W, mask::silu, false>(a);
    else
      a.dy2 ? three<W, mask::none, true>(a) : three<W, mask::none, false>(a);
  }
  template <int W, mask M, bool second>
  void three(const backward_args<T> &a) {
    launch_blocks(d, t.grid(), dim3(threads_per_block), backward_partial<T, W, M, second>, a);
    launch_blocks(d, dim3(static_cast<unsigned>(t.c)), dim3(total_threads), backward_total<T>, a);
    backward_args<T> b = a;
    b.t = make_tile(t.rows, t.c, lanes<T>, rows_a_thread, most_blocks);
    launch(d, b.t.grid(), dim3(threads_per_block), backward_write<T, W, M, second>, b);
  }
};

// sum_partial is the first stage of column sums; the second sum stays 0.
template <typename T, int W>
__global__ void __launch_bounds__(threads_per_block) sum_partial(tile t, const T *x, float *partial) {
  place p = place_of(t);
  float a[W], b[W];
  for (int k = 0; k < W; k++) a[k] = b[k] = 0;
  for (int64_t i = p.row; i < p.end; i += p.step) {
    piece<T, W> v = load<T, W>(x + i * t.c + p.column);
    for (int k = 0; k < W; k++) a[k] += widen(v.v[k]);
  }
  sum_lines<W>(t, p, a, b, partial);
}

__global__ void __launch_bounds__(total_threads) sum_total(tile t, const float *partial, float *sum) {
  double a, b;
  total(t, partial, blockIdx.x, a, b);
  if (threadIdx.x == 0) sum[blockIdx.x] = static_cast<float>(a);
}

tile sum_tile(const value &x) {
  int width = x.type == type_bf16 ? lanes<bf16> : lanes<float>;
  return make_tile(x.elements / x.channels(), x.channels(), width, 16, most_partial);
}

}  // namespace

uint64_t sum_columns_scratch(const value &x) { return partial_bytes(sum_tile(x)); }

void sum_columns(const value &x, float *sum, void *scratch, gpu &d) {
  tile t = sum_tile(x);
  auto *partial = static_cast<float *>(scratch);
  typed(x, [&](auto number) {
    using T = decltype(number);
    auto *f = t.width > 1 ? sum_partial<T, lanes<T>> : sum_partial<T, 1>;
    launch_blocks(d, t.grid(), dim3(threads_per_block), f, t, at<T>(&x), static_cast<float *>(partial));
  });
  launch_blocks(d, dim3(static_cast<unsigned>(t.c)), dim3(total_threads), sum_total, t,
                static_cast<const float *>(partial), sum);
}

std::unique_ptr<kernel> make_norm(const op &o, gpu &d) {
  std::unique_ptr<kernel> k;
  typed(*o.operands[o.kind == kind_norm_backward ? 1 : 0], [&](auto number) {
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

}  // namespace lb
