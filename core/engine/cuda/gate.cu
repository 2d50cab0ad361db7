// A gate scales each channel of each sample; formulas and in-place rules are those of
// native/gate.cc. Passes: 1 read and a write; backward 2 reads and a write.
//
// Backward: a block computes a sample and 32 channels; each of its 8 rows of 32 threads sums every eighth
// position, and the rows are added in order, so the result is reproducible.
#include "gpu.h"

namespace lb {
namespace {

// gate_each is one element.
template <typename T>
struct gate_each {
  const T *x, *z;
  T *y;
  unsigned sample, c;  // elements of a sample, channels
  __device__ void operator()(unsigned i) const {
    narrow(widen(x[i]) * sigmoid(widen(z[i / sample * c + i % c])), y[i]);
  }
};

constexpr unsigned columns = 32, rows = threads_per_block / columns;

template <typename T>
struct gate_args {
  const T *dy, *x, *z;
  T *dx, *dz;
  int64_t positions, c;
  unsigned tiles;  // of channels
};

template <typename T>
__global__ void __launch_bounds__(threads_per_block) gate_backward(gate_args<T> g) {
  LB_SHARED(float, sums, threads_per_block);
  int64_t sample = blockIdx.x / g.tiles;
  int64_t c = blockIdx.x % g.tiles * columns + threadIdx.x % columns;
  float s = 0, sum = 0;
  if (c < g.c) {
    s = sigmoid(widen(g.z[sample * g.c + c]));
    for (int64_t p = threadIdx.x / columns; p < g.positions; p += rows) {
      int64_t i = (sample * g.positions + p) * g.c + c;
      float d = widen(g.dy[i]);
      sum += d * widen(g.x[i]);
      narrow(d * s, g.dx[i]);
    }
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x >= columns || c >= g.c) return;
  for (unsigned r = 1; r < rows; r++) sum += sums[r * columns + threadIdx.x];
  narrow(sum * s * (1 - s), g.dz[sample * g.c + c]);
}

struct gates : gpu_kernel {
  using gpu_kernel::gpu_kernel;
  void run(const op &o) override {
    bool backward = o.kind == kind_gate_backward;
    const value &x = *o.operands[backward ? 1 : 0];
    int64_t positions = x.dims[1] * x.dims[2], c = x.dims[3];
    typed(x, [&](auto number) {
      using T = decltype(number);
      if (!backward)
        return each(d, x.elements,
                    gate_each<T>{at<T>(&x), at<T>(o.operands[1]), at<T>(o.results[0]),
                                 static_cast<unsigned>(positions * c), static_cast<unsigned>(c)});
      gate_args<T> g{at<T>(o.operands[0]),
                     at<T>(&x),
                     at<T>(o.operands[2]),
                     at<T>(o.results[0]),
                     at<T>(o.results[1]),
                     positions,
                     c,
                     static_cast<unsigned>((c + columns - 1) / columns)};
      launch_blocks(d, dim3(static_cast<unsigned>(x.dims[0]) * g.tiles), dim3(threads_per_block),
                    gate_backward<T>, g);
    });
  }
};

}  // namespace

std::unique_ptr<kernel> make_gate(const op &, gpu &d) { return std::make_unique<gates>(d); }

}  // namespace lb
