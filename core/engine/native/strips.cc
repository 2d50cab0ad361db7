//go:build !nocpu

// Convolutions with the work of the normalisations around them (--fuse-norm), a strip of rows at a time:
// while the rows are in the second cache of the core that computes them, it
//
//   forward           normalises rows of x, convolves them, and adds the statistics of the results
//   backward weights  normalises rows of x, and adds to the gradient
//   backward          (conv_norm_backward) computes the gradient of the convolution's result from rows of dy
//                     and y, from that dx, then normalises rows of x and adds to dw, and last adds what
//                     norm_backward_sums gives of dx and x
//
// So each tensor in memory is read once and written once, and neither the normalised input nor the gradient
// of the result exists as a whole. The parts are the passes of norm.cc and the kernels of strips.h. The rows
// above and below a strip that the convolution reads, too, are normalised for both strips.
//
// Workspace: that of the passes and kernels; for each thread the rows of a strip of what is not stored, and a
// kernel's part. Threads divide the rows of all images.
//
// Order of summation: that of the kernels and passes, for each thread its strips in order, then the threads.
// Results are reproducible with the same number of threads.
#include "strips.h"

#include <vector>

#include "epilogue.h"
#include "gradients.h"
#include "norm.h"
#include "prologue.h"

namespace lb {
namespace {

// strip_bytes is about how many bytes of each tensor a strip has: of 32 to 256 KiB those with which steps of
// ResNet-32 took the least time (docs/performance.md).
constexpr int64_t strip_bytes(const value &v) { return v.type == type_bf16 ? 128 << 10 : 64 << 10; }

// 1x1 convolutions of at most this many weights are products in strips, of more of them oneDNN's as a whole:
// steps of ResNet-50 took longer with products of any number.
constexpr int64_t most_product = 1 << 14;

// pass is an op of a normalisation, if there is one, with its kernel.
struct pass {
  op o;
  std::unique_ptr<norm_pass> kernel;
  explicit operator bool() const { return kernel != nullptr; }
  void part(int64_t from, int64_t to, int thread, uint8_t *result = nullptr) {
    kernel->part(o, from, to, thread, result);
  }
};

// part is a convolution with its kernel, and where in the workspace that has the part of all threads.
struct part {
  op o;
  strip_kernel *kernel = nullptr;  // o.work
  uint64_t place = 0;
};

struct strips : kernel {
  int threads;
  int64_t n, h, unit = 1, step = 1, halo = 0;  // rows of y: of a unit, of a strip, on either side of it
  value x, gradient;                           // normalised; of the convolution's result
  std::unique_ptr<gradient_ops> backward;
  pass apply, norm, statistics, sums;
  std::vector<pass *> passes;
  std::vector<std::unique_ptr<part>> convs;    // forward; or weights; or data, weights
  uint64_t common = 0, own = 0;                // bytes of the workspace: of all threads, of each
  uint64_t place_gradient = 0, place_own = 0;  // in that of a thread, which begins with rows of x
  int64_t row_x, row_y;                        // elements of x and of y for a row of y

  strips(const op &o, cpu &d) : threads(d.threads) {
    const value &in = *o.operands[0], &y = o.kind == kind_conv                 ? *o.results[0]
                                           : o.kind == kind_conv_norm_backward ? *o.operands[3]
                                                                               : *o.operands[1];
    n = y.dims[0], h = y.dims[1], row_x = in.elements / (n * h), row_y = y.elements / (n * h);
    if (o.kind == kind_conv_norm_backward)
      split_backward(o);
    else
      split_forward(o);
    for (auto &c : convs) {
      c->o.work = choose(c->o, d);
      c->kernel = dynamic_cast<strip_kernel *>(c->o.work.get());
    }
  }
  // choose returns the kernel of a convolution: one that computes strips, if that is not much slower.
  static std::unique_ptr<kernel> choose(const op &o, cpu &d) {
    const auto [x, w, y] = convolution_of(o);
    if (d.convolution.empty()) {
      for (auto make : {make_depthwise, make_depthwise_weights})
        if (auto k = make(o, d, x, w, y)) return k;
      if (x.type == type_f32 && w.dims[0] * w.dims[3] <= most_product)
        if (auto k = make_product_conv(o, d, x, w)) return k;
    }
    return d.choose(o);
  }
  // add appends a convolution, which normalises its input if it is to.
  void add(const op &o, const op &conv) {
    convs.push_back(std::make_unique<part>());
    op &last = convs.back()->o;
    if (normalises_input(conv)) {
      split_input(conv, &x, &apply.o, &last);
      passes.push_back(&apply);
      return;
    }
    last.kind = conv.kind, last.stream = o.stream, last.attr = conv.attr;
    last.operands = conv.operands, last.results = conv.results;
  }
  void split_forward(const op &o) {
    if (!computes_statistics(o)) return add(o, o);
    op conv;
    split_statistics(o, &conv, &statistics.o);
    passes.push_back(&statistics);
    add(o, conv);
  }
  void split_backward(const op &o) {
    backward = std::make_unique<gradient_ops>(o);
    norm.o = std::move(backward->norm), passes.push_back(&norm);
    add(o, backward->data), add(o, backward->weights);
    if (o.attr.input_sums) sums.o = std::move(backward->sums), passes.push_back(&sums);
  }
  // prepare tells whether the kernels compute strips, and divides the workspace.
  bool prepare(cpu &d) {
    int64_t good = 1;
    uint64_t most = 0;
    for (auto &c : convs) {
      if (!c->kernel || c->kernel->unit == 0) return false;
      unit = std::max(unit, c->kernel->unit), good = std::max(good, c->kernel->good);
      halo = std::max(halo, c->kernel->halo);
      most = std::max(most, align(c->kernel->own));
      name = name == "plain" ? c->kernel->name : name + " and " + c->kernel->name;
    }
    const value &in = *convs[0]->o.operands[0];
    int64_t size = in.bytes / in.elements, row = size * std::max(row_x, row_y);
    int64_t bytes = strip_bytes(in), rows = (bytes + row - 1) / row;
    step = (rows + good - 1) / good * good;
    if (step * row > 2 * bytes) step = (rows + unit - 1) / unit * unit;
    step = std::min(step, n * ((h + unit - 1) / unit * unit));
    for (pass *p : passes) {
      p->kernel = make_norm_pass(p->o, d);
      common += align(p->kernel->scratch);
    }
    for (auto &c : convs) c->place = common, common += align(c->kernel->shared);
    divide(size, most);
    while (d.workspace_limit > 0 && scratch > d.workspace_limit && step > unit)
      step = std::max(step / 2 / unit * unit, unit), divide(size, most);
    name += ", strips of " + std::to_string(step) + " rows";
    return d.workspace_limit == 0 || scratch <= d.workspace_limit;
  }
  // divide divides the workspace for strips of `step` rows and kernels that need `most` bytes for a thread.
  void divide(int64_t size, uint64_t most) {
    auto rows_of = [&](int64_t row) { return align(static_cast<uint64_t>((step + 2 * halo) * row * size)); };
    place_gradient = apply ? rows_of(row_x) : 0;
    place_own = place_gradient + (norm ? rows_of(row_y) : 0);
    own = place_own + most;
    scratch = common + static_cast<uint64_t>(threads) * own;
  }

  void run(const op &o) override {
    uint8_t *at = o.scratch;
    for (pass *p : passes) {
      p->o.scratch = at, at += align(p->kernel->scratch);
      p->kernel->begin(p->o);
    }
    for (auto &c : convs) c->kernel->begin(c->o, o.scratch + c->place);
    const int64_t of_image = (h + unit - 1) / unit, count = n * of_image;
    auto row_of = [&](int64_t u) { return u / of_image * h + u % of_image * unit; };
    parallel(count, 1, threads, n * h * row_y * 16, [&](int64_t first, int64_t last, int t) {
      const int64_t units = step / unit;
      for (int64_t u = first; u < last; u += units) {
        strip s{};
        s.from = row_of(u), s.to = row_of(std::min(u + units, last));
        s.next = row_of(std::min(u + 2 * units, last));
        compute(o, s, t);
      }
    });
    for (auto &c : convs) c->kernel->end(c->o, o.scratch + c->place);
    for (pass *p : passes) p->kernel->end(p->o);
  }
  // compute computes one strip.
  void compute(const op &o, strip s, int t) {
    uint8_t *space = o.scratch + common + static_cast<uint64_t>(t) * own;
    // Rows in the images above and below the strip; the rows that are read.
    const int64_t above = s.from % h, below = (h - s.to % h) % h;
    const int64_t from = s.from - std::min(halo, above), to = s.to + std::min(halo, below);
    const value &in = *o.operands[0];
    const int64_t size = in.bytes / in.elements;
    const uint8_t *read = in.data, *dy = nullptr;
    if (norm) {
      uint8_t *g = space + place_gradient - from * row_y * size;
      norm.part(from * row_y, to * row_y, t, g);
      s.in[0] = dy = g;
      s.ahead[0] = o.operands[2]->data, s.ahead[1] = o.operands[3]->data;
      s.out = o.results[0]->data;
      convolve(o, 0, s, space, t);
    }
    if (apply) {
      uint8_t *normalised = space - from * row_x * size;
      apply.part(from * row_x, to * row_x, t, normalised);
      read = normalised;
    }
    s.in[0] = read, s.ahead[0] = in.data, s.ahead[1] = nullptr;
    if (o.kind == kind_conv_backward_weights) s.ahead[1] = dy = o.operands[1]->data;
    if (o.kind == kind_conv) s.out = o.results[0]->data;
    s.in[1] = dy;
    convolve(o, convs.size() - 1, s, space, t);
    if (statistics) statistics.part(s.from * row_y, s.to * row_y, t);
    if (sums) sums.part(s.from * row_x, s.to * row_x, t);
  }
  void convolve(const op &o, size_t i, const strip &s, uint8_t *space, int t) {
    part &c = *convs[i];
    c.kernel->part(c.o, s, o.scratch + c.place, space + place_own, t);
  }
};

}  // namespace

std::unique_ptr<kernel> make_strips(const op &o, cpu &d) {
  auto k = std::make_unique<strips>(o, d);
  return k->prepare(d) ? std::move(k) : nullptr;
}

}  // namespace lb
