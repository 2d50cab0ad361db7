//go:build !nocpu

// 3x3 convolutions of stride 1 by F(4x4, 3x3): 36 products for each 4x4 tile, where direct convolution has
// 144 and F(2x2, 3x3) (winograd.cc, which has the formulas) has 64.
//
// The transforms are those of winograd_lines.h, of columns and of rows. Compared with float64, 64 channels of
// normal numbers: root mean square of the error 0.7e-6 of the result's, where the direct sum has 0.43e-6.
//
// Everything that is transformed lies in panels of 16 channels: v[36][c/16][tiles][16], and so do filters and
// sums: what a product reads and writes is contiguous.
//
// What the next block reads, and what this one writes, is fetched to the second cache while products are
// computed: transforms go through an image in the order of tiles, which the processor's own prefetching does
// not follow.
//
// Order of summation: as in winograd.cc.
#include <array>
#include <cstring>
#include <numeric>
#include <type_traits>

#include "balance.h"
#include "strips.h"
#include "winograd_lines.h"

namespace lb {

#if defined(__x86_64__)
namespace {

constexpr int64_t places = 36;  // of a transformed tile
constexpr int64_t panel = 16;   // channels
constexpr int64_t tiles = 24;   // of a block, which stays in the L2 cache
// Filters of more than this many pairs of channels fill the L2 cache by themselves: with 256 channels
// fetching took 1 to 5 % longer.
constexpr int64_t most_fetched = 128 * 128;

// image is c channels of a tensor [n, h, w, pixel] divided into 4x4 tiles.
struct image {
  int64_t n, h, w, c, pixel;
  int64_t rows() const { return (h + 3) / 4; }
  int64_t columns() const { return (w + 3) / 4; }
  int64_t count() const { return n * rows() * columns(); }
  // tile_of is the first tile that begins at a row of all images.
  int64_t tile_of(int64_t row) const { return (row / h * rows() + row % h / 4) * columns(); }
};

struct place {
  int64_t n, y, x;  // image, and the upper left output of the tile
};

LB_INLINE place place_of(const image &s, int64_t tile) {
  int64_t row = tile / s.columns();
  return {row / s.rows(), row % s.rows() * 4, tile % s.columns() * 4};
}

// advance makes the place of a tile that of the next one.
LB_INLINE void advance(const image &s, place *q) {
  q->x += 4;
  if (q->x < s.w) return;
  q->x = 0, q->y += 4;
  if (q->y < s.h) return;
  q->y = 0, q->n++;
}

// block is a block of transformed tiles: tiles of it, and floats from one place to the next. A cache line
// between places keeps them out of the same set of the L1 cache.
struct block {
  int64_t tiles, c;
  int64_t stride() const { return tiles * c + panel; }
  int64_t size() const { return places * stride(); }
  int64_t at(int64_t k, int64_t tile) const { return (k / panel * tiles + tile) * panel + k % panel; }
};

// tile_range is a range of tiles of a tensor that are read or written next. Of a margin: with the row
// below them, and without the upper row, which is part of the tiles above.
template <typename T>
struct tile_range {
  const image *of;
  const T *data;
  int64_t from, to;
  bool margin;
};

// position is the next tile of a range to be fetched.
struct position {
  int64_t tile;
  place at;
};

template <typename T>
LB_INLINE position start(const tile_range<T> *of) {
  return {of->from, place_of(*of->of, of->from)};
}

// fetch fetches a part of a range, one of as many as there are places.
template <typename T>
LB_INLINE void fetch(const tile_range<T> *of, position *next, int part) {
  const image s = *of->of;
  constexpr int64_t line = 64 / static_cast<int64_t>(sizeof(T));
  int64_t end = of->from + (of->to - of->from) * (part + 1) / places;
  for (; next->tile < end; next->tile++, advance(s, &next->at)) {
    place q = next->at;
    int64_t first = of->margin && q.y > 0 ? q.y + 1 : q.y, last = of->margin ? q.y + 5 : q.y + 4;
    int64_t columns = s.w - q.x < 4 ? s.w - q.x : 4;
    const T *row = of->data + ((q.n * s.h + first) * s.w + q.x) * s.pixel;
    for (int64_t y = first; y < last && y < s.h; y++, row += s.w * s.pixel) {
      if (s.pixel == s.c)
        for (int64_t k = 0; k < columns * s.c; k += line) __builtin_prefetch(row + k, 0, 2);
      else
        for (int64_t x = 0; x < columns; x++)
          for (int64_t k = 0; k < s.c; k += line) __builtin_prefetch(row + x * s.pixel + k, 0, 2);
    }
  }
}

// input_tile reads a 6x6 tile and writes its transform; whole: all of it is inside of the image.
template <int W, typename T>
LB_INLINE void input_tile(const image &s, place q, const T *x, bool whole, float *v, int64_t stride) {
  floats<W> e[6][6];
  for (int r = 0; r < 6; r++) {
    int64_t y = q.y + r - 1;
    const T *line = x + ((q.n * s.h + y) * s.w + q.x - 1) * s.pixel;
    floats<W> d[6];
    bool row = whole || (y >= 0 && y < s.h);
    for (int c = 0; c < 6; c++) {
      int64_t z = q.x + c - 1;
      d[c] = row && (whole || (z >= 0 && z < s.w)) ? load<W>(line + c * s.pixel) : floats<W>{};
    }
    input_line(d, 1, e[r], 1);
  }
  for (int c = 0; c < 6; c++) {
    floats<W> f[6];
    input_line(&e[0][c], 6, f, 1);
    for (int r = 0; r < 6; r++) store<W>(v + (6 * r + c) * stride, f[r]);
  }
}

// input_tiles writes v[36][c/16][tiles][16] = Bt d B for the tiles from..to of x, and zero for those up to
// `end`.
template <int W, typename T>
LB_INLINE void input_tiles(const image *of, const T *x, int64_t from, int64_t to, int64_t end, block b,
                           float *v) {
  const image s = *of;
  int64_t stride = b.stride();
  for (int64_t t = from; t < to; t++) {
    place q = place_of(s, t);
    bool whole = q.y > 0 && q.y + 5 <= s.h && q.x > 0 && q.x + 5 <= s.w;
    for (int64_t k = 0; k < s.c; k += W)
      if (whole)
        input_tile<W>(s, q, x + k, true, v + b.at(k, t - from), stride);
      else
        input_tile<W>(s, q, x + k, false, v + b.at(k, t - from), stride);
  }
  for (int64_t t = to; t < end; t++)
    for (int p = 0; p < places; p++)
      for (int64_t k = 0; k < s.c; k += W) store<W>(v + p * stride + b.at(k, t - from), floats<W>{});
}

// output_tiles writes y = At m A + bias, if there is one, for the tiles from..to, from
// m[36][c/16][tiles][16].
template <int W, typename T>
LB_INLINE void output_tiles(const image *of, const float *m, int64_t from, int64_t to, block b,
                            const float *bias, T *y) {
  const image s = *of;
  int64_t stride = b.stride();
  for (int64_t t = from; t < to; t++) {
    place q = place_of(s, t);
    int64_t rows = s.h - q.y < 4 ? s.h - q.y : 4, columns = s.w - q.x < 4 ? s.w - q.x : 4;
    for (int64_t k = 0; k < s.c; k += W) {
      const float *in = m + b.at(k, t - from);
      T *out = y + ((q.n * s.h + q.y) * s.w + q.x) * s.pixel + k;
      floats<W> e[4][6];
      for (int c = 0; c < 6; c++) {
        floats<W> d[6];
        for (int r = 0; r < 6; r++) d[r] = load<W>(in + (6 * r + c) * stride);
        output_line(d, 1, &e[0][c], 6);
      }
      for (int r = 0; r < 4; r++) {
        if (r >= rows) break;
        floats<W> f[4];
        output_line(e[r], 1, f, 1);
        if (bias)
          for (int c = 0; c < 4; c++) f[c] += load<W>(bias + k);
        for (int c = 0; c < 4; c++)
          if (c < columns) store<W>(out + (r * s.w + c) * s.pixel, f[c]);
      }
    }
  }
}

// gradient_tiles writes z[36][c/16][tiles][16] = A dY At for the tiles from..to of dy.
template <int W, typename T>
LB_INLINE void gradient_tiles(const image *of, const T *dy, int64_t from, int64_t to, block b, float *z) {
  const image s = *of;
  int64_t stride = b.stride();
  for (int64_t t = from; t < to; t++) {
    place q = place_of(s, t);
    int64_t rows = s.h - q.y < 4 ? s.h - q.y : 4, columns = s.w - q.x < 4 ? s.w - q.x : 4;
    for (int64_t k = 0; k < s.c; k += W) {
      const T *in = dy + ((q.n * s.h + q.y) * s.w + q.x) * s.pixel + k;
      float *out = z + b.at(k, t - from);
      floats<W> e[4][6];
      for (int r = 0; r < 4; r++) {
        floats<W> d[4];
        for (int c = 0; c < 4; c++)
          d[c] = r < rows && c < columns ? load<W>(in + (r * s.w + c) * s.pixel) : floats<W>{};
        gradient_line(d, 1, e[r], 1);
      }
      for (int c = 0; c < 6; c++) {
        floats<W> f[6];
        gradient_line(&e[0][c], 6, f, 1);
        for (int r = 0; r < 6; r++) store<W>(out + (6 * r + c) * stride, f[r]);
      }
    }
  }
}

// filters_stride is the distance of places of transformed filters, of the same kind as block::stride.
LB_INLINE int64_t filters_stride(int64_t out, int64_t in) { return out * in + panel; }

// filter_tile: G g Gt of one output channel o and W input channels from i on. Turned: rotated by 180 degrees,
// for backward data.
template <int W, typename T>
LB_INLINE void filter_tile(const T *w, int64_t o, int64_t i, int64_t in, bool turned, floats<W> u[places]) {
  floats<W> e[6][3];
  for (int c = 0; c < 3; c++) {
    floats<W> g[3];
    for (int r = 0; r < 3; r++)
      g[r] = load<W>(w + (o * 9 + (turned ? (2 - r) * 3 + 2 - c : r * 3 + c)) * in + i);
    filter_line(g, 1, &e[0][c], 3);
  }
  for (int r = 0; r < 6; r++) filter_line(e[r], 1, u + 6 * r, 1);
}

// forward_filters writes u[36][out/16][in][16] for the output channels from..to of w[out][3][3][in].
template <int W, typename T>
LB_INLINE void forward_filters(const T *w, int64_t from, int64_t to, int64_t out, int64_t in, float *u) {
  alignas(64) float buffer[places][8][W];  // place, output channel, input channel
  for (int64_t o = from; o < to; o += 8)
    for (int64_t i = 0; i < in; i += W) {
      for (int k = 0; k < 8; k++) {
        floats<W> t[places];
        filter_tile<W>(w, o + k, i, in, false, t);
        for (int p = 0; p < places; p++) store<W>(buffer[p][k], t[p]);
      }
      for (int p = 0; p < places; p++)
        for (int k = 0; k < W; k += 8)
          transpose(buffer[p][0] + k, W,
                    u + p * filters_stride(out, in) + (o / panel * in + i + k) * panel + o % panel, panel);
    }
}

// backward_filters writes u[36][in/16][out][16], rotated by 180 degrees.
template <int W, typename T>
LB_INLINE void backward_filters(const T *w, int64_t from, int64_t to, int64_t out, int64_t in, float *u) {
  for (int64_t i = 0; i < in; i += W)
    for (int64_t o = from; o < to; o++) {
      floats<W> t[places];
      filter_tile<W>(w, o, i, in, true, t);
      for (int p = 0; p < places; p++)
        store<W>(u + p * filters_stride(out, in) + (i / panel * out + o) * panel + i % panel, t[p]);
    }
}

// filter_gradients adds the threads' sums du[36][in/16][out][16], `next` floats apart, and writes
// dw[out][3][3][in] = Gt du G for the output channels from..to.
template <int W, typename T>
LB_INLINE void filter_gradients(const float *du, int threads, int64_t next, int64_t from, int64_t to,
                                int64_t out, int64_t in, T *dw) {
  for (int64_t i = 0; i < in; i += W)
    for (int64_t o = from; o < to; o++) {
      floats<W> e[3][6];
      for (int c = 0; c < 6; c++) {
        floats<W> u[6];
        for (int r = 0; r < 6; r++) {
          const float *at =
              du + (6 * r + c) * filters_stride(out, in) + (i / panel * out + o) * panel + i % panel;
          u[r] = load<W>(at);
          for (int t = 1; t < threads; t++) u[r] += load<W>(at + t * next);
        }
        weight_line(u, 1, &e[0][c], 6);
      }
      for (int r = 0; r < 3; r++) {
        floats<W> f[3];
        weight_line(e[r], 1, f, 1);
        for (int c = 0; c < 3; c++) store<W>(dw + (o * 9 + 3 * r + c) * in + i, f[c]);
      }
    }
}

#define LB_UNROLL _Pragma("GCC unroll 24")

// multiply_rows: R rows of Z panels of m, from v[c/16][tiles][16] and u[panel][c][16]. Panels of m are tiles
// * 16 floats apart, those of u c * 16.
template <int W, int R, int Z>
LB_INLINE void multiply_rows(const float *v, const float *u, float *m, int64_t rows, int64_t c,
                             int64_t tiles) {
  constexpr int L = panel / W;  // vectors of a panel
  for (int64_t row = 0; row < rows; row += R) {
    floats<W> acc[R][Z * L];
    LB_UNROLL for (int r = 0; r < R; r++) for (int z = 0; z < Z * L; z++) acc[r][z] = floats<W>{};
    const float *b = u;
    for (int64_t k = 0; k < c; k += panel) {
      const float *a = v + (k * tiles + row * panel);
      for (int i = 0; i < panel; i++, b += panel) {
        floats<W> f[Z * L];
        for (int z = 0; z < Z * L; z++) f[z] = load<W>(b + z / L * c * panel + z % L * W);
        LB_UNROLL for (int r = 0; r < R; r++) {
          float x = a[r * panel + i];
          for (int z = 0; z < Z * L; z++) acc[r][z] += x * f[z];
        }
      }
    }
    LB_UNROLL for (int r = 0; r < R; r++) for (int z = 0; z < Z * L; z++)
        store<W>(m + z / L * tiles * panel + (row + r) * panel + z % L * W, acc[r][z]);
  }
}

// Tiles are multiplied 12 at a time, and at the end, or of 16, 8: any multiple of 4 from 8 on.
constexpr int64_t step = 4, least = 8;

// whole is the number of tiles that are multiplied for a number of them: those that pad them are zero.
constexpr int64_t whole(int64_t count) { return count < least ? least : (count + step - 1) / step * step; }

// multiply_panels: Z panels of m for `rows` tiles.
template <int W, int Z>
LB_INLINE void multiply_panels(const float *v, const float *u, float *m, int64_t rows, int64_t c,
                               int64_t tiles) {
  int64_t rest = rows % 12 == 0 ? 0 : rows % 12 == 8 ? 8 : 16, most = rows - rest;
  multiply_rows<W, W == 16 ? 12 : 6, Z>(v, u, m, most, c, tiles);
  multiply_rows<W, W == 16 ? 8 : 4, Z>(v + most * panel, u, m + most * panel, rest, c, tiles);
}

// multiply: m = v u at each of the 36 places, for `rows` tiles. It fetches N ranges, of what is read and
// written next.
template <int W, int N, typename T>
LB_INLINE void multiply(const float *v, const float *u, float *m, int64_t rows, block from, block to,
                        const tile_range<T> *ahead) {
  position next[N];
  for (int i = 0; i < N; i++) next[i] = start(ahead + i);
  for (int p = 0; p < places; p++) {
    for (int i = 0; i < N; i++) fetch(ahead + i, next + i, p);
    int64_t o = 0;
    if (W == 16)
      for (; o + 2 * panel <= to.c; o += 2 * panel)
        multiply_panels<W, 2>(v, u + o * from.c, m + o * to.tiles, rows, from.c, from.tiles);
    for (; o < to.c; o += panel)
      multiply_panels<W, 1>(v, u + o * from.c, m + o * to.tiles, rows, from.c, from.tiles);
    v += from.stride(), u += filters_stride(from.c, to.c), m += to.stride();
  }
}

// accumulate_rows: R output channels of du[out][16] += z[rows][16] transposed * v[rows][16].
template <int W, int R>
LB_INLINE void accumulate_rows(const float *z, const float *v, float *du, int64_t rows) {
  constexpr int L = panel / W;
  floats<W> acc[R][L];
  LB_UNROLL for (int r = 0; r < R; r++) for (int l = 0; l < L; l++) acc[r][l] =
      load<W>(du + r * panel + l * W);
  for (int64_t t = 0; t < rows; t++) {
    floats<W> f[L];
    for (int l = 0; l < L; l++) f[l] = load<W>(v + t * panel + l * W);
    LB_UNROLL for (int r = 0; r < R; r++) {
      float x = z[t * panel + r];
      for (int l = 0; l < L; l++) acc[r][l] += x * f[l];
    }
  }
  LB_UNROLL for (int r = 0; r < R; r++) for (int l = 0; l < L; l++)
      store<W>(du + r * panel + l * W, acc[r][l]);
}

// accumulate: du[36][in/16][out][16] += z transposed * v at each place, over `rows` tiles. It fetches what is
// read next.
template <int W, typename T>
LB_INLINE void accumulate(const float *z, const float *v, float *du, int64_t rows, block out, block in,
                          const tile_range<T> *x, const tile_range<T> *dy) {
  position next_x = start(x), next_dy = start(dy);
  for (int p = 0; p < places; p++) {
    fetch(x, &next_x, p), fetch(dy, &next_dy, p);
    for (int64_t i = 0; i < in.c; i += panel)
      for (int64_t o = 0; o < out.c; o += panel) {
        const float *a = z + o * out.tiles, *b = v + i * in.tiles;
        float *to = du + (i * out.c + o * panel);
        if (W == 16) {
          accumulate_rows<W, 16>(a, b, to, rows);
        } else {
          accumulate_rows<W, 6>(a, b, to, rows);
          accumulate_rows<W, 6>(a + 6, b, to + 6 * panel, rows);
          accumulate_rows<W, 4>(a + 12, b, to + 12 * panel, rows);
        }
      }
    z += out.stride(), v += in.stride(), du += filters_stride(in.c, out.c);
  }
}
#undef LB_UNROLL

// winograd4 is the kernel of all three kinds: in and out are the channels of the convolution it computes;
// backward data swaps them. Threads divide the blocks of tiles of all groups; for the gradient of the weights
// the tiles, of which each computes all groups, one after the other.
template <int W, typename T>  // T: of tensors and weights, float or bf16
struct winograd4 : strip_kernel {
  using isa = machine<W>;
  int32_t kind;
  int threads;
  int64_t groups, out, in;  // out, in: of the weight of a group, [out 3 3 in]
  int64_t copies;           // of transformed filters, or of sums
  image x, y;
  block xs, ys;
  winograd4(const op &o, const value &xv, const value &wv, const value &yv, int t)
      : kind(o.kind),
        threads(t),
        groups(o.attr.groups),
        out(wv.dims[0] / groups),
        in(wv.dims[3]),
        x{xv.dims[0], xv.dims[1], xv.dims[2], in, in * groups},
        y{yv.dims[0], yv.dims[1], yv.dims[2], out, out * groups},
        xs{tiles, in},
        ys{tiles, out} {
    name = "winograd F(4x4, 3x3)";
    copies = kind == kind_conv_backward_weights ? threads : 1;
    shared = static_cast<uint64_t>(4 * copies * groups * filters_size());
    own = static_cast<uint64_t>(4 * (xs.size() + ys.size()));
    scratch = shared + static_cast<uint64_t>(threads) * own;
    unit = 4, good = unit * tiles / std::gcd(tiles, x.columns());
  }
  int64_t filters_size() const { return places * filters_stride(out, in); }
  // The filters of group g, or thread t's sums of it.
  float *filters(uint8_t *of_all, int64_t g, int t = 0) const {
    return reinterpret_cast<float *>(of_all) + (t * groups + g) * filters_size();
  }
  float *blocks(const op &o, int t) const {
    return reinterpret_cast<float *>(o.scratch + shared + static_cast<uint64_t>(t) * own);
  }
  // next is the end of the tiles that are fetched from `from` on: a block, or none.
  int64_t next(int64_t from, int64_t last) const {
    return in * out > most_fetched ? from : from + tiles < last ? from + tiles : last;
  }
  // after is the range of tiles that are read after `end`: of the same group, or the first ones of the next.
  tile_range<T> after(const image &s, const T *from, int64_t first, int64_t end, int64_t last, bool margin,
                      const T *following) const {
    if (end == last && following) return {&s, following, first, next(first, last), margin};
    return {&s, from, end, next(end, last), margin};
  }
  // in_next is the range of tiles of the next strip that are as far in it as `tile` is in this one: of group
  // g of one of the tensors ahead.
  tile_range<T> in_next(const image &s, const strip &of, int i, int64_t g, int64_t tile, bool margin) const {
    int64_t from = tile + s.tile_of(of.to) - s.tile_of(of.from), last = s.tile_of(of.next);
    if (!of.ahead[i] || from >= last) return {&s, nullptr, 0, 0, margin};
    return {&s, reinterpret_cast<const T *>(of.ahead[i]) + g * s.c, from, next(from, last), margin};
  }
  // each_filter calls f(group, from, to) for parts of the output channels of each group.
  template <typename F>
  void each_filter(int64_t grain, F f) const {
    parallel(groups * out, grain, threads, groups * places * in * out, [&](int64_t from, int64_t to, int) {
      while (from < to) {
        int64_t g = from / out, end = (g + 1) * out < to ? (g + 1) * out : to;
        f(g, from - g * out, end - g * out);
        from = end;
      }
    });
  }
  // begin transforms the filters, or clears the sums.
  void begin(const op &o, uint8_t *of_all) override {
    const int64_t size = out * 9 * in;
    if (kind == kind_conv)
      each_filter(panel, [&](int64_t g, int64_t a, int64_t b) {
        isa::template call<forward_filters<W, T>>(o.in<T>(1) + g * size, a, b, out, in, filters(of_all, g));
      });
    else if (kind == kind_conv_backward_data)
      each_filter(1, [&](int64_t g, int64_t a, int64_t b) {
        isa::template call<backward_filters<W, T>>(o.in<T>(1) + g * size, a, b, out, in, filters(of_all, g));
      });
    else
      std::memset(of_all, 0, static_cast<size_t>(shared));
  }
  void end(const op &o, uint8_t *of_all) override {
    if (kind != kind_conv_backward_weights) return;
    each_filter(1, [&](int64_t g, int64_t a, int64_t b) {
      isa::template call<filter_gradients<W, T>>(static_cast<const float *>(filters(of_all, g)), threads,
                                                 groups * filters_size(), a, b, out, in,
                                                 o.out<T>(0) + g * out * 9 * in);
    });
    if (o.results.size() > 1)
      typed(*o.operands[1], [&](auto number) {
        sum_columns(o.in<decltype(number)>(1), y.n * y.h * y.w, y.pixel, o.out(1), threads);
      });
  }
  void run(const op &o) override {
    begin(o, o.scratch);
    if (kind == kind_conv)
      convolve(o, x, xs, o.in<T>(0), y, ys, o.in(2), o.out<T>(0));
    else if (kind == kind_conv_backward_data)
      convolve(o, y, ys, o.in<T>(0), x, xs, nullptr, o.out<T>(0));
    else
      weights(o);
    end(o, o.scratch);
  }
  void part(const op &o, const strip &s, uint8_t *of_all, uint8_t *of_thread, int t) override {
    auto *v = reinterpret_cast<float *>(of_thread);
    const auto *from = reinterpret_cast<const T *>(s.in[0]), *dy = reinterpret_cast<const T *>(s.in[1]);
    const int64_t first = x.tile_of(s.from), last = x.tile_of(s.to);
    const bool data = kind == kind_conv_backward_data;
    for (int64_t g = 0; g < groups; g++) {
      if (kind == kind_conv_backward_weights) {
        sum_tiles(from + g * in, dy + g * out, v, filters(of_all, g, t), first, last,
                  [&](int64_t a, int64_t) {
                    return std::array{in_next(x, s, 0, g, a, true), in_next(y, s, 1, g, a, false)};
                  });
        continue;
      }
      const image &a = data ? y : x, &b = data ? x : y;
      const block &as = data ? ys : xs, &bs = data ? xs : ys;
      auto *to = reinterpret_cast<T *>(s.out) + g * b.c;
      const float *bias = data || !o.in(2) ? nullptr : o.in(2) + g * b.c;
      convolve_tiles<3>(
          filters(of_all, g), v, a, as, from + g * a.c, b, bs, bias, to, first, last,
          [&](int64_t at, int64_t) {
            tile_range<T> writes{&b, to, at, next(at, last), false};
            return std::array{in_next(a, s, 0, g, at, true), in_next(a, s, 1, g, at, true), writes};
          });
    }
  }
  void convolve(const op &o, const image &s, block sb, const T *from, const image &d, block db,
                const float *bias, T *to) const {
    // Units are blocks of tiles, those of a group after each other.
    const int64_t count = s.count(), units = (count + tiles - 1) / tiles;
    balanced(groups * units, 1, threads, groups * count * places * in, [&](int64_t unit, int64_t end, int t) {
      for (int64_t g; unit < end; unit = (g + 1) * units) {
        g = unit / units;
        const T *of = from + g * s.c, *following = g + 1 < groups ? of + s.c : nullptr;
        T *result = to + g * d.c;
        convolve_tiles<2>(filters(o.scratch, g), blocks(o, t), s, sb, of, d, db,
                          bias ? bias + g * d.c : nullptr, result, unit % units * tiles,
                          std::min((end - g * units) * tiles, count), [&](int64_t a, int64_t b) {
                            return std::array{after(s, of, 0, b, count, true, following),
                                              tile_range<T>{&d, result, a, next(a, count), false}};
                          });
      }
    });
  }
  // convolve_tiles computes the tiles first..last. ahead(a, b) are the N ranges that are fetched while the
  // tiles a..b are multiplied.
  template <int N, typename F>
  void convolve_tiles(const float *u, float *v, const image &s, block sb, const T *from, const image &d,
                      block db, const float *bias, T *to, int64_t first, int64_t last, F ahead) const {
    float *m = v + sb.size();
    for (int64_t a = first; a < last; a += sb.tiles) {
      int64_t b = a + sb.tiles < last ? a + sb.tiles : last, rows = whole(b - a);
      const std::array<tile_range<T>, N> ranges = ahead(a, b);
      isa::template call<input_tiles<W, T>>(&s, from, a, b, a + rows, sb, v);
      isa::template call<multiply<W, N, T>>(v, u, m, rows, sb, db, ranges.data());
      isa::template call<output_tiles<W, T>>(&d, m, a, b, db, bias, to);
    }
  }
  void weights(const op &o) const {
    int64_t count = x.count();
    parallel(count, 1, threads, groups * count * places * in, [&](int64_t first, int64_t last, int t) {
      for (int64_t g = 0; g < groups; g++) {
        const T *of_x = o.in<T>(0) + g * in, *of_dy = o.in<T>(1) + g * out;
        bool more = g + 1 < groups;
        sum_tiles(of_x, of_dy, blocks(o, t), filters(o.scratch, g, t), first, last, [&](int64_t, int64_t b) {
          return std::array{after(x, of_x, first, b, last, true, more ? of_x + in : nullptr),
                            after(y, of_dy, first, b, last, false, more ? of_dy + out : nullptr)};
        });
      }
    });
  }
  // sum_tiles adds to sum the products of the tiles first..last; ahead is as that of convolve_tiles, of two.
  template <typename F>
  void sum_tiles(const T *from_x, const T *from_dy, float *v, float *sum, int64_t first, int64_t last,
                 F ahead) const {
    float *z = v + xs.size();
    for (int64_t a = first; a < last; a += xs.tiles) {
      int64_t b = a + xs.tiles < last ? a + xs.tiles : last;
      const std::array<tile_range<T>, 2> ranges = ahead(a, b);
      isa::template call<input_tiles<W, T>>(&x, from_x, a, b, b, xs, v);
      isa::template call<gradient_tiles<W, T>>(&y, from_dy, a, b, ys, z);
      isa::template call<accumulate<W, T>>(z, v, sum, b - a, ys, xs, &ranges[0], &ranges[1]);
    }
  }
};

}  // namespace
#endif

std::unique_ptr<kernel> make_winograd4(const op &o, cpu &d, const value &x, const value &w, const value &y) {
#if defined(__x86_64__)
  return typed(x, [&](auto number) -> std::unique_ptr<kernel> {
    using T = decltype(number);
    if constexpr (std::is_same_v<T, bf16>)
      if (d.width == 16 && multiplies_bf16())
        return std::make_unique<winograd4<16, instruction_bf16>>(o, x, w, y, d.threads);
    if (d.width == 16) return std::make_unique<winograd4<16, T>>(o, x, w, y, d.threads);
    if (d.width == 8) return std::make_unique<winograd4<8, T>>(o, x, w, y, d.threads);
    return nullptr;
  });
#else
  (void)o, (void)d, (void)x, (void)w, (void)y;
  return nullptr;
#endif
}

}  // namespace lb
