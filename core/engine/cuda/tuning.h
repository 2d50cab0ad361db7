// How a convolution gets its engine, as far as it does not depend on a library: the lines of the tuning
// cache, the timing of candidates, and the choice among them.
#pragma once
#include <algorithm>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "gpu.h"

namespace lb {

struct signature {
  int32_t kind;
  value x, w, y;  // of the forward convolution
  int64_t stride[2], padding[2], dilation[2];
  std::string input;  // how the input is normalised, " norm"; empty: it is not

  explicit signature(const op &o) : kind(o.kind) {
    if (normalises_input(o))
      input = o.attr.activation == activation_silu        ? " norm silu"
              : o.attr.activation == activation_hardswish ? " norm hardswish"
                                                          : " norm";
    const value &a = *o.operands[0], &b = *o.operands[1], &c = *o.results[0];
    x = kind == kind_conv_backward_data ? c : a;
    w = kind == kind_conv_backward_weights ? c : b;
    y = kind == kind_conv ? c : kind == kind_conv_backward_data ? a : b;
    for (int i = 0; i < 2; i++)
      stride[i] = o.attr.stride[i], padding[i] = o.attr.padding[i], dilation[i] = o.attr.dilation[i];
  }
  // text names the signature in the tuning cache: conv f32 n h w c, k r s, stride, padding,
  // and a dilation of more than 1; "norm" where the input is normalised, with the activation where our own
  // kernels do not compute it.
  std::string text(const gpu &d) const {
    std::ostringstream s;
    s << (kind == kind_conv                 ? "conv"
          : kind == kind_conv_backward_data ? "conv_backward_data"
                                            : "conv_backward_weights");
    s << (x.type == type_bf16 ? " bf16" : d.tf32 ? " tf32" : " f32");
    if (d.deterministic) s << " deterministic";
    s << " x" << x.dims[0] << "x" << x.dims[1] << "x" << x.dims[2] << "x" << x.dims[3];
    s << " w" << w.dims[0] << "x" << w.dims[1] << "x" << w.dims[2] << "x" << w.dims[3];
    s << " s" << stride[0] << "x" << stride[1] << " p" << padding[0] << "x" << padding[1];
    if (dilation[0] != 1 || dilation[1] != 1) s << " d" << dilation[0] << "x" << dilation[1];
    s << input;
    return s.str();
  }
};

inline bool is_convolution(const op &o) {
  return o.kind == kind_conv || o.kind == kind_conv_backward_data || o.kind == kind_conv_backward_weights;
}

// convolutions_of lists the convolutions that a program computes: of one on large tensors, its parts, and of
// the backward pass of one that a normalisation follows, the two that it is of.
inline std::vector<const op *> convolutions_of(const program &p) {
  std::vector<const op *> all;
  for (const op &o : p.ops) {
    if (!is_convolution(o) && o.kind != kind_conv_norm_backward) continue;
    auto parts = static_cast<const gpu_kernel &>(*o.work).parts(o);
    all.insert(all.end(), parts.begin(), parts.end());
  }
  return all;
}

// choice is a line of the tuning cache: signature, engine, knobs (number=value,...), workspace in
// bytes and microseconds, separated by tabs. Microseconds are 0 where nothing was timed. Knobs
// have cuDNN's own numbers and order: the front end's names do not cover all of them.
constexpr int64_t own_engine = -1;
struct choice {
  int64_t engine = 0;
  std::string knobs;
  int64_t workspace = 0;
  double microseconds = 0;

  std::string text() const {
    std::ostringstream s;
    s << engine << "\t" << knobs << "\t" << workspace << "\t" << microseconds;
    return s.str();
  }
};

inline std::map<std::string, choice> read_book(const std::string &text) {
  std::map<std::string, choice> book;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    std::istringstream fields(line);
    std::string name, engine, workspace, microseconds;
    choice c;
    std::getline(fields, name, '\t'), std::getline(fields, engine, '\t');
    std::getline(fields, c.knobs, '\t'), std::getline(fields, workspace, '\t');
    std::getline(fields, microseconds, '\t');
    try {
      c.engine = std::stoll(engine), c.workspace = std::stoll(workspace);
      c.microseconds = std::stod(microseconds);
    } catch (const std::exception &) {
      fail(LB_INVALID,
           "tuning cache: line %.200s: must be signature, engine, knobs, workspace and microseconds, "
           "separated by tabs",
           line.c_str());
    }
    book[name] = c;
  }
  return book;
}

// misfits are the signatures whose engine in the tuning cache cannot be had here, each with the reason. They
// get the engine that they would get without the cache.
struct misfits {
  std::map<std::string, std::string> reasons;
  // line describes them for the facts of the device: a run records it and warns; empty if there are none.
  std::string line() const {
    if (reasons.empty()) return "";
    const auto &first = *reasons.begin();
    return "tuning_cache_unused=" + std::to_string(reasons.size()) + " of the cache's engines, such as " +
           first.first + ": " + first.second + "\n";
  }
};

// rent is device memory for the lifetime of the object.
struct rent {
  void *p = nullptr;
  rent(int64_t bytes, cudaStream_t stream) {
    if (bytes > 0) checked(cudaMalloc(&p, static_cast<size_t>(bytes)), "cudaMalloc");
    // Not zeros, which take less power: 0x3c in every byte is 0.0115 as f32 and as bf16.
    if (bytes > 0) checked(cudaMemsetAsync(p, 0x3c, static_cast<size_t>(bytes), stream), "cudaMemsetAsync");
  }
  rent(const rent &) = delete;
  rent &operator=(const rent &) = delete;
  ~rent() { cudaFree(p); }
};

// trial is a convolution without bias on its own memory, for timing engines.
struct trial {
  std::vector<std::unique_ptr<value>> values;
  std::vector<std::unique_ptr<rent>> memory;
  op o;
  trial(const op &like, cudaStream_t stream) {
    auto place = [&](const value *from) {
      values.push_back(std::make_unique<value>(*from));
      memory.push_back(std::make_unique<rent>(from->bytes, stream));
      values.back()->data = static_cast<uint8_t *>(memory.back()->p);
      return values.back().get();
    };
    o.kind = like.kind, o.attr = like.attr;
    for (size_t i = 0; i < like.operands.size(); i++) {
      bool bias = like.kind == kind_conv && i == 2;
      o.operands.push_back(like.operands[i] && !bias ? place(like.operands[i]) : nullptr);
    }
    o.results = {place(like.results[0])};
  }
};

// Launches between two events, and how often these are timed. On a GPU the launches are captured and
// replayed as a graph, as in a step: launched one by one they would wait for the host, which takes longer
// to launch a small convolution than the GPU to compute it.
#ifdef LB_EMU
constexpr int timed_launches = 1, timed_replays = 1;
#else
constexpr int timed_launches = 10, timed_replays = 5;
#endif

// stopwatch has the objects of one measurement and destroys them.
struct stopwatch {
  cudaEvent_t begin = nullptr, end = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  ~stopwatch() {
    if (exec) cudaGraphExecDestroy(exec);
    if (graph) cudaGraphDestroy(graph);
    if (begin) cudaEventDestroy(begin);
    if (end) cudaEventDestroy(end);
  }
};

// microseconds_of is the time of one launch: the least of a few replays of a graph of launches, over their
// number; or -1 if run returns false or fails, or if it cannot be captured. The CUDA error is then cleared,
// unless the device is lost.
template <typename F>
double microseconds_of(cudaStream_t stream, F run) {
  stopwatch s;
  double least = -1;
  try {
    checked(cudaEventCreateWithFlags(&s.begin, cudaEventDefault), "cudaEventCreateWithFlags");
    checked(cudaEventCreateWithFlags(&s.end, cudaEventDefault), "cudaEventCreateWithFlags");
    if (!run()) return -1;  // loads code, which must not happen in a capture
    checked(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    checked(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    bool launched = true;
    try {
      for (int i = 0; launched && i < timed_launches; i++) launched = run();
    } catch (const failure &) {
      launched = false;
    }
    cudaError_t ended = cudaStreamEndCapture(stream, &s.graph);
    if (!launched || ended != cudaSuccess) return cudaGetLastError(), -1;
    checked(cudaGraphInstantiate(&s.exec, s.graph, 0), "cudaGraphInstantiate");
    for (int i = 0; i <= timed_replays; i++) {
      checked(cudaEventRecord(s.begin, stream), "cudaEventRecord");
      checked(cudaGraphLaunch(s.exec, stream), "cudaGraphLaunch");
      checked(cudaEventRecord(s.end, stream), "cudaEventRecord");
      checked(cudaEventSynchronize(s.end), "cudaEventSynchronize");
      float ms = 0;
      checked(cudaEventElapsedTime(&ms, s.begin, s.end), "cudaEventElapsedTime");
      double each = ms * 1e3 / timed_launches;
      if (i > 0 && (least < 0 || each < least)) least = each;  // the first replay also uploads the graph
    }
  } catch (const failure &f) {
    cudaGetLastError();
    if (f.code == LB_DEVICE_LOST) throw;
    return -1;
  }
  return least;
}

// least_workspace returns the index of the candidate with the least workspace among those that take at most 3
// % longer than the fastest; of several, the fastest. Candidates that failed (microseconds below 0) do not
// count; -1: there is none.
inline int64_t least_workspace(const std::vector<choice> &candidates) {
  constexpr double slack = 1.03;
  double fastest = -1;
  for (const choice &c : candidates)
    if (c.microseconds >= 0 && (fastest < 0 || c.microseconds < fastest)) fastest = c.microseconds;
  int64_t best = -1;
  for (size_t i = 0; i < candidates.size(); i++) {
    const choice &c = candidates[i];
    if (c.microseconds < 0 || c.microseconds > fastest * slack) continue;
    if (best >= 0) {
      const choice &b = candidates[static_cast<size_t>(best)];
      if (c.workspace > b.workspace || (c.workspace == b.workspace && c.microseconds >= b.microseconds))
        continue;
    }
    best = static_cast<int64_t>(i);
  }
  return best;
}

}  // namespace lb
