// The backward pass of a convolution and of the normalisation that follows it (core/graph/convnorm.go): what
// its files share.
#pragma once
#include "../native/gradients.h"
#include "gpu.h"

namespace lb {

// make_norm_gradient returns the kernel that writes the gradient of the convolution's result (norm.cu), for
// an op of the operands dy, y and coefficients and the activation.
std::unique_ptr<kernel> make_norm_gradient(const op &, gpu &);
// make_mma_backward returns our own kernel of both gradients (mma_backward.cu), of a convolution for which
// our own kernels serve; nullptr where the element type or an activation does not fit.
std::unique_ptr<kernel> make_mma_backward(const op &, gpu &);

#if defined(LB_EMU) || defined(__CUDACC__)

// store_coefficients is what norm_backward_sums computes from the totals of a channel, of g and of
// g*(x-mean). Scale and shift are those with which the sums were computed.
struct store_coefficients {
  const float *mean, *variance, *gamma, *beta;
  float *dgamma, *dbeta, *to;  // to [5][c]
  int64_t c, rows;
  float epsilon;
  __device__ void operator()(int64_t j, double a, double b) const {
    double n = static_cast<double>(rows), inverse = 1 / sqrt(static_cast<double>(variance[j]) + epsilon);
    float scale, shift;
    scale_shift(mean[j], variance[j], gamma[j], beta[j], epsilon, scale, shift);
    dgamma[j] = static_cast<float>(b * inverse);
    dbeta[j] = static_cast<float>(a);
    to[coefficient_scale * c + j] = scale;
    to[coefficient_shift * c + j] = shift;
    to[coefficient_slope * c + j] = static_cast<float>(-scale * inverse * inverse * b / n);
    to[coefficient_offset * c + j] = static_cast<float>(-scale * a / n);
    to[coefficient_mean * c + j] = mean[j];
  }
};

// copy_async copies 16 bytes to shared memory; both addresses are multiples of 16. The bytes are there for
// the thread that copied them after copies_done, and for others after a barrier, too.
#ifdef LB_EMU
struct pending_copy {
  uint32_t *to;
  const void *from;
};
inline std::vector<pending_copy> pending_copies[emu::most_threads];
inline void copy_async(uint32_t *to, const void *from) {
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % 16 != 0)
    emu::stop("a copy to shared memory at an address that is no multiple of 16");
  std::memset(to, 0xff, 16);  // NaN until it is done
  pending_copies[emu::current].push_back({to, from});
}
inline void copies_done() {
  for (const pending_copy &c : pending_copies[emu::current]) std::memcpy(c.to, c.from, 16);
  pending_copies[emu::current].clear();
}
#else
__device__ inline void copy_async(uint32_t *to, const void *from) {
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(static_cast<unsigned>(__cvta_generic_to_shared(to))),
      "l"(from)
      : "memory");
}
__device__ inline void copies_done() { asm volatile("cp.async.wait_all;" ::: "memory"); }
#endif

#endif

}  // namespace lb
