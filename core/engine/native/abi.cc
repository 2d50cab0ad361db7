//go:build !nocpu

// The C ABI over a backend's device: checks arguments, and keeps every exception
// inside.
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

uint8_t *memory::place(uint64_t offset, uint64_t size) {
  if (offset % 64 != 0 || offset > bytes || size > bytes - offset)
    fail(LB_INVALID,
         "%llu bytes at offset %llu are outside of the arena of %llu bytes, or the offset is no multiple of "
         "64",
         static_cast<unsigned long long>(size), static_cast<unsigned long long>(offset),
         static_cast<unsigned long long>(bytes));
  return data + offset;
}

}  // namespace lb

struct lb_device {
  std::unique_ptr<lb::device> inner;
};

struct lb_arena {
  lb_device *device;
  std::shared_ptr<lb::memory> memory;
};

struct lb_program {
  lb_device *device;
  std::unique_ptr<lb::program> inner;
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

int32_t abi_probe(char *text, uint64_t capacity, lb_error *e) {
  return guard(e, [&] {
    need(text, "text");
    std::snprintf(text, capacity, "%s", lb::probe().c_str());
  });
}

int32_t abi_open(const lb_options *options, lb_device **out, lb_error *e) {
  return guard(e, [&] {
    need(options, "options"), need(out, "out");
    if (options->struct_size != sizeof(lb_options))
      lb::fail(LB_INVALID, "options of %u bytes: this ABI has %zu", options->struct_size, sizeof(lb_options));
    *out = new lb_device{lb::open_device(*options)};
  });
}

int32_t abi_describe(lb_device *d, char *text, uint64_t capacity, lb_error *e) {
  return guard(e, [&] {
    need(d, "device"), need(text, "text");
    std::snprintf(text, capacity, "%s", d->inner->describe().c_str());
  });
}

void abi_close(lb_device *d) { delete d; }

int32_t abi_prepare(lb_device *d, const uint8_t *blob, uint64_t bytes, lb_program **out, lb_error *e) {
  int32_t at = -1;
  return guard(e, &at, [&] {
    need(d, "device"), need(out, "out");
    auto p = d->inner->new_program();
    lb::read_program(blob, bytes, p->values, p->ops, at);
    for (lb::op &o : p->ops) {
      at++;
      o.work = d->inner->choose(o);
    }
    *out = new lb_program{d, std::move(p)};
  });
}

lb::program &inner(lb_program *p) {
  need(p, "program");
  return *p->inner;
}

int32_t abi_scratch(lb_program *p, uint64_t *bytes, uint64_t ops, lb_error *e) {
  return guard(e, [&] {
    const auto &all = inner(p).ops;
    if (ops != all.size())
      lb::fail(LB_INVALID, "scratch: a buffer for %llu ops, the program has %zu", llu{ops}, all.size());
    for (size_t i = 0; i < all.size(); i++) bytes[i] = all[i].work->scratch;
  });
}

int32_t abi_kernel(lb_program *p, uint64_t op, char *text, uint64_t capacity, lb_error *e) {
  return guard(e, [&] {
    const auto &all = inner(p).ops;
    need(text, "text");
    if (op >= all.size()) lb::fail(LB_INVALID, "op %llu: the program has %zu", llu{op}, all.size());
    std::snprintf(text, capacity, "%s", all[op].work->name.c_str());
  });
}

int32_t abi_choices(lb_program *p, char *text, uint64_t capacity, lb_error *e) {
  return guard(e, [&] {
    const lb::program &q = inner(p);
    need(text, "text");
    std::string all = p->device->inner->choices(q);
    if (all.size() >= capacity)
      lb::fail(LB_INVALID, "choices: a buffer of %llu bytes, %zu are needed", llu{capacity}, all.size() + 1);
    std::memcpy(text, all.c_str(), all.size() + 1);
  });
}

// bind_op assigns the workspace and generates code; everything that the op reads or writes must have an
// address.
void bind_op(lb::op &o, lb::memory &m, uint64_t scratch_offset) {
  for (const auto *list : {&o.operands, &o.results})
    for (const lb::value *v : *list)
      if (v && !v->data) lb::fail(LB_INVALID, "an operand or result has no offset in the arena");
  o.scratch = o.work->scratch > 0 ? m.place(scratch_offset, o.work->scratch) : nullptr;
  o.work->bind(o);
}

int32_t abi_bind(lb_program *p, lb_arena *a, const uint64_t *value_offsets, uint64_t values,
                 const uint64_t *scratch_offsets, uint64_t ops, lb_error *e) {
  int32_t at = -1;
  return guard(e, &at, [&] {
    lb::program &q = inner(p);
    need(a, "arena");
    if (values != q.values.size() || ops != q.ops.size())
      lb::fail(LB_INVALID, "offsets of %llu values and %llu ops, the program has %zu and %zu", llu{values},
               llu{ops}, q.values.size(), q.ops.size());
    q.bound = nullptr;  // unbound if one of the steps below fails
    lb::memory &m = *a->memory;
    for (size_t i = 0; i < q.values.size(); i++) {
      lb::value &v = q.values[i];
      bool nowhere = value_offsets[i] == LB_NOWHERE;
      v.data = nowhere ? nullptr : m.place(value_offsets[i], static_cast<uint64_t>(v.bytes));
    }
    for (size_t i = 0; i < q.ops.size(); i++) {
      at = static_cast<int32_t>(i);
      bind_op(q.ops[i], m, scratch_offsets[i]);
    }
    at = -1;
    p->device->inner->bound(q);
    q.bound = a->memory;
  });
}

void abi_program_free(lb_program *p) { delete p; }

int32_t abi_arena_new(lb_device *d, uint64_t bytes, lb_arena **out, lb_error *e) {
  return guard(e, [&] {
    need(d, "device"), need(out, "out");
    *out = new lb_arena{d, d->inner->allocate(bytes)};
  });
}

int32_t abi_arena_fill(lb_arena *a, uint8_t pattern, lb_error *e) {
  return guard(e, [&] {
    need(a, "arena");
    if (a->memory->bytes > 0) a->device->inner->fill(*a->memory, pattern);
  });
}

int32_t abi_arena_read(lb_arena *a, uint64_t offset, void *to, uint64_t bytes, lb_error *e) {
  return guard(e, [&] {
    need(a, "arena");
    const lb::memory &m = *a->memory;
    if (offset > m.bytes || bytes > m.bytes - offset)
      lb::fail(LB_INVALID, "arena: %llu bytes at offset %llu reach beyond its end at %llu", llu{bytes},
               llu{offset}, llu{m.bytes});
    if (!m.whole()) lb::fail(LB_UNSUPPORTED, "a scattered arena cannot be read by offset");
    if (bytes > 0) a->device->inner->copy_out(to, m.data + offset, bytes);
  });
}

void abi_arena_free(lb_arena *a) {
  if (a) a->memory->release();
  delete a;
}

lb::program &bound(lb_program *p) {
  lb::program &q = inner(p);
  if (!q.bound) lb::fail(LB_INVALID, "the program is not bound to an arena");
  if (!q.bound->data && q.bound->bytes > 0) lb::fail(LB_INVALID, "the arena of the program has been freed");
  return q;
}

lb::value &bound_part(lb_program *p, uint64_t id, uint64_t offset, uint64_t bytes) {
  lb::program &q = bound(p);
  if (id >= q.values.size())
    lb::fail(LB_INVALID, "value %llu: the program has %zu", llu{id}, q.values.size());
  lb::value &v = q.values[id];
  auto all = static_cast<uint64_t>(v.bytes), element = all / static_cast<uint64_t>(v.elements);
  if (offset > all || bytes > all - offset || offset % element != 0 || bytes % element != 0)
    lb::fail(LB_INVALID, "%llu bytes at offset %llu: must be whole elements within the value's %llu bytes",
             llu{bytes}, llu{offset}, llu{all});
  if (!v.data) lb::fail(LB_INVALID, "the value has no offset in the arena");
  return v;
}

int32_t abi_write(lb_program *p, uint64_t id, uint64_t offset, const void *from, uint64_t bytes,
                  lb_error *e) {
  return guard(e, [&] {
    lb::value &v = bound_part(p, id, offset, bytes);
    if (bytes == 0) return;
    need(from, "from");
    p->device->inner->write(*p->inner, v, offset, from, bytes);
  });
}

int32_t abi_read(lb_program *p, uint64_t id, uint64_t offset, void *to, uint64_t bytes, lb_error *e) {
  return guard(e, [&] {
    const lb::value &v = bound_part(p, id, offset, bytes);
    if (bytes == 0) return;
    need(to, "to");
    p->device->inner->read(*p->inner, v, offset, to, bytes);
  });
}

int32_t abi_run(lb_program *p, uint64_t first, uint64_t last, lb_error *e) {
  int32_t at = -1;
  return guard(e, &at, [&] {
    lb::program &q = bound(p);
    if (first > last || last > q.ops.size())
      lb::fail(LB_INVALID, "ops %llu to %llu: must be a range within 0 to %zu", llu{first}, llu{last},
               q.ops.size());
    p->device->inner->run(q, first, last, at);
  });
}

int32_t abi_trace(lb_program *p, double *seconds, uint64_t ops, int32_t reset, lb_error *e) {
  return guard(e, [&] {
    lb::program &q = inner(p);
    if (ops != q.ops.size())
      lb::fail(LB_INVALID, "trace: a buffer for %llu ops, the program has %zu", llu{ops}, q.ops.size());
    p->device->inner->settle(q);
    for (size_t i = 0; i < q.ops.size(); i++) {
      seconds[i] = q.ops[i].seconds;
      if (reset) q.ops[i].seconds = 0;
    }
  });
}

const lb_backend table = {LB_ABI,         sizeof(lb_backend), lb::backend_name, abi_probe,     abi_open,
                          abi_describe,   abi_close,          abi_prepare,      abi_scratch,   abi_kernel,
                          abi_choices,    abi_bind,           abi_program_free, abi_arena_new, abi_arena_fill,
                          abi_arena_read, abi_arena_free,     abi_write,        abi_read,      abi_run,
                          abi_trace};

}  // namespace

const lb_backend *lb_backend_get(uint32_t abi) { return abi == LB_ABI ? &table : nullptr; }
