// The backward pass of a convolution that a normalisation follows: our own kernel (mma_backward.cu) for the
// shapes that it serves, if our own kernels are chosen for both gradients of the convolution, else one kernel
// after the other, with the gradient between them in the workspace.
#include "../native/gradients.h"
#include "convnorm.h"

namespace lb {
namespace {

struct convnorm : gradients<gpu_kernel> {
  std::unique_ptr<kernel> whole;  // our own; nullptr: the parts run
  convnorm(const op &o, gpu &d)
      : gradients<gpu_kernel>(
            o, [&](const op &inner) { return make_norm_gradient(inner, d); },
            [&](const op &inner) { return d.choose(inner); }, d) {
    if (data.work->name != own_convolution || weights.work->name != own_convolution) return;
    auto k = make_mma_backward(o, d);
    if (!k || (d.workspace_limit > 0 && k->scratch > d.workspace_limit)) return;
    name = k->name, scratch = k->scratch, whole = std::move(k);
  }
  void bind(const op &o) override { whole ? whole->bind(o) : gradients::bind(o); }
  void run(const op &o) override { whole ? whole->run(o) : gradients::run(o); }
  std::vector<const op *> parts(const op &) const override {
    auto all = static_cast<const gpu_kernel &>(*data.work).parts(data);
    auto more = static_cast<const gpu_kernel &>(*weights.work).parts(weights);
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
};

}  // namespace

std::unique_ptr<kernel> make_convnorm(const op &o, gpu &d) { return std::make_unique<convnorm>(o, d); }

}  // namespace lb
