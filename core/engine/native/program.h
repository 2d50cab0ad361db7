// The program as kernels see it: values with a place in the arena, and ops with
// a kernel chosen at prepare. Only kernels and the executor include this.
#pragma once
#include <omp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend.h"

// Own kernels are compiled for each of these, and the loader picks: so a binary
// runs anywhere and is fast where it can be.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define LB_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define LB_CLONES
#endif

namespace lb {

// failure is the only exception of this backend's own.
struct failure {
  int32_t code;
  std::string text;
  uint64_t need_bytes = 0, have_bytes = 0;  // of LB_OUT_OF_MEMORY
};
[[noreturn]] void fail(int32_t code, const char *format, ...) __attribute__((format(printf, 2, 3)));

// The kinds, numbered as in core/graph/kind.go.
enum kind : int32_t {
  kind_none,
  kind_conv,
  kind_conv_backward_data,
  kind_conv_backward_weights,
  kind_norm_stats,
  kind_norm_apply,
  kind_norm_backward,
  kind_relu,
  kind_relu_backward,
  kind_add,
  kind_detach,
  kind_max_pool,
  kind_max_pool_backward,
  kind_average_pool,
  kind_average_pool_backward,
  kind_adaptive_average_pool,
  kind_adaptive_average_pool_backward,
  kind_linear,
  kind_linear_backward_data,
  kind_linear_backward_weights,
  kind_cross_entropy,
  kind_cross_entropy_backward,
  kind_normalize_image,
  kind_sgd,
  kind_upsample,
  kind_upsample_backward,
  kind_binary_cross_entropy,
  kind_binary_cross_entropy_backward,
  kind_deviation,
  kind_deviation_backward,
  kind_similarity,
  kind_similarity_backward,
  kind_contrast,
  kind_contrast_backward,
  kind_average,
  kind_count
};

// value is a tensor: dims are padded with ones to four.
struct value {
  int32_t type = 0, rank = 0;  // 0 f32, 1 s32, 2 u8
  int64_t dims[4] = {1, 1, 1, 1};
  int64_t elements = 1, bytes = 0;
  uint8_t *data = nullptr;
  int64_t channels() const { return rank > 0 ? dims[rank - 1] : 1; }
};

// attributes are graph.Attributes, field by field.
struct attributes {
  int64_t kernel[2], stride[2], padding[2], output[2], input[4], groups;
  int64_t relu, bias, count_padding, nesterov, classes;
  double epsilon, momentum, weight_decay, scale, temperature, mean[4], deviation[4];
};

struct op;
struct convolutions;  // the cache of oneDNN primitives, conv.cc

struct device {
  int threads = 1;
  uint64_t workspace_limit = 0;  // bytes of scratch memory that a kernel may need; 0: any
  std::shared_ptr<convolutions> cache;
};

// kernel is what prepare chose for an op.
struct kernel {
  uint64_t scratch = 0;        // bytes
  std::string name = "plain";  // of the algorithm, where there is a choice
  virtual ~kernel() = default;
  virtual void bind(device &) {}  // heavy work that needs no memory plan: code generation
  virtual void run(const op &) = 0;
};

struct op {
  int32_t kind = 0;
  std::vector<value *> operands, results;  // an absent operand is nullptr
  attributes attr{};
  std::unique_ptr<kernel> work;
  uint8_t *scratch = nullptr;
  double seconds = 0;
  const float *in(size_t i) const {
    return operands[i] ? reinterpret_cast<const float *>(operands[i]->data) : nullptr;
  }
  float *mutate(size_t i) const { return reinterpret_cast<float *>(operands[i]->data); }
  float *out(size_t i) const { return reinterpret_cast<float *>(results[i]->data); }
};

// read_program takes a blob apart; at is the index of the op under way, -1 before.
void read_program(const uint8_t *blob, uint64_t bytes, std::vector<value> &, std::vector<op> &, int32_t &at);

// check refuses an op whose operands, results or attributes do not fit its kind,
// and pads its operands with absent ones to the number that the kind has.
void check(op &);

// The families. Each returns the kernel of an op of one of its kinds.
std::unique_ptr<kernel> make_conv(const op &, device &);
// make_winograd returns nothing where its method does not apply or does not pay.
std::unique_ptr<kernel> make_winograd(const op &, device &, const value &x, const value &w, const value &y,
                                      bool bias);
std::unique_ptr<kernel> make_linear(const op &, device &);
std::unique_ptr<kernel> make_norm(const op &, device &);
std::unique_ptr<kernel> make_pool(const op &, device &);
std::unique_ptr<kernel> make_elementwise(const op &, device &);
std::unique_ptr<kernel> make_loss(const op &, device &);
std::unique_ptr<kernel> make_update(const op &, device &);
std::unique_ptr<kernel> make_upsample(const op &, device &);
std::unique_ptr<kernel> make_similarity(const op &, device &);
void sum_columns(const float *x, int64_t rows, int64_t columns, float *sum, int threads);
std::string onednn_version();
std::string onednn_isa();

// function wraps a kernel that needs no state.
struct function : kernel {
  void (*call)(const op &, int threads);
  int threads;
  function(void (*f)(const op &, int), int t) : call(f), threads(t) {}
  void run(const op &o) override { call(o, threads); }
};

// Below this many elements a parallel region brings some microseconds at best, and
// costs a time slice where other programs hold the cores.
constexpr int64_t serial_limit = 65536;

// exponential is exp(x) for x in [-87, 88], and that of the nearer end elsewhere, to two
// units in the last place: a polynomial (Cephes) that loops can be vectorised over.
static inline __attribute__((always_inline)) float exponential(float x) {
  x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  constexpr float whole = 12582912.0f;  // adding it rounds to whole numbers
  float n = x * 1.44269504f + whole - whole;
  float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float y = 1.9875691500e-4f;
  for (float a : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
    y = y * r + a;
  return (y * r * r + r + 1) * __builtin_bit_cast(float, (static_cast<int32_t>(n) + 127) << 23);
}

// parallel calls f(begin, end, thread) on parts of [0, n) that are whole
// multiples of grain, the same parts for the same number of threads.
template <typename F>
void parallel(int64_t n, int64_t grain, int threads, int64_t elements, F f) {
  int64_t blocks = (n + grain - 1) / grain;
  if (elements < serial_limit || threads == 1 || blocks < 2) {
    f(int64_t{0}, n, 0);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    int64_t t = omp_get_thread_num(), all = omp_get_num_threads();
    int64_t from = blocks * t / all * grain, to = blocks * (t + 1) / all * grain;
    if (to > n) to = n;
    if (from < to) f(from, to, static_cast<int>(t));
  }
}

}  // namespace lb
