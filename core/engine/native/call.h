// What Go cannot do: load a shared library and call a function pointer.
#pragma once
#include <dlfcn.h>
#include <stdio.h>

#include "backend.h"

// load returns the backend of a shared library, or NULL and why. The library stays loaded.
static inline const lb_backend *load(const char *path, char *why, uint64_t capacity) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    snprintf(why, capacity, "%s", dlerror());
    return NULL;
  }
  const lb_backend *(*get)(uint32_t) = (const lb_backend *(*)(uint32_t))dlsym(library, "lb_backend_get");
  const lb_backend *b = get ? get(LB_ABI) : NULL;
  if (!b)
    snprintf(why, capacity, get ? "it has another ABI than %u" : "it does not export lb_backend_get (ABI %u)",
             LB_ABI);
  return b;
}

static inline int32_t call_probe(const lb_backend *b, char *text, uint64_t capacity, lb_error *e) {
  return b->probe(text, capacity, e);
}
static inline int32_t call_open(const lb_backend *b, const lb_options *options, lb_device **out,
                                lb_error *e) {
  return b->open(options, out, e);
}
static inline int32_t call_describe(const lb_backend *b, lb_device *d, char *text, uint64_t capacity,
                                    lb_error *e) {
  return b->describe(d, text, capacity, e);
}
static inline void call_close(const lb_backend *b, lb_device *d) { b->close(d); }
static inline int32_t call_prepare(const lb_backend *b, lb_device *d, const uint8_t *blob, uint64_t bytes,
                                   lb_program **out, lb_error *e) {
  return b->prepare(d, blob, bytes, out, e);
}
static inline int32_t call_scratch(const lb_backend *b, lb_program *p, uint64_t *bytes, uint64_t ops,
                                   lb_error *e) {
  return b->scratch(p, bytes, ops, e);
}
static inline int32_t call_kernel(const lb_backend *b, lb_program *p, uint64_t op, char *text,
                                  uint64_t capacity, lb_error *e) {
  return b->kernel(p, op, text, capacity, e);
}
static inline int32_t call_choices(const lb_backend *b, lb_program *p, char *text, uint64_t capacity,
                                   lb_error *e) {
  return b->choices(p, text, capacity, e);
}
static inline int32_t call_bind(const lb_backend *b, lb_program *p, lb_arena *a,
                                const uint64_t *value_offsets, uint64_t values,
                                const uint64_t *scratch_offsets, uint64_t ops, lb_error *e) {
  return b->bind(p, a, value_offsets, values, scratch_offsets, ops, e);
}
static inline void call_program_free(const lb_backend *b, lb_program *p) { b->program_free(p); }
static inline int32_t call_arena_new(const lb_backend *b, lb_device *d, uint64_t bytes, lb_arena **out,
                                     lb_error *e) {
  return b->arena_new(d, bytes, out, e);
}
static inline int32_t call_arena_fill(const lb_backend *b, lb_arena *a, uint8_t pattern, lb_error *e) {
  return b->arena_fill(a, pattern, e);
}
static inline int32_t call_arena_read(const lb_backend *b, lb_arena *a, uint64_t offset, void *to,
                                      uint64_t bytes, lb_error *e) {
  return b->arena_read(a, offset, to, bytes, e);
}
static inline void call_arena_free(const lb_backend *b, lb_arena *a) { b->arena_free(a); }
static inline int32_t call_write(const lb_backend *b, lb_program *p, uint64_t value, uint64_t offset,
                                 const void *from, uint64_t bytes, lb_error *e) {
  return b->write(p, value, offset, from, bytes, e);
}
static inline int32_t call_read(const lb_backend *b, lb_program *p, uint64_t value, uint64_t offset, void *to,
                                uint64_t bytes, lb_error *e) {
  return b->read(p, value, offset, to, bytes, e);
}
static inline int32_t call_run(const lb_backend *b, lb_program *p, uint64_t first, uint64_t last,
                               lb_error *e) {
  return b->run(p, first, last, e);
}
static inline int32_t call_trace(const lb_backend *b, lb_program *p, double *seconds, uint64_t ops,
                                 int32_t reset, lb_error *e) {
  return b->trace(p, seconds, ops, reset, e);
}
