//go:build !nocpu

// Convolutions and linear layers, by oneDNN: the only file that sees its headers.
//
//   y[n,p,q,o]  = bias[o] + sum x[n, p*s-pad+r*d, q*s-pad+t*d, i] * w[o,r,t,i]
//   dx, dw, dbias: its gradients
//
// Activations are NHWC, weights are [O R S I/groups]. A primitive may want its
// weights in a blocked layout: then they are reordered into the workspace before it runs
// (or, for dw, out of it afterwards): they are small beside the activations.
// Scratchpads are part of the op's workspace, so the plan includes them. Primitives
// are kept by signature: a network has few shapes and many layers.
//
// Tensors in bf16 go to the library, where our own kernels do not serve (choice.cc), if the processor
// multiplies bf16 (AVX512_BF16, AMX) and the library has such a kernel: on an EPYC with AVX512_BF16 these
// were 1.3 to 3 times as fast as its kernels in f32. Elsewhere the f32 kernels run on blocks of samples
// (blocks.cc).
#include <oneapi/dnnl/dnnl_debug.h>

#include <functional>
#include <map>
#include <unordered_map>

#include "cpu.h"
#include "epilogue.h"
#include "onednn_compat.h"
#include "prologue.h"

namespace lb {
namespace {

// checked runs one call of the library and names it in the error if it fails.
template <typename F>
auto checked(const char *what, F f) {
  try {
    return f();
  } catch (const dnnl::error &x) {
    int32_t code = x.status == dnnl_unimplemented       ? LB_UNSUPPORTED
                   : x.status == dnnl_out_of_memory     ? LB_OUT_OF_MEMORY
                   : x.status == dnnl_invalid_arguments ? LB_INVALID
                                                        : LB_INTERNAL;
    fail(code, "oneDNN: %s: %s (%s)", what, dnnl_status2str(x.status), x.what());
  }
}

dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr a;
  a.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return a;
}

// serially restricts the library to this thread during its lifetime: reordering the weights of most
// layers takes less time than waking other threads.
struct serially : with_threads {
  explicit serially(uint64_t bytes) : with_threads(bytes < 4 * serial_limit ? 1 : omp_get_max_threads()) {}
};

// prepared holds the primitives of one signature: the one to run, and the one that reorders
// its weights from the program's layout or back to it.
struct prepared {
  std::function<dnnl::primitive()> make, make_reorder;
  dnnl::primitive run, reorder;
  desc weights, stored, x, y, bias, scratchpad, reorder_scratchpad;
  bool reordered = false;
  std::string name;  // of the library's implementation
  uint64_t weights_bytes() const { return reordered ? align(weights.get_size()) : 0; }
  uint64_t scratch() const {
    return weights_bytes() +
           align(std::max(scratchpad.get_size(), reordered ? reorder_scratchpad.get_size() : 0));
  }
  void generate() {
    checked("code generation", [&] {
      if (!run) run = make();
      serially s(weights.get_size());
      if (reordered && !reorder) reorder = make_reorder();
    });
  }
};

}  // namespace

struct convolutions {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::map<std::vector<int64_t>, std::shared_ptr<prepared>> known;
};

namespace {

convolutions &cache(cpu &d) {
  if (!d.cache) d.cache = std::make_shared<convolutions>();
  return *d.cache;
}

// reorder prepares the primitive that converts the weights from one layout to another.
void plan_reorder(prepared &p, const dnnl::engine &e, bool backwards) {
  p.reordered = p.weights != p.stored;
  if (!p.reordered) return;
  serially s(p.weights.get_size());
  dnnl::reorder::primitive_desc r(e, backwards ? p.weights : p.stored, e, backwards ? p.stored : p.weights,
                                  user_scratchpad());
  p.reorder_scratchpad = r.scratchpad_desc();
  p.make_reorder = [r] { return dnnl::reorder(r); };
}

using element = dnnl::memory::data_type;

element element_of(const value &v) { return v.type == type_bf16 ? element::bf16 : element::f32; }

// narrow tells whether an implementation of the library reads bf16 as it is: others convert it first.
bool narrow(const std::string &implementation) {
  return implementation.find("bf16") != std::string::npos || implementation.find("amx") != std::string::npos;
}

// geometry is the content of a signature.
struct geometry {
  element type;                                // of tensors and weights; a bias is f32
  dims x, w, y, stride, dilate, pad, pad_end;  // dilate: the library counts from 0
  desc stored;
  int64_t groups;
  bool bias;
};

geometry conv_geometry(const op &o, const value &x, const value &w_shape, const value &y, bool bias) {
  geometry g;
  const attributes &a = o.attr;
  g.type = element_of(x), g.groups = a.groups, g.bias = bias;
  int64_t out = w_shape.dims[0], r = w_shape.dims[1], s = w_shape.dims[2], in = w_shape.dims[3];
  g.x = {x.dims[0], x.dims[3], x.dims[1], x.dims[2]};
  g.y = {y.dims[0], y.dims[3], y.dims[1], y.dims[2]};
  g.stride = {a.stride[0], a.stride[1]};
  g.pad = {a.padding[0], a.padding[1]};
  g.dilate = {r > 1 ? a.dilation[0] - 1 : 0, s > 1 ? a.dilation[1] - 1 : 0};
  // The right and lower padding follow from the size of the output.
  g.pad_end = {(g.y[2] - 1) * a.stride[0] + (r - 1) * a.dilation[0] + 1 - g.x[2] - a.padding[0],
               (g.y[3] - 1) * a.stride[1] + (s - 1) * a.dilation[1] + 1 - g.x[3] - a.padding[1]};
  if (a.groups == 1) {
    g.w = {out, in, r, s};
    g.stored = desc(g.w, g.type, {r * s * in, 1, s * in, in});
  } else {
    g.w = {a.groups, out / a.groups, in, r, s};
    g.stored = desc(g.w, g.type, {out / a.groups * r * s * in, r * s * in, 1, s * in, in});
  }
  return g;
}

std::vector<int64_t> key_of(int32_t kind, const geometry &g) {
  std::vector<int64_t> key{kind, static_cast<int64_t>(g.type), g.groups, g.bias};
  for (const dims *d : {&g.x, &g.w, &g.y, &g.stride, &g.dilate, &g.pad})
    key.insert(key.end(), d->begin(), d->end());
  return key;
}

// new_conv returns nullptr where the tensors are bf16 and no implementation reads them as they are.
std::shared_ptr<prepared> new_conv(int32_t kind, const geometry &g, convolutions &c, uint64_t limit) {
  auto p = std::make_shared<prepared>();
  auto nhwc = dnnl::memory::format_tag::nhwc;
  desc any(g.w, g.type, dnnl::memory::format_tag::any), none;
  p->stored = g.stored;
  p->x = desc(g.x, g.type, nhwc), p->y = desc(g.y, g.type, nhwc);
  if (g.bias) p->bias = desc({g.y[1]}, element::f32, dnnl::memory::format_tag::x);
  auto attr = user_scratchpad();
  kept keep;
  auto forward = conv_forward_desc(c.engine, p->x, any, kind == kind_conv ? p->bias : none, p->y, g.stride,
                                   g.dilate, g.pad, g.pad_end, attr, keep);
  // choose takes the first of the library's implementations, best first, whose workspace is
  // within the limit.
  auto choose = [&](auto d, auto weights, auto make) {
    uint64_t least = UINT64_MAX;
    do {
      if (g.type == element::bf16 && !narrow(d.impl_info_str())) continue;
      p->weights = weights(d), p->scratchpad = d.scratchpad_desc(), p->name = d.impl_info_str();
      plan_reorder(*p, c.engine, kind == kind_conv_backward_weights);
      least = std::min(least, p->scratch());
      if (limit == 0 || p->scratch() <= limit) {
        p->make = [d, make] { return make(d); };
        return;
      }
    } while (d.next_impl());
    if (g.type == element::bf16) return;
    fail(LB_UNSUPPORTED, "every kernel needs more workspace than the limit of %llu bytes, the smallest %llu",
         static_cast<unsigned long long>(limit), static_cast<unsigned long long>(least));
  };
  if (kind == kind_conv)
    choose(
        forward, [](auto &d) { return d.weights_desc(); },
        [](auto &d) { return dnnl::primitive(dnnl::convolution_forward(d)); });
  else if (kind == kind_conv_backward_data)
    choose(
        conv_backward_data_desc(c.engine, p->x, any, p->y, g.stride, g.dilate, g.pad, g.pad_end, forward,
                                attr, keep),
        [](auto &d) { return d.weights_desc(); },
        [](auto &d) { return dnnl::primitive(dnnl::convolution_backward_data(d)); });
  else
    choose(
        conv_backward_weights_desc(c.engine, p->x, any, p->bias, p->y, g.stride, g.dilate, g.pad, g.pad_end,
                                   forward, attr, keep),
        [](auto &d) { return d.diff_weights_desc(); },
        [](auto &d) { return dnnl::primitive(dnnl::convolution_backward_weights(d)); });
  return p->make ? p : nullptr;
}

std::shared_ptr<prepared> prepare_conv(int32_t kind, const geometry &g, convolutions &c, uint64_t limit) {
  auto key = key_of(kind, g);
  auto known = c.known.find(key);
  if (known != c.known.end()) return known->second;
  return c.known[key] = checked("choice of a convolution", [&] { return new_conv(kind, g, c, limit); });
}

// onednn_kernel runs a prepared primitive for one op. Its arguments are made when it is bound, since
// oneDNN 2.6 does not check their allocation either: addresses do not change after bind.
struct onednn_kernel : kernel {
  std::shared_ptr<prepared> p;
  std::shared_ptr<convolutions> c;
  std::unordered_map<int, dnnl::memory> arguments, reorder_arguments;
  onednn_kernel(std::shared_ptr<prepared> q, cpu &d) : p(std::move(q)), c(d.cache) {
    scratch = p->scratch(), name = "oneDNN " + p->name;
  }
  // operands adds the op's operands and results to the arguments.
  virtual void operands(const op &) = 0;
  void bind(const op &o) override {
    require_memory(code_headroom);
    p->generate();
    arguments.clear();
    reorder_arguments.clear();
    operands(o);
  }
  dnnl::memory at(const desc &d, const void *place) const {
    return dnnl::memory(d, c->engine, const_cast<void *>(place));
  }
  // weights binds the weights at `stored` as argument `name`, through the workspace
  // where the layouts differ.
  void weights(const op &o, int name, const void *stored, bool backwards) {
    if (p->scratchpad.get_size() > 0)
      arguments.insert({DNNL_ARG_SCRATCHPAD, at(p->scratchpad, o.scratch + p->weights_bytes())});
    if (!p->reordered) {
      arguments.insert({name, at(p->weights, stored)});
      return;
    }
    auto ours = at(p->stored, stored), theirs = at(p->weights, o.scratch);
    arguments.insert({name, theirs});
    reorder_arguments.insert({DNNL_ARG_FROM, backwards ? theirs : ours});
    reorder_arguments.insert({DNNL_ARG_TO, backwards ? ours : theirs});
    if (p->reorder_scratchpad.get_size() > 0)
      reorder_arguments.insert(
          {DNNL_ARG_SCRATCHPAD, at(p->reorder_scratchpad, o.scratch + p->weights_bytes())});
  }
  void reorder() {
    if (!p->reordered) return;
    serially s(p->weights.get_size());
    checked("reorder", [&] { p->reorder.execute(c->stream, reorder_arguments); });
  }
  void execute() {
    checked("execute", [&] { p->run.execute(c->stream, arguments); });
  }
};

struct conv_forward : onednn_kernel {
  using onednn_kernel::onednn_kernel;
  void operands(const op &o) override {
    arguments.insert({DNNL_ARG_SRC, at(p->x, o.in(0))});
    arguments.insert({DNNL_ARG_DST, at(p->y, o.out(0))});
    if (o.in(2)) arguments.insert({DNNL_ARG_BIAS, at(p->bias, o.in(2))});
    weights(o, DNNL_ARG_WEIGHTS, o.in(1), false);
  }
  void run(const op &) override {
    reorder();
    execute();
  }
};

struct conv_backward_data : onednn_kernel {
  using onednn_kernel::onednn_kernel;
  void operands(const op &o) override {
    arguments.insert({DNNL_ARG_DIFF_DST, at(p->y, o.in(0))});
    arguments.insert({DNNL_ARG_DIFF_SRC, at(p->x, o.out(0))});
    weights(o, DNNL_ARG_WEIGHTS, o.in(1), false);
  }
  void run(const op &) override {
    reorder();
    execute();
  }
};

struct conv_backward_weights : onednn_kernel {
  using onednn_kernel::onednn_kernel;
  void operands(const op &o) override {
    arguments.insert({DNNL_ARG_SRC, at(p->x, o.in(0))});
    arguments.insert({DNNL_ARG_DIFF_DST, at(p->y, o.in(1))});
    if (o.results.size() > 1) arguments.insert({DNNL_ARG_DIFF_BIAS, at(p->bias, o.out(1))});
    weights(o, DNNL_ARG_DIFF_WEIGHTS, o.out(0), true);
  }
  void run(const op &) override {
    execute();
    reorder();
  }
};

// A linear layer is a product of matrices: C [rows, columns] = A * B (+ bias),
// each operand as it lies in the arena or transposed.
struct linear_kernel : onednn_kernel {
  int a, b;
  int32_t kind;
  int threads;
  linear_kernel(std::shared_ptr<prepared> q, cpu &d, int32_t k, int a_, int b_)
      : onednn_kernel(std::move(q), d), a(a_), b(b_), kind(k), threads(d.threads) {}
  void operands(const op &o) override {
    arguments.insert({DNNL_ARG_SRC, at(p->x, o.in(static_cast<size_t>(a)))});
    arguments.insert({DNNL_ARG_WEIGHTS, at(p->weights, o.in(static_cast<size_t>(b)))});
    arguments.insert({DNNL_ARG_DST, at(p->y, o.out(0))});
    if (!p->bias.is_zero()) arguments.insert({DNNL_ARG_BIAS, at(p->bias, o.in(2))});
    if (p->scratchpad.get_size() > 0) arguments.insert({DNNL_ARG_SCRATCHPAD, at(p->scratchpad, o.scratch)});
  }
  void run(const op &o) override {
    execute();
    if (kind != kind_linear_backward_weights || o.results.size() < 2) return;
    const value &dy = *o.operands[1];
    typed(dy, [&](auto number) {
      sum_columns(o.in<decltype(number)>(1), dy.elements / dy.channels(), dy.channels(), o.out(1), threads);
    });
  }
};

// make_normalised returns a kernel that normalises the input of a convolution first: the library cannot do it
// while it reads. A limit on workspaces is about the whole of it.
std::unique_ptr<kernel> make_normalised(const op &o, cpu &d) {
  auto make = [&](const op &inner) { return d.choose(inner); };
  auto k = std::make_unique<normalised<kernel>>(o, make, make);
  if (d.workspace_limit > 0 && k->scratch > d.workspace_limit)
    fail(LB_UNSUPPORTED,
         "a convolution needs %llu bytes for its normalised input, more than the limit of %llu bytes",
         static_cast<unsigned long long>(k->scratch), static_cast<unsigned long long>(d.workspace_limit));
  return k;
}

}  // namespace

std::unique_ptr<kernel> make_conv(const op &o, cpu &d) {
  if (computes_statistics(o) || normalises_input(o))
    if (auto k = make_strips(o, d)) return k;
  if (computes_statistics(o))
    return std::make_unique<with_statistics<kernel>>(o, [&](const op &inner) { return d.choose(inner); });
  const auto [x, w, y] = convolution_of(o);
  bool bias = o.kind == kind_conv ? o.operands[2] != nullptr : o.results.size() > 1;
  if (normalises_input(o)) return make_normalised(o, d);
  if (auto k = make_own_conv(o, d, x, w, y, bias)) return k;
  if (x.type == type_bf16 && !multiplies_bf16()) return make_blocks(o, d);
  auto p = prepare_conv(o.kind, conv_geometry(o, x, w, y, bias), cache(d), d.workspace_limit);
  if (!p) return make_blocks(o, d);
  if (o.kind == kind_conv) return std::make_unique<conv_forward>(p, d);
  if (o.kind == kind_conv_backward_data) return std::make_unique<conv_backward_data>(p, d);
  return std::make_unique<conv_backward_weights>(p, d);
}

std::unique_ptr<kernel> make_linear(const op &o, cpu &d) {
  convolutions &c = cache(d);
  auto type = element_of(*o.operands[0]);
  if (type == element::bf16 && !multiplies_bf16()) return make_blocks(o, d);
  // forward: y[n,out] = x[n,in] * w[out,in]^T; data: dx = dy * w; weights: dw = dy^T * x.
  int64_t rows, inner, columns;
  bool ta = false, tb = false, bias = false;
  int a = 0, b = 1;
  if (o.kind == kind_linear) {
    columns = o.results[0]->channels(), rows = o.results[0]->elements / columns,
    inner = o.operands[1]->dims[1];
    tb = true, bias = o.operands[2] != nullptr;
  } else if (o.kind == kind_linear_backward_data) {
    inner = o.operands[0]->channels(), rows = o.operands[0]->elements / inner,
    columns = o.operands[1]->dims[1];
  } else {
    rows = o.results[0]->dims[0], columns = o.results[0]->dims[1], inner = o.operands[1]->elements / rows;
    ta = true, a = 1, b = 0;
  }
  std::vector<int64_t> key{o.kind, static_cast<int64_t>(type), rows, inner, columns, bias};
  auto known = c.known.find(key);
  if (known == c.known.end()) {
    auto p = std::make_shared<prepared>();
    p->x = desc({rows, inner}, type, ta ? dims{1, rows} : dims{inner, 1});
    p->weights = p->stored = desc({inner, columns}, type, tb ? dims{1, inner} : dims{columns, 1});
    p->y = desc({rows, columns}, type, dims{columns, 1});
    if (bias) p->bias = desc({1, columns}, element::f32, dims{columns, 1});
    auto m = checked("choice of a product", [&] {
      return matmul_desc(c.engine, p->x, p->weights, p->bias, p->y, user_scratchpad());
    });
    p->scratchpad = m.scratchpad_desc(), p->name = m.impl_info_str();
    p->make = [m] { return dnnl::matmul(m); };
    if (type == element::bf16 && !narrow(p->name)) p = nullptr;
    known = c.known.emplace(key, p).first;
  }
  if (!known->second) return make_blocks(o, d);
  return std::make_unique<linear_kernel>(known->second, d, o.kind, a, b);
}

bool multiplies_bf16() {
  auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  auto least = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  return (isa & least) == least;
}

std::string onednn_isa() {
  dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  switch (isa) {
#define LB_ISA(name)        \
  case dnnl::cpu_isa::name: \
    return #name;
    LB_ISA(sse41)
    LB_ISA(avx)
    LB_ISA(avx2)
    LB_ISA(avx2_vnni)
    LB_ISA(avx512_core)
    LB_ISA(avx512_core_vnni)
    LB_ISA(avx512_core_bf16)
    LB_ISA(avx512_core_amx)
#if DNNL_VERSION_MAJOR >= 3
    LB_ISA(avx2_vnni_2)
    LB_ISA(avx512_core_fp16)
    LB_ISA(avx512_core_amx_fp16)
#endif
#undef LB_ISA
    default:  // of a later version
      return "number " + std::to_string(static_cast<int>(isa));
  }
}

std::string onednn_version() {
  const dnnl_version_t *v = dnnl_version();
  if (v->major != DNNL_VERSION_MAJOR)
    fail(LB_INTERNAL, "compiled with the headers of oneDNN %d, and linked with version %d.%d.%d: build again",
         DNNL_VERSION_MAJOR, v->major, v->minor, v->patch);
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

}  // namespace lb
