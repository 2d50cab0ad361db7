//go:build !nocpu

// Convolutions whose numbers of channels are no multiples of 16, by the kernels for such: tensors are padded
// with channels of zeros, a block of images at a time, so that the padded ones stay in the second cache.
//
//   forward, backward data   the operand is padded and the result's first channels are copied
//   backward weights         both operands are padded; the blocks' gradients are added, in their order
//
// A tensor whose channels are a multiple of 16 is used where it lies. Workspace: the padded weights, those of
// a block's tensors that are padded, and the workspace of the kernel.
#include <algorithm>
#include <cstring>

#include "cpu.h"

namespace lb {

#if defined(__x86_64__)
namespace {

constexpr int64_t multiple = 16;
// The library computes with the channels that it sums over as they are, without copies: of its time by the
// table of rates, for padded channels, it took this share in steps of InfoPro, beside ours
// (BenchmarkConvFewChannels).
constexpr double without_copies = 0.72;
constexpr int64_t block_bytes = 512 << 10;  // of the padded tensors of a block, for each thread

int64_t padded(int64_t channels) { return (channels + multiple - 1) / multiple * multiple; }

// widen copies rows of c channels to rows of `wide`, zeros after them.
LB_CLONES void widen(const float *x, int64_t from, int64_t to, int64_t c, int64_t wide, float *y) {
  for (int64_t i = from; i < to; i++) {
    for (int64_t k = 0; k < c; k++) y[i * wide + k] = x[i * c + k];
    for (int64_t k = c; k < wide; k++) y[i * wide + k] = 0;
  }
}

// narrow copies the first c channels of rows of `wide`, or adds them.
LB_CLONES void narrow(const float *x, int64_t from, int64_t to, int64_t c, int64_t wide, bool add, float *y) {
  for (int64_t i = from; i < to; i++)
    for (int64_t k = 0; k < c; k++) y[i * c + k] = x[i * wide + k] + (add ? y[i * c + k] : 0);
}

// part is a tensor of the op: what it is for the whole batch, and for a block.
struct part {
  const value *outer = nullptr;
  value inner;         // of a block, with padded channels
  bool copied = true;  // has a place in the workspace
  uint64_t place = 0;
  int64_t rows(int64_t images) const { return images * inner.dims[1] * inner.dims[2]; }
};

struct padded_conv : kernel {
  int threads;
  int64_t n, block;
  part x, w, y, bias;
  op inner;  // on a block
  uint64_t at = 0;

  padded_conv(const op &o, int64_t images, const value &xv, const value &wv, const value &yv, int t)
      : threads(t), n(xv.dims[0]), block(images) {
    inner.kind = o.kind, inner.attr = o.attr, inner.stream = o.stream;
    for (auto [p, v] : {std::pair(&x, &xv), std::pair(&y, &yv)}) {
      shape(*p, *v);
      p->inner.dims[0] = block;
      p->inner.dims[3] = padded(v->dims[3]);
      p->copied = v->dims[3] != p->inner.dims[3];
      place(*p);
    }
    shape(w, wv);
    w.inner.dims[0] = padded(wv.dims[0]), w.inner.dims[3] = padded(wv.dims[3]);
    place(w);
    const value *b = o.kind == kind_conv                                            ? o.operands[2]
                     : o.kind == kind_conv_backward_weights && o.results.size() > 1 ? o.results[1]
                                                                                    : nullptr;
    if (b && o.kind == kind_conv) {
      shape(bias, *b);
      bias.inner.dims[0] = padded(b->dims[0]);
      place(bias);
    }
    value *bi = bias.outer ? &bias.inner : nullptr;
    if (o.kind == kind_conv) inner.operands = {&x.inner, &w.inner, bi}, inner.results = {&y.inner};
    if (o.kind == kind_conv_backward_data) inner.operands = {&y.inner, &w.inner}, inner.results = {&x.inner};
    if (o.kind == kind_conv_backward_weights)
      inner.operands = {&x.inner, &y.inner}, inner.results = {&w.inner};
  }
  static void shape(part &p, const value &v) { p.outer = &v, p.inner = v; }
  void place(part &p) {
    p.inner.elements = 1;
    for (int64_t d : p.inner.dims) p.inner.elements *= d;
    p.inner.bytes = 4 * p.inner.elements;
    p.place = at;
    if (p.copied) at += align(static_cast<uint64_t>(p.inner.bytes));
  }
  // take gives the op on a block its kernel.
  void take(std::unique_ptr<kernel> k) {
    name = k->name + ", padded channels";
    scratch = at + k->scratch;
    inner.work = std::move(k);
  }
  void load(const part &p, int64_t first, int64_t count) const {
    int64_t c = p.outer->dims[3], wide = p.inner.dims[3];
    const auto *from = reinterpret_cast<const float *>(p.outer->data) + p.rows(first) * c;
    auto *to = reinterpret_cast<float *>(p.inner.data);
    parallel(p.rows(count), 1, threads, p.rows(count) * c,
             [&](int64_t a, int64_t b, int) { widen(from, a, b, c, wide, to); });
  }
  void save(const part &p, int64_t first, int64_t count) const {
    int64_t c = p.outer->dims[3], wide = p.inner.dims[3];
    const auto *from = reinterpret_cast<const float *>(p.inner.data);
    auto *to = reinterpret_cast<float *>(p.outer->data) + p.rows(first) * c;
    parallel(p.rows(count), 1, threads, p.rows(count) * c,
             [&](int64_t a, int64_t b, int) { narrow(from, a, b, c, wide, false, to); });
  }
  // images gives the op on a block its tensors, those of `count` images from `first` on.
  void images(part &p, bool read, uint8_t *space, int64_t first, int64_t count) {
    if (!p.copied) {
      p.inner.data = p.outer->data + 4 * p.rows(first) * p.outer->dims[3];
      return;
    }
    p.inner.data = space + p.place;
    if (read) load(p, first, count);
  }
  void run(const op &o) override {
    bool weights = o.kind == kind_conv_backward_weights;
    w.inner.data = o.scratch + w.place;
    inner.scratch = o.scratch + at;
    if (!weights) {
      auto *to = reinterpret_cast<float *>(w.inner.data);
      std::memset(to, 0, static_cast<size_t>(w.inner.bytes));
      int64_t taps = w.outer->dims[1] * w.outer->dims[2];
      widen(o.in(1), 0, w.outer->dims[0] * taps, w.outer->dims[3], w.inner.dims[3], to);
    }
    if (bias.outer) {
      bias.inner.data = o.scratch + bias.place;
      std::memset(bias.inner.data, 0, static_cast<size_t>(bias.inner.bytes));
      std::memcpy(bias.inner.data, bias.outer->data, static_cast<size_t>(bias.outer->bytes));
    }
    for (int64_t first = 0; first < n; first += block) {
      int64_t count = std::min(block, n - first);
      images(x, o.kind != kind_conv_backward_data, o.scratch, first, count);
      images(y, o.kind != kind_conv, o.scratch, first, count);
      inner.work->run(inner);
      if (o.kind == kind_conv && y.copied) save(y, first, count);
      if (o.kind == kind_conv_backward_data && x.copied) save(x, first, count);
      if (weights)
        narrow(reinterpret_cast<float *>(w.inner.data), 0, w.outer->dims[0] * w.rows(1), w.outer->dims[3],
               w.inner.dims[3], first > 0, o.out(0));
    }
    if (weights && o.results.size() > 1) sum_columns(o.in(1), y.rows(n), y.outer->dims[3], o.out(1), threads);
  }
};

}  // namespace
#endif

std::unique_ptr<kernel> make_padded_conv(const op &o, cpu &d, const value &x, const value &w,
                                         const value &y) {
#if defined(__x86_64__)
  // As many images as divide the batch, so that no block is smaller.
  int64_t image = 0;
  for (const value *v : {&x, &y})
    if (v->dims[3] % multiple != 0) image += 4 * v->elements / v->dims[0] / v->dims[3] * padded(v->dims[3]);
  int64_t images = std::min(x.dims[0], std::max<int64_t>(block_bytes * d.threads / image, 1));
  while (x.dims[0] % images != 0) images--;
  auto k = std::make_unique<padded_conv>(o, images, x, w, y, d.threads);
  const value *summed = o.kind == kind_conv ? &x : o.kind == kind_conv_backward_data ? &y : nullptr;
  double share =
      summed ? static_cast<double>(summed->dims[3]) / static_cast<double>(padded(summed->dims[3])) : 1;
  auto own = make_own_conv(k->inner, d, k->x.inner, k->w.inner, k->y.inner, k->bias.outer != nullptr,
                           share * without_copies);
  if (!own) return nullptr;
  k->take(std::move(own));
  return k;
#else
  (void)o, (void)d, (void)x, (void)w, (void)y;
  return nullptr;
#endif
}

}  // namespace lb
