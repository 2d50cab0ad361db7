//go:build !nocpu

// Losses over pairs of samples, and the standard deviation that feeds one.
//
//   deviation   y[n,c] = sqrt(sum over positions of (x - mean)^2 / (HW - 1))
//   similarity  mean of (S - T)^2; S: products of the centred rows over (1e-8 + norm), in [-1, 1]
//   contrast    mean over i of the mean over positives j of log_sum[i] - s[i,j], s = f f' / temperature
//
// No matrix over pairs is stored: each row of it is computed from all rows of features,
// used, and dropped, in the forward op and again in the backward op. Workspace: the
// normalised rows u and their transpose (so that a row of products is a sum of whole
// vectors), a few numbers for each row, and a row of products for each thread. Threads
// divide the rows, each row is summed in order, and one thread sums the loss over rows: the
// result does not depend on the number of threads.
#include <cmath>
#include <cstring>

#include "cpu.h"

namespace lb {
namespace {

LB_CLONES void deviation_part(const float *x, int64_t positions, int64_t c, float *y, float *mean) {
  for (int64_t k = 0; k < c; k++) mean[k] = y[k] = 0;
  for (int64_t p = 0; p < positions; p++)
#pragma omp simd
    for (int64_t k = 0; k < c; k++) mean[k] += x[p * c + k];
  for (int64_t k = 0; k < c; k++) mean[k] /= static_cast<float>(positions);
  for (int64_t p = 0; p < positions; p++)
#pragma omp simd
    for (int64_t k = 0; k < c; k++) {
      float d = x[p * c + k] - mean[k];
      y[k] += d * d;
    }
  for (int64_t k = 0; k < c; k++) y[k] = std::sqrt(y[k] / static_cast<float>(positions - 1));
}

// In place: dx may alias x.
LB_CLONES void deviation_backward_part(const float *dy, const float *x, const float *y, int64_t positions,
                                       int64_t c, float *dx, float *mean, float *factor) {
  for (int64_t k = 0; k < c; k++) mean[k] = 0;
  for (int64_t p = 0; p < positions; p++)
#pragma omp simd
    for (int64_t k = 0; k < c; k++) mean[k] += x[p * c + k];
  for (int64_t k = 0; k < c; k++) {
    mean[k] /= static_cast<float>(positions);
    factor[k] = y[k] == 0 ? 0 : dy[k] / (static_cast<float>(positions - 1) * y[k]);
  }
  for (int64_t p = 0; p < positions; p++)
#pragma omp simd
    for (int64_t k = 0; k < c; k++) dx[p * c + k] = factor[k] * (x[p * c + k] - mean[k]);
}

// deviations keeps the means and factors of one sample for each thread in the workspace.
struct deviations : kernel {
  bool backward;
  int threads;
  int64_t n, positions, c;
  deviations(const op &o, cpu &d) : backward(o.kind == kind_deviation_backward), threads(d.threads) {
    const value &x = *o.operands[backward ? 1 : 0];
    n = x.dims[0], positions = x.dims[1] * x.dims[2], c = x.dims[3];
    scratch = static_cast<uint64_t>(threads * 2 * c * 4);
  }
  void run(const op &o) override {
    parallel(n, 1, threads, n * positions * c, [&](int64_t from, int64_t to, int t) {
      float *own = reinterpret_cast<float *>(o.scratch) + t * 2 * c;
      for (int64_t i = from; i < to; i++) {
        int64_t map = i * positions * c;
        if (backward)
          deviation_backward_part(o.in(0) + i * c, o.in(1) + map, o.in(2) + i * c, positions, c,
                                  o.out(0) + map, own, own + c);
        else
          deviation_part(o.in(0) + map, positions, c, o.out(0) + i * c, own);
      }
    });
  }
};

// products writes s[j] = sum over k of u[k] * t[k][j]: a row of u u'.
LB_CLONES void products(const float *u, const float *t, int64_t c, int64_t n, float *s) {
  std::memset(s, 0, static_cast<size_t>(n) * sizeof(float));
  for (int64_t k = 0; k < c; k++) {
    float x = u[k];
#pragma omp simd
    for (int64_t j = 0; j < n; j++) s[j] += x * t[k * n + j];
  }
}

// combine writes d[k] = sum over j of g[j] * u[j][k].
LB_CLONES void combine(const float *g, const float *u, int64_t n, int64_t c, float *d) {
  std::memset(d, 0, static_cast<size_t>(c) * sizeof(float));
  for (int64_t j = 0; j < n; j++) {
    float x = g[j];
#pragma omp simd
    for (int64_t k = 0; k < c; k++) d[k] += x * u[j * c + k];
  }
}

// targets are the two values in T: of a pair of the same class, and of different classes.
struct targets {
  float same, other;
};

LB_CLONES double square_error(const float *s, const int32_t *labels, int32_t own, targets t, int64_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; j++) {
    float clamped = s[j] > 1 ? 1 : s[j] < -1 ? -1 : s[j];
    double d = clamped - (labels[j] == own ? t.same : t.other);
    sum += d * d;
  }
  return sum;
}

LB_CLONES void square_error_gradient(float *s, const int32_t *labels, int32_t own, targets t, float factor,
                                     int64_t n) {
#pragma omp simd
  for (int64_t j = 0; j < n; j++) {
    float d = s[j] - (labels[j] == own ? t.same : t.other);
    s[j] = s[j] > 1 || s[j] < -1 ? 0 : factor * d;
  }
}

LB_CLONES float exponential_sum(const float *s, float inverse, float top, int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; j++) sum += exponential((s[j] - top) * inverse);
  return sum;
}

// contrast_gradient turns products into g[i,j] + g[j,i],
// where g = softmax - positive/count, 0 in rows without positives.
LB_CLONES void contrast_gradient(float *s, const int32_t *labels, const float *log_sum, const float *share,
                                 int64_t i, float inverse, int64_t n) {
  int32_t own = labels[i];
  float log_own = log_sum[i], share_own = share[i];
#pragma omp simd
  for (int64_t j = 0; j < n; j++) {
    float x = s[j] * inverse;
    bool same = labels[j] == own;
    float a = exponential(x - log_own) - (same ? share_own : 0);
    float b = exponential(x - log_sum[j]) - (same ? share[j] : 0);
    s[j] = (share_own > 0 ? a : 0) + (share[j] > 0 ? b : 0);
  }
  s[i] = 0;
}

// pairs is similarity and contrast, forward and backward.
struct pairs : kernel {
  int32_t kind;
  int threads;
  int64_t n, c;
  double epsilon;  // added to a norm, or its lower bound
  bool centred;
  pairs(const op &o, cpu &d)
      : kind(o.kind), threads(d.threads), n(o.operands[0]->dims[0]), c(o.operands[0]->dims[1]) {
    centred = kind == kind_similarity || kind == kind_similarity_backward;
    epsilon = centred ? 1e-8 : 1e-12;
    scratch = static_cast<uint64_t>(8 * n + 4 * (2 * n * c + 2 * n + threads * (n + c)));
  }
  // The parts of the workspace.
  double *losses(const op &o) const { return reinterpret_cast<double *>(o.scratch); }
  float *units(const op &o) const { return reinterpret_cast<float *>(o.scratch + 8 * n); }
  float *transpose(const op &o) const { return units(o) + n * c; }
  float *norms(const op &o) const { return transpose(o) + n * c; }
  float *shares(const op &o) const { return norms(o) + n; }
  float *row(const op &o, int t) const { return shares(o) + n + t * (n + c); }

  static const int32_t *labels(const op &o) { return reinterpret_cast<const int32_t *>(o.operands[1]->data); }

  void run(const op &o) override {
    const int32_t *label = labels(o);
    for (int64_t i = 0; centred && i < n; i++)
      if (label[i] < 0 || label[i] >= o.attr.classes)
        fail(LB_INVALID, "label %d of sample %lld: the classes are 0 to %lld", label[i],
             static_cast<long long>(i), static_cast<long long>(o.attr.classes - 1));
    normalise(o);
    targets t = target(static_cast<double>(o.attr.classes));
    float inverse = centred ? 1 : static_cast<float>(1 / o.attr.temperature);
    auto count = static_cast<double>(n);
    double square = o.attr.scale * 4 / (count * count), mean = o.attr.scale / (count * o.attr.temperature);
    each(o, [&](int64_t i, float *s, float *d) {
      products(units(o) + i * c, transpose(o), c, n, s);
      switch (kind) {
        case kind_similarity:
          losses(o)[i] = square_error(s, label, label[i], t, n) / (count * count);
          break;
        case kind_similarity_backward:
          square_error_gradient(s, label, label[i], t, static_cast<float>(square), n);
          combine(s, units(o), n, c, d);
          return give(o, i, d);
        case kind_contrast:
          losses(o)[i] = contrast_row(o, i, s, inverse) / count;
          break;
        default:
          contrast_gradient(s, label, o.in(2), shares(o), i, inverse, n);
          for (int64_t j = 0; j < n; j++) s[j] *= static_cast<float>(mean);
          combine(s, units(o), n, c, d);
          return give(o, i, d);
      }
    });
    if (kind == kind_similarity || kind == kind_contrast) {
      double sum = 0;
      for (int64_t i = 0; i < n; i++) sum += losses(o)[i];
      o.out(0)[0] = static_cast<float>(sum);
    }
  }

  // each calls f(i, row of products, row of a gradient) for all rows.
  template <typename F>
  void each(const op &o, F f) const {
    parallel(n, 1, threads, n * n * c, [&](int64_t from, int64_t to, int t) {
      for (int64_t i = from; i < to; i++) f(i, row(o, t), row(o, t) + n);
    });
  }

  // target: the one-hot labels of k classes, centred, have the squared norm 1 - 1/k and
  // the products 1 - 1/k and -1/k.
  static targets target(double k) {
    double square = 1 - 1 / k, below = (1e-8 + std::sqrt(square)) * (1e-8 + std::sqrt(square));
    return {static_cast<float>(std::fmin(square / below, 1)),
            static_cast<float>(std::fmax(-1 / k / below, -1))};
  }

  // normalise fills units, transpose and norms, and for contrast the shares: 1 over
  // the number of positives, 0 without any.
  void normalise(const op &o) const {
    const int32_t *label = labels(o);
    each(o, [&](int64_t i, float *, float *) {
      const float *x = o.in(0) + i * c;
      float *u = units(o) + i * c;
      double mean = 0, square = 0;
      for (int64_t k = 0; centred && k < c; k++) mean += x[k];
      mean /= static_cast<double>(c);
      for (int64_t k = 0; k < c; k++) square += (x[k] - mean) * (x[k] - mean);
      double norm = std::sqrt(square), below = centred ? epsilon + norm : std::fmax(norm, epsilon);
      for (int64_t k = 0; k < c; k++) {
        u[k] = static_cast<float>((x[k] - mean) / below);
        transpose(o)[k * n + i] = u[k];
      }
      norms(o)[i] = static_cast<float>(centred ? norm : below);
      int64_t count = 0;
      for (int64_t j = 0; j < n; j++) count += label[j] == label[i];
      shares(o)[i] = count > 1 ? static_cast<float>(1 / static_cast<double>(count - 1)) : 0;
    });
  }

  // contrast_row returns the loss of sample i and writes log_sum[i].
  double contrast_row(const op &o, int64_t i, float *s, float inverse) const {
    const int32_t *label = labels(o);
    o.out(1)[i] = 0;
    if (n == 1) return 0;
    double own = 0;
    for (int64_t j = 0; j < n; j++)
      if (j != i && label[j] == label[i]) own += s[j];
    float top = -2;
    for (int64_t j = 0; j < n; j++)
      if (j != i && s[j] > top) top = s[j];
    s[i] = -1e30f;  // whose exponential is zero
    float log_sum = top * inverse + std::log(exponential_sum(s, inverse, top, n));
    o.out(1)[i] = log_sum;
    return shares(o)[i] > 0 ? log_sum - own * inverse * shares(o)[i] : 0;
  }

  // give turns the gradient of a unit row into that of its features.
  void give(const op &o, int64_t i, const float *d) const {
    const float *u = units(o) + i * c;
    float *out = o.out(0) + i * c;
    double inner = 0, mean = 0, norm = norms(o)[i], below = centred ? norm + epsilon : norm;
    for (int64_t k = 0; k < c; k++) inner += static_cast<double>(u[k]) * d[k];
    if (centred && norm > 0) inner *= below / norm;
    for (int64_t k = 0; centred && k < c; k++) mean += (d[k] - u[k] * inner) / below;
    mean /= static_cast<double>(c);
    for (int64_t k = 0; k < c; k++) out[k] = static_cast<float>((d[k] - u[k] * inner) / below - mean);
  }
};

}  // namespace

std::unique_ptr<kernel> make_similarity(const op &o, cpu &d) {
  if (o.kind == kind_deviation || o.kind == kind_deviation_backward)
    return std::make_unique<deviations>(o, d);
  return std::make_unique<pairs>(o, d);
}

}  // namespace lb
