// Losses over pairs of samples, and the standard deviation over positions; the formulas are in
// native/similarity.cc. No matrix over pairs is stored: a block computes one row of it, uses it
// and drops it. Features are f32; the operand of the deviation may be bf16.
#include "reduce.h"

namespace lb {
namespace {

template <typename T>
struct deviation_each {
  const T *x;
  float *y;
  int64_t positions, c;
  __device__ void operator()(int64_t i) const {
    const T *from = x + i / c * positions * c + i % c;
    float mean = 0, square = 0;
    for (int64_t p = 0; p < positions; p++) mean += widen(from[p * c]);
    mean /= static_cast<float>(positions);
    for (int64_t p = 0; p < positions; p++) {
      float d = widen(from[p * c]) - mean;
      square += d * d;
    }
    y[i] = sqrtf(square / static_cast<float>(positions - 1));
  }
};

// deviation_backward_each. In place: dx may alias x.
template <typename T>
struct deviation_backward_each {
  const float *dy, *y;
  const T *x;
  T *dx;
  int64_t positions, c;
  __device__ void operator()(int64_t i) const {
    int64_t from = i / c * positions * c + i % c;
    float mean = 0, factor = y[i] == 0 ? 0 : dy[i] / (static_cast<float>(positions - 1) * y[i]);
    for (int64_t p = 0; p < positions; p++) mean += widen(x[from + p * c]);
    mean /= static_cast<float>(positions);
    for (int64_t p = 0; p < positions; p++)
      narrow(factor * (widen(x[from + p * c]) - mean), dx[from + p * c]);
  }
};

struct deviations : gpu_kernel {
  using gpu_kernel::gpu_kernel;
  void run(const op &o) override {
    bool backward = o.kind == kind_deviation_backward;
    const value &x = *o.operands[backward ? 1 : 0];
    int64_t positions = x.dims[1] * x.dims[2], c = x.dims[3];
    typed(x, [&](auto number) {
      using T = decltype(number);
      if (backward)
        each(d, x.dims[0] * c,
             deviation_backward_each<T>{o.in(0), o.in(2), at<T>(&x), at<T>(o.results[0]), positions, c});
      else
        each(d, x.dims[0] * c, deviation_each<T>{at<T>(&x), o.out(0), positions, c});
    });
  }
};

constexpr int64_t most_rows = 512;  // blocks, each with one row

// pairs_args. The workspace is units [n][c], their transpose [c][n], norms [n], shares [n], a
// row of n + c for each block, and the losses of the rows.
struct pairs_args {
  int64_t n, c;
  const float *x;
  const int32_t *labels;
  double *losses;
  float *units, *transpose, *norms, *shares, *rows;
  float *log_sum, *dx;  // log_sum: written by contrast, read by its gradient
  float same, other;    // target values of a pair of the same class and of different classes
  float inverse;        // 1 / temperature
  double factor;        // of the gradient, or 1 over the number of terms of the loss
  double epsilon;
  bool centred, contrast, backward;
};

// normalise: one block for each row.
__global__ void __launch_bounds__(threads_per_block) normalise(pairs_args g) {
  for (int64_t i = blockIdx.x; i < g.n; i += gridDim.x) {
    const float *x = g.x + i * g.c;
    double mean = 0, square = 0, count = 0;
    if (g.centred) {
      for (int64_t k = threadIdx.x; k < g.c; k += threads_per_block) mean += x[k];
      mean = sum_block(mean) / static_cast<double>(g.c);
    }
    for (int64_t k = threadIdx.x; k < g.c; k += threads_per_block) square += (x[k] - mean) * (x[k] - mean);
    double norm = sqrt(sum_block(square));
    double below = g.centred ? g.epsilon + norm : (norm > g.epsilon ? norm : g.epsilon);
    for (int64_t k = threadIdx.x; k < g.c; k += threads_per_block) {
      auto u = static_cast<float>((x[k] - mean) / below);
      g.units[i * g.c + k] = u, g.transpose[k * g.n + i] = u;
    }
    for (int64_t j = threadIdx.x; j < g.n; j += threads_per_block) count += g.labels[j] == g.labels[i];
    count = sum_block(count);
    if (threadIdx.x != 0) continue;
    g.norms[i] = static_cast<float>(g.centred ? norm : below);
    g.shares[i] = count > 1 ? static_cast<float>(1 / (count - 1)) : 0;
  }
}

// product is the dot product of rows i and j.
__device__ inline float product(const pairs_args &g, int64_t i, int64_t j) {
  float s = 0;
  for (int64_t k = 0; k < g.c; k++) s += g.units[i * g.c + k] * g.transpose[k * g.n + j];
  return s;
}

// loss_rows: one block for each row of pairs.
__global__ void __launch_bounds__(threads_per_block) loss_rows(pairs_args g) {
  for (int64_t i = blockIdx.x; i < g.n; i += gridDim.x) {
    double sum = 0, own = 0;
    int32_t label = g.labels[i];
    for (int64_t j = threadIdx.x; j < g.n; j += threads_per_block) {
      float s = product(g, i, j);
      if (!g.contrast) {
        float clamped = s > 1 ? 1 : s < -1 ? -1 : s, d = clamped - (g.labels[j] == label ? g.same : g.other);
        sum += d * d;
      } else if (j != i) {
        sum += expf((s - 1) * g.inverse);  // products are at most 1
        if (g.labels[j] == label) own += s;
      }
    }
    sum = sum_block(sum);
    if (g.contrast) own = sum_block(own);
    if (threadIdx.x != 0) continue;
    double loss = sum;
    if (g.contrast) {
      double log_sum = g.n > 1 ? g.inverse + log(sum) : 0;
      g.log_sum[i] = static_cast<float>(log_sum);
      loss = g.shares[i] > 0 ? log_sum - own * g.inverse * g.shares[i] : 0;
    }
    g.losses[i] = loss;
  }
}

// gradient_rows: one block for each row: first the gradients of its products, then of its normalised row,
// then of its features.
__global__ void __launch_bounds__(threads_per_block) gradient_rows(pairs_args g) {
  float *row = g.rows + static_cast<int64_t>(blockIdx.x) * (g.n + g.c), *unit = row + g.n;
  for (int64_t i = blockIdx.x; i < g.n; i += gridDim.x) {
    int32_t label = g.labels[i];
    for (int64_t j = threadIdx.x; j < g.n; j += threads_per_block) {
      float s = product(g, i, j);
      bool same = g.labels[j] == label;
      if (!g.contrast) {
        float e = s - (same ? g.same : g.other);
        row[j] = s > 1 || s < -1 ? 0 : static_cast<float>(g.factor) * e;
        continue;
      }
      float a = expf(s * g.inverse - g.log_sum[i]) - (same ? g.shares[i] : 0);
      float b = expf(s * g.inverse - g.log_sum[j]) - (same ? g.shares[j] : 0);
      float both = (g.shares[i] > 0 ? a : 0) + (g.shares[j] > 0 ? b : 0);
      row[j] = j == i ? 0 : static_cast<float>(g.factor) * both;
    }
    __syncthreads();
    double inner = 0, mean = 0, norm = g.norms[i], below = g.centred ? norm + g.epsilon : norm;
    for (int64_t k = threadIdx.x; k < g.c; k += threads_per_block) {
      float sum = 0;
      for (int64_t j = 0; j < g.n; j++) sum += row[j] * g.units[j * g.c + k];
      unit[k] = sum;
      inner += static_cast<double>(g.units[i * g.c + k]) * sum;
    }
    inner = sum_block(inner);
    if (g.centred && norm > 0) inner *= below / norm;
    if (g.centred) {
      for (int64_t k = threadIdx.x; k < g.c; k += threads_per_block)
        mean += (unit[k] - g.units[i * g.c + k] * inner) / below;
      mean = sum_block(mean) / static_cast<double>(g.c);
    }
    for (int64_t k = threadIdx.x; k < g.c; k += threads_per_block)
      g.dx[i * g.c + k] = static_cast<float>((unit[k] - g.units[i * g.c + k] * inner) / below - mean);
  }
}

struct pairs : gpu_kernel {
  int64_t n, c, blocks;
  pairs(const op &o, gpu &g) : gpu_kernel(g), n(o.operands[0]->dims[0]), c(o.operands[0]->dims[1]) {
    blocks = n < most_rows ? n : most_rows;
    scratch = static_cast<uint64_t>(8 * n + 4 * (2 * n * c + 2 * n + blocks * (n + c)));
  }
  void run(const op &o) override {
    pairs_args g{};
    g.n = n, g.c = c, g.x = o.in(0), g.labels = at<int32_t>(o.operands[1]);
    g.losses = reinterpret_cast<double *>(o.scratch);
    g.units = reinterpret_cast<float *>(g.losses + n);
    g.transpose = g.units + n * c;
    g.norms = g.transpose + n * c;
    g.shares = g.norms + n;
    g.rows = g.shares + n;
    g.contrast = o.kind == kind_contrast || o.kind == kind_contrast_backward;
    g.backward = o.kind == kind_similarity_backward || o.kind == kind_contrast_backward;
    g.centred = !g.contrast;
    g.epsilon = g.centred ? 1e-8 : 1e-12;
    auto count = static_cast<double>(n);
    if (g.contrast) {
      g.inverse = static_cast<float>(1 / o.attr.temperature);
      g.log_sum = g.backward ? o.mutate(2) : o.out(1);
      g.factor = g.backward ? o.attr.scale / (count * o.attr.temperature) : 1 / count;
    } else {
      // The one-hot labels of k classes, centred, have the squared norm 1 - 1/k.
      double k = static_cast<double>(o.attr.classes), square = 1 - 1 / k;
      double below = (1e-8 + std::sqrt(square)) * (1e-8 + std::sqrt(square));
      g.same = static_cast<float>(std::fmin(square / below, 1));
      g.other = static_cast<float>(std::fmax(-1 / k / below, -1));
      g.factor = g.backward ? o.attr.scale * 4 / (count * count) : 1 / (count * count);
    }
    dim3 grid(static_cast<unsigned>(blocks)), block(threads_per_block);
    launch_blocks(d, grid, block, normalise, g);
    if (g.backward) {
      g.dx = o.out(0);
      return launch_blocks(d, grid, block, gradient_rows, g);
    }
    launch_blocks(d, grid, block, loss_rows, g);
    launch_blocks(d, dim3(1), block, sum_parts, static_cast<const double *>(g.losses), n, g.factor, o.out(0));
  }
};

}  // namespace

std::unique_ptr<kernel> make_similarity(const op &o, gpu &d) {
  if (o.kind == kind_deviation || o.kind == kind_deviation_backward) return std::make_unique<deviations>(d);
  return std::make_unique<pairs>(o, d);
}

}  // namespace lb
