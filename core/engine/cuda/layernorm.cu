// Layer normalisation of rows; the formulas and the in-place rules are those of native/layernorm.cc. Tensors
// are f32 or bf16, vectors and sums f32. A warp computes a row, which stays in the cache between its loops.
//
// Passes over memory: 1 read and a write. Backward: 1 read for the statistics of the rows, which are kept in
// the workspace; 2 reads for the gradients of gamma and beta, summed as tile.h explains; 2 reads and a write
// for dx. dx is written last, since it may alias x or dy.
#include "tile.h"

namespace lb {
namespace {

constexpr int warp = 32;
constexpr unsigned rows_per_block = threads_per_block / warp;

template <typename T>
struct row_args {
  const T *x, *dy;
  T *y;  // of the backward pass dx
  const float *gamma, *beta;
  float *statistics;  // of the backward pass: mean and 1 / sqrt(variance + epsilon), by row
  int64_t rows;
  int c;
  float epsilon;
};

__device__ inline float sum_warp(float x) {
  for (int m = warp / 2; m > 0; m /= 2) x += __shfl_xor_sync(0xffffffffu, x, m);
  return x;
}

// row_of is the row of this warp. A warp past the end reads the last row, since all threads take part in
// shuffles; it writes nothing.
__device__ inline int64_t row_of(int64_t rows, bool &valid) {
  int64_t row = static_cast<int64_t>(blockIdx.x) * rows_per_block + threadIdx.x / warp;
  valid = row < rows;
  return valid ? row : rows - 1;
}

template <typename T>
__device__ inline void statistics_of(const T *x, int c, int lane, float epsilon, float &mean,
                                     float &inverse) {
  float first = widen(x[0]), a = 0, b = 0;  // differences from the first element, to avoid cancellation
  for (int j = lane; j < c; j += warp) a += widen(x[j]) - first;
  mean = first + sum_warp(a) / static_cast<float>(c);
  for (int j = lane; j < c; j += warp) {
    float d = widen(x[j]) - mean;
    b += d * d;
  }
  inverse = 1 / sqrtf(sum_warp(b) / static_cast<float>(c) + epsilon);
}

template <typename T>
__global__ void __launch_bounds__(threads_per_block) normalise_rows(row_args<T> g) {
  bool valid;
  int64_t row = row_of(g.rows, valid);
  int lane = static_cast<int>(threadIdx.x) % warp;
  const T *x = g.x + row * g.c;
  T *y = g.y + row * g.c;
  float mean, inverse;
  statistics_of(x, g.c, lane, g.epsilon, mean, inverse);
  if (!valid) return;
  for (int j = lane; j < g.c; j += warp)
    narrow((widen(x[j]) - mean) * inverse * g.gamma[j] + g.beta[j], y[j]);
}

template <typename T>
__global__ void __launch_bounds__(threads_per_block) row_statistics(row_args<T> g) {
  bool valid;
  int64_t row = row_of(g.rows, valid);
  int lane = static_cast<int>(threadIdx.x) % warp;
  float mean, inverse;
  statistics_of(g.x + row * g.c, g.c, lane, g.epsilon, mean, inverse);
  if (valid && lane == 0) g.statistics[2 * row] = mean, g.statistics[2 * row + 1] = inverse;
}

// vector_gradients stores the gradients of gamma and beta.
struct vector_gradients {
  float *dgamma, *dbeta;
  __device__ void operator()(int64_t j, double a, double b) const {
    dgamma[j] = static_cast<float>(a), dbeta[j] = static_cast<float>(b);
  }
};

template <typename T, int W>
__global__ void __launch_bounds__(threads_per_block) vectors_partial(tile t, row_args<T> g, float *partial) {
  slice p = slice_of(t);
  float a[W], b[W];
  for (int k = 0; k < W; k++) a[k] = b[k] = 0;
  LB_UNROLL_4
  for (int64_t i = p.row; i < p.end; i += p.stride) {
    vec<T, W> x = load<T, W>(g.x + i * t.c + p.column), dy = load<T, W>(g.dy + i * t.c + p.column);
    float mean = g.statistics[2 * i], inverse = g.statistics[2 * i + 1];
    for (int k = 0; k < W; k++) {
      float d = widen(dy.v[k]);
      a[k] += d * (widen(x.v[k]) - mean) * inverse;
      b[k] += d;
    }
  }
  reduce_block<W>(t, p, a, b, partial);
}

template <typename T>
__global__ void __launch_bounds__(threads_per_block) rows_backward(row_args<T> g) {
  bool valid;
  int64_t row = row_of(g.rows, valid);
  int lane = static_cast<int>(threadIdx.x) % warp;
  const T *x = g.x + row * g.c, *dy = g.dy + row * g.c;
  T *dx = g.y + row * g.c;
  float mean = g.statistics[2 * row], inverse = g.statistics[2 * row + 1], a = 0, b = 0;
  for (int j = lane; j < g.c; j += warp) {
    float d = widen(dy[j]) * g.gamma[j];
    a += d;
    b += d * (widen(x[j]) - mean) * inverse;
  }
  a = sum_warp(a) / static_cast<float>(g.c), b = sum_warp(b) / static_cast<float>(g.c);
  if (!valid) return;
  for (int j = lane; j < g.c; j += warp)
    narrow((widen(dy[j]) * g.gamma[j] - a - (widen(x[j]) - mean) * inverse * b) * inverse, dx[j]);
}

template <typename T>
struct layer_norm : gpu_kernel {
  bool backward;
  tile t;
  layer_norm(const op &o, gpu &g) : gpu_kernel(g), backward(o.kind == kind_layer_norm_backward) {
    const value &x = *o.operands[backward ? 1 : 0];
    t = make_tile(x.elements / x.channels(), x.channels(), lanes<T>, 4, max_partial_blocks);
    if (backward) scratch = partial_bytes(t) + static_cast<uint64_t>(t.rows) * 2 * sizeof(float);
  }
  void run(const op &o) override {
    row_args<T> g{};
    g.x = at<T>(o.operands[backward ? 1 : 0]), g.y = at<T>(o.results[0]);
    g.gamma = o.in(backward ? 2 : 1), g.rows = t.rows, g.c = static_cast<int>(t.c);
    g.epsilon = static_cast<float>(o.attr.epsilon);
    dim3 grid(static_cast<unsigned>((t.rows + rows_per_block - 1) / rows_per_block));
    if (!backward) {
      g.beta = o.in(2);
      return launch_blocks(d, grid, dim3(threads_per_block), normalise_rows<T>, g);
    }
    g.dy = at<T>(o.operands[0]);
    auto *partial = reinterpret_cast<float *>(o.scratch);
    g.statistics = reinterpret_cast<float *>(o.scratch + partial_bytes(t));
    launch_blocks(d, grid, dim3(threads_per_block), row_statistics<T>, g);
    auto *f = t.width > 1 ? vectors_partial<T, lanes<T>> : vectors_partial<T, 1>;
    vector_gradients gradients{o.out(1), o.out(2)};
    launch_blocks(d, t.grid(), dim3(threads_per_block), f, t, g, partial);
    launch_totals(d, t, partial, gradients);
    launch_blocks(d, grid, dim3(threads_per_block), rows_backward<T>, g);
  }
};

}  // namespace

std::unique_ptr<kernel> make_layernorm(const op &o, gpu &d) {
  std::unique_ptr<kernel> k;
  typed(*o.operands[0], [&](auto number) { k = std::make_unique<layer_norm<decltype(number)>>(o, d); });
  return k;
}

}  // namespace lb
