// What the kernels of our own convolutions share: 3x3 with stride 1 and padding 1 between 16 or 32 channels
// (mma_conv.cu, mma_weights.cu). They divide the image into tiles of 256 elements: rows of all images, one
// below the other, by 8 or 16 columns. The rows above and below that belong to another image count as zeros.
#pragma once
#include "mma.h"
#include "tile.h"

namespace lb {

constexpr int threads = 256, warps = threads / 32, pixels = 256, taps = 9;

struct image {
  int rows;  // of all images
  int h, w;
  int down, across;  // tiles
};

template <int TW>
image image_of(const value &x) {
  constexpr int TH = pixels / TW;
  image g;
  g.h = static_cast<int>(x.dims[1]), g.w = static_cast<int>(x.dims[2]);
  g.rows = static_cast<int>(x.dims[0]) * g.h;
  g.down = (g.rows + TH - 1) / TH, g.across = (g.w + TW - 1) / TW;
  return g;
}

struct alignas(16) quad {
  uint32_t word[4];
};

// with calls f with the numbers of channels and the width of a tile as compile-time constants.
template <int N>
struct constant {
  static constexpr int value = N;
};
template <typename F>
void with(int64_t c, int64_t k, int64_t w, F f) {
  auto wide = [&](auto a, auto b) { w > 8 ? f(a, b, constant<16>{}) : f(a, b, constant<8>{}); };
  auto second = [&](auto a) { k == 16 ? wide(a, constant<16>{}) : wide(a, constant<32>{}); };
  c == 16 ? second(constant<16>{}) : second(constant<32>{});
}

// make_mma_weights returns the kernel of the gradient with respect to the weights (mma_weights.cu).
std::unique_ptr<kernel> make_mma_weights(const op &, gpu &);

}  // namespace lb
