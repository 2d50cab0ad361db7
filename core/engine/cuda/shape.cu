// Ops that move elements; formulas and in-place rules are those of native/shape.cc. One read and one write an
// element, and one read of a sum: in vectors of 16 bytes where rows, parts of rows and offsets are whole
// vectors, else element by element. concat is a launch for each operand.
#include "gpu.h"

namespace lb {
namespace {

// single is one element as a vector.
template <typename T>
struct single {
  T v[1];
};
template <typename V>
constexpr int width = static_cast<int>(sizeof(V::v) / sizeof(V::v[0]));

// copy_rows copies rows of n vectors between tensors with rows of other lengths, and adds those of sum, which
// lie as in y.
template <typename V>
struct copy_rows {
  const V *x, *sum;
  V *y;
  unsigned n, from, to;  // vectors: copied, of a row of x, of a row of y
  __device__ void operator()(unsigned i) const {
    unsigned r = i / n, k = i % n, at = r * to + k;
    V v = x[r * from + k];
    if (sum) {
      V s = sum[at];
      for (int j = 0; j < width<V>; j++) narrow(widen(v.v[j]) + widen(s.v[j]), v.v[j]);
    }
    y[at] = v;
  }
};

// scatter_rows: dx = sum or 0, + dy in vectors [at, at + n) of each row.
template <typename V>
struct scatter_rows {
  const V *dy, *sum;
  V *dx;
  unsigned n, at, all;
  __device__ void operator()(unsigned i) const {
    unsigned r = i / all, k = i % all;
    V v{};
    if (k >= at && k - at < n) v = dy[r * n + k - at];
    if (sum) {
      V s = sum[i];
      for (int j = 0; j < width<V>; j++) narrow(widen(v.v[j]) + widen(s.v[j]), v.v[j]);
    }
    dx[i] = v;
  }
};

template <typename T>
struct permute_each {
  const T *x;
  T *y;
  unsigned n[3], steps[4];  // extents of the last three dimensions of y; of each dimension, the stride in x
  __device__ void operator()(unsigned i) const {
    unsigned d = i % n[2], c = i / n[2] % n[1], rest = i / n[2] / n[1], b = rest % n[0], a = rest / n[0];
    y[i] = x[a * steps[0] + b * steps[1] + c * steps[2] + d * steps[3]];
  }
};

int64_t inner_of(const value &v, int64_t axis) {
  int64_t n = 1;
  for (int64_t i = axis + 1; i < 4; i++) n *= v.dims[i];
  return n;
}
int64_t row_of(const value &v, int64_t axis) { return v.dims[axis] * inner_of(v, axis); }

unsigned whole(int64_t n) { return static_cast<unsigned>(n); }

struct shapes : gpu_kernel {
  using gpu_kernel::gpu_kernel;

  // vectors calls f with a vector type that divides all of the counts.
  template <typename F>
  static void vectors(const value &v, std::initializer_list<int64_t> counts, F f) {
    typed(v, [&](auto number) {
      using T = decltype(number);
      bool packs = true;
      for (int64_t n : counts) packs = packs && n % lanes<T> == 0;
      if (packs)
        f(pack<T>{}, lanes<T>);
      else
        f(single<T>{}, 1);
    });
  }

  // copy writes rows of n elements, the parts of rows of x from offset on, to those of y from start on.
  void copy(const value &x, int64_t from, int64_t offset, const value &y, int64_t to, int64_t start,
            const value *sum, int64_t n) {
    vectors(y, {from, offset, to, start, n}, [&](auto vector, int w) {
      using V = decltype(vector);
      each(d, x.elements / from * n / w,
           copy_rows<V>{at<V>(&x) + offset / w, sum ? at<V>(sum) + start / w : nullptr, at<V>(&y) + start / w,
                        whole(n / w), whole(from / w), whole(to / w)});
    });
  }

  void concat(const op &o) {
    const value &y = *o.results[0];
    int64_t start = 0, row = row_of(y, o.attr.axis);
    for (const value *x : o.operands) {
      int64_t n = row_of(*x, o.attr.axis);
      copy(*x, n, 0, y, row, start, nullptr, n);
      start += n;
    }
  }

  void slice_backward(const op &o) {
    const value &dy = *o.operands[0], &dx = *o.results[0];
    int64_t n = row_of(dy, o.attr.axis), all = row_of(dx, o.attr.axis);
    int64_t from = o.attr.offset * inner_of(dx, o.attr.axis);
    if (o.operands[1] && o.operands[1]->data == dx.data)  // in place: the slice alone changes
      return copy(dy, n, 0, dx, all, from, &dx, n);
    vectors(dx, {n, from, all}, [&](auto vector, int w) {
      using V = decltype(vector);
      each(d, dx.elements / w,
           scatter_rows<V>{at<V>(&dy), at<V>(o.operands[1]), at<V>(&dx), whole(n / w), whole(from / w),
                           whole(all / w)});
    });
  }

  void permute(const op &o) {
    const attributes &a = o.attr;
    const value &y = *o.results[0];
    int64_t stride[4];
    for (int i = 3; i >= 0; i--) stride[i] = i == 3 ? 1 : stride[i + 1] * a.view[i + 1];
    typed(y, [&](auto number) {
      using T = decltype(number);
      permute_each<T> f{at<T>(o.operands[0]), at<T>(&y), {}, {}};
      for (int i = 0; i < 4; i++) {
        if (i > 0) f.n[i - 1] = whole(a.view[a.order[i]]);
        f.steps[i] = whole(stride[a.order[i]]);
      }
      each(d, y.elements, f);
    });
  }

  void run(const op &o) override {
    const value &x = *o.operands[0], &y = *o.results[0];
    switch (o.kind) {
      case kind_concat:
        return concat(o);
      case kind_slice: {
        int64_t n = row_of(y, o.attr.axis);
        return copy(x, row_of(x, o.attr.axis), o.attr.offset * inner_of(x, o.attr.axis), y, n, 0,
                    o.operands[1], n);
      }
      case kind_slice_backward:
        return slice_backward(o);
      case kind_permute:
        return permute(o);
    }
    if (x.data != y.data)
      checked(
          cudaMemcpyAsync(y.data, x.data, static_cast<size_t>(y.bytes), cudaMemcpyDeviceToDevice, d.stream),
          "cudaMemcpyAsync");
  }
};

}  // namespace

std::unique_ptr<kernel> make_shape(const op &, gpu &d) { return std::make_unique<shapes>(d); }

}  // namespace lb
