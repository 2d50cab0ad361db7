// What the kernels of depthwise convolutions share: as many groups as channels, each with one channel in and
// one out. Filters of 3x3, 5x5 or 7x7, padded so that of stride 1 the result has the size of the image;
// stride 1, or 2 of images with even sides. The channels are a multiple of 16.
//
// Vectors are of channels, so no products are added up across lanes, and all kernels are templates of the
// width W, the side K of the filter, the stride S and the type T of the elements.
#pragma once
#include "direct.h"

namespace lb {

#if defined(__x86_64__)

namespace direct {

// is_depthwise tells whether the kernels compute a convolution.
inline bool is_depthwise(const attributes &a, const value &x, const value &w) {
  const int64_t k = w.dims[1], stride = a.stride[0];
  return a.groups == w.dims[0] && w.dims[3] == 1 && x.dims[3] == a.groups && a.groups % panel == 0 &&
         (k == 3 || k == 5 || k == 7) && w.dims[2] == k && a.padding[0] == k / 2 && a.padding[1] == k / 2 &&
         a.dilation[0] == 1 && a.dilation[1] == 1 && (stride == 1 || stride == 2) && a.stride[1] == stride &&
         x.dims[1] % stride == 0 && x.dims[2] % stride == 0;
}

// make_for returns a Kernel<W, K, S, T> of a convolution, or nullptr where vectors are of no such width.
template <template <int, int, int, typename> typename Kernel, typename... A>
std::unique_ptr<kernel> make_for(const cpu &d, const attributes &a, const value &x, const value &w,
                                 const A &...args) {
  auto by_stride = [&](auto width, auto side, auto number) -> std::unique_ptr<kernel> {
    using T = decltype(number);
    if (a.stride[0] == 1) return std::make_unique<Kernel<width, side, 1, T>>(args...);
    return std::make_unique<Kernel<width, side, 2, T>>(args...);
  };
  auto by_filter = [&](auto width, auto number) {
    switch (w.dims[1]) {
      case 3:
        return by_stride(width, std::integral_constant<int, 3>{}, number);
      case 5:
        return by_stride(width, std::integral_constant<int, 5>{}, number);
      default:
        return by_stride(width, std::integral_constant<int, 7>{}, number);
    }
  };
  const std::integral_constant<int, 8> avx2;
  const std::integral_constant<int, 16> avx512;
  if (d.width == 16 && x.type == type_bf16 && rounds_bf16) return by_filter(avx512, instruction_bf16{});
  return typed(x, [&](auto number) -> std::unique_ptr<kernel> {
    return d.width == 16 ? by_filter(avx512, number) : d.width == 8 ? by_filter(avx2, number) : nullptr;
  });
}

// in_blocks calls f(first, columns) for blocks of at most R columns of a row of `count`, of about equal
// length; columns is an integral constant.
template <int R, typename F>
LB_INLINE void sized(int64_t first, int64_t columns, const F &f) {
  if (columns == R) return f(first, std::integral_constant<int, R>{});
  if constexpr (R > 1) sized<R - 1>(first, columns, f);
}
template <int R, typename F>
LB_INLINE void in_blocks(int64_t count, const F &f) {
  const int64_t blocks = (count + R - 1) / R;
  for (int64_t k = 0; k < blocks; k++)
    sized<R>(count * k / blocks, count * (k + 1) / blocks - count * k / blocks, f);
}

// by_place writes the filters w[channels][places] as [places][channels], the places in reverse if `reversed`.
template <typename T>
void by_place(const T *w, int64_t channels, int64_t places, bool reversed, float *to) {
  for (int64_t place = 0; place < places; place++) {
    const T *from = w + (reversed ? places - 1 - place : place);
    for (int64_t c = 0; c < channels; c++) to[place * channels + c] = from[c * places];
  }
}

}  // namespace direct

#endif

}  // namespace lb
