// The backward pass of a convolution of 3x3 with stride 1 and padding 1 between 16 or 32 channels, in bf16,
// and of the normalisation that follows it: one kernel reads the incoming gradient, the convolution's result
// and its input once, and writes the gradients of the input and of the weights. The gradient of the
// convolution's result, which the normalisation passes on, is in shared memory only.
//
// Tiles are those of mma_conv.cu: 256 elements of the image, rows of all images one below the other by 8 or
// 16 columns, with a border of one. For each tile a block
//   1. computes the gradient of the convolution's result, with its border, from the incoming gradient and the
//   result;
//   2. adds the products of the gradient with the input to its sums for the weights, in registers;
//   3. computes the gradient of the input.
// The next tile is copied to shared memory meanwhile, without registers (cp.async): a thread copies what it
// needs for step 1 itself, so that no barrier comes before that step. Gradients of the weights are added as
// in mma_conv.cu: each block writes partial sums, which a second kernel adds in f64. The number of blocks
// depends only on the shapes.
#include "convnorm.h"
#include "mma.h"
#include "tile.h"

namespace lb {
namespace {

constexpr int threads = 256, warps = threads / 32, pixels = 256, taps = 9;

struct image {
  int rows;  // of all images
  int h, w;
  int down, across;  // tiles
};

image image_of(const value &x, int tile_width) {
  int tile_height = pixels / tile_width;
  image g;
  g.h = static_cast<int>(x.dims[1]), g.w = static_cast<int>(x.dims[2]);
  g.rows = static_cast<int>(x.dims[0]) * g.h;
  g.down = (g.rows + tile_height - 1) / tile_height, g.across = (g.w + tile_width - 1) / tile_width;
  return g;
}

struct alignas(16) quad {
  uint32_t word[4];
};

struct backward_args {
  image g;
  const bf16 *dy, *y, *x, *w;  // dy, y [N H W K], x [N H W C], w [K 3 3 C]
  const float *coefficients;   // [5][K]
  bf16 *dx;
  float *partial;  // [block][K 3 3 C]
  float top;       // upper bound of a rectified activation
};

// layout is the division of shared memory, in words. The rows of the gradient and of the input are four words
// longer than an element, so that 8 neighbouring rows of 4 words are in different banks.
template <int C, int K, int TW>
struct layout {
  static constexpr int TH = pixels / TW, across = TW + 2, border = (TH + 2) * across;
  static constexpr int gradient_pitch = K / 2 + 4, input_pitch = C / 2 + 4, sum_pitch = C + 4;
  static constexpr int steps = K / 16, blocks = C / 8;  // of the product that gives the gradient of the input
  static constexpr int weights = 0, gradient = weights + taps * steps * blocks * 64,
                       input = gradient + border * gradient_pitch, raw = input + pixels * input_pitch,
                       zeros = raw + 2 * border * K / 2, coefficients = zeros + 4, end = coefficients + 5 * K;
  static constexpr int sums = taps * K * sum_pitch;  // at the end of a block, in place of the others
  static constexpr size_t bytes = 4 * static_cast<size_t>(sums > end ? sums : end);
};

// load_weights permutes the weights, rotated by 180 degrees and with their channels transposed, into the
// order in which lanes hold them. Column n of block j is channel n/2*2*blocks + 2*j + n%2 of x: a lane's
// channels are then neighbours.
template <int C, int K, int TW>
__device__ inline void load_weights(const bf16 *w, uint32_t *to) {
  using L = layout<C, K, TW>;
  LB_UNROLL_4
  for (int i = static_cast<int>(threadIdx.x); i < taps * L::steps * L::blocks * 64; i += threads) {
    int lane = i / 2 % 32, j = i / 64 % L::blocks, step = i / 64 / L::blocks % L::steps,
        tap = i / 64 / L::blocks / L::steps;
    int n = lane / 4, c = n / 2 * 2 * L::blocks + 2 * j + n % 2, k = (step * 8 + lane % 4 + i % 2 * 4) * 2;
    const bf16 *from = w + (k * taps + taps - 1 - tap) * C + c;
    to[i] = static_cast<uint32_t>(from[0].bits) | static_cast<uint32_t>(from[taps * C].bits) << 16;
  }
}

// place is one 16-byte piece of a tile: the number of its first channel, and where its element is.
template <int words, int across, int border>
struct place {
  int pixel, part, row, column;
  __device__ place(int i, int first_row, int first_column)
      : pixel(i / (words / 4)),
        part(i % (words / 4)),
        row(first_row + pixel / across - border),
        column(first_column + pixel % across - border) {}
  __device__ bool inside(const image &g) const {
    return row >= 0 && row < g.rows && column >= 0 && column < g.w;
  }
  __device__ int64_t element(const image &g) const {
    return (static_cast<int64_t>(row) * g.w + column) * words * 2 + part * 8;
  }
};

// copy_gradient begins to copy what the gradient of a tile is computed from, and copy_input the input.
template <int C, int K, int TW>
__device__ inline void copy_gradient(const backward_args &a, int row, int column, uint32_t *raw) {
  using L = layout<C, K, TW>;
  constexpr int all = L::border * K / 8;
  LB_NO_UNROLL
  for (int i = static_cast<int>(threadIdx.x); i < all; i += threads) {
    place<K / 2, L::across, 1> p(i, row, column);
    if (!p.inside(a.g)) continue;
    copy_async(raw + i * 4, a.dy + p.element(a.g));
    copy_async(raw + (all + i) * 4, a.y + p.element(a.g));
  }
}
template <int C, int K, int TW>
__device__ inline void copy_input(const backward_args &a, int row, int column, uint32_t *input) {
  using L = layout<C, K, TW>;
  LB_NO_UNROLL
  for (int i = static_cast<int>(threadIdx.x); i < pixels * C / 8; i += threads) {
    place<C / 2, TW, 0> p(i, row, column);
    uint32_t *to = input + p.pixel * L::input_pitch + p.part * 4;
    if (p.inside(a.g))
      copy_async(to, a.x + p.element(a.g));
    else
      *reinterpret_cast<quad *>(to) = quad{};
  }
}

// half_of is one of the two numbers of a word.
__device__ inline float half_of(uint32_t word, int i) {
  return widen(bf16{static_cast<uint16_t>(word >> i * 16)});
}

// make_gradient computes the gradient of the convolution's result in a tile and its border, rounded to bf16;
// outside the image it is zero.
template <int C, int K, int TW, bool rectified>
__device__ inline void make_gradient(const backward_args &a, int row, int column, const uint32_t *raw,
                                     const float *coefficients, uint32_t *to) {
  using L = layout<C, K, TW>;
  constexpr int all = L::border * K / 8;
  LB_NO_UNROLL
  for (int i = static_cast<int>(threadIdx.x); i < all; i += threads) {
    place<K / 2, L::across, 1> p(i, row, column);
    quad out{};
    if (p.inside(a.g)) {
      quad dy = *reinterpret_cast<const quad *>(raw + i * 4),
           y = *reinterpret_cast<const quad *>(raw + (all + i) * 4);
      LB_UNROLL
      for (int half = 0; half < 2; half++) {
        const float *of = coefficients + p.part * 8 + half * 4;
        vec<float, 4> scale = load<float, 4>(of), shift = load<float, 4>(of + K),
                      slope = load<float, 4>(of + 2 * K), offset = load<float, 4>(of + 3 * K),
                      mean = load<float, 4>(of + 4 * K);
        LB_UNROLL
        for (int e = 0; e < 4; e++) {
          int word = half * 2 + e / 2;
          float g = half_of(dy.word[word], e % 2), v = half_of(y.word[word], e % 2);
          if (rectified) g = passes(v * scale.v[e] + shift.v[e], a.top) ? g : 0;
          bf16 rounded;
          narrow(scale.v[e] * g + (slope.v[e] * (v - mean.v[e]) + offset.v[e]), rounded);
          out.word[word] |= static_cast<uint32_t>(rounded.bits) << e % 2 * 16;
        }
      }
    }
    *reinterpret_cast<quad *>(to + p.pixel * L::gradient_pitch + p.part * 4) = out;
  }
}

// pair_of is what a warp computes of the weights: 16 channels of the gradient from k on by 16 of the input
// from c on, for all taps. Where there are fewer such pairs than warps, several warps share a pair and divide
// its elements.
template <int C, int K>
struct pair_of {
  static constexpr int pairs = C / 16 * (K / 16), sharing = warps / pairs;
  int c, k, share;
  __device__ explicit pair_of(int warp)
      : c(warp % pairs % (C / 16) * 16), k(warp % pairs / (C / 16) * 16), share(warp / pairs) {}
};

// add_weights adds the products of a tile, 16 elements at a time, of one or two rows. Both operands have
// their elements as rows, but the sum is over elements: they are loaded transposed. sum[i] is of the tap at
// the other end, 8-i: the gradient has the border here, not the input.
template <int C, int K, int TW>
__device__ inline void add_weights(const image &image, int row, const uint32_t *gradient,
                                   const uint32_t *input, const uint32_t *zeros, const pair_of<C, K> &own,
                                   float (&sum)[taps][2][4]) {
  using L = layout<C, K, TW>;
  int lane = static_cast<int>(threadIdx.x) % 32, matrix = lane / 8;
  LB_NO_UNROLL
  for (int step = own.share; step < pixels / 16; step += own.sharing) {
    // The input: elements 0-7 and 8-15 of the first 8 channels, then of the others.
    int e = step * 16 + lane % 8 + matrix % 2 * 8;
    uint32_t right[4];
    load_columns(right, input + e * L::input_pitch + (own.c + matrix / 2 * 8) / 2);
    // The gradient: the first 8 channels and the others of elements 0-7, then of elements 8-15.
    e = step * 16 + lane % 8 + matrix / 2 * 8;
    int line = e / TW, h = (row + line) % image.h;
    const uint32_t *from =
        gradient + (line * L::across + e % TW) * L::gradient_pitch + (own.k + matrix % 2 * 8) / 2;
    LB_UNROLL
    for (int r = 0; r < 3; r++) {
      bool inside = h + r - 1 >= 0 && h + r - 1 < image.h;
      LB_UNROLL
      for (int s = 0; s < 3; s++) {
        uint32_t left[4], first[2] = {right[0], right[1]}, second[2] = {right[2], right[3]};
        load_columns(left, inside ? from + (r * L::across + s) * L::gradient_pitch : zeros);
        mma<bf16>(sum[r * 3 + s][0], left, first);
        mma<bf16>(sum[r * 3 + s][1], left, second);
      }
    }
  }
}

// store_input_gradient computes the gradient of the input in a tile, 16 elements of a warp at a time, and
// stores it.
template <int C, int K, int TW>
__device__ inline void store_input_gradient(const backward_args &a, int row, int column,
                                            const uint32_t *gradient, const uint32_t *weights,
                                            const uint32_t *zeros) {
  using L = layout<C, K, TW>;
  int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  LB_NO_UNROLL
  for (int m = 0; m < 2; m++) {
    int first = warp * 32 + m * 16, p = first + lane % 16, h = (row + p / TW) % a.g.h;
    const uint32_t *from = gradient + (p / TW * L::across + p % TW) * L::gradient_pitch + lane / 16 * 4;
    bool above = h > 0, below = h < a.g.h - 1;
    float sum[L::blocks][4] = {};
    LB_UNROLL
    for (int tap = 0; tap < taps; tap++) {
      int r = tap / 3, s = tap % 3;
      bool inside = r == 1 || (r == 0 ? above : below);
      LB_UNROLL
      for (int step = 0; step < L::steps; step++) {
        uint32_t left[4];
        load_rows(left, inside ? from + (r * L::across + s) * L::gradient_pitch + step * 8 : zeros);
        LB_UNROLL
        for (int j = 0; j < L::blocks; j++) {
          const uint32_t *b = weights + ((tap * L::steps + step) * L::blocks + j) * 64 + lane * 2;
          uint32_t right[2] = {b[0], b[1]};
          mma<bf16>(sum[j], left, right);
        }
      }
    }
    // A lane has 2*blocks neighbouring channels of two elements.
    LB_UNROLL
    for (int half = 0; half < 2; half++) {
      p = first + half * 8 + lane / 4;
      int r = row + p / TW, c = column + p % TW;
      if (r >= a.g.rows || c >= a.g.w) continue;
      vec<bf16, 2 * L::blocks> out;
      LB_UNROLL
      for (int e = 0; e < 2 * L::blocks; e++) narrow(sum[e / 2][half * 2 + e % 2], out.v[e]);
      store<bf16, 2 * L::blocks>(a.dx + (static_cast<int64_t>(r) * a.g.w + c) * C + lane % 4 * 2 * L::blocks,
                                 out);
    }
  }
}

template <int C, int K, int TW, bool rectified>
__global__ void __launch_bounds__(threads, 2) backward_tiles(backward_args a) {
  using L = layout<C, K, TW>;
  uint32_t *words = shared_words(), *gradient = words + L::gradient, *input = words + L::input,
           *raw = words + L::raw, *zeros = words + L::zeros;
  auto *coefficients = reinterpret_cast<float *>(words + L::coefficients);
  int tiles = a.g.down * a.g.across, at = static_cast<int>(blockIdx.x);
  copy_gradient<C, K, TW>(a, at / a.g.across * L::TH, at % a.g.across * TW, raw);
  copy_input<C, K, TW>(a, at / a.g.across * L::TH, at % a.g.across * TW, input);
  load_weights<C, K, TW>(a.w, words + L::weights);
  for (int i = static_cast<int>(threadIdx.x); i < 5 * K; i += threads) coefficients[i] = a.coefficients[i];
  if (threadIdx.x < 4) zeros[threadIdx.x] = 0;
  pair_of<C, K> own(static_cast<int>(threadIdx.x) / 32);
  float sum[taps][2][4] = {};
  for (; at < tiles; at += static_cast<int>(gridDim.x)) {
    int row = at / a.g.across * L::TH, column = at % a.g.across * TW, next = at + static_cast<int>(gridDim.x);
    int next_row = next / a.g.across * L::TH, next_column = next % a.g.across * TW;
    copies_done();
    __syncthreads();  // the gradient of the tile before is not read any more, and the coefficients are there
    make_gradient<C, K, TW, rectified>(a, row, column, raw, coefficients, gradient);
    __syncthreads();
    if (next < tiles) copy_gradient<C, K, TW>(a, next_row, next_column, raw);
    add_weights<C, K, TW>(a.g, row, gradient, input, zeros, own, sum);
    __syncthreads();
    if (next < tiles) copy_input<C, K, TW>(a, next_row, next_column, input);
    store_input_gradient<C, K, TW>(a, row, column, gradient, words + L::weights, zeros);
  }
  // The warps of a pair add their sums in turn.
  int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  auto *sums = reinterpret_cast<float *>(words);
  for (int turn = 0; turn < own.sharing; turn++) {
    __syncthreads();
    if (own.share != turn) continue;
    LB_UNROLL
    for (int i = 0; i < taps; i++)
      for (int e = 0; e < 8; e++) {
        int k = own.k + g + e % 4 / 2 * 8, c = own.c + e / 4 * 8 + 2 * t + e % 2;
        float *to = sums + ((taps - 1 - i) * K + k) * L::sum_pitch + c, add = sum[i][e / 4][e % 4];
        *to = turn == 0 ? add : *to + add;
      }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < taps * C * K; i += threads)
    a.partial[static_cast<int64_t>(blockIdx.x) * taps * C * K + i] =
        sums[(i / C % taps * K + i / C / taps) * L::sum_pitch + i % C];
}

// weights_sum adds the partial sums: a block computes 32 of the n elements, a multiple of 32, and each of its
// warps adds every eighth block.
__global__ void __launch_bounds__(threads) weights_sum(const float *partial, bf16 *dw, int blocks, int n) {
  LB_SHARED(double, shared, threads);
  int lane = static_cast<int>(threadIdx.x) % 32, i = static_cast<int>(blockIdx.x) * 32 + lane;
  double sum = 0;
  for (int b = static_cast<int>(threadIdx.x) / 32; b < blocks; b += warps) sum += partial[b * n + i];
  shared[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  for (int w = 1; w < warps; w++) sum += shared[w * 32 + lane];
  narrow(static_cast<float>(sum), dw[i]);
}

// with calls f with the numbers of channels and the width of a tile as compile-time constants.
template <int N>
struct constant {
  static constexpr int value = N;
};
template <typename F>
void with(int64_t c, int64_t k, int tile_width, F f) {
  auto wide = [&](auto a, auto b) { tile_width > 8 ? f(a, b, constant<16>{}) : f(a, b, constant<8>{}); };
  auto second = [&](auto a) { k == 16 ? wide(a, constant<16>{}) : wide(a, constant<32>{}); };
  c == 16 ? second(constant<16>{}) : second(constant<32>{});
}

// Blocks: two for each multiprocessor of a large GPU.
constexpr int most_blocks = 132 * 2;

struct mma_backward : gpu_kernel {
  int tile_width, blocks;
  image g;
  mma_backward(const op &o, gpu &d) : gpu_kernel(d) {
    name = own_convolution;
    const value &x = *o.operands[2];
    tile_width = x.dims[2] > 8 ? 16 : 8, g = image_of(x, tile_width);
    blocks = std::min(g.down * g.across, most_blocks);
    scratch = static_cast<uint64_t>(blocks) * 4 * static_cast<uint64_t>(o.results[1]->elements);
  }
  void run(const op &o) override {
    const value &dy = *o.operands[0], &x = *o.operands[2], &dw = *o.results[1];
    auto *partial = reinterpret_cast<float *>(o.scratch);
    backward_args a{g,
                    at<bf16>(&dy),
                    at<bf16>(o.operands[3]),
                    at<bf16>(&x),
                    at<bf16>(o.operands[1]),
                    o.in(4),
                    at<bf16>(o.results[0]),
                    partial,
                    o.attr.top()};
    with(x.channels(), dy.channels(), tile_width, [&](auto c, auto k, auto width) {
      constexpr int C = decltype(c)::value, K = decltype(k)::value, TW = decltype(width)::value;
      auto *f = o.attr.rectifies() ? backward_tiles<C, K, TW, true> : backward_tiles<C, K, TW, false>;
      launch_shared(d, dim3(static_cast<unsigned>(blocks)), dim3(threads), layout<C, K, TW>::bytes, f, a);
    });
    int n = static_cast<int>(dw.elements);
    launch_blocks(d, dim3(static_cast<unsigned>(n / 32)), dim3(threads), weights_sum,
                  static_cast<const float *>(partial), at<bf16>(&dw), blocks, n);
  }
};

bool few(int64_t channels) { return channels == 16 || channels == 32; }

}  // namespace

std::unique_ptr<kernel> make_mma_backward(const op &o, gpu &d) {
  const value &dy = *o.operands[0], &w = *o.operands[1], &x = *o.operands[2];
  const attributes &a = o.attr;
  bool fits = dy.type == type_bf16 && few(x.channels()) && few(dy.channels()) && w.dims[1] == 3 &&
              w.dims[2] == 3 && a.groups == 1 && a.stride[0] == 1 && a.stride[1] == 1 && a.padding[0] == 1 &&
              a.padding[1] == 1 && a.dilation[0] == 1 && a.dilation[1] == 1 &&
              (a.rectifies() || a.activation == activation_none);
  return fits ? std::make_unique<mma_backward>(o, d) : nullptr;
}

}  // namespace lb
