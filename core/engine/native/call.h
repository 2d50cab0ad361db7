// What Go cannot do: open a library, and call a function pointer.
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
  if (!b) snprintf(why, capacity, get ? "it does not speak ABI %u" : "it is no backend of ABI %u", LB_ABI);
  return b;
}

static inline int32_t call_probe(const lb_backend *b, char *text, uint64_t capacity, lb_error *x2) {
  return b->probe(text, capacity, x2);
}
static inline int32_t call_open(const lb_backend *b, const lb_options *options, lb_device **out,
                                lb_error *x3) {
  return b->open(options, out, x3);
}
static inline int32_t call_describe(const lb_backend *b, lb_device *x0, char *text, uint64_t capacity,
                                    lb_error *x3) {
  return b->describe(x0, text, capacity, x3);
}
static inline void call_close(const lb_backend *b, lb_device *x0) { b->close(x0); }
static inline int32_t call_prepare(const lb_backend *b, lb_device *x0, const uint8_t *blob, uint64_t bytes,
                                   lb_program **out, lb_error *x4) {
  return b->prepare(x0, blob, bytes, out, x4);
}
static inline int32_t call_scratch(const lb_backend *b, lb_program *x0, uint64_t *bytes, uint64_t ops,
                                   lb_error *x3) {
  return b->scratch(x0, bytes, ops, x3);
}
static inline int32_t call_kernel(const lb_backend *b, lb_program *x0, uint64_t op, char *text,
                                  uint64_t capacity, lb_error *x3) {
  return b->kernel(x0, op, text, capacity, x3);
}
static inline int32_t call_choices(const lb_backend *b, lb_program *p, char *text, uint64_t capacity,
                                   lb_error *e) {
  return b->choices(p, text, capacity, e);
}
static inline int32_t call_bind(const lb_backend *b, lb_program *x0, lb_arena *x1,
                                const uint64_t *value_offsets, uint64_t values,
                                const uint64_t *scratch_offsets, uint64_t ops, lb_error *x6) {
  return b->bind(x0, x1, value_offsets, values, scratch_offsets, ops, x6);
}
static inline void call_program_free(const lb_backend *b, lb_program *x0) { b->program_free(x0); }
static inline int32_t call_arena_new(const lb_backend *b, lb_device *x0, uint64_t bytes, lb_arena **out,
                                     lb_error *x3) {
  return b->arena_new(x0, bytes, out, x3);
}
static inline int32_t call_arena_fill(const lb_backend *b, lb_arena *x0, uint8_t pattern, lb_error *x2) {
  return b->arena_fill(x0, pattern, x2);
}
static inline int32_t call_arena_read(const lb_backend *b, lb_arena *x0, uint64_t offset, void *to,
                                      uint64_t bytes, lb_error *x4) {
  return b->arena_read(x0, offset, to, bytes, x4);
}
static inline void call_arena_free(const lb_backend *b, lb_arena *x0) { b->arena_free(x0); }
static inline int32_t call_write(const lb_backend *b, lb_program *x0, uint64_t value, uint64_t offset,
                                 const void *from, uint64_t bytes, lb_error *x5) {
  return b->write(x0, value, offset, from, bytes, x5);
}
static inline int32_t call_read(const lb_backend *b, lb_program *x0, uint64_t value, uint64_t offset,
                                void *to, uint64_t bytes, lb_error *x5) {
  return b->read(x0, value, offset, to, bytes, x5);
}
static inline int32_t call_run(const lb_backend *b, lb_program *x0, uint64_t first, uint64_t last,
                               lb_error *x3) {
  return b->run(x0, first, last, x3);
}
static inline int32_t call_trace(const lb_backend *b, lb_program *x0, double *seconds, uint64_t ops,
                                 int32_t reset, lb_error *x4) {
  return b->trace(x0, seconds, ops, reset, x4);
}
