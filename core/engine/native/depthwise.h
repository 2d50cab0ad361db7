// What the kernels of depthwise convolutions share: as many groups as channels, each with one channel in and
// one out. Filters of 3x3, 5x5 or 7x7, padded so that of stride 1 the result has the size of the image;
// stride 1, or of 3x3 and 5x5 stride 2 of images with even sides. The channels are a multiple of 16.
//
// Vectors are of channels, so no products are added up across lanes, and all kernels are templates of the
// width W, the side K of the filter, the stride S and the type T of the elements. A function for each number
// of results that are computed together is compiled on its own: in one, GCC takes minutes.
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
         a.dilation[0] == 1 && a.dilation[1] == 1 && (stride == 1 || (stride == 2 && k < 7)) &&
         a.stride[1] == stride && x.dims[1] % stride == 0 && x.dims[2] % stride == 0;
}

// make_for returns a Kernel<W, K, S, T> of a convolution, or nullptr where there are no vectors. In bf16 they
// are those of AVX2, unless an instruction of AVX-512 rounds.
template <template <int, int, int, typename> typename Kernel, typename... A>
std::unique_ptr<kernel> make_for(const cpu &d, const attributes &a, const value &x, const value &w,
                                 const A &...args) {
  auto by_stride = [&](auto width, auto side, auto number) -> std::unique_ptr<kernel> {
    using T = decltype(number);
    if (a.stride[0] == 1) return std::make_unique<Kernel<width, side, 1, T>>(args...);
    return std::make_unique<Kernel<width, side, 2, T>>(args...);
  };
  auto by_filter = [&](auto width, auto number) -> std::unique_ptr<kernel> {
    using T = decltype(number);
    if (w.dims[1] == 3) return by_stride(width, std::integral_constant<int, 3>{}, number);
    if (w.dims[1] == 5) return by_stride(width, std::integral_constant<int, 5>{}, number);
    return std::make_unique<Kernel<width, 7, 1, T>>(args...);
  };
  const std::integral_constant<int, 8> avx2;
  const std::integral_constant<int, 16> avx512;
  if (d.width == 0) return nullptr;
  if (x.type == type_bf16 && d.width == 16 && rounds_bf16) return by_filter(avx512, instruction_bf16{});
  if (x.type == type_bf16) return by_filter(avx2, bf16{});
  return d.width == 16 ? by_filter(avx512, 0.0f) : by_filter(avx2, 0.0f);
}

// in_blocks calls f(first, columns) for blocks of 7 (unless they are to be short), 4, 2 and 1 columns of a
// row of `count`; columns is an integral constant. Rows of images for ImageNet have multiples of 7.
template <bool Short = false, typename F>
inline void in_blocks(int64_t count, const F &f) {
  int64_t at = 0;
  if constexpr (!Short)
    for (; at + 7 <= count; at += 7) f(at, std::integral_constant<int, 7>{});
  for (; at + 4 <= count; at += 4) f(at, std::integral_constant<int, 4>{});
  if (at + 2 <= count) f(at, std::integral_constant<int, 2>{}), at += 2;
  if (at < count) f(at, std::integral_constant<int, 1>{});
}

// blocks_of is how many blocks that are.
template <bool Short = false>
constexpr int64_t blocks_of(int64_t count) {
  const int64_t rest = Short ? count : count % 7;
  return (count - rest) / 7 + rest / 4 + rest % 4 / 2 + rest % 2;
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
