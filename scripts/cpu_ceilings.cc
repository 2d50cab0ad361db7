// Measures what a training step on this cpu is compared with (benchpeer -floors): how fast its threads copy
// memory, and how many fused multiply-adds they do. Prints one line of JSON.
//
//   g++ -O3 -march=native -fopenmp -o cpu_ceilings cpu_ceilings.cc && ./cpu_ceilings THREADS
//
// Both are the best of many short runs: other programs on the machine disturb some of them.
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#if defined(__AVX512F__)
constexpr int width = 16;
const char *const isa = "avx512f";
#elif defined(__AVX2__) && defined(__FMA__)
constexpr int width = 8;
const char *const isa = "avx2";
#else
constexpr int width = 4;
const char *const isa = "default";
#endif

typedef float vector __attribute__((vector_size(4 * width)));

static double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// multiply_adds does rounds of 12 independent chains: two units of latency 4 need 8, and 16 registers hold 12
// with operands.
static vector multiply_adds(long rounds, float start) {
  vector a[12], x = {}, y = {};
  for (int j = 0; j < width; j++) x[j] = 0.5f + start, y[j] = 1 + start;
  for (int k = 0; k < 12; k++) a[k] = y + static_cast<float>(k);
  for (long i = 0; i < rounds; i++) {
    for (int k = 0; k < 12; k++) a[k] = a[k] * x + y;
    asm volatile("" : "+x"(x), "+x"(y));  // the loop is not to be computed in advance
  }
  for (int k = 1; k < 12; k++) a[0] += a[k];
  return a[0];
}

// best is the least time of a number of runs of f by all threads, from the last one's start to the last one's
// end.
template <typename F>
static double best(int threads, int runs, F f) {
  double least = 1e9;
  std::vector<double> begin(threads), end(threads);
#pragma omp parallel num_threads(threads)
  for (int run = 0; run < runs; run++) {
    int t = omp_get_thread_num();
#pragma omp barrier
    begin[t] = seconds();
    f(t);
    end[t] = seconds();
#pragma omp barrier
#pragma omp single
    least = std::min(
        least, *std::max_element(end.begin(), end.end()) - *std::min_element(begin.begin(), begin.end()));
  }
  return least;
}

int main(int count, char **arguments) {
  int threads = count > 1 ? std::atoi(arguments[1]) : 0;
  if (threads < 1 || threads > 1024) {
    std::fprintf(stderr, "cpu_ceilings: one argument is needed: the number of threads, 1 to 1024\n");
    return 2;
  }
  // Each thread has two buffers of its own, which it touches first.
  const size_t most = (size_t{512} << 20) / static_cast<size_t>(threads) / 64 * 64;
  std::vector<char *> from(threads), to(threads);
  std::vector<char> failed(threads);
#pragma omp parallel num_threads(threads)
  {
    int t = omp_get_thread_num();
    from[t] = static_cast<char *>(std::aligned_alloc(64, most));
    to[t] = static_cast<char *>(std::aligned_alloc(64, most));
    failed[t] = !from[t] || !to[t];
    if (!failed[t]) std::memset(from[t], 1, most), std::memset(to[t], 2, most);
  }
  if (std::count(failed.begin(), failed.end(), 0) < threads) {
    std::fprintf(stderr, "cpu_ceilings: no memory for two times 512 MiB\n");
    return 1;
  }
  // Bytes that a copy reads and writes, all threads together: from what the caches of a core hold to what
  // none does.
  std::printf("{\"threads\": %d, \"isa\": \"%s\", \"copies\": [", threads, isa);
  for (size_t bytes = size_t{1} << 18; bytes <= size_t{1} << 30; bytes *= 4) {
    const size_t part = bytes / 2 / static_cast<size_t>(threads) / 64 * 64;
    const size_t times = std::max<size_t>(1, (size_t{1} << 26) / bytes);
    double took = best(threads, 20, [&](int t) {
      for (size_t i = 0; i < times; i++) std::memcpy(to[t], from[t], part);
    });
    std::printf("%s{\"bytes\": %zu, \"bytes_per_second\": %.4g}", bytes > size_t{1} << 18 ? ", " : "", bytes,
                2.0 * static_cast<double>(part * times) * threads / took);
  }
  const long rounds = 2'000'000;
  std::vector<float> sink(threads);
  double products =
      best(threads, 40, [&](int t) { sink[t] = multiply_adds(rounds, 1e-9f * static_cast<float>(t))[0]; });
  std::printf("], \"flops_per_second\": %.4g}\n", 2.0 * 12 * width * rounds * threads / products);
  return 0;
}
