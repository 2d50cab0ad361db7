//go:build !nocpu

// The cpu backend's device: chooses kernels, maps the arena, runs ops in order.
#include "cpu.h"

#include <sys/mman.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <strings.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

namespace lb {
namespace {

// threads_sleep tells whether OpenMP was asked to let waiting threads sleep.
bool threads_sleep() {
  const char *policy = std::getenv("OMP_WAIT_POLICY");
  return policy && strcasecmp(policy, "passive") == 0;
}

// vector_width is the number of floats of a vector of our convolutions: that of the instruction set which
// oneDNN uses, so that ONEDNN_MAX_CPU_ISA limits both.
int vector_width() {
#if defined(__x86_64__)
  std::string limit = onednn_isa();
  if (limit.rfind("avx512", 0) == 0 && __builtin_cpu_supports("avx512f")) return 16;
  if ((limit == "avx2" || limit.rfind("avx512", 0) == 0) && __builtin_cpu_supports("avx2") &&
      __builtin_cpu_supports("fma"))
    return 8;
#endif
  return 0;
}

std::string describe_libraries() {
  int width = vector_width();
  std::string isa = width == 16 ? "avx512f" : width == 8 ? "avx2" : "default";
  return "isa=" + isa + "\noneDNN=" + onednn_version() + "\noneDNN_isa=" + onednn_isa() + "\n";
}

constexpr int32_t most_threads = 1024;

// free_bytes is what the system has free, limits of the process not counted.
uint64_t free_bytes() {
  return static_cast<uint64_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

struct mapping : memory {
  explicit mapping(uint64_t n) {
    if (n == 0) return;
    void *m = mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED) throw failure{LB_OUT_OF_MEMORY, "mmap failed: out of memory", n, free_bytes()};
    madvise(m, n, MADV_HUGEPAGE);
    data = static_cast<uint8_t *>(m), bytes = n;
  }
  void release() override {
    if (data) munmap(data, bytes);
    data = nullptr;
  }
  ~mapping() override { release(); }
};

}  // namespace

const bool rounds_bf16 = multiplies_bf16();
const int64_t light_limit = threads_sleep() ? 4 * serial_limit : serial_limit;

void require_memory(uint64_t bytes) {
  void *m = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m == MAP_FAILED) throw failure{LB_OUT_OF_MEMORY, "no memory for generated code", bytes, free_bytes()};
  munmap(m, bytes);
}

const char *const backend_name = "cpu";

std::string probe() { return "cores=" + std::to_string(omp_get_num_procs()) + "\n" + describe_libraries(); }

std::unique_ptr<device> open_device(const lb_options &o) {
  if (o.device != 0) fail(LB_INVALID, "device %d: the only device is 0", o.device);
  if (o.threads < 0 || o.threads > most_threads)
    fail(LB_INVALID, "%d threads: must be 1 to %d, or 0 for all cores", o.threads, most_threads);
  if (o.precision != 0)
    fail(LB_UNSUPPORTED, "the cpu backend has no tf32: it computes in f32, and stores f32 or bf16");
  auto d = std::make_unique<cpu>();
  // oneDNN's kernels wait for all threads that they asked for: with fewer they would wait forever.
  const int allowed = omp_get_thread_limit();
  if (o.threads > allowed)
    fail(LB_INVALID,
         "%d threads: OMP_THREAD_LIMIT in the environment allows %d; ask for no more, or unset it", o.threads,
         allowed);
  d->threads = o.threads > 0 ? o.threads : std::min(omp_get_num_procs(), allowed);
  d->width = vector_width();
  if (o.plan_book) d->convolution = o.plan_book;
  d->workspace_limit = o.workspace_limit;
  omp_set_dynamic(0);
  omp_set_num_threads(d->threads);
#if defined(__x86_64__)
  // Flush denormals to zero: they are a hundred times as slow and make no difference here.
#pragma omp parallel
  _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
  return d;
}

std::string cpu::describe() { return "threads=" + std::to_string(threads) + "\n" + describe_libraries(); }

// in_blocks tells whether an op with tensors in bf16 runs the f32 kernel on blocks of its samples: other
// families have kernels of both types, or choose between the two (conv.cc).
static bool in_blocks(const op &o) {
  const value &tensor = o.kind == kind_deviation_backward ? *o.operands[1] : *o.operands[0];
  if (tensor.type != type_bf16) return false;
  switch (family_of(o.kind)) {
    case family::pool:
    case family::upsample:
    case family::similarity:
    case family::gate:
    case family::layernorm:
      return true;
    default:
      return false;
  }
}

std::unique_ptr<kernel> cpu::choose(const op &o) {
  if (in_blocks(o)) return make_blocks(o, *this);
  switch (family_of(o.kind)) {
    case family::none:
      break;
#define LB_CHOOSE(name) \
  case family::name:    \
    return make_##name(o, *this);
      LB_FAMILIES(LB_CHOOSE)
#undef LB_CHOOSE
  }
  fail(LB_UNSUPPORTED, "the cpu backend has no kernel of kind %d", o.kind);
}

std::shared_ptr<memory> cpu::allocate(uint64_t bytes) { return std::make_shared<mapping>(bytes); }

void cpu::fill(memory &m, uint8_t pattern) { std::memset(m.data, pattern, m.bytes); }

void cpu::copy_out(void *to, const uint8_t *from, uint64_t bytes) { std::memcpy(to, from, bytes); }

void cpu::write(program &, value &v, uint64_t offset, const void *from, uint64_t bytes) {
  std::memcpy(v.data + offset, from, bytes);
}

void cpu::run(program &p, uint64_t first, uint64_t last, int32_t &at) {
  auto before = std::chrono::steady_clock::now();
  for (uint64_t i = first; i < last; i++) {
    at = static_cast<int32_t>(i);
    op &o = p.ops[i];
    o.work->run(o);
    auto now = std::chrono::steady_clock::now();
    o.seconds += std::chrono::duration<double>(now - before).count();
    before = now;
  }
}

}  // namespace lb
