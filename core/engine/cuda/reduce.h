// Sums over a block of threads, in a tree: the order is fixed, so the result is reproducible.
#pragma once
#include "gpu.h"

namespace lb {

// sum_block returns the sum over the threads of a block, in every thread.
__device__ inline double sum_block(double x) {
  LB_SHARED(double, shared, threads_per_block);
  __syncthreads();
  shared[threadIdx.x] = x;
  for (unsigned half = threads_per_block / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
  }
  __syncthreads();
  return shared[0];
}

// sum_parts sums n parts and writes scale * sum; launched as one block.
static __global__ void __launch_bounds__(threads_per_block)
    sum_parts(const double *part, int64_t n, double scale, float *sum) {
  double x = 0;
  for (int64_t i = threadIdx.x; i < n; i += threads_per_block) x += part[i];
  x = sum_block(x);
  if (threadIdx.x == 0) *sum = static_cast<float>(x * scale);
}

}  // namespace lb
