//go:build !nocpu

// 3x3 convolutions of stride 1 by Winograd's minimal filtering F(2x2, 3x3)
// (Lavin and Gray, 2016): 16 products for each 2x2 tile, where direct convolution has 36.
//
//   forward         Y = At [ U . (Bt d B) ] A      U = G g Gt
//   backward data   the same, with filters rotated by 180 degrees and channels transposed
//   backward weights  dg = Gt [ sum over tiles of (A dY At) . (Bt d B) ] G, its adjoint
//
// d is a 4x4 tile of the input around the 2x2 tile of the output; "." is, at each
// of the 16 positions, a product of matrices over channels (or, for dg, over tiles).
// The constants of G are halves and the others ones, so rounding is about twice
// that of the direct sum.
//
// A block of tiles is transformed, multiplied and transformed back before the next one,
// so that it stays in the L2 cache: x is read once and y written once. Workspace: the
// transformed filters, and for each thread a block of both sides; for backward weights also
// the sums of each thread.
//
// Order of summation: channels in order; for dg each thread's tiles in order,
// then the threads. Results are reproducible with the same number of threads.
#include <cstring>
#include <numeric>
#include <type_traits>

#include "balance.h"
#include "product.h"
#include "strips.h"

namespace lb {

#if defined(__x86_64__)
namespace {

constexpr int64_t tiles = 48;  // of a block

// image is a tensor [n, h, w, c] divided into 2x2 tiles.
struct image {
  int64_t n, h, w, c;
  int64_t rows() const { return (h + 1) / 2; }
  int64_t columns() const { return (w + 1) / 2; }
  int64_t count() const { return n * rows() * columns(); }
  // tile_of is the first tile that begins at a row of all images.
  int64_t tile_of(int64_t row) const { return (row / h * rows() + row % h / 2) * columns(); }
};

struct place {
  int64_t n, y, x;  // image, and the upper left output of the tile
};

place place_of(const image &s, int64_t tile) {
  int64_t row = tile / s.columns();
  return {row / s.rows(), row % s.rows() * 2, tile % s.columns() * 2};
}

// padded is the number of rows of a block that hold n tiles.
int64_t padded(int64_t n) { return (n + product_rows - 1) / product_rows * product_rows; }

// input_tiles writes v[16][tiles][c] = Bt d B for the tiles from..to of x; rows that
// pad the block are zero.
template <int W, typename T>
LB_INLINE void input_tiles(const image *of, const T *x, int64_t from, int64_t to, float *v) {
  const image s = *of;
  for (int64_t t = from; t < from + padded(to - from); t++) {
    float *out = v + (t - from) * s.c;
    if (t >= to) {
      for (int p = 0; p < 16; p++) std::memset(out + p * tiles * s.c, 0, static_cast<size_t>(4 * s.c));
      continue;
    }
    place q = place_of(s, t);
    for (int64_t k = 0; k < s.c; k += W) {
      floats<W> d[4][4], e[4][4];
      for (int r = 0; r < 4; r++)
        for (int c = 0; c < 4; c++) {
          int64_t y = q.y + r - 1, z = q.x + c - 1;
          d[r][c] = floats<W>{};
          if (y < 0 || y >= s.h || z < 0 || z >= s.w) continue;
          d[r][c] = load<W>(x + ((q.n * s.h + y) * s.w + z) * s.c + k);
        }
      for (int c = 0; c < 4; c++) {
        e[0][c] = d[0][c] - d[2][c];
        e[1][c] = d[1][c] + d[2][c];
        e[2][c] = d[2][c] - d[1][c];
        e[3][c] = d[1][c] - d[3][c];
      }
      for (int r = 0; r < 4; r++) {
        float *o = out + 4 * r * tiles * s.c + k;
        store<W>(o, e[r][0] - e[r][2]);
        store<W>(o + tiles * s.c, e[r][1] + e[r][2]);
        store<W>(o + 2 * tiles * s.c, e[r][2] - e[r][1]);
        store<W>(o + 3 * tiles * s.c, e[r][1] - e[r][3]);
      }
    }
  }
}

// output_tiles writes y = At m A for the tiles from..to, from m[16][tiles][c].
template <int W, typename T>
LB_INLINE void output_tiles(const image *of, const float *m, int64_t from, int64_t to, T *y) {
  const image s = *of;
  for (int64_t t = from; t < to; t++) {
    place q = place_of(s, t);
    for (int64_t k = 0; k < s.c; k += W) {
      const float *in = m + (t - from) * s.c + k;
      floats<W> e[2][4];
      for (int c = 0; c < 4; c++) {
        floats<W> a = load<W>(in + c * tiles * s.c), b = load<W>(in + (4 + c) * tiles * s.c),
                  d = load<W>(in + (8 + c) * tiles * s.c), f = load<W>(in + (12 + c) * tiles * s.c);
        e[0][c] = a + b + d;
        e[1][c] = b - d - f;
      }
      for (int r = 0; r < 2; r++) {
        if (q.y + r >= s.h) continue;
        T *o = y + ((q.n * s.h + q.y + r) * s.w + q.x) * s.c + k;
        store<W>(o, e[r][0] + e[r][1] + e[r][2]);
        if (q.x + 1 < s.w) store<W>(o + s.c, e[r][1] - e[r][2] - e[r][3]);
      }
    }
  }
}

// gradient_tiles writes z[16][tiles][c] = A dY At for the tiles from..to of dy.
template <int W, typename T>
LB_INLINE void gradient_tiles(const image *of, const T *dy, int64_t from, int64_t to, float *z) {
  const image s = *of;
  for (int64_t t = from; t < to; t++) {
    float *out = z + (t - from) * s.c;
    place q = place_of(s, t);
    for (int64_t k = 0; k < s.c; k += W) {
      floats<W> d[2][2], e[4][2];
      for (int r = 0; r < 2; r++)
        for (int c = 0; c < 2; c++) {
          bool inside = q.y + r < s.h && q.x + c < s.w;
          d[r][c] = inside ? load<W>(dy + ((q.n * s.h + q.y + r) * s.w + q.x + c) * s.c + k) : floats<W>{};
        }
      for (int c = 0; c < 2; c++) {
        e[0][c] = d[0][c];
        e[1][c] = d[0][c] + d[1][c];
        e[2][c] = d[0][c] - d[1][c];
        e[3][c] = -d[1][c];
      }
      for (int r = 0; r < 4; r++) {
        float *o = out + 4 * r * tiles * s.c + k;
        store<W>(o, e[r][0]);
        store<W>(o + tiles * s.c, e[r][0] + e[r][1]);
        store<W>(o + 2 * tiles * s.c, e[r][0] - e[r][1]);
        store<W>(o + 3 * tiles * s.c, -e[r][1]);
      }
    }
  }
}

// filters of one output channel o, sixteen input channels i from i on: G g Gt.
// Turned: rotated by 180 degrees, for backward data.
template <int W, typename T>
LB_INLINE void filter_tile(const T *w, int64_t o, int64_t i, int64_t in, bool turned, floats<W> u[16]) {
  const float half = 0.5f;
  floats<W> e[4][3];
  for (int c = 0; c < 3; c++) {
    floats<W> g[3];
    for (int r = 0; r < 3; r++) {
      int at = turned ? (2 - r) * 3 + 2 - c : r * 3 + c;
      g[r] = load<W>(w + (o * 9 + at) * in + i);
    }
    floats<W> s = half * (g[0] + g[2]), t = half * g[1];
    e[0][c] = g[0];
    e[1][c] = s + t;
    e[2][c] = s - t;
    e[3][c] = g[2];
  }
  for (int r = 0; r < 4; r++) {
    floats<W> s = half * (e[r][0] + e[r][2]), t = half * e[r][1];
    u[4 * r] = e[r][0];
    u[4 * r + 1] = s + t;
    u[4 * r + 2] = s - t;
    u[4 * r + 3] = e[r][2];
  }
}

// forward_filters writes u[16][in][out] for the output channels from..to of
// w[out][3][3][in]; both are multiples of 16. The filters of W output channels at a time go through
// a buffer, which is transposed: stores are whole vectors.
template <int W, typename T>
LB_INLINE void forward_filters(const T *w, int64_t from, int64_t to, int64_t out, int64_t in, float *u) {
  alignas(64) float buffer[16][8][W];  // place, output channel, input channel
  for (int64_t o = from; o < to; o += 8)
    for (int64_t i = 0; i < in; i += W) {
      for (int k = 0; k < 8; k++) {
        floats<W> t[16];
        filter_tile<W>(w, o + k, i, in, false, t);
        for (int p = 0; p < 16; p++) store<W>(buffer[p][k], t[p]);
      }
      for (int p = 0; p < 16; p++)
        for (int k = 0; k < W; k += 8) transpose(buffer[p][0] + k, W, u + (p * in + i + k) * out + o, out);
    }
}

// backward_filters writes u[16][out][in], rotated by 180 degrees.
template <int W, typename T>
LB_INLINE void backward_filters(const T *w, int64_t from, int64_t to, int64_t out, int64_t in, float *u) {
  for (int64_t o = from; o < to; o++)
    for (int64_t i = 0; i < in; i += W) {
      floats<W> t[16];
      filter_tile<W>(w, o, i, in, true, t);
      for (int p = 0; p < 16; p++) store<W>(u + (p * out + o) * in + i, t[p]);
    }
}

// filter_gradients adds the threads' sums du[thread][16][out][in] and writes
// dw[out][3][3][in] = Gt du G for the output channels from..to.
template <int W, typename T>
LB_INLINE void filter_gradients(const float *du, int threads, int64_t from, int64_t to, int64_t out,
                                int64_t in, T *dw) {
  const float half = 0.5f;
  for (int64_t o = from; o < to; o++)
    for (int64_t i = 0; i < in; i += W) {
      floats<W> u[4][4], e[3][4];
      for (int p = 0; p < 16; p++) {
        const float *at = du + (p * out + o) * in + i;
        floats<W> sum = load<W>(at);
        for (int t = 1; t < threads; t++) sum = sum + load<W>(at + t * 16 * out * in);
        u[p / 4][p % 4] = sum;
      }
      for (int c = 0; c < 4; c++) {
        floats<W> s = half * (u[1][c] + u[2][c]), t = half * (u[1][c] - u[2][c]);
        e[0][c] = u[0][c] + s;
        e[1][c] = t;
        e[2][c] = s + u[3][c];
      }
      for (int r = 0; r < 3; r++) {
        floats<W> s = half * (e[r][1] + e[r][2]), t = half * (e[r][1] - e[r][2]);
        T *w = dw + (o * 9 + 3 * r) * in + i;
        store<W>(w, e[r][0] + s);
        store<W>(w + in, t);
        store<W>(w + 2 * in, s + e[r][3]);
      }
    }
}

// winograd is the kernel of all three kinds: in and out are the channels of the
// convolution it computes; backward data swaps them.
template <int W, typename T>  // T: of tensors and weights, float or bf16
struct winograd : strip_kernel {
  using isa = machine<W>;
  int32_t kind;
  int threads;
  int64_t out, in;  // of the weight [out 3 3 in]
  image x, y;
  winograd(const op &o, const value &xv, const value &wv, const value &yv, int t)
      : kind(o.kind),
        threads(t),
        out(wv.dims[0]),
        in(wv.dims[3]),
        x{xv.dims[0], xv.dims[1], xv.dims[2], in},
        y{yv.dims[0], yv.dims[1], yv.dims[2], out} {
    int64_t filters = kind == kind_conv_backward_weights ? threads : 1;
    name = "winograd F(2x2, 3x3)";
    shared = static_cast<uint64_t>(4 * filters * 16 * in * out);
    own = static_cast<uint64_t>(4 * 16 * tiles * (in + out));
    scratch = shared + static_cast<uint64_t>(threads) * own;
    unit = 2, good = unit * tiles / std::gcd(tiles, x.columns());
  }
  uint8_t *space(const op &o, int t) const { return o.scratch + shared + static_cast<uint64_t>(t) * own; }
  // begin transforms the filters, or clears the sums.
  void begin(const op &o, uint8_t *of_all) override {
    auto *u = reinterpret_cast<float *>(of_all);
    if (kind == kind_conv)
      parallel(out, 16, threads, 16 * in * out, [&](int64_t a, int64_t b, int) {
        isa::template call<forward_filters<W, T>>(o.in<T>(1), a, b, out, in, u);
      });
    else if (kind == kind_conv_backward_data)
      parallel(out, 1, threads, 16 * in * out, [&](int64_t a, int64_t b, int) {
        isa::template call<backward_filters<W, T>>(o.in<T>(1), a, b, out, in, u);
      });
    else
      std::memset(of_all, 0, static_cast<size_t>(shared));
  }
  void end(const op &o, uint8_t *of_all) override {
    if (kind != kind_conv_backward_weights) return;
    const auto *du = reinterpret_cast<const float *>(of_all);
    parallel(out, 1, threads, 16 * in * out, [&](int64_t a, int64_t b, int) {
      isa::template call<filter_gradients<W, T>>(du, threads, a, b, out, in, o.out<T>(0));
    });
  }
  void part(const op &, const strip &s, uint8_t *of_all, uint8_t *of_thread, int t) override {
    tiles_of(s, x.tile_of(s.from), x.tile_of(s.to), of_all, of_thread, t);
  }
  void run(const op &o) override {
    begin(o, o.scratch);
    strip s{};
    for (size_t i = 0; i < 2; i++) s.in[i] = o.operands[i]->data;
    s.out = o.results[0]->data;
    int64_t count = x.count();
    auto compute = [&](int64_t first, int64_t last, int t) {
      tiles_of(s, first, last, o.scratch, space(o, t), t);
    };
    if (kind == kind_conv_backward_weights)
      parallel(count, 1, threads, count * 16 * in, compute);
    else
      balanced(count, tiles, threads, count * 16 * in, compute);
    end(o, o.scratch);
  }
  // tiles_of computes the tiles first..last of the tensors of a strip.
  void tiles_of(const strip &s, int64_t first, int64_t last, uint8_t *of_all, uint8_t *of_thread,
                int t) const {
    auto *u = reinterpret_cast<float *>(of_all), *v = reinterpret_cast<float *>(of_thread);
    const auto *from = reinterpret_cast<const T *>(s.in[0]);
    auto *to = reinterpret_cast<T *>(s.out);
    if (kind == kind_conv_backward_weights)
      weights(from, reinterpret_cast<const T *>(s.in[1]), v, u + t * 16 * in * out, first, last);
    else if (kind == kind_conv)
      convolve(u, v, x, from, y, to, first, last);
    else
      convolve(u, v, y, from, x, to, first, last);
  }
  void convolve(const float *u, float *v, const image &s, const T *from, const image &d, T *to, int64_t first,
                int64_t last) const {
    float *m = v + 16 * tiles * s.c;
    for (int64_t a = first; a < last; a += tiles) {
      int64_t b = a + tiles < last ? a + tiles : last;
      isa::template call<input_tiles<W, T>>(&s, from, a, b, v);
      for (int p = 0; p < 16; p++)
        isa::template call<multiply<W>>(v + p * tiles * s.c, u + p * in * out, m + p * tiles * d.c,
                                        padded(b - a), s.c, d.c);
      isa::template call<output_tiles<W, T>>(&d, m, a, b, to);
    }
  }
  void weights(const T *from, const T *dy, float *v, float *sum, int64_t first, int64_t last) const {
    float *z = v + 16 * tiles * in;
    for (int64_t a = first; a < last; a += tiles) {
      int64_t b = a + tiles < last ? a + tiles : last;
      isa::template call<input_tiles<W, T>>(&x, from, a, b, v);
      isa::template call<gradient_tiles<W, T>>(&y, dy, a, b, z);
      for (int p = 0; p < 16; p++)
        isa::template call<accumulate<W>>(z + p * tiles * out, v + p * tiles * in, sum + p * in * out, b - a,
                                          out, in);
    }
  }
};

}  // namespace
#endif

std::unique_ptr<kernel> make_winograd2(const op &o, cpu &d, const value &x, const value &w, const value &y) {
#if defined(__x86_64__)
  return typed(x, [&](auto number) -> std::unique_ptr<kernel> {
    using T = decltype(number);
    if constexpr (std::is_same_v<T, bf16>)
      if (d.width == 16 && multiplies_bf16())
        return std::make_unique<winograd<16, instruction_bf16>>(o, x, w, y, d.threads);
    if (d.width == 16) return std::make_unique<winograd<16, T>>(o, x, w, y, d.threads);
    if (d.width == 8) return std::make_unique<winograd<8, T>>(o, x, w, y, d.threads);
    return nullptr;
  });
#else
  (void)o, (void)d, (void)x, (void)w, (void)y;
  return nullptr;
#endif
}

}  // namespace lb
