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

// gradient_ops are the ops that conv_norm_backward consists of: the gradient of the convolution's result,
// then those of its input and of its weights; and norm_backward_sums of the normalisation of the input, if
// the op is to give these.
struct gradient_ops {
  value gradient;  // of the convolution's result
  op norm;         // of the operands dy, y and coefficients
  op data, weights, sums;

  explicit gradient_ops(const op &o) : gradient(*o.operands[3]) {
    value *x = o.operands[0], *w = o.operands[1], *dy = o.operands[2], *y = o.operands[3];
    norm.attr.activation = o.attr.following;
    norm.operands = {dy, y, o.operands[4]}, norm.results = {&gradient};
    data.kind = kind_conv_backward_data, weights.kind = kind_conv_backward_weights;
    data.attr = weights.attr = o.attr;
    data.attr.activation = activation_none, data.attr.epsilon = 0;
    std::copy_n(x->dims, 4, data.attr.input);
    std::copy_n(w->dims + 1, 2, weights.attr.kernel);
    data.operands = {&gradient, w}, data.results = {o.results[0]};
    // Mean, variance, gamma and beta of the input are the last operands.
    std::vector<value *> of_input(o.operands.begin() + 5, o.operands.end());
    weights.operands = {x, &gradient}, weights.results = {o.results[1]};
    weights.operands.insert(weights.operands.end(), of_input.begin(), of_input.end());
    norm.stream = data.stream = weights.stream = sums.stream = o.stream;
    if (!o.attr.input_sums) return;
    sums.kind = kind_norm_backward_sums;
    sums.attr.activation = o.attr.activation, sums.attr.epsilon = o.attr.epsilon;
    sums.operands = {o.results[0], x};
    sums.operands.insert(sums.operands.end(), of_input.begin(), of_input.end());
    sums.operands.resize(8, nullptr);
    sums.results = {o.results.begin() + 2, o.results.end()};
  }
  // It has pointers to its own members.
  gradient_ops(const gradient_ops &) = delete;
  gradient_ops &operator=(const gradient_ops &) = delete;
};

// gradients runs these ops one after the other, with the gradient of the convolution's result in the
// workspace. make_norm makes the kernel of the first one, and choose those of the others. Base is kernel, or
// a class of kernels of the backend, which gets the last arguments.
template <typename Base>
struct gradients : Base, gradient_ops {
  std::vector<op *> all{&norm, &data, &weights};

  template <typename M, typename F, typename... A>
  gradients(const op &o, M make_norm, F choose, A &...base) : Base(base...), gradient_ops(o) {
    if (o.attr.input_sums) all.push_back(&sums);
    for (op *part : all) {
      part->work = part == &norm ? make_norm(*part) : choose(*part);
      this->scratch = std::max(this->scratch, part->work->scratch);
    }
    this->scratch += before();
    this->name = data.work->name + " and " + weights.work->name + ", gradient of the result in the workspace";
  }
  // before is the bytes of the workspace before that of the kernels.
  uint64_t before() const { return align(static_cast<uint64_t>(gradient.bytes)); }
  void place(const op &o) {
    gradient.data = o.scratch;
    for (op *part : all) part->scratch = o.scratch + before();
  }
  void bind(const op &o) override {
    place(o);
    for (op *part : all) part->work->bind(*part);
  }
  void run(const op &o) override {
    place(o);
    for (op *part : all) part->work->run(*part);
  }
};

}  // namespace lb
