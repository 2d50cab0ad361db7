// Pooling over windows of [N H W C], bilinear up-sampling, and their gradients; the formulas are
// in native/pool.cc and native/upsample.cc. A thread computes one vector of a result: gradients
// are gathered, not scattered, so there are no atomics. No op runs in place.
#include "gpu.h"

namespace lb {
namespace {

// whole narrows a size to 32 bits: no tensor has 2^31 elements (device.cc), and 32-bit division is several
// times as fast.
int whole(int64_t n) { return static_cast<int>(n); }

// axis is one direction: sizes in elements.
struct axis {
  int in, out, kernel, stride, padding;
  bool adaptive;
  __device__ int begin(int i) const { return adaptive ? i * in / out : i * stride - padding; }
  __device__ int end(int i) const {
    return adaptive ? ((i + 1) * in + out - 1) / out : i * stride - padding + kernel;
  }
  // first and last window that contains element x; there is no such window where last < first.
  __device__ int first(int x) const {
    if (adaptive) return x * out / in;
    int low = x + padding - kernel + 1;
    return low <= 0 ? 0 : (low + stride - 1) / stride;
  }
  __device__ int last(int x) const {
    int i = adaptive ? ((x + 1) * out + in - 1) / in - 1 : (x + padding) / stride;
    return i < out ? i : out - 1;
  }
  // the number of elements that the mean of a window divides by.
  __device__ int counted(int i, bool count_padding) const {
    int from = begin(i), to = end(i);
    if (count_padding && !adaptive) return (to < in + padding ? to : in + padding) - from;
    return (to < in ? to : in) - (from > 0 ? from : 0);
  }
};

struct geometry {
  axis h, w;
  int c;  // in vectors
  bool count_padding;
};

// spot is an element of a tensor of rows x columns.
struct spot {
  int n, y, x, k;
};
__device__ inline spot spot_of(int i, int rows, int columns, int c) {
  spot s;
  s.k = i % c, i /= c;
  s.x = i % columns, i /= columns;
  s.y = i % rows, s.n = i / rows;
  return s;
}

template <typename T, int W>
struct alignas(W * sizeof(T)) part {
  T v[W];
};
template <int W>
struct alignas(W) octets {
  uint8_t v[W];
};

template <typename T, int W>
struct max_each {
  geometry g;
  const part<T, W> *x;
  part<T, W> *y;
  octets<W> *index;
  __device__ void operator()(int i) const {
    spot s = spot_of(i, g.h.out, g.w.out, g.c);
    int top = g.h.begin(s.y), left = g.w.begin(s.x), bottom = g.h.end(s.y), right = g.w.end(s.x);
    part<T, W> best{};
    octets<W> where{};
    bool begun = false;
    for (int r = top > 0 ? top : 0; r < bottom && r < g.h.in; r++)
      for (int q = left > 0 ? left : 0; q < right && q < g.w.in; q++) {
        part<T, W> v = x[((s.n * g.h.in + r) * g.w.in + q) * g.c + s.k];
        auto place = static_cast<uint8_t>((r - top) * g.w.kernel + q - left);
        for (int k = 0; k < W; k++)
          if (!begun || widen(v.v[k]) > widen(best.v[k])) best.v[k] = v.v[k], where.v[k] = place;
        begun = true;
      }
    y[i] = best;
    index[i] = where;
  }
};

template <typename T, int W>
struct max_backward_each {
  geometry g;
  const part<T, W> *dy;
  const octets<W> *index;
  part<T, W> *dx;
  __device__ void operator()(int i) const {
    spot s = spot_of(i, g.h.in, g.w.in, g.c);
    float sum[W];
    for (int k = 0; k < W; k++) sum[k] = 0;
    for (int p = g.h.first(s.y); p <= g.h.last(s.y); p++)
      for (int q = g.w.first(s.x); q <= g.w.last(s.x); q++) {
        int at = ((s.n * g.h.out + p) * g.w.out + q) * g.c + s.k;
        auto place = static_cast<uint8_t>((s.y - g.h.begin(p)) * g.w.kernel + s.x - g.w.begin(q));
        octets<W> where = index[at];
        part<T, W> v = dy[at];
        for (int k = 0; k < W; k++)
          if (where.v[k] == place) sum[k] += widen(v.v[k]);
      }
    part<T, W> out;
    for (int k = 0; k < W; k++) narrow(sum[k], out.v[k]);
    dx[i] = out;
  }
};

template <typename T, int W>
struct mean_each {
  geometry g;
  const part<T, W> *x;
  part<T, W> *y;
  __device__ void operator()(int i) const {
    spot s = spot_of(i, g.h.out, g.w.out, g.c);
    int top = g.h.begin(s.y), left = g.w.begin(s.x), bottom = g.h.end(s.y), right = g.w.end(s.x);
    float sum[W];
    for (int k = 0; k < W; k++) sum[k] = 0;
    for (int r = top > 0 ? top : 0; r < bottom && r < g.h.in; r++)
      for (int q = left > 0 ? left : 0; q < right && q < g.w.in; q++) {
        part<T, W> v = x[((s.n * g.h.in + r) * g.w.in + q) * g.c + s.k];
        for (int k = 0; k < W; k++) sum[k] += widen(v.v[k]);
      }
    auto count = static_cast<float>(g.h.counted(s.y, g.count_padding) * g.w.counted(s.x, g.count_padding));
    part<T, W> out;
    for (int k = 0; k < W; k++) narrow(sum[k] / count, out.v[k]);
    y[i] = out;
  }
};

template <typename T, int W>
struct mean_backward_each {
  geometry g;
  const part<T, W> *dy;
  part<T, W> *dx;
  __device__ void operator()(int i) const {
    spot s = spot_of(i, g.h.in, g.w.in, g.c);
    float sum[W];
    for (int k = 0; k < W; k++) sum[k] = 0;
    for (int p = g.h.first(s.y); p <= g.h.last(s.y); p++)
      for (int q = g.w.first(s.x); q <= g.w.last(s.x); q++) {
        auto count = static_cast<float>(g.h.counted(p, g.count_padding) * g.w.counted(q, g.count_padding));
        part<T, W> v = dy[((s.n * g.h.out + p) * g.w.out + q) * g.c + s.k];
        for (int k = 0; k < W; k++) sum[k] += widen(v.v[k]) / count;
      }
    part<T, W> out;
    for (int k = 0; k < W; k++) narrow(sum[k], out.v[k]);
    dx[i] = out;
  }
};

// stretch is one direction of up-sampling with aligned corners: result i is interpolated at
// i*(in-1)/(out-1), between two elements.
struct stretch {
  int in, out;
  double ratio;
  stretch(int i, int o)
      : in(i), out(o), ratio(o > 1 ? static_cast<double>(i - 1) / static_cast<double>(o - 1) : 0) {}
  __device__ double at(int i) const { return static_cast<double>(i) * ratio; }
  // weight of element x in result i.
  __device__ float weight(int x, int i) const {
    double p = at(i);
    int low = static_cast<int>(p);
    auto above = static_cast<float>(p - static_cast<double>(low));
    return x == low ? 1 - above : x == low + 1 ? above : 0;
  }
  // Element x contributes to the results from first to last.
  __device__ int first(int x) const { return in > 1 && x > 0 ? (x - 1) * (out - 1) / (in - 1) : 0; }
  __device__ int last(int x) const {
    if (in == 1) return out - 1;
    int i = ((x + 1) * (out - 1) + in - 2) / (in - 1);
    return i < out ? i : out - 1;
  }
};

template <typename T, int W>
struct upsample_each {
  stretch h, w;
  int c;
  const part<T, W> *x;
  part<T, W> *y;
  __device__ void operator()(int i) const {
    spot s = spot_of(i, h.out, w.out, c);
    auto r = static_cast<int>(h.at(s.y)), q = static_cast<int>(w.at(s.x));
    float sum[W];
    for (int k = 0; k < W; k++) sum[k] = 0;
    for (int a = r; a <= r + 1 && a < h.in; a++)
      for (int b = q; b <= q + 1 && b < w.in; b++) {
        float share = h.weight(a, s.y) * w.weight(b, s.x);
        if (share == 0) continue;
        part<T, W> v = x[((s.n * h.in + a) * w.in + b) * c + s.k];
        for (int k = 0; k < W; k++) sum[k] += share * widen(v.v[k]);
      }
    part<T, W> out;
    for (int k = 0; k < W; k++) narrow(sum[k], out.v[k]);
    y[i] = out;
  }
};

template <typename T, int W>
struct upsample_backward_each {
  stretch h, w;
  int c;
  const part<T, W> *dy;
  part<T, W> *dx;
  __device__ void operator()(int i) const {
    spot s = spot_of(i, h.in, w.in, c);
    float sum[W];
    for (int k = 0; k < W; k++) sum[k] = 0;
    for (int a = h.first(s.y); a <= h.last(s.y); a++) {
      float down = h.weight(s.y, a);
      if (down == 0) continue;
      for (int b = w.first(s.x); b <= w.last(s.x); b++) {
        float share = down * w.weight(s.x, b);
        if (share == 0) continue;
        part<T, W> v = dy[((s.n * h.out + a) * w.out + b) * c + s.k];
        for (int k = 0; k < W; k++) sum[k] += share * widen(v.v[k]);
      }
    }
    part<T, W> out;
    for (int k = 0; k < W; k++) narrow(sum[k], out.v[k]);
    dx[i] = out;
  }
};

// wide calls f with the element type and the widest vector that divides the channels.
template <typename F>
void wide(const value &x, F f) {
  typed(x, [&](auto number) {
    using T = decltype(number);
    if (x.dims[3] % lanes<T> == 0)
      f(number, std::integral_constant<int, lanes<T>>());
    else
      f(number, std::integral_constant<int, 1>());
  });
}

bool backward(int32_t kind) {
  return kind == kind_max_pool_backward || kind == kind_average_pool_backward ||
         kind == kind_adaptive_average_pool_backward || kind == kind_upsample_backward;
}

struct pool : gpu_kernel {
  geometry g;
  pool(const op &o, gpu &device) : gpu_kernel(device) {
    const value &small = backward(o.kind) ? *o.operands[0] : *o.results[0];
    const value &large = backward(o.kind) ? *o.results[0] : *o.operands[0];
    bool adaptive = o.kind == kind_adaptive_average_pool || o.kind == kind_adaptive_average_pool_backward;
    auto along = [&](int i) {
      return axis{whole(large.dims[1 + i]), whole(small.dims[1 + i]), whole(o.attr.kernel[i]),
                  whole(o.attr.stride[i]),  whole(o.attr.padding[i]), adaptive};
    };
    for (int i = 1; i < 3; i++)
      if (large.dims[i] * small.dims[i] >= int64_t{1} << 31)
        fail(LB_UNSUPPORTED, "a pooling of %lld rows or columns to %lld, want a product below 2^31",
             static_cast<long long>(large.dims[i]), static_cast<long long>(small.dims[i]));
    g = {along(0), along(1), whole(large.dims[3]), o.attr.count_padding != 0};
  }
  void run(const op &o) override {
    const value &y = *o.results[0];
    wide(y, [&](auto number, auto width) {
      using T = decltype(number);
      constexpr int W = decltype(width)::value;
      using P = part<T, W>;
      geometry a = g;
      a.c = g.c / W;
      int64_t n = y.elements / W;
      switch (o.kind) {
        case kind_max_pool:
          return each(d, n, max_each<T, W>{a, at<P>(o.operands[0]), at<P>(&y), at<octets<W>>(o.results[1])});
        case kind_max_pool_backward:
          return each(
              d, n,
              max_backward_each<T, W>{a, at<P>(o.operands[0]), at<octets<W>>(o.operands[1]), at<P>(&y)});
        case kind_average_pool:
        case kind_adaptive_average_pool:
          return each(d, n, mean_each<T, W>{a, at<P>(o.operands[0]), at<P>(&y)});
      }
      each(d, n, mean_backward_each<T, W>{a, at<P>(o.operands[0]), at<P>(&y)});
    });
  }
};

struct upsampling : gpu_kernel {
  using gpu_kernel::gpu_kernel;
  void run(const op &o) override {
    bool back = backward(o.kind);
    const value &in = back ? *o.results[0] : *o.operands[0], &out = back ? *o.operands[0] : *o.results[0];
    wide(in, [&](auto number, auto width) {
      using T = decltype(number);
      constexpr int W = decltype(width)::value;
      using P = part<T, W>;
      stretch h(whole(in.dims[1]), whole(out.dims[1])), w(whole(in.dims[2]), whole(out.dims[2]));
      int c = whole(in.dims[3]) / W;
      int64_t n = o.results[0]->elements / W;
      const P *from = at<P>(o.operands[0]);
      if (back)
        each(d, n, upsample_backward_each<T, W>{h, w, c, from, at<P>(o.results[0])});
      else
        each(d, n, upsample_each<T, W>{h, w, c, from, at<P>(o.results[0])});
    });
  }
};

}  // namespace

std::unique_ptr<kernel> make_pool(const op &o, gpu &d) { return std::make_unique<pool>(o, d); }

std::unique_ptr<kernel> make_upsample(const op &, gpu &d) { return std::make_unique<upsampling>(d); }

}  // namespace lb
