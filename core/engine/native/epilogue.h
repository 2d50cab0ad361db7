// Convolutions that compute the statistics of their result: the operands running_mean and running_variance
// (core/graph/conv.go). Shared by the backends.
#pragma once
#include <algorithm>

#include "program.h"

namespace lb {

// first_running is the index of the first of the two running statistics among the operands of a convolution.
constexpr size_t first_running = 7;

inline bool computes_statistics(const op &o) {
  return o.kind == kind_conv && o.operands.size() > first_running && o.operands[first_running];
}

// split_statistics divides a convolution that computes the statistics of its result into a convolution and
// norm_stats.
inline void split_statistics(const op &o, op *conv, op *statistics) {
  conv->kind = o.kind, statistics->kind = kind_norm_stats;
  conv->stream = statistics->stream = o.stream;
  conv->attr = o.attr, conv->attr.momentum = 0;
  statistics->attr.momentum = o.attr.momentum;
  conv->operands = o.operands, conv->results = {o.results[0]};
  conv->operands[first_running] = conv->operands[first_running + 1] = nullptr;
  statistics->operands = {o.results[0], o.operands[first_running], o.operands[first_running + 1]};
  statistics->results = {o.results[1], o.results[2]};
}

// with_statistics runs a convolution whose kernel cannot compute the statistics: norm_stats follows it. Base
// is kernel, or a class of kernels of the backend, which gets the last arguments; choose makes the kernels of
// both ops.
template <typename Base>
struct with_statistics : Base {
  op conv, statistics;

  template <typename F, typename... A>
  with_statistics(const op &o, F choose, A &...base) : Base(base...) {
    split_statistics(o, &conv, &statistics);
    conv.work = choose(conv), statistics.work = choose(statistics);
    this->name = conv.work->name + ", then norm_stats";
    this->scratch = std::max(conv.work->scratch, statistics.work->scratch);
  }
  void bind(const op &o) override {
    conv.scratch = statistics.scratch = o.scratch;
    conv.work->bind(conv), statistics.work->bind(statistics);
  }
  void run(const op &o) override {
    conv.scratch = statistics.scratch = o.scratch;
    conv.work->run(conv), statistics.work->run(statistics);
  }
};

}  // namespace lb
