// The executor of the cpu backend: chooses kernels, holds the arena, runs ops in
// order, and keeps every exception inside.
#include <sys/mman.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

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
    case kind_upsample:
    case kind_upsample_backward:
      return make_upsample(o, d);
    case kind_deviation:
    case kind_deviation_backward:
    case kind_similarity:
    case kind_similarity_backward:
    case kind_contrast:
    case kind_contrast_backward:
      return make_similarity(o, d);
    case kind_cross_entropy:
    case kind_cross_entropy_backward:
    case kind_binary_cross_entropy:
    case kind_binary_cross_entropy_backward:
      return make_loss(o, d);
    case kind_sgd:
    case kind_average:
      return make_update(o, d);
  }
  fail(LB_UNSUPPORTED, "the cpu backend has no kernel of kind %d", o.kind);
}

}  // namespace
}  // namespace lb

struct lb_device {
  lb::device inner;
};

// mapping is the memory of an arena. Programs that are bound to it see when the
// arena has been freed: data is null then.
struct mapping {
  uint8_t *data = nullptr;
  uint64_t bytes = 0;
  void unmap() {
    if (data) munmap(data, bytes);
    data = nullptr;
  }
  ~mapping() { unmap(); }
};

struct lb_arena {
  std::shared_ptr<mapping> memory;
};

struct lb_program {
  lb_device *device = nullptr;
  std::vector<lb::value> values;
  std::vector<lb::op> ops;
  std::shared_ptr<mapping> memory;  // bound to it, nullptr: to none
};

namespace {

using llu = unsigned long long;  // for messages

void report(lb_error *e, int32_t code, int32_t op, const char *text, uint64_t need = 0, uint64_t have = 0) {
  if (!e) return;
  e->code = code, e->op = op, e->need_bytes = need, e->have_bytes = have;
  std::snprintf(e->text, sizeof e->text, "%s", text);
}

// guard runs f and turns whatever it throws into a status, a text, and the op
// that *at names.
template <typename F>
int32_t guard(lb_error *e, const int32_t *at, F f) {
  int32_t op = -1, code = LB_INTERNAL;
  try {
    try {
      f();
      return LB_OK;
    } catch (...) {
      if (at) op = *at;
      throw;
    }
  } catch (const lb::failure &x) {
    code = x.code, report(e, code, op, x.text.c_str(), x.need_bytes, x.have_bytes);
  } catch (const std::bad_alloc &) {
    code = LB_OUT_OF_MEMORY, report(e, code, op, "out of memory");
  } catch (const std::exception &x) {
    report(e, code, op, x.what());
  } catch (...) {
    report(e, code, op, "unknown exception");
  }
  return code;
}

template <typename F>
int32_t guard(lb_error *e, F f) {
  return guard(e, nullptr, f);
}

void need(const void *argument, const char *name) {
  if (!argument) lb::fail(LB_INVALID, "argument %s is null", name);
}

std::string describe_libraries() {
  std::string isa = "default";
#if defined(__x86_64__)
  isa = __builtin_cpu_supports("avx512f") ? "avx512f" : __builtin_cpu_supports("avx2") ? "avx2" : "default";
#endif
  return "isa=" + isa + "\noneDNN=" + lb::onednn_version() + "\noneDNN_isa=" + lb::onednn_isa() + "\n";
}

int32_t cpu_probe(char *text, uint64_t capacity, lb_error *e) {
  return guard(e, [&] {
    need(text, "text");
    std::snprintf(text, capacity, "cores=%d\n%s", omp_get_num_procs(), describe_libraries().c_str());
  });
}

constexpr int32_t most_threads = 1024;

int32_t cpu_open(int32_t index, int32_t threads, uint64_t workspace_limit, lb_device **out, lb_error *e) {
  return guard(e, [&] {
    need(out, "out");
    if (index != 0) lb::fail(LB_INVALID, "device %d, want 0: there is one", index);
    if (threads < 0 || threads > most_threads)
      lb::fail(LB_INVALID, "%d threads, want 1 to %d, or 0 for all cores", threads, most_threads);
    auto d = std::make_unique<lb_device>();
    d->inner.threads = threads > 0 ? threads : omp_get_num_procs();
    d->inner.workspace_limit = workspace_limit;
    omp_set_dynamic(0);
    omp_set_num_threads(d->inner.threads);
#if defined(__x86_64__)
    // Numbers below the normal range are zero: they cost a hundredfold and mean nothing here.
#pragma omp parallel
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
    *out = d.release();
  });
}

int32_t cpu_describe(lb_device *d, char *text, uint64_t capacity, lb_error *e) {
  return guard(e, [&] {
    need(d, "device"), need(text, "text");
    std::snprintf(text, capacity, "threads=%d\n%s", d->inner.threads, describe_libraries().c_str());
  });
}

void cpu_close(lb_device *d) { delete d; }

int32_t cpu_prepare(lb_device *d, const uint8_t *blob, uint64_t bytes, lb_program **out, lb_error *e) {
  int32_t at = -1;
  return guard(e, &at, [&] {
    need(d, "device"), need(out, "out");
    auto p = std::make_unique<lb_program>();
    p->device = d;
    lb::read_program(blob, bytes, p->values, p->ops, at);
    for (lb::op &o : p->ops) {
      at++;
      o.work = lb::make_kernel(o, d->inner);
    }
    *out = p.release();
  });
}

int32_t cpu_scratch(lb_program *p, uint64_t *bytes, uint64_t ops, lb_error *e) {
  return guard(e, [&] {
    need(p, "program");
    if (ops != p->ops.size())
      lb::fail(LB_INVALID, "scratch: room for %llu ops, want %zu", llu{ops}, p->ops.size());
    for (size_t i = 0; i < p->ops.size(); i++) bytes[i] = p->ops[i].work->scratch;
  });
}

int32_t cpu_kernel(lb_program *p, uint64_t op, char *text, uint64_t capacity, lb_error *e) {
  return guard(e, [&] {
    need(p, "program"), need(text, "text");
    if (op >= p->ops.size()) lb::fail(LB_INVALID, "op %llu of %zu", llu{op}, p->ops.size());
    std::snprintf(text, capacity, "%s", p->ops[op].work->name.c_str());
  });
}

uint8_t *place(const mapping &m, uint64_t offset, uint64_t bytes) {
  if (offset % 64 != 0 || offset > m.bytes || bytes > m.bytes - offset)
    lb::fail(LB_INVALID, "%llu bytes at offset %llu do not lie in the arena of %llu at a multiple of 64",
             llu{bytes}, llu{offset}, llu{m.bytes});
  return m.data + offset;
}

// bind_op places scratch memory and generates code; all that the op touches must have a place.
void bind_op(lb::op &o, lb_program &p, const mapping &m, uint64_t scratch_offset) {
  for (const auto *list : {&o.operands, &o.results})
    for (const lb::value *v : *list)
      if (v && !v->data) lb::fail(LB_INVALID, "an operand or result has no place in the arena");
  o.scratch = o.work->scratch > 0 ? place(m, scratch_offset, o.work->scratch) : nullptr;
  o.work->bind(p.device->inner);
}

int32_t cpu_bind(lb_program *p, lb_arena *a, const uint64_t *value_offsets, uint64_t values,
                 const uint64_t *scratch_offsets, uint64_t ops, lb_error *e) {
  int32_t at = -1;
  return guard(e, &at, [&] {
    need(p, "program"), need(a, "arena");
    if (values != p->values.size() || ops != p->ops.size())
      lb::fail(LB_INVALID, "offsets of %llu values and %llu ops, want %zu and %zu", llu{values}, llu{ops},
               p->values.size(), p->ops.size());
    p->memory = nullptr;  // what fails half way is not bound
    const mapping &m = *a->memory;
    for (size_t i = 0; i < p->values.size(); i++) {
      lb::value &v = p->values[i];
      bool nowhere = value_offsets[i] == LB_NOWHERE;
      v.data = nowhere ? nullptr : place(m, value_offsets[i], static_cast<uint64_t>(v.bytes));
    }
    for (size_t i = 0; i < p->ops.size(); i++) {
      at = static_cast<int32_t>(i);
      bind_op(p->ops[i], *p, m, scratch_offsets[i]);
    }
    p->memory = a->memory;
  });
}

void cpu_program_free(lb_program *p) { delete p; }

int32_t cpu_arena_new(lb_device *d, uint64_t bytes, lb_arena **out, lb_error *e) {
  return guard(e, [&] {
    need(d, "device"), need(out, "out");
    auto a = std::make_unique<lb_arena>();
    a->memory = std::make_shared<mapping>();
    if (bytes > 0) {
      void *m = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (m == MAP_FAILED) {
        auto have =
            static_cast<uint64_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
        throw lb::failure{LB_OUT_OF_MEMORY, "the system does not give that much memory", bytes, have};
      }
      madvise(m, bytes, MADV_HUGEPAGE);
      a->memory->data = static_cast<uint8_t *>(m);
      a->memory->bytes = bytes;
    }
    *out = a.release();
  });
}

// live returns the memory of an arena.
mapping &live(lb_arena *a) {
  need(a, "arena");
  return *a->memory;
}

int32_t cpu_arena_fill(lb_arena *a, uint8_t pattern, lb_error *e) {
  return guard(e, [&] {
    mapping &m = live(a);
    if (m.bytes > 0) std::memset(m.data, pattern, m.bytes);
  });
}

int32_t cpu_arena_read(lb_arena *a, uint64_t offset, void *to, uint64_t bytes, lb_error *e) {
  return guard(e, [&] {
    mapping &m = live(a);
    if (offset > m.bytes || bytes > m.bytes - offset)
      lb::fail(LB_INVALID, "arena: %llu bytes at %llu reach beyond its %llu", llu{bytes}, llu{offset},
               llu{m.bytes});
    if (bytes > 0) std::memcpy(to, m.data + offset, bytes);
  });
}

void cpu_arena_free(lb_arena *a) {
  if (a) a->memory->unmap();
  delete a;
}

void need_bound(const lb_program *p) {
  need(p, "program");
  if (!p->memory) lb::fail(LB_INVALID, "the program is not bound to an arena");
  if (!p->memory->data && p->memory->bytes > 0)
    lb::fail(LB_INVALID, "the arena of the program has been freed");
}

lb::value &bound_value(lb_program *p, uint64_t id, uint64_t bytes) {
  need_bound(p);
  if (id >= p->values.size()) lb::fail(LB_INVALID, "value %llu of %zu", llu{id}, p->values.size());
  lb::value &v = p->values[id];
  if (bytes != static_cast<uint64_t>(v.bytes))
    lb::fail(LB_INVALID, "%llu bytes, want the value's %lld", llu{bytes}, static_cast<long long>(v.bytes));
  if (!v.data) lb::fail(LB_INVALID, "the value has no place in the arena");
  return v;
}

int32_t cpu_write(lb_program *p, uint64_t id, const void *from, uint64_t bytes, lb_error *e) {
  return guard(e, [&] {
    lb::value &v = bound_value(p, id, bytes);
    need(from, "from");
    std::memcpy(v.data, from, bytes);
  });
}

int32_t cpu_read(lb_program *p, uint64_t id, void *to, uint64_t bytes, lb_error *e) {
  return guard(e, [&] {
    const lb::value &v = bound_value(p, id, bytes);
    need(to, "to");
    std::memcpy(to, v.data, bytes);
  });
}

int32_t cpu_run(lb_program *p, uint64_t first, uint64_t last, lb_error *e) {
  int32_t at = -1;
  return guard(e, &at, [&] {
    need_bound(p);
    if (first > last || last > p->ops.size())
      lb::fail(LB_INVALID, "ops %llu to %llu, want a range within 0 to %zu", llu{first}, llu{last},
               p->ops.size());
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
    need(p, "program");
    if (ops != p->ops.size())
      lb::fail(LB_INVALID, "trace: room for %llu ops, want %zu", llu{ops}, p->ops.size());
    for (size_t i = 0; i < p->ops.size(); i++) {
      seconds[i] = p->ops[i].seconds;
      if (reset) p->ops[i].seconds = 0;
    }
  });
}

const lb_backend table = {LB_ABI,         sizeof(lb_backend), "cpu",         cpu_probe,      cpu_open,
                          cpu_describe,   cpu_close,          cpu_prepare,   cpu_scratch,    cpu_kernel,
                          cpu_bind,       cpu_program_free,   cpu_arena_new, cpu_arena_fill, cpu_arena_read,
                          cpu_arena_free, cpu_write,          cpu_read,      cpu_run,        cpu_trace};

}  // namespace

const lb_backend *lb_backend_get(uint32_t abi) { return abi == LB_ABI ? &table : nullptr; }
