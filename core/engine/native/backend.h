// The C ABI of a compute backend: the only functions that Go calls.
//
//   const lb_backend *b = lb_backend_get(LB_ABI);               NULL: another ABI
//   lb_error e;      b->probe(text, sizeof text, &e);            its libraries, or why it cannot run
//   lb_device *d;    b->open(&options, &d, &e);
//   lb_program *p;   b->prepare(d, blob, blob_bytes, &p, &e);    kernels are chosen
//                    b->scratch(p, bytes_by_op, op_count, &e);    so that Go can plan
//   lb_arena *a;     b->arena_new(d, arena_bytes, &a, &e);
//                    b->bind(p, a, value_offsets, values, scratch_offsets, ops, &e);
//                    b->write(p, images, 0, data, bytes, &e);
//                    b->run(p, 0, op_count, &e);                  one call for each step
//                    b->read(p, loss, 0, &x, 4, &e);
//                    b->program_free(p);  b->arena_free(a);  b->close(d);
//
// Words. A device computes. A program is a list of values with fixed shapes and a list of
// ops in order. An arena is device memory for values and workspaces, at offsets that the
// caller has planned: several programs may be bound to one arena, and share the values that
// they have at the same offset. Scratch is the workspace of an op.
//
// Rules. Every function that can fail returns a status and, unless it is LB_OK, fills
// the error. No C++ exception leaves a function, nothing calls back, and there is no
// global state. Memory allocated in C is freed in C. Calls on a device, its programs and its arenas
// come from one thread. Counts, sizes and offsets are 64 bits wide; offsets
// are multiples of 64 bytes. Blobs and values are little-endian. Text is UTF-8.
#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LB_ABI 7u            // of the table below
#define LB_BLOB_VERSION 11u  // of the program that prepare reads: blob.cc has its fields

#define LB_NOWHERE UINT64_MAX

enum {
  LB_OK = 0,
  LB_INVALID = 1,        // the caller's arguments or program are wrong
  LB_UNSUPPORTED = 2,    // valid, but this backend cannot do it
  LB_OUT_OF_MEMORY = 3,  // of the device
  LB_DEVICE_LOST = 4,    // the device has to be reopened
  LB_INTERNAL = 5        // an error in the backend or in a library that it uses
};

typedef struct lb_error {
  int32_t code;
  int32_t op;           // index of the op that failed, -1 if no op did
  uint64_t need_bytes;  // LB_OUT_OF_MEMORY: requested and available bytes; 0 if unknown
  uint64_t have_bytes;
  char text[512];
} lb_error;

// lb_options open a device. Fields that do not apply to a backend are 0.
typedef struct lb_options {
  uint32_t struct_size;
  int32_t device;            // index; LB_NO_DEVICE: prepare and scratch only, on any machine
  int32_t threads;           // of the cpu; 0: one for each core
  int32_t precision;         // LB_F32 or LB_TF32
  int32_t deterministic;     // 1: only kernels whose results are reproducible to the bit
  int32_t scatter;           // 1: a separate allocation for every offset of an arena
  int32_t tune;              // 1: kernels are timed before one is chosen
  int32_t own;               // 1: the backend's own kernels before a library's, where it has both
  uint64_t workspace_limit;  // bytes of workspace that a chosen kernel may need at the most; 0: no limit
  const char *plan_book;     // lines of a tuning cache, NULL: the backend chooses; of the cpu, see engine.go
  const char *properties;    // LB_NO_DEVICE: description of the device to plan for, NULL: unknown
} lb_options;

#define LB_NO_DEVICE (-1)
enum { LB_F32 = 0, LB_TF32 = 1 };

typedef struct lb_device lb_device;
typedef struct lb_program lb_program;
typedef struct lb_arena lb_arena;

typedef struct lb_backend {
  uint32_t abi;
  uint32_t struct_size;
  const char *name;
  // probe and describe write "key=value" lines about libraries, processor and threads.
  int32_t (*probe)(char *text, uint64_t capacity, lb_error *);
  // Life of a device.
  int32_t (*open)(const lb_options *, lb_device **out, lb_error *);
  int32_t (*describe)(lb_device *, char *text, uint64_t capacity, lb_error *);
  void (*close)(lb_device *);
  // Life of a program. prepare chooses kernels, scratch returns the workspace that each op needs,
  // bind assigns addresses and generates code. A value that no op reads or writes may be at
  // LB_NOWHERE.
  int32_t (*prepare)(lb_device *, const uint8_t *blob, uint64_t bytes, lb_program **out, lb_error *);
  int32_t (*scratch)(lb_program *, uint64_t *bytes, uint64_t ops, lb_error *);
  // kernel names the kernel that prepare chose for an op.
  int32_t (*kernel)(lb_program *, uint64_t op, char *text, uint64_t capacity, lb_error *);
  // choices writes the kernels that prepare chose as lines of a tuning cache.
  int32_t (*choices)(lb_program *, char *text, uint64_t capacity, lb_error *);
  int32_t (*bind)(lb_program *, lb_arena *, const uint64_t *value_offsets, uint64_t values,
                  const uint64_t *scratch_offsets, uint64_t ops, lb_error *);
  void (*program_free)(lb_program *);
  // Life of an arena. Its pages are not written before a program writes them.
  int32_t (*arena_new)(lb_device *, uint64_t bytes, lb_arena **out, lb_error *);
  int32_t (*arena_fill)(lb_arena *, uint8_t pattern, lb_error *);
  int32_t (*arena_read)(lb_arena *, uint64_t offset, void *to, uint64_t bytes, lb_error *);
  void (*arena_free)(lb_arena *);
  // Running a bound program. write and read copy a part of a value, whole elements from the byte offset
  // on; run runs the ops first, ..., last-1 in order: it may return before they are done, read and trace
  // wait for them.
  int32_t (*write)(lb_program *, uint64_t value, uint64_t offset, const void *from, uint64_t bytes,
                   lb_error *);
  int32_t (*read)(lb_program *, uint64_t value, uint64_t offset, void *to, uint64_t bytes, lb_error *);
  int32_t (*run)(lb_program *, uint64_t first, uint64_t last, lb_error *);
  // Seconds by op since the last reset.
  int32_t (*trace)(lb_program *, double *seconds, uint64_t ops, int32_t reset, lb_error *);
} lb_backend;

// lb_backend_get returns the table, or NULL if the backend has another ABI.
__attribute__((visibility("default"))) const lb_backend *lb_backend_get(uint32_t abi);

#ifdef __cplusplus
}
#endif
