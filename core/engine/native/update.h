// What an update of a parameter computes for one element; core/graph/update.go has the formulas. All backends
// include it.
//
// A rule has the number of its state values, which are operands from the second on, begin(), which receives
// the learning rate and the number of the step from 0, and the call for an element: w the parameter, d its
// gradient, a and b the state.
#pragma once
#include <cmath>

#include "program.h"

#ifdef __CUDACC__
#define LB_UPDATE __host__ __device__ __forceinline__
#else
#define LB_UPDATE inline __attribute__((always_inline))
#endif

namespace lb {

// sgd_rule: g += wd*w;  v = m*v + g;  w -= lr * (nesterov ? g + m*v : v)
struct sgd_rule {
  static constexpr int states = 1;
  float momentum, decay;
  bool nesterov;
  float rate;
  LB_UPDATE void begin(float lr, uint32_t) { rate = lr; }
  LB_UPDATE void operator()(float &w, float g, float &v, float &) const {
    float d = g + decay * w, u = momentum * v + d;
    v = u;
    w = w - rate * (nesterov ? d + momentum * u : u);
  }
};

// descent_rule is SGD without momentum: w -= lr * (g + wd*w)
struct descent_rule {
  static constexpr int states = 0;
  float decay;
  float rate;
  LB_UPDATE void begin(float lr, uint32_t) { rate = lr; }
  LB_UPDATE void operator()(float &w, float g, float &, float &) const { w = w - rate * (g + decay * w); }
};

// adam_rule: w -= lr*wd*w if decoupled, else g += wd*w;  m = b1*m + (1-b1)*g;  v = b2*v + (1-b2)*g*g;
// w -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps)
struct adam_rule {
  static constexpr int states = 2;
  float beta1, rest1, log1, beta2, rest2, log2, epsilon, decay;
  bool decoupled;
  float size, root, shrink;  // of the step
  LB_UPDATE void begin(float lr, uint32_t step) {
    float t = static_cast<float>(step) + 1;
    size = lr / -expm1f(t * log1);  // 1 - beta^t without cancellation
    root = 1 / sqrtf(-expm1f(t * log2));
    shrink = decoupled ? lr * decay : 0;
    if (decoupled) decay = 0;
  }
  LB_UPDATE void operator()(float &w, float g, float &m, float &v) const {
    float d = g + decay * w;
    m = beta1 * m + rest1 * d;
    v = beta2 * v + rest2 * d * d;
    w = w - shrink * w - size * m / (sqrtf(v) * root + epsilon);
  }
};

// rmsprop_rule: g += wd*w;  v = a*v + (1-a)*g*g;  w -= lr * g / (sqrt(v) + eps)
struct rmsprop_rule {
  static constexpr int states = 1;
  float alpha, rest, epsilon, decay;
  float rate;
  LB_UPDATE void begin(float lr, uint32_t) { rate = lr; }
  LB_UPDATE float direction(float w, float g, float &v) const {
    float d = g + decay * w;
    v = alpha * v + rest * d * d;
    return d / (sqrtf(v) + epsilon);
  }
  LB_UPDATE void operator()(float &w, float g, float &v, float &) const { w = w - rate * direction(w, g, v); }
};

// rmsprop_momentum_rule: buffer = m*buffer + g / (sqrt(v) + eps);  w -= lr * buffer
struct rmsprop_momentum_rule : rmsprop_rule {
  static constexpr int states = 2;
  float momentum;
  LB_UPDATE void operator()(float &w, float g, float &v, float &buffer) const {
    buffer = momentum * buffer + direction(w, g, v);
    w = w - rate * buffer;
  }
};

// adagrad_rule: g += wd*w;  sum += g*g;  w -= lr * g / (sqrt(sum) + eps)
struct adagrad_rule {
  static constexpr int states = 1;
  float epsilon, decay;
  float rate;
  LB_UPDATE void begin(float lr, uint32_t) { rate = lr; }
  LB_UPDATE void operator()(float &w, float g, float &sum, float &) const {
    float d = g + decay * w;
    sum = sum + d * d;
    w = w - rate * d / (sqrtf(sum) + epsilon);
  }
};

// with_rule calls f with the rule of an update that check has accepted.
template <typename F>
void with_rule(const op &o, F f) {
  const attributes &a = o.attr;
  auto number = [](double x) { return static_cast<float>(x); };
  float decay = number(a.weight_decay), epsilon = number(a.epsilon);
  switch (o.kind) {
    case kind_adam: {
      adam_rule r{};
      r.beta1 = number(a.beta1), r.rest1 = number(1 - a.beta1), r.log1 = number(std::log(a.beta1));
      r.beta2 = number(a.beta2), r.rest2 = number(1 - a.beta2), r.log2 = number(std::log(a.beta2));
      r.epsilon = epsilon, r.decay = decay, r.decoupled = a.decoupled != 0;
      return f(r);
    }
    case kind_rmsprop: {
      rmsprop_momentum_rule r{};
      r.alpha = number(a.beta2), r.rest = number(1 - a.beta2), r.epsilon = epsilon, r.decay = decay;
      r.momentum = number(a.momentum);
      if (o.operands[4]) return f(r);
      return f(static_cast<rmsprop_rule>(r));
    }
    case kind_adagrad: {
      adagrad_rule r{};
      r.epsilon = epsilon, r.decay = decay;
      return f(r);
    }
  }
  if (!o.operands[2]) {
    descent_rule r{};
    r.decay = decay;
    return f(r);
  }
  sgd_rule r{};
  r.momentum = number(a.momentum), r.decay = decay, r.nesterov = a.nesterov != 0;
  f(r);
}

// updated is where the operands of an update lie.
struct updated {
  float *w, *a, *b;       // parameter and state; b is nullptr with less than two state values, a with none
  const void *g;          // f32 or bf16
  const float *rate;      // [1]
  const uint32_t *words;  // seed and step, nullptr where they are not read
};

inline updated updated_of(const op &o) {
  auto state = [&](size_t i) { return o.operands[i] ? o.mutate(i) : nullptr; };
  updated u{o.mutate(0), state(2), nullptr, o.operands[1]->data, o.in(3), nullptr};
  if (o.kind == kind_adam) {
    u.b = o.mutate(3), u.rate = o.in(4);
    u.words = reinterpret_cast<const uint32_t *>(o.operands[5]->data);
  } else if (o.kind == kind_rmsprop) {
    u.b = state(4);
  }
  return u;
}

}  // namespace lb
