// The executor of the cpu backend: reads the program, holds the arena, runs ops
// in order, and keeps every exception inside.
#include <sys/mman.h>
#include <xmmintrin.h>

#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>

#include "program.h"

namespace lb {

void fail(int32_t code, const char *format, ...) {
  char text[480];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  throw failure{code, text};
}

namespace {

// reader takes little-endian fields off the blob and never runs past its end.
class reader {
 public:
  reader(const uint8_t *data, uint64_t bytes) : data_(data), left_(bytes) {}
  template <typename T>
  T take() {
    if (left_ < sizeof(T)) fail(LB_INVALID, "program: ends in the middle of a field");
    T x;
    std::memcpy(&x, data_, sizeof(T));
    data_ += sizeof(T);
    left_ -= sizeof(T);
    return x;
  }
  uint64_t left() const { return left_; }

 private:
  const uint8_t *data_;
  uint64_t left_;
};

value read_value(reader &r) {
  value v;
  v.type = r.take<int32_t>();
  v.rank = r.take<int32_t>();
  if (v.type < 0 || v.type > 2 || v.rank < 0 || v.rank > 4)
    fail(LB_INVALID, "program: value of type %d and rank %d, want 0..2 and 0..4", v.type, v.rank);
  for (int i = 0; i < 4; i++) {
    int64_t d = r.take<int64_t>();
    if (d < 1 || (i >= v.rank && d != 1) || v.elements > INT64_MAX / 8 / d)
      fail(LB_INVALID, "program: extent %lld of a value is out of range", static_cast<long long>(d));
    v.dims[i] = d;
    v.elements *= d;
  }
  v.bytes = v.elements * (v.type == 2 ? 1 : 4);
  return v;
}

attributes read_attributes(reader &r) {
  attributes a;
  int64_t *whole[] = {a.kernel, a.stride, a.padding, a.output};
  for (int64_t *pair : whole)
    for (int i = 0; i < 2; i++) pair[i] = r.take<int64_t>();
  for (int64_t &x : a.input) x = r.take<int64_t>();
  for (int64_t *x : {&a.groups, &a.relu, &a.bias, &a.count_padding, &a.nesterov}) *x = r.take<int64_t>();
  for (double *x : {&a.epsilon, &a.momentum, &a.weight_decay, &a.scale}) *x = r.take<double>();
  for (double &x : a.mean) x = r.take<double>();
  for (double &x : a.deviation) x = r.take<double>();
  return a;
}

std::unique_ptr<kernel> make_kernel(const op &o, device &d) {
  switch (o.kind) {
    case kind_conv:
    case kind_conv_backward_data:
    case kind_conv_backward_weights:
      return make_conv(o, d);
    case kind_norm_stats:
    case kind_norm_apply:
    case kind_norm_backward:
      return make_norm(o, d);
    case kind_relu:
    case kind_relu_backward:
    case kind_add:
    case kind_detach:
    case kind_normalize_image:
      return make_elementwise(o, d);
    case kind_max_pool:
    case kind_max_pool_backward:
    case kind_average_pool:
    case kind_average_pool_backward:
    case kind_adaptive_average_pool:
    case kind_adaptive_average_pool_backward:
      return make_pool(o, d);
    case kind_linear:
    case kind_linear_backward_data:
    case kind_linear_backward_weights:
      return make_linear(o, d);
    case kind_cross_entropy:
    case kind_cross_entropy_backward:
      return make_loss(o, d);
    case kind_sgd:
      return make_update(o, d);
  }
  fail(LB_UNSUPPORTED, "the cpu backend has no kernel of kind %d", o.kind);
}

}  // namespace
}  // namespace lb

struct lb_device {
  lb::device inner;
};

struct lb_arena {
  uint8_t *data;
  uint64_t bytes;
};

struct lb_program {
  lb_device *device;
  std::vector<lb::value> values;
  std::vector<lb::op> ops;
  bool bound = false;
};

namespace {

// guard runs f, turns whatever it throws into a status and a text, and names
// the op that *at points to.
template <typename F>
int32_t guard(lb_error *e, const int32_t *at, F f) {
  int32_t code = LB_INTERNAL;
  const char *text = "unknown exception";
  std::string kept;
  try {
    f();
    return LB_OK;
  } catch (const lb::failure &x) {
    code = x.code, kept = x.text, text = kept.c_str();
  } catch (const std::bad_alloc &) {
    code = LB_OUT_OF_MEMORY, text = "out of memory";
  } catch (const std::exception &x) {
    kept = x.what(), text = kept.c_str();
  } catch (...) {
  }
  if (e) {
    e->code = code;
    e->op = at ? *at : -1;
    std::snprintf(e->text, sizeof e->text, "%s", text);
  }
  return code;
}

template <typename F>
int32_t guard(lb_error *e, F f) {
  return guard(e, nullptr, f);
}

int32_t cpu_open(int32_t index, int32_t threads, lb_device **out, lb_error *e) {
  return guard(e, [&] {
    if (index != 0) lb::fail(LB_INVALID, "cpu: device %d, want 0: there is one", index);
    if (threads < 0) lb::fail(LB_INVALID, "cpu: %d threads, want 0 (all cores) or more", threads);
    auto d = std::make_unique<lb_device>();
    d->inner.threads = threads > 0 ? threads : omp_get_num_procs();
    omp_set_num_threads(d->inner.threads);
    // Numbers below the normal range are zero: they cost a hundredfold and mean nothing here.
#pragma omp parallel
    _mm_setcsr(_mm_getcsr() | 0x8040);
    *out = d.release();
  });
}

int32_t cpu_describe(lb_device *d, char *text, uint64_t capacity, lb_error *e) {
  return guard(e, [&] {
    std::snprintf(text, capacity, "threads=%d\noneDNN=%s\n", d->inner.threads, lb::onednn_version().c_str());
  });
}

void cpu_close(lb_device *d) { delete d; }

int32_t cpu_prepare(lb_device *d, const uint8_t *blob, uint64_t bytes, lb_program **out, lb_error *e) {
  int32_t at = -1;
  return guard(e, &at, [&] {
    lb::reader r(blob, bytes);
    if (r.take<uint32_t>() != 0x474f5250u) lb::fail(LB_INVALID, "program: does not begin with PROG");
    uint32_t version = r.take<uint32_t>();
    if (version != LB_BLOB_VERSION)
      lb::fail(LB_INVALID, "program: version %u, this backend reads version %u", version, LB_BLOB_VERSION);
    uint64_t values = r.take<uint64_t>(), ops = r.take<uint64_t>();
    if (values > r.left() || ops > r.left()) lb::fail(LB_INVALID, "program: counts beyond its size");
    auto p = std::make_unique<lb_program>();
    p->device = d;
    for (uint64_t i = 0; i < values; i++) p->values.push_back(lb::read_value(r));
    auto take_list = [&](std::vector<lb::value *> &list, bool optional) {
      uint32_t n = r.take<uint32_t>();
      if (n > 16) lb::fail(LB_INVALID, "program: %u operands or results, want at most 16", n);
      for (uint32_t i = 0; i < n; i++) {
        int64_t id = r.take<int64_t>();
        if (id == -1 && optional) {
          list.push_back(nullptr);
          continue;
        }
        if (id < 0 || static_cast<uint64_t>(id) >= values)
          lb::fail(LB_INVALID, "program: value %lld of %llu", static_cast<long long>(id),
                   static_cast<unsigned long long>(values));
        list.push_back(&p->values[static_cast<size_t>(id)]);
      }
    };
    p->ops.resize(ops);
    for (uint64_t i = 0; i < ops; i++) {
      at = static_cast<int32_t>(i);
      lb::op &o = p->ops[i];
      o.kind = r.take<int32_t>();
      take_list(o.operands, true);
      take_list(o.results, false);
      o.attr = lb::read_attributes(r);
      o.work = lb::make_kernel(o, d->inner);
    }
    at = -1;
    if (r.left() != 0) lb::fail(LB_INVALID, "program: bytes left behind its end");
    *out = p.release();
  });
}

int32_t cpu_scratch(lb_program *p, uint64_t *bytes, uint64_t ops, lb_error *e) {
  return guard(e, [&] {
    if (ops != p->ops.size()) lb::fail(LB_INVALID, "scratch: room for another number of ops");
    for (size_t i = 0; i < p->ops.size(); i++) bytes[i] = p->ops[i].work->scratch;
  });
}

int32_t cpu_bind(lb_program *p, lb_arena *a, const uint64_t *value_offsets, uint64_t values,
                 const uint64_t *scratch_offsets, uint64_t ops, lb_error *e) {
  int32_t at = -1;
  return guard(e, &at, [&] {
    if (values != p->values.size() || ops != p->ops.size())
      lb::fail(LB_INVALID, "bind: offsets for another number of values or ops");
    auto place = [&](uint64_t offset, uint64_t bytes) {
      if (offset % 64 != 0 || offset > a->bytes || bytes > a->bytes - offset)
        lb::fail(LB_INVALID,
                 "bind: %llu bytes at offset %llu do not lie in the arena of %llu at a multiple of 64",
                 static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(offset),
                 static_cast<unsigned long long>(a->bytes));
      return a->data + offset;
    };
    for (size_t i = 0; i < p->values.size(); i++)
      p->values[i].data = place(value_offsets[i], static_cast<uint64_t>(p->values[i].bytes));
    for (size_t i = 0; i < p->ops.size(); i++) {
      at = static_cast<int32_t>(i);
      lb::op &o = p->ops[i];
      if (o.work->scratch > 0) o.scratch = place(scratch_offsets[i], o.work->scratch);
      o.work->bind(p->device->inner);
    }
    p->bound = true;
  });
}

void cpu_program_free(lb_program *p) { delete p; }

int32_t cpu_arena_new(lb_device *, uint64_t bytes, lb_arena **out, lb_error *e) {
  return guard(e, [&] {
    auto a = std::make_unique<lb_arena>();
    a->bytes = bytes;
    a->data = nullptr;
    if (bytes > 0) {
      void *m = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (m == MAP_FAILED)
        lb::fail(LB_OUT_OF_MEMORY, "arena: the system gives no %llu bytes",
                 static_cast<unsigned long long>(bytes));
      madvise(m, bytes, MADV_HUGEPAGE);
      a->data = static_cast<uint8_t *>(m);
    }
    *out = a.release();
  });
}

int32_t cpu_arena_fill(lb_arena *a, uint8_t pattern, lb_error *e) {
  return guard(e, [&] { std::memset(a->data, pattern, a->bytes); });
}

int32_t cpu_arena_read(lb_arena *a, uint64_t offset, void *to, uint64_t bytes, lb_error *e) {
  return guard(e, [&] {
    if (offset > a->bytes || bytes > a->bytes - offset) lb::fail(LB_INVALID, "arena: read beyond its end");
    std::memcpy(to, a->data + offset, bytes);
  });
}

void cpu_arena_free(lb_arena *a) {
  if (a && a->data) munmap(a->data, a->bytes);
  delete a;
}

lb::value &bound_value(lb_program *p, uint64_t id, uint64_t bytes) {
  if (!p->bound) lb::fail(LB_INVALID, "the program is not bound to an arena");
  if (id >= p->values.size()) lb::fail(LB_INVALID, "no value %llu", static_cast<unsigned long long>(id));
  lb::value &v = p->values[id];
  if (bytes != static_cast<uint64_t>(v.bytes))
    lb::fail(LB_INVALID, "%llu bytes for a value of %lld", static_cast<unsigned long long>(bytes),
             static_cast<long long>(v.bytes));
  return v;
}

int32_t cpu_write(lb_program *p, uint64_t id, const void *from, uint64_t bytes, lb_error *e) {
  return guard(e, [&] { std::memcpy(bound_value(p, id, bytes).data, from, bytes); });
}

int32_t cpu_read(lb_program *p, uint64_t id, void *to, uint64_t bytes, lb_error *e) {
  return guard(e, [&] { std::memcpy(to, bound_value(p, id, bytes).data, bytes); });
}

int32_t cpu_run(lb_program *p, uint64_t first, uint64_t last, lb_error *e) {
  int32_t at = -1;
  return guard(e, &at, [&] {
    if (!p->bound) lb::fail(LB_INVALID, "the program is not bound to an arena");
    if (first > last || last > p->ops.size()) lb::fail(LB_INVALID, "run: ops out of range");
    auto before = std::chrono::steady_clock::now();
    for (uint64_t i = first; i < last; i++) {
      at = static_cast<int32_t>(i);
      lb::op &o = p->ops[i];
      o.work->run(o);
      auto now = std::chrono::steady_clock::now();
      o.seconds += std::chrono::duration<double>(now - before).count();
      before = now;
    }
  });
}

int32_t cpu_trace(lb_program *p, double *seconds, uint64_t ops, int32_t reset, lb_error *e) {
  return guard(e, [&] {
    if (ops != p->ops.size()) lb::fail(LB_INVALID, "trace: room for another number of ops");
    for (size_t i = 0; i < p->ops.size(); i++) {
      seconds[i] = p->ops[i].seconds;
      if (reset) p->ops[i].seconds = 0;
    }
  });
}

const lb_backend table = {
    LB_ABI,         sizeof(lb_backend), "cpu",     cpu_open,         cpu_describe,  cpu_close,
    cpu_prepare,    cpu_scratch,        cpu_bind,  cpu_program_free, cpu_arena_new, cpu_arena_fill,
    cpu_arena_read, cpu_arena_free,     cpu_write, cpu_read,         cpu_run,       cpu_trace};

}  // namespace

const lb_backend *lb_backend_get(uint32_t abi) { return abi == LB_ABI ? &table : nullptr; }
