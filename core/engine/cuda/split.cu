// Ops on tensors of 2^31 elements and more. Libraries and many of our kernels count elements in 32 bits, so
// such an op is computed in parts of the batch, one after the other, each by the kernel that an op of that
// batch has. The gradient of a convolution's weights is a sum over the batch: every part writes its own
// gradient into the workspace, and a kernel adds them in f32, in order.
//
// Kernels that count in 64 bits need no parts: counts_in_64_bits has their kinds.
#include <algorithm>
#include <numeric>

#include "gpu.h"

namespace lb {
namespace {

// Elements of a tensor at the most. The emulator takes a smaller number from the environment, for tests.
int64_t most_elements() {
#ifdef LB_EMU
  if (const char *text = std::getenv("LB_EMU_MOST_ELEMENTS")) return std::atoll(text);
#endif
  return (int64_t{1} << 31) - 1;
}

// counts_in_64_bits tells whether the kernels of a kind take tensors of any size.
bool counts_in_64_bits(int32_t kind) {
  switch (kind) {
    case kind_norm_stats:
    case kind_norm_apply:
    case kind_norm_backward:
    case kind_norm_backward_sums:
    case kind_conv_norm_backward:  // its parts are ops of their own
    case kind_relu:
    case kind_relu_backward:
    case kind_silu:
    case kind_silu_backward:
    case kind_activate:
    case kind_activate_backward:
    case kind_layer_norm:
    case kind_layer_norm_backward:
    case kind_add:
    case kind_detach:
    case kind_cast:
    case kind_quantize:
    case kind_dequantize:
      return true;
  }
  return false;
}

// by_samples tells whether the samples of a batch are computed independently of each other, except for a sum
// over them in the results of a backward pass to weights.
bool by_samples(const op &o) {
  switch (o.kind) {
    case kind_conv:
    case kind_conv_backward_data:
    case kind_conv_backward_weights:
    case kind_max_pool:
    case kind_max_pool_backward:
    case kind_average_pool:
    case kind_average_pool_backward:
    case kind_adaptive_average_pool:
    case kind_adaptive_average_pool_backward:
    case kind_upsample:
    case kind_upsample_backward:
    case kind_gate:
    case kind_gate_backward:
      return true;
  }
  return false;
}

// divided tells whether an operand or a result of such an op has a sample for each of the batch.
bool divided(const op &o, bool result, size_t i) {
  if (family_of(o.kind) != family::conv) return true;
  if (o.kind == kind_conv_backward_weights) return !result && i < 2;
  return i == 0;
}

template <typename T>
struct sum_each {
  const uint8_t *parts;
  int64_t distance;  // of the parts, bytes
  int count;
  T *to;
  __device__ void operator()(int64_t i) const {
    float sum = 0;
    for (int p = 0; p < count; p++) sum += widen(reinterpret_cast<const T *>(parts + p * distance)[i]);
    narrow(sum, to[i]);
  }
};

int64_t padded(int64_t bytes) { return (bytes + 63) / 64 * 64; }

struct split : gpu_kernel {
  struct part {
    int64_t first;  // sample
    std::vector<std::unique_ptr<value>> values;
    op o;
  };
  std::vector<part> list;
  std::vector<int64_t> sums;  // offset in a slot of the workspace, by result; -1: a divided result
  int64_t slot = 0;           // bytes of the workspace for the sums of one part

  split(const op &o, gpu &g, int64_t batch, int64_t samples) : gpu_kernel(g) {
    for (size_t i = 0; i < o.results.size(); i++) {
      sums.push_back(divided(o, true, i) || !o.results[i] ? -1 : slot);
      if (sums[i] >= 0) slot += padded(o.results[i]->bytes);
    }
    uint64_t most = 0;
    for (int64_t first = 0; first < batch; first += samples) {
      list.push_back({});
      part &p = list.back();
      p.first = first;
      p.o.kind = o.kind, p.o.attr = o.attr;
      auto add = [&](const std::vector<value *> &from, std::vector<value *> &to, bool result) {
        for (size_t i = 0; i < from.size(); i++) {
          if (!from[i]) {
            to.push_back(nullptr);
            continue;
          }
          p.values.push_back(std::make_unique<value>(*from[i]));
          value &v = *p.values.back();
          if (divided(o, result, i)) {
            int64_t n = std::min(samples, batch - first);
            v.dims[0] = n, v.elements = from[i]->elements / batch * n, v.bytes = from[i]->bytes / batch * n;
          }
          to.push_back(&v);
        }
      };
      add(o.operands, p.o.operands, false), add(o.results, p.o.results, true);
      p.o.work = d.choose(p.o);
      most = std::max(most, p.o.work->scratch);
    }
    scratch = static_cast<uint64_t>(slot) * list.size() + most;
    name = list[0].o.work->name + ", in " + std::to_string(list.size()) + " parts";
  }

  void run(const op &o) override {
    for (size_t k = 0; k < list.size(); k++) {
      part &p = list[k];
      uint8_t *own = o.scratch + static_cast<int64_t>(k) * slot;
      for (size_t i = 0; i < o.operands.size(); i++)
        if (o.operands[i]) p.o.operands[i]->data = place(o, *o.operands[i], false, i, p.first);
      for (size_t i = 0; i < o.results.size(); i++)
        if (o.results[i])
          p.o.results[i]->data = sums[i] < 0 ? place(o, *o.results[i], true, i, p.first) : own + sums[i];
      p.o.scratch = o.scratch + static_cast<int64_t>(list.size()) * slot;
      p.o.work->run(p.o);
    }
    for (size_t i = 0; i < o.results.size(); i++) {
      if (sums[i] < 0) continue;
      const value &to = *o.results[i];
      typed(to, [&](auto number) {
        using T = decltype(number);
        each(d, to.elements,
             sum_each<T>{o.scratch + sums[i], slot, static_cast<int>(list.size()), at<T>(&to)});
      });
    }
  }

  // place is the address of a part of a value.
  static uint8_t *place(const op &o, const value &v, bool result, size_t i, int64_t first) {
    return divided(o, result, i) ? v.data + v.bytes / v.dims[0] * first : v.data;
  }

  std::vector<const op *> parts(const op &) const override {
    std::vector<const op *> all;
    for (const part &p : list) all.push_back(&p.o);
    return all;
  }
};

}  // namespace

std::unique_ptr<kernel> make_split(const op &o, gpu &d) {
  int64_t most = most_elements(), largest = 0, whole = 0, batch = 0, samples = most, step = 1;
  auto look = [&](const std::vector<value *> &list, bool result) {
    for (size_t i = 0; i < list.size(); i++) {
      const value *v = list[i];
      if (!v) continue;
      largest = std::max(largest, v->elements);
      if (!by_samples(o) || !divided(o, result, i)) {
        whole = std::max(whole, v->elements);
        continue;
      }
      batch = v->dims[0];
      int64_t fit = most / (v->elements / batch);
      samples = std::min(samples, fit);
      // Parts begin at multiples of 64 bytes, as values do.
      step = std::max(step, 64 / std::gcd(int64_t{64}, v->bytes / batch));
    }
  };
  look(o.operands, false), look(o.results, true);
  if (largest <= most || counts_in_64_bits(o.kind)) return nullptr;
  samples = samples / step * step;
  if (samples == 0 || whole > most || !by_samples(o))
    fail(LB_UNSUPPORTED, "a tensor of %lld elements exceeds the limit of %lld for ops of this kind%s",
         static_cast<long long>(largest), static_cast<long long>(most),
         by_samples(o) ? ", and so do parts of its batch" : ": use a smaller batch");
  // Parts of about the same size.
  int64_t count = (batch + samples - 1) / samples;
  samples = ((batch + count - 1) / count + step - 1) / step * step;
  return std::make_unique<split>(o, d, batch, samples);
}

}  // namespace lb
