//go:build !nocpu

// Which kernel serves a convolution. Of 3x3: the one that takes the least time by rates that were
// measured on a machine of the same instruction set and are kept in rates_*.h. Nothing is timed at run time:
// on every machine of an instruction set, plans are the same, and so are the bits.
//
// For tensors in bf16 there are tables of their own. What the library's rates are depends on whether the
// processor multiplies bf16 (AVX512_BF16): otherwise its f32 kernels run on blocks of samples (blocks.cc).
//
// A rate is GFLOP/s of a direct convolution. A Winograd kernel computes whole tiles, also where these extend
// past the image, so a convolution takes the operations on all of its tiles over the rate.
//
// Depthwise ones are those of depthwise.cc and depthwise_weights.cc where these were faster.
//
// Of stride 2, in f32, they are those of strided.cc, strided_data.cc and strided_weights.cc where these were
// faster, in groups too. Grouped convolutions of stride 1 in f32 are F(4x4, 3x3)'s.
//
// Convolutions of few channels are narrow.cc's where it computes them: it was 2 to 4.5 times as fast as
// oneDNN (BenchmarkConvFewChannels, docs/performance.md).
#include <algorithm>
#include <cmath>
#include <string>

#include "cpu.h"

namespace lb {
namespace {

// The workspace of a Winograd kernel grows with the square of the channels, and is part of the plan: one that
// needs more than this is not chosen.
constexpr uint64_t most_workspace = 16 << 20;

enum algorithm { library, tiles_of_2, tiles_of_4, rows_of_4, algorithms };

// rate is a row of the table: tiles of 4x4 outputs, of all images. A rate of 0 is that of a kernel which does
// not serve.
struct rate {
  int32_t kind;
  int64_t channels, tiles;
  double gflops[algorithms];
};

constexpr rate avx2[] = {
#include "rates_avx2.h"
};
constexpr rate avx512[] = {
#include "rates_avx512.h"
};
constexpr rate bf16_avx2[] = {
#include "rates_bf16_avx2.h"
};
constexpr rate bf16_avx512[] = {
#include "rates_bf16_avx512.h"
};
constexpr rate bf16_avx512_bf16[] = {
#include "rates_bf16_avx512_bf16.h"
};

struct table {
  const rate *first = nullptr;
  size_t rows = 0;
  table() = default;
  template <size_t N>
  constexpr table(const rate (&r)[N]) : first(r), rows(N) {}
};

// table_of returns the rates for an element type; without rows: the library serves.
table table_of(const cpu &d, int32_t type) {
  if (type == type_f32) return d.width == 16 ? table(avx512) : table(avx2);
  std::string isa = onednn_isa();
  if (isa.find("amx") != std::string::npos) return {};  // not measured; the library multiplies tiles in bf16
  if (d.width == 8) return bf16_avx2;
  return multiplies_bf16() ? table(bf16_avx512_bf16) : table(bf16_avx512);
}

// nearest returns the row whose numbers of channels and tiles are nearest, as ratios.
const rate &nearest(const table &t, int32_t kind, double channels, double tiles) {
  const rate *best = nullptr;
  double least = 0;
  for (size_t i = 0; i < t.rows; i++) {
    const rate &r = t.first[i];
    double distance = 4 * std::abs(std::log2(channels / static_cast<double>(r.channels))) +
                      std::abs(std::log2(tiles / static_cast<double>(r.tiles)));
    if (r.kind == kind && (!best || distance < least)) best = &r, least = distance;
  }
  return *best;
}

// product_is_faster tells for which 1x1 convolutions our product was faster than the library's kernel, up to
// twice as fast: with AVX-512 the gradients, not those of 16 input channels, and not where what a block of
// rows is multiplied with is large (BenchmarkConv1x1, docs/performance.md).
bool product_is_faster(int32_t kind, const cpu &d, const value &w) {
  int64_t out = w.dims[0], in = w.dims[3];
  if (d.width != 16 || in <= 16) return false;
  return kind == kind_conv_backward_data ? out <= 512
                                         : kind == kind_conv_backward_weights && in * out <= 16384;
}

// strided_is_faster tells for which convolutions of stride 2 the direct kernels were faster than the
// library's, of tensors larger than the caches too (BenchmarkStrided, docs/performance.md). The gradient of
// the weights: where the sums of a thread, 4.5 MiB at the most, stay in the caches; on two threads it was
// faster, on one 0.9 to 1.7 times as fast. The other two with AVX-512; with AVX2 the forward pass with short
// rows or few input channels, and the gradient of the input in groups or of few channels.
bool strided_is_faster(int32_t kind, const cpu &d, const attributes &a, const value &w, const value &y) {
  if (kind == kind_conv_backward_weights) return w.dims[0] * w.dims[3] <= 1 << 17;
  if (d.width == 16) return true;
  return kind == kind_conv ? y.dims[2] <= 8 || w.dims[3] <= 16 : a.groups > 1 || w.dims[3] <= 64;
}

// grouped_is_faster tells for which grouped 3x3 convolutions of stride 1 F(4x4, 3x3) was faster than the
// library's kernel: with enough tiles for each thread, with AVX-512 more of them for the gradient of the
// weights (BenchmarkGroupedConv, docs/performance.md).
bool grouped_is_faster(int32_t kind, const cpu &d, const value &x) {
  int64_t tiles = x.dims[0] * ((x.dims[1] + 3) / 4) * ((x.dims[2] + 3) / 4);
  return tiles >= (kind == kind_conv_backward_weights && d.width == 16 ? 64 : 16) * d.threads;
}

// depthwise_is_faster tells for which depthwise convolutions the direct kernels were faster than the
// library's (BenchmarkDepthwise, docs/performance.md). With filters larger than 3x3: the gradient of the
// weights, 3 to 72 times as fast, and the other two, in bf16 if an instruction rounds to it, but for the
// forward pass of short rows with AVX2. Of 3x3 in f32 the forward pass and the gradient of the input, with
// AVX2 of long rows.
bool depthwise_is_faster(int32_t kind, const cpu &d, const value &x, const value &w, const value &y) {
  bool large = w.dims[1] > 3;
  if (kind == kind_conv_backward_weights) return large;
  if (x.type == type_bf16) return large && d.width == 16 && rounds_bf16;
  return d.width == 16 || y.dims[2] >= 28 || (large && kind == kind_conv_backward_data);
}

}  // namespace

std::unique_ptr<kernel> make_own_conv(const op &o, cpu &d, const value &x, const value &w, const value &y,
                                      bool bias, double in_proportion) {
  const attributes &a = o.attr;
  bool one = w.dims[1] == 3 && w.dims[2] == 3 && a.stride[0] == 1 && a.stride[1] == 1 && a.padding[0] == 1 &&
             a.padding[1] == 1 && a.dilation[0] == 1 && a.dilation[1] == 1;
  bool f32 = x.type == type_f32;  // only the Winograd kernels read bf16
  auto fits = [&](const std::unique_ptr<kernel> &k) {
    return k && (d.workspace_limit == 0 || k->scratch <= d.workspace_limit);
  };
  bool product = d.convolution.empty() ? product_is_faster(o.kind, d, w) : d.convolution == "product";
  if (f32 && product)
    if (auto k = make_product_conv(o, d, x, w); fits(k)) return k;
  bool direct =
      d.convolution.empty() ? strided_is_faster(o.kind, d, a, w, y) : d.convolution == "direct, stride 2";
  if (f32 && d.width > 0 && direct)
    for (auto make : {make_strided_conv, make_strided_data, make_strided_weights})
      if (auto k = make(o, d, x, w, y); fits(k)) return k;
  bool depthwise =
      d.convolution.empty() ? depthwise_is_faster(o.kind, d, x, w, y) : d.convolution == "direct, depthwise";
  if (d.width > 0 && depthwise)
    for (auto make : {make_depthwise, make_depthwise_weights})
      if (auto k = make(o, d, x, w, y); fits(k)) return k;
  if (!one || d.width == 0) return nullptr;
  if (a.groups > 1) {
    bool wanted =
        d.convolution.empty() ? grouped_is_faster(o.kind, d, x) : d.convolution == "winograd F(4x4, 3x3)";
    bool whole = w.dims[0] / a.groups % 16 == 0 && w.dims[3] % 16 == 0;
    auto k = f32 && wanted && whole ? make_winograd4(o, d, x, w, y) : nullptr;
    return fits(k) && k->scratch <= most_workspace ? std::move(k) : nullptr;
  }
  if (f32 && (d.convolution.empty() || d.convolution == "direct, few channels"))
    if (auto k = make_narrow_conv(o, d, x, w); fits(k)) return k;
  if (w.dims[0] % 16 != 0 || w.dims[3] % 16 != 0) {
    // Half of the channels are padding at the most.
    bool wide = f32 && w.dims[0] >= 8 && w.dims[3] >= 8;
    auto k = wide ? make_padded_conv(o, d, x, w, y) : nullptr;
    return fits(k) ? std::move(k) : nullptr;
  }
  auto outputs = [&](int64_t height, int64_t width) {  // in whole tiles
    return static_cast<double>(x.dims[0] * ((x.dims[1] + height - 1) / height) *
                               ((x.dims[2] + width - 1) / width) * height * width);
  };
  double channels = std::sqrt(static_cast<double>(w.dims[0]) * static_cast<double>(w.dims[3]));
  const table rates = table_of(d, x.type);
  if (rates.rows == 0) return nullptr;
  const rate &r = nearest(rates, o.kind, channels, outputs(4, 4) / 16);
  const double computed[algorithms] = {in_proportion * outputs(1, 1), outputs(2, 2), outputs(4, 4),
                                       outputs(2, 4)};
  double time[algorithms];
  for (int i = 0; i < algorithms; i++) time[i] = r.gflops[i] > 0 ? computed[i] / r.gflops[i] : HUGE_VAL;
  std::unique_ptr<kernel> best;
  uint64_t limit = d.convolution.empty() ? most_workspace : UINT64_MAX;
  if (d.workspace_limit > 0) limit = std::min(limit, d.workspace_limit);
  double least = d.convolution.empty() ? time[library] : HUGE_VAL;
  auto consider = [&](algorithm at, const char *name, std::unique_ptr<kernel> k) {
    bool wanted = d.convolution.empty() || d.convolution == name;
    bool slower = (best || d.convolution.empty()) && time[at] >= least;
    if (!k || !wanted || slower || k->scratch > limit) return;
    best = std::move(k), least = time[at];
  };
  if (!bias) consider(tiles_of_2, "winograd F(2x2, 3x3)", make_winograd2(o, d, x, w, y));
  consider(tiles_of_4, "winograd F(4x4, 3x3)", make_winograd4(o, d, x, w, y));
  consider(rows_of_4, "winograd F(4, 3)", make_winograd_rows(o, d, x, w));
  // Where the filters of all channels need too much workspace: the first group that needs less.
  for (int64_t group : f32 ? std::vector<int64_t>{128, 64} : std::vector<int64_t>{})
    consider(tiles_of_4, "groups of channels", make_grouped_conv(o, d, x, w, y, group));
  return best;
}

}  // namespace lb
