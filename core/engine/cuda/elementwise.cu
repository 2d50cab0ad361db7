// Elementwise ops and updates of parameters: each operand is read and each result written
// once, in vectors of 16 bytes. In place: a result may alias an operand of its size.
#include "../native/update.h"
#include "gpu.h"

namespace lb {
namespace {

template <typename T>
struct relu_each {
  const pack<T> *x;
  pack<T> *y;
  float top;
  __device__ void operator()(int64_t i) const {
    pack<T> v = x[i];
    for (int k = 0; k < lanes<T>; k++) narrow(clip(widen(v.v[k]), top), v.v[k]);
    y[i] = v;
  }
};

template <typename T>
struct relu_backward_each {
  const pack<T> *dy, *y;
  pack<T> *dx;
  float top;
  __device__ void operator()(int64_t i) const {
    pack<T> g = dy[i], v = y[i];
    for (int k = 0; k < lanes<T>; k++)
      if (!passes(widen(v.v[k]), top)) narrow(0, g.v[k]);
    dx[i] = g;
  }
};

template <typename T>
struct silu_each {
  const pack<T> *x;
  pack<T> *y;
  __device__ void operator()(int64_t i) const {
    pack<T> v = x[i];
    for (int k = 0; k < lanes<T>; k++) narrow(widen(v.v[k]) * sigmoid(widen(v.v[k])), v.v[k]);
    y[i] = v;
  }
};

template <typename T>
struct silu_backward_each {
  const pack<T> *dy, *x;
  pack<T> *dx;
  __device__ void operator()(int64_t i) const {
    pack<T> g = dy[i], v = x[i];
    for (int k = 0; k < lanes<T>; k++) narrow(widen(g.v[k]) * silu_slope(widen(v.v[k])), g.v[k]);
    dx[i] = g;
  }
};

// value_of is an activation, and slope_of its derivative from what the backward op reads: the operand or, of
// sigmoid and hardsigmoid, the result.
template <activation A>
__device__ inline float value_of(float x) {
  if (A == activation_hardswish) return x * hardsigmoid(x);
  if (A == activation_hardsigmoid) return hardsigmoid(x);
  if (A == activation_sigmoid) return sigmoid(x);
  if (A == activation_gelu) return 0.5f * x * (1 + erff(x * 0.70710678f));
  return x * sigmoid(x * (1.59576912f + 0.07135481f * x * x));  // (1 + tanh(u)) / 2 = sigmoid(2u)
}

template <activation A>
__device__ inline float slope_of(float x) {
  if (A == activation_hardswish) return hardswish_slope(x);
  if (A == activation_hardsigmoid) return x > 0 && x < 1 ? 1.0f / 6 : 0;
  if (A == activation_sigmoid) return x * (1 - x);
  if (A == activation_gelu)
    return 0.5f * (1 + erff(x * 0.70710678f)) + x * (0.39894228f * expf(-0.5f * x * x));
  // s = sigmoid(2u), and e * s is 1 - s without cancellation.
  float u = -x * (1.59576912f + 0.07135481f * x * x), e = expf(u > 80 ? 80 : u), s = 1 / (1 + e);
  return s + x * (e * s) * s * (1.59576912f + 0.21406443f * x * x);
}

template <typename T, activation A>
struct activate_each {
  const pack<T> *x;
  pack<T> *y;
  __device__ void operator()(int64_t i) const {
    pack<T> v = x[i];
    for (int k = 0; k < lanes<T>; k++) narrow(value_of<A>(widen(v.v[k])), v.v[k]);
    y[i] = v;
  }
};

template <typename T, activation A>
struct activate_backward_each {
  const pack<T> *dy, *saved;
  pack<T> *dx;
  __device__ void operator()(int64_t i) const {
    pack<T> g = dy[i], v = saved[i];
    for (int k = 0; k < lanes<T>; k++) {
      float s = slope_of<A>(widen(v.v[k]));
      narrow(s == 0 ? 0 : widen(g.v[k]) * s, g.v[k]);
    }
    dx[i] = g;
  }
};

template <typename T>
struct add_each {
  const pack<T> *x, *y;
  pack<T> *z;
  __device__ void operator()(int64_t i) const {
    pack<T> a = x[i], b = y[i], sum;
    for (int k = 0; k < lanes<T>; k++) narrow(widen(a.v[k]) + widen(b.v[k]), sum.v[k]);
    z[i] = sum;
  }
};

// bias_each adds a bias to rows of c elements.
template <typename T>
struct bias_each {
  T *y;
  const float *bias;
  unsigned c;
  __device__ void operator()(unsigned i) const { narrow(widen(y[i]) + bias[i % c], y[i]); }
};

// image_each: y = (x - mean[c]) / deviation[c], from bytes.
template <typename T>
struct image_each {
  const uint8_t *x;
  T *y;
  unsigned c;
  float mean[4], deviation[4];
  // A run-time index would put the array into local memory.
  static __device__ float at(const float (&v)[4], unsigned k) {
    return k == 0 ? v[0] : k == 1 ? v[1] : k == 2 ? v[2] : v[3];
  }
  __device__ void operator()(unsigned i) const {
    unsigned k = i % c;
    narrow((static_cast<float>(x[i]) - at(mean, k)) / at(deviation, k), y[i]);
  }
};

// augment_each crops and mirrors images: Builder.Augment in core/graph defines the words.
struct augment_each {
  const uint8_t *x;
  uint8_t *y;
  const uint32_t *words;
  int h, w, c, pad;
  bool reflect, flip;
  __device__ int place(uint32_t word) const {
    return static_cast<int>(word * static_cast<uint64_t>(2 * pad + 1) >> 32) - pad;
  }
  __device__ int outside(int at, int n) const {
    if (at >= 0 && at < n) return at;
    return !reflect ? -1 : at < 0 ? -at : 2 * (n - 1) - at;
  }
  __device__ void operator()(int i) const {
    int k = i % c, s = i / c % w, r = i / c / w % h, n = i / c / w / h;
    const uint32_t *own = words + 4 * n;
    bool mirrored = flip && own[2] >> 31;
    int a = outside(r + place(own[0]), h), b = outside((mirrored ? w - 1 - s : s) + place(own[1]), w);
    y[i] = a < 0 || b < 0 ? 0 : x[((n * h + a) * w + b) * c + k];
  }
};

// cast_each rounds to nearest, ties to even. A thread converts 8 elements: 16 bytes of bf16, 32 of f32. The
// last thread may reach into the padding after a value.
template <typename T>
struct alignas(16) eight {
  T v[8];
};
template <typename From, typename To>
struct cast_each {
  const eight<From> *x;
  eight<To> *y;
  __device__ void operator()(int64_t i) const {
    eight<From> a = x[i];
    eight<To> b;
    for (int k = 0; k < 8; k++) narrow(widen(a.v[k]), b.v[k]);
    y[i] = b;
  }
};

struct average_each {
  pack<float> *a;
  const pack<float> *s;
  float m, rest;
  __device__ void operator()(int64_t i) const {
    pack<float> x = a[i], y = s[i];
    for (int k = 0; k < lanes<float>; k++) x.v[k] = m * x.v[k] + rest * y.v[k];
    a[i] = x;
  }
};

struct elementwise : gpu_kernel {
  using gpu_kernel::gpu_kernel;
  template <typename From, typename To>
  void cast(const op &o) {
    each(d, (o.results[0]->elements + 7) / 8,
         cast_each<From, To>{at<eight<From>>(o.operands[0]), at<eight<To>>(o.results[0])});
  }
  void run(const op &o) override {
    if (o.kind == kind_augment) return augment(o);
    if (o.kind == kind_cast) {
      if (o.results[0]->type == type_bf16) return cast<float, bf16>(o);
      return cast<bf16, float>(o);
    }
    typed(*o.results[0], [&](auto number) { one<decltype(number)>(o); });
  }
  void augment(const op &o) {
    const value &x = *o.operands[0];
    each(d, x.elements,
         augment_each{x.data, o.results[0]->data, at<uint32_t>(o.operands[1]), static_cast<int>(x.dims[1]),
                      static_cast<int>(x.dims[2]), static_cast<int>(x.dims[3]),
                      static_cast<int>(o.attr.padding[0]), o.attr.reflect != 0, o.attr.flip != 0});
  }
  template <typename T>
  void activate(const op &o) {
    switch (o.attr.activation) {
      case activation_hardswish:
        return activate<T, activation_hardswish>(o);
      case activation_hardsigmoid:
        return activate<T, activation_hardsigmoid>(o);
      case activation_sigmoid:
        return activate<T, activation_sigmoid>(o);
      case activation_gelu:
        return activate<T, activation_gelu>(o);
    }
    activate<T, activation_gelu_tanh>(o);
  }
  template <typename T, activation A>
  void activate(const op &o) {
    int64_t n = packs<T>(o.results[0]->elements);
    const pack<T> *first = packed<T>(o.operands[0]);
    pack<T> *to = packed<T>(o.results[0]);
    if (o.kind == kind_activate) return each(d, n, activate_each<T, A>{first, to});
    each(d, n, activate_backward_each<T, A>{first, packed<T>(o.operands[1]), to});
  }
  template <typename T>
  void one(const op &o) {
    const value &y = *o.results[0];
    int64_t n = packs<T>(y.elements);
    auto in = [&](size_t i) { return static_cast<const pack<T> *>(packed<T>(o.operands[i])); };
    switch (o.kind) {
      case kind_relu:
        return each(d, n, relu_each<T>{in(0), packed<T>(&y), o.attr.top()});
      case kind_relu_backward:
        return each(d, n, relu_backward_each<T>{in(0), in(1), packed<T>(&y), o.attr.top()});
      case kind_silu:
        return each(d, n, silu_each<T>{in(0), packed<T>(&y)});
      case kind_silu_backward:
        return each(d, n, silu_backward_each<T>{in(0), in(1), packed<T>(&y)});
      case kind_activate:
      case kind_activate_backward:
        return activate<T>(o);
      case kind_add:
        return each(d, n, add_each<T>{in(0), in(1), packed<T>(&y)});
      case kind_detach:
        if (o.operands[0]->data != y.data)
          checked(cudaMemcpyAsync(y.data, o.operands[0]->data, static_cast<size_t>(y.bytes),
                                  cudaMemcpyDeviceToDevice, d.stream),
                  "cudaMemcpyAsync");
        return;
    }
    image_each<T> f{o.operands[0]->data, at<T>(&y), static_cast<unsigned>(y.dims[3]), {}, {}};
    for (int k = 0; k < 4; k++)
      f.mean[k] = static_cast<float>(o.attr.mean[k]),
      f.deviation[k] = static_cast<float>(o.attr.deviation[k]);
    each(d, y.elements, f);
  }
};

// Updates: one launch for many parameters, to save a launch for each small one.
constexpr int most_updates = 64;

struct update_item {
  float *w, *a, *b;
  const void *g;
  int64_t n;
};

template <typename Rule>
struct update_list {
  update_item item[most_updates];
  const float *rate;
  const uint32_t *words;
  Rule rule;
};

// update_all: blocks across take parameters, blocks down parts of one.
template <typename T, typename Rule>
__global__ void __launch_bounds__(threads_per_block) update_all(update_list<Rule> list) {
  const update_item &u = list.item[blockIdx.y];
  const T *g = static_cast<const T *>(u.g);
  Rule rule = list.rule;
  rule.begin(*list.rate, list.words ? list.words[2] : 0);
  int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < u.n; i += step) {
    float w = u.w[i], a = Rule::states > 0 ? u.a[i] : 0, b = Rule::states > 1 ? u.b[i] : 0;
    rule(w, widen(g[i]), a, b);
    if (Rule::states > 0) u.a[i] = a;
    if (Rule::states > 1) u.b[i] = b;
    u.w[i] = w;
  }
}

__global__ void __launch_bounds__(threads_per_block) gather_each(gather_list list, int n, float *to) {
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(threads_per_block))
    to[i] = *list.from[i];
}

struct updates : gpu_kernel {
  using gpu_kernel::gpu_kernel;
  void run(const op &o) override {
    if (o.kind != kind_average) return update_many(&o, 1, d);
    each(d, packs<float>(o.operands[0]->elements),
         average_each{packed<float>(o.operands[0]), packed<float>(o.operands[1]),
                      static_cast<float>(o.attr.momentum), static_cast<float>(1 - o.attr.momentum)});
  }
};

}  // namespace

void gather(const gather_list &list, int n, float *to, gpu &d) {
  launch(d, dim3(1), dim3(threads_per_block), gather_each, list, n, to);
}

void add_bias(const value &y, const float *bias, gpu &d) {
  typed(y, [&](auto number) {
    using T = decltype(number);
    each(d, y.elements, bias_each<T>{at<T>(&y), bias, static_cast<unsigned>(y.channels())});
  });
}

// updates_alike: of one kind, with the same attributes, learning rate and presence of state.
bool updates_alike(const op &a, const op &b) {
  if (a.kind != b.kind ||
      !(a.kind == kind_sgd || a.kind == kind_adam || a.kind == kind_rmsprop || a.kind == kind_adagrad))
    return false;
  updated u = updated_of(a), v = updated_of(b);
  const attributes &p = a.attr, &q = b.attr;
  return u.rate == v.rate && u.words == v.words && !u.a == !v.a && !u.b == !v.b &&
         a.operands[1]->type == b.operands[1]->type && p.momentum == q.momentum &&
         p.weight_decay == q.weight_decay && p.nesterov == q.nesterov && p.epsilon == q.epsilon &&
         p.beta1 == q.beta1 && p.beta2 == q.beta2 && p.decoupled == q.decoupled;
}

void update_many(const op *first, size_t n, gpu &d) {
  with_rule(*first, [&](auto rule) {
    using Rule = decltype(rule);
    for (size_t from = 0; from < n; from += most_updates) {
      update_list<Rule> list{};
      size_t count = n - from < most_updates ? n - from : most_updates;
      int64_t largest = 0;
      for (size_t i = 0; i < count; i++) {
        const op &o = first[from + i];
        updated u = updated_of(o);
        list.item[i] = {u.w, u.a, u.b, u.g, o.operands[0]->elements};
        list.rate = u.rate, list.words = u.words;
        largest = o.operands[0]->elements > largest ? o.operands[0]->elements : largest;
      }
      list.rule = rule;
      int64_t blocks = (largest + 4 * threads_per_block - 1) / (4 * threads_per_block);
      dim3 grid(static_cast<unsigned>(blocks < 1024 ? blocks : 1024), static_cast<unsigned>(count));
      typed(*first->operands[1], [&](auto number) {
        launch(d, grid, dim3(threads_per_block), update_all<decltype(number), Rule>, list);
      });
    }
  });
}

std::unique_ptr<kernel> make_elementwise(const op &, gpu &d) { return std::make_unique<elementwise>(d); }

std::unique_ptr<kernel> make_update(const op &, gpu &d) { return std::make_unique<updates>(d); }

}  // namespace lb
