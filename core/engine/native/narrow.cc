//go:build !nocpu

// 3x3 convolutions of stride 1 from few channels to very few, with which decoders end: at most 16 channels in
// and 4 out. Their results do not fill vectors, so the forward kernel's vectors are of pixels, and those of
// the gradient of the weights are of input channels.
//
//   forward   x[h w c] -> planes[3 rows][c][w], by transposition; y[o][w] = bias + sum planes * weight
//   weights   x[h w c] -> rows[3][w][16], zeros around; dw[r s o][16] += sum over w of dy[o] * rows
//
// x and dy are read once and y is written once. Workspace: three rows of x for each thread, the weights or
// the sums of each thread. Threads divide the rows of all images.
//
// Order of summation: forward channels, then taps, each step one FMA. Gradients of weights: a row's pixels in
// order, then a thread's rows, then the threads. Results are the same with the same number of threads.
#include <cstring>

#include "simd.h"

namespace lb {

#if defined(__x86_64__)
namespace {

constexpr int64_t most_in = 16, most_out = 4, taps = 9;
constexpr int64_t step = 32;  // pixels that are computed together

// fill_planes writes the planes of a row of w pixels, to[c][1 + pixel]; `readable` floats lie from x on.
template <int W>
LB_INLINE void fill_planes(const float *x, int64_t w, int64_t in, int64_t readable, float *to,
                           int64_t pitch) {
  for (int64_t q = 0; q < w; q += 8)
    for (int64_t c = 0; c < in; c += 8) {
      const float *from = x + q * in + c;
      float *plane = to + c * pitch + 1 + q;
      if (q + 8 <= w && (q + 7) * in + c + 8 <= readable) {
        transpose(from, in, plane, pitch);
        continue;
      }
      for (int64_t i = 0; i < 8 && q + i < w; i++)
        for (int64_t k = 0; k < 8 && c + k < in; k++) plane[k * pitch + i] = from[i * in + k];
    }
}

// planes are three rows of x as planes: the one above the result's, its own, and the one below.
struct planes {
  const float *row[3];
  int64_t pitch, in;
};

// forward_row writes a row y[w][O] from weights[in][9][O].
template <int W, int O>
LB_INLINE void forward_row(const planes *p, const float *weights, const float *bias, int64_t w, float *y) {
  constexpr int Z = W == 16 || O < 4 ? 2 : 1;  // vectors of pixels
  alignas(64) float result[O][Z * W];
  for (int64_t q = 0; q < w; q += Z * W) {
    floats<W> acc[O][Z];
    for (int o = 0; o < O; o++)
      for (int z = 0; z < Z; z++) acc[o][z] = floats<W>{} + (bias ? bias[o] : 0);
    const float *f = weights;
    for (int64_t i = 0; i < p->in; i++)
      for (int r = 0; r < 3; r++) {
        const float *x = p->row[r] + i * p->pitch + q;
        for (int s = 0; s < 3; s++, f += O) {
          floats<W> v[Z];
          for (int z = 0; z < Z; z++) v[z] = load<W>(x + s + z * W);
          for (int o = 0; o < O; o++)
            for (int z = 0; z < Z; z++) acc[o][z] += f[o] * v[z];
        }
      }
    for (int o = 0; o < O; o++)
      for (int z = 0; z < Z; z++) store<W>(result[o] + z * W, acc[o][z]);
    int64_t count = w - q < Z * W ? w - q : Z * W;
    for (int64_t i = 0; i < count; i++)
      for (int o = 0; o < O; o++) y[(q + i) * O + o] = result[o][i];
  }
}

// fill_row copies a row of w pixels to to[1 + pixel][16]; `readable` floats lie from x on. What stands in
// channels that x does not have is not used.
template <int W>
LB_INLINE void fill_row(const float *x, int64_t w, int64_t in, int64_t readable, float *to) {
  for (int64_t q = 0; q < w; q++) {
    float *pixel = to + (1 + q) * most_in;
    if (q * in + most_in <= readable)
      for (int64_t k = 0; k < most_in; k += W) store<W>(pixel + k, load<W>(x + q * in + k));
    else
      for (int64_t k = 0; k < in; k++) pixel[k] = x[q * in + k];
  }
}

// weights_row adds to sum[3 s][4][16] what a row contributes, for the output channels o..o+O of dy[w][out].
template <int W, int O>
LB_INLINE void weights_row(const float *row, const float *dy, int64_t w, int64_t out, float *sum) {
  constexpr int L = most_in / W;
  floats<W> acc[3][O][L];
  for (int s = 0; s < 3; s++)
    for (int o = 0; o < O; o++)
      for (int l = 0; l < L; l++) acc[s][o][l] = floats<W>{};
  for (int64_t q = 0; q < w; q++)
    for (int s = 0; s < 3; s++)
      for (int l = 0; l < L; l++) {
        floats<W> v = load<W>(row + (q + s) * most_in + l * W);
        for (int o = 0; o < O; o++) acc[s][o][l] += dy[q * out + o] * v;
      }
  for (int s = 0; s < 3; s++)
    for (int o = 0; o < O; o++)
      for (int l = 0; l < L; l++) {
        float *to = sum + (s * most_out + o) * most_in + l * W;
        store<W>(to, load<W>(to) + acc[s][o][l]);
      }
}

template <int W>
struct narrow_conv : kernel {
  using isa = machine<W>;
  int32_t kind;
  int threads;
  int64_t n, h, w, in, out;
  narrow_conv(const op &o, const value &x, int64_t outputs, int t)
      : kind(o.kind), threads(t), n(x.dims[0]), h(x.dims[1]), w(x.dims[2]), in(x.dims[3]), out(outputs) {
    name = "direct, few channels";
    scratch = static_cast<uint64_t>(4 * (shared() + threads * own()));
  }
  // pitch is the distance of planes: a row, a zero on each side, and what the last vectors read.
  int64_t pitch() const { return (w + step - 1) / step * step + 16; }
  int64_t row_size() const { return kind == kind_conv ? (in + 7) / 8 * 8 * pitch() : (w + 2) * most_in; }
  // Floats of the workspace: of all threads, and of each.
  int64_t shared() const { return kind == kind_conv ? (taps * in * out + 15) / 16 * 16 : 0; }
  int64_t sums() const { return kind == kind_conv ? 0 : taps * most_out * most_in; }
  int64_t own() const { return sums() + 3 * row_size(); }
  float *space(const op &o, int t) const {
    return reinterpret_cast<float *>(o.scratch) + shared() + t * own();
  }
  // fill writes row y of an image to its place among the three rows; a row outside is zero.
  void fill(const op &o, int64_t image, int64_t y, float *rows) const {
    float *to = rows + (y + 3) % 3 * row_size();
    int64_t at = (image * h + y) * w * in, readable = n * h * w * in - at;
    if (y < 0 || y >= h)
      std::memset(to, 0, static_cast<size_t>(4 * row_size()));
    else if (kind == kind_conv)
      isa::template call<fill_planes<W>>(o.in(0) + at, w, in, readable, to, pitch());
    else
      isa::template call<fill_row<W>>(o.in(0) + at, w, in, readable, to);
  }
  // each_row calls f(row of all images, y of it) when the three rows around it are filled.
  template <typename F>
  void each_row(const op &o, int64_t from, int64_t to, float *rows, F f) const {
    std::memset(rows, 0, static_cast<size_t>(4 * 3 * row_size()));
    for (int64_t at = from; at < to; at++) {
      int64_t image = at / h, y = at % h;
      for (int64_t r = at == from || y == 0 ? y - 1 : y + 1; r <= y + 1; r++) fill(o, image, r, rows);
      f(at, y);
    }
  }
  void run(const op &o) override {
    if (kind == kind_conv)
      forward(o);
    else
      weights(o);
  }
  void result_row(const planes *p, const float *f, const float *bias, float *y) const {
    if (out == 1) isa::template call<forward_row<W, 1>>(p, f, bias, w, y);
    if (out == 2) isa::template call<forward_row<W, 2>>(p, f, bias, w, y);
    if (out == 3) isa::template call<forward_row<W, 3>>(p, f, bias, w, y);
    if (out == 4) isa::template call<forward_row<W, 4>>(p, f, bias, w, y);
  }
  void forward(const op &o) const {
    auto *f = reinterpret_cast<float *>(o.scratch);
    for (int64_t k = 0; k < out; k++)
      for (int64_t t = 0; t < taps; t++)
        for (int64_t i = 0; i < in; i++) f[(i * taps + t) * out + k] = o.in(1)[(k * taps + t) * in + i];
    parallel(n * h, 1, threads, n * h * w * in, [&](int64_t from, int64_t to, int t) {
      float *rows = space(o, t);
      each_row(o, from, to, rows, [&](int64_t at, int64_t y) {
        planes p{{nullptr, nullptr, nullptr}, pitch(), in};
        for (int r = 0; r < 3; r++) p.row[r] = rows + (y + 2 + r) % 3 * row_size();
        result_row(&p, f, o.in(2), o.out(0) + at * w * out);
      });
    });
  }
  // add adds a row's part of the sums, of as many output channels at once as there are registers for.
  void add(const float *row, const float *dy, float *sum) const {
    constexpr int64_t together = W == 16 ? 4 : 2;
    for (int64_t k = 0; k < out; k += together, dy += together, sum += together * most_in) {
      int64_t count = out - k < together ? out - k : together;
      if (count == 1) isa::template call<weights_row<W, 1>>(row, dy, w, out, sum);
      if (count == 2) isa::template call<weights_row<W, 2>>(row, dy, w, out, sum);
      if (count == 3) isa::template call<weights_row<W, 3>>(row, dy, w, out, sum);
      if (count == 4) isa::template call<weights_row<W, 4>>(row, dy, w, out, sum);
    }
  }
  void weights(const op &o) const {
    for (int t = 0; t < threads; t++) std::memset(space(o, t), 0, static_cast<size_t>(4 * sums()));
    parallel(n * h, 1, threads, n * h * w * in, [&](int64_t from, int64_t to, int t) {
      float *sum = space(o, t), *rows = sum + sums();
      each_row(o, from, to, rows, [&](int64_t at, int64_t y) {
        for (int r = 0; r < 3; r++)
          add(rows + (y + 2 + r) % 3 * row_size(), o.in(1) + at * w * out, sum + r * 3 * most_out * most_in);
      });
    });
    for (int64_t k = 0; k < out; k++)
      for (int64_t tap = 0; tap < taps; tap++)
        for (int64_t i = 0; i < in; i++) {
          int64_t at = (tap * most_out + k) * most_in + i;
          float sum = 0;
          for (int t = 0; t < threads; t++) sum += space(o, t)[at];
          o.out(0)[(k * taps + tap) * in + i] = sum;
        }
    if (o.results.size() > 1) sum_columns(o.in(1), n * h * w, out, o.out(1), threads);
  }
};

}  // namespace
#endif

std::unique_ptr<kernel> make_narrow_conv(const op &o, cpu &d, const value &x, const value &w) {
#if defined(__x86_64__)
  int64_t in = w.dims[3], out = w.dims[0];
  if (o.kind == kind_conv_backward_data || in > most_in || out > most_out) return nullptr;
  if (d.width == 16) return std::make_unique<narrow_conv<16>>(o, x, out, d.threads);
  if (d.width == 8) return std::make_unique<narrow_conv<8>>(o, x, out, d.threads);
#else
  (void)o, (void)d, (void)x, (void)w;
#endif
  return nullptr;
}

}  // namespace lb
