//go:build !nocpu

// 3x3 convolutions of stride 1 in bf16 by F(4, 3) along rows: of each row of a filter 6 products for four
// neighbouring outputs, where direct convolution has 12. Transformed operands are rounded to bf16 and
// multiplied in pairs by the instruction of AVX512_BF16, which has twice as many products as an FMA of f32:
// as many as F(4x4, 3x3) (winograd4.cc) saves. But transforms are of one direction, one line for four outputs
// where that has ten for sixteen, and the three rows of a filter add up in the same sums, in registers.
//
//   forward           y = At [ sum over rows and channels of (G g) . (Bt d) ]
//   backward data     the same, with filters rotated by 180 degrees and channels transposed
//   backward weights  dg = Gt [ sum over tiles of (A dy) . (Bt d) ], its adjoint
//
// Rounding the operands errs by 0.45 % of the result (root mean square), where rounding the result errs by
// 0.16 %; in two directions it would be 1.1 % (TestWinogradProductsInBF16, docs/memory.md). So the kernel is
// chosen only on processors with that instruction. For others the same bits are computed by FMA.
//
// Two rows of outputs are computed at a time: what is read of the rows of the input that both need is used
// twice.
//
// Order of summation: for each output the channels, and for each pair of them the rows of the filter, the odd
// channel of a pair first, each by one FMA. For backward weights images of a block, rows, pairs of tiles;
// then a thread's blocks, then the threads. Results are reproducible with the same number of threads.
#include <algorithm>
#include <cstring>

#include "balance.h"
#include "strips.h"
#include "winograd_lines.h"

namespace lb {

#if defined(__x86_64__)
namespace {

constexpr int tile = 4;           // outputs
constexpr int places = tile + 2;  // of a transformed tile, and its inputs
constexpr int64_t panel = 16;     // channels
constexpr int64_t words_of_panel = panel / 2;

// Backward weights: channels of a group, and bytes of the transformed gradients of a block, if that is a row.
constexpr int64_t most_channels = 128, most_block = 96 << 10;
// Bytes of filters that stay in the second cache, and of transformed rows that do together with those of 16
// channels of the result.
constexpr int64_t most_filters = 768 << 10, most_lines = 384 << 10;
constexpr int64_t most_together = 16;  // pairs of rows

template <int W>
LB_INLINE words<W> load_words(const uint32_t *from) {
  return (words<W>)load<W>(reinterpret_cast<const float *>(from));
}

// pairs_dot adds products of pairs of bf16 to acc: those of the upper halves of words, then those of the
// lower ones, each by one FMA.
template <int W>
LB_INLINE void pairs_dot(floats<W> &acc, const words<W> &a, const words<W> &b, bf16) {
  acc += (floats<W>)(a & 0xffff0000) * (floats<W>)(b & 0xffff0000);
  acc += (floats<W>)(a << 16) * (floats<W>)(b << 16);
}
template <int W>
LB_INLINE void pairs_dot(floats<W> &acc, const words<W> &a, const words<W> &b, instruction_bf16) {
  static_assert(W == 16, "AVX512_BF16");
  asm("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
}

// store_pairs rounds and stores a and b in turns: those of a are the lower halves of words.
template <int W>
LB_INLINE void store_pairs(uint32_t *to, const floats<W> &a, const floats<W> &b, bf16) {
  auto low = (words<W>)round_to<W>(a, bf16{}), high = (words<W>)round_to<W>(b, bf16{});
  store<W>(reinterpret_cast<float *>(to), (floats<W>)(high | low >> 16));
}
template <int W>
LB_INLINE void store_pairs(uint32_t *to, const floats<W> &a, const floats<W> &b, instruction_bf16) {
  static_assert(W == 16, "AVX512_BF16");
  typedef uint16_t halves __attribute__((vector_size(64)));
  constexpr halves order = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                            8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  halves both;
  asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(both) : "v"(a), "v"(b));
  asm("vpermw %0, %1, %0" : "+v"(both) : "v"(order));
  store<W>(reinterpret_cast<float *>(to), (floats<W>)both);
}

// store_both rounds and stores a, and b where the next panel begins.
template <int W>
LB_INLINE void store_both(bf16 *to, const floats<W> &a, const floats<W> &b) {
  store<W>(to, a), store<W>(to + panel, b);
}
template <int W>
LB_INLINE void store_both(instruction_bf16 *to, const floats<W> &a, const floats<W> &b) {
  static_assert(W == 16, "AVX512_BF16");
  floats<W> both;
  asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(both) : "v"(a), "v"(b));
  store<W>(reinterpret_cast<float *>(to), both);
}

// range is memory that is read or written next, and is fetched to the second cache while products are
// computed, `part` bytes at a time.
struct range {
  const char *at, *end;
  int64_t part;
};

// rows_ahead is the range of the rows from..to of a tensor, of those of all images, in a number of parts.
template <typename T>
range rows_ahead(const T *x, int64_t from, int64_t to, int64_t row, int64_t parts) {
  auto *first = reinterpret_cast<const char *>(x + from * row),
       *end = reinterpret_cast<const char *>(x + to * row);
  return {first, end, ((end - first) / 64 + parts) / parts * 64};
}

LB_INLINE void fetch(range *r) {
  const char *end = r->end - r->at < r->part ? r->end : r->at + r->part;
  for (; r->at < end; r->at += 64) __builtin_prefetch(r->at, 0, 2);
}

// fetch_line fetches the next 64 bytes.
LB_INLINE void fetch_line(range *r) {
  if (r->at < r->end) __builtin_prefetch(r->at, 0, 2);
  r->at += 64;
}

// columns loads the pixels x..x+N of a row of w pixels: zero outside.
template <int W, int N, typename T>
LB_INLINE void columns(const T *row, int64_t x, int64_t w, int64_t c, floats<W> d[N]) {
  bool whole = x >= 0 && x + N <= w;
  for (int i = 0; i < N; i++)
    d[i] = whole || (x + i >= 0 && x + i < w) ? load<W>(row + (x + i) * c) : floats<W>{};
  for (int i = 0; i < N; i++) here(d[i]);
}

// input_row writes v[c/16][pairs][6][2][16], pairs of tiles, of a row of w pixels; of no row, zeros.
template <int W, typename T>
LB_INLINE void input_row(const T *row, int64_t w, int64_t c, int64_t pairs, T *v) {
  if (!row) {
    std::memset(v, 0, sizeof(T) * static_cast<size_t>(2 * places * c * pairs));
    return;
  }
  for (int64_t k = 0; k < c; k += W) {
    T *to = v + k / panel * panel * 2 * places * pairs + k % panel;
    floats<W> d[2 * tile + 2], e[2][places];
    columns<W, 2>(row + k, -1, w, c, d);
    for (int64_t t = 0; t < pairs; t++, to += 2 * places * panel) {
      columns<W, 2 * tile>(row + k, 2 * tile * t + 1, w, c, d + 2);
      input_line(d, 1, e[0], 1), input_line(d + tile, 1, e[1], 1);
      d[0] = d[2 * tile], d[1] = d[2 * tile + 1];
      for (int p = 0; p < places; p++) store_both<W>(to + 2 * p * panel, e[0][p], e[1][p]);
    }
  }
}

// forward_filters writes u[out/16][in/2][6][3][16], in pairs of input channels, for the output channels
// from..to of w[out][3][3][in].
template <int W, typename T>
LB_INLINE void forward_filters(const T *w, int64_t from, int64_t to, int64_t in, uint32_t *u) {
  alignas(64) T buffer[places][8][panel];  // place, output channel, input channel
  for (int64_t o = from; o < to; o += 8)
    for (int64_t r = 0; r < 3; r++)
      for (int64_t i = 0; i < in; i += panel) {
        for (int64_t k = 0; k < 8; k++)
          for (int64_t l = 0; l < panel; l += W) {
            floats<W> g[3], e[places];
            for (int64_t s = 0; s < 3; s++) g[s] = load<W>(w + (((o + k) * 3 + r) * 3 + s) * in + i + l);
            filter_line(g, 1, e, 1);
            for (int p = 0; p < places; p++) store<W>(buffer[p][k] + l, e[p]);
          }
        for (int64_t p = 0; p < places; p++) {
          uint32_t *at = u + (((o / panel * in + i) / 2 * places + p) * 3 + r) * panel + o % panel;
          transpose(reinterpret_cast<const float *>(buffer[p][0]), words_of_panel,
                    reinterpret_cast<float *>(at), places * 3 * panel);
        }
      }
}

// backward_filters writes u[in/16][out/2][6][3][16], in pairs of output channels, of filters that are rotated
// by 180 degrees.
template <int W, typename T>
LB_INLINE void backward_filters(const T *w, int64_t from, int64_t to, int64_t out, int64_t in, uint32_t *u) {
  for (int64_t o = from; o < to; o += 2)
    for (int64_t r = 0; r < 3; r++)
      for (int64_t i = 0; i < in; i += W) {
        floats<W> e[2][places];
        for (int64_t k = 0; k < 2; k++) {
          floats<W> g[3];
          for (int64_t s = 0; s < 3; s++) g[s] = load<W>(w + (((o + k) * 3 + 2 - r) * 3 + 2 - s) * in + i);
          filter_line(g, 1, e[k], 1);
        }
        for (int64_t p = 0; p < places; p++)
          store_pairs<W>(u + (((i / panel * out + o) / 2 * places + p) * 3 + r) * panel + i % panel, e[0][p],
                         e[1][p], T{});
      }
}

// lines are the transformed rows of the input that two output rows are computed from.
struct lines {
  const uint32_t *row[4];  // v[c/16][pairs of tiles][6][2][8]
  int64_t tiles, c;        // c: input channels
  int64_t panel_size() const { return (tiles + 1) / 2 * places * panel; }
};

// offset is where tile n of an even one is.
constexpr int64_t offset(int64_t n) { return n / 2 * places * panel + n % 2 * words_of_panel; }

// results are two output rows of w pixels of `channels` channels; of the last one of an odd number, one.
template <typename T>
struct results {
  T *y;
  const float *bias;
  int64_t w, channels;
  bool both;
  range reads[2], writes;  // in parts of an output tile
};

#define LB_UNROLL _Pragma("GCC unroll 8")

// output_tiles writes N tiles of two rows, of the 16 output channels of u[c/2][6][3][16] from channel o on:
// from tile t on, which is even or the only one; or, apart, tile t of N pairs of rows.
template <int W, int N, bool Apart, typename T>
LB_INLINE void output_tiles(const lines *x, const uint32_t *u, const results<T> *to, int64_t t, int64_t o) {
  constexpr int L = panel / W, M = Apart ? N : 1;  // vectors of a panel, pairs of rows
  floats<W> m[2][places][N][L];
  LB_UNROLL for (int q = 0; q < 2; q++) LB_UNROLL for (int p = 0; p < places; p++)
      LB_UNROLL for (int n = 0; n < N; n++) for (int l = 0; l < L; l++) m[q][p][n][l] = floats<W>{};
  const uint32_t *v[M][4];
  for (int n = 0; n < M; n++)
    for (int q = 0; q < 4; q++) v[n][q] = x[n].row[q] + offset(t);
  for (int64_t k = 0; k < x->c; k += panel) {
    for (int64_t i = 0; i < words_of_panel; i++, u += places * 3 * panel)
      LB_UNROLL for (int p = 0; p < places; p++) {
        words<W> f[3][L];
        LB_UNROLL for (int r = 0; r < 3; r++) for (int l = 0; l < L; l++) f[r][l] =
            load_words<W>(u + (3 * p + r) * panel + l * W);
        LB_UNROLL for (int n = 0; n < N; n++) LB_UNROLL for (int q = 0; q < 4; q++) {
          words<W> one = words<W>{} + v[Apart ? n : 0][q][(Apart ? 0 : offset(n)) + p * panel + i];
          for (int l = 0; l < L; l++) {
            if (q < 3) pairs_dot<W>(m[0][p][n][l], one, f[q < 3 ? q : 0][l], T{});
            if (q > 0) pairs_dot<W>(m[1][p][n][l], one, f[q > 0 ? q - 1 : 0][l], T{});
          }
        }
      }
    for (int n = 0; n < M; n++)
      for (int q = 0; q < 4; q++) v[n][q] += x->panel_size();
  }
  LB_UNROLL for (int q = 0; q < 2; q++) LB_UNROLL for (int n = 0; n < N; n++) {
    const results<T> &y = to[Apart ? n : 0];
    if (q == 1 && !y.both) continue;
    const int64_t column = tile * (Apart ? t : t + n), left = y.w - column;
    T *at = y.y + (q * y.w + column) * y.channels + o;
    for (int l = 0; l < L; l++) {
      floats<W> of[places], e[tile];
      LB_UNROLL for (int p = 0; p < places; p++) of[p] = m[q][p][n][l];
      output_line(of, 1, e, 1);
      LB_UNROLL for (int k = 0; k < tile; k++) here(e[k]);
      LB_UNROLL for (int k = 0; k < tile; k++) {
        if (y.bias) e[k] += load<W>(y.bias + o + l * W);
        if (k < left) store<W>(at + k * y.channels + l * W, e[k]);
      }
    }
  }
}

// output_rows writes `count` pairs of rows from as many lines, by the filters of 16 output channels after the
// other.
template <int W, typename T>
LB_INLINE void output_rows(const lines *x, const uint32_t *u, results<T> *y, int64_t count) {
  const int64_t channels = y->channels, tiles = x->tiles, next = places * 3 * x->c / 2 * panel;
  for (int64_t o = 0; o < channels; o += panel, u += next)
    for (int64_t i = 0; i < count; i++) {
      int64_t t = 0;
      if constexpr (W == 16) {
        if (tiles == 1 && i + 2 <= count) {
          output_tiles<W, 2, true>(x + i, u, y + i, 0, o), i++;
          continue;
        }
        for (; t + 4 <= tiles || t + 2 == tiles; t += 2) {
          fetch(&y[i].reads[0]), fetch(&y[i].reads[1]), fetch(&y[i].writes);
          output_tiles<W, 2, false>(x + i, u, y + i, t, o);
        }
        if (t + 3 == tiles) output_tiles<W, 3, false>(x + i, u, y + i, t, o), t += 3;
      }
      for (; t < tiles; t++) output_tiles<W, 1, false>(x + i, u, y + i, t, o);
    }
}

// shape is that of a block of backward weights of c channels of a tensor, whose pixels are `pixel` elements
// apart: images, of each some rows of `pairs` pairs of tiles.
struct shape {
  int64_t images, rows, pairs, c, pixel;
  int64_t image_size() const { return rows * pairs * panel; }
  int64_t panel_size() const { return images * image_size(); }
  int64_t size() const { return places * c / panel * panel_size(); }
};

// input_pairs writes row q, of those of all images, of v[6][c/16][images][rows][pairs][16], in pairs of
// tiles, of a row of w pixels; of no row, zeros. A row of one tile has the second one of its pair from
// another row.
template <int W, typename T>
LB_INLINE void input_pairs(const T *row, const T *second, int64_t w, shape s, int64_t q, uint32_t *v) {
  const int64_t place = s.c / panel * s.panel_size();
  for (int64_t k = 0; k < s.c; k += W) {
    uint32_t *to = v + k / panel * s.panel_size() + q * s.pairs * panel + k % panel;
    floats<W> d[2 * tile + 2] = {}, e[2][places];
    if (w <= tile) {
      floats<W> f[tile + 2] = {};
      if (row) columns<W, tile + 2>(row + k, -1, w, s.pixel, d);
      if (second) columns<W, tile + 2>(second + k, -1, w, s.pixel, f);
      input_line(d, 1, e[0], 1), input_line(f, 1, e[1], 1);
      for (int p = 0; p < places; p++) store_pairs<W>(to + p * place, e[0][p], e[1][p], T{});
      continue;
    }
    if (row) columns<W, 2>(row + k, -1, w, s.pixel, d);
    for (int64_t t = 0; t < s.pairs; t++, to += panel) {
      if (row) columns<W, 2 * tile>(row + k, 2 * tile * t + 1, w, s.pixel, d + 2);
      input_line(d, 1, e[0], 1), input_line(d + tile, 1, e[1], 1);
      d[0] = d[2 * tile], d[1] = d[2 * tile + 1];
      for (int p = 0; p < places; p++) store_pairs<W>(to + p * place, e[0][p], e[1][p], T{});
    }
  }
}

// gradient_pairs writes the same row of z[6][c/16][images][rows][pairs][16] of a row of w gradients, and for
// a row of one tile of a second one.
template <int W, typename T>
LB_INLINE void gradient_pairs(const T *row, const T *second, int64_t w, shape s, int64_t q, uint32_t *z) {
  const int64_t place = s.c / panel * s.panel_size();
  for (int64_t k = 0; k < s.c; k += W)
    for (int64_t t = 0; t < s.pairs; t++) {
      uint32_t *to = z + k / panel * s.panel_size() + (q * s.pairs + t) * panel + k % panel;
      floats<W> d[2 * tile] = {}, e[2][places];
      if (w > tile) {
        columns<W, 2 * tile>(row + k, 2 * tile * t, w, s.pixel, d);
      } else {
        columns<W, tile>(row + k, 0, w, s.pixel, d);
        if (second) columns<W, tile>(second + k, 0, w, s.pixel, d + tile);
      }
      gradient_line(d, 1, e[0], 1), gradient_line(d + tile, 1, e[1], 1);
      for (int p = 0; p < places; p++) store_pairs<W>(to + p * place, e[0][p], e[1][p], T{});
    }
}

// accumulate_panel: R output channels of sum[3][out][16] += z[rows][16] transposed * v[rows + 2][16], for
// each image, where a row has pairs of tiles, and each row of the filter reads v one row further. The three
// rows of sum are `next` apart.
template <int W, int R, typename T>
LB_INLINE void accumulate_panel(const uint32_t *z, const uint32_t *v, float *sum, int64_t next,
                                int64_t images, int64_t rows, int64_t pairs, range *x, range *dy) {
  constexpr int L = panel / W;
  floats<W> acc[3][R][L];
  LB_UNROLL for (int r = 0; r < 3; r++) LB_UNROLL for (int k = 0; k < R; k++) for (int l = 0; l < L; l++)
      acc[r][k][l] = load<W>(sum + r * next + k * panel + l * W);
  const int64_t row = pairs * panel;
  for (int64_t image = 0; image < images; image++, v += 2 * row)
    for (int64_t i = 0; i < rows * pairs; i++, z += panel, v += panel) {
      fetch_line(x), fetch_line(dy);
      words<W> f[3][L];
      LB_UNROLL for (int r = 0; r < 3; r++) for (int l = 0; l < L; l++) f[r][l] =
          load_words<W>(v + r * row + l * W);
      LB_UNROLL for (int k = 0; k < R; k++) {
        words<W> one = words<W>{} + z[k];
        LB_UNROLL for (int r = 0; r < 3; r++) for (int l = 0; l < L; l++)
            pairs_dot<W>(acc[r][k][l], one, f[r][l], T{});
      }
    }
  LB_UNROLL for (int r = 0; r < 3; r++) LB_UNROLL for (int k = 0; k < R; k++) for (int l = 0; l < L; l++)
      store<W>(sum + r * next + k * panel + l * W, acc[r][k][l]);
}

// accumulate: sum[6][3][in/16][out][16] += z transposed * v, for `rows` rows of each image of z. It
// fetches what is read next: it has at least as many steps as that has lines.
template <int W, typename T>
LB_INLINE void accumulate(const uint32_t *z, const uint32_t *v, float *sum, int64_t images, int64_t rows,
                          shape out, shape in, const range *next_x, const range *next_dy) {
  range x = *next_x, dy = *next_dy;
  constexpr int R = W == 16 ? 8 : 1;
  for (int64_t p = 0; p < places; p++)
    for (int64_t i = 0; i < in.c; i += panel, v += in.panel_size())
      for (int64_t o = 0; o < out.c; o += R)
        accumulate_panel<W, R, T>(z + (p * out.c / panel + o / panel) * out.panel_size() + o % panel, v,
                                  sum + (3 * p * in.c + i) * out.c + o * panel, in.c * out.c, images, rows,
                                  out.pairs, &x, &dy);
}

// filter_gradients adds the threads' sums sum[thread][6][3][in/16][out][16] and writes, for the output
// channels from..to of them, dw[out][3][3][filter].
template <int W, typename T>
LB_INLINE void filter_gradients(const float *sum, int threads, int64_t from, int64_t to, int64_t out,
                                int64_t in, int64_t filter, T *dw) {
  for (int64_t o = from; o < to; o++)
    for (int64_t r = 0; r < 3; r++)
      for (int64_t i = 0; i < in; i += W) {
        floats<W> s[places];
        for (int64_t p = 0; p < places; p++) {
          const float *at = sum + ((p * 3 + r) * in + i / panel * panel) * out + o * panel + i % panel;
          s[p] = load<W>(at);
          for (int t = 1; t < threads; t++) s[p] += load<W>(at + t * places * 3 * in * out);
        }
        floats<W> e[3];
        weight_line(s, 1, e, 1);
        for (int64_t k = 0; k < 3; k++) store<W>(dw + ((o * 3 + r) * 3 + k) * filter + i, e[k]);
      }
}
#undef LB_UNROLL

// winograd_rows is the kernel of all three kinds: backward data is the convolution from y to x.
template <int W, typename T>
struct winograd_rows : strip_kernel {
  using isa = machine<W>;
  int32_t kind;
  int threads;
  int64_t n, h, w, out, in;  // out, in: of the weight [out 3 3 in]
  winograd_rows(const op &o, const value &xv, const value &wv, int t)
      : kind(o.kind),
        threads(t),
        n(xv.dims[0]),
        h(xv.dims[1]),
        w(xv.dims[2]),
        out(wv.dims[0]),
        in(wv.dims[3]) {
    name = "winograd F(4, 3)";
    shared = static_cast<uint64_t>(4 * words_of_all());
    own = static_cast<uint64_t>(4 * words_of_each());
    scratch = shared + static_cast<uint64_t>(threads) * own;
    // Strips of backward weights need the sums of all channels at once, and rows of more than one tile.
    if (!weights() || (group(in) == in && group(out) == out && each() == 1)) unit = 2;
  }
  bool weights() const { return kind == kind_conv_backward_weights; }
  int64_t tiles() const { return (w + tile - 1) / tile; }
  int64_t pairs() const { return (tiles() + 1) / 2; }
  // Backward weights takes images whose rows are one tile two at a time, as one.
  int64_t each() const { return tiles() == 1 ? 2 : 1; }
  int64_t units() const { return (n + each() - 1) / each(); }
  // It computes the products of one group of channels of x and one of dy after the other, of a block at a
  // time: images as a whole, or rows of one, or its last ones.
  static int64_t group(int64_t channels) { return std::min(channels, most_channels); }
  int64_t row_bytes() const { return places * 4 * pairs() * group(out); }
  int64_t rows() const { return std::clamp(most_block / row_bytes(), int64_t{1}, h); }
  int64_t images() const {
    return std::clamp(most_block / (row_bytes() * h), int64_t{1}, (units() + threads - 1) / threads);
  }
  shape of_x(int64_t channels) const { return {images(), rows() + 2, pairs(), channels, in}; }
  shape of_dy(int64_t channels) const { return {images(), rows(), pairs(), channels, out}; }
  // Words of the workspace: filters, or the sums of all threads; and of each thread.
  int64_t words_of_all() const {
    return weights() ? threads * places * 3 * group(in) * group(out) : places * 3 * in * out / 2;
  }
  int64_t line(int64_t c) const { return places * pairs() * c; }
  // Pairs of rows that are computed together: where filters of all channels do not stay in the second cache,
  // those of 16 are used for all of them.
  int64_t together(int64_t from) const {
    if (places * 3 * in * out * 2 <= most_filters)
      return tiles() == 1 ? std::min(int64_t{2}, (h + 1) / 2 * n) : 1;
    return std::clamp(most_lines / (16 * line(from)), int64_t{1}, std::min(most_together, (h + 1) / 2 * n));
  }
  int64_t words_of_each() const {
    if (weights()) return of_x(group(in)).size() + of_dy(group(out)).size();
    int64_t from = kind == kind_conv ? in : out;
    return together(from) * 4 * line(from);
  }
  uint8_t *space(const op &o, int t) const { return o.scratch + shared + static_cast<uint64_t>(t) * own; }
  // Channels of what is read and of what is written by convolve.
  int64_t from() const { return kind == kind_conv ? in : out; }
  int64_t to() const { return kind == kind_conv ? out : in; }
  // begin transforms the filters, or clears the sums.
  void begin(const op &o, uint8_t *of_all) override {
    auto *u = reinterpret_cast<uint32_t *>(of_all);
    const int64_t work = places * 3 * in * out;
    if (kind == kind_conv)
      parallel(out, 8, threads, work, [&](int64_t a, int64_t b, int) {
        isa::template call<forward_filters<W, T>>(o.in<T>(1), a, b, in, u);
      });
    else if (kind == kind_conv_backward_data)
      parallel(out, 2, threads, work, [&](int64_t a, int64_t b, int) {
        isa::template call<backward_filters<W, T>>(o.in<T>(1), a, b, out, in, u);
      });
    else
      std::memset(of_all, 0, static_cast<size_t>(shared));
  }
  void end(const op &o, uint8_t *of_all) override {
    if (!weights()) return;
    write_gradients(o, of_all, 0, 0);
    bias_gradients(o);
  }
  void part(const op &o, const strip &s, uint8_t *of_all, uint8_t *of_thread, int t) override {
    if (weights()) {
      add_rows(s, reinterpret_cast<float *>(of_all) + t * places * 3 * in * out, of_thread);
      return;
    }
    convolve_pairs(o, pair_of(s.from), pair_of(s.to), of_all, of_thread, reinterpret_cast<const T *>(s.in[0]),
                   reinterpret_cast<T *>(s.out), false, [&](int64_t q, range *reads) {
                     int64_t row = row_of(q) + s.to - s.from, last = std::min(row + 2, s.next);
                     for (int i = 0; i < 2; i++)
                       if (s.ahead[i] && row < last)
                         reads[i] = rows_ahead(reinterpret_cast<const T *>(s.ahead[i]), row, last, w * from(),
                                               steps());
                   });
  }
  void run(const op &o) override {
    if (weights()) return gradients(o);
    begin(o, o.scratch);
    balanced(n * twos(), 4, threads, n * h * w * in * out, [&](int64_t first, int64_t last, int t) {
      const T *x = o.in<T>(0);
      convolve_pairs(
          o, first, last, o.scratch, space(o, t), x, o.out<T>(0), true, [&](int64_t q, range *reads) {
            int64_t row = row_of(q) + 3, end = n * h;
            reads[0] = rows_ahead(x, std::min(row, end), std::min(row + 2, end), w * from(), steps());
          });
    });
  }
  int64_t twos() const { return (h + 1) / 2; }  // pairs of rows of an image
  int64_t pair_of(int64_t row) const { return row / h * twos() + row % h / 2; }
  int64_t row_of(int64_t pair) const { return pair / twos() * h + pair % twos() * 2; }
  // steps are the parts in which output_rows fetches, for a pair of rows.
  int64_t steps() const { return pairs() * to() / panel; }
  // convolve_pairs computes the pairs of rows first..last of y from x, each from four transformed rows. Pairs
  // one after the other share two of these; of those that are computed together each has its own. `more`:
  // the pairs after them are computed, too. ahead(q, reads) sets what is fetched meanwhile.
  template <typename F>
  void convolve_pairs(const op &o, int64_t first, int64_t last, uint8_t *of_all, uint8_t *of_thread,
                      const T *x, T *y, bool more, F ahead) const {
    const auto *u = reinterpret_cast<const uint32_t *>(of_all);
    const int64_t most = together(from()), row_size = w * from();
    lines inputs[most_together];
    results<T> outputs[most_together];
    for (int64_t q = first; q < last; q += most) {
      int64_t count = std::min(most, last - q);
      for (int64_t i = 0; i < count; i++) {
        const int64_t row = row_of(q + i), above = row % h;
        bool shares = most == 1 && q > first && above > 0;
        lines &of = inputs[i];
        of.tiles = tiles(), of.c = from();
        for (int64_t r = 0; r < 4; r++) {
          int64_t at = above + r - 1;
          uint32_t *place =
              reinterpret_cast<uint32_t *>(of_thread) + (4 * i + (most == 1 ? at + 4 : r) % 4) * line(from());
          of.row[r] = place;
          if (shares && r < 2) continue;
          const T *read = at < 0 || at >= h ? nullptr : x + (row + r - 1) * row_size;
          isa::template call<input_row<W, T>>(read, w, from(), pairs(), reinterpret_cast<T *>(place));
        }
        // What is written next are the two rows after these.
        const int64_t end = q + i + 1 < last || more ? n * h : 0, next = std::min(row + 2, end);
        outputs[i] = {y + row * w * to(),
                      o.in(2) && kind == kind_conv ? o.in(2) : nullptr,
                      w,
                      to(),
                      above + 1 < h,
                      {},
                      rows_ahead(y, next, std::min(next + 2, end), w * to(), steps())};
        ahead(q + i, outputs[i].reads);
      }
      isa::template call<output_rows<W, T>>(static_cast<const lines *>(inputs), u,
                                            static_cast<results<T> *>(outputs), count);
    }
  }
  // transform writes image i of a block: `count` rows of dy, from row y of those of all images on. x and dy
  // begin at the first of some channels.
  void transform(const T *x, const T *dy, int64_t y, int64_t count, int64_t i, shape of_v, uint32_t *v,
                 shape of_z, uint32_t *z) const {
    bool two = each() == 2 && y + h < n * h;
    for (int64_t q = -1; q <= count; q++) {
      bool inside = (y % h + q >= 0) && (y % h + q < h);
      const T *row = inside ? x + (y + q) * w * in : nullptr;
      isa::template call<input_pairs<W, T>>(row, inside && two ? row + h * w * in : nullptr, w, of_v,
                                            i * of_v.rows + q + 1, v);
    }
    for (int64_t q = 0; q < count; q++) {
      const T *row = dy + (y + q) * w * out;
      isa::template call<gradient_pairs<W, T>>(row, two ? row + h * w * out : nullptr, w, of_z,
                                               i * of_z.rows + q, z);
    }
  }
  // group_gradients computes the gradients of the weights of a group of input channels, from `input` on, and
  // one of output channels.
  void group_gradients(const op &o, int64_t input, int64_t output) const {
    const shape of_v = of_x(std::min(group(in), in - input)),
                of_z = of_dy(std::min(group(out), out - output));
    const int64_t size = places * 3 * of_v.c * of_z.c;
    auto *sums = reinterpret_cast<float *>(o.scratch);
    std::memset(sums, 0, static_cast<size_t>(4 * threads * size));
    const int64_t parts = (h + rows() - 1) / rows();  // of an image
    parallel(units() * parts, 1, threads, n * h * w * in * out, [&](int64_t first, int64_t last, int t) {
      auto *v = reinterpret_cast<uint32_t *>(space(o, t)), *z = v + of_v.size();
      for (int64_t b = first; b < last; b += images()) {
        int64_t count = std::min(images(), last - b), from = b % parts * rows(), image = each() * h;
        int64_t y = b / parts * image + from;
        int64_t of_image = std::min(rows(), h - from);
        for (int64_t i = 0; i < count; i++)
          transform(o.in<T>(0) + input, o.in<T>(1) + output, y + i * image, of_image, i, of_v, v, of_z, z);
        // Next is as many rows; of x two more, which are read without.
        int64_t next = std::min(y + (count - 1) * image + (each() - 1) * h + of_image, n * h);
        int64_t end = std::min(next + images() * each() * rows(), n * h);
        if (b + images() >= last) end = next;
        range x = rows_ahead(o.in<T>(0), next, end, w * in, 1);
        range dy = rows_ahead(o.in<T>(1), next, end, w * out, 1);
        isa::template call<accumulate<W, T>>(z, v, sums + t * size, count, of_image, of_z, of_v, &x, &dy);
      }
    });
    write_gradients(o, o.scratch, input, output);
  }
  // write_gradients adds the threads' sums of a group of input and one of output channels.
  void write_gradients(const op &o, uint8_t *of_all, int64_t input, int64_t output) const {
    const int64_t i = std::min(group(in), in - input), k = std::min(group(out), out - output);
    const auto *sums = reinterpret_cast<const float *>(of_all);
    parallel(k, 1, threads, places * 3 * i * k, [&](int64_t a, int64_t b, int) {
      isa::template call<filter_gradients<W, T>>(sums, threads, a, b, k, i, in,
                                                 o.out<T>(0) + output * 9 * in + input);
    });
  }
  // add_rows adds what the rows of a strip contribute to the sums of a thread: images together where they are
  // in the strip as a whole.
  void add_rows(const strip &s, float *sum, uint8_t *of_thread) const {
    const shape of_v = of_x(in), of_z = of_dy(out);
    auto *v = reinterpret_cast<uint32_t *>(of_thread), *z = v + of_v.size();
    const auto *x = reinterpret_cast<const T *>(s.in[0]), *dy = reinterpret_cast<const T *>(s.in[1]);
    for (int64_t y = s.from, end; y < s.to; y = end) {
      int64_t of_image = std::min({rows(), h - y % h, s.to - y});
      int64_t count = of_image == h ? std::min(images(), (s.to - y) / h) : 1;
      for (int64_t i = 0; i < count; i++) transform(x, dy, y + i * h, of_image, i, of_v, v, of_z, z);
      end = y + (count - 1) * h + of_image;
      range ahead[2] = {};
      for (int i = 0; i < 2; i++) {
        int64_t from = std::min(y + s.to - s.from, s.next), to = std::min(end + s.to - s.from, s.next);
        if (s.ahead[i])
          ahead[i] =
              rows_ahead(reinterpret_cast<const T *>(s.ahead[i]), from, to, w * (i == 0 ? in : out), 1);
      }
      isa::template call<accumulate<W, T>>(z, v, sum, count, of_image, of_z, of_v, &ahead[0], &ahead[1]);
    }
  }
  void gradients(const op &o) const {
    for (int64_t output = 0; output < out; output += group(out))
      for (int64_t input = 0; input < in; input += group(in)) group_gradients(o, input, output);
    bias_gradients(o);
  }
  void bias_gradients(const op &o) const {
    if (o.results.size() > 1)
      typed(*o.operands[1],
            [&](auto number) { sum_columns(o.in<decltype(number)>(1), n * h * w, out, o.out(1), threads); });
  }
};

}  // namespace
#endif

std::unique_ptr<kernel> make_winograd_rows(const op &o, cpu &d, const value &x, const value &w) {
#if defined(__x86_64__)
  if (x.type != type_bf16) return nullptr;
  if (d.width == 16 && multiplies_bf16())
    return std::make_unique<winograd_rows<16, instruction_bf16>>(o, x, w, d.threads);
  if (d.width == 16) return std::make_unique<winograd_rows<16, bf16>>(o, x, w, d.threads);
  if (d.width == 8) return std::make_unique<winograd_rows<8, bf16>>(o, x, w, d.threads);
#else
  (void)o, (void)d, (void)x, (void)w;
#endif
  return nullptr;
}

}  // namespace lb
