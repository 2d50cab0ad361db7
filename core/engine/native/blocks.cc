//go:build !nocpu

// Ops with tensors in bf16 by the kernels of f32: a thread takes a block of samples, expands it into the
// workspace, runs the kernel of an op of that many samples on it, and rounds what it wrote. A block stays in
// the second cache, so the arena is read and written once, in bf16, and kernels of ops whose samples do not
// depend on each other need no other form.
//
//   samples  tensors with a dimension for the samples: a block of them at a time
//   whole    weights and vectors that all samples read: expanded once, before the blocks
//   sums     gradients of these: each block's are added in f32, in order of the blocks, then of the threads,
//   and
//            rounded once
//
// Threads divide the samples, the same for the same number of threads, and each has a kernel of one thread.
// Where there are fewer samples than threads, or the sums of all threads would be large, they work together
// on one block after the other. A last block with fewer samples than the kernel wants is filled with zeros.
// Workspace: what is whole, and for each worker a block, its kernel's workspace, and two of each sum.
#include <algorithm>
#include <cstring>
#include <exception>

#include "cpu.h"

namespace lb {
namespace {

LB_CLONES_bf16 void expand(const bf16 *x, float *y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) y[i] = x[i];
}
LB_CLONES_bf16 void narrow(const float *x, bf16 *y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) y[i] = x[i];
}
LB_CLONES void accumulate(const float *x, float *y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

// A block has at least this many bytes, if there are as many samples, and several times those of the
// weights: kernels transform or reorder these for each block.
constexpr uint64_t block_bytes = 256 << 10;
constexpr uint64_t weight_times = 4;
// The sums of all threads together have at most this many bytes.
constexpr uint64_t sums_bytes = 8 << 20;

enum class role { absent, samples, whole, sum };

// slot is an operand or a result: where it stands and what each worker has of it.
struct slot {
  role is = role::absent;
  const value *outer = nullptr;
  bool result = false;
  int64_t sample = 0;  // elements of a sample
  uint64_t place = 0;  // in the workspace: of the worker, or of all for what is whole
  uint64_t sums = 0;   // of the worker: the sum over its blocks
  bool narrow() const { return outer->type == type_bf16; }
  // bytes is the size of some elements as the f32 kernel has them.
  uint64_t bytes(int64_t elements) const {
    int64_t each = narrow() ? 4 : outer->bytes / outer->elements;
    return static_cast<uint64_t>(each * elements);
  }
  template <typename T>
  T *data() const {
    return reinterpret_cast<T *>(outer->data);
  }
};

// worker has the op on a block: its operands and results lie in the workspace, but for vectors and weights in
// f32.
struct worker {
  std::vector<value> values;
  op inner;
};

bool reads_weight(int32_t kind) {
  return kind == kind_conv || kind == kind_conv_backward_data || kind == kind_linear ||
         kind == kind_linear_backward_data;
}
bool writes_weight(int32_t kind) {
  return kind == kind_conv_backward_weights || kind == kind_linear_backward_weights;
}

struct blocks : kernel {
  int each;                      // threads of a worker
  int64_t n = 0, block = 0;      // samples, and those of a block
  uint64_t common = 0, own = 0;  // bytes of workspace, for all workers and for each
  std::vector<slot> slots;
  std::vector<worker> workers;

  blocks(const op &o, cpu &d) : n(o.operands[0]->dims[0]) {
    add(o, o.operands, false);
    add(o, o.results, true);
    uint64_t sample = 0, weights = 0, sums = 0;
    int64_t work = 0;
    for (const slot &s : slots) {
      if (s.is == role::absent) continue;
      work = std::max(work, s.outer->elements);
      if (s.is == role::samples)
        sample += s.bytes(s.sample);
      else
        weights += s.bytes(s.outer->elements);
      if (s.is == role::sum) sums += 2 * s.bytes(s.outer->elements);
    }
    if (reads_weight(o.kind) || writes_weight(o.kind)) work *= 16;
    auto all = static_cast<uint64_t>(d.threads);
    bool together = n < d.threads || sums * all > sums_bytes;
    each = together ? d.threads : 1;
    workers.resize(together || work < serial_limit ? 1 : all);
    if (!d.single) {
      auto one = std::make_shared<cpu>(d);
      one->threads = 1, one->cache = nullptr;
      d.single = one;
    }
    auto count = static_cast<int64_t>(workers.size()), part = (n + count - 1) / count;
    uint64_t most = std::max(block_bytes * static_cast<uint64_t>(each), weight_times * weights) / sample;
    for (block = even(part, static_cast<int64_t>(most)); !prepare(o, together ? d : *d.single);
         block = even(part, block / 2))
      if (block == 1)
        fail(LB_UNSUPPORTED, "%llu bytes of workspace are needed, more than the limit of %llu bytes",
             static_cast<unsigned long long>(scratch), static_cast<unsigned long long>(d.workspace_limit));
    name = "blocks of " + std::to_string(block) + ": " + workers[0].inner.work->name;
  }

  // even divides a part into blocks of about the same number of samples, at most a limit.
  static int64_t even(int64_t part, int64_t most) {
    int64_t count = (part + most - 1) / std::max<int64_t>(most, 1);
    return most < 1 ? 1 : (part + count - 1) / count;
  }

  void add(const op &o, const std::vector<value *> &list, bool result) {
    for (size_t i = 0; i < list.size(); i++) {
      slot s;
      s.outer = list[i], s.result = result;
      if (s.outer) {
        bool weight = result ? i == 0 && writes_weight(o.kind) : i == 1 && reads_weight(o.kind);
        s.is = !weight && s.outer->rank > 1 ? role::samples : result ? role::sum : role::whole;
        s.sample = s.outer->elements / s.outer->dims[0];
      }
      slots.push_back(s);
    }
  }

  // prepare chooses the workers' kernels and lays out the workspace; false: it is larger than the limit.
  bool prepare(const op &o, cpu &d) {
    common = own = 0;
    auto take = [](uint64_t &end, uint64_t bytes) {
      uint64_t at = end;
      end += align(bytes);
      return at;
    };
    for (slot &s : slots) {
      if (s.is == role::samples) s.place = take(own, s.bytes(block * s.sample));
      if (s.is == role::whole && s.narrow()) s.place = take(common, s.bytes(s.outer->elements));
      if (s.is != role::sum) continue;
      s.place = take(own, s.bytes(s.outer->elements));
      s.sums = take(own, s.bytes(s.outer->elements));
    }
    with_threads one(each);
    for (worker &w : workers) {
      w.values.assign(slots.size(), {});
      w.inner.kind = o.kind, w.inner.attr = o.attr;
      w.inner.operands.clear(), w.inner.results.clear();
      for (size_t i = 0; i < slots.size(); i++) {
        const slot &s = slots[i];
        auto &list = s.result ? w.inner.results : w.inner.operands;
        list.push_back(s.outer ? &w.values[i] : nullptr);
        if (!s.outer) continue;
        value &v = w.values[i] = *s.outer;
        if (s.is == role::samples) v.dims[0] = block, v.elements = block * s.sample;
        if (s.narrow()) v.type = type_f32;
        v.bytes = static_cast<int64_t>(s.bytes(v.elements));
      }
      w.inner.work = d.choose(w.inner);
    }
    scratch = common + workers.size() * (own + align(workers[0].inner.work->scratch));
    return d.workspace_limit == 0 || scratch <= d.workspace_limit;
  }

  uint8_t *space(const op &o, size_t t) const {
    return o.scratch + common + t * (own + align(workers[t].inner.work->scratch));
  }
  float *at(const op &o, size_t t, uint64_t place) const {
    return reinterpret_cast<float *>(space(o, t) + place);
  }

  void bind(const op &o) override {
    with_threads one(each);
    for (size_t t = 0; t < workers.size(); t++) {
      worker &w = workers[t];
      for (size_t i = 0; i < slots.size(); i++) {
        const slot &s = slots[i];
        if (s.is == role::absent) continue;
        bool whole = s.is == role::whole;
        w.values[i].data = !whole ? space(o, t) + s.place : s.narrow() ? o.scratch + s.place : s.outer->data;
      }
      w.inner.scratch = w.inner.work->scratch > 0 ? space(o, t) + own : nullptr;
      w.inner.work->bind(w.inner);
    }
  }

  void run(const op &o) override {
    auto count = static_cast<int>(workers.size());
    for (const slot &s : slots)
      if (s.is == role::whole && s.narrow())
        parallel(s.outer->elements, 64, count * each, s.outer->elements, [&](int64_t a, int64_t b, int) {
          expand(s.data<bf16>() + a, reinterpret_cast<float *>(o.scratch + s.place) + a, b - a);
        });
    std::vector<std::exception_ptr> failed(workers.size());
    parallel(n, 1, count, serial_limit, [&](int64_t from, int64_t to, int t) {
      try {
        part(o, static_cast<size_t>(t), from, to);
      } catch (...) {
        failed[static_cast<size_t>(t)] = std::current_exception();
      }
    });
    for (const auto &f : failed)
      if (f) std::rethrow_exception(f);
    for (const slot &s : slots)
      if (s.is == role::sum) total(o, s);
  }

  // part runs the samples from..to on worker t.
  void part(const op &o, size_t t, int64_t from, int64_t to) {
    worker &w = workers[t];
    for (const slot &s : slots)
      if (s.is == role::sum) std::memset(at(o, t, s.sums), 0, s.bytes(s.outer->elements));
    for (int64_t a = from; a < to; a += block) {
      int64_t count = std::min(block, to - a);
      for (const slot &s : slots)
        if (s.is == role::samples && !s.result) load(o, t, s, a, count);
      w.inner.work->run(w.inner);
      for (const slot &s : slots)
        if (s.result) store(o, t, s, a, count);
    }
  }

  // load gives worker t count samples from a on.
  void load(const op &o, size_t t, const slot &s, int64_t a, int64_t count) const {
    uint8_t *to = space(o, t) + s.place;
    int64_t first = a * s.sample, elements = count * s.sample;
    if (s.narrow())
      parallel(elements, 64, each, elements, [&](int64_t u, int64_t v, int) {
        expand(s.data<bf16>() + first + u, reinterpret_cast<float *>(to) + u, v - u);
      });
    else
      std::memcpy(to, s.outer->data + s.bytes(first), s.bytes(elements));
    std::memset(to + s.bytes(elements), 0, s.bytes((block - count) * s.sample));
  }

  // store writes the results of count samples from a on, and adds the block's sums to the worker's.
  void store(const op &o, size_t t, const slot &s, int64_t a, int64_t count) const {
    const float *from = at(o, t, s.place);
    int64_t first = a * s.sample, elements = s.is == role::sum ? s.outer->elements : count * s.sample;
    if (s.is == role::samples && !s.narrow()) {
      std::memcpy(s.outer->data + s.bytes(first), from, s.bytes(elements));
      return;
    }
    parallel(elements, 64, each, elements, [&](int64_t u, int64_t v, int) {
      if (s.is == role::sum)
        accumulate(from + u, at(o, t, s.sums) + u, v - u);
      else
        narrow(from + u, s.data<bf16>() + first + u, v - u);
    });
  }

  // total adds the workers' sums to that of the first, and rounds it.
  void total(const op &o, const slot &s) const {
    float *all = at(o, 0, s.sums);
    auto count = static_cast<int>(workers.size());
    int64_t elements = s.outer->elements;
    parallel(elements, 64, count * each, elements * count, [&](int64_t a, int64_t b, int) {
      for (size_t t = 1; t < workers.size(); t++) accumulate(at(o, t, s.sums) + a, all + a, b - a);
      if (s.narrow())
        narrow(all + a, s.data<bf16>() + a, b - a);
      else
        std::memcpy(s.data<float>() + a, all + a, s.bytes(b - a));
    });
  }
};

}  // namespace

std::unique_ptr<kernel> make_blocks(const op &o, cpu &d) { return std::make_unique<blocks>(o, d); }

}  // namespace lb
