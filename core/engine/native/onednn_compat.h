// The differences between oneDNN 2 (Debian 12) and oneDNN 3: descriptors of
// operations are gone, their arguments go straight to the primitive descriptor.
#pragma once
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

namespace lb {

using dims = dnnl::memory::dims;
using desc = dnnl::memory::desc;

// kept is what has to live as long as primitive descriptors are walked.
using kept = std::vector<std::shared_ptr<void>>;

#if DNNL_VERSION_MAJOR >= 3

inline dnnl::convolution_forward::primitive_desc conv_forward_desc(
    const dnnl::engine &e, const desc &x, const desc &w, const desc &bias, const desc &y, const dims &stride,
    const dims &dilate, const dims &pad, const dims &pad_end, const dnnl::primitive_attr &a, kept &) {
  auto kind = dnnl::prop_kind::forward_training;
  auto how = dnnl::algorithm::convolution_direct;
  if (bias.is_zero()) return {e, kind, how, x, w, y, stride, dilate, pad, pad_end, a};
  return {e, kind, how, x, w, bias, y, stride, dilate, pad, pad_end, a};
}

inline dnnl::convolution_backward_data::primitive_desc conv_backward_data_desc(
    const dnnl::engine &e, const desc &x, const desc &w, const desc &y, const dims &stride,
    const dims &dilate, const dims &pad, const dims &pad_end,
    const dnnl::convolution_forward::primitive_desc &hint, const dnnl::primitive_attr &a, kept &) {
  return {e, dnnl::algorithm::convolution_direct, x, w, y, stride, dilate, pad, pad_end, hint, a};
}

inline dnnl::convolution_backward_weights::primitive_desc conv_backward_weights_desc(
    const dnnl::engine &e, const desc &x, const desc &w, const desc &bias, const desc &y, const dims &stride,
    const dims &dilate, const dims &pad, const dims &pad_end,
    const dnnl::convolution_forward::primitive_desc &hint, const dnnl::primitive_attr &a, kept &) {
  auto how = dnnl::algorithm::convolution_direct;
  if (bias.is_zero()) return {e, how, x, w, y, stride, dilate, pad, pad_end, hint, a};
  return {e, how, x, w, bias, y, stride, dilate, pad, pad_end, hint, a};
}

inline dnnl::matmul::primitive_desc matmul_desc(const dnnl::engine &e, const desc &a, const desc &b,
                                                const desc &bias, const desc &c,
                                                const dnnl::primitive_attr &attr) {
  if (bias.is_zero()) return {e, a, b, c, attr};
  return {e, a, b, bias, c, attr};
}

#else

// described makes a primitive descriptor whose list of implementations can be walked:
// oneDNN 2 reads the descriptor of the operation again at each step.
template <typename P, typename... More>
typename P::primitive_desc described(kept &keep, typename P::desc op, const More &...more) {
  auto d = std::make_shared<typename P::desc>(std::move(op));
  keep.push_back(d);
  return {*d, more...};
}

inline dnnl::convolution_forward::primitive_desc conv_forward_desc(
    const dnnl::engine &e, const desc &x, const desc &w, const desc &bias, const desc &y, const dims &stride,
    const dims &dilate, const dims &pad, const dims &pad_end, const dnnl::primitive_attr &a, kept &keep) {
  auto kind = dnnl::prop_kind::forward_training;
  auto how = dnnl::algorithm::convolution_direct;
  if (bias.is_zero())
    return described<dnnl::convolution_forward>(keep, {kind, how, x, w, y, stride, dilate, pad, pad_end}, a,
                                                e);
  return described<dnnl::convolution_forward>(keep, {kind, how, x, w, bias, y, stride, dilate, pad, pad_end},
                                              a, e);
}

inline dnnl::convolution_backward_data::primitive_desc conv_backward_data_desc(
    const dnnl::engine &e, const desc &x, const desc &w, const desc &y, const dims &stride,
    const dims &dilate, const dims &pad, const dims &pad_end,
    const dnnl::convolution_forward::primitive_desc &hint, const dnnl::primitive_attr &a, kept &keep) {
  auto how = dnnl::algorithm::convolution_direct;
  return described<dnnl::convolution_backward_data>(keep, {how, x, w, y, stride, dilate, pad, pad_end}, a, e,
                                                    hint);
}

inline dnnl::convolution_backward_weights::primitive_desc conv_backward_weights_desc(
    const dnnl::engine &e, const desc &x, const desc &w, const desc &bias, const desc &y, const dims &stride,
    const dims &dilate, const dims &pad, const dims &pad_end,
    const dnnl::convolution_forward::primitive_desc &hint, const dnnl::primitive_attr &a, kept &keep) {
  auto how = dnnl::algorithm::convolution_direct;
  if (bias.is_zero())
    return described<dnnl::convolution_backward_weights>(keep, {how, x, w, y, stride, dilate, pad, pad_end},
                                                         a, e, hint);
  return described<dnnl::convolution_backward_weights>(
      keep, {how, x, w, bias, y, stride, dilate, pad, pad_end}, a, e, hint);
}

inline dnnl::matmul::primitive_desc matmul_desc(const dnnl::engine &e, const desc &a, const desc &b,
                                                const desc &bias, const desc &c,
                                                const dnnl::primitive_attr &attr) {
  if (bias.is_zero()) return {dnnl::matmul::desc(a, b, c), attr, e};
  return {dnnl::matmul::desc(a, b, bias, c), attr, e};
}

#endif

}  // namespace lb
