// Convolutions by cuDNN and linear layers by cuBLAS: the only file that sees their headers.
//
// An engine is chosen once for each signature, at prepare, and kept: the one in the tuning
// cache, or, where the device is opened to tune, one of the fastest of those that cuDNN's heuristics propose
// and of our own (mma_conv.h), or else the first that the heuristics propose. Its workspace is the op's
// workspace, so the plan includes it. cuDNN can also choose from a description of a device that is absent:
// planning for a GPU elsewhere gives the engines of a run there. If the engine named by the tuning cache does
// not exist or needs another workspace than the cache says, the op gets the engine that it would get without
// the cache, and the device's facts say so. An engine of the cache that needs more than the workspace limit
// is skipped, like any other.
//
// Proposed engines are skipped if they round inputs where full f32 was requested, or accumulate
// in less than f32, or transform (FFT, Winograd), since their workspaces are large and
// their rounding differs; and, where determinism was requested, if they are not
// deterministic.
#include <cublas_v2.h>
#include <cudnn.h>
#include <cudnn_frontend.h>

#include <algorithm>
#include <chrono>

#include "tuning.h"

namespace lb {
namespace {

namespace fe = cudnn_frontend;

void checked_cudnn(cudnnStatus_t s, const char *doing) {
  if (s != CUDNN_STATUS_SUCCESS) fail(LB_INTERNAL, "cuDNN: %s: %s", doing, cudnnGetErrorString(s));
}

void checked_cublas(cublasStatus_t s, const char *doing) {
  if (s != CUBLAS_STATUS_SUCCESS) fail(LB_INTERNAL, "cuBLAS: %s: %s", doing, cublasGetStatusString(s));
}

void checked_graph(fe::error_t e, const char *doing) {
  if (e.is_bad()) fail(LB_INTERNAL, "cuDNN: %s: %s", doing, e.get_message().c_str());
}

// Alignment of the pointers that the libraries get; a workspace begins at a multiple of 64 only.
constexpr uint64_t alignment = 256;

uint8_t *align(uint8_t *p) {
  return reinterpret_cast<uint8_t *>((reinterpret_cast<uintptr_t>(p) + alignment - 1) / alignment *
                                     alignment);
}

uint64_t with_alignment(uint64_t bytes) { return bytes > 0 ? bytes + alignment : 0; }

// name_of is what cuDNN calls the engine with its knobs: eng28_k2=4_k3=0.
std::string name_of(const choice &c) {
  std::string text = "eng" + std::to_string(c.engine) + (c.knobs.empty() ? "" : "_k");
  for (char k : c.knobs) text += k == ',' ? std::string("_k") : std::string(1, k);
  return text;
}

// named parses that name.
choice named(const std::string &name) {
  choice c;
  size_t end = name.find('_');
  if (name.rfind("eng", 0) != 0) fail(LB_INTERNAL, "cuDNN: an engine is called %.100s", name.c_str());
  c.engine = std::stoll(name.substr(3, end - 3));
  for (size_t next; end != std::string::npos; end = next) {
    next = name.find("_k", end + 2);
    c.knobs += (c.knobs.empty() ? "" : ",") +
               name.substr(end + 2, next == std::string::npos ? next : next - end - 2);
  }
  return c;
}

// planned is a convolution with its engine, shared by all ops of one signature.
struct planned {
  fe::graph::Graph graph;
  int64_t index = 0;  // of the engine among those that the graph holds
  choice chosen;
  bool estimated = false;  // there is no device, and the tuning cache has no such line
};

fe::DataType_t type_of(const value &v) {
  return v.type == type_bf16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::FLOAT;
}

enum : int64_t { uid_x = 1, uid_w = 2, uid_y = 3 };

// tensor describes [N H W C], or weights [K R S C], in cuDNN's order of dimensions.
fe::graph::Tensor_attributes tensor(const value &v, int64_t uid) {
  const int64_t *n = v.dims;
  return fe::graph::Tensor_attributes()
      .set_uid(uid)
      .set_dim({n[0], n[3], n[1], n[2]})
      .set_stride({n[1] * n[2] * n[3], 1, n[2] * n[3], n[3]})
      .set_data_type(type_of(v));
}

template <typename A>
A attributes_of(const signature &s) {
  return A()
      .set_padding({s.padding[0], s.padding[1]})
      .set_stride({s.stride[0], s.stride[1]})
      .set_dilation({s.dilation[0], s.dilation[1]});
}

void describe_graph(fe::graph::Graph &g, const signature &s) {
  g.set_compute_data_type(fe::DataType_t::FLOAT).set_intermediate_data_type(fe::DataType_t::FLOAT);
  g.set_io_data_type(type_of(s.x));
  std::shared_ptr<fe::graph::Tensor_attributes> out;
  const value *shape = nullptr;
  int64_t uid = 0;
  switch (s.kind) {
    case kind_conv:
      out = g.conv_fprop(g.tensor(tensor(s.x, uid_x)), g.tensor(tensor(s.w, uid_w)),
                         attributes_of<fe::graph::Conv_fprop_attributes>(s));
      shape = &s.y, uid = uid_y;
      break;
    case kind_conv_backward_data:
      out = g.conv_dgrad(g.tensor(tensor(s.y, uid_y)), g.tensor(tensor(s.w, uid_w)),
                         attributes_of<fe::graph::Conv_dgrad_attributes>(s));
      shape = &s.x, uid = uid_x;
      break;
    default:
      out = g.conv_wgrad(g.tensor(tensor(s.y, uid_y)), g.tensor(tensor(s.x, uid_x)),
                         attributes_of<fe::graph::Conv_wgrad_attributes>(s));
      shape = &s.w, uid = uid_w;
  }
  const int64_t *n = shape->dims;
  out->set_output(true)
      .set_uid(uid)
      .set_dim({n[0], n[3], n[1], n[2]})
      .set_stride({n[1] * n[2] * n[3], 1, n[2] * n[3], n[3]})
      .set_data_type(type_of(*shape));
}

}  // namespace

// libraries has a handle of each library for every stream, and the engines.
struct libraries {
  std::map<cudaStream_t, cudnnHandle_t> dnn;
  std::map<cudaStream_t, cublasHandle_t> blas;
  std::map<std::string, choice> book;
  misfits unused;  // of the book
  std::map<std::string, std::shared_ptr<planned>> engines;
  std::shared_ptr<const fe::DeviceProperties> properties;  // of the device to plan for

  cudnnHandle_t dnn_of(cudaStream_t s) {
    cudnnHandle_t &h = dnn[s];
    if (!h) {
      checked_cudnn(cudnnCreate(&h), "cudnnCreate");
      checked_cudnn(cudnnSetStream(h, s), "cudnnSetStream");
    }
    return h;
  }
  cublasHandle_t blas_of(cudaStream_t s, bool tf32) {
    cublasHandle_t &h = blas[s];
    if (!h) {
      checked_cublas(cublasCreate(&h), "cublasCreate");
      checked_cublas(cublasSetStream(h, s), "cublasSetStream");
      checked_cublas(cublasSetMathMode(h, tf32 ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH),
                     "cublasSetMathMode");
    }
    return h;
  }
  ~libraries() {
    engines.clear();
    for (auto &h : dnn)
      if (h.second) cudnnDestroy(h.second);
    for (auto &h : blas)
      if (h.second) cublasDestroy(h.second);
  }
};

namespace {

// pack_of maps a convolution's tensors to their addresses.
std::unordered_map<int64_t, void *> pack_of(const op &o) {
  uint8_t *a = o.operands[0]->data, *b = o.operands[1]->data, *c = o.results[0]->data;
  if (o.kind == kind_conv) return {{uid_x, a}, {uid_w, b}, {uid_y, c}};
  if (o.kind == kind_conv_backward_data) return {{uid_y, a}, {uid_w, b}, {uid_x, c}};
  return {{uid_x, a}, {uid_y, b}, {uid_w, c}};
}

void leave_out(fe::graph::Graph &g, const signature &s, const gpu &d) {
  using note = fe::NumericalNote_t;
  std::vector<note> unwanted = {note::FFT,
                                note::WINOGRAD,
                                note::WINOGRAD_TILE_4x4,
                                note::WINOGRAD_TILE_6x6,
                                note::WINOGRAD_TILE_13x13,
                                note::REDUCED_PRECISION_REDUCTION};
  if (s.x.type == type_f32 && !d.tf32)
    unwanted.push_back(note::TENSOR_CORE), unwanted.push_back(note::DOWN_CONVERT_INPUTS);
  if (d.deterministic) unwanted.push_back(note::NONDETERMINISTIC);
  g.deselect_numeric_notes(unwanted);
  if (d.workspace_limit > 0) g.deselect_workspace_greater_than(static_cast<int64_t>(d.workspace_limit));
}

// list_engines asks the heuristics for engines, the best first; false: there are none.
bool list_engines(fe::graph::Graph &g) {
  return g.create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK}).is_good();
}

choice choice_at(const fe::graph::Graph &g, int64_t i) {
  std::string name;
  checked_graph(g.get_plan_name_at_index(i, name), "asking for an engine");
  return named(name);
}

// tuning_seconds bounds the time spent on the engines of one convolution: there are about forty, the best
// guesses first, and those that cuDNN compiles at run time are slow to build.
constexpr double tuning_seconds = 1;

// nothing is a kernel that does nothing.
struct nothing : kernel {
  void run(const op &) override {}
};

// propose takes the first engine of the heuristics that can be built; false: none supports the convolution.
bool propose(planned &p, const signature &s, gpu &d) {
  fe::graph::Graph &g = p.graph;
  if (!list_engines(g)) return false;
  leave_out(g, s, d);
  for (int64_t i = 0; i < g.get_execution_plan_count(); i++) {
    if (g.build_plan_at_index(i).is_bad()) continue;
    p.chosen = choice_at(g, i), p.chosen.workspace = g.get_workspace_size_plan_at_index(i), p.index = i;
    if (d.workspace_limit == 0 || static_cast<uint64_t>(p.chosen.workspace) <= d.workspace_limit) return true;
  }
  return false;
}

// tune times the engines of the heuristics and our own kernel, and takes the one with the least workspace
// among the fastest; false: none supports the convolution. An engine that fails is left out.
bool tune(planned &p, const signature &s, const op &o, gpu &d, cudnnHandle_t h) {
  fe::graph::Graph &g = p.graph;
  trial timed(o, d.stream);
  auto begin = std::chrono::steady_clock::now();
  std::vector<choice> candidates;
  std::vector<int64_t> indices;
  auto time = [&](choice c, int64_t index, auto run) {
    if (d.workspace_limit > 0 && static_cast<uint64_t>(c.workspace) > d.workspace_limit) return;
    try {
      rent workspace(c.workspace, d.stream);
      c.microseconds = microseconds_of(d.stream, [&] { return run(workspace.p); });
    } catch (const failure &f) {
      if (f.code == LB_DEVICE_LOST) throw;
      return;  // there is no memory for the workspace
    }
    if (c.microseconds >= 0) candidates.push_back(c), indices.push_back(index);
  };
  if (auto own = make_mma_conv(timed.o, d)) {
    choice c;
    c.engine = own_engine, c.workspace = static_cast<int64_t>(own->scratch);
    time(c, 0, [&](void *workspace) {
      timed.o.scratch = static_cast<uint8_t *>(workspace);
      return own->run(timed.o), true;
    });
  }
  // Of an engine, which cannot normalise the input, the pass that does it is timed with it.
  std::unique_ptr<kernel> first;
  std::unique_ptr<rent> input;
  auto pack = pack_of(timed.o);
  if (normalises_input(o)) {
    int64_t bytes = timed.o.operands[0]->bytes;
    input = std::make_unique<rent>(bytes, d.stream);
    pack[uid_x] = input->p;
    first = make_normalised(timed.o, d, [](const op &) { return std::make_unique<nothing>(); });
  }
  auto normalise = [&] {
    if (!first) return;
    timed.o.scratch = static_cast<uint8_t *>(input->p);
    first->run(timed.o);
  };
  if (list_engines(g)) {
    leave_out(g, s, d);
    for (int64_t i = 0; i < g.get_execution_plan_count(); i++) {
      std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
      if (!candidates.empty() && i > 0 && taken.count() > tuning_seconds) break;
      if (g.build_plan_at_index(i).is_bad()) continue;
      choice c = choice_at(g, i);
      c.workspace = g.get_workspace_size_plan_at_index(i);
      time(c, i, [&](void *workspace) {
        normalise();
        return g.execute_plan_at_index(h, pack, workspace, i).is_good();
      });
    }
  }
  int64_t best = least_workspace(candidates);
  if (best < 0) return false;
  p.chosen = candidates[static_cast<size_t>(best)], p.index = indices[static_cast<size_t>(best)];
  return true;
}

// follow builds the engine that the tuning cache names, which must be one of those proposed; else it returns
// why it cannot.
std::string follow(planned &p, const choice &c) {
  fe::graph::Graph &g = p.graph;
  int64_t count = list_engines(g) ? g.get_execution_plan_count() : 0, i = 0;
  while (i < count && name_of(choice_at(g, i)) != name_of(c)) i++;
  if (i == count || g.build_plan_at_index(i).is_bad()) return "engine " + name_of(c) + " does not exist here";
  int64_t workspace = g.get_workspace_size_plan_at_index(i);
  if (workspace != c.workspace)
    return "engine " + name_of(c) + " needs " + std::to_string(workspace) +
           " bytes of workspace, the cache says " + std::to_string(c.workspace);
  p.chosen = c, p.index = i;
  return "";
}

// describe prepares the graph of a convolution for engines of the device, or of the one to plan for.
void describe(planned &p, const signature &s, gpu &d, cudnnHandle_t h) {
  describe_graph(p.graph, s);
  if (d.planning) p.graph.set_device_properties(d.library->properties);
  checked_graph(p.graph.validate(), "describing a convolution");
  checked_graph(p.graph.build_operation_graph(h), "describing a convolution");
}

// own_of is the choice of our own kernel; false: there is none within the limit on workspaces.
bool own_of(const op &o, gpu &d, choice &c) {
  auto own = make_mma_conv(o, d);
  if (!own || (d.workspace_limit > 0 && own->scratch > d.workspace_limit)) return false;
  c.engine = own_engine, c.workspace = static_cast<int64_t>(own->scratch);
  return true;
}

std::shared_ptr<planned> engine_of(const op &o, gpu &d) {
  libraries &l = *d.library;
  signature s(o);
  std::string name = s.text(d);
  auto known = l.engines.find(name);
  if (known != l.engines.end()) return known->second;
  auto p = std::make_shared<planned>();
  auto keep = [&] { return l.engines[name] = p; };
  cudnnHandle_t h = d.planning ? nullptr : l.dnn_of(d.stream);
  auto line = l.book.find(name);
  if (line != l.book.end() &&
      (d.workspace_limit == 0 || static_cast<uint64_t>(line->second.workspace) <= d.workspace_limit)) {
    const choice &c = line->second;
    if (c.engine == own_engine) {
      if (own_of(o, d, p->chosen)) {
        p->chosen.microseconds = c.microseconds;
        return keep();
      }
      if (!make_mma_conv(o, d)) l.unused.reasons[name] = "this program has no kernel of its own for it";
    } else if (d.planning && !l.properties) {
      p->chosen = c;
      return keep();
    } else {
      describe(*p, s, d, h);
      std::string reason = follow(*p, c);
      if (reason.empty()) return keep();
      l.unused.reasons[name] = reason;
      p = std::make_shared<planned>();
    }
  }
  if (d.own && !d.tune && own_of(o, d, p->chosen)) return keep();
  if (d.planning && !l.properties) {
    p->estimated = true;
    return keep();
  }
  describe(*p, s, d, h);
  if (!(d.tune ? tune(*p, s, o, d, h) : propose(*p, s, d))) p = nullptr;
  return keep();
}

struct dnn_conv : gpu_kernel {
  std::shared_ptr<planned> p;
  uint64_t sums = 0;  // bytes of workspace of the bias gradient
  dnn_conv(const op &o, gpu &g, std::shared_ptr<planned> q) : gpu_kernel(g), p(std::move(q)) {
    scratch = with_alignment(static_cast<uint64_t>(p->chosen.workspace));
    if (o.kind == kind_conv_backward_weights && o.results.size() > 1)
      sums = sum_columns_scratch(*o.operands[1]), scratch = std::max(scratch, sums);
    name = "cuDNN engine " + std::to_string(p->chosen.engine);
    if (p->estimated) name = "cuDNN, workspace estimated";
  }
  void run(const op &o) override {
    auto pack = pack_of(o);
    checked_graph(
        p->graph.execute_plan_at_index(d.library->dnn_of(d.stream), pack, align(o.scratch), p->index),
        "a convolution");
    if (o.kind == kind_conv && o.operands[2]) add_bias(*o.results[0], o.in(2), d);
    if (sums > 0) sum_columns(*o.operands[1], o.out(1), o.scratch, d);
  }
};

constexpr uint64_t gemm_workspace = uint64_t{4} << 20;

struct blas_linear : gpu_kernel {
  uint64_t workspace;
  blas_linear(const op &o, gpu &g) : gpu_kernel(g), workspace(gemm_workspace) {
    if (d.workspace_limit > 0) workspace = std::min(workspace, d.workspace_limit / alignment * alignment);
    scratch = with_alignment(workspace);
    if (o.kind == kind_linear_backward_weights && o.results.size() > 1)
      scratch = std::max(scratch, sum_columns_scratch(*o.operands[1]));
    name = "cuBLAS gemm";
  }
  // Matrices are stored by rows; to cuBLAS, which stores by columns, they are transposed.
  void run(const op &o) override {
    const value &a = *o.operands[0], &b = *o.operands[1], &c = *o.results[0];
    switch (o.kind) {
      case kind_linear:  // y' = w x'
        multiply(b, a, c, CUBLAS_OP_T, CUBLAS_OP_N, b.dims[0], rows(c), b.dims[1], b.dims[1], b.dims[1], o);
        if (o.operands[2]) add_bias(c, o.in(2), d);
        return;
      case kind_linear_backward_data:  // dx' = w' dy'
        return multiply(b, a, c, CUBLAS_OP_N, CUBLAS_OP_N, b.dims[1], rows(a), b.dims[0], b.dims[1],
                        b.dims[0], o);
    }
    // dw' = x' dy
    multiply(a, b, c, CUBLAS_OP_N, CUBLAS_OP_T, c.dims[1], c.dims[0], rows(b), c.dims[1], c.dims[0], o);
    if (o.results.size() > 1) sum_columns(b, o.out(1), o.scratch, d);
  }
  static int64_t rows(const value &y) { return y.elements / y.channels(); }
  static cudaDataType_t type(const value &v) { return v.type == type_bf16 ? CUDA_R_16BF : CUDA_R_32F; }
  void multiply(const value &a, const value &b, const value &c, cublasOperation_t ta, cublasOperation_t tb,
                int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb, const op &o) {
    cublasHandle_t h = d.library->blas_of(d.stream, d.tf32);
    checked_cublas(cublasSetWorkspace(h, workspace > 0 ? align(o.scratch) : nullptr, workspace),
                   "cublasSetWorkspace");
    float one = 1, zero = 0;
    cublasComputeType_t compute = a.type == type_bf16 ? CUBLAS_COMPUTE_32F
                                  : d.tf32            ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                      : CUBLAS_COMPUTE_32F_PEDANTIC;
    checked_cublas(cublasGemmEx_64(h, ta, tb, m, n, k, &one, a.data, type(a), lda, b.data, type(b), ldb,
                                   &zero, c.data, type(c), m, compute, CUBLAS_GEMM_DEFAULT),
                   "cublasGemmEx_64");
  }
};

}  // namespace

namespace {

std::shared_ptr<const fe::DeviceProperties> read_properties(const std::string &text) {
  auto p = std::make_shared<fe::DeviceProperties>();
  if (p->deserialize({text.begin(), text.end()}).is_bad())
    fail(LB_INVALID, "device properties %.200s: must be JSON as cuDNN writes it", text.c_str());
  return p;
}

// properties_here describes the current device; empty where cuDNN cannot, which is no error: they serve only
// to plan for this device elsewhere.
std::string properties_here() {
  int index = 0;
  checked(cudaGetDevice(&index), "cudaGetDevice");
  fe::DeviceProperties p;
  std::vector<uint8_t> text;
  p.set_device_id(index);
  if (p.build().is_bad() || p.serialize(text).is_bad()) return "";
  std::string line(text.begin(), std::find(text.begin(), text.end(), 0));
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

}  // namespace

std::shared_ptr<libraries> open_libraries(gpu &d) {
  auto l = std::make_shared<libraries>();
  l->book = read_book(d.plan_book);
  if (d.planning) {
    if (!d.properties.empty()) l->properties = read_properties(d.properties);
    return l;
  }
  l->dnn_of(d.stream), l->blas_of(d.stream, d.tf32);
  d.properties = properties_here();
  return l;
}

std::string describe_libraries() {
  size_t v = cudnnGetVersion();
  int major = 0, minor = 0, patch = 0;
  cublasGetProperty(MAJOR_VERSION, &major), cublasGetProperty(MINOR_VERSION, &minor),
      cublasGetProperty(PATCH_LEVEL, &patch);
  return "cuDNN=" + std::to_string(v / 10000) + "." + std::to_string(v / 100 % 100) + "." +
         std::to_string(v % 100) + "\ncuBLAS=" + std::to_string(major) + "." + std::to_string(minor) + "." +
         std::to_string(patch) + "\n";
}

std::string notes_of(const gpu &d) { return d.library ? d.library->unused.line() : ""; }

std::string choices_of(const program &p, gpu &d) {
  std::map<std::string, std::string> lines;
  for (const op *o : convolutions_of(p)) {
    std::string name = signature(*o).text(d);
    auto found = d.library->engines.find(name);
    if (found != d.library->engines.end() && found->second && !found->second->estimated)
      lines[name] = found->second->chosen.text();
  }
  std::string text;
  for (const auto &l : lines) text += l.first + "\t" + l.second + "\n";
  return text;
}

// make_conv falls back to the plain loop for a signature that no engine supports, such as one with unaligned
// channels; the kernel's name then says so.
std::unique_ptr<kernel> make_conv(const op &o, gpu &d) {
  auto p = engine_of(o, d);
  if (p && p->chosen.engine == own_engine) return make_mma_conv(o, d);
  auto library = [&](const op &inner) -> std::unique_ptr<kernel> {
    if (!p) return make_plain(inner, d);
    return std::make_unique<dnn_conv>(inner, d, p);
  };
  if (normalises_input(o)) return make_normalised(o, d, library);
  return library(o);
}

std::unique_ptr<kernel> make_linear(const op &o, gpu &d) { return std::make_unique<blas_linear>(o, d); }

}  // namespace lb
