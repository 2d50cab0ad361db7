// The backward pass of a convolution that a normalisation follows (core/graph/convnorm.go), where no kernel
// does all of it. Shared by the backends.
#pragma once
#include <algorithm>

#include "program.h"

namespace lb {

// Rows of the coefficients [5][C].
enum : int64_t {
  coefficient_scale,
  coefficient_shift,
  coefficient_slope,
  coefficient_offset,
  coefficient_mean,
  coefficient_count
};

// gradients runs conv_norm_backward as three ops: the gradient of the convolution's result, in the workspace,
// then those of its input and of its weights. make_norm makes the kernel of the first one, of the operands
// dy, y and coefficients, and choose those of the others. Base is kernel, or a class of kernels of the
// backend, which gets the last arguments.
template <typename Base>
struct gradients : Base {
  value gradient;  // of the convolution's result
  op norm, data, weights;

  template <typename M, typename F, typename... A>
  gradients(const op &o, M make_norm, F choose, A &...base) : Base(base...), gradient(*o.operands[3]) {
    value *dy = o.operands[0], *w = o.operands[1], *x = o.operands[2], *y = o.operands[3];
    norm.attr.activation = o.attr.activation;
    norm.operands = {dy, y, o.operands[4]}, norm.results = {&gradient};
    data.kind = kind_conv_backward_data, weights.kind = kind_conv_backward_weights;
    for (op *part : {&data, &weights}) part->attr = o.attr, part->attr.activation = activation_none;
    std::copy_n(x->dims, 4, data.attr.input);
    std::copy_n(w->dims + 1, 2, weights.attr.kernel);
    data.operands = {&gradient, w}, data.results = {o.results[0]};
    weights.operands = {x, &gradient, nullptr, nullptr, nullptr, nullptr}, weights.results = {o.results[1]};
    for (op *part : {&norm, &data, &weights}) part->stream = o.stream;
    norm.work = make_norm(norm), data.work = choose(data), weights.work = choose(weights);
    this->name = data.work->name + " and " + weights.work->name + ", gradient of the result in the workspace";
    this->scratch = before() + std::max({norm.work->scratch, data.work->scratch, weights.work->scratch});
  }
  // before is the bytes of the workspace before that of the kernels.
  uint64_t before() const { return align(static_cast<uint64_t>(gradient.bytes)); }
  void place(const op &o) {
    gradient.data = o.scratch;
    for (op *part : {&norm, &data, &weights}) part->scratch = o.scratch + before();
  }
  void bind(const op &o) override {
    place(o);
    for (op *part : {&norm, &data, &weights}) part->work->bind(*part);
  }
  void run(const op &o) override {
    place(o);
    for (op *part : {&norm, &data, &weights}) part->work->run(*part);
  }
};

}  // namespace lb
