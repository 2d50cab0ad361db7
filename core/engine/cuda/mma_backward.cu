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
#include "mma_conv.h"

namespace lb {
namespace {

struct backward_args {
  image g;
  const bf16 *dy, *y, *x, *w;  // dy, y [N H W K], x [N H W C], w [K 3 3 C]
  const float *coefficients;   // [5][K]
  bf16 *dx;
  float *partial;     // [block][K 3 3 C]
  float bottom, top;  // between which the activation after the convolution passes gradients on
  prologue norm;      // of the input
  float *sums;        // [block][2][C] for the backward pass of the normalisation of the input
};

// How the input is read, and whether the sums of its normalisation's backward pass are computed.
enum class reads { plain, normalised, with_sums };

// layout is the division of shared memory, in words. The rows of the gradient and of the input are four words
// longer than an element, so that 8 neighbouring rows of 4 words are in different banks.
template <int C, int K, int TW>
struct layout {
  static constexpr int TH = pixels / TW, across = TW + 2, border = (TH + 2) * across;
  static constexpr int gradient_pitch = K / 2 + 4, input_pitch = C / 2 + 4, sum_pitch = C + 4;
  static constexpr int steps = K / 16, blocks = C / 8;  // of the product that gives the gradient of the input
  static constexpr int weights = 0, gradient = weights + taps * steps * blocks * 64,
                       input = gradient + border * gradient_pitch, raw = input + pixels * input_pitch,
                       zeros = raw + 2 * border * K / 2, coefficients = zeros + 4,
                       constants = coefficients + 5 * K, warp_sums = constants + 3 * C,
                       end = warp_sums + warps * 2 * C;
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

// make_gradient computes the gradient of the convolution's result in a tile and its border, rounded to bf16;
// outside the image it is zero.
template <int C, int K, int TW>
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
        float gradient[4];
        LB_UNROLL
        for (int e = 0; e < 4; e++) {
          int word = half * 2 + e / 2, bits = e % 2 * 16;
          float g = widen(bf16{static_cast<uint16_t>(dy.word[word] >> bits)}),
                v = widen(bf16{static_cast<uint16_t>(y.word[word] >> bits)}),
                at = v * scale.v[e] + shift.v[e];
          g = at > a.bottom && at < a.top ? g : 0;
          gradient[e] = scale.v[e] * g + (slope.v[e] * (v - mean.v[e]) + offset.v[e]);
        }
        out.word[half * 2] = narrow_pair(gradient[0], gradient[1]);
        out.word[half * 2 + 1] = narrow_pair(gradient[2], gradient[3]);
      }
    }
    *reinterpret_cast<quad *>(to + p.pixel * L::gradient_pitch + p.part * 4) = out;
  }
}

// normalise_input normalises the input of a tile in place; each thread what it has copied.
template <int C, int K, int TW>
__device__ inline void normalise_input(const backward_args &a, int row, int column, const float *constants,
                                       uint32_t *input) {
  using L = layout<C, K, TW>;
  LB_NO_UNROLL
  for (int i = static_cast<int>(threadIdx.x); i < pixels * C / 8; i += threads) {
    place<C / 2, TW, 0> p(i, row, column);
    if (!p.inside(a.g)) continue;
    auto *at = reinterpret_cast<quad *>(input + p.pixel * L::input_pitch + p.part * 4);
    quad v = *at;
    LB_UNROLL
    for (int half = 0; half < 2; half++) {
      const float *of = constants + p.part * 8 + half * 4;
      normalise_words(v.word + half * 2, load<float, 4>(of), load<float, 4>(of + C), a.norm);
    }
    *at = v;
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

// add_sums adds what a lane has of two elements, out, to the sums of the warp: of g, the gradient with
// respect to the input of the activation of the normalised input, and of g*(x-mean). The lanes with the same
// channels are added in a tree. Of an element outside the image out is zero. constants are scales, shifts and
// means.
template <int C, int channels>
__device__ inline void add_sums(const backward_args &a, const vec<bf16, channels> (&out)[2],
                                const int (&element)[2], const float *constants, float *to) {
  int lane = thread_index<true>() % 32, first_channel = lane % 4 * channels;
  LB_UNROLL
  for (int part = 0; part < channels; part += 4) {
    vec<bf16, 4> x[2];
    LB_UNROLL
    for (int half = 0; half < 2; half++)
      x[half] = load<bf16, 4>(a.x + static_cast<int64_t>(element[half]) * C + first_channel + part);
    LB_UNROLL
    for (int e = 0; e < 4; e++) {
      int c = first_channel + part + e;
      float scale = constants[c], shift = constants[C + c], mean = constants[2 * C + c], first = 0,
            second = 0;
      LB_UNROLL
      for (int half = 0; half < 2; half++) {
        float v = widen(x[half].v[e]), at = v * scale + shift, g = widen(out[half].v[part + e]);
        g = at > a.norm.bottom && at < a.norm.top ? g : 0;
        first += g, second += g * (v - mean);
      }
      LB_UNROLL
      for (int distance = 4; distance < 32; distance *= 2) {
        first += __shfl_xor_sync(0xffffffffu, first, distance);
        second += __shfl_xor_sync(0xffffffffu, second, distance);
      }
      if (lane < 4) to[c] += first, to[C + c] += second;
    }
  }
}

// store_input_gradient computes the gradient of the input in a tile, 16 elements of a warp at a time, and
// stores it.
template <int C, int K, int TW, reads R>
__device__ inline void store_input_gradient(const backward_args &a, int row, int column,
                                            const uint32_t *gradient, const uint32_t *weights,
                                            const uint32_t *zeros, const float *constants, float *warp_sums) {
  using L = layout<C, K, TW>;
  constexpr int channels = 2 * L::blocks;  // of a lane, neighbours
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
    vec<bf16, channels> out[2]{};  // of two elements; outside the image zero
    int element[2];
    LB_UNROLL
    for (int half = 0; half < 2; half++) {
      p = first + half * 8 + lane / 4;
      int r = row + p / TW, c = column + p % TW;
      element[half] = 0;  // any element
      if (r >= a.g.rows || c >= a.g.w) continue;
      element[half] = r * a.g.w + c;
      LB_UNROLL
      for (int e = 0; e < channels; e++) narrow(sum[e / 2][half * 2 + e % 2], out[half].v[e]);
      store<bf16, channels>(a.dx + static_cast<int64_t>(element[half]) * C + lane % 4 * channels, out[half]);
    }
    if (R == reads::with_sums) add_sums<C, channels>(a, out, element, constants, warp_sums + warp * 2 * C);
  }
}

template <int C, int K, int TW, reads R>
__global__ void __launch_bounds__(threads, 2) backward_tiles(backward_args a) {
  using L = layout<C, K, TW>;
  uint32_t *words = shared_words(), *gradient = words + L::gradient, *input = words + L::input,
           *raw = words + L::raw, *zeros = words + L::zeros;
  auto *coefficients = reinterpret_cast<float *>(words + L::coefficients),
       *constants = reinterpret_cast<float *>(words + L::constants),
       *warp_sums = reinterpret_cast<float *>(words + L::warp_sums);
  int tiles = a.g.down * a.g.across, at = static_cast<int>(blockIdx.x);
  copy_gradient<C, K, TW>(a, at / a.g.across * L::TH, at % a.g.across * TW, raw);
  copy_input<C, K, TW>(a, at / a.g.across * L::TH, at % a.g.across * TW, input);
  load_weights<C, K, TW>(a.w, words + L::weights);
  for (int i = static_cast<int>(threadIdx.x); i < 5 * K; i += threads) coefficients[i] = a.coefficients[i];
  if (threadIdx.x < 4) zeros[threadIdx.x] = 0;
  if (R != reads::plain) store_constants<C>(a.norm, constants);
  if (R == reads::with_sums) {
    if (threadIdx.x < C) constants[2 * C + threadIdx.x] = a.norm.mean[threadIdx.x];
    for (int i = static_cast<int>(threadIdx.x); i < warps * 2 * C; i += threads) warp_sums[i] = 0;
  }
  pair_of<C, K> own(static_cast<int>(threadIdx.x) / 32);
  float sum[taps][2][4] = {};
  for (; at < tiles; at += static_cast<int>(gridDim.x)) {
    int row = at / a.g.across * L::TH, column = at % a.g.across * TW, next = at + static_cast<int>(gridDim.x);
    int next_row = next / a.g.across * L::TH, next_column = next % a.g.across * TW;
    copies_done();
    __syncthreads();  // the gradient of the tile before is not read any more, and the coefficients are there
    make_gradient<C, K, TW>(a, row, column, raw, coefficients, gradient);
    if (R != reads::plain) normalise_input<C, K, TW>(a, row, column, constants, input);
    __syncthreads();
    if (next < tiles) copy_gradient<C, K, TW>(a, next_row, next_column, raw);
    add_weights<C, K, TW>(a.g, row, gradient, input, zeros, own, sum);
    __syncthreads();
    if (next < tiles) copy_input<C, K, TW>(a, next_row, next_column, input);
    store_input_gradient<C, K, TW, R>(a, row, column, gradient, words + L::weights, zeros, constants,
                                      warp_sums);
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
  if (R == reads::with_sums && threadIdx.x < 2 * C) {
    float total = 0;
    for (int w = 0; w < warps; w++) total += warp_sums[w * 2 * C + static_cast<int>(threadIdx.x)];
    a.sums[blockIdx.x * 2 * C + threadIdx.x] = total;
  }
}

struct mma_backward : gpu_kernel {
  int blocks = 0;
  mma_backward(const op &o, gpu &g) : gpu_kernel(g) {
    name = own_convolution;
    const value &x = *o.operands[0];
    image i = x.dims[2] > 8 ? image_of<16>(x) : image_of<8>(x);
    blocks = std::min(i.down * i.across, most_blocks);
    scratch = partial_bytes(o);
    if (o.attr.input_sums)
      scratch += static_cast<uint64_t>(blocks) * 4 * 2 * static_cast<uint64_t>(x.channels());
  }
  // partial_bytes is the size of the partial sums of the weights' gradient, a multiple of 16.
  uint64_t partial_bytes(const op &o) const {
    return static_cast<uint64_t>(blocks) * 4 * static_cast<uint64_t>(o.results[1]->elements);
  }
  void run(const op &o) override {
    const value &x = *o.operands[0], &dy = *o.operands[2], &dw = *o.results[1];
    constexpr float infinity = std::numeric_limits<float>::infinity();
    backward_args a{};
    a.x = at<bf16>(&x), a.w = at<bf16>(o.operands[1]), a.dy = at<bf16>(&dy), a.y = at<bf16>(o.operands[3]);
    a.coefficients = o.in(4), a.dx = at<bf16>(o.results[0]);
    a.partial = reinterpret_cast<float *>(o.scratch), a.norm = prologue_of(o);
    if (o.attr.input_sums) a.sums = reinterpret_cast<float *>(o.scratch + partial_bytes(o));
    a.bottom = o.attr.following == activation_none ? -infinity : 0;
    a.top = o.attr.following == activation_relu6 ? 6 : infinity;
    with(x.channels(), dy.channels(), x.dims[2], [&](auto c, auto k, auto width) {
      constexpr int C = decltype(c)::value, K = decltype(k)::value, TW = decltype(width)::value;
      a.g = image_of<TW>(x);
      auto *f = backward_tiles<C, K, TW, reads::plain>;
      if (a.norm.mean) f = backward_tiles<C, K, TW, reads::normalised>;
      if (o.attr.input_sums) f = backward_tiles<C, K, TW, reads::with_sums>;
      launch_shared(d, dim3(static_cast<unsigned>(blocks)), dim3(threads), layout<C, K, TW>::bytes, f, a);
    });
    int n = static_cast<int>(dw.elements);
    launch_blocks(d, dim3(static_cast<unsigned>(n / 32)), dim3(threads), weights_total<bf16>,
                  static_cast<const float *>(a.partial), at<bf16>(&dw), blocks, n);
    if (!o.attr.input_sums) return;
    tile t{};
    t.c = x.channels(), t.rows = x.elements / t.c, t.grid_rows = static_cast<unsigned>(blocks);
    launch_totals(d, t, a.sums,
                  store_coefficients{a.norm.mean, a.norm.variance, a.norm.gamma, a.norm.beta, o.out(2),
                                     o.out(3), o.out(4), t.c, t.rows, a.norm.epsilon});
  }
};

}  // namespace

std::unique_ptr<kernel> make_mma_backward(const op &o, gpu &d) {
  int64_t after = o.attr.following;
  bool fits = o.operands[0]->type == type_bf16 && clips_input(o) &&
              (after == activation_none || after == activation_relu || after == activation_relu6);
  return fits ? std::make_unique<mma_backward>(o, d) : nullptr;
}

}  // namespace lb
