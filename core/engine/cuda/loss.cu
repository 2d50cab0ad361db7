// Losses of single samples, the standard deviation over positions, and losses over pairs of
// samples; formulas are in native/loss.cc and native/similarity.cc. Scores and features are
// f32, gradients f32 or bf16. Sums are over fixed parts in a fixed order.
#include "reduce.h"

namespace lb {
namespace {

struct entropy_args {
  int64_t n, classes;
  const float *scores;
  const int32_t *labels;
  float *p;
  double *losses, *hits;  // by sample
};

// entropy_rows: one warp for each sample.
__global__ void __launch_bounds__(threads_per_block) entropy_rows(entropy_args g) {
  constexpr int warp = 32;
  int lane = static_cast<int>(threadIdx.x) % warp;
  int64_t row = (static_cast<int64_t>(blockIdx.x) * threads_per_block + threadIdx.x) / warp;
  int64_t i = row < g.n ? row : g.n - 1;  // a warp past the end repeats the last sample
  const float *l = g.scores + i * g.classes;
  float top = -INFINITY;
  int best = 0x7fffffff;
  for (int64_t k = lane; k < g.classes; k += warp)
    if (l[k] > top || best == 0x7fffffff) top = l[k], best = static_cast<int>(k);
  for (int m = warp / 2; m > 0; m /= 2) {
    float other = __shfl_xor_sync(0xffffffffu, top, m);
    int where = __shfl_xor_sync(0xffffffffu, best, m);
    if (where != 0x7fffffff && (best == 0x7fffffff || other > top || (other == top && where < best)))
      top = other, best = where;
  }
  int32_t label = g.labels[i];
  float own = l[label];  // read before p is written, which may alias the scores
  float sum = 0;
  for (int64_t k = lane; k < g.classes; k += warp) sum += expf(l[k] - top);
  for (int m = warp / 2; m > 0; m /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, m);
  if (row != i) return;
  float inverse = 1 / sum;
  for (int64_t k = lane; k < g.classes; k += warp) g.p[i * g.classes + k] = expf(l[k] - top) * inverse;
  if (lane != 0) return;
  g.losses[i] = static_cast<double>(logf(sum)) + top - own;
  g.hits[i] = best == label && sum == sum;  // NaN logits never count as correct
}

template <typename T>
struct entropy_backward_each {
  const float *p;
  const int32_t *labels;
  int64_t classes;
  float scale;
  T *dl;
  __device__ void operator()(int64_t i) const {
    narrow(scale * (p[i] - (i % classes == labels[i / classes] ? 1.0f : 0.0f)), dl[i]);
  }
};

struct entropy : gpu_kernel {
  int64_t n, classes;
  entropy(const op &o, gpu &g) : gpu_kernel(g), n(o.operands[0]->dims[0]), classes(o.operands[0]->dims[1]) {
    if (o.kind == kind_cross_entropy) scratch = static_cast<uint64_t>(2 * 8 * n);
  }
  void run(const op &o) override {
    const auto *labels = at<int32_t>(o.operands[1]);
    if (o.kind == kind_cross_entropy_backward) {
      auto scale = static_cast<float>(o.attr.scale / static_cast<double>(n));
      return typed(*o.results[0], [&](auto number) {
        using T = decltype(number);
        each(d, n * classes, entropy_backward_each<T>{o.in(0), labels, classes, scale, at<T>(o.results[0])});
      });
    }
    auto *losses = reinterpret_cast<double *>(o.scratch);
    constexpr int64_t rows = threads_per_block / 32;
    launch_blocks(d, dim3(static_cast<unsigned>((n + rows - 1) / rows)), dim3(threads_per_block),
                  entropy_rows, entropy_args{n, classes, o.in(0), labels, o.out(2), losses, losses + n});
    launch_blocks(d, dim3(1), dim3(threads_per_block), sum_parts, static_cast<const double *>(losses), n,
                  1 / static_cast<double>(n), o.out(0));
    launch_blocks(d, dim3(1), dim3(threads_per_block), sum_parts, static_cast<const double *>(losses + n), n,
                  1.0, o.out(1));
  }
};

constexpr int64_t most_parts = 512;

// reconstruction_parts: a block sums its elements, every gridDim-th of all.
__global__ void __launch_bounds__(threads_per_block)
    reconstruction_parts(int64_t n, const float *z, const uint8_t *image, double *part) {
  double sum = 0;
  int64_t step = static_cast<int64_t>(gridDim.x) * threads_per_block;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * threads_per_block + threadIdx.x; i < n; i += step) {
    float x = z[i], t = static_cast<float>(image[i]) / 255;
    sum += (x > 0 ? x : 0) - x * t + log1pf(expf(-fabsf(x)));
  }
  sum = sum_block(sum);
  if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

template <typename T>
struct reconstruction_backward_each {
  const float *z;
  const uint8_t *image;
  float scale;
  T *dz;
  __device__ void operator()(int64_t i) const {
    float x = z[i], e = expf(-fabsf(x)), sigmoid = (x < 0 ? e : 1) / (1 + e);
    narrow(scale * (sigmoid - static_cast<float>(image[i]) / 255), dz[i]);
  }
};

struct reconstruction : gpu_kernel {
  int64_t n, parts;
  reconstruction(const op &o, gpu &g) : gpu_kernel(g), n(o.operands[0]->elements) {
    parts = (n + 8 * threads_per_block - 1) / (8 * threads_per_block);
    if (parts > most_parts) parts = most_parts;
    if (o.kind == kind_binary_cross_entropy) scratch = static_cast<uint64_t>(8 * parts);
  }
  void run(const op &o) override {
    const uint8_t *image = o.operands[1]->data;
    if (o.kind == kind_binary_cross_entropy_backward) {
      auto scale = static_cast<float>(o.attr.scale / static_cast<double>(n));
      return typed(*o.results[0], [&](auto number) {
        using T = decltype(number);
        each(d, n, reconstruction_backward_each<T>{o.in(0), image, scale, at<T>(o.results[0])});
      });
    }
    auto *part = reinterpret_cast<double *>(o.scratch);
    launch_blocks(d, dim3(static_cast<unsigned>(parts)), dim3(threads_per_block), reconstruction_parts, n,
                  o.in(0), image, part);
    launch_blocks(d, dim3(1), dim3(threads_per_block), sum_parts, static_cast<const double *>(part), parts,
                  1 / static_cast<double>(n), o.out(0));
  }
};

}  // namespace

std::unique_ptr<kernel> make_loss(const op &o, gpu &d) {
  if (o.kind == kind_binary_cross_entropy || o.kind == kind_binary_cross_entropy_backward)
    return std::make_unique<reconstruction>(o, d);
  return std::make_unique<entropy>(o, d);
}

}  // namespace lb
