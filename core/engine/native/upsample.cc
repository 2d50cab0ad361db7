//go:build !nocpu

// Bilinear up-sampling of [N H W C] with aligned corners, and its transpose.
//
//   forward   result row i is at i*(H-1)/(P-1), between two rows of x: they are
//             interpolated to a row of W, which is then stretched to Q
//   backward  the rows of dy that a row of x contributed to are summed, weighted, to a
//             row of Q, which is then gathered to W
//
// The intermediate row is in the workspace, one for each thread, and stays in the L1 cache.
// Threads divide the rows of the result; sums are in order of rows and columns, so the result
// does not depend on the number of threads.
#include <algorithm>
#include <cstring>

#include "cpu.h"

namespace lb {
namespace {

struct share {
  int64_t index;
  float weight;
};

// axis is one direction: the weights of the inputs in each output, and of the outputs in the
// gradient of each input. An output is at one input or between two.
struct axis {
  std::vector<std::vector<share>> from, to;  // by output, by input
  axis(int64_t in, int64_t out) : from(static_cast<size_t>(out)), to(static_cast<size_t>(in)) {
    for (int64_t i = 0; i < out; i++) {
      double at =
          out > 1 ? static_cast<double>(i) * static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0;
      auto low = static_cast<int64_t>(at);
      auto above = static_cast<float>(at - static_cast<double>(low));
      add(low, i, 1 - above);
      if (above > 0 && low + 1 < in) add(low + 1, i, above);
    }
  }
  void add(int64_t in, int64_t out, float weight) {
    from[static_cast<size_t>(out)].push_back({in, weight});
    to[static_cast<size_t>(in)].push_back({out, weight});
  }
};

// mix writes y[n] = sum of weight * x[index*n ...].
LB_CLONES void mix(const std::vector<share> &shares, const float *x, int64_t n, float *y) {
  if (shares.empty()) {
    std::memset(y, 0, static_cast<size_t>(n) * sizeof(float));
    return;
  }
  for (size_t s = 0; s < shares.size(); s++) {
    const float *p = x + shares[s].index * n;
    float w = shares[s].weight;
    if (s == 0) {
#pragma omp simd
      for (int64_t k = 0; k < n; k++) y[k] = w * p[k];
    } else {
#pragma omp simd
      for (int64_t k = 0; k < n; k++) y[k] += w * p[k];
    }
  }
}

struct resampling : kernel {
  const std::vector<std::vector<share>> rows, columns;  // by row and column of the result
  int64_t n, in_rows, in_columns, c;
  int threads;
  resampling(const value &x, const std::vector<std::vector<share>> &r,
             const std::vector<std::vector<share>> &q, int t)
      : rows(r),
        columns(q),
        n(x.dims[0]),
        in_rows(x.dims[1]),
        in_columns(x.dims[2]),
        c(x.dims[3]),
        threads(t) {
    scratch = static_cast<uint64_t>(threads * in_columns * c * 4);
  }
  void run(const op &o) override {
    auto out_rows = static_cast<int64_t>(rows.size()), out_columns = static_cast<int64_t>(columns.size());
    int64_t work = n * std::max(in_rows, out_rows) * std::max(in_columns, out_columns) * c;
    parallel(n * out_rows, 1, threads, work, [&](int64_t from, int64_t to, int t) {
      float *row = reinterpret_cast<float *>(o.scratch) + t * in_columns * c;
      for (int64_t at = from; at < to; at++) {
        mix(rows[static_cast<size_t>(at % out_rows)], o.in(0) + at / out_rows * in_rows * in_columns * c,
            in_columns * c, row);
        float *y = o.out(0) + at * out_columns * c;
        for (int64_t j = 0; j < out_columns; j++) mix(columns[static_cast<size_t>(j)], row, c, y + j * c);
      }
    });
  }
};

}  // namespace

std::unique_ptr<kernel> make_upsample(const op &o, cpu &d) {
  const value &in = *o.operands[0], &out = *o.results[0];
  if (o.kind == kind_upsample) {
    axis h(in.dims[1], out.dims[1]), w(in.dims[2], out.dims[2]);
    return std::make_unique<resampling>(in, h.from, w.from, d.threads);
  }
  axis h(out.dims[1], in.dims[1]), w(out.dims[2], in.dims[2]);
  return std::make_unique<resampling>(in, h.to, w.to, d.threads);
}

}  // namespace lb
