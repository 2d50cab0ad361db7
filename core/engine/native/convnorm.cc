//go:build !nocpu

// The backward pass of a convolution that a normalisation follows: where strips.cc cannot compute it, one
// kernel after the other, with the gradient between them in the workspace.
#include "gradients.h"
#include "norm.h"

namespace lb {

std::unique_ptr<kernel> make_convnorm(const op &o, cpu &d) {
  if (auto k = make_strips(o, d)) return k;
  auto k = std::make_unique<gradients<kernel>>(
      o, [&](const op &inner) { return make_norm_pass(inner, d); },
      [&](const op &inner) { return d.choose(inner); });
  if (d.workspace_limit > 0 && k->scratch > d.workspace_limit)
    fail(LB_UNSUPPORTED,
         "the gradients of a convolution need %llu bytes for that of its result, more than the limit of %llu "
         "bytes",
         static_cast<unsigned long long>(k->scratch), static_cast<unsigned long long>(d.workspace_limit));
  return k;
}

}  // namespace lb
