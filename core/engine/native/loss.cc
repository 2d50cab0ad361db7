// Losses. They are small (N x classes) and run on one thread, rows in order.
//   cross_entropy           loss = mean(logsumexp(l) - l[label]); correct; p = softmax(l), may lie in l
//   cross_entropy_backward  dl = scale * (p - onehot) / N, may lie in p
#include <cmath>

#include "program.h"

namespace lb {
namespace {

int32_t label_of(const op &o, int64_t i, int64_t classes) {
  int32_t label = reinterpret_cast<const int32_t *>(o.operands[1]->data)[i];
  if (label < 0 || label >= classes)
    fail(LB_INVALID, "label %d of sample %lld, want 0 to %lld", label, static_cast<long long>(i),
         static_cast<long long>(classes - 1));
  return label;
}

void cross_entropy(const op &o, int) {
  int64_t n = o.operands[0]->dims[0], classes = o.operands[0]->dims[1], correct = 0;
  double loss = 0;
  for (int64_t i = 0; i < n; i++) {
    const float *l = o.in(0) + i * classes;
    float *p = o.out(2) + i * classes;
    int32_t label = label_of(o, i, classes);
    int64_t best = 0;
    for (int64_t k = 1; k < classes; k++)
      if (l[k] > l[best]) best = k;
    double top = l[best], own = l[label], sum = 0;
    for (int64_t k = 0; k < classes; k++) {
      double e = std::exp(l[k] - top);
      sum += e;
      p[k] = static_cast<float>(e);
    }
    for (int64_t k = 0; k < classes; k++) p[k] = static_cast<float>(p[k] / sum);
    loss += std::log(sum) + top - own;
    correct += best == label;
  }
  o.out(0)[0] = static_cast<float>(loss / static_cast<double>(n));
  o.out(1)[0] = static_cast<float>(correct);
}

void cross_entropy_backward(const op &o, int) {
  int64_t n = o.operands[0]->dims[0], classes = o.operands[0]->dims[1];
  double scale = o.attr.scale / static_cast<double>(n);
  for (int64_t i = 0; i < n; i++) {
    int32_t label = label_of(o, i, classes);
    for (int64_t k = 0; k < classes; k++)
      o.out(0)[i * classes + k] =
          static_cast<float>(scale * (o.in(0)[i * classes + k] - (k == label ? 1.0 : 0.0)));
  }
}

}  // namespace

std::unique_ptr<kernel> make_loss(const op &o, device &d) {
  return std::make_unique<function>(o.kind == kind_cross_entropy ? cross_entropy : cross_entropy_backward,
                                    d.threads);
}

}  // namespace lb
