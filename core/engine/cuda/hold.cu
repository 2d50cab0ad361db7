// A kernel that keeps a stream busy.
#include "streams.h"

namespace lb {
namespace {

__global__ void spin(uint64_t nanoseconds) {
#ifdef __CUDA_ARCH__
  uint64_t begin, now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
  do {
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  } while (now - begin < nanoseconds);
#else
  (void)nanoseconds;  // the emulator has no queue to fill
#endif
}

}  // namespace

void hold(uint64_t nanoseconds, gpu &d) { launch(d, dim3(1), dim3(1), spin, nanoseconds); }

}  // namespace lb
