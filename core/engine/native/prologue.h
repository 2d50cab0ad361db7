// Convolutions that normalise their input: the operands mean, variance, gamma and beta (core/graph/conv.go).
// Shared by the backends.
#pragma once
#include <algorithm>

#include "program.h"

namespace lb {

// norm_input is the index of the first of the four operands with which ops of a kind normalise their first
// operand; 0 for kinds that do not.
inline size_t norm_input(int32_t kind) {
  return kind == kind_conv                    ? 3
         : kind == kind_conv_backward_weights ? 2
         : kind == kind_conv_norm_backward    ? 5
                                              : 0;
}

inline bool normalises_input(const op &o) {
  size_t first = norm_input(o.kind);
  return first > 0 && o.operands.size() > first && o.operands[first];
}

// clips_input tells whether the activation of a normalised input only clips, or is absent.
inline bool clips_input(const op &o) { return o.attr.activation == activation_none || o.attr.rectifies(); }

// split_input divides a convolution that normalises its input into norm_apply, whose result is x, and the
// convolution of x.
inline void split_input(const op &o, value *x, op *apply, op *conv) {
  auto first = o.operands.begin() + static_cast<std::ptrdiff_t>(norm_input(o.kind));
  *x = *o.operands[0];
  apply->kind = kind_norm_apply, conv->kind = o.kind;
  apply->stream = conv->stream = o.stream;
  apply->attr.activation = o.attr.activation, apply->attr.epsilon = o.attr.epsilon;
  apply->operands = {o.operands[0], first[0], first[1], first[2], first[3], nullptr};  // no residual
  apply->results = {x};
  conv->attr = o.attr, conv->operands = o.operands, conv->results = o.results;
  conv->attr.activation = activation_none, conv->attr.epsilon = 0;
  conv->operands[0] = x;
  for (size_t i = 0; i < 4; i++) conv->operands[norm_input(o.kind) + i] = nullptr;
}

// normalised runs a convolution whose kernel cannot normalise its input: norm_apply writes the normalised
// input to the workspace, where the kernel reads it. Base is kernel, or a class of kernels of the backend,
// which gets the last arguments.
template <typename Base>
struct normalised : Base {
  value x;  // normalised
  op apply, conv;

  template <typename M, typename F, typename... A>
  normalised(const op &o, M make_apply, F make_conv, A &...base) : Base(base...) {
    split_input(o, &x, &apply, &conv);
    apply.work = make_apply(apply), conv.work = make_conv(conv);
    this->name = conv.work->name + ", normalised input in the workspace";
    this->scratch = before() + std::max(apply.work->scratch, conv.work->scratch);
  }
  // before is the bytes of the workspace before that of the kernels.
  uint64_t before() const { return align(static_cast<uint64_t>(x.bytes)); }
  void place(const op &o) {
    x.data = o.scratch;
    apply.scratch = conv.scratch = o.scratch + before();
  }
  void bind(const op &o) override {
    place(o);
    apply.work->bind(apply), conv.work->bind(conv);
  }
  void run(const op &o) override {
    place(o);  // where nothing was bound: while engines are timed
    apply.work->run(apply), conv.work->run(conv);
  }
};

}  // namespace lb
