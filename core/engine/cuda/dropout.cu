// y[i] = x[i] / (1 - rate) where number k of the stream is at least the rate, else 0: k is i, or the
// number of the sample. core/graph/dropout.go defines the numbers. In place: y may alias x. One
// read and one write an element, in vectors of 16 bytes. The stream is read from memory, so that
// each replay of a graph drops other elements.
#include "../native/rng.h"
#include "gpu.h"

namespace lb {
namespace {

// dropout_each computes one vector: one block of random numbers in f32, two in bf16.
template <typename T>
struct dropout_each {
  const pack<T> *x;
  pack<T> *y;
  dropping d;
  __device__ void operator()(int64_t i) const {
    constexpr int blocks = lanes<T> / 4;
    pack<T> v = x[i];
    for (int b = 0; b < blocks; b++) {
      random_block w = d.words(static_cast<uint32_t>(i) * blocks + static_cast<uint32_t>(b));
      for (int k = 0; k < 4; k++) {
        T &e = v.v[4 * b + k];
        narrow(w.word[k] >= d.bound ? widen(e) * d.scale : 0, e);
      }
    }
    y[i] = v;
  }
};

// dropout_sample computes one vector, of one sample or of several.
template <typename T>
struct dropout_sample {
  const pack<T> *x;
  pack<T> *y;
  dropping d;
  unsigned sample;  // elements
  __device__ void operator()(int64_t i) const {
    unsigned first = static_cast<unsigned>(i) * lanes<T>, k = first / sample, left = sample - first % sample;
    bool kept = d.keeps(k);
    pack<T> v = x[i];
    for (int j = 0; j < lanes<T>; j++) {
      if (left == 0) left = sample, kept = d.keeps(++k);
      left--;
      narrow(kept ? widen(v.v[j]) * d.scale : 0, v.v[j]);
    }
    y[i] = v;
  }
};

struct dropouts : gpu_kernel {
  using gpu_kernel::gpu_kernel;
  void run(const op &o) override {
    const value &x = *o.operands[0], &y = *o.results[0];
    typed(x, [&](auto number) {
      using T = decltype(number);
      if (o.attr.rows)
        each(d, packs<T>(x.elements),
             dropout_sample<T>{packed<T>(&x), packed<T>(&y), dropping_of(o),
                               static_cast<unsigned>(x.elements / x.dims[0])});
      else
        each(d, packs<T>(x.elements), dropout_each<T>{packed<T>(&x), packed<T>(&y), dropping_of(o)});
    });
  }
};

}  // namespace

std::unique_ptr<kernel> make_dropout(const op &, gpu &d) { return std::make_unique<dropouts>(d); }

}  // namespace lb
