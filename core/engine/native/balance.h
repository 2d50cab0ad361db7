// Work that is divided among threads while they run: on a machine whose cores are of different speed, or also
// run other programs, a thread that is done takes parts of the others' work. With fixed parts of equal size
// the threads of a step of ResNet-32 waited for each other 8 to 11 % of the time on a shared EPYC (Zen 4).
#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

#include "cpu.h"

namespace lb {

// unclaimed is the range of blocks [first, end) that is left of a thread's part. Both are in one word, which
// is exchanged as a whole.
class alignas(64) unclaimed {
  std::atomic<uint64_t> word_{0};

 public:
  void set(int64_t first, int64_t end) {
    word_.store(static_cast<uint64_t>(first) << 32 | static_cast<uint64_t>(end), std::memory_order_relaxed);
  }
  // claim takes a quarter of the range, at least one block: the owner from the front, others from the back.
  // So a thread computes a few long ranges first, and what is left at the end is divided finely.
  bool claim(bool owner, int64_t *from, int64_t *to) {
    uint64_t old = word_.load(std::memory_order_relaxed);
    for (;;) {
      int64_t first = static_cast<int64_t>(old >> 32), end = static_cast<int64_t>(old & 0xffffffff);
      if (first >= end) return false;
      int64_t count = (end - first + 3) / 4;
      *from = owner ? first : end - count, *to = *from + count;
      if (owner)
        first = *to;
      else
        end = *from;
      if (word_.compare_exchange_weak(old, static_cast<uint64_t>(first) << 32 | static_cast<uint64_t>(end),
                                      std::memory_order_relaxed))
        return true;
    }
  }
};

// most_helped is how many other threads a thread takes parts of: looking for work takes a transfer between
// cores for each.
constexpr int most_helped = 8;

// balanced calls f(begin, end, thread) for parts of [0, n) that are whole multiples of grain, until all of it
// is done. Which parts there are, and which thread computes one, differs from call to call: f must give the
// same results for any division, so it must not sum over its part. Fewer elements than one_thread are one
// part.
template <typename F>
void balanced(int64_t n, int64_t grain, int threads, int64_t elements, F f,
              int64_t one_thread = serial_limit) {
  constexpr int64_t most_blocks = INT64_C(1) << 31;
  grain *= 1 + n / grain / most_blocks;
  int64_t blocks = (n + grain - 1) / grain;
  if (elements < one_thread || threads == 1 || blocks < 2) {
    f(int64_t{0}, n, 0);
    return;
  }
  std::vector<unclaimed> parts(static_cast<size_t>(threads));
  for (int64_t t = 0; t < threads; t++)
    parts[static_cast<size_t>(t)].set(blocks * t / threads, blocks * (t + 1) / threads);
#pragma omp parallel num_threads(threads)
  {
    const int self = omp_get_thread_num();
    int64_t from, to;
    for (int k = 0; k < threads && k <= most_helped; k++)
      while (parts[static_cast<size_t>((self + k) % threads)].claim(k == 0, &from, &to))
        f(from * grain, to * grain < n ? to * grain : n, self);
  }
}

// balanced_light is balanced for n elements of an op that is bound by memory, in parts that are worth the
// exchange.
template <typename F>
void balanced_light(int64_t n, int64_t grain, int threads, F f) {
  constexpr int64_t worth = 4096;
  balanced(n, grain * ((worth + grain - 1) / grain), threads, n, f, light_limit);
}

}  // namespace lb
