// How kernels over channels share a matrix of rows x columns, columns innermost, among
// threads: a thread keeps to some neighbouring columns, so that what belongs to a channel
// stays in its registers, and walks down rows.
//
// Sums are in two stages. A block sums its rows: each thread in f32, in order, then the
// threads of a column in a tree. A second kernel adds the blocks' sums in f64. Neither the
// number of blocks nor the order depends on the device: the same bits on every GPU.
#pragma once
#include "gpu.h"

namespace lb {

struct tile {
  int64_t rows, c;
  int width;           // columns of a thread: 1, or a pack
  int columns, lines;  // threads of a block, across and down
  int64_t step;        // rows of a block
  unsigned across, down;
  dim3 grid() const { return dim3(down, across); }
};

// make_tile lets a thread have at least `deep` rows, where there are as many, in at most so
// many blocks.
inline tile make_tile(int64_t rows, int64_t c, int pack_lanes, int64_t deep, int64_t most_blocks) {
  tile t;
  t.rows = rows, t.c = c;
  t.width = c % pack_lanes == 0 ? pack_lanes : 1;
  int64_t groups = c / t.width;
  t.columns = static_cast<int>(groups < 32 ? groups : 32);
  t.lines = static_cast<int>(threads_per_block) / t.columns;
  t.across = static_cast<unsigned>((groups + t.columns - 1) / t.columns);
  int64_t most = most_blocks / t.across > 0 ? most_blocks / t.across : 1;
  int64_t blocks = (rows + t.lines * deep - 1) / (t.lines * deep);
  blocks = blocks < 1 ? 1 : blocks > most ? most : blocks;
  t.step = (rows + blocks - 1) / blocks;
  t.down = static_cast<unsigned>((rows + t.step - 1) / t.step);
  return t;
}

// most_partial bounds the blocks whose sums are kept: as many as run at once on a large GPU, by the registers
// that their kernels take. So they begin and end together, and none is left to run alone. partial_bytes is
// what two sums of every channel in every block take.
constexpr int64_t most_partial = 132 * 3;
inline uint64_t partial_bytes(const tile &t) { return static_cast<uint64_t>(t.down) * 2 * 4 * t.c; }

#if defined(LB_EMU) || defined(__CUDACC__)

// place is where a thread of a tile stands.
struct place {
  int64_t column, row, end;  // first column; rows row, row+step, ... below end
  int64_t step;
  int line;
  bool active;
};

__device__ inline place place_of(const tile &t) {
  int across = static_cast<int>(threadIdx.x) % t.columns;
  place p;
  p.line = static_cast<int>(threadIdx.x) / t.columns;
  p.column = (static_cast<int64_t>(blockIdx.y) * t.columns + across) * t.width;
  p.active = p.line < t.lines && p.column < t.c;
  int64_t begin = static_cast<int64_t>(blockIdx.x) * t.step;
  p.row = begin + p.line;
  p.end = p.active ? (begin + t.step < t.rows ? begin + t.step : t.rows) : 0;
  p.step = t.lines;
  return p;
}

// piece is W neighbouring elements, moved at once.
template <typename T, int W>
struct alignas(W * sizeof(T)) piece {
  T v[W];
};
template <typename T, int W>
__device__ inline piece<T, W> load(const T *from) {
  return *reinterpret_cast<const piece<T, W> *>(from);
}
template <typename T, int W>
__device__ inline void store(T *to, const piece<T, W> &x) {
  *reinterpret_cast<piece<T, W> *>(to) = x;
}

// sum_lines adds a and b over the lines of a block and writes them to partial[block][2][c].
template <int W>
__device__ inline void sum_lines(const tile &t, const place &p, float *a, float *b, float *partial) {
  __shared__ float shared[2 * 8 * threads_per_block];
  float *own = shared + threadIdx.x * 2 * W;
  for (int k = 0; k < W; k++) own[k] = a[k], own[W + k] = b[k];
  int half = 1;
  while (half < t.lines) half *= 2;
  for (half /= 2; half > 0; half /= 2) {
    __syncthreads();
    if (p.line < half && p.line + half < t.lines)
      for (int k = 0; k < 2 * W; k++) own[k] += own[half * t.columns * 2 * W + k];
  }
  if (p.line != 0 || !p.active) return;
  float *to = partial + static_cast<int64_t>(blockIdx.x) * 2 * t.c + p.column;
  for (int k = 0; k < W; k++) to[k] = own[k], to[t.c + k] = own[W + k];
}

constexpr unsigned total_threads = 128;

// total returns, in thread 0 of a block of total_threads, the sums over blocks of a channel.
__device__ inline void total(const tile &t, const float *partial, int64_t channel, double &a, double &b) {
  __shared__ double shared[2 * total_threads];
  a = b = 0;
  for (int64_t i = threadIdx.x; i < t.down; i += total_threads) {
    a += partial[i * 2 * t.c + channel];
    b += partial[i * 2 * t.c + t.c + channel];
  }
  shared[2 * threadIdx.x] = a, shared[2 * threadIdx.x + 1] = b;
  for (unsigned half = total_threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      shared[2 * threadIdx.x] += shared[2 * (threadIdx.x + half)];
      shared[2 * threadIdx.x + 1] += shared[2 * (threadIdx.x + half) + 1];
    }
  }
  if (threadIdx.x == 0) a = shared[0], b = shared[1];  // which it wrote last
}

#endif

}  // namespace lb
