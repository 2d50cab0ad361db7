//go:build !nocpu

// Winograd convolutions of many channels: their transformed filters would be larger than a workspace may be,
// or than what stays in the caches, so channels of the result are computed in groups, one after the other.
//
//   forward   a group of y[n h w out] from the rows of w[out 3 3 in] of these channels, where they lie
//   data      a group of dx[n h w in]; the part of w of these channels is copied to the workspace
//   weights   the rows of dw[out 3 3 in] of a group of dy's channels, which are copied to the workspace
//
// The other tensor is transformed again for each group. Workspace: the group of y, dx or dy, the part of w,
// and the workspace of the kernel.
#include <cstring>

#include "cpu.h"

namespace lb {

#if defined(__x86_64__)
namespace {

// copy copies rows from..to of c floats between arrays whose rows are `from_stride` and `to_stride` apart.
void copy(const float *x, int64_t from_stride, float *y, int64_t to_stride, int64_t c, int64_t from,
          int64_t to) {
  for (int64_t i = from; i < to; i++)
    std::memcpy(y + i * to_stride, x + i * from_stride, static_cast<size_t>(4 * c));
}

value narrowed(const value &v, int axis, int64_t channels) {
  value g = v;
  g.elements = v.elements / v.dims[axis] * channels, g.dims[axis] = channels, g.bytes = 4 * g.elements;
  return g;
}

struct grouped_conv : kernel {
  int threads;
  int64_t group, rows, channels;  // channels of a group; pixels and channels of the tensor that is divided
  value whole, divided, weights, bias;
  op inner;
  grouped_conv(const op &o, const value &x, const value &w, const value &y, int64_t g, int t)
      : threads(t), group(g) {
    bool data = o.kind == kind_conv_backward_data;
    const value &v = data ? x : y;
    channels = v.dims[3], rows = v.elements / channels;
    divided = narrowed(v, 3, group), weights = narrowed(w, data ? 3 : 0, group), whole = data ? y : x;
    const value *b = o.kind == kind_conv ? o.operands[2] : o.results.size() > 1 ? o.results[1] : nullptr;
    if (b) bias = narrowed(*b, 0, group);
    inner.kind = o.kind, inner.attr = o.attr, inner.stream = o.stream;
    if (o.kind == kind_conv_backward_weights) {
      inner.operands = {&whole, &divided}, inner.results = {&weights};
      if (b) inner.results.push_back(&bias);
      return;
    }
    inner.operands = {&whole, &weights}, inner.results = {&divided};
    if (o.kind == kind_conv) inner.operands.push_back(b ? &bias : nullptr);
  }
  void take(std::unique_ptr<kernel> k) {
    name = k->name + ", groups of " + std::to_string(group) + " channels";
    scratch = before() + k->scratch;
    inner.work = std::move(k);
  }
  uint64_t weights_bytes() const {
    return inner.kind == kind_conv_backward_data ? align(static_cast<uint64_t>(weights.bytes)) : 0;
  }
  uint64_t before() const { return weights_bytes() + align(static_cast<uint64_t>(divided.bytes)); }
  void run(const op &o) override {
    bool data = o.kind == kind_conv_backward_data, sums = o.kind == kind_conv_backward_weights;
    const value &w = sums ? *o.results[0] : *o.operands[1];
    auto *part = reinterpret_cast<float *>(o.scratch + weights_bytes());
    whole.data = o.operands[0]->data;
    divided.data = o.scratch + weights_bytes();
    inner.scratch = o.scratch + before();
    for (int64_t k = 0; k < channels; k += group) {
      weights.data = data ? o.scratch : w.data + k / group * weights.bytes;
      if (bias.elements > 1) bias.data = (sums ? o.results[1] : o.operands[2])->data + 4 * k;
      if (data) {
        auto *to = reinterpret_cast<float *>(o.scratch);
        parallel(weights.elements / group, 1, threads, weights.elements, [&](int64_t from, int64_t end, int) {
          copy(o.in(1) + k, channels, to, group, group, from, end);
        });
      }
      if (sums)
        parallel(rows, 1, threads, divided.elements, [&](int64_t from, int64_t end, int) {
          copy(o.in(1) + k, channels, part, group, group, from, end);
        });
      inner.work->run(inner);
      if (!sums)
        parallel(rows, 1, threads, divided.elements, [&](int64_t from, int64_t end, int) {
          copy(part, group, o.out(0) + k, channels, group, from, end);
        });
    }
  }
};

}  // namespace
#endif

std::unique_ptr<kernel> make_grouped_conv(const op &o, cpu &d, const value &x, const value &w, const value &y,
                                          int64_t group) {
#if defined(__x86_64__)
  int64_t channels = o.kind == kind_conv_backward_data ? x.dims[3] : y.dims[3];
  if (channels % group != 0) return nullptr;
  auto k = std::make_unique<grouped_conv>(o, x, w, y, group, d.threads);
  bool data = o.kind == kind_conv_backward_data;
  auto own =
      make_winograd4(k->inner, d, data ? k->divided : k->whole, k->weights, data ? k->whole : k->divided);
  if (!own) return nullptr;
  k->take(std::move(own));
  return k;
#else
  (void)o, (void)d, (void)x, (void)w, (void)y, (void)group;
  return nullptr;
#endif
}

}  // namespace lb
