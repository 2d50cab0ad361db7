// A gate scales each channel of each sample, a scale each channel of all; formulas and in-place rules are
// those of native/gate.cc. Passes: 1 read and a write; backward 2 reads and a write.
//
// Backward of a gate: a block computes a sample and 32 channels; each of its 8 rows of 32 threads sums every
// eighth position, and the rows are added in order, so the result is reproducible. Backward of a scale: sums
// as tile.h explains.
#include "tile.h"

namespace lb {
namespace {

// factor_of is what a gate multiplies by, and factor_slope its derivative, from that.
__device__ inline float factor_of(int64_t a, float z) {
  return a == activation_sigmoid ? sigmoid(z) : a == activation_hardsigmoid ? hardsigmoid(z) : z;
}
__device__ inline float factor_slope(int64_t a, float s) {
  if (a == activation_hardsigmoid) return s > 0 && s < 1 ? 1.0f / 6 : 0;
  return a == activation_sigmoid ? s * (1 - s) : 1;
}

// gate_each is one element.
template <typename T>
struct gate_each {
  const T *x, *z;
  T *y;
  unsigned sample, c;  // elements of a sample, channels
  int64_t activation;
  __device__ void operator()(unsigned i) const {
    narrow(widen(x[i]) * factor_of(activation, widen(z[i / sample * c + i % c])), y[i]);
  }
};

constexpr unsigned columns = 32, rows = threads_per_block / columns;

template <typename T>
struct gate_args {
  const T *dy, *x, *z;
  T *dx, *dz;
  int64_t positions, c;
  unsigned tiles;  // of channels
  int64_t activation;
};

template <typename T>
__global__ void __launch_bounds__(threads_per_block) gate_backward(gate_args<T> g) {
  LB_SHARED(float, sums, threads_per_block);
  int64_t sample = blockIdx.x / g.tiles;
  int64_t c = blockIdx.x % g.tiles * columns + threadIdx.x % columns;
  float s = 0, sum = 0;
  if (c < g.c) {
    s = factor_of(g.activation, widen(g.z[sample * g.c + c]));
    for (int64_t p = threadIdx.x / columns; p < g.positions; p += rows) {
      int64_t i = (sample * g.positions + p) * g.c + c;
      float d = widen(g.dy[i]);
      sum += d * widen(g.x[i]);
      narrow(d * s, g.dx[i]);
    }
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x >= columns || c >= g.c) return;
  for (unsigned r = 1; r < rows; r++) sum += sums[r * columns + threadIdx.x];
  narrow(sum * factor_slope(g.activation, s), g.dz[sample * g.c + c]);
}

struct gates : gpu_kernel {
  using gpu_kernel::gpu_kernel;
  void run(const op &o) override {
    bool backward = o.kind == kind_gate_backward;
    const value &x = *o.operands[backward ? 1 : 0];
    int64_t positions = x.dims[1] * x.dims[2], c = x.dims[3];
    typed(x, [&](auto number) {
      using T = decltype(number);
      if (!backward)
        return each(
            d, x.elements,
            gate_each<T>{at<T>(&x), at<T>(o.operands[1]), at<T>(o.results[0]),
                         static_cast<unsigned>(positions * c), static_cast<unsigned>(c), o.attr.activation});
      gate_args<T> g{at<T>(o.operands[0]),
                     at<T>(&x),
                     at<T>(o.operands[2]),
                     at<T>(o.results[0]),
                     at<T>(o.results[1]),
                     positions,
                     c,
                     static_cast<unsigned>((c + columns - 1) / columns),
                     o.attr.activation};
      launch_blocks(d, dim3(static_cast<unsigned>(x.dims[0]) * g.tiles), dim3(threads_per_block),
                    gate_backward<T>, g);
    });
  }
};

template <typename T>
struct scale_each {
  const T *x;
  const float *s;
  T *y;
  unsigned c;
  __device__ void operator()(unsigned i) const { narrow(widen(x[i]) * s[i % c], y[i]); }
};

// scale_partial writes dx, and the first stage of the sums of dy * x; the second sum stays 0.
template <typename T, int W>
__global__ void __launch_bounds__(threads_per_block)
    scale_partial(tile t, const T *dy, const T *x, const float *s, T *dx, float *partial) {
  slice p = slice_of(t);
  float a[W], b[W];
  for (int k = 0; k < W; k++) a[k] = b[k] = 0;
  vec<float, W> factor{};
  if (p.active) factor = load<float, W>(s + p.column);
  LB_NO_UNROLL
  for (int64_t i = p.row; i < p.end; i += p.stride) {
    int64_t from = i * t.c + p.column;
    vec<T, W> u = load<T, W>(dy + from), v = load<T, W>(x + from);
    for (int k = 0; k < W; k++) {
      float d = widen(u.v[k]);
      a[k] += d * widen(v.v[k]);
      narrow(d * factor.v[k], u.v[k]);
    }
    store<T, W>(dx + from, u);
  }
  reduce_block<W>(t, p, a, b, partial);
}

template <typename T>
struct scales : gpu_kernel {
  bool backward;
  tile t;
  scales(const op &o, gpu &g) : gpu_kernel(g), backward(o.kind == kind_scale_backward) {
    const value &x = *o.results[0];
    t = make_tile(x.elements / x.channels(), x.channels(), lanes<T>, 4, max_partial_blocks);
    if (backward) scratch = partial_bytes(t);
  }
  void run(const op &o) override {
    const T *first = at<T>(o.operands[0]);
    T *to = at<T>(o.results[0]);
    if (!backward)
      return each(d, o.results[0]->elements, scale_each<T>{first, o.in(1), to, static_cast<unsigned>(t.c)});
    auto *partial = reinterpret_cast<float *>(o.scratch);
    auto *f = t.width > 1 ? scale_partial<T, lanes<T>> : scale_partial<T, 1>;
    launch_blocks(d, t.grid(), dim3(threads_per_block), f, t, first, at<const T>(o.operands[1]), o.in(2), to,
                  partial);
    launch_totals(d, t, partial, first_sum{o.out(1)});
  }
};

}  // namespace

std::unique_ptr<kernel> make_gate(const op &o, gpu &d) {
  if (o.kind == kind_gate || o.kind == kind_gate_backward) return std::make_unique<gates>(d);
  std::unique_ptr<kernel> k;
  typed(*o.results[0], [&](auto number) { k = std::make_unique<scales<decltype(number)>>(o, d); });
  return k;
}

}  // namespace lb
