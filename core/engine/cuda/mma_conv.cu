// Convolutions of 3x3 with stride 1 and padding 1 between 16 or 32 channels: most of what a ResNet
// for CIFAR computes, and narrower than the tiles of a library. They are bound by bandwidth, so a block
// reads a tile of the image once, with its border, and keeps all weights.
//
// Operands are bf16, or f32 rounded to tf32; sums are f32.
//
// Forward and backward data are one kernel: for backward data the weights are rotated by 180 degrees and
// their channels transposed. The number of blocks depends only on the shapes, so that every GPU computes the
// same bits. The gradient with respect to the weights is in mma_weights.cu.
//
// Forward, and the gradient with respect to the weights, may normalise x (mma_conv.h).
//
// Forward may also compute the statistics of the result, of the elements as they are stored. A thread adds,
// for each of its channels, differences from the first element of the block, and their squares, so that large
// means cancel nothing. A block stores mean, sum of squared differences from the mean, and number of
// elements; the last block combines them in f64 (Chan, Golub and LeVeque, 1983).
#include "mma_conv.h"

namespace lb {
namespace {

template <typename T>
struct conv_args {
  image g;
  const T *x, *w;  // w [K 3 3 C], or [C 3 3 K] of the convolution whose data's gradient this is
  T *y;
  int backward;
  prologue norm;   // of x
  float *partial;  // for statistics: [block][3][K]
  unsigned *counter;
  statistics<float> totals;
};

// What a convolution does besides storing its result.
enum class extra { none, statistics };

// Floats in shared memory for statistics: two sums for each channel of each thread, then the K differences'
// origins. Threads have neighbouring places; the rows are four words longer, so that the sums of a block are
// read from different banks, too.
constexpr int sums_pitch = threads + 4;
template <int K>
constexpr int statistics_words = K / 2 * sums_pitch + K;

template <typename T, int C, int K>
struct conv_shape {
  static constexpr int words = C * static_cast<int>(sizeof(T)) / 4;  // of an element
  static constexpr int chunk =
      words < 16 ? words : 16;             // words of an element that are in shared memory at a time
  static constexpr int pitch = chunk + 4;  // avoids bank conflicts: 8 rows of 4 words are in different banks
  static constexpr int steps = words / 8, blocks = K / 8;
  static constexpr int weights = taps * steps * blocks * 64;
};

template <typename T, int C, int K, int TW, input I, extra E>
constexpr size_t conv_shared() {
  using S = conv_shape<T, C, K>;
  return 4 * (S::weights + (pixels / TW + 2) * (TW + 2) * S::pitch + 4 + constant_words<C, I> +
              (E == extra::statistics ? statistics_words<K> : 0));
}

// word_of makes a word of one number, or of two neighbours.
__device__ inline uint32_t word_of(const float (&v)[1]) { return to_tf32(v[0]); }
__device__ inline uint32_t word_of(const bf16 (&v)[2]) {
  return static_cast<uint32_t>(v[0].bits) | static_cast<uint32_t>(v[1].bits) << 16;
}

// load_weights permutes the weights into the order in which lanes hold them. Column n of block j is
// result channel n/2*2*blocks + 2*j + n%2: a lane's channels are then neighbours. A thread has nine loads
// in flight, all of its weights for 16 by 16 channels: every block waits for them before its first tile.
template <typename T, int C, int K>
__device__ inline void load_weights(const conv_args<T> &a, uint32_t *to) {
  using S = conv_shape<T, C, K>;
  constexpr int per_word = 4 / static_cast<int>(sizeof(T)), together = 9;
  // [k][tap][c], or rotated and with the channels transposed [c][tap][k].
  int by_c = a.backward ? taps * K : 1, by_tap = a.backward ? K : C, by_k = a.backward ? 1 : taps * C;
  LB_NO_UNROLL
  for (int from = static_cast<int>(threadIdx.x); from < S::weights; from += together * threads) {
    T v[together][per_word];
    LB_UNROLL
    for (int u = 0; u < together; u++) {
      int i = from + u * threads;
      if (i >= S::weights) i = from;  // a repeated load, for a thread past the end
      int lane = i / 2 % 32, j = i / 64 % S::blocks, step = i / 64 / S::blocks % S::steps,
          tap = i / 64 / S::blocks / S::steps;
      int n = lane / 4, k = n / 2 * 2 * S::blocks + 2 * j + n % 2;
      int c = (step * 8 + lane % 4 + i % 2 * 4) * per_word;
      const T *w = a.w + c * by_c + (a.backward ? taps - 1 - tap : tap) * by_tap + k * by_k;
      for (int e = 0; e < per_word; e++) v[u][e] = w[e * by_c];
    }
    LB_UNROLL
    for (int u = 0; u < together; u++)
      if (from + u * threads < S::weights) to[from + u * threads] = word_of(v[u]);
  }
}

// stored is a result as it is stored.
template <typename T>
__device__ inline float stored(float x) {
  T to;
  narrow(x, to);
  return widen(to);
}

// tile_quads is the number of 16-byte pieces of a tile that a thread reads.
template <int TW, int chunk>
constexpr int tile_quads = ((pixels / TW + 2) * (TW + 2) * chunk / 4 + threads - 1) / threads;

// read_tile reads words [first, first+chunk) of the tile's elements, and of the border, into
// registers; write_tile writes them to shared memory.
template <typename T, int C, int TW, int chunk, bool recompute>
__device__ inline void read_tile(const image &g, const T *x, int row, int column, int first,
                                 quad (&v)[tile_quads<TW, chunk>]) {
  constexpr int words = C * static_cast<int>(sizeof(T)) / 4, across = TW + 2, parts = chunk / 4,
                all = (pixels / TW + 2) * across * parts;
  int me = thread_index<recompute>();
  LB_UNROLL
  for (int k = 0; k < tile_quads<TW, chunk>; k++) {
    int i = me + k * threads, p = i / parts;
    int r = row + p / across - 1, c = column + p % across - 1;
    v[k] = quad{};
    if (i < all && r >= 0 && r < g.rows && c >= 0 && c < g.w)
      v[k] = *reinterpret_cast<const quad *>(reinterpret_cast<const uint32_t *>(x) +
                                             (static_cast<int64_t>(r) * g.w + c) * words + first +
                                             i % parts * 4);
  }
}

// inside_of has a bit for each piece of a thread that is inside of the tensor.
template <int TW, int chunk>
__device__ inline unsigned inside_of(const image &g, int row, int column) {
  constexpr int across = TW + 2, parts = chunk / 4;
  unsigned inside = 0;
  int me = thread_index<true>();
  LB_UNROLL
  for (int k = 0; k < tile_quads<TW, chunk>; k++) {
    int p = (me + k * threads) / parts;
    int r = row + p / across - 1, c = column + p % across - 1;
    if (r >= 0 && r < g.rows && c >= 0 && c < g.w) inside |= 1u << k;
  }
  return inside;
}

template <typename T, int TW, int chunk, int pitch>
__device__ inline void write_tile(const quad (&v)[tile_quads<TW, chunk>], uint32_t *to) {
  constexpr int parts = chunk / 4, all = (pixels / TW + 2) * (TW + 2) * parts;
  LB_UNROLL
  for (int k = 0; k < tile_quads<TW, chunk>; k++) {
    int i = static_cast<int>(threadIdx.x) + k * threads;
    if (i < all) *reinterpret_cast<quad *>(to + i / parts * pitch + i % parts * 4) = rounded(v[k], T{});
  }
}

// resident is the number of blocks of a multiprocessor. The grid has no more blocks than a large GPU runs
// concurrently: a second wave would start when the first is done, and leave most multiprocessors idle.
template <int C, int K>
constexpr int resident = C + K == 32 ? 3 : 2;

// elements_of counts the elements of the image in the tiles of a block.
template <int TW>
__device__ inline int elements_of(const image &g) {
  constexpr int TH = pixels / TW;
  int n = 0;
  for (int at = static_cast<int>(blockIdx.x); at < g.down * g.across; at += static_cast<int>(gridDim.x)) {
    int rows = g.rows - at / g.across * TH, columns = g.w - at % g.across * TW;
    n += (rows < TH ? rows : TH) * (columns < TW ? columns : TW);
  }
  return n;
}

// store_statistics combines the sums of a block's threads and, in the last block, those of all blocks. sums
// and origin are in shared memory.
template <typename T, int K, int TW>
__device__ inline void store_statistics(const conv_args<T> &a, const float *sums, const float *origin) {
  constexpr int channels = K / 4;  // of a thread
  __syncthreads();
  if (threadIdx.x < K) {  // a part of the first warp, as last_block requires
    int lane = static_cast<int>(threadIdx.x) % 4, c = static_cast<int>(threadIdx.x) / 4;
    float first = 0, second = 0;
    for (int i = lane; i < threads; i += 4)
      first += sums[c * sums_pitch + i], second += sums[(channels + c) * sums_pitch + i];
    int k = lane * channels + c, count = elements_of<TW>(a.g);
    double d = static_cast<double>(first) / count;
    float *to = a.partial + static_cast<int64_t>(blockIdx.x) * 3 * K + k;
    to[0] = static_cast<float>(origin[k] + d);
    to[K] = static_cast<float>(second - d * first);
    to[2 * K] = static_cast<float>(count);
  }
  if (!last_block(a.counter)) return;
  total_block<4>(
      0, K / 4, K, gridDim.x,
      [&](int64_t i, int64_t k, double *first, double *second) {
        const float *from = a.partial + i * 3 * K + k;
        vec<float, 4> origins = load<float, 4>(a.partial + k), mean = load<float, 4>(from),
                      squares = load<float, 4>(from + K), n = load<float, 4>(from + 2 * K);
        for (int e = 0; e < 4; e++) {
          double d = static_cast<double>(mean.v[e]) - origins.v[e];
          first[e] += n.v[e] * d, second[e] += squares.v[e] + n.v[e] * d * d;
        }
      },
      a.totals);
}

template <typename T, int C, int K, int TW, input I, extra E>
__global__ void __launch_bounds__(threads, resident<C, K>) conv(conv_args<T> a) {
  using S = conv_shape<T, C, K>;
  constexpr int channels = 2 * S::blocks;  // of the result, that a lane has
  constexpr int TH = pixels / TW, across = TW + 2;
  uint32_t *weights = shared_words(), *tile = weights + S::weights,
           *zeros = tile + (TH + 2) * across * S::pitch;
  load_weights<T, C, K>(a, weights);
  if (threadIdx.x < 4) zeros[threadIdx.x] = 0;
  auto *constants = reinterpret_cast<float *>(zeros + 4);
  if (I == input::normalised) store_constants<C>(a.norm, constants);
  float *sums = constants + constant_words<C, I>, *origin = sums + 2 * channels * sums_pitch;
  if (E == extra::statistics)
    for (int c = 0; c < 2 * channels; c++) sums[c * sums_pitch + static_cast<int>(threadIdx.x)] = 0;
  int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  // In bf16 the next tile fits into the registers that the products leave: it is read while they are
  // computed. That of 32 channels only where x is normalised or statistics are computed, until both forms are
  // measured. In tf32 the reads are under way while other warps still multiply.
  constexpr bool ahead =
      S::words == 8 || (sizeof(T) == 2 && (I == input::normalised || E == extra::statistics));
  constexpr bool recompute = I == input::normalised || (E == extra::statistics && ahead);
  quad next[tile_quads<TW, S::chunk>]{};
  auto read = [&](int at, int first) {
    read_tile<T, C, TW, S::chunk, recompute>(a.g, a.x, at / a.g.across * TH, at % a.g.across * TW, first,
                                             next);
  };
  if (I == input::normalised) __syncthreads();  // for the constants
  for (int at = static_cast<int>(blockIdx.x); at < a.g.down * a.g.across; at += static_cast<int>(gridDim.x)) {
    int row = at / a.g.across * TH, column = at % a.g.across * TW;
    // The addresses that this lane loads for the warp's two blocks of 16 elements, and whether the rows above
    // and below belong to the same image.
    const uint32_t *from[2];
    bool above[2], below[2];
    for (int m = 0; m < 2; m++) {
      int p = warp * 32 + m * 16 + lane % 16, h = (row + p / TW) % a.g.h;
      from[m] = tile + (p / TW * across + p % TW) * S::pitch + lane / 16 * 4;
      above[m] = h > 0, below[m] = h < a.g.h - 1;
    }
    float sum[2][S::blocks][4] = {};
    for (int first = 0; first < S::words; first += S::chunk) {
      if (!ahead || at == static_cast<int>(blockIdx.x)) read(at, first);
      if (I == input::normalised)
        normalise<T, C>(next, inside_of<TW, S::chunk>(a.g, row, column), a.norm, constants,
                        (first / 4 + static_cast<int>(threadIdx.x) % (S::chunk / 4)) * lanes<T>);
      __syncthreads();
      write_tile<T, TW, S::chunk, S::pitch>(next, tile);
      __syncthreads();
      int after = at + static_cast<int>(gridDim.x);
      if (ahead && after < a.g.down * a.g.across) read(after, 0);
      const uint32_t *w = weights + first / 8 * S::blocks * 64 + lane * 2;
      LB_UNROLL
      for (int tap = 0; tap < taps; tap++) {
        int r = tap / 3, s = tap % 3;
        LB_UNROLL
        for (int step = 0; step < S::chunk / 8; step++) {
          uint32_t left[2][4];
          for (int m = 0; m < 2; m++) {
            bool inside = r == 1 || (r == 0 ? above[m] : below[m]);
            load_rows(left[m], inside ? from[m] + (r * across + s) * S::pitch + step * 8 : zeros);
          }
          LB_UNROLL
          for (int j = 0; j < S::blocks; j++) {
            const uint32_t *b = w + ((tap * S::steps + step) * S::blocks + j) * 64;
            uint32_t right[2] = {b[0], b[1]};
            mma<T>(sum[0][j], left[0], right);
            mma<T>(sum[1][j], left[1], right);
          }
        }
      }
    }
    // A lane has 2*blocks neighbouring channels of four elements.
    for (int m = 0; m < 2; m++)
      for (int half = 0; half < 2; half++) {
        int p = warp * 32 + m * 16 + half * 8 + lane / 4;
        int r = row + p / TW, c = column + p % TW;
        if (r >= a.g.rows || c >= a.g.w) continue;
        T *to = a.y + (static_cast<int64_t>(r) * a.g.w + c) * K + lane % 4 * 2 * S::blocks;
        for (int j = 0; j < S::blocks; j += 2) {
          vec<T, 4> out;
          for (int e = 0; e < 4; e++) narrow(sum[m][j + e / 2][half * 2 + e % 2], out.v[e]);
          store<T, 4>(to + j * 2, out);
        }
      }
    if constexpr (E == extra::statistics) {
      if (at == static_cast<int>(blockIdx.x)) {  // the first element of the first tile
        if (threadIdx.x < 4)
          for (int c = 0; c < channels; c++) origin[lane * channels + c] = stored<T>(sum[0][c / 2][c % 2]);
        __syncthreads();
      }
      bool valid[2][2];
      for (int m = 0; m < 2; m++)
        for (int half = 0; half < 2; half++) {
          int p = warp * 32 + m * 16 + half * 8 + lane / 4;
          valid[m][half] = row + p / TW < a.g.rows && column + p % TW < a.g.w;
        }
      LB_UNROLL
      for (int c = 0; c < channels; c++) {
        float from = origin[lane % 4 * channels + c], first = 0, second = 0;
        LB_UNROLL
        for (int m = 0; m < 2; m++) LB_UNROLL
        for (int half = 0; half < 2; half++) {
          float d = valid[m][half] ? stored<T>(sum[m][c / 2][half * 2 + c % 2]) - from : 0;
          first += d, second += d * d;
        }
        float *to = sums + c * sums_pitch + threadIdx.x;
        to[0] += first, to[channels * sums_pitch] += second;
      }
    }
  }
  if constexpr (E == extra::statistics) store_statistics<T, K, TW>(a, sums, origin);
}

struct mma_conv : gpu_kernel {
  mma_conv(const op &o, gpu &g) : gpu_kernel(g) {
    name = own_convolution;
    if (!computes_statistics(o)) return;
    const value &x = *o.operands[0], &y = *o.results[0];
    with(x.channels(), y.channels(), x.dims[2], [&](auto c, auto k, auto width) {
      scratch = static_cast<uint64_t>(conv_blocks<decltype(c)::value, decltype(k)::value>(
                    image_of<decltype(width)::value>(x))) *
                3 * 4 * static_cast<uint64_t>(y.channels());
    });
  }
  void run(const op &o) override {
    typed(*o.operands[0], [&](auto number) { data<decltype(number)>(o); });
    if (o.kind == kind_conv && o.operands[2]) add_bias(*o.results[0], o.in(2), d);
  }
  template <int C, int K>
  static int conv_blocks(const image &g) {
    return std::min(g.down * g.across, 132 * resident<C, K>);
  }
  template <typename T>
  void data(const op &o) {
    const value &x = *o.operands[0], &y = *o.results[0];
    with(x.channels(), y.channels(), x.dims[2], [&](auto c, auto k, auto width) {
      constexpr int C = decltype(c)::value, K = decltype(k)::value, TW = decltype(width)::value;
      conv_args<T> a{};
      a.g = image_of<TW>(x), a.x = at<T>(&x), a.w = at<T>(o.operands[1]), a.y = at<T>(&y);
      a.backward = o.kind != kind_conv;
      dim3 grid(static_cast<unsigned>(conv_blocks<C, K>(a.g)));
      a.norm = prologue_of(o);
      if (computes_statistics(o)) {
        a.partial = reinterpret_cast<float *>(o.scratch), a.counter = d.counter();
        a.totals = {a.partial,
                    o.out(1),
                    o.out(2),
                    o.mutate(first_running),
                    o.mutate(first_running + 1),
                    static_cast<double>(y.elements / y.channels()),
                    static_cast<float>(o.attr.momentum)};
      }
      auto go = [&](auto in, auto more) {
        constexpr input I = decltype(in)::value;
        constexpr extra E = decltype(more)::value;
        launch_shared(d, grid, dim3(threads), conv_shared<T, C, K, TW, I, E>(), conv<T, C, K, TW, I, E>, a);
      };
      auto with_extra = [&](auto in) {
        computes_statistics(o) ? go(in, constant<extra::statistics>{}) : go(in, constant<extra::none>{});
      };
      a.norm.mean ? with_extra(constant<input::normalised>{}) : with_extra(constant<input::plain>{});
    });
  }
};

bool few(int64_t channels) { return channels == 16 || channels == 32; }

}  // namespace

const char *const own_convolution = "own, tensor cores";

std::unique_ptr<kernel> make_mma_conv(const op &o, gpu &d) {
  const value &x = o.kind == kind_conv_backward_data ? *o.results[0] : *o.operands[0];
  const value &y = o.kind == kind_conv                 ? *o.results[0]
                   : o.kind == kind_conv_backward_data ? *o.operands[0]
                                                       : *o.operands[1];
  const value &w = o.kind == kind_conv_backward_weights ? *o.results[0] : *o.operands[1];
  const attributes &a = o.attr;
  bool fits = few(x.channels()) && few(y.channels()) && w.dims[1] == 3 && w.dims[2] == 3 && a.groups == 1 &&
              a.stride[0] == 1 && a.stride[1] == 1 && a.padding[0] == 1 && a.padding[1] == 1 &&
              a.dilation[0] == 1 && a.dilation[1] == 1;
  if (!fits || (normalises_input(o) && !clips_input(o)) || (x.type == type_f32 && !d.tf32)) return nullptr;
  if (o.kind == kind_conv_backward_weights) return make_mma_weights(o, d);
  return std::make_unique<mma_conv>(o, d);
}

}  // namespace lb
