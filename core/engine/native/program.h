// The program as kernels see it: values with an address in the arena, and ops with
// a kernel chosen at prepare; and the device, the base class of every backend. All backends
// share this header, blob.cc, check.cc and abi.cc.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "kinds.h"

namespace lb {

// failure is the only exception that backends throw themselves.
struct failure {
  int32_t code;
  std::string text;
  uint64_t need_bytes = 0, have_bytes = 0;  // of LB_OUT_OF_MEMORY
};
[[noreturn]] void fail(int32_t code, const char *format, ...) __attribute__((format(printf, 2, 3)));

// align rounds a number of bytes up to whole cache lines: parts of a workspace begin at such.
constexpr uint64_t align(uint64_t n) { return (n + 63) / 64 * 64; }

// The kinds and families of ops, from the table in core/graph/kind.go.
enum kind : int32_t {
  kind_none,
#define LB_KIND(name, number, family, operands, results) kind_##name = number,
  LB_KINDS(LB_KIND)
#undef LB_KIND
      kind_count
};

enum class family {
  none,
#define LB_FAMILY(name) name,
  LB_FAMILIES(LB_FAMILY)
#undef LB_FAMILY
};

// The activations, numbered as in core/graph.
enum activation : int64_t {
  activation_none,
  activation_relu,
  activation_relu6,
  activation_silu,
  activation_hardswish,
  activation_hardsigmoid,
  activation_sigmoid,
  activation_gelu,
  activation_gelu_tanh,
  activation_count
};

// The element types, numbered as in core/graph.
enum type : int32_t { type_f32, type_s32, type_u8, type_bf16, type_count };

// value is a tensor: dims are padded with ones to four.
struct value {
  int32_t type = 0, rank = 0;
  int64_t dims[4] = {1, 1, 1, 1};
  int64_t elements = 1, bytes = 0;
  uint8_t *data = nullptr;
  int64_t channels() const { return rank > 0 ? dims[rank - 1] : 1; }
};

// attributes are graph.Attributes, field by field, without those that only give the shape of a result.
struct attributes {
  int64_t kernel[2], stride[2], padding[2], output[2], dilation[2], input[4], groups;
  int64_t activation, bias, count_padding, nesterov, reflect, flip, classes, rows, salt;
  int64_t axis, offset, view[4], order[4], decoupled, bits, following, input_sums;
  double epsilon, momentum, weight_decay, scale, temperature, rate, beta1, beta2, mean[4], deviation[4];
  bool rectifies() const { return activation == activation_relu || activation == activation_relu6; }
  // top is the upper bound of a rectified result.
  float top() const { return activation == activation_relu6 ? 6.0f : __builtin_inff(); }
};

struct op;

// kernel is the kernel that prepare chose for an op.
struct kernel {
  uint64_t scratch = 0;        // bytes
  std::string name = "plain";  // of the algorithm, where there is a choice
  virtual ~kernel() = default;
  virtual void bind(const op &) {}  // work that is deferred to bind: code generation
  virtual void run(const op &) = 0;
};

// An op runs after the earlier ops of its stream and after those that it waits for. Program
// order satisfies both.
constexpr int32_t max_streams = 64;

struct op {
  int32_t kind = 0;
  int32_t stream = 0;
  std::vector<uint64_t> waits;             // earlier ops of other streams
  std::vector<value *> operands, results;  // an absent operand is nullptr
  attributes attr{};
  std::unique_ptr<kernel> work;
  uint8_t *scratch = nullptr;
  double seconds = 0;
  template <typename T = float>
  const T *in(size_t i) const {
    return operands[i] ? reinterpret_cast<const T *>(operands[i]->data) : nullptr;
  }
  float *mutate(size_t i) const { return reinterpret_cast<float *>(operands[i]->data); }
  template <typename T = float>
  T *out(size_t i) const {
    return reinterpret_cast<T *>(results[i]->data);
  }
};

// memory is the memory of an arena. Its data is null once it has been released, which programs that are
// bound to it check.
struct memory {
  uint8_t *data = nullptr;
  uint64_t bytes = 0;
  virtual ~memory() = default;
  virtual void release() = 0;
  virtual uint8_t *place(uint64_t offset, uint64_t size);  // address of a value or of a workspace
  virtual bool whole() const { return true; }              // one allocation, addressed by offsets
};

struct program {
  std::vector<value> values;
  std::vector<op> ops;
  std::shared_ptr<memory> bound;  // nullptr: not bound
  virtual ~program() = default;
};

// device is the interface that a backend implements; abi.cc has checked the arguments.
struct device {
  virtual ~device() = default;
  virtual std::string describe() = 0;  // "key=value" lines
  virtual std::unique_ptr<kernel> choose(const op &) = 0;
  virtual std::unique_ptr<program> new_program() { return std::make_unique<program>(); }
  virtual void bound(program &) {}  // called when every value and workspace has its address
  virtual std::shared_ptr<memory> allocate(uint64_t bytes) = 0;
  virtual void fill(memory &, uint8_t pattern) = 0;
  virtual void copy_out(void *to, const uint8_t *from, uint64_t bytes) = 0;
  virtual void write(program &, value &, uint64_t offset, const void *from, uint64_t bytes) = 0;
  virtual void read(program &, const value &v, uint64_t offset, void *to, uint64_t bytes) {
    copy_out(to, v.data + offset, bytes);
  }
  // run runs the ops first, ..., last-1; at is the index of the current op.
  virtual void run(program &, uint64_t first, uint64_t last, int32_t &at) = 0;
  virtual void settle(program &) {}  // completes the ops' seconds before they are read
  virtual std::string choices(const program &) { return ""; }
};

// Defined by every backend, besides its device.
extern const char *const backend_name;
std::string probe();
std::unique_ptr<device> open_device(const lb_options &);

// read_program decodes a blob; at is the index of the current op, -1 before the first.
void read_program(const uint8_t *blob, uint64_t bytes, std::vector<value> &, std::vector<op> &, int32_t &at);

// family_of gives the family of a kind that check has accepted.
family family_of(int32_t kind);

// check fails for an op whose operands, results or attributes do not fit its kind, and pads
// its operands with nullptr to the number that the kind has.
void check(op &);

}  // namespace lb
