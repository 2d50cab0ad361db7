// How kernels divide a matrix [rows][c], for example activations [N H W C] with N*H*W rows, among
// threads, and how they sum each of its columns (channels).
//
//            c columns (channels), innermost in memory
//          +-----------+-----------+-----------+
//          |           |           |           |   A grid has grid_columns x grid_rows blocks.
//  block_  |  block    |  block    |  block    |   A block covers block_rows rows and
//  rows    |  (0, 0)   |  (0, 1)   |  (0, 2)   |   thread_columns * width columns, here 2 * 4.
//          +-----------+-----------+-----------+
//          |  (1, 0)   |  (1, 1)   |  (1, 2)   |   Its threads stand in thread_rows rows of
//          +-----------+-----------+-----------+   thread_columns threads, here 3 x 2:
//
//  block (0, 0):   thread column 0   thread column 1
//    row 0         t0 t0 t0 t0       t1 t1 t1 t1     thread row 0
//    row 1         t2 t2 t2 t2       t3 t3 t3 t3     thread row 1
//    row 2         t4 t4 t4 t4       t5 t5 t5 t5     thread row 2
//    row 3         t0 t0 t0 t0       t1 t1 t1 t1     thread row 0 again: row += stride
//    ...
//
// Glossary:
//   tile       the division above: the sizes of grid, block and vectors, made on the host by make_tile
//   width      neighbouring columns of a thread: 1, or 16 bytes where they divide c
//   vec        width elements in registers, loaded and stored with one instruction
//   slice      the elements of one thread: its first column, and every stride-th row from row to end.
//              Its columns never change, so that what belongs to a channel stays in registers
//   active     false for threads beyond the last column, or left over in the block. They own no element and
//              take part in barriers only
//   row_group  the next `unroll` rows of a slice (norm.cu), loaded before the first is used
//   partial    sums of one block, [grid_rows][2][c] f32 in the workspace: two sums for each column
//
// Sums have two stages. First stage, over the whole matrix: each thread adds its rows in f32, in order, then
// reduce_block adds the threads of a column in a tree and writes them to partial. Second stage: the blocks'
// sums are added in f64, in a fixed order, by a kernel of its own with a block of reduce_threads threads for
// each channel (launch_totals). The last block to finish could do it without that kernel (total_block, as own
// convolutions do); on an H100 steps were slower with that (docs/performance.md). Neither the number of
// blocks nor the order of summation depends on the device: every GPU computes the same bits.
#pragma once
#include "gpu.h"

namespace lb {

struct tile {
  int64_t rows, c;
  int width;                         // columns of a thread: 1, or a pack
  int thread_columns, thread_rows;   // threads of a block
  int64_t block_rows;                // rows of the matrix in a block
  unsigned grid_columns, grid_rows;  // blocks
  dim3 grid() const { return dim3(grid_rows, grid_columns); }
};

// make_tile divides a matrix so that a thread has at least min_rows rows, unless the matrix has fewer, in
// at most max_blocks blocks.
inline tile make_tile(int64_t rows, int64_t c, int pack_lanes, int64_t min_rows, int64_t max_blocks) {
  tile t;
  t.rows = rows, t.c = c;
  t.width = c % pack_lanes == 0 ? pack_lanes : 1;
  int64_t groups = c / t.width;
  t.thread_columns = static_cast<int>(groups < 32 ? groups : 32);
  t.thread_rows = static_cast<int>(threads_per_block) / t.thread_columns;
  t.grid_columns = static_cast<unsigned>((groups + t.thread_columns - 1) / t.thread_columns);
  int64_t most = max_blocks / t.grid_columns > 0 ? max_blocks / t.grid_columns : 1;
  int64_t blocks = (rows + t.thread_rows * min_rows - 1) / (t.thread_rows * min_rows);
  blocks = blocks < 1 ? 1 : blocks > most ? most : blocks;
  t.block_rows = (rows + blocks - 1) / blocks;
  t.grid_rows = static_cast<unsigned>((rows + t.block_rows - 1) / t.block_rows);
  return t;
}

// max_partial_blocks bounds the blocks of a first stage. It is the number that a large GPU runs
// concurrently (132 multiprocessors, 3 blocks each, limited by registers), so that there is one full wave and
// no tail. partial_bytes is the size of partial.
constexpr int64_t max_partial_blocks = 132 * 3;
inline uint64_t partial_bytes(const tile &t) { return static_cast<uint64_t>(t.grid_rows) * 2 * 4 * t.c; }

#if defined(LB_EMU) || defined(__CUDACC__)

// slice is the part of the matrix that a thread works on.
struct slice {
  int64_t column, row, end;  // first column; rows row, row+stride, ... below end
  int64_t stride;
  int thread_row;
  bool active;
};

__device__ inline slice slice_of(const tile &t) {
  int across = static_cast<int>(threadIdx.x) % t.thread_columns;
  slice p;
  p.thread_row = static_cast<int>(threadIdx.x) / t.thread_columns;
  p.column = (static_cast<int64_t>(blockIdx.y) * t.thread_columns + across) * t.width;
  p.active = p.thread_row < t.thread_rows && p.column < t.c;
  int64_t begin = static_cast<int64_t>(blockIdx.x) * t.block_rows;
  p.row = begin + p.thread_row;
  p.end = p.active ? (begin + t.block_rows < t.rows ? begin + t.block_rows : t.rows) : 0;
  p.stride = t.thread_rows;
  return p;
}

// vec is W neighbouring elements, loaded and stored with one instruction.
template <typename T, int W>
struct alignas(W * sizeof(T)) vec {
  T v[W];
};
template <typename T, int W>
__device__ inline vec<T, W> load(const T *from) {
  return *reinterpret_cast<const vec<T, W> *>(from);
}
template <typename T, int W>
__device__ inline void store(T *to, const vec<T, W> &x) {
  *reinterpret_cast<vec<T, W> *>(to) = x;
}

// reduce_slot is the place in shared memory of sum k of a thread. Neighbouring threads have neighbouring
// places, so that the threads of a warp access 32 banks (testdata/banks.cc counts).
__device__ inline unsigned reduce_slot(int k, unsigned thread) {
  return static_cast<unsigned>(k) * threads_per_block + thread;
}

// reduce_block adds a and b over the thread rows of a block and writes the sums to partial[block][2][c].
template <int W>
__device__ inline void reduce_block(const tile &t, const slice &p, float *a, float *b, float *partial) {
  LB_SHARED(float, shared, 2 * 8 * threads_per_block);
  LB_UNROLL
  for (int k = 0; k < W; k++)
    shared[reduce_slot(k, threadIdx.x)] = a[k], shared[reduce_slot(W + k, threadIdx.x)] = b[k];
  int half = 1;
  while (half < t.thread_rows) half *= 2;
  for (half /= 2; half > 0; half /= 2) {
    __syncthreads();
    if (p.thread_row < half && p.thread_row + half < t.thread_rows) {
      LB_UNROLL
      for (int k = 0; k < 2 * W; k++)
        shared[reduce_slot(k, threadIdx.x)] +=
            shared[reduce_slot(k, threadIdx.x + static_cast<unsigned>(half * t.thread_columns))];
    }
  }
  if (p.thread_row != 0 || !p.active) return;
  float *to = partial + static_cast<int64_t>(blockIdx.x) * 2 * t.c + p.column;
  LB_UNROLL
  for (int k = 0; k < W; k++)
    to[k] = shared[reduce_slot(k, threadIdx.x)], to[t.c + k] = shared[reduce_slot(W + k, threadIdx.x)];
}

// last_block tells whether all other blocks of the grid have stored their partial sums, and makes these
// visible to the calling block. All threads of a block call it after the block's sums are stored. The counter
// is 0 before the kernel and after it.
//
// The first warp alone stores partial sums: __syncwarp orders them before the fence of its first thread, and
// that thread's second fence precedes the loads of the others by the barrier.
__device__ inline bool last_block(unsigned *counter) {
  __syncwarp();
  bool last = false;
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicInc(counter, gridDim.x - 1) == gridDim.x - 1;  // the last one sets it to 0
    __threadfence();
  }
  return __syncthreads_or(last) != 0;
}

// total_block adds the partial sums of all blocks, in the last of them, and calls f with each of the c
// channels from `first` on and its two totals. A thread adds up to four neighbouring channels of every
// rows-th block, by add(block, channel, a, b); a tree adds the threads.
template <int channels, typename A, typename F>
__device__ inline void total_block(int64_t first, int groups, int64_t c, int64_t blocks, const A &add,
                                   const F &f) {
  LB_SHARED(double, shared, 2 * channels * threads_per_block);
  int rows = 1, row = static_cast<int>(threadIdx.x) / groups;
  while (rows * 2 * groups <= static_cast<int>(threads_per_block)) rows *= 2;
  int64_t column = first + static_cast<int>(threadIdx.x) % groups * channels;
  bool active = row < rows && column < c;
  double a[channels], b[channels];
  for (int k = 0; k < channels; k++) a[k] = b[k] = 0;
  LB_UNROLL_4
  for (int64_t i = row; i < (active ? blocks : 0); i += rows) add(i, column, a, b);
  LB_UNROLL
  for (int k = 0; k < channels; k++)
    shared[reduce_slot(k, threadIdx.x)] = a[k], shared[reduce_slot(channels + k, threadIdx.x)] = b[k];
  for (int half = rows / 2; half > 0; half /= 2) {
    __syncthreads();
    if (!active || row >= half) continue;
    LB_UNROLL
    for (int k = 0; k < 2 * channels; k++)
      shared[reduce_slot(k, threadIdx.x)] +=
          shared[reduce_slot(k, threadIdx.x + static_cast<unsigned>(half * groups))];
  }
  if (!active || row > 0) return;
  LB_UNROLL
  for (int k = 0; k < channels; k++)
    f(column + k, shared[reduce_slot(k, threadIdx.x)], shared[reduce_slot(channels + k, threadIdx.x)]);
}

constexpr unsigned reduce_threads = 128;

// reduce_grid returns, in thread 0 of a block of reduce_threads, the sums of a channel over all blocks.
__device__ inline void reduce_grid(const tile &t, const float *partial, int64_t channel, double &a,
                                   double &b) {
  LB_SHARED(double, shared, 2 * reduce_threads);
  a = b = 0;
  for (int64_t i = threadIdx.x; i < t.grid_rows; i += reduce_threads) {
    a += partial[i * 2 * t.c + channel];
    b += partial[i * 2 * t.c + t.c + channel];
  }
  shared[threadIdx.x] = a, shared[reduce_threads + threadIdx.x] = b;
  for (unsigned half = reduce_threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      a += shared[threadIdx.x + half], b += shared[reduce_threads + threadIdx.x + half];
      shared[threadIdx.x] = a, shared[reduce_threads + threadIdx.x] = b;
    }
  }
}

// statistics is what norm_stats does with the totals of a channel, of differences from x and of their
// squares.
template <typename T>
struct statistics {
  const T *x;  // [c]
  float *mean, *variance, *running_mean, *running_variance;
  double rows, momentum;
  __device__ void operator()(int64_t j, double a, double b) const {
    double d = a / rows, v = b / rows - d * d, m = widen(x[j]) + d;
    if (v < 0) v = 0;
    mean[j] = static_cast<float>(m);
    variance[j] = static_cast<float>(v);
    if (!running_mean) return;
    running_mean[j] = static_cast<float>((1 - momentum) * running_mean[j] + momentum * m);
    running_variance[j] =
        static_cast<float>((1 - momentum) * running_variance[j] + momentum * v * rows / (rows - 1));
  }
};

// first_sum is the functor that stores the first total.
struct first_sum {
  float *sum;
  __device__ void operator()(int64_t j, double a, double) const { sum[j] = static_cast<float>(a); }
};

// total_channel has one block for each channel.
template <typename F>
__global__ void __launch_bounds__(reduce_threads) total_channel(tile t, const float *partial, F f) {
  double a, b;
  reduce_grid(t, partial, blockIdx.x, a, b);
  if (threadIdx.x == 0) f(blockIdx.x, a, b);
}

// launch_totals is the second stage: it calls f with each channel and its two totals.
template <typename F>
void launch_totals(gpu &d, const tile &t, const float *partial, const F &f) {
  launch_blocks(d, dim3(static_cast<unsigned>(t.c)), dim3(reduce_threads), total_channel<F>, t, partial, f);
}

#endif

}  // namespace lb
