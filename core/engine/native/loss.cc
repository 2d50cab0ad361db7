//go:build !nocpu

// Losses of single samples.
//   cross_entropy            loss = mean(logsumexp(l) - l[label]); correct; p = softmax(l), may alias l
//   cross_entropy_backward   dl = scale * (p - onehot) / N, may alias p
//   binary_cross_entropy     loss = mean(max(z,0) - z*t + log(1 + exp(-|z|))), t = image / 255
//   ..._backward             dz = scale * (sigmoid(z) - t) / elements, may alias z
//
// Cross-entropy is small (N x classes) and runs on one thread, rows in order. The binary
// one is as large as the images: threads divide the samples, and one thread sums their losses.
#include <cmath>

#include "simd.h"

namespace lb {
namespace {

int32_t label_of(const op &o, int64_t i, int64_t classes) {
  int32_t label = reinterpret_cast<const int32_t *>(o.operands[1]->data)[i];
  if (label < 0 || label >= classes)
    fail(LB_INVALID, "label %d of sample %lld: the classes are 0 to %lld", label, static_cast<long long>(i),
         static_cast<long long>(classes - 1));
  return label;
}

void cross_entropy(const op &o, int) {
  int64_t n = o.operands[0]->dims[0], classes = o.operands[0]->dims[1], correct = 0;
  double loss = 0;
  for (int64_t i = 0; i < n; i++) {
    const float *l = o.in(0) + i * classes;
    float *p = o.out(2) + i * classes;
    int32_t label = label_of(o, i, classes);
    int64_t best = 0;
    for (int64_t k = 1; k < classes; k++)
      if (l[k] > l[best]) best = k;
    double top = l[best], own = l[label], sum = 0;
    for (int64_t k = 0; k < classes; k++) {
      double e = std::exp(l[k] - top);
      sum += e;
      p[k] = static_cast<float>(e);
    }
    for (int64_t k = 0; k < classes; k++) p[k] = static_cast<float>(p[k] / sum);
    loss += std::log(sum) + top - own;
    correct += best == label && sum == sum;  // NaN logits never count as correct
  }
  o.out(0)[0] = static_cast<float>(loss / static_cast<double>(n));
  o.out(1)[0] = static_cast<float>(correct);
}

template <typename T>
void cross_entropy_backward(const op &o, int) {
  int64_t n = o.operands[0]->dims[0], classes = o.operands[0]->dims[1];
  double scale = o.attr.scale / static_cast<double>(n);
  for (int64_t i = 0; i < n; i++) {
    int32_t label = label_of(o, i, classes);
    for (int64_t k = 0; k < classes; k++)
      o.out<T>(0)[i * classes + k] =
          static_cast<float>(scale * (o.in(0)[i * classes + k] - (k == label ? 1.0 : 0.0)));
  }
}

// reconstruction_loss sums over n elements. It takes one logarithm for 512 elements, of
// the product of sums in (1, 2].
LB_CLONES double reconstruction_loss(const float *z, const uint8_t *image, int64_t n) {
  constexpr int64_t lanes = 64, block = 512;
  double loss = 0;
  for (int64_t from = 0; from < n; from += block) {
    int64_t to = from + block < n ? from + block : n;
    float product[lanes], rest[lanes];
    for (int64_t k = 0; k < lanes; k++) product[k] = 1, rest[k] = 0;
    auto one = [&](int64_t at, int64_t k) __attribute__((always_inline)) {
      float x = z[at], size = x < 0 ? -x : x, positive = 0.5f * (x + size);
      product[k] *= 1 + exponential(-size);
      rest[k] += positive - x * (static_cast<float>(image[at]) * (1.0f / 255));
    };
    int64_t i = from;
    for (; i + lanes <= to; i += lanes)
#pragma omp simd
      for (int64_t k = 0; k < lanes; k++) one(i + k, k);
    for (int64_t k = 0; i < to; i++, k++) one(i, k);
    double all = 1;
    for (int64_t k = 0; k < lanes; k++) all *= static_cast<double>(product[k]), loss += rest[k];
    loss += std::log(all);
  }
  return loss;
}

#define LB_RECONSTRUCTION_GRADIENT(T)                                                                      \
  LB_CLONES_##T void reconstruction_gradient(const float *z, const uint8_t *image, float scale, int64_t n, \
                                             T *dz) {                                                      \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                                                  \
      float x = z[i], e = exponential(x < 0 ? x : -x);                                                     \
      float sigmoid = (x < 0 ? e : 1) / (1 + e);                                                           \
      dz[i] = scale * (sigmoid - static_cast<float>(image[i]) * (1.0f / 255));                             \
    }                                                                                                      \
  }
LB_RECONSTRUCTION_GRADIENT(float)
LB_RECONSTRUCTION_GRADIENT(bf16)

#if defined(__x86_64__)
// The same on vectors, for whole blocks. z and image have n elements, a multiple of loss_block.
constexpr int64_t loss_block = 512, loss_group = 64;

template <int W>
LB_INLINE floats<W> magnitude(const floats<W> &x) {
  return (floats<W>)((ints<W>)x & 0x7fffffff);
}

template <int W>
LB_INLINE void loss_vectors(const float *z, const uint8_t *image, int64_t n, double *loss) {
  constexpr int64_t V = loss_group / W;
  for (int64_t from = 0; from < n; from += loss_block) {
    floats<W> product[V], rest[V];
    for (int64_t v = 0; v < V; v++) product[v] = floats<W>{} + 1.0f, rest[v] = floats<W>{};
    for (int64_t i = from; i < from + loss_block; i += loss_group)
      for (int64_t v = 0; v < V; v++) {
        floats<W> x = load<W>(z + i + v * W), size = magnitude<W>(x);
        product[v] *= 1 + exponential<W>(-size);
        rest[v] += 0.5f * (x + size) - x * (load_octets<W>(image + i + v * W) * (1.0f / 255));
      }
    alignas(64) float p[W], r[W];  // each product is at most 2 to the power of 8 * V
    for (int64_t v = 1; v < V; v++) product[0] *= product[v], rest[0] += rest[v];
    store<W>(p, product[0]), store<W>(r, rest[0]);
    double all = 1, sum = 0;
    for (int k = 0; k < W; k++) all *= static_cast<double>(p[k]), sum += r[k];
    *loss += sum + std::log(all);
  }
}

template <int W, typename T>
LB_INLINE void gradient_vectors(const float *z, const uint8_t *image, float scale, int64_t n, T *dz) {
  for (int64_t i = 0; i < n; i += W) {
    floats<W> x = load<W>(z + i), e = exponential<W>(-magnitude<W>(x)), one = floats<W>{} + 1.0f;
    ints<W> negative = (ints<W>)x >> 31;
    auto above = (floats<W>)(((ints<W>)e & negative) | ((ints<W>)one & ~negative));
    store<W>(dz + i, scale * (above / (1 + e) - load_octets<W>(image + i) * (1.0f / 255)));
  }
}
#endif

// loss_of and gradient_of take vectors of `width` floats where there are such, and the loops for the rest.
double loss_of(int width, const float *z, const uint8_t *image, int64_t n) {
  double loss = 0;
  int64_t whole = 0;
#if defined(__x86_64__)
  if (width > 0) whole = n / loss_block * loss_block;
  if (width == 16) machine<16>::call<loss_vectors<16>>(z, image, whole, &loss);
  if (width == 8) machine<8>::call<loss_vectors<8>>(z, image, whole, &loss);
#endif
  (void)width;
  return loss + reconstruction_loss(z + whole, image + whole, n - whole);
}

template <typename T>
void gradient_of(int width, const float *z, const uint8_t *image, float scale, int64_t n, T *dz) {
  int64_t whole = 0;
#if defined(__x86_64__)
  if (width > 0) whole = n / width * width;
  if (width == 16) machine<16>::call<gradient_vectors<16, T>>(z, image, scale, whole, dz);
  if (width == 8) machine<8>::call<gradient_vectors<8, T>>(z, image, scale, whole, dz);
#endif
  (void)width;
  reconstruction_gradient(z + whole, image + whole, scale, n - whole, dz + whole);
}

// reconstruction keeps the losses of the samples in the workspace. The gradient is of type T.
template <typename T>
struct reconstruction : kernel {
  int threads, width;
  reconstruction(const op &o, cpu &d) : threads(d.threads), width(d.width) {
    if (o.kind == kind_binary_cross_entropy) scratch = static_cast<uint64_t>(8 * o.operands[0]->dims[0]);
  }
  void run(const op &o) override {
    const value &z = *o.operands[0];
    int64_t n = z.dims[0], size = z.elements / n;
    auto *losses = reinterpret_cast<double *>(o.scratch);
    auto scale = static_cast<float>(o.attr.scale / static_cast<double>(z.elements));
    parallel(n, 1, threads, z.elements, [&](int64_t from, int64_t to, int) {
      for (int64_t i = from; i < to; i++) {
        const float *x = o.in(0) + i * size;
        const uint8_t *image = o.operands[1]->data + i * size;
        if (o.kind == kind_binary_cross_entropy)
          losses[i] = loss_of(width, x, image, size);
        else
          gradient_of(width, x, image, scale, size, o.out<T>(0) + i * size);
      }
    });
    if (o.kind != kind_binary_cross_entropy) return;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += losses[i];
    o.out(0)[0] = static_cast<float>(sum / static_cast<double>(z.elements));
  }
};

}  // namespace

std::unique_ptr<kernel> make_loss(const op &o, cpu &d) {
  return typed(*o.results[0], [&](auto number) -> std::unique_ptr<kernel> {
    using T = decltype(number);
    if (o.kind == kind_binary_cross_entropy || o.kind == kind_binary_cross_entropy_backward)
      return std::make_unique<reconstruction<T>>(o, d);
    return std::make_unique<function>(
        o.kind == kind_cross_entropy ? cross_entropy : cross_entropy_backward<T>, d.threads);
  });
}

}  // namespace lb
