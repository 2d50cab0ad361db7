// The gradient of our own convolutions (mma_conv.cu) with respect to the weights: a product over all
// elements. Each block writes partial sums, which a second kernel adds in f64. The number of blocks depends
// only on the shapes, so that every GPU computes the same bits.
#include "mma_conv.h"

namespace lb {
namespace {

template <typename T>
struct weights_args {
  image g;
  const T *x, *dy;
  float *partial;  // [block][K 3 3 C]
  prologue norm;   // of x
};

// Length of a row of the tiles in shared memory, in words: neighbouring elements are in different banks.
template <int C>
constexpr int row_pitch = C + 8;

// Length of a row of the tiles in bf16, in words: 8 neighbouring rows of 4 words are in different banks.
template <int C>
constexpr int narrow_pitch = C / 2 + 4;

template <typename T, int C>
constexpr int tile_pitch = sizeof(T) == 2 ? narrow_pitch<C> : row_pitch<C>;

// Length of a row of the sums of a block, in words: the rows of a warp's lanes are in different banks.
template <int C>
constexpr int sum_pitch = C + 4;

// Words of shared memory of the tiles, and of the sums that take their place. The constants of the prologue
// are after them.
template <typename T, int C, int K, int TW>
constexpr int tile_words = (pixels / TW + 2) * (TW + 2) * tile_pitch<T, C> + pixels *tile_pitch<T, K> + 4;
template <int C, int K>
constexpr int sum_words = taps *K *sum_pitch<C>;
template <typename T, int C, int K, int TW>
constexpr int weights_words =
    tile_words<T, C, K, TW> > sum_words<C, K> ? tile_words<T, C, K, TW> : sum_words<C, K>;
template <typename T, int C, int K, int TW, input I>
constexpr size_t weights_shared() {
  return 4 * (weights_words<T, C, K, TW> + constant_words<C, I>);
}

// load_tile copies a tile with a border of the given width to shared memory. A thread has several loads in
// flight: one at a time, the kernel would wait for memory ten times for each tile. More than three do not
// fit beside the sums in bf16, and in tf32 where 32 channels are normalised.
template <typename T, int C, int TW, int border, input I>
__device__ inline void load_tile(const image &g, const T *x, int row, int column, const prologue &norm,
                                 const float *constants, uint32_t *to) {
  constexpr int words = C * static_cast<int>(sizeof(T)) / 4, across = TW + 2 * border, parts = words / 4,
                all = (pixels / TW + 2 * border) * across * parts, turns = (all + threads - 1) / threads,
                most = sizeof(T) == 2 || (C == 32 && I == input::normalised) ? 3 : 4,
                rounds = (turns + most - 1) / most, together = (turns + rounds - 1) / rounds;
  LB_NO_UNROLL
  for (int from = 0; from < turns; from += together) {
    quad v[together];
    unsigned inside = 0;
    int me = thread_index<I == input::normalised>();
    LB_UNROLL
    for (int k = 0; k < together; k++) {
      int i = me + (from + k) * threads, p = i / parts;
      int r = row + p / across - border, c = column + p % across - border;
      v[k] = quad{};
      if (i < all && r >= 0 && r < g.rows && c >= 0 && c < g.w) {
        v[k] = *reinterpret_cast<const quad *>(reinterpret_cast<const uint32_t *>(x) +
                                               (static_cast<int64_t>(r) * g.w + c) * words + i % parts * 4);
        inside |= 1u << k;
      }
    }
    if (I == input::normalised) normalise<T, C>(v, inside, norm, constants, me % parts * lanes<T>);
    LB_UNROLL
    for (int k = 0; k < together; k++) {
      int i = me + (from + k) * threads;
      if (i < all)
        *reinterpret_cast<quad *>(to + i / parts * tile_pitch<T, C> + i % parts * 4) = rounded(v[k], T{});
    }
  }
}

// pair_of is what a warp computes: 16 channels of x from c on by 16 of dy from k on, for all taps. Where
// there are fewer such pairs than warps, several warps share a pair and divide its elements.
template <int C, int K>
struct pair_of {
  static constexpr int pairs = C / 16 * (K / 16), sharing = warps / pairs;
  int c, k, share;
  __device__ explicit pair_of(int warp)
      : c(warp % pairs % (C / 16) * 16), k(warp % pairs / (C / 16) * 16), share(warp / pairs) {}
};

// multiply_numbers adds the products of a tile of tf32, 8 elements of a row at a time.
template <int C, int K, int TW>
__device__ inline void multiply_numbers(const image &image, int row, const uint32_t *x, const uint32_t *dy,
                                        const pair_of<C, K> &own, float (&sum)[taps][2][4]) {
  constexpr int across = TW + 2;
  int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  for (int step = own.share; step < pixels / 8; step += own.sharing) {
    int p = step * 8, line = p / TW, h = (row + line) % image.h;
    const uint32_t *from = dy + (p + t) * row_pitch<K> + own.k + g;
    uint32_t right[2][2] = {{from[0], from[4 * row_pitch<K>]}, {from[8], from[4 * row_pitch<K> + 8]}};
    LB_UNROLL
    for (int r = 0; r < 3; r++) {
      if (h + r - 1 < 0 || h + r - 1 >= image.h) continue;  // uniform in the warp
      LB_UNROLL
      for (int s = 0; s < 3; s++) {
        const uint32_t *b = x + ((line + r) * across + p % TW + s + t) * row_pitch<C> + own.c + g;
        uint32_t left[4] = {b[0], b[8], b[4 * row_pitch<C>], b[4 * row_pitch<C> + 8]};
        mma<float>(sum[r * 3 + s][0], left, right[0]);
        mma<float>(sum[r * 3 + s][1], left, right[1]);
      }
    }
  }
}

// multiply_narrow adds the products of a tile of bf16, 16 elements at a time, of one or two rows. Both
// operands have their elements as rows, but the sum is over elements: they are loaded transposed.
template <int C, int K, int TW>
__device__ inline void multiply_narrow(const image &image, int row, const uint32_t *x, const uint32_t *dy,
                                       const uint32_t *zeros, const pair_of<C, K> &own,
                                       float (&sum)[taps][2][4]) {
  constexpr int across = TW + 2;
  int lane = static_cast<int>(threadIdx.x) % 32, matrix = lane / 8;
  LB_NO_UNROLL
  for (int step = own.share; step < pixels / 16; step += own.sharing) {
    // dy: elements 0-7 and 8-15 of the first 8 channels, then of the others.
    int e = step * 16 + lane % 8 + matrix % 2 * 8;
    uint32_t right[4];
    load_columns(right, dy + e * narrow_pitch<K> + (own.k + matrix / 2 * 8) / 2);
    // x: the first 8 channels and the others of elements 0-7, then of elements 8-15.
    e = step * 16 + lane % 8 + matrix / 2 * 8;
    int line = e / TW, h = (row + line) % image.h;
    const uint32_t *from = x + (line * across + e % TW) * narrow_pitch<C> + (own.c + matrix % 2 * 8) / 2;
    LB_UNROLL
    for (int r = 0; r < 3; r++) {
      bool inside = h + r - 1 >= 0 && h + r - 1 < image.h;
      LB_UNROLL
      for (int s = 0; s < 3; s++) {
        uint32_t left[4], first[2] = {right[0], right[1]}, second[2] = {right[2], right[3]};
        load_columns(left, inside ? from + (r * across + s) * narrow_pitch<C> : zeros);
        mma<bf16>(sum[r * 3 + s][0], left, first);
        mma<bf16>(sum[r * 3 + s][1], left, second);
      }
    }
  }
}

template <typename T, int C, int K, int TW, input I>
__global__ void __launch_bounds__(threads, 2) weights_partial(weights_args<T> a) {
  constexpr bool narrow = sizeof(T) == 2;
  constexpr int TH = pixels / TW, across = TW + 2;
  uint32_t *x = shared_words(), *dy = x + (TH + 2) * across * tile_pitch<T, C>,
           *zeros = dy + pixels * tile_pitch<T, K>;
  int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  pair_of<C, K> own(static_cast<int>(threadIdx.x) / 32);
  float sum[taps][2][4] = {};
  if (narrow && threadIdx.x < 4) zeros[threadIdx.x] = 0;
  auto *constants = reinterpret_cast<float *>(shared_words() + weights_words<T, C, K, TW>);
  if (I == input::normalised) store_constants<C>(a.norm, constants);
  for (int at = static_cast<int>(blockIdx.x); at < a.g.down * a.g.across; at += static_cast<int>(gridDim.x)) {
    int row = at / a.g.across * TH, column = at % a.g.across * TW;
    __syncthreads();
    load_tile<T, C, TW, 1, I>(a.g, a.x, row, column, a.norm, constants, x);
    load_tile<T, K, TW, 0, input::plain>(a.g, a.dy, row, column, {}, nullptr, dy);
    __syncthreads();
    if constexpr (narrow)
      multiply_narrow<C, K, TW>(a.g, row, x, dy, zeros, own, sum);
    else
      multiply_numbers<C, K, TW>(a.g, row, x, dy, own, sum);
  }
  // The warps of a pair add their sums in turn.
  auto *sums = reinterpret_cast<float *>(shared_words());
  for (int turn = 0; turn < own.sharing; turn++) {
    __syncthreads();
    if (own.share != turn) continue;
    LB_UNROLL
    for (int tap = 0; tap < taps; tap++)
      for (int i = 0; i < 8; i++) {
        int channel = own.c + g + i % 4 / 2 * 8, of = own.k + i / 4 * 8 + 2 * t + i % 2;
        float *to = sums + (tap * K + of) * sum_pitch<C> + channel, add = sum[tap][i / 4][i % 4];
        *to = turn == 0 ? add : *to + add;
      }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < taps * C * K; i += threads)
    a.partial[static_cast<int64_t>(blockIdx.x) * taps * C * K + i] =
        sums[(i / C % taps * K + i / C / taps) * sum_pitch<C> + i % C];
}

struct mma_weights : gpu_kernel {
  int blocks;
  mma_weights(const op &o, gpu &g) : gpu_kernel(g) {
    name = own_convolution;
    const value &x = *o.operands[0], &dy = *o.operands[1];
    image i = x.dims[2] > 8 ? image_of<16>(x) : image_of<8>(x);
    blocks = std::min(i.down * i.across, most_blocks);
    scratch = static_cast<uint64_t>(blocks * taps * x.channels() * dy.channels() * 4);
    if (o.results.size() > 1) scratch = std::max(scratch, sum_columns_scratch(dy));
  }
  void run(const op &o) override {
    typed(*o.operands[0], [&](auto number) { weights<decltype(number)>(o); });
    if (o.results.size() > 1) sum_columns(*o.operands[1], o.out(1), o.scratch, d);
  }
  template <typename T>
  void weights(const op &o) {
    const value &x = *o.operands[0], &dy = *o.operands[1], &dw = *o.results[0];
    auto *partial = reinterpret_cast<float *>(o.scratch);
    with(x.channels(), dy.channels(), x.dims[2], [&](auto c, auto k, auto width) {
      constexpr int C = decltype(c)::value, K = decltype(k)::value, TW = decltype(width)::value;
      weights_args<T> a{image_of<TW>(x), at<T>(&x), at<T>(&dy), partial, prologue_of(o)};
      auto go = [&](auto in) {
        constexpr input I = decltype(in)::value;
        launch_shared(d, dim3(static_cast<unsigned>(blocks)), dim3(threads), weights_shared<T, C, K, TW, I>(),
                      weights_partial<T, C, K, TW, I>, a);
      };
      a.norm.mean ? go(constant<input::normalised>{}) : go(constant<input::plain>{});
    });
    int n = static_cast<int>(dw.elements);
    launch_blocks(d, dim3(static_cast<unsigned>(n / 32)), dim3(threads), weights_total<T>,
                  static_cast<const float *>(partial), at<T>(&dw), blocks, n);
  }
};

}  // namespace

std::unique_ptr<kernel> make_mma_weights(const op &o, gpu &d) { return std::make_unique<mma_weights>(o, d); }

}  // namespace lb
